"""A presence agent as a process of its own.

focus ---PUBLISH, the state of rooms--->  presence agent  <--SUBSCRIBE--- proxy <--- watchers
                                                          ---NOTIFY-----> proxy ---> watchers
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.config import Config
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.services.configured import Trace, endpoint_options
from msrpconf.services.endpoint import SipEndpoint
from msrpconf.services.focus_authentication import authentication_of
from msrpconf.services.forwarding import Forwarding
from msrpconf.services.presence import EVENTS
from msrpconf.services.presence_user_agent import PresenceUserAgent, PresenceUserAgentSettings
from msrpconf.services.published_presence import PublishedPresence
from msrpconf.storage.database import Database


class PresenceApart(MultiService):
    """A presence agent by itself: focuses and servers are elsewhere."""

    name = "msrpconf-presence-apart"

    def __init__(self, config: Config, reactor: Any, trace: Trace | None = None) -> None:
        MultiService.__init__(self)
        self.config = config
        sip = config.sip
        settings = PresenceUserAgentSettings(
            sip.domains,
            sip.trusted_networks,
            contact=sip.contact,
            events=EVENTS,
            trusted_names=sip.trusted_names,
        )
        user_agent = PresenceUserAgent(reactor, settings)
        self.endpoint = SipEndpoint(
            reactor,
            user_agent,
            sip.listen,
            **endpoint_options(config, reactor, trace),
        )
        url = config.database_url
        self._database = None if url is None else Database(url, reactor)
        user_agent.authentication = authentication_of(config, reactor, self._database)
        self.presence = PublishedPresence(
            reactor,
            self.endpoint,
            config,
            self._database,
            f"presence {config.presence.name}",
        )
        focus = config.presence.focus
        if focus is not None:
            endpoint = self.endpoint
            sender = RequestSender(
                reactor, endpoint.layer, endpoint.locate, endpoint.transport.is_alive
            )
            forwarding = Forwarding(user_agent, sender, focus)
            self.presence.agent.agent.elsewhere = forwarding.request_received

    @property
    def listening(self) -> list[str]:
        """What listens, as ``sip udp:127.0.0.1:5060``."""
        return [f"sip {address}" for address in self.endpoint.listening]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Open the ports.

        Fails with `DatabaseError` or `CannotListenError`, and leaves nothing open.
        """
        self.running = 1
        try:
            if self._database is not None:
                yield self._database.start()
            yield self.presence.load()
            if not self.running:
                return  # stopped meanwhile
            self.presence.startService()
            yield self.endpoint.startService()
            self.presence.opened()
        except Exception:
            yield self.stopService()
            raise

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Tell watchers, unless they are remembered, then close the ports."""
        self.running = 0
        self.endpoint.refuse_new()
        yield self.presence.stopService()
        yield self.endpoint.stopService()
        if self._database is not None:
            yield self._database.stop()
