"""Both ends of a transport on loopback, with the real reactor; one end is bare sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from msrpconf.protocols.sip.flow import Address, Endpoint, Flow
from msrpconf.protocols.sip.message import Message, Request
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.stream import StreamParser
from msrpconf.protocols.sip.transport import TransportLayer

reactor: Any = _reactor


class UdpPeer(DatagramProtocol):
    """A UDP socket; `await peer.next()` gives the next datagram and where it came from."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._queue: DeferredQueue[tuple[bytes, Endpoint]] = DeferredQueue()
        self.port: Any = reactor.listenUDP(0, self, interface=host, maxPacketSize=65535)
        self.endpoint: Endpoint = (host, self.port.getHost().port)

    def datagramReceived(self, datagram: bytes, addr: Endpoint) -> None:
        self._queue.put((datagram, addr))

    def next(self) -> Deferred[tuple[bytes, Endpoint]]:
        return self._queue.get()

    def send(self, data: bytes, to: Address) -> None:
        self.port.write(data, to.endpoint)


class TcpPeer(Protocol):
    """A TCP connection; `await peer.next()` gives the next message or other event."""

    def __init__(self) -> None:
        self._parser = StreamParser()
        self._queue: DeferredQueue[Any] = DeferredQueue()
        self.octets = b""
        self.made: Deferred[TcpPeer] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.octets += data
        for event in self._parser.receive_data(data):
            self._queue.put(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    def next(self) -> Deferred[Any]:
        return self._queue.get()

    @property
    def wire(self) -> Any:
        return self.transport


def connect(to: Address) -> Deferred[TcpPeer]:
    """A connection to a transport layer."""
    kind = TCP6ClientEndpoint if ":" in to.host else TCP4ClientEndpoint
    connecting: Deferred[TcpPeer] = connectProtocol(kind(reactor, to.host, to.port), TcpPeer())
    return connecting


class TcpServer(Factory):
    """A TCP port; `await server.next()` gives the next connection to it."""

    noisy = False

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._queue: DeferredQueue[TcpPeer] = DeferredQueue()
        self.port: Any = reactor.listenTCP(port, self, interface=host)
        self.address = Address("tcp", host, self.port.getHost().port)
        self.accepted = 0

    def buildProtocol(self, addr: object) -> TcpPeer:
        peer = TcpPeer()
        self.accepted += 1
        self._queue.put(peer)
        return peer

    async def next(self) -> TcpPeer:
        return await (await self._queue.get()).made


class Element:
    """A transport layer, and what it has received."""

    def __init__(self, **options: Any) -> None:
        self._queue: DeferredQueue[tuple[Message, Flow]] = DeferredQueue()
        self.layer = TransportLayer(
            reactor, lambda message, flow: self._queue.put((message, flow)), **options
        )

    def next(self) -> Deferred[tuple[Message, Flow]]:
        return self._queue.get()

    async def next_request(self) -> tuple[Request, Flow]:
        message, flow = await self.next()
        assert isinstance(message, Request)
        return message, flow


class TransportTestCase(TestCase):
    """What tests of the transport layer begin with; all is closed at their end."""

    timeout = 10

    def element(self, **options: Any) -> Element:
        element = Element(**options)
        self.addCleanup(element.layer.stop)
        return element

    async def listening(
        self, text: str = "udp:127.0.0.1:0", **options: Any
    ) -> tuple[Element, Address]:
        element = self.element(**options)
        return element, await element.layer.listen(Address.parse(text))

    def udp_peer(self, host: str = "127.0.0.1") -> UdpPeer:
        peer = UdpPeer(host)
        self.addCleanup(peer.port.stopListening)
        return peer

    def tcp_server(self, host: str = "127.0.0.1", port: int = 0) -> TcpServer:
        server = TcpServer(host, port)
        self.addCleanup(server.port.stopListening)
        return server

    async def connected(self, address: Address) -> TcpPeer:
        peer = await connect(address)
        self.addCleanup(lambda: peer.lost)
        self.addCleanup(peer.wire.loseConnection)
        return peer

    async def assertTransportError(self, result: Any) -> str:
        error = await self.assertFailure(result, TransportError)
        return str(error)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Turns of the reactor until it is so; the test's own timeout is the end."""
        while not condition():
            await deferLater(reactor, 0)

    async def gone(self, element: Element, peer: TcpPeer) -> None:
        """The connection is broken, and both sides know it."""
        peer.wire.abortConnection()
        await peer.lost
        await self.until(lambda: element.layer.connections == 0)


def octets(
    transport: str,
    sent_by: str,
    *,
    method: str = "OPTIONS",
    branch: str = "z9hG4bKone",
    parameters: str = "",
    body: bytes = b"",
) -> bytes:
    """A request on the wire."""
    head = (
        f"{method} sip:conf1@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} {sent_by};branch={branch}{parameters}\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:alice@example.com>;tag=a\r\n"
        "To: <sip:conf1@example.com>\r\n"
        "Call-ID: call-1\r\n"
        f"CSeq: 1 {method}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
