"""The pres-rules documents of rooms, as the database has them, and who may watch by them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.xcap.store import DocumentStore, Stored, fits
from msrpconf.xcap.watching import RoomRules

INTERVAL = 0.05
"""Seconds in which rooms are collected that have come or gone."""

RETRY = 10.0
"""Seconds until the next attempt, where the database could not be used."""


class FollowedDocuments(Service):
    """Reads the documents of the rooms that there are, and again what others have changed.

    That takes effect within `refresh` seconds. While the database is away decisions stay as they
    are, and watchers of new rooms are pending. `server` is who writes documents here, if anybody;
    `clock` keeps time. `database` is started before this, and stopped after.
    """

    log = Logger()

    def __init__(
        self, database: Database, clock: IReactorTime, refresh: float, server: str = ""
    ) -> None:
        self.rules = RoomRules(clock)
        """Who may watch which room."""
        self.store = DocumentStore(database, server)
        self._clock = clock
        self._refresh = refresh
        self._versions: dict[str, frozenset[tuple[str, str]]] = {}
        # One at a time: else what was read before a change could be applied after it.
        self._lock = DeferredLock()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._away = False

    def is_there(self, key: str) -> bool:
        """Whether there is a room of that key."""
        raise NotImplementedError

    def rooms(self) -> list[str]:
        """The keys of all rooms."""
        raise NotImplementedError

    @inlineCallbacks
    def load(self) -> Generator[Deferred[Any], Any, None]:
        """Have the documents of the rooms that there are, and follow them from now on.

        Fails with `DatabaseError`.
        """
        yield self._lock.run(lambda: self.load_some([key for key in self.rooms() if fits(key)]))
        if self.running:
            self._looking.start(self._refresh, now=False)

    def stop_following(self) -> None:
        """Follow nothing any more."""
        if self._looking.running:
            self._looking.stop()
        self.rules.stop()

    def refresh(self) -> Deferred[None]:
        """Look for what others have changed. Fails with `DatabaseError`."""
        return self._lock.run(self._follow)

    def allow_all(self, key: str) -> None:
        """The table cannot have documents of a room."""
        self.log.warn(
            "{room}: its URI is too long for the table xcap; everybody may watch who may join",
            room=key,
        )
        self.rules.put(key, ())

    def forget(self, key: str) -> None:
        """A room has ended."""
        self.rules.forget(key)
        self._versions.pop(key, None)

    @inlineCallbacks
    def load_some(self, keys: Sequence[str]) -> Generator[Deferred[Any], Any, None]:
        """Read the documents of some rooms. Fails with `DatabaseError`."""
        if not keys:
            return
        found = yield self.store.load(keys)
        for key, documents in found.items():
            self._apply(key, documents)

    def _apply(self, key: str, documents: Iterable[Stored]) -> None:
        if not (self.is_there(key) and self.running):
            return
        documents = tuple(documents)
        self._versions[key] = frozenset((each.uri, each.etag) for each in documents)
        self.rules.put(key, (each.document for each in documents))

    @inlineCallbacks
    def _follow(self) -> Generator[Deferred[Any], Any, None]:
        # Those that are due are read when they are written.
        known = [key for key in self.rooms() if key in self._versions]
        if not known:
            return
        versions = yield self.store.versions(known)
        changed = [key for key, found in versions.items() if self._versions.get(key) != found]
        yield self.load_some(changed)
        self.tell_back()

    def _look(self) -> Deferred[None]:
        return self.refresh().addErrback(self._not_seen)

    def _not_seen(self, failure: Failure) -> None:
        if not isinstance(failure.value, DatabaseError):
            self.log.failure("pres-rules cannot be refreshed", failure)
        elif self.running:
            self.tell_away(failure.value)

    def tell_away(self, error: DatabaseError) -> None:
        """Say once that the database cannot be used."""
        if not self._away:
            self._away = True
            self.log.error("{error}; pres-rules stay as they are", error=str(error))

    def tell_back(self) -> None:
        """Say that it can, if it could not."""
        if self._away:
            self._away = False
            self.log.info("pres-rules: the database is back")
