"""The room's own voice: what it tells its participants.

A notice is CPIM from the room's URI, marked in the namespace that deployed clients
know (Blink, SylkServer), so that they show it apart from what people say. Clients
of plain text see it behind three asterisks, where others have a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msrpconf.conference.capabilities import TEXT, Reception
from msrpconf.conference.distribution import Audiences, deliver
from msrpconf.conference.rendition import CPIM_TYPE, Renderer, Rendition, date_time
from msrpconf.protocols.cpim import AGP_NAMESPACE, CpimAddress, build_cpim_head
from msrpconf.protocols.msrp.session import Session

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

_CONTENT_TYPE = "text/plain; charset=utf-8"
_AS_TEXT = Rendition(_CONTENT_TYPE.encode("ascii"), b"*** ", 0)


def mark(message_type: str) -> tuple[tuple[str, str], ...]:
    """The CPIM headers that tell what is not simply said from what is."""
    return (("NS", f"agp <{AGP_NAMESPACE}>"), ("agp.Message-Type", message_type))


def announce(
    room: Room,
    text: str,
    headers: Iterable[tuple[str, str]] = (),
    but: Session | None = None,
) -> None:
    """Tell everybody in the room `but` one; `headers` are further CPIM headers."""
    _tell(room, room.audiences, text, headers, but)


def tell(participant: Participant, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Tell one participant."""
    reception = participant.reception
    if reception is not None:
        room = participant.room
        _tell(room, {reception: (participant.session,)}, text, headers)


def _tell(
    room: Room,
    audiences: Audiences,
    text: str,
    headers: Iterable[tuple[str, str]],
    but: Session | None = None,
) -> None:
    octets = text.encode("utf-8", "replace")
    deliver(room, audiences, _render(room, tuple(headers)), octets, but)


def _render(room: Room, headers: tuple[tuple[str, str], ...]) -> Renderer:
    def render(reception: Reception) -> Rendition | None:
        if not reception.takes(TEXT):
            return None
        if not reception.cpim:
            return _AS_TEXT
        address = CpimAddress(room.uri)
        now = date_time(room.now())
        head = build_cpim_head(address, address, now, _CONTENT_TYPE, (*mark("status"), *headers))
        return Rendition(CPIM_TYPE, head, 0)

    return render
