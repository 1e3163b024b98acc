"""The pres-rules documents of a server's rooms: made, removed and followed in the database."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.room import Room
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError, NoSuchRoom
from msrpconf.xcap.store import Change, DocumentStore, Stored, fits
from msrpconf.xcap.watching import RoomRules

INTERVAL = 0.05
"""Seconds in which rooms are collected that have come or gone."""

RETRY = 10.0
"""Seconds until the next attempt, where the database could not be used."""


class RoomDocumentService(Service):
    """Has a document in `database` for each ad-hoc room, and reads those of all rooms.

    Rooms that come and go are written together, a moment later: nobody who joins waits. What
    others have changed takes effect within `refresh` seconds, what is changed by `change` at
    once. While the database is away decisions stay as they are, and watchers of new rooms are
    pending. `server` names this server; `clock` keeps time. `database` is started before this,
    and stopped after.
    """

    name = "msrpconf-room-documents"
    log = Logger()

    def __init__(
        self,
        database: Database,
        registry: ConferenceRegistry,
        clock: IReactorTime,
        refresh: float,
        server: str,
    ) -> None:
        self.rules = RoomRules(clock)
        """Who may watch which room."""
        self.store = DocumentStore(database, server)
        self._registry = registry
        self._clock = clock
        self._refresh = refresh
        self._versions: dict[str, frozenset[tuple[str, str]]] = {}
        self._claimed: set[str] = set()
        # Rooms that have come or gone; those that were never claimed leave nothing behind.
        self._due: set[str] = set()
        self._timer: IDelayedCall | None = None
        # One at a time: else what was read before a change could be applied after it.
        self._lock = DeferredLock()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._away = False
        self._ended = registry.on_ended
        registry.on_made = self._room_made
        registry.on_ended = self._room_ended

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Remove what was left behind, and have the documents of the rooms that there are.

        Fails with `DatabaseError`.
        """
        Service.startService(self)
        left = yield self.store.sweep()
        if left:
            self.log.info("pres-rules: removed {count} of rooms that are no more", count=left)
        yield self._lock.run(lambda: self._load(self._rooms()))
        self._due.clear()
        if self.running:
            self._looking.start(self._refresh, now=False)

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Remove the documents of rooms that have ended, and follow nothing any more."""
        Service.stopService(self)
        if self._looking.running:
            self._looking.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.rules.stop()
        yield self._lock.run(self._write_due)

    def get(self, uri: str) -> Deferred[Stored | None]:
        """A document by its place, None if it is not there. Fails with `DatabaseError`."""
        return self.store.get(uri)

    def change(self, room: Room, uri: str, change: Change) -> Deferred[Stored | None]:
        """Change a document of a room, as `DocumentStore.change` says; it takes effect at once.

        Fails with `NoSuchRoom` where it has ended meanwhile.
        """
        key, ad_hoc = room.key, not room.static

        @inlineCallbacks
        def work() -> Generator[Deferred[Any], Any, Stored | None]:
            if self._registry.rooms.get(key) is not room:
                raise NoSuchRoom(f"{key} has ended")
            result: Stored | None = yield self.store.change(key, uri, change, ad_hoc)
            if ad_hoc and result is not None:
                self._claimed.add(key)
                if key not in self._registry.rooms:
                    self._put_due(key)
            yield self._load((key,))
            return result

        return self._lock.run(work)

    def refresh(self) -> Deferred[None]:
        """Look for what others have changed. Fails with `DatabaseError`."""
        return self._lock.run(self._follow)

    # Rooms come and go.

    def _room_made(self, room: Room) -> None:
        if fits(room.key):
            self._put_due(room.key)
            return
        self.log.warn(
            "{room}: its URI is too long for the table xcap; everybody may watch who may join",
            room=room.key,
        )
        self.rules.put(room.key, ())

    def _room_ended(self, room: Room) -> None:
        self._ended(room)
        self.rules.forget(room.key)
        self._versions.pop(room.key, None)
        if room.key in self._claimed:
            self._put_due(room.key)
        else:
            self._due.discard(room.key)

    def _put_due(self, key: str) -> None:
        self._due.add(key)
        if self._timer is None and self.running:
            self._timer = self._clock.callLater(INTERVAL, self._write)

    def _write(self) -> None:
        self._timer = None
        self._lock.run(self._write_due).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        self.log.failure("pres-rules cannot be written", failure)

    @inlineCallbacks
    def _write_due(self) -> Generator[Deferred[Any], Any, None]:
        """Write what has come and gone, in one transaction. Never fails."""
        due, self._due = self._due, set()
        live = [room for key in due if (room := self._registry.rooms.get(key)) is not None]
        new = [room.key for room in live if not room.static]
        ended = [key for key in due if key not in self._registry.rooms]
        # Before: what ends while it is being written is removed afterwards.
        self._claimed.update(new)
        try:
            if new or ended:
                yield self.store.claim(new, ended)
            self._claimed.difference_update(key for key in ended if key not in self._due)
            yield self._load([room.key for room in live])
        except DatabaseError as error:
            self._tell_away(error)
            # They are tried again, and else nothing of them was written.
            self._claimed.difference_update(new)
            self._due.update(
                key for key in due if key in self._registry.rooms or key in self._claimed
            )
            if self.running and self._timer is None:
                self._timer = self._clock.callLater(RETRY, self._write)
        else:
            self._tell_back()

    # Documents change.

    def _rooms(self) -> list[str]:
        return [key for key in self._registry.rooms if fits(key)]

    @inlineCallbacks
    def _load(self, keys: Sequence[str]) -> Generator[Deferred[Any], Any, None]:
        if not keys:
            return
        found = yield self.store.load(keys)
        for key, documents in found.items():
            self._apply(key, documents)

    def _apply(self, key: str, documents: Iterable[Stored]) -> None:
        if key not in self._registry.rooms or not self.running:
            return
        documents = tuple(documents)
        self._versions[key] = frozenset((each.uri, each.etag) for each in documents)
        self.rules.put(key, (each.document for each in documents))

    @inlineCallbacks
    def _follow(self) -> Generator[Deferred[Any], Any, None]:
        # Those that are due are read when they are written.
        known = [key for key in self._rooms() if key in self._versions]
        if not known:
            return
        versions = yield self.store.versions(known)
        changed = [key for key, found in versions.items() if self._versions.get(key) != found]
        yield self._load(changed)
        self._tell_back()

    def _look(self) -> Deferred[None]:
        return self.refresh().addErrback(self._not_seen)

    def _not_seen(self, failure: Failure) -> None:
        if not isinstance(failure.value, DatabaseError):
            self.log.failure("pres-rules cannot be refreshed", failure)
        elif self.running:
            self._tell_away(failure.value)

    def _tell_away(self, error: DatabaseError) -> None:
        if not self._away:
            self._away = True
            self.log.error("{error}; pres-rules stay as they are", error=str(error))

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            self.log.info("pres-rules: the database is back")
