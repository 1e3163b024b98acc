"""The transport layer (RFC 3261 section 18): SIP messages over UDP, TCP and TLS.

It listens, connects, frames, and knows which way a message goes; it knows no transaction. What
it receives goes to `on_message(message, flow)`: requests with `received` and `rport` noted in
their top Via, responses as they are. See `transaction` for how the two layers are joined.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.connection import ConnectionLimits, SipConnection
from msrpconf.protocols.sip.datagram import MAX_DATAGRAM, DatagramSocket
from msrpconf.protocols.sip.flow import Address, Endpoint, Flow, is_numeric
from msrpconf.protocols.sip.local import LocalAddresses
from msrpconf.protocols.sip.malformed import answer_malformed, log_malformed
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.message import (
    Message,
    Request,
    Response,
    SipParseError,
    SipSyntaxError,
    parse_message,
)
from msrpconf.protocols.sip.pool import ConnectionPool, Tracer
from msrpconf.protocols.sip.sender import ErrorHook, Sent, TransportError
from msrpconf.protocols.sip.sockets import WILDCARDS, bound_socket
from msrpconf.protocols.sip.state import call_hook
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.sip.via import (
    alias_target,
    datagram_target,
    fill,
    stamp,
    stream_target,
)

_log = Logger()

MAX_UDP_REQUEST = 1300
"""Octets above which a request goes by TCP (RFC 3261 section 18.1.1)."""

SWITCH_TIMEOUT = 4.0
"""Seconds that TCP may take to connect for such a request, before it goes by UDP all the same."""

UDP_ONLY_TIME = 300.0
"""Seconds for which a host that did not take TCP is sent everything by UDP at once."""


class TransportLayer:
    """Sends and receives the messages of one SIP element. Implements `MessageSender`.

    `reactor` is Twisted's: IReactorTCP, IReactorUDP, IReactorSocket and IReactorTime. `clock`, the
    reactor unless given, times connections. `on_malformed(error, flow)` is called for what is no
    message; unless given, `answer` is. `trace(direction, flow, octets)` is told of all that comes
    ("in") and goes ("out"). `advertised_host` is the name or address by which others know us, for
    Via and `local_address`, where it is not the one that we listen at. `tls` makes the TLS of
    connections, None for none.
    """

    def __init__(
        self,
        reactor: Any,
        on_message: Callable[[Message, Flow], None] | None = None,
        *,
        on_malformed: Callable[[SipParseError, Flow], None] | None = None,
        limits: ConnectionLimits | None = None,
        clock: IReactorTime | None = None,
        trace: Tracer | None = None,
        advertised_host: str | None = None,
        tls: SipTls | None = None,
    ) -> None:
        self.on_message = on_message
        self.on_malformed = self.answer if on_malformed is None else on_malformed
        self.on_flow_lost: Callable[[Flow], None] | None = None
        """Told of each connection by which nothing comes any more."""
        self.malformed = 0
        """How many bad messages have come."""
        self._reactor = reactor
        self._clock: IReactorTime = reactor if clock is None else clock
        self._trace = trace
        self._local = LocalAddresses(self._clock, advertised_host)
        self._budget = LineBudget(self._clock)
        self._pool = ConnectionPool(
            reactor,
            self._clock,
            limits or ConnectionLimits(),
            self._deliver,
            self._malformed,
            self._flow_lost,
            trace=trace,
            tls=tls,
        )
        self._datagrams: dict[Endpoint, DatagramSocket] = {}
        self._ports: list[Any] = []
        self._udp_only: ShortMemory[Endpoint, bool] = ShortMemory(self._clock, UDP_ONLY_TIME)

    @property
    def connections(self) -> int:
        """How many there are, those that are closing included."""
        return len(self._pool)

    # Where we are

    def listen(self, address: Address) -> Deferred[Address]:
        """Listens at `address`, whose host is numeric; gives it with its real port.

        A SIP element that listens for UDP must listen for TCP on the same port (RFC 3261
        section 18.2.1): call it for both. Fails with Twisted's `CannotListenError`, or with
        `TransportError` for TLS without a certificate.
        """
        try:
            if address.transport == "udp":
                local = self._listen_udp(address)
            else:
                local = self._listen_stream(address)
        except OSError as error:
            return fail(CannotListenError(address.host, address.port, error))
        except TransportError as error:
            return fail(error)
        listening = Address(address.transport, *local)
        self._local.add(listening)
        return succeed(listening)

    def _listen_udp(self, address: Address) -> Endpoint:
        protocol = DatagramSocket(self.datagram_received)
        with bound_socket(socket.SOCK_DGRAM, address.endpoint) as bound:
            # Twisted works on a copy of the descriptor.
            protocol.port = self._reactor.adoptDatagramPort(
                bound.fileno(), bound.family, protocol, MAX_DATAGRAM
            )
        self._ports.append(protocol.port)
        self._datagrams[protocol.local] = protocol
        return protocol.local

    def _listen_stream(self, address: Address) -> Endpoint:
        factory = self._pool.factory(address.transport)
        with bound_socket(socket.SOCK_STREAM, address.endpoint) as bound:
            port = self._reactor.adoptStreamPort(bound.fileno(), bound.family, factory)
            self._ports.append(port)
            host, number, *_ = bound.getsockname()
        return host, number

    def local_address(self, transport: str, remote_host: str) -> Address:
        """Where `remote_host`, which is numeric, reaches us: for Contact, and for Via.

        An address that we listen at, and where that is a wildcard, the one of this machine that
        messages to `remote_host` leave from; with `advertised_host` in place of its host, if that
        is set. Raises `TransportError` where we do not listen for that transport, or only at
        addresses that `remote_host` cannot reach.
        """
        return self._local.address_for(transport, remote_host)

    def can_reach(self, address: Address) -> bool:
        """Whether there is a way to `address`: a socket for UDP, a family for the others."""
        try:
            if address.transport == "udp":
                self._local.listener("udp", address.host)
            else:
                self._local.source(address.host)
        except TransportError:
            return False
        return True

    def is_alive(self, flow: Flow) -> bool:
        """Whether a message can still go by `flow`: its connection is open, its socket bound."""
        if flow.transport == "udp":
            return flow.local in self._datagrams
        return self._pool.find(flow) is not None

    def identities(self, flow: Flow) -> frozenset[str]:
        """The SIP domains that the peer of a flow has proved to be by TLS (RFC 5922)."""
        connection = self._pool.find(flow)
        return frozenset() if connection is None else connection.identities

    def connect(self, target: Address) -> Deferred[Flow]:
        """Has a connection to `target`, whose host is numeric. Fails with `TransportError`."""
        return self._connect(target).addCallback(lambda connection: connection.flow)

    # Requests

    def send_request(
        self, request: Request, target: Address, flow: Flow | None = None
    ) -> Deferred[Flow]:
        """Sends a request by `flow` while that is alive, else to `target` (RFC 3261 18.1.1).

        See `MessageSender`. A connection that there is to `target` is used, else one is made. A
        request above `MAX_UDP_REQUEST` goes by TCP instead of UDP, and by UDP where TCP cannot
        be connected to. The host of `target` must be numeric.
        """
        try:
            if flow is not None:
                if flow.transport == "udp":
                    if flow.local in self._datagrams:
                        return self._send_datagram(
                            request, self._datagrams[flow.local], flow.remote
                        )
                elif (connection := self._pool.find(flow)) is not None:
                    return succeed(self._send_stream(connection, request))
            if not is_numeric(target.host):
                raise TransportError(f"{target}: the host is not an address, and was not looked up")
            if target.transport == "udp":
                local = self._local.listener("udp", target.host).endpoint
                return self._send_datagram(request, self._datagrams[local], target.endpoint)
            return self._connect_and_send(request, target)
        except TransportError as error:
            return fail(error)

    def _send_datagram(
        self, request: Request, by: DatagramSocket, remote: Endpoint
    ) -> Deferred[Flow]:
        sent_by = self._local.known_host(by.local[0], remote[0]), by.local[1]
        fill(request, "udp", sent_by)
        octets = bytes(request)
        flow = Flow("udp", by.local, remote)
        if len(octets) <= MAX_UDP_REQUEST or self._udp_only.get(remote):
            self._write_datagram(octets, flow)
            return succeed(flow)

        def send_all_the_same(failure: Failure) -> Flow:
            # Not if it was cancelled: then nobody wants it sent any more.
            failure.trap(TransportError)
            self._udp_only.put(remote, True)
            fill(request, "udp", sent_by)
            self._write_datagram(bytes(request), flow)
            return flow

        sending = self._connect_and_send(request, Address("tcp", *remote), SWITCH_TIMEOUT)
        return sending.addErrback(send_all_the_same)

    def _connect_and_send(
        self, request: Request, target: Address, timeout: float | None = None
    ) -> Deferred[Flow]:
        connecting = self._connect(target, timeout)
        return connecting.addCallback(self._send_stream, request)

    def _connect(self, target: Address, timeout: float | None = None) -> Deferred[SipConnection]:
        # From where we listen, for a peer may know us by that address alone.
        try:
            source = self._local.listener(target.transport, target.host).host
        except TransportError:
            source = ""
        return self._pool.connect(target, "" if source in WILDCARDS else source, timeout)

    def _send_stream(self, connection: SipConnection, request: Request) -> Flow:
        flow = connection.flow
        host, port = flow.local
        listening = self._local.port(flow.transport, host)
        sent_by = self._local.known_host(host, flow.remote[0]), listening or port
        # Who knows us by a certificate may send us requests by a connection that we have made.
        alias = listening is not None and flow.transport == "tls" and connection.dialled is not None
        fill(request, flow.transport, sent_by, alias=alias)
        connection.send(bytes(request))
        return flow

    # Responses

    def send_response(
        self, response: Response, flow: Flow, on_error: ErrorHook | None = None
    ) -> Sent:
        """Sends a response (RFC 3261 section 18.2.2, RFC 3581). See `MessageSender`.

        By the connection that its request came by, and if that is gone, by a new one to the
        address that the top Via tells; by UDP, from the socket that the request came to.
        """
        sent = Sent(bytes(response), flow)
        try:
            if flow.transport == "udp":
                remote = datagram_target(response.top_via)
                if remote != flow.remote:
                    sent = Sent(sent.octets, evolve(flow, remote=remote))
                self._write_datagram(sent.octets, sent.flow)
            elif (connection := self._pool.find(flow)) is not None:
                connection.send(sent.octets)
            else:
                self._send_anew(sent, stream_target(response.top_via, flow.transport), on_error)
        except TransportError as error:
            if on_error is not None:
                on_error(error)
        except SipSyntaxError as error:
            if on_error is not None:
                on_error(TransportError(f"no way back is known: {error.reason}"))
        return sent

    def _send_anew(self, sent: Sent, target: Address, on_error: ErrorHook | None) -> None:
        if not is_numeric(target.host):
            raise TransportError(f"{target}: the connection is closed, and Via has no address")

        def failed(failure: Failure) -> None:
            if on_error is not None and isinstance(failure.value, TransportError):
                on_error(failure.value)

        connecting = self._connect(target)
        connecting.addCallback(lambda connection: connection.send(sent.octets))
        connecting.addErrback(failed)

    def repeat(self, sent: Sent) -> None:
        """Sends a message once more, where that is still possible."""
        try:
            if sent.flow.transport == "udp":
                self._write_datagram(sent.octets, sent.flow)
            elif (connection := self._pool.find(sent.flow)) is not None:
                connection.send(sent.octets)
        except TransportError:
            pass

    def _write_datagram(self, octets: bytes, flow: Flow) -> None:
        by = self._datagrams.get(flow.local)
        if by is None:
            raise TransportError(f"udp: we do not listen at {flow.local[0]}:{flow.local[1]}")
        if self._trace is not None:
            self._trace("out", flow, octets)
        by.send(octets, flow.remote)

    # What comes in

    def datagram_received(self, octets: bytes, source: Endpoint, local: Endpoint) -> None:
        """Takes what came to the socket at `local` from `source`."""
        flow = Flow("udp", local, source)
        if self._trace is not None:
            self._trace("in", flow, octets)
        try:
            message = parse_message(octets)
        except SipParseError as error:
            self._malformed(error, flow)
            return
        self._deliver(message, flow)

    def _deliver(self, message: Message, flow: Flow) -> None:
        if self.on_message is None:
            return
        try:
            if isinstance(message, Request):
                stamp(message, flow.remote)
                if flow.transport == "tls":
                    self._take_alias(message, flow)
            self.on_message(message, flow)
        except Exception:
            _log.failure("a SIP message from {source} could not be handled", source=str(flow.peer))

    def _take_alias(self, request: Request, flow: Flow) -> None:
        endpoint = alias_target(request.top_via, flow.remote)
        if endpoint is not None:
            self._pool.offer_alias(flow, endpoint)

    def _flow_lost(self, flow: Flow) -> None:
        if self.on_flow_lost is not None:
            call_hook(self.on_flow_lost, flow)

    def _malformed(self, error: SipParseError, flow: Flow) -> None:
        self.malformed += 1
        log_malformed(self._budget, error, flow)
        try:
            self.on_malformed(error, flow)
        except Exception:
            _log.failure(
                "a bad SIP message from {source} could not be handled", source=str(flow.peer)
            )

    def answer(self, error: SipParseError, flow: Flow) -> None:
        """Answers a bad message statelessly with the error's status, where that can be done."""
        if error.request is not None:
            stamp(error.request, flow.remote)
        response = answer_malformed(error)
        if response is not None:
            self.send_response(response, flow)

    def stop(self) -> Deferred[None]:
        """Stops listening and closes all connections, once what was written has left."""
        ports, self._ports = self._ports, []
        self._local.clear()
        self._datagrams.clear()
        stopping = [maybeDeferred(port.stopListening) for port in ports]
        stopping.append(self._pool.stop())
        return DeferredList(stopping, consumeErrors=True).addCallback(lambda _: None)
