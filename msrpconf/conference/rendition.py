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

from attrs import frozen

from msrpconf.conference.capabilities import TEXT, Reception
from msrpconf.conference.identity import Identity
from msrpconf.protocols.cpim import CpimAddress, CpimHead, build_cpim_head

_IDENTITY_ENCODINGS = frozenset((None, "7bit", "8bit", "binary"))


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

AS_RECEIVED = Rendition(b"message/cpim", b"", 0)


def render_cpim(head: CpimHead, sender: Identity) -> Renderer:
    """Forms of a message that came in a CPIM wrapper."""
    media_type = head.media_type

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(media_type):
            return None
        if reception.cpim:
            return AS_RECEIVED
        if media_type != TEXT or not _is_bare(head):
            return None  # a name in front would spoil anything but plain text
        return Rendition(
            head.content_type.encode("utf-8"), _name_in_front(sender), head.body_offset
        )

    return render


def render_text(content_type: str, sender: Identity, room_uri: str, now: float) -> Renderer:
    """Forms of a message that came as plain text; `now` (seconds of the epoch) is its time.

    `content_type` is the received one, of printable ASCII.
    """
    name_in_front = Rendition(content_type.encode("ascii"), _name_in_front(sender), 0)

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(TEXT):
            return None
        if not reception.cpim:
            return name_in_front
        head = build_cpim_head(
            CpimAddress(sender.uri, sender.display_name),
            CpimAddress(room_uri),
            datetime.fromtimestamp(now, UTC).replace(microsecond=0),
            content_type,
        )
        return Rendition(AS_RECEIVED.content_type, head, 0)

    return render


def _is_bare(head: CpimHead) -> bool:
    """Whether the content is in the message as it is, and not in base64 or the like."""
    encoding = head.content_header("Content-Transfer-Encoding")
    return (encoding.strip().lower() if encoding else None) in _IDENTITY_ENCODINGS


def _name_in_front(sender: Identity) -> bytes:
    return f"{sender.short}: ".encode()
