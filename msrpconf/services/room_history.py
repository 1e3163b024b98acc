"""What is said in static rooms goes to the database, and comes back from there at the start."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.history import Said
from msrpconf.conference.room import Room
from msrpconf.storage.database import Database
from msrpconf.storage.history import Bounds, HistoryStore
from msrpconf.storage.said import read_said, write_said


class RoomHistories:
    """Keeps the histories of rooms in `database`; `clock` keeps time."""

    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._store = HistoryStore(database, clock)
        self._limits: dict[str, Bounds] = {}

    def keep(self, room: Room) -> None:
        """Store what is said in a room from now on, and what it has in memory.

        To be called again where the limits of its history have changed.
        """
        said: list[Said] = []
        if room.history.kept is None:
            room.history.kept = partial(self._kept, room)
            said = room.history.messages()
        limits = _bounds(room)
        if said or self._limits.setdefault(room.key, limits) != limits:
            self._store.append(room.key, map(write_said, said), limits)
        self._limits[room.key] = limits

    def forget(self, key: str) -> None:
        """Store no more of a room that was deleted."""
        self._limits.pop(key, None)
        self._store.forget(key)

    def clear(self, room: Room) -> Deferred[None]:
        """Forget what was said in a room, stored or not. Fails with `DatabaseError`."""
        room.history.clear()
        return self._store.clear(room.key)

    @property
    def waiting(self) -> int:
        """Messages that wait to be written."""
        return self._store.waiting

    @property
    def lost(self) -> int:
        """Messages that were not written, because the database was away for too long."""
        return self._store.lost

    @inlineCallbacks
    def restore(self, rooms: Iterable[Room]) -> Generator[Deferred[Any], Any, None]:
        """Give rooms the history that is stored. Fails with `DatabaseError`."""
        empty = {room.key: room for room in rooms if not len(room.history)}
        bounds = {key: _bounds(room) for key, room in empty.items()}
        found = yield self._store.load({key: each for key, each in bounds.items() if each.messages})
        for key, stored in found.items():
            said = []
            for each in stored:
                try:
                    said.append(read_said(each))
                except ValueError as error:
                    self.log.error(
                        "history of {room}: a message cannot be read: {error}",
                        room=key,
                        error=str(error),
                    )
            if not len(empty[key].history):
                empty[key].history.restore(said)

    def stop(self) -> Deferred[Any]:
        """Write what waits, and take no more."""
        return self._store.stop()

    def _kept(self, room: Room, said: Said) -> None:
        self._store.append(room.key, (write_said(said),), _bounds(room))


def _bounds(room: Room) -> Bounds:
    return Bounds(room.settings.history_messages, room.settings.history_age)
