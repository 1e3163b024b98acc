"""What is decided about one watcher of a room, written into the room's pres-rules documents."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from msrpconf.conference.identity import Identity
from msrpconf.conference.operating import CannotBeDone
from msrpconf.conference.room import Room
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.visible import visible
from msrpconf.xcap.deciding import EMPTY, CannotDecide, allow, block
from msrpconf.xcap.rules import SubHandling
from msrpconf.xcap.ruleset import RulesetError, parse_ruleset
from msrpconf.xcap.store import ALLOW_ALL, Stored, TooManyDocuments, fits, index_of

log = Logger()


@inlineCallbacks
def decide(
    documents: RoomDocumentService, room: Room, user: str, allowed: bool
) -> Generator[Deferred[Any], Any, SubHandling]:
    """Let the user of that canonical URI watch a room, or not; what the documents say then.

    A rule more is in the document at the default place, or an exception is in the rules of all
    documents. It takes effect at once. Fails with `CannotBeDone`, `NoSuchRoom` or
    `DatabaseError`.
    """
    if not fits(room.key):
        raise CannotBeDone(f"the URI of {room.key} is too long for documents")
    found: dict[str, tuple[Stored, ...]] = yield documents.store.load((room.key,))
    stored = {each.uri: each for each in found[room.key]}
    index = index_of(room.key)
    # A room without any document lets all watch who may come in.
    absent = EMPTY if stored else ALLOW_ALL
    places = [index] if allowed or not stored else list(stored)

    def change(before: Stored | None) -> bytes:
        document = absent if before is None else before.document
        if allowed:
            return allow(document, user)
        return block(document, user) if _is_readable(document) else document

    try:
        for place in places:
            before = stored.get(place)
            if before is None or change(before) != before.document:
                yield documents.change(room, place, change)
    except (CannotDecide, TooManyDocuments) as error:
        raise CannotBeDone(f"{error}; its owners can write it by XCAP") from None
    handling = documents.rules.decide(room.key, Identity(user, None, (user,)))
    log.info(
        "decided by the operator: {user} may {allowed}watch {room}: {handling}",
        user=visible(user),
        allowed="" if allowed else "not ",
        room=room.key,
        handling=str(handling),
    )
    return handling


def _is_readable(document: bytes) -> bool:
    """Whether a document can be read: else it grants nothing, and stays as it is."""
    try:
        parse_ruleset(document)
    except RulesetError:
        return False
    return True
