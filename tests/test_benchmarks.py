"""The benchmarks' own programs: what they report has to be true of what they measure."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from benchmarks.bench import lines
from benchmarks.programs import Programs, build, compiler
from benchmarks.report import Results, table
from benchmarks.servers import Reference, Room
from benchmarks.sipload import Session, SipLoad, SipLoadError
from benchmarks.watchers import TOLD

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 15


@cache
def built() -> Programs:
    """The C programs, built once. Raises SkipTest without a compiler, but in CI fails then."""
    if compiler() is None:
        if os.environ.get("CI"):
            raise RuntimeError("no C compiler: CI needs cc for the benchmarks' programs")
        raise SkipTest("no C compiler")
    directory = Path(tempfile.mkdtemp(prefix="msrpconf-test-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return build(directory)


class WithPrograms(TestCase):
    """A test that needs the C programs."""

    timeout = 20

    def setUp(self) -> None:
        self.programs = built()

    def reference(self) -> Reference:
        server = Reference.start(self.programs.reference, None)
        self.addCleanup(server.stop)
        return server

    def load(self, room: Room, *options: str, status: int = 0) -> dict[str, Any]:
        """Run the load generator; what it printed."""
        done = subprocess.run(
            [str(self.programs.loadgen), *options, "--timeout", "10"],
            input=lines(room),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        result: dict[str, Any] = json.loads(done.stdout)
        return result


class LoadgenAndReferenceTests(WithPrograms):
    """The two programs against each other."""

    def test_fanout(self) -> None:
        """All of three participants' copies arrive, in order, and the CPU time is told."""
        server = self.reference()
        result = self.load(
            server.room(3),
            *("fanout", "--messages", "200", "--warmup", "20", "--pid", str(server.pid)),
        )
        self.assertTrue(result["complete"])
        self.assertEqual(result["receivers"], 2)
        self.assertEqual(result["deliveries"], 2 * 220)
        self.assertEqual(result["steady"]["deliveries"], 2 * 200)
        self.assertEqual(result["answered"], 220)
        faults = ("out_of_order", "bad", "refused", "closed", "other", "chunks", "echoes")
        self.assertEqual([result[name] for name in faults], [0] * len(faults))
        self.assertGreater(result["steady"]["server_cpu_seconds"], 0)

    def test_latency(self) -> None:
        """The first receiver never has a message later than the last."""
        result = self.load(self.reference().room(4), "latency", "--messages", "50", "--warmup", "5")
        self.assertEqual(result["outstanding"], 1)
        self.assertEqual(result["deliveries"], 3 * 55)
        first, last = result["first_us"], result["last_us"]
        self.assertGreater(first["min"], 0)
        for percentile in ("min", "p50", "p90", "p99", "max"):
            self.assertLessEqual(first[percentile], last[percentile])

    def test_server_gone(self) -> None:
        """No server: it says so and does not wait."""
        server = self.reference()
        room = server.room(2)
        server.stop()
        done = subprocess.run(
            [str(self.programs.loadgen), "fanout"],
            input=lines(room),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertFalse(json.loads(done.stdout)["complete"])

    def test_quick_run(self) -> None:
        """The driver's whole way, with the reference alone."""
        file = Path(self.mktemp())
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "benchmarks" / "bench.py"), "--quick"),
                *("--reference-only", "--json", str(file)),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Delivery", done.stdout)
        found = json.loads(file.read_text())
        self.assertGreater(found["values"]["fanout"]["reference"]["10"][0]["cpu_us"], 0)


