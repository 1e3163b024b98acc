"""PUBLISH of user agents: what a room is about (RFC 3903, RFC 4575).

Who may change a room's subject may publish it, and its display-text and free-text, which the
room then has as if it had been told so there. It has them while the publication lasts; then it
has again what it had before, unless somebody else has changed it meanwhile. Everything else in
the state of a room is what happens there, and nobody's to publish.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable, Mapping

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.policy import may_change_subject
from msrpconf.conference.room import Room
from msrpconf.conference.subject import change_subject, clean_subject
from msrpconf.presence.subscribing import Lifetimes
from msrpconf.presence.watching import CONFERENCE_EVENT
from msrpconf.protocols.conference_info import CONFERENCE_INFO, Description
from msrpconf.protocols.conference_info_reading import read_document
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import is_token
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.xml import XmlError
from msrpconf.visible import visible

MAX_PUBLICATIONS = 10000
"""Publications at one time."""

MAX_IN_ROOM = 10
"""Those of one room."""

MAX_OCTETS = 65536
"""Octets of a document."""

MAX_TEXT = 4000
"""Characters of a free-text."""

_FIELDS = ("subject", "display_text", "free_text")

_LATER = (("Retry-After", "60"),)


@frozen
class KeptTexts:
    """What there is to keep of a publication over a restart.

    `published` are the texts by their names, `before` what the room had in their place;
    `expires_at` is in seconds of the epoch.
    """

    id: str
    room: str
    user: Identity
    etag: str
    published: Mapping[str, str | None]
    before: Mapping[str, str | None]
    expires_at: float


@define(eq=False)
class _Publication:
    room: Room
    user: Identity
    id: str
    etag: str = ""
    expires_at: float = 0.0
    before: dict[str, str | None] = field(factory=dict)
    """What the room had in place of what is published."""
    published: dict[str, str | None] = field(factory=dict)
    timer: IDelayedCall | None = None


class Publishing:
    """Serves PUBLISH. `room` gives the room of a key; `clock` keeps time."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, room: Callable[[str], Room | None], lifetimes: Lifetimes
    ) -> None:
        self.lifetimes = lifetimes
        self.max_publications = MAX_PUBLICATIONS
        self._clock = clock
        self._room = room
        self._by_etag: dict[str, _Publication] = {}
        self.on_kept: Callable[[KeptTexts], None] = lambda kept: None
        """Told what is to be kept over a restart of a publication, whenever that is different."""
        self.on_ended: Callable[[str], None] = lambda name: None
        """Told of the id of a publication that is over."""

    def __len__(self) -> int:
        return len(self._by_etag)

    def handle(self, request: Request, key: str) -> Response | Denied:
        """Answer a PUBLISH for the room `key` (RFC 3903 §6). Raises `SipSyntaxError`."""
        event = request.event
        if event is None or event.value != CONFERENCE_EVENT:
            why = f"Only the event package {CONFERENCE_EVENT} is published here"
            return Denied(489, why, (("Allow-Events", CONFERENCE_EVENT),))
        room = self._room(key)
        if room is None:
            return Denied(404, "There is no such room now: join it first")
        user = Identity.of_request(request)
        denied = may_change_subject(room, user)
        if denied is not None:
            return denied
        known = self._matching(request, room)
        if isinstance(known, Denied):
            return known
        lifetime = self.lifetimes.agreed(request.expires)
        if isinstance(lifetime, Denied):
            return lifetime
        if not request.body and known is None:
            return Denied(400, f"A publication begins with a body of {CONFERENCE_INFO}")
        texts: dict[str, str] = {}
        if request.body and lifetime:
            read = _texts(request, room)
            if isinstance(read, Denied):
                return read
            texts = read
        if known is None:
            if not lifetime:
                return Denied(400, "To end a publication, SIP-If-Match must name it")
            denied = self._refuses(room)
            if denied is not None:
                return denied
            known = _Publication(room, user, _new_tag())
        if not lifetime:
            self._end(known)
            return _accepted(request, 0, _new_tag())
        self._apply(known, texts, user)
        self._keep(known, lifetime)
        return _accepted(request, lifetime, known.etag)

    def restore(self, kept: KeptTexts) -> bool:
        """Have a publication again that was here before a restart; whether there is its room.

        What somebody else has changed since then stays.
        """
        room = self._room(kept.room)
        lasts = kept.expires_at - self._clock.seconds()
        if room is None or not room.static or lasts <= 0 or self._refuses(room) is not None:
            return False
        publication = _Publication(room, kept.user, kept.id)
        for name, text in kept.published.items():
            before = kept.before.get(name)
            if name in _FIELDS and getattr(room, name) == before:
                publication.before[name], publication.published[name] = before, text
                setattr(room, name, text)
        self._hold(publication, kept.etag, lasts)
        return True

    def room_ended(self, key: str) -> None:
        """Forget what was published of a room that is no more."""
        for each in [each for each in self._by_etag.values() if each.room.key == key]:
            self._forget(each)

    def stop(self) -> None:
        """Forget everything, and change nothing."""
        for each in list(self._by_etag.values()):
            self._forget(each)

    def _matching(self, request: Request, room: Room) -> _Publication | Denied | None:
        """The publication that is refreshed, changed or ended."""
        values = request.headers.get_all("SIP-If-Match")
        if not values:
            return None
        if len(values) > 1 or not is_token(values[0].strip()):
            return Denied(400, "SIP-If-Match needs one entity-tag")
        known = self._by_etag.get(values[0].strip())
        if known is None or known.room is not room:
            return Denied(412, "No publication of that entity-tag here: publish anew")
        return known

    def _refuses(self, room: Room) -> Denied | None:
        if len(self._by_etag) >= self.max_publications:
            return Denied(503, "There are too many publications here: try again later", _LATER)
        if sum(1 for each in self._by_etag.values() if each.room is room) >= MAX_IN_ROOM:
            return Denied(403, f"This room has {MAX_IN_ROOM} publications: end or change one")
        return None

    def _apply(self, publication: _Publication, texts: dict[str, str], user: Identity) -> None:
        room = publication.room
        for name, text in texts.items():
            before = getattr(room, name)
            if publication.published.get(name, ...) != before:
                publication.before[name] = before
            if name == "subject":
                change_subject(room, user, text)
            else:
                setattr(room, name, text)
            publication.published[name] = getattr(room, name)

    def _keep(self, publication: _Publication, lifetime: int) -> None:
        """Have it last so long, under a new entity-tag (RFC 3903 §6, step 6)."""
        self._drop(publication)
        self._hold(publication, _new_tag(), lifetime)

    def _hold(self, publication: _Publication, etag: str, lasts: float) -> None:
        publication.etag = etag
        publication.expires_at = self._clock.seconds() + lasts
        self._by_etag[etag] = publication
        publication.timer = self._clock.callLater(lasts, self._expired, publication)
        self.on_kept(
            KeptTexts(
                publication.id,
                publication.room.key,
                publication.user,
                etag,
                dict(publication.published),
                dict(publication.before),
                publication.expires_at,
            )
        )

    def _expired(self, publication: _Publication) -> None:
        self.log.info("expired: what was published of {room}", room=visible(publication.room.key))
        self._end(publication)

    def _end(self, publication: _Publication) -> None:
        """Give the room back what it had, unless it was changed since."""
        self._forget(publication)
        room = publication.room
        for name, text in publication.published.items():
            if getattr(room, name) == text != publication.before[name]:
                setattr(room, name, publication.before[name])

    def _forget(self, publication: _Publication) -> None:
        self._drop(publication)
        self.on_ended(publication.id)

    def _drop(self, publication: _Publication) -> None:
        self._by_etag.pop(publication.etag, None)
        timer, publication.timer = publication.timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _texts(request: Request, room: Room) -> dict[str, str] | Denied:
    """What a document wants the room to have."""
    content_type = request.content_type
    if content_type is None or content_type.essence != CONFERENCE_INFO:
        why = f"What is published here is {CONFERENCE_INFO}"
        return Denied(415, why, (("Accept", CONFERENCE_INFO),))
    try:
        document = read_document(request.body, MAX_OCTETS)
    except XmlError as error:
        return Denied(400, str(error))
    if document.state == "deleted" or _key(document.uri) != room.key:
        return Denied(400, "The document is not of this room, or is of one that has ended")
    description = document.description or Description()
    texts = {name: text for name in _FIELDS if (text := getattr(description, name))}
    bare = evolve(description, subject=None, display_text=None, free_text=None)
    others = document.users or document.host or document.conference_state
    if others or bare != Description():
        return Denied(
            400,
            "Only subject, display-text and free-text can be published: leave the rest out",
        )
    if not texts:
        return Denied(400, "The document has none of subject, display-text and free-text")
    return _clean(texts)


def _clean(texts: dict[str, str]) -> dict[str, str] | Denied:
    clean: dict[str, str] = {}
    for name, text in texts.items():
        if name == "free_text":
            if len(text) > MAX_TEXT:
                return Denied(400, f"free-text has {MAX_TEXT} characters at most")
            clean[name] = "".join(each for each in text if each in "\n\t" or _is_shown(each))
        else:
            clean[name] = clean_subject(text) or ""
    return clean


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cs"}


def _key(uri: str) -> str | None:
    try:
        return parse_uri(uri).key
    except SipSyntaxError:
        return None


def _accepted(request: Request, expires: int, etag: str) -> Response:
    return request.response(200, headers=(("Expires", str(expires)), ("SIP-ETag", etag)))


def _new_tag() -> str:
    return secrets.token_hex(8)
