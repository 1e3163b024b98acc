"""A presence agent whose rooms are on servers elsewhere, which publish them to it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.published import PublishedStates
from msrpconf.config import Config
from msrpconf.presence.published_policy import PublishedWatchPolicy, RoomRights
from msrpconf.presence.watching import CONFERENCE_EVENT, WatchPolicy
from msrpconf.services.configured import presence_settings
from msrpconf.services.endpoint import SipEndpoint
from msrpconf.services.presence import PresenceService
from msrpconf.services.presence_memory import PATIENCE
from msrpconf.services.published_documents import PublishedDocuments
from msrpconf.services.static_records import StaticRecords
from msrpconf.services.watch_policy import RuledWatchPolicy
from msrpconf.storage.database import Database


class PublishedPresence(Service):
    """The presence agent at an `endpoint`, beside a focus or by itself.

    It starts before the endpoint, and stops before it; `load` is to be done first, and `opened`
    says that the ports are open. With a `database`, which is started before and stopped after, it
    keeps what it knows there under the name `kept_as`, and reads there who may watch: the
    documents of rooms, and the records of those that are static.
    """

    name = "msrpconf-published-presence"

    def __init__(
        self,
        reactor: Any,
        endpoint: SipEndpoint,
        config: Config,
        database: Database | None,
        kept_as: str,
    ) -> None:
        self._defaults = config.conference.room
        self.states = PublishedStates(reactor)
        """What servers have published."""
        self.records: StaticRecords | None = None
        self.documents: PublishedDocuments | None = None
        self.agent = PresenceService(
            reactor,
            endpoint,
            self.states,
            self._make_policy(reactor, config, database),
            # Participants and rooms are the servers'.
            lambda request: None,
            presence_settings(config),
        )
        self.agent.agent.published = self.states.handle
        if database is not None:
            self.agent.keep_in(database, kept_as, PATIENCE)

    def _make_policy(self, reactor: Any, config: Config, database: Database | None) -> WatchPolicy:
        if database is None:
            return PublishedWatchPolicy(self.states)
        refresh = config.database.refresh
        self.records = StaticRecords(database, reactor, refresh)
        self.records.on_change(
            lambda key: self.agent.notifier.reconsider(CONFERENCE_EVENT, key),
        )
        self.documents = PublishedDocuments(database, self.states, self._watched, reactor, refresh)
        policy = PublishedWatchPolicy(self.states, self._rights)
        return RuledWatchPolicy(policy, self.documents.rules)

    def _rights(self, key: str) -> RoomRights:
        """What is known of a room: its record, else what holds for rooms that have none."""
        record = None if self.records is None else self.records.records.get(key)
        if record is None:
            return RoomRights(may_see_others=self._defaults.may_see_others)
        settings = record.settings_over(self._defaults)
        return RoomRights(record.roles, settings.may_see_others)

    def _watched(self) -> frozenset[str]:
        """Rooms that somebody watches, and that need not have been published yet."""
        memory = self.agent.memory
        return frozenset() if memory is None else memory.awaited | memory.rooms

    @inlineCallbacks
    def load(self) -> Generator[Deferred[Any], Any, None]:
        """Read what was kept, and who may watch. Fails with `DatabaseError`."""
        yield self.agent.load()
        if self.records is not None:
            yield self.records.startService()
        if self.documents is not None:
            yield self.documents.startService()

    def startService(self) -> None:
        """Serve what comes to the endpoint from now on."""
        Service.startService(self)
        self.agent.startService()

    def opened(self) -> None:
        """Tell watchers what there is to tell."""
        self.agent.opened()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """See `PresenceService`."""
        Service.stopService(self)
        if self.records is not None:
            self.records.stopService()
        if self.documents is not None:
            yield self.documents.stopService()
        yield self.agent.stopService()
        self.states.stop()
