"""The connections there are, and those being made (RFC 3261 section 18)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from msrpconf.protocols.connect_errors import why_not_connected
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.aliases import Aliases
from msrpconf.protocols.sip.connection import ConnectionLimits, SipConnection
from msrpconf.protocols.sip.flow import Address, Endpoint, Flow, is_ipv6, quota_key
from msrpconf.protocols.sip.message import Message, SipParseError
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.tls import TlsListeningFactory

_log = Logger()

CHECK_PERIOD = 5.0
"""Seconds between looks at the connections' time: how much too long they may live."""

Tracer = Callable[[str, Flow, bytes], None]
"""Told of all octets: "in" or "out", the flow, the octets."""


class ConnectionPool:
    """Makes, accepts, finds and closes connections.

    `reactor` makes connections; `clock` times those that are there. `on_message` and
    `on_malformed` get what comes by them; `on_flow_lost` is told once nothing does any more.
    """

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        limits: ConnectionLimits,
        on_message: Callable[[Message, Flow], None],
        on_malformed: Callable[[SipParseError, Flow], None],
        on_flow_lost: Callable[[Flow], None],
        *,
        trace: Tracer | None = None,
        tls: SipTls | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._limits = limits
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._on_flow_lost = on_flow_lost
        self._trace = trace
        self._tls = tls
        self._serials = itertools.count(1)
        self._open: set[SipConnection] = set()  # until connectionLost
        self._by_serial: dict[int, SipConnection] = {}
        self._by_remote: dict[Endpoint, SipConnection] = {}  # TCP
        self._aliases: Aliases[SipConnection] = Aliases()  # TLS
        self._hosts: Counter[str] = Counter()
        self._dialling: dict[Address, _Dialling] = {}
        self._check_call: IDelayedCall | None = None
        self._refusals = LineBudget(clock)
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def find(self, flow: Flow) -> SipConnection | None:
        """The connection of a flow; None where it is gone, or the flow is another process's."""
        connection = self._by_serial.get(flow.serial)
        return connection if connection is not None and connection.flow == flow else None

    def factory(self, transport: str) -> IProtocolFactory:
        """What accepts connections for a listening port. Raises `TransportError` without TLS."""
        factory = _Accepting(self, transport)
        if transport != "tls":
            return factory
        if self._tls is None or not self._tls.has_certificate:
            raise TransportError("tls: no certificate is configured")
        return TlsListeningFactory(self._tls, factory, self._reactor)

    def connect(
        self, target: Address, source: str = "", timeout: float | None = None
    ) -> Deferred[SipConnection]:
        """A connection to `target`: the one there is, or a new one.

        `source` is the address to connect from, empty for the system's choice. Fails with
        `TransportError`. Cancelling it leaves the attempt to those who wait for it too.
        """
        if target.transport == "tls":
            known = self._aliases.find(target)
        else:
            known = self._by_remote.get(target.endpoint)
        if known is not None:
            return succeed(known)
        dialling = self._dialling.get(target)
        if dialling is not None:
            return dialling.wait()
        try:
            return self._dial(target, source, timeout or self._limits.connect_timeout)
        except TransportError as error:
            return fail(error)

    def stop(self) -> Deferred[None]:
        """Closes all connections; fires when they are gone."""
        for dialling in list(self._dialling.values()):
            dialling.give_up()
        self._emptied = Deferred()
        for connection in list(self._open):
            connection.close()
        self._when_empty()
        return self._emptied

    # From the connections (see `ConnectionOwner`)

    def made(self, connection: SipConnection) -> None:
        self._open.add(connection)
        if connection.dialled is None:
            self._hosts[quota_key(connection.flow.remote[0])] += 1
        if self._check_call is None:
            self._check_call = self._clock.callLater(CHECK_PERIOD, self._check)
        if self._emptied is not None:
            connection.close()

    def opened(self, connection: SipConnection) -> None:
        flow = connection.flow
        self._by_serial[flow.serial] = connection
        if flow.transport != "tls":
            self._by_remote[flow.remote] = connection
        elif connection.dialled is not None:
            self._aliases.add(flow.remote, connection)

    def offer_alias(self, flow: Flow, endpoint: Endpoint) -> None:
        """Takes from a peer that its connection may serve for requests to `endpoint` (RFC 5923)."""
        connection = self.find(flow)
        if connection is not None and connection.dialled is None:
            self._aliases.add(endpoint, connection)

    def received(self, message: Message, flow: Flow) -> None:
        self._on_message(message, flow)

    def malformed(self, error: SipParseError, flow: Flow) -> None:
        self._on_malformed(error, flow)

    def traced(self, direction: str, flow: Flow, octets: bytes) -> None:
        if self._trace is not None:
            self._trace(direction, flow, octets)

    def closed(self, connection: SipConnection) -> None:
        flow = connection.flow
        if self._by_serial.pop(flow.serial, None) is None:
            return
        self._aliases.discard(connection)
        if self._by_remote.get(flow.remote) is connection:
            del self._by_remote[flow.remote]
        self._on_flow_lost(flow)

    def lost(self, connection: SipConnection, why: str | None) -> None:
        self._open.discard(connection)
        if why is not None:
            self._log_no_tls(connection, why)
        if connection.dialled is None:
            host = quota_key(connection.flow.remote[0])
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
        self._when_empty()

    def _log_no_tls(self, connection: SipConnection, why: str) -> None:
        """One line for a connection whose TLS came to nothing, or broke."""
        host = connection.flow.remote[0]
        if self._emptied is None and (note := self._refusals.take(host)) is not None:
            _log.warn(
                "no TLS for SIP {way} {peer}: {why}{note}",
                way="from" if connection.dialled is None else "to",
                peer=connection.flow.peer.sent_by,
                why=why,
                note=note,
            )

    def _when_empty(self) -> None:
        if self._emptied is not None and not self._open and not self._emptied.called:
            if self._check_call is not None:
                self._check_call.cancel()
                self._check_call = None
            self._emptied.callback(None)

    def _check(self) -> None:
        self._check_call = None
        for connection in list(self._open):
            connection.check()
        if self._open:
            self._check_call = self._clock.callLater(CHECK_PERIOD, self._check)

    # New connections

    def _accept(self, transport: str, host: str) -> SipConnection | None:
        limits = self._limits
        if self._emptied is None and len(self._open) < limits.connections:
            if self._hosts[quota_key(host)] < limits.connections_per_host:
                return self._new(transport, None)
            why = f"{limits.connections_per_host} of that host are open"
        else:
            why = f"{len(self._open)} are open"
        if (note := self._refusals.take(host)) is not None:
            _log.warn(
                "refused a SIP connection from {host}: {why}{note}", host=host, why=why, note=note
            )
        return None

    def _new(self, transport: str, dialled: Address | None) -> SipConnection:
        serial = next(self._serials)
        return SipConnection(self, self._clock, self._limits, transport, serial, dialled)

    def _dial(self, target: Address, source: str, timeout: float) -> Deferred[SipConnection]:
        """Begins to connect. Raises `TransportError` where that cannot even begin."""
        if self._emptied is not None or len(self._open) >= self._limits.connections:
            raise TransportError(f"{target}: no more connections can be opened")
        made = self._new(target.transport, target)
        factory: IProtocolFactory = _Dialled(made)
        if target.transport == "tls":
            if self._tls is None:
                raise TransportError(f"{target}: no TLS is configured")
            factory = TLSMemoryBIOFactory(self._tls.client(target), True, factory, self._reactor)
        kind = TCP6ClientEndpoint if is_ipv6(target.host) else TCP4ClientEndpoint
        bound = (source, 0) if source else None
        endpoint = kind(self._reactor, target.host, target.port, timeout, bound)
        dialling = _Dialling(target, self._dialling)
        self._dialling[target] = dialling
        waiter = dialling.wait()
        dialling.start(endpoint.connect(factory), made, timeout, self._clock)
        return waiter