class WatchersTests(SynchronousTestCase):
    def test_a_small_room(self) -> None:
        """All watchers see all joins and the leave, and the talk beside it goes on."""
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "benchmarks" / "watchers.py"), "--participants", "6"),
                *("--seconds", "0.5", "--leaves", "1", "--settle", "0.3"),
            ],
            capture_output=True,
            text=True,
            timeout=10 * TIMEOUT,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("6 joined and subscribed in", done.stdout)
        told = re.search(r"until all 6 were told of a leave: ([\d.]+)\n", done.stdout)
        assert told is not None, done.stdout
        self.assertLess(float(told[1]), TOLD)
        self.assertRegex(done.stdout, r"messages while they joined: \d")
        self.assertRegex(done.stdout, r"messages meanwhile: \d")

    def test_its_row(self) -> None:
        results = Results()
        names = (
            *("participants", "seconds", "notifies", "notify_mb", "full_mb", "partial_octets"),
            *("server_cpu_s", "leave_s", "message_p50_ms", "message_p99_ms", "message_worst_ms"),
        )
        results.add("watching", "msrpconf", "", dict.fromkeys(names, 7.0))
        machine = {"cpu": "x", "cpus": 2, "pinned": True, "kernel": "k", "python": "p"}
        self.assertIn("7.0 ms p99 of a message in another room", table(results, (), machine, 1))


