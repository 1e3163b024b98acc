"""What a server tells dispatchers of its dialogs, in SYNC (doc/channel.md).

Enough of each to say BYE in it when the server is gone, and to know which rooms live where; and,
for dispatchers that move rooms, what another server needs to go on with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import NOTHING, field, fields, frozen

from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr, Reason
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import parse_uri

DialogId = tuple[str, str, str | None]
"""Call-ID, the server's tag, the peer's tag."""

MAX_TEXT = 8192
"""Characters of one value."""

MAX_SEAT = 16_384
"""Characters of what a server needs to go on with a participant."""

MAX_ROOM = 131_072
"""Characters of what it needs to go on with a room."""

BATCH = 262144
"""Octets that one SYNC is filled up to."""

CSEQ_GAP = 100_000
"""How far beyond the server's last number a BYE on its behalf counts.

A number may be higher by more than one (RFC 3261 §12.2.2), and what the server had sent since it
told of the dialog is not known.
"""


class RecordError(ValueError):
    """What a server has told cannot be read."""


@frozen
class DialogRecord:
    """A dialog of a server's: `room` is the key of its room, `way` the server's way to the client.

    The others are those of `Dialog`; `cseq` is the number of the server's last request,
    `peer_cseq` that of the client's. `seat` is what another server needs to go on with the
    participant, a text that dispatchers do not read, empty where it cannot; `moves` is how often
    the dialog has come to another server.
    """

    room: str
    call_id: str
    local_tag: str
    remote_tag: str | None
    local_uri: str
    remote_uri: str
    target: str
    routes: tuple[str, ...] = ()
    cseq: int = 0
    peer_cseq: int = 0
    way: str = ""
    seat: str = field(default="", repr=False)
    moves: int = 0

    @classmethod
    def of(
        cls, dialog: Dialog, room: str, way: str, seat: str = "", moves: int = 0
    ) -> DialogRecord:
        """What there is to tell of a dialog."""
        return cls(
            room,
            dialog.call_id,
            dialog.local_tag,
            dialog.remote_tag,
            dialog.local_uri,
            dialog.remote_uri,
            str(dialog.remote_target),
            dialog.route_set,
            dialog.local_cseq,
            dialog.remote_cseq or 0,
            way,
            seat,
            moves,
        )

    @property
    def id(self) -> DialogId:
        """What names the dialog."""
        return self.call_id, self.local_tag, self.remote_tag

    @property
    def dialog(self) -> Dialog:
        """The dialog as another may go on with it: its next number is far above the last one."""
        return Dialog(
            self.call_id,
            self.local_tag,
            self.remote_tag,
            self.local_uri,
            self.remote_uri,
            parse_uri(self.target),
            self.routes,
            min(self.cseq + CSEQ_GAP, 2**31 - 2),
            self.peer_cseq or None,
        )

    def goodbye(self, reason: Reason) -> Request:
        """The BYE to the client, in the server's name."""
        return self.dialog.request("BYE", headers=(("Reason", str(reason)),))[1]

    def farewell(self, reason: Reason) -> Request:
        """The BYE to the server, in the client's name: its client was told that it is out."""
        number = min(self.peer_cseq + CSEQ_GAP, 2**31 - 1)
        remote = f";tag={self.remote_tag}" if self.remote_tag is not None else ""
        headers = Headers(
            [
                ("From", f"{self.remote_uri}{remote}"),
                ("To", f"{self.local_uri};tag={self.local_tag}"),
                ("Call-ID", self.call_id),
                ("CSeq", f"{number} BYE"),
                ("Reason", str(reason)),
            ]
        )
        return Request("BYE", NameAddr.parse(self.local_uri).uri, headers)


@frozen
class Changes:
    """What one SYNC tells: dialogs that are, as they are now, and those that have ended.

    `rooms` are what another server needs to go on with a room, by its key. `said` is what was said
    last in the room of a MOVE, which dispatchers pass on: triples of texts.
    """

    dialogs: tuple[DialogRecord, ...] = ()
    ended: tuple[DialogId, ...] = ()
    rooms: tuple[tuple[str, str], ...] = ()
    said: tuple[tuple[str, str, str], ...] = ()


