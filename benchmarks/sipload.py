"""SIP participants for the benchmarks: joins and leaves many dialogs over one UDP socket.

No stack: requests are filled into templates, and of a response only what the next request needs is
read. So one join costs the load a small part of what it costs a server, and the figures are the
server's. ``SipLoad.join`` can also connect each MSRP session and bind it with an empty SEND
(RFC 4975 section 5.4), which is what a client does until it can speak.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable

from attrs import define, field, frozen

T1 = 0.5
T2 = 4.0
DOMAIN = "bench.invalid"

_INVITE = b"""\
INVITE %(room)s SIP/2.0
Via: SIP/2.0/UDP %(local)s;branch=z9hG4bK%(id)s-i;rport
Max-Forwards: 70
From: <%(uri)s>;tag=f%(id)s
To: <%(room)s>
Call-ID: %(id)s@bench
CSeq: 1 INVITE
Contact: <sip:%(id)s@%(local)s>
Content-Type: application/sdp
Content-Length: %(length)d

""".replace(b"\n", b"\r\n")

_SDP = b"""\
v=0
o=- %(number)d 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message 9 TCP/MSRP *
a=accept-types:message/cpim
a=accept-wrapped-types:*
a=path:%(path)s
a=setup:active
""".replace(b"\n", b"\r\n")

_IN_DIALOG = b"""\
%(method)s %(target)s SIP/2.0
Via: SIP/2.0/UDP %(local)s;branch=z9hG4bK%(id)s-%(branch)s;rport
Max-Forwards: 70
From: <%(uri)s>;tag=f%(id)s
To: %(remote)s
Call-ID: %(id)s@bench
CSeq: %(cseq)d %(method)s
Content-Length: 0

