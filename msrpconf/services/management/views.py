"""Rooms and participants as JSON shows them: see `schemas`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import fields

from msrpconf.conference.history import Said
from msrpconf.conference.identity import Identity
from msrpconf.conference.invitation import Invitation
from msrpconf.conference.participant import Participant
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.static import StaticRoom
from msrpconf.overrides import write_overrides
from msrpconf.protocols.watcher_info import Watcher
from msrpconf.services.servers_seen import CONNECTED, SeenServer

Document = dict[str, Any]


def time(seconds: float) -> str:
    """Seconds of the epoch as RFC 3339 has them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def summary(room: Room) -> Document:
    """A room in a list."""
    return {
        "uri": room.uri,
        "static": room.static,
        "subject": room.subject or "",
        "participants": len(room.participants),
        "members_only": room.roles.members_only,
        "locked": room.roles.locked,
        "messages": room.messages,
        "private_messages": room.private_messages,
        "undelivered": room.undelivered,
    }


def room_in_full(room: Room, record: StaticRoom | None) -> Document:
    """One room; `record` is that of a static one."""
    settings = {each.name: getattr(room.settings, each.name) for each in fields(RoomSettings)}
    known = record is not None and record.revision
    return {
        **summary(room),
        "display_text": room.display_text or "",
        "free_text": room.free_text or "",
        "others": room.roles.others.text,
        "users": {user: role.text for user, role in sorted(room.roles.assigned.items())},
        "muted": sorted(room.roles.muted),
        "invitations": sum(each.open for each in room.invitations),
        "history": len(room.history),
        "settings": write_overrides(settings),
        "overrides": {} if record is None else write_overrides(record.settings),
        "created": time(record.created) if record is not None and known else None,
        "changed": time(record.changed) if record is not None and known else None,
        "revision": None if record is None else record.revision,
    }


def participant(each: Participant) -> Document:
    """Somebody in a room, from one device."""
    identity, session = each.identity, each.session
    return {
        "id": each.dialog.local_tag,
        "user": identity.key,
        "uri": identity.uri,
        "display_name": identity.display_name,
        "nickname": each.room.nicknames.of(each),
        "anonymous": identity.anonymous,
        "state": each.state.value,
        "role": each.role.text,
        "muted": each.muted,
        "connected": session.connection is not None,
        "congested": session.congested,
        "queued_octets": session.queued,
        "sent_octets": session.written,
        "call_id": each.dialog.call_id,
    }


def watcher(identity: Identity, each: Watcher) -> Document:
    """Somebody who watches a room, or asks to."""
    return {
        "id": each.id,
        "user": identity.key,
        "uri": each.uri,
        "display_name": each.display_name,
        "anonymous": identity.anonymous,
        "status": each.status,
        "event": each.event,
        "duration": each.duration,
        "expires_in": each.expiration,
    }


def invitation(each: Invitation) -> Document:
    """An invitation, as it stands."""
    return {
        "user": each.guest.key,
        "by": each.inviter.key,
        "state": each.state.value,
        "outcome": str(each.outcome),
        "since": time(each.since),
        "changed": time(each.changed),
    }


def message(said: Said) -> Document:
    """A message of a room's history."""
    is_text = said.media_type.startswith("text/")
    return {
        "from": said.speaker.uri,
        "name": said.speaker.name,
        "at": time(said.at),
        "content_type": said.content_type,
        "octets": len(said.content),
        "text": said.content.decode("utf-8", "replace") if is_text else None,
    }


def server(each: SeenServer) -> Document:
    """A server, as a dispatcher sees it."""
    end, entry, link, counters = each.end, each.entry, each.link, each.counters
    pinged = None if link is None else link.pinged
    return {
        "name": each.name,
        "address": each.address,
        "state": each.state,
        "since": None if end is None else time(end.since),
        "draining": entry is not None and entry.draining,
        "capacity": 0 if entry is None else entry.capacity,
        "rooms": 0 if entry is None else len(entry.rooms),
        "dialogs": 0 if entry is None else len(entry.dialogs),
        "waiting": 0 if link is None else link.waiting,
        "handling": 0 if link is None else link.handling,
        "queued_octets": 0 if link is None else link.queued,
        "pinged": None if pinged is None else time(pinged),
        "round_trip": None if link is None else link.round_trip,
        "error": None if end is None else end.error,
        "error_at": None if end is None or end.error is None else time(end.error_at),
        "connects": counters.connects,
        "octets_in": counters.octets_in,
        "octets_out": counters.octets_out,
    }


def placed_room(room: str, each: SeenServer) -> Document:
    """A room, and the server that it is on."""
    return {
        "uri": room,
        "server": each.name,
        "connected": each.state == CONNECTED,
        "dialogs": 0 if each.entry is None else each.entry.rooms[room],
    }
