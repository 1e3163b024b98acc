"""Octets out: the writing half of an MSRP connection.

Writing is what a chat server does most, so it has a short way: frames are
collected while the reactor serves what it has read, and then written with one
`sendmsg` for each connection, straight from the buffers that all recipients
share. Only what the kernel does not take at once goes through Twisted's
transport, whose call for more then resumes the writing. TLS has no short way:
its octets are made anew for each recipient anyhow.

Answers go before everything else, and a peer that does not read them is not
read from: what it can make us hold is bounded by `MAX_ANSWERS` and the limits of
its sessions' queues.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol, cast

from twisted.internet import protocol, tcp
from twisted.internet.interfaces import (
    IAddress,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.logger import Logger
from zope.interface import implementer

from msrpconf.protocols.msrp.keepalive import unacknowledged
from msrpconf.protocols.msrp.session import Session

BATCH = 65536
"""Octets that are given to the kernel at once; the last frame may carry it a little further."""

MAX_BUFFERS = 1000
"""Buffers for one `sendmsg`: below Linux's IOV_MAX of 1024."""

MAX_ANSWERS = 65536
"""Octets of answers that may wait before we stop reading from a peer that does not read them."""

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


class Traffic:
    """What has gone over the connections of one factory since it was made: for metrics."""

    __slots__ = ("frames_out", "octets_in", "octets_out", "refused")

    def __init__(self) -> None:
        self.octets_in = 0
        self.octets_out = 0
        self.frames_out = 0
        """Requests of sessions: messages, their chunks, and the like; not answers."""
        self.refused = 0
        """Requests that were not served."""


