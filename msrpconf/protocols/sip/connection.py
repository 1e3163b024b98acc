"""SIP over TCP and TLS: one connection."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Message, SipParseError
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.stream import MAX_BODY, MAX_HEADERS, KeepAlive, StreamParser
from msrpconf.protocols.sip.tls import proven_identities
from msrpconf.protocols.tls_refusals import why_refused

_USUAL_ENDS = (ConnectionDone, ConnectionLost, ConnectionAborted)

PONG = b"\r\n"
"""The answer to CR LF CR LF (RFC 5626 section 3.5.1)."""


@frozen
class ConnectionLimits:
    """What a peer may take of us over connections. Times in seconds, sizes in octets."""

    connections: int = 10_000
    """All connections together."""
    connections_per_host: int = 256
    """Those accepted from one address. Many users may be behind one."""
    idle_timeout: float = 7200.0
    """How long a connection may be silent, keep-alives counted as sound.

    Long, since a client behind NAT cannot be reached any more once its connection is closed.
    """
    message_timeout: float = 30.0
    """How long a message may take from its first octet to its last, and a connection to its
    first message."""
    close_timeout: float = 10.0
    """How long what was written may take to leave, once a connection is to be closed."""
    connect_timeout: float = 10.0
    """How long a connection may take to be made."""
    unread: int = 1024 * 1024
    """Octets that may wait for a peer that does not read. Beyond, it is disconnected."""
    max_headers: int = MAX_HEADERS
    """Octets of a message before its body."""
    max_body: int = MAX_BODY
    """Octets of a body."""


class ConnectionOwner(Protocol):
    """What a connection tells of itself, and to whom."""

    def made(self, connection: SipConnection) -> None:
        """It is there, and `flow` says between whom; TLS may be still to come."""

    def opened(self, connection: SipConnection) -> None:
        """It takes messages."""

    def received(self, message: Message, flow: Flow) -> None:
        """A message came."""

    def malformed(self, error: SipParseError, flow: Flow) -> None:
        """Something came that is no message. If it is `fatal`, the connection closes next."""

    def traced(self, direction: str, flow: Flow, octets: bytes) -> None:
        """Octets came ("in") or went ("out")."""

    def closed(self, connection: SipConnection) -> None:
        """Nothing can be sent by it any more."""

    def lost(self, connection: SipConnection, why: str | None) -> None:
        """It is gone; `why`, where TLS was it."""


def _waiting(transport: Any) -> float:
    """The octets that the kernel has not taken yet; infinite where a transport, as TLS, says not.

    Twisted has no other name for it.
    """
    try:
        return len(transport.dataBuffer) - int(transport.offset) + int(transport._tempDataLen)
    except AttributeError:
        return float("inf")


@implementer(IPushProducer, IHandshakeListener)
class SipConnection(TwistedProtocol):
    """A stream of messages each way.

    `dialled` is the address that we connected to, None if the peer connected to us. `clock`
    gives the time that `check` compares with the limits. Over TLS, `identities` are the SIP domains
    that the peer has proved to be (RFC 5922); `secured` fires once who was connected to has proved
    to be `dialled`, or fails with `TransportError`.
    """

    flow: Flow
    identities: frozenset[str] = frozenset()

    def __init__(
        self,
        owner: ConnectionOwner,
        clock: IReactorTime,
        limits: ConnectionLimits,
        transport_name: str,
        serial: int,
        dialled: Address | None = None,
    ) -> None:
        self.dialled = dialled
        self._owner = owner
        self._clock = clock
        self._limits = limits
        self._transport_name = transport_name
        self._serial = serial
        self._parser = StreamParser(limits.max_headers, limits.max_body)
        self._heard = clock.seconds()
        # Since when a message has been incomplete. A new connection owes its first one.
        self._owed_since: float | None = None if dialled is not None else self._heard
        self._closing_since: float | None = None
        self._choked = False
        self._unread: float = 0
        self._secure = transport_name != "tls"
        self.secured: Deferred[None] = Deferred(lambda _: self._give_up())
        if self._secure:
            self.secured.callback(None)

    @property
    def usable(self) -> bool:
        """Whether it takes messages."""
        return self._closing_since is None

    def connectionMade(self) -> None:
        """From Twisted."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        host, peer = transport.getHost(), transport.getPeer()
        self.flow = Flow(
            self._transport_name, (host.host, host.port), (peer.host, peer.port), self._serial
        )
        self._owner.made(self)
        if self._secure:
            self._owner.opened(self)

    def handshakeCompleted(self) -> None:
        """From Twisted: TLS is there, and the peer's certificate is good."""
        if self.usable:
            self._secure = True
            self.identities = proven_identities(self.transport)
            self._owner.opened(self)
            self.secured.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """From Twisted."""
        if not self.usable:
            return
        self._owner.traced("in", self.flow, data)
        events = self._parser.receive_data(data)
        now = self._clock.seconds()
        if events:
            self._heard = now
            self._owed_since = None
        if self._owed_since is None and self._parser.incomplete:
            self._owed_since = now
        for event in events:
            if self.usable:
                self._handle(event)

    def _handle(self, event: Message | SipParseError | KeepAlive) -> None:
        if isinstance(event, KeepAlive):
            self._write(PONG)
        elif isinstance(event, SipParseError):
            self._owner.malformed(event, self.flow)
            if event.fatal:
                self.close()
        else:
            self._owner.received(event, self.flow)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """From Twisted."""
        self._stop()
        self._owner.lost(self, why := self._why_no_tls(reason))
        if self.dialled is not None and not self.secured.called:
            self.secured.errback(TransportError(why or "the connection was closed"))

    def _why_no_tls(self, reason: Failure) -> str | None:
        """What TLS came to nothing, or broke, by; None where it was not TLS."""
        if self._transport_name != "tls":
            return None
        if not reason.check(*_USUAL_ENDS) or getattr(self.transport, "verify_error", None):
            return why_refused(reason.value, self.transport)
        if self._secure or self.dialled is None:
            return None  # whoever looks whether a port is open says nothing either
        return "it closed the connection before TLS was there"

    def send(self, octets: bytes) -> None:
        """Writes a message. Raises `TransportError` where the connection does not take it."""
        if not self.usable:
            raise TransportError(f"{self.flow.peer}: the connection is closed")
        self._heard = self._clock.seconds()
        self._owner.traced("out", self.flow, octets)
        self._write(octets)
        if not self.usable:
            raise TransportError(
                f"{self.flow.peer}: does not read, {self._unread:.0f} octets are waiting"
            )

    def _write(self, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.write(octets)
        if self._choked:
            self._unread += len(octets)
            if self._unread > self._limits.unread:
                # What was written is not what waits, where the peer reads all the time.
                self._unread = min(self._unread, _waiting(self.transport))
                if self._unread > self._limits.unread:
                    self.abort()

    def close(self) -> None:
        """Closes the connection once all is written."""
        if self._closing_since is None:
            self._stop()
            transport: Any = self.transport
            # A producer would be waited for.
            transport.unregisterProducer()
            transport.loseConnection()

    def _give_up(self) -> None:
        """Nobody waits for TLS any more."""
        if self.transport is not None:
            self.abort()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._stop()
        transport: Any = self.transport
        transport.abortConnection()

    def _stop(self) -> None:
        if self._closing_since is None:
            self._closing_since = self._clock.seconds()
            self._owner.closed(self)

    def check(self) -> None:
        """Closes the connection if it has used up its time."""
        now = self._clock.seconds()
        limits = self._limits
        if self._closing_since is not None:
            if now - self._closing_since >= limits.close_timeout:
                self.abort()
            return
        owed = self._owed_since
        late = owed is not None and now - owed >= limits.message_timeout
        if late or now - self._heard >= limits.idle_timeout:
            self.close()

    def pauseProducing(self) -> None:
        """From Twisted: the peer reads more slowly than we write."""
        self._choked = True

    def resumeProducing(self) -> None:
        """From Twisted: all is written."""
        self._choked = False
        self._unread = 0

    def stopProducing(self) -> None:
        """From Twisted: the connection is lost."""
