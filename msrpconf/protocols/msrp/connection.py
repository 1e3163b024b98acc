"""MSRP connections (RFC 4975 §5.4): the Twisted protocol and its factory.

A connection carries frames of any number of sessions. It finds the session of a
request by the session id in To-Path, binds a session to itself at the first
request for it, answers for sessions that are not here (481) or live on another
connection (506), and writes what its sessions have queued.

Writing is what a chat server does most, so it has a short way: frames are
collected while the reactor serves what it has read, and then written with one
`sendmsg` for each connection, straight from the buffers that all recipients
share. Only what the kernel does not take at once goes through Twisted's
transport, whose call for more then resumes the writing. TLS has no short way:
its octets are made anew for each recipient anyhow.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from twisted.internet import protocol, tcp
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.frame import Continuation, FrameParser, Head, encode_response
from msrpconf.protocols.msrp.session import Refusal, SendReception, Session

BATCH = 65536
"""Octets that are given to the kernel at once; the last frame may carry it a little further."""

MAX_BUFFERS = 1000
"""Buffers for one `sendmsg`: below Linux's IOV_MAX of 1024."""

MAX_ANSWERS = 65536
"""Octets of answers that may wait before we stop reading from a peer that does not read them."""

MAX_STRAY = 16
"""Requests for unknown sessions after which a connection is closed."""

CLOSE_TIMEOUT = 30.0
"""Seconds that a closing connection may take to write what waits."""

Trace = Callable[[str, str, bytes], None]
"""Told of all octets: direction (``"<"`` in, ``">"`` out), the peer, the octets."""


class StreamTransport(Protocol):
    """What the connection needs of a Twisted stream transport, TCP or TLS."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> IAddress: ...


class Flusher:
    """Has the connections that have something to write do so, once a turn of the reactor."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[MsrpConnection] = []

    def add(self, connection: MsrpConnection) -> None:
        """Have `connection` write when the reactor has served what it is serving now."""
        if not self._waiting:
            self._clock.callLater(0, self._flush)
        self._waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.flush()


