"""Who may do what. A decision is a value: None allows, `Denied` says why not."""

from __future__ import annotations

from collections.abc import Mapping

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.room import Room
from msrpconf.conference.settings import ServerSettings


def may_join(
    settings: ServerSettings, rooms: Mapping[str, Room], key: str, user: Identity
) -> Denied | None:
    """Whether `user` may enter the room `key`, or create it by doing so (RFC 4579 §5.1)."""
    room = rooms.get(key)
    if room is None:
        if not settings.ad_hoc:
            return Denied(404, "No such room: ask the operator to set it up")
        if len(rooms) >= settings.max_rooms:
            return Denied(
                503,
                f"This server has its {settings.max_rooms} rooms: try again later",
                (("Retry-After", "60"),),
            )
        return None
    if len(room.participants) >= settings.max_participants:
        return Denied(486, f"The room is full: it takes {settings.max_participants} participants")
    return None
