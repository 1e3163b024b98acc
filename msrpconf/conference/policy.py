"""Who may do what. A decision is a value: None allows, `Denied` says why not."""

from __future__ import annotations

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings

_LATER = (("Retry-After", "60"),)


def may_join(
    settings: ServerSettings, registry: ConferenceRegistry, key: str, user: Identity
) -> Denied | None:
    """Whether `user` may enter the room `key`, or create it by doing so (RFC 4579 §5.1)."""
    room = registry.rooms.get(key)
    if room is None:
        if not settings.ad_hoc:
            return Denied(404, "No such room: ask the operator to set it up")
        if len(registry.rooms) >= settings.max_rooms:
            text = f"This server has its {settings.max_rooms} rooms: try again later"
            return Denied(503, text, _LATER)
    elif len(room.participants) >= room.settings.max_participants:
        text = f"The room is full: it takes {room.settings.max_participants} participants"
        return Denied(486, text)
    if len(registry.sessions) >= settings.max_sessions:
        text = f"This server has its {settings.max_sessions} participants: try again later"
        return Denied(503, text, _LATER)
    return None