@implementer(IPushProducer, IPullProducer)
class MsrpConnection(protocol.Protocol):
    """One connection, from a peer or to a peer.

    `sessions` finds a session by its id; `flusher` calls for the writing;
    `bind_timeout` is how many seconds the connection may have no session.
    """

    log = Logger()

    def __init__(
        self,
        sessions: Mapping[bytes, Session],
        flusher: Flusher,
        clock: IReactorTime,
        bind_timeout: float = 30.0,
        trace: Trace | None = None,
    ) -> None:
        self.peer = "?"
        self.on_lost: Callable[[MsrpConnection], None] | None = None
        self._sessions = sessions
        self._flusher = flusher
        self._clock = clock
        self._bind_timeout = bind_timeout
        self._trace = trace
        self._parser = FrameParser()
        self._receiving: SendReception | None = None
        self._strays = 0
        # Sessions that are bound here, each with what tells its transactions
        # from the others' on this connection.
        self._bound: dict[Session, bytes] = {}
        self._bound_ever = 0
        self._unbound_timer: IDelayedCall | None = None
        self._close_timer: IDelayedCall | None = None
        self._ready: deque[Session] = deque()
        self._answers: list[bytes] = []
        self._answers_size = 0
        self._socket: socket.socket | None = None
        self._open = False
        self._closing = False
        self._awaiting_flush = False
        self._stalled = False
        self._registering = False
        self._reading_paused = False

    # From Twisted.

    def connectionMade(self) -> None:
        transport: object = self.transport
        self._stream = cast(StreamTransport, transport)
        self._open = True
        self.peer = describe_address(self._stream.getPeer())
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if isinstance(transport, tcp.Connection) and not transport.TLS:
            self._socket = transport.getHandle()
        else:
            self._stream.registerProducer(self, True)
        self._unbound_timer = self._clock.callLater(self._bind_timeout, self._never_bound)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._open = False
        self._socket = None
        self._stop_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._ready.clear()
        self._answers.clear()
        bound, self._bound = list(self._bound), {}
        text = reason.getErrorMessage()
        for session in bound:
            session.connection_lost(text)
        if self.on_lost is not None:
            self.on_lost(self)

    def dataReceived(self, data: bytes) -> None:
        if self._trace is not None:
            self._trace("<", self.peer, data)
        try:
            events = self._parser.receive_data(data)
        except MsrpSyntaxError as error:
            self.log.warn(
                "closing MSRP connection of {peer}: {error} (sessions: {sessions})",
                peer=self.peer,
                error=error,
                sessions=self._session_names(),
            )
            self._abort()
            return
        for event in events:
            if not self._open:
                return
            if type(event) is bytes:
                if self._receiving is not None:
                    self._receiving.data_received(event)
            elif type(event) is Head:
                self._receiving = self._begun(event)
            elif self._receiving is not None:
                receiving, self._receiving = self._receiving, None
                assert isinstance(event, Continuation)
                receiving.ended(event)

    # Requests and responses.

    def _begun(self, head: Head) -> SendReception | None:
        session = self._sessions.get(session_id(head.to_path))
        if head.status:
            if session is not None and session.connection is self:
                session.handler.response_received(session, head)
            return None
        if session is None or session.closed:
            self._stray(head)
            return None
        if session.connection is None and head.method != b"REPORT":
            self.attach(session)
        if session.connection is not self:
            self._refuse(
                head, Refusal(506, "this session is bound to another connection: use that one")
            )
            return None
        if head.method == b"SEND":
            reception = session.send_begun(head)
            if isinstance(reception, SendReception):
                return reception
            self._refuse(head, reception)
        elif head.method == b"REPORT":
            session.handler.report_received(session, head)
        else:
            refusal = session.handler.request_received(session, head)
            if refusal is None:
                self.respond(head, 200)
            else:
                self._refuse(head, refusal)
        return None

    def _refuse(self, head: Head, refusal: Refusal) -> None:
        self.log.info(
            "MSRP {method} from {peer} for session {session} refused: {status} {comment}",
            method=head.method.decode("ascii"),
            peer=self.peer,
            session=session_id(head.to_path).decode("ascii", "replace"),
            status=refusal.status,
            comment=refusal.comment,
        )
        # RFC 4975 §7.2: no answer to REPORT, nor to who wants none.
        if head.method != b"REPORT" and head.failure_report != b"no":
            self.respond(head, refusal.status, refusal.comment)

    def _stray(self, head: Head) -> None:
        self._strays += 1
        self._refuse(head, Refusal(481, "no such session here: it has ended, or never was"))
        if self._strays >= MAX_STRAY and not self._bound:
            self.close()

    def respond(self, head: Head, status: int, comment: str = "") -> None:
        """Answer the request `head` on this connection (RFC 4975 §7.2)."""
        answer = encode_response(head, status, comment.encode("utf-8"))
        self._answers.append(answer)
        self._answers_size += len(answer)
        if self._answers_size > MAX_ANSWERS and not self._reading_paused and self._open:
            self._reading_paused = True
            self._stream.pauseProducing()
        self._schedule()

    # Sessions.

    def attach(self, session: Session) -> None:
        """Bind `session` to this connection: it is served here from now on (RFC 4975 §5.4)."""
        self._stop_timer()
        self._bound_ever += 1
        self._bound[session] = b".%d" % self._bound_ever
        session.bind(self)

    def detach(self, session: Session) -> None:
        """Write what `session` has queued and serve it no longer; without any session, close."""
        if self._bound.pop(session, None) is None or not self._open:
            return
        if not self._bound:
            self.close()

    def wake(self, session: Session) -> None:
        """`session` has something in its queue, which was empty."""
        self._ready.append(session)
        self._schedule()

    # Writing.

    def _schedule(self) -> None:
        if not self._awaiting_flush and not self._stalled:
            self._awaiting_flush = True
            self._flusher.add(self)

    def flush(self) -> None:
        """Write what waits, as far as the peer takes it."""
        self._awaiting_flush = False
        if self._stalled or not self._open:
            return
        while self._answers or self._ready:
            if not self._write(*self._gather()):
                return
        if self._reading_paused:
            self._reading_paused = False
            self._stream.resumeProducing()
        if self._closing:
            self._lose()

    def _gather(self) -> tuple[list[bytes], int]:
        """The next batch: the buffers in the order they go out, and their octets."""
        buffers, size = self._answers, self._answers_size
        self._answers, self._answers_size = [], 0
        ready = self._ready
        alone = len(self._bound) <= 1
        while ready and size < BATCH and len(buffers) < MAX_BUFFERS:
            session = ready.popleft()
            queue = session.queue
            paths = session.paths
            while queue and size < BATCH and len(buffers) < MAX_BUFFERS:
                frame = queue.popleft()
                session.queued -= frame.size
                if not alone:
                    frame = frame.renamed(self._bound.get(session, b".0"))
                buffers += (frame.start, paths, frame.middle, frame.end)
                size += frame.size + len(paths)
                if not alone:
                    break  # sessions on one connection take turns
            if queue:
                ready.append(session)
            elif session.on_drained is not None:
                session.on_drained()
        return buffers, size

    def _write(self, buffers: list[bytes], size: int) -> bool:
        """Write a batch; return whether the peer takes more."""
        if self._trace is not None:
            self._trace(">", self.peer, b"".join(buffers))
        if self._socket is None:
            self._stream.write(b"".join(buffers))
            return not self._stalled
        sent = 0
        try:
            if len(buffers) <= MAX_BUFFERS:
                sent = self._socket.sendmsg(buffers)
        except OSError:
            # Not writable now, or broken: the transport finds out which.
            sent = 0
        if sent == size:
            return True
        self._stalled = True
        self._stream.write(b"".join(buffers)[sent:])
        self._registering = True
        self._stream.registerProducer(self, False)
        self._registering = False
        return not self._stalled

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._stalled = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty: write on."""
        if self._registering:
            return  # a pull producer is asked once as it is registered
        self._stalled = False
        if self._socket is not None:
            self._stream.unregisterProducer()
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""
        self._open = False

    # The end.

    def close(self) -> None:
        """Write what waits, then close."""
        if self._open and not self._closing:
            self._closing = True
            self._stop_timer()
            self._close_timer = self._clock.callLater(CLOSE_TIMEOUT, self._close_now)
            self.flush()

    def _abort(self) -> None:
        """Close without taking anything more from the peer."""
        self._open = False
        self._lose()

    def _lose(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._clock.callLater(CLOSE_TIMEOUT, self._close_now)
        self._stream.loseConnection()

    def _close_now(self) -> None:
        self._close_timer = None
        self._stream.abortConnection()

    def _never_bound(self) -> None:
        self._unbound_timer = None
        self.log.info(
            "closing MSRP connection of {peer}: no session within {seconds} s",
            peer=self.peer,
            seconds=self._bind_timeout,
        )
        self._abort()

    def _stop_timer(self) -> None:
        timer, self._unbound_timer = self._unbound_timer, None
        if timer is not None:
            timer.cancel()

    def _session_names(self) -> str:
        names = [
            session_id(session.local_path).decode("ascii", "replace") for session in self._bound
        ]
        return ", ".join(names[:5]) or "none"


class MsrpFactory(protocol.Factory):
    """Makes connections that share a table of sessions.

    `max_connections` bounds those that exist at once; more are closed at once.
    """

    log = Logger()

    def __init__(
        self,
        sessions: Mapping[bytes, Session],
        clock: IReactorTime,
        max_connections: int = 100000,
        bind_timeout: float = 30.0,
        trace: Trace | None = None,
    ) -> None:
        self.connections: set[MsrpConnection] = set()
        self._sessions = sessions
        self._clock = clock
        self._flusher = Flusher(clock)
        self._max_connections = max_connections
        self._bind_timeout = bind_timeout
        self._trace = trace

    def buildProtocol(self, addr: IAddress | None) -> MsrpConnection | None:
        """A connection of this factory's; None (which closes it) where there are too many."""
        if len(self.connections) >= self._max_connections:
            self.log.warn(
                "MSRP connection from {peer} refused: {count} are open",
                peer=describe_address(addr),
                count=len(self.connections),
            )
            return None
        connection = MsrpConnection(
            self._sessions, self._flusher, self._clock, self._bind_timeout, self._trace
        )
        connection.factory = self
        connection.on_lost = self.connections.discard
        self.connections.add(connection)
        return connection


def session_id(uri: bytes) -> bytes:
    """The session id of one MSRP URI, without reading the rest of it (RFC 4975 §6).

    Empty where there is none, and for a list of several URIs, which a request
    that has arrived does not have (§7.3).
    """
    if b" " in uri:
        return b""
    return uri.partition(b"://")[2].partition(b"/")[2].partition(b";")[0]


def describe_address(address: IAddress | None) -> str:
    """``127.0.0.1:2855`` or ``[::1]:2855``, for logs."""
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    port = getattr(address, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
