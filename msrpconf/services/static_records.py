"""The records of static rooms, for who does not have the rooms but must know whose they are."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.static import StaticRoom
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.rooms import Changes, RoomStore


class StaticRecords(Service):
    """The records as they are in `database`, and within `refresh` seconds as they are then.

    All of them are in memory. While the database is away they stay as they are. `clock` keeps
    time; `database` is started before this, and stopped after.
    """

    name = "msrpconf-static-records"
    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime, refresh: float) -> None:
        self.records: dict[str, StaticRoom] = {}
        """By the keys of the rooms."""
        self._store = RoomStore(database, clock.seconds)
        self._refresh = refresh
        self._revision = -1
        self._hooks: list[Callable[[str], None]] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._away = False

    def on_change(self, hook: Callable[[str], None]) -> None:
        """Have `hook` called with the key of each room whose record is another."""
        self._hooks.append(hook)

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Read the records. Fails with `DatabaseError`."""
        Service.startService(self)
        yield self.refresh()
        if self.running:
            self._looking.start(self._refresh, now=False)

    def stopService(self) -> None:
        """Follow them no more."""
        Service.stopService(self)
        if self._looking.running:
            self._looking.stop()
        self._hooks.clear()

    def refresh(self) -> Deferred[None]:
        """Look for what has changed. Fails with `DatabaseError`."""
        known = {key: room.revision for key, room in self.records.items()}
        return self._store.changes(self._revision, known).addCallback(self._apply)

    def _apply(self, changes: Changes | None) -> None:
        if self._away:
            self._away = False
            self.log.info("records of static rooms: the database is back")
        if changes is None:
            return
        for problem in changes.problems:
            self.log.error("static room: {problem}; nobody may watch it", problem=problem)
        self._revision = changes.revision
        for room in changes.changed:
            self.records[room.key] = room
        for key in changes.removed:
            self.records.pop(key, None)
        for key in (*(room.key for room in changes.changed), *changes.removed):
            for hook in self._hooks:
                hook(key)

    def _look(self) -> Deferred[None]:
        return self.refresh().addErrback(self._not_seen)

    def _not_seen(self, failure: Failure) -> None:
        if not isinstance(failure.value, DatabaseError):
            self.log.failure("records of static rooms cannot be read", failure)
        elif self.running and not self._away:
            self._away = True
            text = "{error}; records of static rooms stay as they are"
            self.log.error(text, error=failure.getErrorMessage())
