"""The pres-rules documents of rooms that are on servers elsewhere, which share the database.

They write them; here they are read, for a presence agent, of the rooms that were published.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.published import PublishedStates
from msrpconf.conference.states import Change, ConferenceInfo
from msrpconf.services.followed_documents import INTERVAL, RETRY, FollowedDocuments
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.xcap.store import fits


class PublishedDocuments(FollowedDocuments):
    """Reads the documents of the rooms of `states`, and of those that are `awaited`.

    A room that is new is read a moment later, with the others of that moment. See
    `FollowedDocuments`.
    """

    name = "msrpconf-published-documents"
    log = Logger()

    def __init__(
        self,
        database: Database,
        states: PublishedStates,
        awaited: Callable[[], frozenset[str]],
        clock: IReactorTime,
        refresh: float,
    ) -> None:
        super().__init__(database, clock, refresh)
        self._states = states
        self._look_awaited = awaited
        self._awaited: frozenset[str] = frozenset()
        self._due: set[str] = set()
        self._timer: IDelayedCall | None = None
        states.watch(self._changed)

    def is_there(self, key: str) -> bool:
        """See `FollowedDocuments`."""
        return self._states.find(key) is not None or key in self._awaited

    def rooms(self) -> list[str]:
        """See `FollowedDocuments`."""
        self._awaited = self._look_awaited()
        return list({*self._states, *self._awaited})

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Have the documents of the rooms that there are. Fails with `DatabaseError`."""
        Service.startService(self)
        yield self.load()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Follow nothing any more."""
        Service.stopService(self)
        self.stop_following()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        yield self._lock.run(lambda: None)

    def _changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        if change is None:
            self._due.discard(key)
            self.forget(key)
        elif key in self._versions or key in self._due or self.rules.knows(key):
            return
        elif not fits(key):
            self.allow_all(key)
        else:
            self._due.add(key)
            self._set_timer(INTERVAL)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None and self.running:
            self._timer = self._clock.callLater(seconds, self._read)

    def _read(self) -> None:
        self._timer = None
        self._lock.run(self._read_due).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        self.log.failure("pres-rules cannot be read", failure)

    @inlineCallbacks
    def _read_due(self) -> Generator[Deferred[Any], Any, None]:
        """Read the documents of rooms that have come. Never fails."""
        due, self._due = self._due, set()
        try:
            yield self.load_some(sorted(due))
        except DatabaseError as error:
            self.tell_away(error)
            self._due.update(key for key in due if self.is_there(key))
            if self._due:
                self._set_timer(RETRY)
        else:
            self.tell_back()
