"""The static rooms of a server, as the database has them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.room import Room
from msrpconf.conference.static import Server, StaticRoom, StaticRooms
from msrpconf.services.room_history import RoomHistories
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.rooms import Changes, RoomStore

T = TypeVar("T")


class StaticRoomService(Service):
    """Keeps a server's static rooms as they are in `database`, and changes them there.

    All of them are in memory, so that nobody who joins waits for the database. What
    is changed here takes effect at once, before its Deferred is done; what another
    process has changed, within `refresh` seconds. While the database is away the
    rooms stay as they are. `clock` keeps time.
    """

    name = "msrpconf-static-rooms"
    log = Logger()

    def __init__(
        self, database: Database, control: Server, clock: IReactorTime, refresh: float
    ) -> None:
        self.database = database
        self.histories = RoomHistories(database, clock)
        """What was said in these rooms."""
        self._registry = control.registry
        self._store = RoomStore(database, clock.seconds)
        self._rooms = StaticRooms(control)
        self._refresh = refresh
        self._revision = -1
        # One at a time: else what was read before a change could be applied after it.
        self._lock = DeferredLock()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self.away: str | None = None
        """Why the database cannot be used just now; None while it can."""

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Open the database and have its rooms.

        Fails with `DatabaseError`: then stop the service.
        """
        Service.startService(self)
        yield self.database.start()
        if not self.running:
            return  # stopped meanwhile
        yield self.refresh()
        self.log.info(
            "{name}: {count} static rooms", name=self.database.name, count=len(self.rooms)
        )
        if self.running:
            self._looking.start(self._refresh, now=False)

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Finish what was begun, and close the database."""
        Service.stopService(self)
        if self._looking.running:
            self._looking.stop()
        yield self.histories.stop()
        yield self.database.stop()

    @property
    def rooms(self) -> dict[str, StaticRoom]:
        """The records by key, as this process knows them."""
        return self._rooms.records

    def create(self, room: StaticRoom) -> Deferred[StaticRoom]:
        """Set up a room; its record as it is then.

        Fails with `RoomExists`, `StaticRoomError` or `DatabaseError`.
        """
        return self._write(lambda: self._store.create(room), self._put)

    def change(self, room: StaticRoom, revision: int | None = None) -> Deferred[StaticRoom]:
        """Put a record in the place of the one with its key; it as it is then.

        With a `revision`, only if the room has that one still: else it fails with
        `RoomChanged`; also with `NoSuchRoom`, `StaticRoomError` or `DatabaseError`.
        """
        return self._write(lambda: self._store.change(room, revision), self._put)

    def delete(self, key: str, revision: int | None = None) -> Deferred[None]:
        """End a room, and forget what was said in it; who is in it is sent out.

        Fails with `NoSuchRoom`, `RoomChanged` or `DatabaseError`.
        """
        return self._write(lambda: self._store.delete(key, revision), lambda _: self._remove(key))

    def clear_history(self, key: str) -> Deferred[None]:
        """Forget what was said in a room, there as here. Fails with `DatabaseError`."""
        return self.histories.clear(self._registry.rooms[key])

    def read_again(self, room: Room) -> Deferred[None]:
        """Give a room that has come from another server the history that is stored."""
        return self.histories.restore([room]).addErrback(self._not_read, room)

    def _not_read(self, failure: Failure, room: Room) -> None:
        failure.trap(DatabaseError)
        text = "{room}: what was said there cannot be read: {error}"
        self.log.error(text, room=room.uri, error=failure.getErrorMessage())

    def refresh(self) -> Deferred[None]:
        """Look for what other processes have changed. Fails with `DatabaseError`."""
        return self._lock.run(lambda: self._changes().addCallback(self._apply))

    def apply_defaults(self) -> None:
        """Have the settings of all rooms follow the configuration's, which have changed."""
        for record in list(self.rooms.values()):
            self._put(record)

    def _write(self, ask: Callable[[], Deferred[T]], apply: Callable[[T], None]) -> Deferred[T]:
        def done(result: T) -> T:
            apply(result)
            return result

        return self._lock.run(lambda: ask().addCallback(done))

    def _changes(self) -> Deferred[Changes | None]:
        known = {key: room.revision for key, room in self.rooms.items()}
        return self._store.changes(self._revision, known)

    def _apply(self, changes: Changes | None) -> Deferred[None] | None:
        if changes is None:
            return None
        for problem in changes.problems:
            self.log.error("static room: {problem}; nobody is let in", problem=problem)
        for room in changes.changed:
            self._put(room)
        for key in changes.removed:
            self._remove(key)
        self._revision = changes.revision
        # What was said in new rooms before they came to be here.
        return self.histories.restore(self._registry.rooms[each.key] for each in changes.changed)

    def _put(self, room: StaticRoom) -> None:
        self._rooms.put(room)
        self.histories.keep(self._registry.rooms[room.key])

    def _remove(self, key: str) -> None:
        self._rooms.remove(key)
        self.histories.forget(key)

    def _look(self) -> Deferred[None]:
        return self.refresh().addCallbacks(self._seen, self._not_seen)

    def _seen(self, _: object) -> None:
        if self.away is not None:
            self.away = None
            self.log.info("{name}: it is back", name=self.database.name)

    def _not_seen(self, failure: Failure) -> None:
        if failure.check(DatabaseError) is None:
            self.log.failure("static rooms cannot be refreshed", failure)
        elif self.running:
            told, self.away = self.away, failure.getErrorMessage()
            if told is None:
                self.log.error("{error}; static rooms stay as they are", error=self.away)