""".replace(b"\n", b"\r\n")

_BIND = b"""\
MSRP %(id)s SEND
To-Path: %(remote)s
From-Path: %(local)s
Message-ID: %(id)s
Byte-Range: 1-0/0
-------%(id)s$
""".replace(b"\n", b"\r\n")

_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*p(\d+)x", re.I)
_CSEQ = re.compile(rb"\r\nCSeq[ \t]*:[ \t]*\d+[ \t]+(\w+)", re.I)
_TO = re.compile(rb"\r\n(?:To|t)[ \t]*:[ \t]*([^\r]*)", re.I)
_CONTACT = re.compile(rb"\r\n(?:Contact|m)[ \t]*:[^\r]*?<([^>\r]*)>", re.I)
_PATH = re.compile(rb"\r\na=path:(msrps?://([^\s:/]+):(\d+)/[^\s]+)")
_ECHOED = re.compile(rb"\r\n((?:Via|v|From|f|To|t|Call-ID|i|CSeq)[ \t]*:[^\r]*)", re.I)


class SipLoadError(Exception):
    """The server refused a request, or did not answer in time."""


@frozen
class Session:
    """An MSRP session as its client sees it: where to connect, and the two paths."""

    host: str
    port: int
    to_path: str
    from_path: str

    def line(self, sender: bool) -> str:
        """The session as a line for the load generator."""
        role = "s" if sender else "r"
        return f"{self.host} {self.port} {self.to_path} {self.from_path} {role}\n"


@define(eq=False)
class Participant:
    """One dialog, and its MSRP session once the server has answered."""

    number: int
    id: bytes
    uri: bytes
    path: bytes
    remote: bytes = b""
    target: bytes = b""
    session: Session | None = None
    connection: socket.socket | None = None
    received: bytes = b""
    answered: bool = False
    request: bytes = b""  # what is repeated until it is answered
    repeat_at: float = 0.0
    interval: float = T1


@frozen
class Joined:
    """What a number of joins took: wall clock seconds, and CPU seconds of this process."""

    participants: list[Participant]
    seconds: float
    client_cpu: float

    @property
    def sessions(self) -> list[Session]:
        return [one.session for one in self.participants if one.session is not None]


@define(eq=False)
class SipLoad:
    """Many user agents behind one socket on 127.0.0.1.

    server is the (host, port) of the focus; timeout, in seconds, bounds each join() and leave().
    """

    server: tuple[str, int]
    timeout: float = 60.0
    retransmissions: int = 0
    requests_received: int = 0
    _participants: list[Participant] = field(factory=list)
    _pending: dict[int, Participant] = field(factory=dict)
    _binding: dict[int, Participant] = field(factory=dict)
    _connect: bool = False
    _socket: socket.socket = field(init=False)
    _poll: select.epoll = field(init=False)
    _local: bytes = field(init=False)
    _run: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(self.server)
        self._socket.setblocking(False)
        self._local = b"127.0.0.1:%d" % self._socket.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._socket, select.EPOLLIN)
        self._run = secrets.token_hex(8)

    def ping(self) -> bool:
        """Whether an OPTIONS request is answered within half a second, by whatever status."""
        name = secrets.token_hex(8).encode()
        request = _IN_DIALOG % {
            b"method": b"OPTIONS",
            b"target": b"sip:%s" % DOMAIN.encode(),
            b"local": self._local,
            b"id": name,
            b"branch": b"o",
            b"uri": b"sip:ping@%s" % DOMAIN.encode(),
            b"remote": b"<sip:%s>" % DOMAIN.encode(),
            b"cseq": 1,
        }
        try:
            self._socket.send(request)
            return bool(self._poll.poll(0.5)) and name in self._socket.recv(65536)
        except ConnectionRefusedError:
            time.sleep(0.05)
            return False

    def join(self, room: str, count: int, *, window: int, connect: bool) -> Joined:
        """Let count new participants join a room, window of them at a time.

        A join is INVITE, 200 and ACK, and with connect the MSRP connection, the binding SEND and
        its 200. Connections stay open until leave(). Raises SipLoadError.
        """
        start, cpu = time.monotonic(), time.process_time()
        first = len(self._participants)
        for number in range(first, first + count):
            name = f"p{number}x{self._run}"
            path = f"msrp://{self._local.decode()}/{name};tcp"
            uri = f"sip:p{number}@{DOMAIN}"
            self._participants.append(
                Participant(number, name.encode(), uri.encode(), path.encode())
            )
        self._connect = connect
        participants = self._participants[first:]
        self._all(participants, lambda one: self._invite(one, room.encode()), window)
        return Joined(participants, time.monotonic() - start, time.process_time() - cpu)

    def leave(self, participants: Iterable[Participant], *, window: int = 20) -> None:
        """Send BYE for each and wait for the answers; their connections close after that."""
        gone = list(participants)
        self._all(gone, self._bye, window)
        for one in gone:
            if one.connection is not None:
                one.connection.close()
                one.connection = None

    def close(self) -> None:
        """Close the sockets; dialogs that are still there are left to the server's time-outs."""
        for one in self._participants:
            if one.connection is not None:
                one.connection.close()
        self._poll.close()
        self._socket.close()

    def _all(
        self, participants: list[Participant], start: Callable[[Participant], None], window: int
    ) -> None:
        """Start all, window at a time, and wait until nothing is pending."""
        waiting = deque(participants)
        deadline = time.monotonic() + self.timeout
        tick = time.monotonic() + 0.1
        while waiting or self._pending:
            while waiting and len(self._pending) < window:
                one = waiting.popleft()
                self._pending[one.number] = one
                start(one)
            for descriptor, _ in self._poll.poll(0.1):
                if descriptor in self._binding:
                    self._bound(descriptor)
                else:
                    self._receive()
            now = time.monotonic()
            if now >= deadline:
                raise SipLoadError(
                    f"{len(waiting) + len(self._pending)} of {len(participants)} requests"
                    f" were not completed in {self.timeout:g} s"
                )
            if now >= tick:
                tick = now + 0.1
                self._repeat(now)

    def _send(self, one: Participant, request: bytes) -> None:
        one.request, one.interval = request, T1
        one.repeat_at = time.monotonic() + T1
        self._datagram(request)

    def _datagram(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            raise SipLoadError("the server's SIP port is closed") from None

    def _repeat(self, now: float) -> None:
        for one in self._pending.values():
            if one.request and now >= one.repeat_at:
                one.interval = min(2 * one.interval, T2)
                one.repeat_at = now + one.interval
                self.retransmissions += 1
                self._datagram(one.request)

    def _invite(self, one: Participant, room: bytes) -> None:
        body = _SDP % {b"number": one.number, b"path": one.path}
        values = {
            b"room": room,
            b"local": self._local,
            b"id": one.id,
            b"uri": one.uri,
            b"length": len(body),
        }
        self._send(one, _INVITE % values + body)

    def _in_dialog(self, one: Participant, method: bytes, branch: bytes, cseq: int) -> bytes:
        return _IN_DIALOG % {
            b"method": method,
            b"target": one.target,
            b"local": self._local,
            b"id": one.id,
            b"branch": branch,
            b"uri": one.uri,
            b"remote": one.remote,
            b"cseq": cseq,
        }

    def _bye(self, one: Participant) -> None:
        self._send(one, self._in_dialog(one, b"BYE", b"b", 2))

    def _receive(self) -> None:
        for _ in range(64):
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                raise SipLoadError("the server's SIP port is closed") from None
            if not data.startswith(b"SIP/2.0 "):
                self._answer(data)
                continue
            call_id, cseq = _CALL_ID.search(data), _CSEQ.search(data)
            if call_id is None or cseq is None or int(call_id[1]) >= len(self._participants):
                continue
            one = self._participants[int(call_id[1])]
            status = int(data[8:11])
            if cseq[1] == b"INVITE":
                self._invite_answered(one, status, data)
            elif status >= 200 and cseq[1] == b"BYE":
                self._pending.pop(one.number, None)

    def _answer(self, request: bytes) -> None:
        """A request of the server's: whatever it is, it is answered, so that it is not repeated."""
        self.requests_received += 1
        if not request.startswith(b"ACK "):
            echoed = b"\r\n".join(_ECHOED.findall(request))
            self._datagram(b"SIP/2.0 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % echoed)

    def _invite_answered(self, one: Participant, status: int, data: bytes) -> None:
        if status < 200:
            one.request = b""
            return
        if status >= 300:
            line = data.partition(b"\r\n")[0].decode(errors="replace")
            raise SipLoadError(f"an INVITE was answered {line}")
        if not one.answered:
            to, contact, path = _TO.search(data), _CONTACT.search(data), _PATH.search(data)
            if to is None or contact is None or path is None:
                raise SipLoadError("a 200 came without To, Contact or a=path")
            one.remote, one.target = to[1], contact[1]
            one.session = Session(
                path[2].decode(), int(path[3]), path[1].decode(), one.path.decode()
            )
        # A 200 that comes again wants its ACK again (RFC 3261 section 13.2.2.4).
        self._datagram(self._in_dialog(one, b"ACK", b"a", 1))
        if one.answered:
            return
        one.answered = True
        one.request = b""
        if self._connect:
            self._bind(one)
        else:
            del self._pending[one.number]

    def _bind(self, one: Participant) -> None:
        assert one.session is not None
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # On the loopback a connection is there at once, or the server is not: the time-out
        # (SO_SNDTIMEO) spares every join a round through epoll.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 5, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.connect((one.session.host, one.session.port))
        except OSError as error:
            connection.close()
            raise SipLoadError(f"MSRP connection {one.number}: {error}") from None
        values = {b"id": one.id, b"remote": one.session.to_path.encode(), b"local": one.path}
        connection.send(_BIND % values)
        one.connection = connection
        self._binding[connection.fileno()] = one
        self._poll.register(connection, select.EPOLLIN)

    def _bound(self, descriptor: int) -> None:
        one = self._binding[descriptor]
        assert one.connection is not None
        data = one.connection.recv(65536, socket.MSG_DONTWAIT)
        one.received += data
        start = one.received.find(b"MSRP %s " % one.id)
        if start >= 0 and b"-------%s$\r\n" % one.id in one.received:
            if one.received[start:].split(b" ", 3)[2][:3] != b"200":
                raise SipLoadError("a binding SEND was refused")
            # What comes later stays in the socket: nobody speaks while participants join.
            self._poll.unregister(descriptor)
            del self._binding[descriptor]
            del self._pending[one.number]
        elif not data:
            raise SipLoadError("the server closed an MSRP connection")
