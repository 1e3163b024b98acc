"""The pres-rules documents of a server's rooms: made, removed and followed in the database."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.room import Room
from msrpconf.services.followed_documents import INTERVAL, RETRY, FollowedDocuments
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError, NoSuchRoom
from msrpconf.xcap.store import Change, Stored, fits


class RoomDocumentService(FollowedDocuments):
    """Has a document in `database` for each ad-hoc room, and reads those of all rooms.

    Rooms that come and go are written together, a moment later: nobody who joins waits. What is
    changed by `change` takes effect at once. `server` names this server. See `FollowedDocuments`.
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
        super().__init__(database, clock, refresh, server)
        self._registry = registry
        self._claimed: set[str] = set()
        # Rooms that have come or gone; those that were never claimed leave nothing behind.
        self._due: set[str] = set()
        self._timer: IDelayedCall | None = None
        self._ended = registry.on_ended
        registry.on_made = self._room_made
        registry.on_ended = self._room_ended

    def is_there(self, key: str) -> bool:
        """See `FollowedDocuments`."""
        return key in self._registry.rooms

    def rooms(self) -> list[str]:
        """See `FollowedDocuments`."""
        return list(self._registry.rooms)

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Remove what was left behind, and have the documents of the rooms that there are.

        Fails with `DatabaseError`.
        """
        Service.startService(self)
        left = yield self.store.sweep()
        if left:
            self.log.info("pres-rules: removed {count} of rooms that are no more", count=left)
        yield self.load()
        self._due.clear()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Remove the documents of rooms that have ended, and follow nothing any more."""
        Service.stopService(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.stop_following()
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
            yield self.load_some((key,))
            return result

        return self._lock.run(work)

    # Rooms come and go.

    def _room_made(self, room: Room) -> None:
        if fits(room.key):
            self._put_due(room.key)
            return
        self.allow_all(room.key)

    def _room_ended(self, room: Room) -> None:
        self._ended(room)
        self.forget(room.key)
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
            yield self.load_some([room.key for room in live])
        except DatabaseError as error:
            self.tell_away(error)
            # They are tried again, and else nothing of them was written.
            self._claimed.difference_update(new)
            self._due.update(
                key for key in due if key in self._registry.rooms or key in self._claimed
            )
            if self.running and self._timer is None:
                self._timer = self._clock.callLater(RETRY, self._write)
        else:
            self.tell_back()
