"""msrp-conference-server: the MSRP switch, and the keeper of all conference state."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory, Trace, session_id
from msrpconf.protocols.msrp.outgoing import bodiless_send, new_message_id
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sip.headers import Reason

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds that a client may take to accept the MSRP connection that it waits for."""

CLOSE_TIMEOUT = 5.0
"""Seconds for the answers to the BYEs of a server that stops."""

FLUSH_TIMEOUT = 2.0
"""Seconds for what is queued to be written, before the connections of such a server are cut."""

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
        self._attempts: set[Deferred[IProtocol]] = set()
        self._factory = MsrpFactory(self.registry.sessions, reactor, trace=trace)
        self.control = ConferenceControl(self.registry, reactor, settings, self.connect)

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the focus."""
        self.control.channel = channel

    def startService(self) -> None:
        """Listen. Raises `CannotListenError` for a port that is taken: then stop the service."""
        Service.startService(self)
        for host, port in self._listen:
            self.ports.append(self._reactor.listenTCP(port, self._factory, interface=host))
        chosen = self.ports[0].getHost().port
        self.control.settings = evolve(self.control.settings, msrp_port=chosen)

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Listen no more, send everybody a BYE, wait for the answers, close what is open."""
        Service.stopService(self)
        ports, self.ports = self.ports, []
        closing = [maybeDeferred(port.stopListening) for port in ports]
        for attempt in list(self._attempts):
            attempt.cancel()
        yield self._at_most(CLOSE_TIMEOUT, self.control.close(SHUTDOWN))
        yield self._close_connections()
        yield DeferredList(closing)

    @inlineCallbacks
    def _close_connections(self) -> Generator[Deferred[Any], Any, None]:
        """Let what is queued be written, but not wait for ever for who does not read."""
        lost = []
        for connection in list(self._factory.connections):
            lost.append(_when_lost(connection))
            connection.close()
        yield self._at_most(FLUSH_TIMEOUT, DeferredList(lost))
        for connection in list(self._factory.connections):
            transport: Any = connection.transport
            transport.abortConnection()

    def _at_most(self, seconds: float, event: Deferred[Any]) -> Deferred[Any]:
        """Wait for `event`, or no longer; it is not cancelled."""
        awaited: Deferred[Any] = Deferred()
        event.chainDeferred(awaited)
        return awaited.addTimeout(seconds, self._reactor, onTimeoutCancel=lambda _, __: None)

    def connect(self, session: Session, uri: MsrpURI) -> None:
        """Connect `session` to where its client waits (RFC 6135 §4.2), and bind it there."""
        endpoint = HostnameEndpoint(
            self._reactor, uri.host.strip("[]"), uri.connect_port, timeout=CONNECT_TIMEOUT
        )
        attempt = endpoint.connect(self._factory)
        self._attempts.add(attempt)
        attempt.addBoth(self._attempted, attempt)
        attempt.addCallbacks(
            self._connected,
            self._not_connected,
            callbackArgs=(session,),
            errbackArgs=(session, uri),
        )

    def _attempted(self, result: T, attempt: Deferred[IProtocol]) -> T:
        self._attempts.discard(attempt)
        return result

    def _connected(self, connection: IProtocol, session: Session) -> None:
        assert isinstance(connection, MsrpConnection)
        if session.closed or session.connection is not None:
            connection.close()
            return
        connection.attach(session)
        session.forward(bodiless_send(new_message_id()))

    def _not_connected(self, failure: Failure, session: Session, uri: MsrpURI) -> None:
        # The participant's MSRP timer ends the wait; here is why.
        if not self.running:
            return
        self.log.warn(
            "no MSRP connection to {uri} of {owner}: {error} (session {session})",
            uri=str(uri),
            owner=str(session.handler),
            error=failure.getErrorMessage(),
            session=session_id(session.local_path).decode("ascii"),
        )


def _when_lost(connection: MsrpConnection) -> Deferred[None]:
    result: Deferred[None] = Deferred()
    tell = connection.on_lost

    def lost(connection: MsrpConnection) -> None:
        if tell is not None:
            tell(connection)
        result.callback(None)

    connection.on_lost = lost
    return result
