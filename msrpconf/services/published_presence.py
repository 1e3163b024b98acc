"""A presence agent whose rooms are on servers elsewhere, which publish them to it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.published import PublishedStates
from msrpconf.presence.published_policy import PublishedWatchPolicy
from msrpconf.services.endpoint import SipEndpoint
from msrpconf.services.presence import PresenceService, PresenceSettings
from msrpconf.services.presence_memory import PATIENCE
from msrpconf.storage.database import Database


class PublishedPresence(Service):
    """The presence agent at an `endpoint`, beside a focus or by itself.

    It starts before the endpoint, and stops before it; `load` is to be done first, and `opened`
    says that the ports are open. With a `database`, which is started before, it keeps what it
    knows there under the name `kept_as`.
    """

    name = "msrpconf-published-presence"

    def __init__(
        self,
        reactor: Any,
        endpoint: SipEndpoint,
        settings: PresenceSettings,
        database: Database | None,
        kept_as: str,
    ) -> None:
        self.states = PublishedStates(reactor)
        """What servers have published."""
        self.agent = PresenceService(
            reactor,
            endpoint,
            self.states,
            PublishedWatchPolicy(self.states),
            # Participants and rooms are the servers'.
            lambda request: None,
            settings,
        )
        self.agent.agent.published = self.states.handle
        if database is not None:
            self.agent.keep_in(database, kept_as, PATIENCE)

    def load(self) -> Deferred[None]:
        """Read what was kept. Fails with `DatabaseError`."""
        return self.agent.load()

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
        yield self.agent.stopService()
        self.states.stop()
