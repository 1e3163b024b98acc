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

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.identity import Identity
from msrpconf.protocols.cpim import CpimAddress, CpimHead, build_cpim_head

TEXT = "text/plain"


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


def render_cpim(head: CpimHead, sender: Identity, content_type: bytes) -> Renderer:
    """Forms of a message that came in a CPIM wrapper, `content_type` the received one."""
    media_type = head.media_type

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(media_type):
            return None
        if reception.cpim:
            return Rendition(content_type, b"", 0)
        if media_type != TEXT:
            return None  # a name in front would spoil anything but plain text
        return Rendition(
            head.content_type.encode("utf-8"), _name_in_front(sender), head.body_offset
        )

    return render


def render_text(
    content_type: bytes, media_type: str, sender: Identity, room_uri: str, now: float
) -> Renderer:
    """Forms of a message that came as plain text; `now` (seconds of the epoch) is its time."""

    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(media_type):
            return None
        if not reception.cpim:
            return Rendition(content_type, _name_in_front(sender), 0)
        head = build_cpim_head(
            CpimAddress(sender.uri, sender.display_name),
            CpimAddress(room_uri),
            datetime.fromtimestamp(now, UTC).replace(microsecond=0),
            content_type.decode("utf-8", "replace"),
        )
        return Rendition(b"message/cpim", head, 0)

    return render


def _name_in_front(sender: Identity) -> bytes:
    return f"{sender.short}: ".encode()