def encode_changes(changes: Changes) -> bytes:
    """The body of a SYNC, in JSON."""
    document: dict[str, Any] = {}
    if changes.dialogs:
        document["dialogs"] = [_told(each) for each in changes.dialogs]
    if changes.ended:
        document["ended"] = changes.ended
    if changes.rooms:
        document["rooms"] = changes.rooms
    if changes.said:
        document["said"] = changes.said
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _told(record: DialogRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _NAMES}
    for name in ("seat", "moves"):
        if not values[name]:
            del values[name]
    return values


def decode_changes(body: bytes) -> Changes:
    """What a SYNC tells. Raises `RecordError`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise RecordError("the body must be a JSON object")
    return Changes(
        tuple(_record(each) for each in _array(document, "dialogs")),
        tuple(_dialog_id(each) for each in _array(document, "ended")),
        tuple(_room(each) for each in _array(document, "rooms")),
        tuple(_said(each) for each in _array(document, "said")),
    )


def _array(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise RecordError(f"{name}: expected an array")
    return found


_TEXTS = frozenset(
    {"room", "call_id", "local_tag", "local_uri", "remote_uri", "target", "way", "remote_tag"}
)
_NAMES = tuple(each.name for each in fields(DialogRecord))
_NEEDED = frozenset(each.name for each in fields(DialogRecord) if each.default is NOTHING)


def _record(value: Any) -> DialogRecord:
    if not isinstance(value, dict):
        raise RecordError("a dialog: expected a JSON object")
    known = {name: value[name] for name in _NAMES if name in value}
    missing = _NEEDED - known.keys()
    if missing:
        raise RecordError(f"a dialog: {min(missing)} is missing")
    for name, each in known.items():
        wanted = name == "remote_tag" and each is None
        if name in _TEXTS:
            wanted = wanted or _is_text(each)
        elif name == "seat":
            wanted = isinstance(each, str) and len(each) <= MAX_SEAT
        elif name == "routes":
            wanted = isinstance(each, list) and len(each) <= 64 and all(map(_is_text, each))
        else:
            wanted = type(each) is int and 0 <= each < 2**32
        if not wanted:
            raise RecordError(f"a dialog: {name} has a value that it cannot have")
    try:
        parse_uri(known["target"])
        NameAddr.parse(known["local_uri"])
    except SipSyntaxError as error:
        raise RecordError(f"a dialog: {error}") from None
    known["routes"] = tuple(known.get("routes", ()))
    return DialogRecord(**known)


def _is_text(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= MAX_TEXT
        and "\r" not in value
        and "\n" not in value
    )


def _dialog_id(value: Any) -> DialogId:
    if not isinstance(value, list) or len(value) != 3:
        raise RecordError("ended: expected an array of Call-ID, our tag, the peer's tag")
    call_id, ours, theirs = value
    if not (_is_text(call_id) and _is_text(ours) and (theirs is None or _is_text(theirs))):
        raise RecordError("ended: expected texts")
    return call_id, ours, theirs


def _room(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise RecordError("rooms: expected an array of key and state")
    key, state = value
    if not (_is_text(key) and isinstance(state, str) and len(state) <= MAX_ROOM):
        raise RecordError("rooms: expected texts")
    return key, state


def _said(value: Any) -> tuple[str, str, str]:
    if not (
        isinstance(value, list) and len(value) == 3 and all(type(each) is str for each in value)
    ):
        raise RecordError("said: expected arrays of time, head and content")
    at, head, content = value
    return at, head, content


def batches(records: Iterable[DialogRecord]) -> Iterator[tuple[DialogRecord, ...]]:
    """Groups of records, each of which fits into one SYNC."""
    batch: list[DialogRecord] = []
    size = 0
    for record in records:
        size += len(encode_changes(Changes((record,))))
        batch.append(record)
        if size >= BATCH:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)
