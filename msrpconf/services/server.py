"""msrp-conference-server: the MSRP switch, and the keeper of all conference state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory, Trace
from msrpconf.protocols.msrp.outgoing import bodiless_send, new_message_id
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sip.headers import Reason

CONNECT_TIMEOUT = 10.0
"""Seconds that a client may take to accept the MSRP connection that it waits for."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the answers to the BYEs of a server that stops."""

SHUTDOWN = Reason("SIP", 503, "The conference server is shutting down")


class ServerService(Service):
    """Listens for MSRP, and serves what the focus asks from one `ConferenceRegistry`.

    `reactor` connects, listens and keeps time. `listen` are (host, port) pairs;
    for port 0 the system chooses one, and the first pair's is what clients are
    told. `use_channel` gives the way to the focus, before the service starts.
    """

    name = "msrpconf-server"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: ServerSettings,
        listen: Sequence[tuple[str, int]],
        trace: Trace | None = None,
    ) -> None:
        self.registry = ConferenceRegistry(reactor)
        self.ports: list[Any] = []
        self._reactor = reactor
        self._listen = listen
        self._factory = MsrpFactory(self.registry.sessions, reactor, trace=trace)
        self.control = ConferenceControl(self.registry, reactor, settings, self.connect)

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the focus."""
        self.control.channel = channel

    def startService(self) -> None:
        """Listen. Raises `CannotListenError` for a port that is taken."""
        Service.startService(self)
        for host, port in self._listen:
            self.ports.append(self._reactor.listenTCP(port, self._factory, interface=host))
        chosen = self.ports[0].getHost().port
        self.control.settings = evolve(self.control.settings, msrp_port=chosen)

    def stopService(self) -> Deferred[Any]:
        """Listen no more, send everybody a BYE, wait for the answers, close what is open."""
        Service.stopService(self)
        closed: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self.ports]
        self.ports = []
        said = self.control.close(SHUTDOWN)
        said.addTimeout(CLOSE_TIMEOUT, self._reactor, onTimeoutCancel=lambda _, __: None)
        said.addCallback(self._close_connections)
        return DeferredList([*closed, said])

    def _close_connections(self, _: object) -> None:
        for connection in list(self._factory.connections):
            connection.close()

    def connect(self, session: Session, uri: MsrpURI) -> None:
        """Connect `session` to where its client waits (RFC 6135 §4.2), and bind it there."""
        endpoint = HostnameEndpoint(
            self._reactor, uri.host.strip("[]"), uri.connect_port, timeout=CONNECT_TIMEOUT
        )
        attempt = endpoint.connect(self._factory)
        attempt.addCallbacks(
            self._connected, self._not_connected, callbackArgs=(session,), errbackArgs=(uri,)
        )

    def _connected(self, connection: IProtocol, session: Session) -> None:
        assert isinstance(connection, MsrpConnection)
        if session.closed or session.connection is not None:
            connection.close()
            return
        connection.attach(session)
        session.forward(bodiless_send(new_message_id()))

    def _not_connected(self, failure: Failure, uri: MsrpURI) -> None:
        # The participant's MSRP timer ends the wait; here is why.
        self.log.warn(
            "no MSRP connection to {uri}: {error}", uri=str(uri), error=failure.getErrorMessage()
        )
