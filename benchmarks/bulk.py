"""A large message to a room: how fast it arrives, and what it does to the others.

One participant sends it in chunks, the others count what arrives. All of them are here, in one
loop over non-blocking sockets that looks at as little as it can, so that the figures are the
server's.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import quantiles

from attrs import define, field

from benchmarks.processes import resident_kib
from benchmarks.servers import Room
from benchmarks.sipload import Session

CHUNK = 65536
LAST = b"these are the last octets of it"
PING = b"PING "
TIMEOUT = 120.0
EVERY = 0.005  # seconds between two small messages


class BulkError(Exception):
    """Not all arrived. The text is for the user."""


@define
class Sink:
    """Somebody who gets the message; one that stalls reads nothing after `stalls_after` octets."""

    socket: socket.socket
    expected: int
    octets: int = 0
    complete: float = 0.0
    aborted: bool = False
    stalls_after: int | None = None
    _tail: bytes = b""

    def read(self, buffer: bytearray, view: memoryview, seen: Callable[[int], None]) -> bool:
        """Take what is there; False where there was the end, or nothing more is to be read."""
        try:
            count = self.socket.recv_into(buffer)
        except BlockingIOError:
            return True
        if not count:
            return False
        self.octets += count
        if self.stalls_after is not None and self.octets > self.stalls_after:
            return False
        start = buffer.find(PING, 0, count)
        while start >= 0 and start + 11 <= count:
            seen(int(buffer[start + 5 : start + 11]))
            start = buffer.find(PING, start + 1, count)
        near = not self.complete and self.octets >= self.expected
        if near and LAST in self._tail + bytes(view[:count]):
            self.complete = time.perf_counter()
        self._tail = bytes(view[max(0, count - 100) : count])
        return True


@define
class Source:
    """Who sends: octets that are made beforehand."""

    socket: socket.socket
    octets: memoryview
    position: int = 0

    def write(self) -> bool:
        """Give the kernel what it takes; False once it has all."""
        try:
            self.position += self.socket.send(self.octets[self.position : self.position + 262144])
        except BlockingIOError:
            pass
        return self.position < len(self.octets)


@define
class Outcome:
    """What became of one large message."""

    seconds: float
    grown_kib: int = 0
    latencies: list[float] = field(factory=list)

    @property
    def p99(self) -> float:
        """The 99th percentile of the small messages' latencies, in milliseconds."""
        return quantiles(self.latencies, n=100)[98] * 1000 if len(self.latencies) > 1 else 0.0


def relayed(port: int, sinks: int, size: int) -> Outcome:
    """The same octets through the plain relay at `port`."""
    with ExitStack() as stack:
        readers = [Sink(_connected(stack, "127.0.0.1", port), size) for _ in range(sinks)]
        source = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        octets = b"x" * (size - len(LAST)) + LAST
        return _run(Source(source, memoryview(octets)), readers, None, None)


def switched(
    room: Room, size: int, pid: int, *, pinging: bool = False, stalled: bool = False
) -> Outcome:
    """A message of `size` octets by the room's first participant to all others.

    With `pinging`, the second one says something short every few milliseconds. With
    `stalled`, one recipient stops to read after the first octets.
    """
    with ExitStack() as stack:
        sockets = [_bound(stack, session) for session in room.sessions]
        sinks = [Sink(each, size) for each in sockets[1:]]
        if stalled:
            sinks[-1].stalls_after = 100000
        frames = _message(room, room.sessions[0], size)
        pinger = _Pinger(sockets[1], room, room.sessions[1]) if pinging else None
        return _run(Source(sockets[0], memoryview(frames)), sinks, pinger, pid)


@define
class _Pinger:
    socket: socket.socket
    room: Room
    session: Session
    sent: list[float] = field(factory=list)
    latencies: dict[int, float] = field(factory=dict)

    def ping(self) -> None:
        number = len(self.sent)
        head = f"From: <{self.room.second}>\r\nTo: <{self.room.uri}>\r\n\r\n"
        body = f"{head}Content-Type: text/plain\r\n\r\n{PING.decode()}{number:06}".encode()
        self.sent.append(time.perf_counter())
        self.socket.sendall(_send(self.session, f"ping{number:08}", f"ping{number}", body, 1, None))

    def seen(self, number: int) -> None:
        if number < len(self.sent):
            self.latencies.setdefault(number, time.perf_counter() - self.sent[number])


