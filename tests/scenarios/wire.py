"""A peer that speaks by hand: texts out, texts in, nothing of ours in between.

For stories in which each message is to be seen as it is on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure


class _Inbox:
    """Texts that came, given out in order, to who waits or will wait."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[str]] = []
        self.texts: list[str] = []

    def put(self, text: str) -> None:
        if self.waiting:
            self.waiting.pop(0).callback(text)
        else:
            self.texts.append(text)

    def next(self) -> Deferred[str]:
        result: Deferred[str] = Deferred()
        if self.texts:
            result.callback(self.texts.pop(0))
        else:
            self.waiting.append(result)
        return result


def dedent(text: str) -> str:
    """The lines of `text` without what they are all indented by, ended by CRLF."""
    lines = text.strip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\r\n".join(line[margin:].rstrip() for line in lines)


class SipWire(DatagramProtocol):
    """A SIP peer on UDP. `port` is its own; it sends to `server`."""

    def __init__(self, server: tuple[str, int], port: int = 0) -> None:
        self._server = server
        self._inbox = _Inbox()
        listener: Any = reactor
        self._listening: Any = listener.listenUDP(port, self, interface=server[0])
        self.port: int = self._listening.getHost().port

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._inbox.put(datagram.decode("utf-8"))

    def send(self, head: str, body: str = "") -> None:
        """Send a message: its head as lines, Content-Length added, then the body as lines."""
        octets = (dedent(body) + "\r\n").encode() if body else b""
        text = f"{dedent(head)}\r\nContent-Length: {len(octets)}\r\n\r\n"
        assert self.transport is not None
        self.transport.write(text.encode() + octets, self._server)

    def next(self) -> Deferred[str]:
        """The next datagram, but for 100 Trying."""

        def skip(text: str) -> Any:
            return self.next() if text.startswith("SIP/2.0 100") else text

        return self._inbox.next().addCallback(skip)

    def close(self) -> Any:
        return self._listening.stopListening()


class MsrpWire(Protocol):
    """An MSRP peer on TCP: gives whole frames as text."""

    def __init__(self, on_connected: Callable[[MsrpWire], None] | None = None) -> None:
        self._on_connected = on_connected
        self.closed: Deferred[None] = Deferred()
        self.why_closed = ""
        self._inbox = _Inbox()
        self._buffer = b""

    def connectionMade(self) -> None:
        if self._on_connected is not None:
            self._on_connected(self)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while True:
            identifier = self._buffer.partition(b"\r\n")[0].split(b" ")[1:2]
            if not identifier:
                return
            marker = b"\r\n-------" + identifier[0]
            end = self._buffer.find(marker)
            if end < 0 or len(self._buffer) < end + len(marker) + 3:
                return
            end += len(marker) + 3
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            self._inbox.put(frame.decode("utf-8"))

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.why_closed = "" if reason is None else reason.getErrorMessage()
        self.closed.callback(None)

    def send(self, frame: str) -> None:
        """Send a frame, given as lines."""
        assert self.transport is not None
        self.transport.write((dedent(frame) + "\r\n").encode())

    def next(self) -> Deferred[str]:
        """The next frame."""
        return self._inbox.next()

    @inlineCallbacks
    def close(self) -> Generator[Deferred[Any], Any, None]:
        assert self.transport is not None
        self.transport.loseConnection()
        yield self.closed


def connect_msrp(host: str, port: int, tls: Any = None) -> Deferred[MsrpWire]:
    """Connect to an MSRP server; `tls` is what makes TLS connections, None for plain TCP."""
    factory = Factory.forProtocol(MsrpWire)
    endpoint: Any = HostnameEndpoint(reactor, host, port)
    if tls is not None:
        endpoint = wrapClientTLS(tls, endpoint)
    connecting: Deferred[Any] = endpoint.connect(factory)
    return connecting


class MsrpListening:
    """An MSRP peer that waits to be connected to, at `port`; `tls` is what accepts TLS."""

    def __init__(self, host: str = "127.0.0.1", tls: Any = None) -> None:
        self.connected: Deferred[MsrpWire] = Deferred()
        self.wires: list[MsrpWire] = []
        factory: Any = Factory.forProtocol(self._wire)
        if tls is not None:
            factory = TLSMemoryBIOFactory(tls, False, factory)
        listener: Any = reactor
        self._listening: Any = listener.listenTCP(0, factory, interface=host)
        self.port: int = self._listening.getHost().port

    def _wire(self) -> MsrpWire:
        wire = MsrpWire(self._connected)
        self.wires.append(wire)
        return wire

    def _connected(self, wire: MsrpWire) -> None:
        if not self.connected.called:
            self.connected.callback(wire)

    @inlineCallbacks
    def close(self) -> Generator[Deferred[Any], Any, None]:
        """Wait until who has connected is gone, and wait for nobody more."""
        for wire in self.wires:
            yield wire.closed
        yield self._listening.stopListening()


def header(message: str, name: str) -> str:
    """The value of a header in a message's text."""
    for line in message.split("\r\n"):
        if line.lower().startswith(name.lower() + ":"):
            return line.partition(":")[2].strip()
    raise AssertionError(f"no {name} in {message!r}")


def attribute(message: str, name: str) -> str:
    """The value of an SDP attribute in a message's text."""
    for line in message.split("\r\n"):
        if line.startswith(f"a={name}:"):
            return line.partition(":")[2]
    raise AssertionError(f"no a={name} in {message!r}")
