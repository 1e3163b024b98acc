"""msrp-conference-server: the MSRP switch, and the keeper of all conference state."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.connecting import awaits
from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.conference.spool import Spools
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.connecting import MsrpConnectError, MsrpConnector
from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory, Trace, session_id
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.keepalive import KeepAlive
from msrpconf.protocols.msrp.outgoing import bodiless_send, new_message_id
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.sip.flow import Address, format_endpoint
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.tls import Tls, TlsListeningFactory

T = TypeVar("T")

CLOSE_TIMEOUT = 5.0
"""Seconds for the answers to the BYEs of a server that stops."""

FLUSH_TIMEOUT = 2.0
"""Seconds for what is queued to be written, before the connections of such a server are cut."""

SHUTDOWN = Reason("SIP", 503, "The conference server is shutting down")


class ServerService(Service):
    """Listens for MSRP, and serves what the focus asks from one `ConferenceRegistry`.

    `reactor` connects, listens and keeps time. `listen` are addresses of tcp and
    tls; for port 0 the system chooses one, and the first of each is what clients are
    told. `tls` is needed for the latter. `keep_alive` is when idle connections are
    asked whether they still are, None for never. `use_channel` gives the way to the
    focus, before the service starts.
    """

    name = "msrpconf-server"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: ServerSettings,
        listen: Sequence[Address],
        trace: Trace | None = None,
        tls: Tls | None = None,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        self.registry = ConferenceRegistry(reactor)
        if settings.spool_octets:
            self.registry.spools = Spools(settings.spool_octets)
        self.ports: list[Any] = []
        self._reactor = reactor
        self._listen = listen
        self._tls = tls
        self._attempts: set[Deferred[MsrpConnection]] = set()
        self.factory = MsrpFactory(
            self.registry.sessions, reactor, trace=trace, keep_alive=keep_alive
        )
        self._connector = MsrpConnector(reactor, self.factory, tls)
        self.control = ConferenceControl(self.registry, reactor, settings, self.connect)

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the focus."""
        self.control.channel = channel

    def startService(self) -> None:
        """Listen. Raises `CannotListenError` for a port that is taken: then stop the service.

        OSError where the directory of the rooms' files cannot be used: which, and why.
        """
        Service.startService(self)
        try:
            self.control.files.store.open()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.strerror else str(error)
            raise OSError(f"[server] files: {why}") from None
        for address in self._listen:
            self.ports.append(self._open(address))
        told = {"tcp": None, "tls": None}
        for transport, port in reversed(self._open_at()):
            told[transport] = port.port
        fingerprints = () if self._tls is None else self._tls.fingerprints
        self.control.settings = evolve(
            self.control.settings,
            msrp_port=told["tcp"],
            msrps_port=told["tls"],
            fingerprints=fingerprints,
        )

    def _open(self, address: Address) -> Any:
        factory: IProtocolFactory = self.factory
        if address.transport == "tls":
            if self._tls is None:
                raise ValueError(f"{address}: there is no certificate to listen for TLS with")
            factory = TlsListeningFactory(self._tls, factory, self._reactor)
        return self._reactor.listenTCP(address.port, factory, interface=address.host)

    def _open_at(self) -> list[tuple[str, Any]]:
        """The transport and where it listens, of each open port."""
        pairs = zip(self._listen, self.ports, strict=False)
        return [(address.transport, port.getHost()) for address, port in pairs]

    @property
    def listening(self) -> list[str]:
        """What listens, as ``tcp:127.0.0.1:2855``."""
        return [
            f"{transport}:{format_endpoint((host.host, host.port))}"
            for transport, host in self._open_at()
        ]

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
        self.control.files.store.close()

    @inlineCallbacks
    def _close_connections(self) -> Generator[Deferred[Any], Any, None]:
        """Let what is queued be written, but not wait for ever for who does not read."""
        lost = []
        for connection in list(self.factory.connections):
            lost.append(_when_lost(connection))
            connection.close()
        yield self._at_most(FLUSH_TIMEOUT, DeferredList(lost))
        for connection in list(self.factory.connections):
            connection.abort()

    def _at_most(self, seconds: float, event: Deferred[Any]) -> Deferred[Any]:
        """Wait for `event`, or no longer; it is not cancelled."""
        awaited: Deferred[Any] = Deferred()
        event.chainDeferred(awaited)
        return awaited.addTimeout(seconds, self._reactor, onTimeoutCancel=lambda _, __: None)

    def connect(self, session: Session, destination: Destination) -> None:
        """Connect `session` to where its client waits (RFC 6135 §4.2), and bind it there."""
        attempt = self._connector.connect(destination)
        self._attempts.add(attempt)
        attempt.addBoth(self._attempted, attempt)
        attempt.addCallbacks(
            self._connected,
            self._not_connected,
            callbackArgs=(session, destination),
            errbackArgs=(session, destination),
        )

    def _attempted(self, result: T, attempt: Deferred[MsrpConnection]) -> T:
        self._attempts.discard(attempt)
        return result

    def _connected(
        self, connection: MsrpConnection, session: Session, destination: Destination
    ) -> None:
        if not awaits(session, destination):
            connection.close()
            return
        connection.attach(session)
        session.forward(bodiless_send(new_message_id()))

    def _not_connected(self, failure: Failure, session: Session, destination: Destination) -> None:
        if not self.running:
            return
        self.log.warn(
            "no MSRP connection to {destination} of {owner}: {error} (session {session})",
            destination=str(destination),
            owner=str(session.handler),
            error=failure.getErrorMessage(),
            session=session_id(session.local_path).decode("ascii"),
        )
        error = failure.value
        untrusted = isinstance(error, MsrpConnectError) and error.untrusted
        if untrusted and awaits(session, destination):
            self.control.untrusted(session, f"MSRP to {destination}: {error}")
        # Else the participant's MSRP timer ends the wait: it may still come by itself.


def _when_lost(connection: MsrpConnection) -> Deferred[None]:
    result: Deferred[None] = Deferred()
    tell = connection.on_lost

    def lost(connection: MsrpConnection) -> None:
        if tell is not None:
            tell(connection)
        result.callback(None)

    connection.on_lost = lost
    return result
