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


class PublishedPresence(Service):
    """The presence agent at an `endpoint`, beside a focus or by itself.

    It starts before the endpoint, and stops before it.
    """

    name = "msrpconf-published-presence"

    def __init__(self, reactor: Any, endpoint: SipEndpoint, settings: PresenceSettings) -> None:
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

    def startService(self) -> None:
        """Serve what comes to the endpoint from now on."""
        Service.startService(self)
        self.agent.startService()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Tell all watchers that nobody will tell them any more."""
        Service.stopService(self)
        yield self.agent.stopService()
        self.states.stop()