class _Accepting(ServerFactory):
    noisy = False

    def __init__(self, pool: ConnectionPool, transport: str) -> None:
        self._pool = pool
        self._transport = transport

    def buildProtocol(self, addr: IAddress | None) -> SipConnection | None:
        return self._pool._accept(self._transport, getattr(addr, "host", ""))


class _Dialled(ServerFactory):
    noisy = False

    def __init__(self, connection: SipConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> SipConnection:
        return self._connection


class _Dialling:
    """A connection being made, and those who wait for it."""

    def __init__(self, target: Address, table: dict[Address, _Dialling]) -> None:
        self._target = target
        self._table = table
        self._attempt: Deferred[IProtocol] | None = None
        self._waiting: list[Deferred[SipConnection]] = []

    def start(
        self,
        attempt: Deferred[IProtocol],
        made: SipConnection,
        timeout: float,
        clock: IReactorTime,
    ) -> None:
        """`attempt` fires once `made` is connected; TLS then has `timeout` seconds."""
        self._attempt = attempt

        def late(*_: object) -> None:
            raise TransportError(f"TLS was not there within {timeout:g} s")

        def secure(_: IProtocol) -> Deferred[None]:
            return made.secured.addTimeout(timeout, clock, onTimeoutCancel=late)

        def connected(_: None) -> None:
            self._table.pop(self._target, None)
            for waiter in self._take():
                waiter.callback(made)

        def failed(failure: Failure) -> None:
            self._table.pop(self._target, None)
            error = TransportError(f"{self._target}: {why_not_connected(failure)}")
            for waiter in self._take():
                waiter.errback(error)

        attempt.addCallback(secure).addCallbacks(connected, failed)

    def wait(self) -> Deferred[SipConnection]:
        """The connection, once it is there. Must be called before the attempt ends."""
        waiter: Deferred[SipConnection] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def give_up(self) -> None:
        """Ends the attempt; those who wait are told that it failed."""
        if self._attempt is not None:
            self._attempt.cancel()

    def _leave(self, waiter: Deferred[SipConnection]) -> None:
        self._waiting.remove(waiter)
        if not self._waiting:
            self.give_up()

    def _take(self) -> list[Deferred[SipConnection]]:
        taken, self._waiting = self._waiting, []
        return taken
