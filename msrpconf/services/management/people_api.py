"""The operations on the people in a room."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference import operating
from msrpconf.conference.moderation import set_roles
from msrpconf.conference.operating import find_room, keys_of, participants_named, with_role
from msrpconf.conference.roles import Role
from msrpconf.conference.room import Room
from msrpconf.services.management import views
from msrpconf.services.management.http import Answer
from msrpconf.services.management.parts import Parts
from msrpconf.services.management.problem import Problem
from msrpconf.services.management.router import Asked
from msrpconf.storage.errors import RoomChanged


class PeopleApi:
    """The operations on participants, users and invitations."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def _room(self, asked: Asked) -> Room:
        return find_room(self._parts.registry, asked.path["room"])

    def participants(self, asked: Asked) -> Answer:
        """Who is in a room."""
        everybody = list(self._room(asked).participants)
        after, limit = asked.query["after"], asked.query["limit"]
        start = 0
        if after is not None:
            ids = [each.dialog.local_tag for each in everybody]
            if after not in ids:
                raise Problem(400, "after: they have left meanwhile; begin again without it")
            start = ids.index(after) + 1
        page = everybody[start : start + limit]
        more = start + limit < len(everybody)
        return Answer(
            {
                "participants": [views.participant(each) for each in page],
                "total": len(everybody),
                "next": page[-1].dialog.local_tag if more else None,
            }
        )

    def participant(self, asked: Asked) -> Answer:
        """The devices of a user, or one."""
        found = participants_named(self._room(asked), asked.path["who"])
        return Answer(
            {
                "participants": [views.participant(each) for each in found],
                "total": len(found),
                "next": None,
            }
        )

    def remove_participant(self, asked: Asked) -> Answer:
        """Send a user out, or one device."""
        found = participants_named(self._room(asked), asked.path["who"])
        return Answer({"removed": operating.remove(self._parts.control, found)})

    def user(self, asked: Asked) -> Answer:
        """What a user is in a room."""
        room = self._room(asked)
        return _user(room, keys_of(room, asked.path["user"]))

    @inlineCallbacks
    def change_user(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Give a user a role, ban, mute."""
        room = self._room(asked)
        keys = keys_of(room, asked.path["user"])
        body = asked.body
        if "role" in body:
            role = None if body["role"] is None else Role.parse(body["role"])
            if room.static:
                yield self._assign(room, keys, role)
            else:
                set_roles(self._parts.control, room, with_role(room.roles, keys, role))
        if "muted" in body:
            operating.mute(self._parts.control, room, keys, body["muted"])
        return _user(room, keys)

    @inlineCallbacks
    def _assign(
        self, room: Room, keys: tuple[str, ...], role: Role | None
    ) -> Generator[Deferred[Any], Any, None]:
        """Change a role in a static room's record, as it is by now."""
        static = self._parts.static_rooms
        assert static is not None, "who else has set it up?"
        for last in (False, True):
            record = static.rooms[room.key]
            changed = evolve(record, roles=with_role(record.roles, keys, role))
            try:
                yield static.change(changed, record.revision)
                return
            except RoomChanged:
                if last:
                    raise
                yield static.refresh()

    def invitations(self, asked: Asked) -> Answer:
        """Who was asked into a room."""
        room = self._room(asked)
        return Answer({"invitations": [views.invitation(each) for each in room.invitations]})

    def invite(self, asked: Asked) -> Answer:
        """Ask people in."""
        invited = operating.invite(self._parts.control, self._room(asked), asked.body["users"])
        return Answer({"invited": invited}, 202)


def _user(room: Room, keys: tuple[str, ...]) -> Answer:
    roles = room.roles
    role = next((roles.assigned[key] for key in keys if key in roles.assigned), None)
    return Answer(
        {
            "user": keys[0],
            "role": None if role is None else role.text,
            "muted": not roles.muted.isdisjoint(keys),
            "participants": sum(
                not set(each.identity.keys).isdisjoint(keys) for each in room.participants
            ),
        }
    )
