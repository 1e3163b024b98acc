"""Static rooms in the database.

Whoever changes one counts up the revision of all, under its row's lock, and gives
the number to the room: who knows the revision of all sees at a glance whether there
is anything new, and who knows those of the rooms, in which.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import Connection, delete, func, insert, select, update
from twisted.internet.defer import Deferred

from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.static import StaticRoom, StaticRoomError, assigned
from msrpconf.overrides import read_overrides, write_overrides
from msrpconf.storage.database import Database, batches
from msrpconf.storage.errors import DatabaseError, NoSuchRoom, RoomChanged, RoomExists
from msrpconf.storage.schema import MAX_SETTINGS, history, members, rooms, state

MAX_ROOMS = 100_000
"""Static rooms of one database: all are in the memory of each server."""


@frozen
class Changes:
    """What is new in the database: rooms that have changed, and keys of those that are gone.

    `revision` is that of all rooms. `problems` has a line for each room whose record
    cannot be read, which somebody must have written by hand: it is among the
    changed ones, and lets nobody in.
    """

    revision: int
    changed: tuple[StaticRoom, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class RoomStore:
    """Keeps static rooms in `database`; `now` gives the time in seconds of the epoch.

    Each Deferred may fail with `DatabaseError`.
    """

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def changes(self, revision: int, known: Mapping[str, int]) -> Deferred[Changes | None]:
        """What is new to who knows the `known` revisions of rooms by their keys.

        `revision` is that of the last changes; None says that there is nothing new.
        """
        known = dict(known)
        return self._database.read(lambda connection: _changes(connection, revision, known))

    def create(self, room: StaticRoom) -> Deferred[StaticRoom]:
        """Add a room; its record as it is then. `RoomExists`, `StaticRoomError`."""
        return self._database.run(lambda connection: _create(connection, room, self._now()))

    def change(self, room: StaticRoom, revision: int | None = None) -> Deferred[StaticRoom]:
        """Put a record in the place of the one with its key; it as it is then.

        With a `revision`, only if the room has that one still: else `RoomChanged`.
        `NoSuchRoom`, `StaticRoomError`.
        """
        return self._database.run(
            lambda connection: _change(connection, room, revision, self._now())
        )

    def delete(self, key: str, revision: int | None = None) -> Deferred[None]:
        """Take a room away, and what was said in it. `NoSuchRoom`, `RoomChanged`."""
        return self._database.run(lambda connection: _delete(connection, key, revision))


def _changes(connection: Connection, revision: int, known: dict[str, int]) -> Changes | None:
    # Before the rooms: what is written in between is new again the next time.
    current = connection.scalar(select(state.c.value).where(state.c.name == "rooms")) or 0
    if current == revision:
        return None
    if (count := _count(connection)) > MAX_ROOMS:
        raise DatabaseError(f"it has {count} static rooms, and {MAX_ROOMS} is the most")
    query = select(rooms.c.room, rooms.c.revision)
    revisions = {row.room: row.revision for row in connection.execute(query)}
    changed = [key for key, number in revisions.items() if known.get(key) != number]
    removed = tuple(key for key in known if key not in revisions)
    records: list[StaticRoom] = []
    problems: list[str] = []
    for keys in batches(changed):
        users = _users(connection, keys)
        for row in connection.execute(select(rooms).where(rooms.c.room.in_(keys))).mappings():
            try:
                records.append(_record(dict(row), users[row["room"]]))
            except (ValueError, KeyError, TypeError) as error:
                lines = " ".join(str(error).split())
                problems.append(f"the record of {row['room']} cannot be read: {lines}")
                closed = _closed(dict(row))
                if closed is not None:
                    records.append(closed)
    return Changes(current, tuple(records), removed, tuple(problems))


def _users(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    users: dict[str, dict[str, str]] = defaultdict(dict)
    query = select(members).where(members.c.room.in_(keys)).order_by(members.c.user)
    for key, user, role in connection.execute(query):
        users[key][user] = role
    return users


def _record(row: Mapping[str, Any], users: Mapping[str, str]) -> StaticRoom:
    settings = json.loads(row["settings"])
    if not isinstance(settings, dict):
        raise StaticRoomError("settings: expected a JSON object")
    record = StaticRoom(
        row["uri"],
        row["subject"],
        row["display_text"],
        row["free_text"],
        Roles(
            assigned({user: Role.parse(role) for user, role in users.items()}),
            Role.parse(row["others"]),
            members_only=bool(row["members_only"]),
            locked=bool(row["locked"]),
        ),
        read_overrides(settings),
        row["created"],
        row["changed"],
        row["revision"],
    )
    if record.key != row["room"]:
        raise StaticRoomError(f"its uri is {record.uri}, whose key is {record.key}")
    return record


def _closed(row: Mapping[str, Any]) -> StaticRoom | None:
    """The room of a record that cannot be read: there, so that nobody makes another; closed."""
    try:
        record = StaticRoom(row["room"], roles=Roles(members_only=True), revision=row["revision"])
    except StaticRoomError:
        return None
    return record if record.key == row["room"] else None


def _create(connection: Connection, room: StaticRoom, now: float) -> StaticRoom:
    revision = _next_revision(connection)
    key = room.key
    if _revision_of(connection, key) is not None:
        raise RoomExists(f"{key} is set up already")
    if _count(connection) >= MAX_ROOMS:
        raise StaticRoomError(f"there are {MAX_ROOMS} static rooms already, and that is the most")
    roles = _canonical(room.roles)
    room = evolve(room, roles=roles, created=now, changed=now, revision=revision)
    connection.execute(insert(rooms).values(room=key, **_columns(room)))
    _assign(connection, room)
    return room


def _change(
    connection: Connection, room: StaticRoom, revision: int | None, now: float
) -> StaticRoom:
    new_revision = _next_revision(connection)
    key = room.key
    _check_revision(connection, key, revision)
    created = connection.scalar(select(rooms.c.created).where(rooms.c.room == key)) or now
    roles = _canonical(room.roles)
    room = evolve(room, roles=roles, created=created, changed=now, revision=new_revision)
    connection.execute(update(rooms).where(rooms.c.room == key).values(_columns(room)))
    connection.execute(delete(members).where(members.c.room == key))
    _assign(connection, room)
    return room


def _delete(connection: Connection, key: str, revision: int | None) -> None:
    _next_revision(connection)
    _check_revision(connection, key, revision)
    # The room first: who adds to its history holds its row, and is done then.
    for table in (rooms, members, history):
        connection.execute(delete(table).where(table.c.room == key))


def _canonical(roles: Roles) -> Roles:
    """The same with users as they are compared, whoever wrote them."""
    return evolve(roles, assigned=assigned(roles.assigned))


def _next_revision(connection: Connection) -> int:
    """Count up the revision of all rooms; whoever else writes waits for our end."""
    connection.execute(update(state).where(state.c.name == "rooms").values(value=state.c.value + 1))
    revision: int | None = connection.scalar(select(state.c.value).where(state.c.name == "rooms"))
    if revision is None:
        raise DatabaseError("its table msrpconf_state has no row 'rooms'")
    return revision


def _revision_of(connection: Connection, key: str) -> int | None:
    return connection.scalar(select(rooms.c.revision).where(rooms.c.room == key))


def _check_revision(connection: Connection, key: str, revision: int | None) -> None:
    found = _revision_of(connection, key)
    if found is None:
        raise NoSuchRoom(f"{key} is not set up")
    if revision is not None and revision != found:
        raise RoomChanged(f"{key} was changed by somebody else: read it again")


def _count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(rooms)) or 0


def _columns(room: StaticRoom) -> dict[str, Any]:
    settings = json.dumps(write_overrides(room.settings), sort_keys=True)
    if len(settings) > MAX_SETTINGS:
        raise StaticRoomError(f"settings: {len(settings)} characters; {MAX_SETTINGS} at most")
    return {
        "uri": room.uri,
        "subject": room.subject,
        "display_text": room.display_text,
        "free_text": room.free_text,
        "others": room.roles.others.text,
        "members_only": int(room.roles.members_only),
        "locked": int(room.roles.locked),
        "settings": settings,
        "created": room.created,
        "changed": room.changed,
        "revision": room.revision,
    }


def _assign(connection: Connection, room: StaticRoom) -> None:
    rows = [
        {"room": room.key, "user": user, "role": role.text}
        for user, role in room.roles.assigned.items()
    ]
    if rows:
        connection.execute(insert(members), rows)
