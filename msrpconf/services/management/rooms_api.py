"""The operations on rooms."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference import operating
from msrpconf.conference.operating import CannotBeDone, find_room, record_of, with_scheme
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.room import Room
from msrpconf.conference.static import StaticRoom, assigned
from msrpconf.overrides import read_overrides, write_overrides
from msrpconf.services.management import views
from msrpconf.services.management.http import Answer
from msrpconf.services.management.parts import Parts
from msrpconf.services.management.problem import Problem
from msrpconf.services.management.router import Asked
from msrpconf.services.static_rooms import StaticRoomService

NO_DATABASE = (
    "this server keeps no rooms: write [database] into its configuration, and start it again"
)


class RoomsApi:
    """The operations on rooms: static ones are changed in the database, others where they are."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def _record(self, room: Room) -> StaticRoom | None:
        static = self._parts.static_rooms
        return None if static is None else static.rooms.get(room.key)

    def _show(self, room: Room, status: int = 200) -> Answer:
        return Answer(views.room_in_full(room, self._record(room)), status)

    def _static(self) -> StaticRoomService:
        static = self._parts.static_rooms
        if static is None:
            raise Problem(409, NO_DATABASE)
        return static

    def rooms(self, asked: Asked) -> Answer:
        """The rooms, by their URIs."""
        query = asked.query
        rooms = _matching(self._parts.registry.rooms, query["match"], query["kind"])
        after, limit = query["after"], query["limit"]
        rest = [key for key in rooms if after is None or key > after]
        page = rest[:limit]
        return Answer(
            {
                "rooms": [views.summary(self._parts.registry.rooms[key]) for key in page],
                "total": len(rooms),
                "next": page[-1] if len(rest) > limit else None,
            }
        )

    def room(self, asked: Asked) -> Answer:
        """One room."""
        return self._show(find_room(self._parts.registry, asked.path["room"]))

    @inlineCallbacks
    def create_room(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Set up a static room."""
        body = asked.body
        static = self._static()
        record = StaticRoom(
            with_scheme(body["uri"]),
            body.get("subject", ""),
            body.get("display_text", ""),
            body.get("free_text", ""),
            Roles(
                _users(body.get("users", {})),
                Role.parse(body.get("others", "participant")),
                members_only=body.get("members_only", False),
                locked=body.get("locked", False),
            ),
            read_overrides(body.get("settings", {})),
        )
        made = yield static.create(record)
        return self._show(find_room(self._parts.registry, made.key), 201)

    @inlineCallbacks
    def change_room(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Change a room; of one that is not static, while it is there."""
        body = asked.body
        room = find_room(self._parts.registry, asked.path["room"])
        before = self._record(room)
        changed = _merged(record_of(room) if before is None else before, body)
        revision = body.get("revision")
        if before is not None:
            # What we show is what is changed: not what somebody else has written meanwhile.
            expected = before.revision if revision is None else revision
            yield self._static().change(changed, expected)
        elif revision is not None:
            raise CannotBeDone("revision: only a static room has one")
        else:
            operating.apply(self._parts.control, room, changed)
        return self._show(room)

    @inlineCallbacks
    def delete_room(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """End a room."""
        room = find_room(self._parts.registry, asked.path["room"])
        count = len(room.participants)
        if room.static:
            yield self._static().delete(room.key)
        else:
            operating.close(self._parts.control, room)
        return Answer({"removed": count})

    def close_room(self, asked: Asked) -> Answer:
        """Send everybody out."""
        room = find_room(self._parts.registry, asked.path["room"])
        return Answer({"removed": operating.close(self._parts.control, room)})

    def announce(self, asked: Asked) -> Answer:
        """Say something in the room's name."""
        room = find_room(self._parts.registry, asked.path["room"])
        return Answer({"recipients": operating.announce(room, asked.body["text"])})

    def history(self, asked: Asked) -> Answer:
        """What was said."""
        room = find_room(self._parts.registry, asked.path["room"])
        said = room.history.messages()
        page = said[-asked.query["limit"] :]
        return Answer({"messages": [views.message(each) for each in page], "total": len(said)})

    @inlineCallbacks
    def clear_history(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Forget what was said."""
        room = find_room(self._parts.registry, asked.path["room"])
        if self._record(room) is not None:
            yield self._static().clear_history(room.key)
        else:
            room.history.clear()
        return Answer(status=204)


def _matching(rooms: Mapping[str, Room], match: str | None, kind: str) -> list[str]:
    """The keys of the rooms that are asked for, in order."""
    found: Iterable[Room] = rooms.values()
    if kind == "static":
        found = (each for each in found if each.static)
    elif kind == "ad-hoc":
        found = (each for each in found if not each.static)
    elif kind == "occupied":
        found = (each for each in found if each.participants)
    if match:
        part = match.casefold()
        found = (
            each
            for each in found
            if part in each.uri.casefold() or part in (each.subject or "").casefold()
        )
    return sorted(each.key for each in found)


def _users(roles: Mapping[str, str]) -> dict[str, Role]:
    """A list of users as JSON has it, by canonical URIs. Raises `StaticRoomError`."""
    return assigned({with_scheme(user): Role.parse(role) for user, role in roles.items()})


def _merged(record: StaticRoom, change: Mapping[str, Any]) -> StaticRoom:
    """A record with a change of JSON merged into it (RFC 7396). Raises `StaticRoomError`."""
    texts: dict[str, Any] = {
        name: change[name] or ""
        for name in ("subject", "display_text", "free_text")
        if name in change
    }
    roles = record.roles
    users: dict[str, Role] = dict(roles.assigned)
    for text, role in change.get("users", {}).items():
        (key,) = _users({text: "member"})
        users.pop(key, None)
        if role is not None:
            users[key] = Role.parse(role)
    others = change.get("others")
    roles = Roles(
        users,
        roles.others if others is None else Role.parse(others),
        members_only=change.get("members_only", roles.members_only),
        locked=change.get("locked", roles.locked),
    )
    settings = dict(write_overrides(record.settings))
    for name, value in change.get("settings", {}).items():
        settings.pop(name, None)
        if value is not None:
            settings[name] = value
    return evolve(record, roles=roles, settings=read_overrides(settings), **texts)
