"""A message as a client shows it: who said what, and when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from attrs import frozen

from msrpconf.protocols.cpim import AGP_NAMESPACE, FILE_NAMESPACE, CpimError, parse_cpim_head
from msrpconf.protocols.sdp import SdpError
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

ANONYMOUS = "sip:anonymous@anonymous.invalid"
"""What some clients write for a room: it stands for nobody in particular."""

MAX_SHOWN = 80
"""Characters of a name and of an address that are shown."""


@frozen
class Person:
    """Somebody in a room: a URI as text, and a name for people to read, where there is one."""

    uri: str
    name: str | None = None

    @property
    def key(self) -> str:
        """What is the same for all spellings of the URI."""
        return identity(self.uri)

    def __str__(self) -> str:
        """For people: the name is only what somebody says, so the address stands with it."""
        address = visible(self.uri.removeprefix("sip:"))[:MAX_SHOWN]
        return f"{visible(self.name)[:MAX_SHOWN]} <{address}>" if self.name else address


def identity(uri: str) -> str:
    """What is the same for all spellings of a user's or room's URI."""
    try:
        return parse_uri(uri).key
    except SipSyntaxError:
        return uri


@frozen
class Message:
    """One message that came from a room, whole.

    `sender` and `to` are URIs as text; `name` is the sender's name for people to
    read, where one was given. `content_type` and `body` are the content's, without
    the wrapper. `date_time` is when it was said, where the sender told. `kind` is
    "status" for what the room itself tells, "history" for what was said before one
    came, and "" for what is said now. `file` is what the file can be fetched by that the
    room tells of (RFC 5547), if it does. `is_private` if it was said to one participant
    and not to the room (RFC 7701 §6.2).
    """

    sender: str
    name: str | None
    to: str
    content_type: str
    body: bytes
    date_time: datetime | None = None
    kind: str = ""
    file: FileSelector | None = None
    is_private: bool = False

    @property
    def person(self) -> Person:
        """Who has said it."""
        return Person(self.sender, self.name)

    @property
    def media_type(self) -> str:
        """The content's type in lower case, without parameters: ``text/plain``."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The content as text; what is no UTF-8 in it is replaced."""
        return self.body.decode("utf-8", "replace")

    @classmethod
    def of(cls, content_type: str, body: bytes, room: str, also: Collection[str] = ()) -> Message:
        """Read what a room delivered, in a CPIM wrapper (RFC 3862) or plain.

        `also` are other URIs of the room, by which senders may have addressed it.
        Raises `CpimError` for a wrapper that cannot be read.
        """
        if content_type.partition(";")[0].strip().lower() != "message/cpim":
            kind = "status" if body.startswith(b"*** ") else ""
            return cls(room, None, room, content_type, body, kind=kind)
        head = parse_cpim_head(body)
        if head is None or head.from_ is None:
            raise CpimError("a message without a sender")
        to = head.to[0].uri if head.to else room
        rooms = {identity(each) for each in (room, *also)}
        kind = next(iter(head.get_all("Message-Type", AGP_NAMESPACE)), "")
        file = _file(head.get_all("File-Selector", FILE_NAMESPACE))
        if identity(head.from_.uri) not in rooms:
            # Anybody may write such headers; only the room's own are the room's word.
            kind, file = "" if kind == "status" else kind, None
        return cls(
            head.from_.uri,
            head.from_.formal_name,
            to,
            head.content_type,
            body[head.body_offset :],
            _time(head.date_time),
            kind,
            file,
            identity(to) not in rooms | {ANONYMOUS},
        )


def _file(values: list[str]) -> FileSelector | None:
    try:
        return FileSelector.parse(values[0]) if values else None
    except SdpError:
        return None


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text.strip())
        return parsed.astimezone() if parsed.tzinfo is not None else None
    except (ValueError, OverflowError):
        # No time at all, or one at the ends of the calendar that our own zone has not.
        return None