class Flusher:
    """Has the connections that have something to write do so, once a turn of the reactor."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.traffic = Traffic()
        """Of all the connections that write by this."""
        self._clock = clock
        self._waiting: list[StreamWriter] = []

    def add(self, writer: StreamWriter) -> None:
        """Have `writer` write when the reactor has served what it is serving now."""
        if not self._waiting:
            self._clock.callLater(0, self._flush)
        self._waiting.append(writer)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            try:
                writer.flush()
            except Exception:
                # A fault in one connection's callbacks must not silence the others.
                self.log.failure("writing to {peer} failed", peer=writer.peer)


@implementer(IPushProducer, IPullProducer)
class StreamWriter(protocol.Protocol):
    """A protocol that writes what its sessions have queued, as fast as the peer takes it."""

    def __init__(self, flusher: Flusher, trace: Trace | None = None) -> None:
        self.peer = "?"
        self.secure = False
        """Whether this is TLS."""
        self.wrote = False
        """Whether anything was written since somebody set this to False."""
        self.deaf = False
        """Whether the peer is not read from at the moment."""
        self.shared = False
        """Whether several sessions have been served here: transactions need names of their own."""
        self._flusher = flusher
        self._traffic = flusher.traffic
        self._trace = trace
        self._stream: StreamTransport
        self._socket: socket.socket | None = None
        # Whether the transport takes octets and gives them.
        self._open = False
        # Whether the transport is to be closed once nothing waits any more.
        self._closing = False
        self._ready: deque[Session] = deque()
        self._answers: list[bytes] = []
        self._answers_size = 0
        self._awaiting_flush = False
        self._flushing = False
        self._stalled = False
        self._producing = False
        self._registering = False
        # Who does not want the peer to be read from.
        self._holders: set[Hashable] = set()

    def _start_writing(self) -> None:
        """Take the transport into use."""
        transport: object = self.transport
        self._stream = cast(StreamTransport, transport)
        self._open = True
        self.secure = ISSLTransport.providedBy(transport)
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        if isinstance(transport, tcp.Connection) and not transport.TLS:
            self._socket = transport.getHandle()
        else:
            self._produce(True)

    def _stop_writing(self) -> None:
        """The transport is gone: forget what waited."""
        self._open = False
        self._socket = None
        self._ready.clear()
        self._answers.clear()
        self._answers_size = 0
        self._holders.clear()

    # What waits.

    def wake(self, session: Session) -> None:
        """`session` has something to write, and had nothing."""
        self._ready.append(session)
        self._schedule()

    def _answer(self, answer: bytes) -> None:
        """Write a frame before all that sessions have queued."""
        self._answers.append(answer)
        self._answers_size += len(answer)
        if self._answers_size > MAX_ANSWERS:
            self._pause_reading()
        self._schedule()

    def _disown(self, session: Session) -> None:
        """Write nothing more of `session`."""
        try:
            self._ready.remove(session)
        except ValueError:
            pass

    def _schedule(self) -> None:
        if not self._awaiting_flush and not self._stalled:
            self._awaiting_flush = True
            self._flusher.add(self)

    # Writing.

    def flush(self) -> None:
        """Write what waits, as far as the peer takes it."""
        self._awaiting_flush = False
        if self._stalled or not self._open or self._flushing:
            return
        self._flushing = True
        try:
            while self._answers or self._ready:
                buffers, size = self._gather()
                if not self._write(buffers, size):
                    return
        finally:
            self._flushing = False
        if self._closing:
            self._lose()
        elif self.deaf and not self._holders:
            self._resume_reading()

    def _gather(self) -> tuple[list[bytes], int]:
        """The next batch: the buffers in the order they go out, and their octets."""
        buffers: list[bytes] = []
        size = 0
        if self._answers:
            buffers.append(b"".join(self._answers))
            size = self._answers_size
            self._answers = []
            self._answers_size = 0
        ready = self._ready
        shared = self.shared
        while ready and size < BATCH and len(buffers) + 4 <= MAX_BUFFERS:
            session = ready.popleft()
            paths = session.paths
            while session.queued and size < BATCH and len(buffers) + 4 <= MAX_BUFFERS:
                frame = session.next_frame()
                if shared:
                    frame = frame.renamed(session.suffix)
                buffers += (frame.start, paths, frame.middle, frame.end)
                size += frame.size + len(paths)
                if shared:
                    break  # sessions on one connection take turns
            if session.queued:
                ready.append(session)
            elif session.on_drained is not None:
                session.on_drained()
            if session.watched:
                session.eased()
        return buffers, size

    def _write(self, buffers: list[bytes], size: int) -> bool:
        """Write a batch; return whether the peer takes more."""
        if self._trace is not None:
            self._trace(">", self.peer, b"".join(buffers))
        self.wrote = True
        traffic = self._traffic
        traffic.octets_out += size
        # Four buffers for each frame, and one for all answers, which come first.
        traffic.frames_out += len(buffers) // 4
        if self._socket is None:
            self._stream.write(b"".join(buffers))
            return not self._stalled
        try:
            sent = self._socket.sendmsg(buffers)
        except OSError:
            # Not writable now, or broken: the transport finds out which.
            sent = 0
        if sent == size:
            return True
        self._stalled = True
        self._stream.write(b"".join(buffers)[sent:])
        self._produce(False)
        return False

    def _lose(self) -> None:
        """Close once the transport has written what it holds."""
        self._open = False
        if self._producing:
            # A transport does not close while a producer may still write.
            self._producing = False
            self._stream.unregisterProducer()
        if self.deaf:
            # TLS closes by an exchange, for which it must read.
            self._resume_reading()
        self._stream.loseConnection()

    @property
    def peer_is_idle(self) -> bool:
        """Whether the peer has acknowledged all that was sent, and takes no more.

        If octets wait all the same, its program does not read. True where the system
        does not tell.
        """
        transport: object = self.transport
        return not unacknowledged(transport)

    @property
    def is_written(self) -> bool:
        """Whether nothing waits to be written, and the peer has acknowledged what was."""
        waits = self._answers or self._ready or self._stalled or self._awaiting_flush
        return not waits and self.peer_is_idle

    def hold(self, holder: Hashable) -> None:
        """Read nothing from the peer until `holder` releases it."""
        self._holders.add(holder)
        self._pause_reading()

    def release(self, holder: Hashable) -> None:
        """`holder` has no more reason not to read from the peer."""
        self._holders.discard(holder)
        waiting = self._holders or self._answers_size > MAX_ANSWERS
        if self.deaf and self._open and not waiting:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if not self.deaf and self._open:
            self.deaf = True
            self._stream.pauseProducing()

    def _resume_reading(self) -> None:
        self.deaf = False
        self._stream.resumeProducing()

    # From the transport, of which this is the producer.

    def _produce(self, streaming: bool) -> None:
        self._producing = True
        self._registering = True
        self._stream.registerProducer(self, streaming)
        self._registering = False

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._stalled = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty: write on."""
        if self._registering:
            return  # a pull producer is asked once as it is registered
        self._stalled = False
        if self._socket is not None and self._producing:
            self._producing = False
            self._stream.unregisterProducer()
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""
        self._open = False
        self._producing = False