class ReferenceTests(WithPrograms):
    """The reference, frame by frame."""

    def connect(self, server: Reference, name: str, window: int = 0) -> socket.socket:
        """A connection that is bound; window is the size of its receive buffer, if not 0."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.settimeout(TIMEOUT)
        if window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(
            f"MSRP bind{name} SEND\r\nTo-Path: msrp://127.0.0.1/{name};tcp\r\n"
            f"From-Path: msrp://127.0.0.1:9/{name};tcp\r\nMessage-ID: b1\r\n"
            f"Byte-Range: 1-0/0\r\n-------bind{name}$\r\n".encode()
        )
        expected = (
            f"MSRP bind{name} 200 OK\r\nTo-Path: msrp://127.0.0.1:9/{name};tcp\r\n"
            f"From-Path: msrp://127.0.0.1/{name};tcp\r\n-------bind{name}$\r\n"
        ).encode()
        self.assertEqual(self.read(connection, len(expected)), expected)
        return connection

    def read(self, connection: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = connection.recv(length - len(data))
            self.assertTrue(more, f"closed after {data!r}")
            data += more
        return data

    def test_copy(self) -> None:
        """A frame that comes octet by octet is answered and copied, the choice of reports not."""
        server = self.reference()
        alice, bob = self.connect(server, "alice"), self.connect(server, "bob")
        for octet in (
            b"MSRP t1234 SEND\r\nTo-Path: msrp://127.0.0.1/alice;tcp\r\n"
            b"From-Path: msrp://127.0.0.1:9/alice;tcp\r\nMessage-ID: m123\r\n"
            b"Success-Report: yes\r\nFailure-Report: yes\r\nByte-Range: 1-24/24\r\n"
            b"Content-Type: text/plain\r\n\r\nHi\r\n-------t123$\r\n-------t1\r\n-------t1234$\r\n"
        ):
            alice.sendall(bytes([octet]))
        answer = (
            b"MSRP t1234 200 OK\r\nTo-Path: msrp://127.0.0.1:9/alice;tcp\r\n"
            b"From-Path: msrp://127.0.0.1/alice;tcp\r\n-------t1234$\r\n"
        )
        self.assertEqual(self.read(alice, len(answer)), answer)
        copy = (
            b"MSRP 0123456789abcdef SEND\r\nTo-Path: msrp://127.0.0.1:9/bob;tcp\r\n"
            b"From-Path: msrp://127.0.0.1/bob;tcp\r\nFailure-Report: partial\r\n"
            b"Message-ID: m123\r\nByte-Range: 1-24/24\r\nContent-Type: text/plain\r\n\r\n"
            b"Hi\r\n-------t123$\r\n-------t1\r\n-------0123456789abcdef$\r\n"
        )
        received = self.read(bob, len(copy))
        ident = received.split(b" ", 2)[1]
        self.assertEqual(len(ident), 16)
        self.assertEqual(received.replace(ident, b"0123456789abcdef"), copy)

    def test_other_session(self) -> None:
        """A connection that is bound serves its own session only (RFC 4975 section 7.3)."""
        alice = self.connect(self.reference(), "alice")
        alice.sendall(
            b"MSRP t1234 SEND\r\nTo-Path: msrp://127.0.0.1/bob;tcp\r\n"
            b"From-Path: msrp://127.0.0.1:9/alice;tcp\r\nMessage-ID: m123\r\n"
            b"Byte-Range: 1-0/0\r\n-------t1234$\r\n"
        )
        self.assertTrue(alice.recv(4096).startswith(b"MSRP t1234 481 "))

    def test_slow_reader(self) -> None:
        """What a receiver does not take waits for it, whole and in order, chunk by chunk."""
        server = self.reference()
        alice, bob = self.connect(server, "alice"), self.connect(server, "bob", 1 << 16)
        bodies = [b"%02d" % number * 50_000 for number in range(60)]
        for number, body in enumerate(bodies):
            ident = b"t%04d" % number
            alice.sendall(
                b"MSRP %s SEND\r\nTo-Path: msrp://127.0.0.1/alice;tcp\r\n"
                b"From-Path: msrp://127.0.0.1:9/alice;tcp\r\nMessage-ID: m123\r\n"
                b"Byte-Range: %d-*/*\r\nFailure-Report: no\r\nContent-Type: text/plain\r\n\r\n"
                % (ident, 1 + 100_000 * number)
                + body
                + b"\r\n-------%s%s\r\n" % (ident, b"+$"[number == 59 :][:1])
            )
        received = b""
        while not received.endswith(b"$\r\n"):
            received += bob.recv(1 << 20)
        found = re.findall(rb"\r\n\r\n(\d+)\r\n-------\w+([+$])\r\n", received)
        self.assertTrue([body for body, _ in found] == bodies)  # not assertEqual: 6 MB of text
        self.assertEqual(b"".join(flag for _, flag in found), b"+" * 59 + b"$")

    def test_malformed(self) -> None:
        """A frame that is none ends its connection, and no other."""
        server = self.reference()
        alice, bob = self.connect(server, "alice"), self.connect(server, "bob")
        alice.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(alice.recv(4096), b"")
        bob.sendall(
            b"MSRP t1234 SEND\r\nTo-Path: msrp://127.0.0.1/bob;tcp\r\n"
            b"From-Path: msrp://127.0.0.1:9/bob;tcp\r\nMessage-ID: m123\r\n"
            b"Byte-Range: 1-0/0\r\n-------t1234$\r\n"
        )
        self.assertTrue(bob.recv(4096).startswith(b"MSRP t1234 200 "))


FRAME = re.compile(
    rb"MSRP (\S+) SEND\r\nTo-Path: ([^\r]*)\r\nFrom-Path: ([^\r]*)\r\n(.*?)-------\1\$\r\n", re.S
)
Copy = Callable[[int, bytes, bytes, bytes], bytes]


class Switch(Protocol):
    """A switch that makes its copies as the test says: (number, paths, headers, body) -> frames."""

    bound: tuple[bytes, bytes] | None = None
    buffer = b""

    def __init__(self, room: list[Switch], copy: Copy) -> None:
        self.room = room
        self.copy = copy
        self.number = 0

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while match := FRAME.match(self.buffer):
            self.buffer = self.buffer[match.end() :]
            ident, to_path, from_path, rest = match.groups()
            self.send(
                b"MSRP %s 200 OK\r\nTo-Path: %s\r\nFrom-Path: %s\r\n-------%s$\r\n"
                % (ident, from_path, to_path, ident)
            )
            if self.bound is None:
                self.bound = from_path, to_path
                self.room.append(self)
                continue
            headers, _, body = rest.partition(b"\r\n\r\n")
            for other in self.room:
                if other is not self and other.bound is not None:
                    paths = b"To-Path: %s\r\nFrom-Path: %s\r\n" % other.bound
                    other.send(self.copy(self.number, paths, headers, body[:-2]))
            self.number += 1

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class SwitchFactory(ServerFactory):
    def __init__(self, room: list[Switch], copy: Copy) -> None:
        self.room = room
        self.copy = copy

    def buildProtocol(self, addr: IAddress | None) -> Switch:
        return Switch(self.room, self.copy)


def port_number(port: IListeningPort) -> int:
    """The number of a port that listens."""
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return address.port


def whole(ident: int, paths: bytes, headers: bytes, body: bytes) -> bytes:
    """A message in one frame."""
    return b"MSRP t%04d SEND\r\n%s%s\r\n\r\n%s\r\n-------t%04d$\r\n" % (
        *(ident, paths, headers, body, ident),
    )


class LoadgenTests(WithPrograms):
    """What the load generator makes of servers that do something else than the reference."""

    def run_against(self, copy: Copy, status: int, messages: int = 4) -> Deferred[dict[str, Any]]:
        from twisted.internet import reactor  # noqa: PLC0415  (the test's own)

        factory = SwitchFactory([], copy)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port_number(port)
        server, client = f"msrp://127.0.0.1:{number}", "msrp://127.0.0.1:9"
        sessions = [
            Session("127.0.0.1", number, f"{server}/s{one};tcp", f"{client}/p{one};tcp")
            for one in range(3)
        ]
        return deferToThread(
            lambda: self.load(
                Room("sip:room@bench.invalid", "sip:p0@bench.invalid", sessions),
                *("fanout", "--messages", str(messages), "--warmup", "0"),
                status=status,
            )
        )

    async def test_chunks(self) -> None:
        """A message that comes in chunks, several in one segment, is one delivery."""

        def chunked(number: int, paths: bytes, headers: bytes, body: bytes) -> bytes:
            id_line = b"Message-ID: c%04d\r\n" % number
            frames = b""
            for start, end, flag in ((0, 70, b"+"), (70, 100, b"+"), (100, len(body), b"$")):
                part = body[start:end]
                frames += (
                    b"MSRP t%d%04d SEND\r\n%s%sByte-Range: %d-*/%d\r\n"
                    % (start, number, paths, id_line, start + 1, len(body))
                    + b"Failure-Report: partial\r\nContent-Type: message/cpim\r\n\r\n%s\r\n" % part
                    + b"-------t%d%04d%s\r\n" % (start, number, flag)
                )
            return frames

        result = await self.run_against(chunked, 0)
        self.assertEqual((result["deliveries"], result["chunks"], result["bad"]), (8, 24, 0))

    async def test_order(self) -> None:
        """Messages that change places are noticed."""
        kept: dict[bytes, bytes] = {}

        def swapped(number: int, paths: bytes, headers: bytes, body: bytes) -> bytes:
            frame = whole(number, paths, headers, body)
            if number % 2 == 0:
                kept[paths] = frame
                return b""
            return frame + kept[paths]

        result = await self.run_against(swapped, 1)
        self.assertEqual(result["deliveries"], 8)
        self.assertEqual(result["out_of_order"], 8)
        self.assertFalse(result["complete"])

    async def test_changed(self) -> None:
        """A message with one octet changed is no delivery."""
        result = await self.run_against(
            lambda number, paths, headers, body: (
                whole(number, paths, headers, body)
                + whole(number, paths, headers, body.replace(b"abc", b"aBc"))
            ),
            1,
        )
        self.assertEqual((result["deliveries"], result["bad"]), (8, 8))

    async def test_wrong_path(self) -> None:
        """A copy that is addressed to somebody else is no delivery."""
        result = await self.run_against(
            lambda number, paths, headers, body: (
                whole(number, paths, headers, body)
                + whole(number, paths.replace(b"/p", b"/q"), headers, body)
            ),
            1,
        )
        self.assertEqual((result["deliveries"], result["bad"]), (8, 8))


class Focus(DatagramProtocol):
    """A focus that lets everybody in, to the MSRP port it was given, and says each 200 twice."""

    def __init__(self, port: int, status: bytes = b"200 OK") -> None:
        self.port = port
        self.status = status
        self.methods: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        method = datagram.partition(b" ")[0]
        self.methods.append(method)
        if method == b"ACK":
            return
        echoed = re.findall(rb"\r\n((?:Via|From|To|Call-ID|CSeq):[^\r]*)", datagram)
        if method == b"INVITE":
            echoed = [line + b";tag=x" if line.startswith(b"To") else line for line in echoed]
        body = b"v=0\r\na=path:msrp://127.0.0.1:%d/s%d;tcp\r\n" % (self.port, len(self.methods))
        assert self.transport is not None
        for _ in range(2):
            self.transport.write(
                b"SIP/2.0 %s\r\n%s\r\nContact: <sip:room@127.0.0.1>;isfocus\r\n\r\n%s"
                % (self.status, b"\r\n".join(echoed), body),
                addr,
            )


class SipLoadTests(WithPrograms):
    """Joins and leaves."""

    def focus(self, status: bytes = b"200 OK") -> tuple[Focus, SipLoad]:
        from twisted.internet import reactor  # noqa: PLC0415  (the test's own)

        focus = Focus(self.reference().port, status)
        port = reactor.listenUDP(0, focus, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        load = SipLoad(("127.0.0.1", port_number(port)), timeout=10)
        self.addCleanup(load.close)
        return focus, load

    async def test_join_and_leave(self) -> None:
        """Each is invited, acknowledged, bound and said BYE for; a 200 again gets its ACK again."""
        focus, load = self.focus()

        def work() -> int:
            joined = load.join("sip:room@bench.invalid", 7, window=3, connect=True)
            load.leave(joined.participants)
            return len({one.to_path for one in joined.sessions})

        sessions = await deferToThread(work)
        self.assertEqual(sessions, 7)
        self.assertEqual([focus.methods.count(one) for one in (b"INVITE", b"BYE")], [7, 7])
        self.assertGreaterEqual(focus.methods.count(b"ACK"), 7)
        self.assertEqual(load.retransmissions, 0)

    async def test_refused(self) -> None:
        """A focus that refuses is not waited for."""
        _, load = self.focus(b"403 Forbidden")
        error = await self.assertFailure(
            deferToThread(lambda: load.join("sip:room@bench.invalid", 1, window=1, connect=False)),
            SipLoadError,
        )
        self.assertIn("403 Forbidden", str(error))


class ResultsTests(SynchronousTestCase):
    """The figures of several rounds."""

    def test_ratio(self) -> None:
        """The ratio is the median of the rounds' ratios, not the ratio of medians."""
        results = Results()
        for reference, ours in ((2.0, 10.0), (4.0, 40.0), (3.0, 18.0)):
            results.add("fanout", "reference", "10", {"cpu_us": reference})
            results.add("fanout", "msrpconf", "10", {"cpu_us": ours})
        self.assertEqual(results.ratio("fanout", "10", "cpu_us"), 6.0)
        self.assertEqual(results.median("fanout", "msrpconf", "10", "cpu_us"), 18.0)
        self.assertIsNone(results.ratio("fanout", "100", "cpu_us"))


class ChannelTests(SynchronousTestCase):
    """Focus and server in one process and apart: `benchmarks/channel.py` by itself."""

    def test_it_measures_what_it_says(self) -> None:
        program = [sys.executable, str(ROOT / "benchmarks" / "channel.py")]
        options = ["--requests", "250", "--joins", "3", "--rounds", "1"]
        done = subprocess.run(
            [*program, *options], capture_output=True, text=True, timeout=90, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        rates = list(map(float, re.findall(r"[\d.]+", done.stdout)))
        ping, asked, together, costs, ratio = rates
        self.assertGreater(min(ping, asked, together, costs), 0)
        self.assertAlmostEqual(costs / together, ratio, 1)