def _run(source: Source, sinks: list[Sink], pinger: _Pinger | None, pid: int | None) -> Outcome:
    before = peak = 0 if pid is None else resident_kib(pid)
    epoll = select.epoll()
    by_fd: dict[int, Sink] = {}
    for sink in sinks:
        sink.socket.setblocking(False)
        epoll.register(sink.socket, select.EPOLLIN)
        by_fd[sink.socket.fileno()] = sink
    source.socket.setblocking(False)
    epoll.register(source.socket, select.EPOLLIN | select.EPOLLOUT)
    buffer = bytearray(262144)
    view = memoryview(buffer)
    seen = (lambda number: None) if pinger is None else pinger.seen
    waiting = sum(sink.stalls_after is None for sink in sinks)
    begun = sampled = time.perf_counter()
    next_ping = begun if pinger is not None else float("inf")
    while waiting:
        now = time.perf_counter()
        if now - begun > TIMEOUT:
            raise BulkError(f"{waiting} of {len(sinks)} had not all of it after {TIMEOUT:.0f} s")
        if pinger is not None and now >= next_ping:
            pinger.ping()
            next_ping = now + EVERY
        if pid is not None and now - sampled > 0.02:
            peak = max(peak, resident_kib(pid))
            sampled = now
        for fd, event in epoll.poll(0.002):
            found = by_fd.get(fd)
            if found is None:
                if event & select.EPOLLIN and not source.socket.recv(262144):
                    raise BulkError("the server closed the connection of who sends")
                if event & select.EPOLLOUT and not source.write():
                    epoll.modify(source.socket, select.EPOLLIN)
                continue
            was = found.complete
            if not found.read(buffer, view, seen):
                epoll.unregister(fd)
                if found.stalls_after is None and not found.complete:
                    raise BulkError("the server closed the connection of a recipient")
            waiting -= bool(found.complete and not was)
    epoll.close()
    ends = [sink.complete for sink in sinks if sink.stalls_after is None]
    latencies = [] if pinger is None else list(pinger.latencies.values())
    return Outcome(max(ends) - begun, peak - before, latencies)


def _bound(stack: ExitStack, session: Session) -> socket.socket:
    """A connection on which the session is bound."""
    made = _connected(stack, session.host, session.port)
    made.sendall(
        f"MSRP bind0000 SEND\r\nTo-Path: {session.to_path}\r\nFrom-Path: {session.from_path}\r\n"
        "Message-ID: bind\r\nByte-Range: 1-0/0\r\n-------bind0000$\r\n".encode()
    )
    made.settimeout(10)
    if not made.recv(4096).startswith(b"MSRP bind0000 200"):
        raise BulkError("a session was not bound")
    return made


def _connected(stack: ExitStack, host: str, port: int) -> socket.socket:
    """A connection that takes no more ahead than somebody who reads at once."""
    made = stack.enter_context(socket.socket())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
    made.connect((host, port))
    return made


def _message(room: Room, session: Session, size: int) -> bytes:
    head = f"From: <{room.sender}>\r\nTo: <{room.uri}>\r\n\r\nContent-Type: text/plain\r\n\r\n"
    body = head.encode() + b"x" * (size - len(head) - len(LAST)) + LAST
    chunks = []
    for number, start in enumerate(range(0, size, CHUNK)):
        chunk = body[start : start + CHUNK]
        chunks.append(_send(session, f"bulk{number:08}", "bulk", chunk, start + 1, size))
    return b"".join(chunks)


def _send(
    session: Session, transaction: str, message_id: str, body: bytes, start: int, total: int | None
) -> bytes:
    end = start + len(body) - 1
    last = total is None or end == total
    head = (
        f"MSRP {transaction} SEND\r\n"
        f"To-Path: {session.to_path}\r\nFrom-Path: {session.from_path}\r\n"
        f"Message-ID: {message_id}\r\nByte-Range: {start}-*/{end if total is None else total}\r\n"
        "Content-Type: message/cpim\r\n\r\n"
    )
    flag = "$" if last else "+"
    return b"".join((head.encode(), body, f"\r\n-------{transaction}{flag}\r\n".encode()))
