"""One message in the forms that different clients understand.

The switch must not modify what it forwards to clients that take message/cpim (RFC
7701 §6.1); clients that take only text get the sender's name in front of it, as
the original design has it. Either way the copy is the received octets from some
offset on, with something in front. So a form is a `Rendition`: octets to skip and
a prefix, with which chunks of any size are carried over as they come.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import field, frozen

from msrpconf.conference.capabilities import CPIM, TEXT, Reception
from msrpconf.conference.identity import Identity
from msrpconf.protocols.cpim import CpimAddress, CpimHead, build_cpim_head

_IDENTITY_ENCODINGS = frozenset((None, "7bit", "8bit", "binary"))


@frozen
class Speaker:
    """Whom a message is from, as the others see it.

    `uri` and `name` go into CPIM; `label` is how text names it, and `front` stands
    before what it says, for clients without CPIM.
    """

    uri: str
    name: str | None
    label: str
    front: bytes = field(repr=False)

    @classmethod
    def of(cls, identity: Identity, nickname: str | None = None) -> Speaker:
        """A user, under its nickname if it has one (RFC 7701 §7)."""
        label = identity.short if nickname is None else f"{nickname} <{identity.short}>"
        name = identity.display_name if nickname is None else nickname
        return cls(identity.uri, name, label, f"{label}: ".encode())

    @property
    def address(self) -> CpimAddress:
        """The value of a CPIM From."""
        return CpimAddress(self.uri, self.name)


@frozen
class Rendition:
    """How received octets become a copy's: drop the first `skip` of them, put `prefix` in front.

    `content_type` is the copy's. Positions in the copy are those in the received
    message plus `shift`, but for the first octet, which is the prefix's.
    """

    content_type: bytes
    prefix: bytes
    skip: int

    @property
    def shift(self) -> int:
        """What is added to a position in the received message."""
        return len(self.prefix) - self.skip


Renderer = Callable[[Reception], Rendition | None]
"""The form of one message for a kind of client; None where it cannot be shown there."""

CPIM_TYPE = CPIM.encode("ascii")
AS_RECEIVED = Rendition(CPIM_TYPE, b"", 0)


def render_cpim(head: CpimHead, speaker: Speaker, received: bytes | None = None) -> Renderer:
    """Forms of a message that came in a CPIM wrapper.

    Where `received`, the message's first octets, is given, the From in them is not
    what the others shall see, and the speaker's URI takes its place.
    """
    media_type = head.media_type
    wrapped = AS_RECEIVED
    if received is not None:
        renamed = _with_from(received[: head.body_offset], head, speaker.address)
        wrapped = Rendition(CPIM_TYPE, renamed, head.body_offset)

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(media_type):
            return None
        if reception.cpim:
            return wrapped
        if media_type != TEXT or not _is_bare(head):
            return None  # a name in front would spoil anything but plain text
        return Rendition(head.content_type.encode("utf-8"), speaker.front, head.body_offset)

    return render


def render_text(content_type: str, speaker: Speaker, room_uri: str, now: float) -> Renderer:
    """Forms of a message that came as plain text; `now` (seconds of the epoch) is its time.

    `content_type` is the received one, of printable ASCII.
    """
    name_in_front = Rendition(content_type.encode("ascii"), speaker.front, 0)

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(TEXT):
            return None
        if not reception.cpim:
            return name_in_front
        head = build_cpim_head(speaker.address, CpimAddress(room_uri), date_time(now), content_type)
        return Rendition(CPIM_TYPE, head, 0)

    return render


def date_time(now: float) -> datetime:
    """Seconds of the epoch as a DateTime (RFC 3862 §4.4), to the second."""
    return datetime.fromtimestamp(now, UTC).replace(microsecond=0)


def _is_bare(head: CpimHead) -> bool:
    """Whether the content is in the message as it is, and not in base64 or the like."""
    encoding = head.content_header("Content-Transfer-Encoding")
    return (encoding.strip().lower() if encoding else None) in _IDENTITY_ENCODINGS


def _with_from(octets: bytes, head: CpimHead, address: CpimAddress) -> bytes:
    """The heads of a message with another From; all else stays as it was written."""
    lines = octets.split(b"\n")
    for index, line in enumerate(lines):
        if line.startswith(b"From:"):
            end = b"\r" if line.endswith(b"\r") else b""
            lines[index] = b"From: " + str(address).encode() + end
            return b"\n".join(lines)
        if not line.strip():
            break
    # It was named by a prefix for the namespace of RFC 3862.
    return build_cpim_head(
        address,
        head.to,
        head.date_time,
        head.content_type,
        subject=head.subject,
        content_headers=(
            (name, value) for name, value in head.content_headers if name.lower() != "content-type"
        ),
    )
