"""How octets get out, also to who does not read them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet import protocol
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.protocols.msrp.connection import (
    MsrpFactory,
)
from msrpconf.protocols.msrp.outgoing import abort_frame, send_frame
from msrpconf.protocols.msrp.session import Limits, Session
from msrpconf.protocols.msrp.writer import BATCH, MAX_ANSWERS, Flusher
from tests.protocols.msrp.support import (
    BIND,
    MORE,
    Frame,
    Peer,
    RecordingHandler,
    SessionCase,
    frames,
    local,
    make_session,
    send,
    table,
)


class FlusherTests(SessionCase):
    def test_one_turn_for_all_connections(self) -> None:
        """However much is queued where, the reactor is asked once."""
        clock = Clock()
        sessions = [make_session(name, clock=clock) for name in ("s1", "s2")]
        factory = MsrpFactory(table(sessions), clock)
        transports: list[StringTransport] = []
        for session in sessions:
            connection = factory.buildProtocol(None)
            assert connection is not None
            transports.append(StringTransport())
            connection.makeConnection(transports[-1])
            connection.attach(session)
        for _ in range(3):
            for session in sessions:
                session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.assertEqual([each.getTime() for each in clock.getDelayedCalls()], [0])
        clock.advance(0)
        self.assertEqual([len(frames(each.value())) for each in transports], [3, 3])

    def test_fault_in_a_callback_does_not_silence_other_connections(self) -> None:
        def fail() -> None:
            raise RuntimeError("a bug")

        flusher = Flusher(self.clock)
        peers: list[Peer] = []
        for octets in (BIND, send(None, to="s2")):
            peer = Peer(self.sessions, self.clock)
            peer.connection._flusher = flusher
            peer.says(octets)
            peer.hears()
            peers.append(peer)
        self.session.on_drained = fail
        for session in (self.session, self.second):
            session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.assertEqual((peers[1].hears_text()), ["SEND"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class BackPressureTests(SessionCase):
    def test_backlog_of_answers_pauses_reading(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        said = 0
        while self.alice.transport.producerState == "producing":
            self.alice.says(BIND)
            said += 1
            self.assertLess(said, 1000)
        self.assertEqual(self.alice.hears(), [])
        self.alice.connection.resumeProducing()
        self.assertEqual(self.alice.transport.producerState, "producing")
        heard = self.alice.transport.value()
        self.assertEqual(len(frames(heard)), said)
        self.assertGreater(len(heard), MAX_ANSWERS)
        self.assertLess(len(heard), MAX_ANSWERS + 500)

    def test_backlog_of_success_reports_too(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        said = 0
        while self.alice.transport.producerState == "producing":
            self.alice.says(send(b"x", success=b"yes", failure=b"no"))
            said += 1
            self.assertLess(said, 1000)
        self.alice.connection.resumeProducing()
        self.assertEqual(self.alice.hears_text(), ["REPORT"] * said)

    def test_answers_go_first(self) -> None:
        self.bind()
        self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.alice.says(send(b"Hi"))
        self.assertEqual(self.alice.hears_text(), ["200 OK", "SEND"])

    def test_trace(self) -> None:
        traced: list[tuple[str, bytes]] = []
        self.alice.connection._trace = lambda way, peer, octets: traced.append((way, octets))
        self.bind()
        ((way_in, octets_in), (way_out, octets_out)) = traced
        self.assertEqual((way_in, octets_in, way_out), ("<", BIND, ">"))
        self.assertEqual(frames(octets_out)[0].text, "200 OK")


def body(number: int) -> bytes:
    """A recognizable body."""
    return b"%d:" % number + b"%d" % (number % 10) * 3000


class SlowTransport(StringTransport):
    """As TLS does it: takes all, says stop above its mark, and more when it is empty."""

    mark = 65536

    def __init__(self) -> None:
        super().__init__()
        self.held = b""
        self.most = 0

    def write(self, data: bytes) -> None:
        self.held += data
        self.most = max(self.most, len(self.held))
        if len(self.held) > self.mark and self.producer is not None:
            self.producer.pauseProducing()

    def drain(self, octets: int) -> None:
        """The peer reads this much."""
        self.io.write(self.held[:octets])
        self.held = self.held[octets:]
        if not self.held and self.producer is not None:
            self.producer.resumeProducing()


class SlowPeerTests(SynchronousTestCase):
    def test_stream_transport(self) -> None:
        clock = Clock()
        limits = Limits(queue_octets=300000)
        session = make_session("s1", clock=clock, limits=limits)
        transport = SlowTransport()
        alice = Peer(table([session]), clock, transport)
        alice.says(BIND)
        self.assertTrue(transport.streaming)
        number = 0
        for _ in range(40):
            while session.forward(send_frame(b"m", b"a/b", (body(number),))):
                number += 1
            clock.advance(0)
            self.assertLessEqual(session.queued, limits.queue_octets)
            transport.drain(17001)
        self.assertLess(transport.most, transport.mark + BATCH + 4000)
        while transport.held:
            transport.drain(17001)
            clock.advance(0)
        self.assertEqual(session.queued, 0)
        answer, *heard = alice.hears()
        self.assertEqual(answer.text, "200 OK")
        self.assertEqual([frame.body for frame in heard], [body(each) for each in range(number)])
        self.assertGreater(number, 200)


class CountingSocket:
    """A socket that notes how much of each `sendmsg` was taken."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.calls: list[tuple[int, int]] = []

    def sendmsg(self, buffers: Sequence[bytes]) -> int:
        offered = sum(map(len, buffers))
        try:
            taken = self._real.sendmsg(buffers)
        except BlockingIOError:
            self.calls.append((offered, 0))
            raise
        self.calls.append((offered, taken))
        return taken


class Reader(protocol.Protocol):
    """A client of few words that reads when it is told to."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)

    def pause(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()

    def say(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def vanish(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def frames(self) -> list[Frame]:
        return frames(bytes(self.received))


class SocketTests(TestCase):
    """Over TCP on loopback."""

    limits = Limits(queue_octets=400000)
    alice: Reader

    async def connect(self) -> None:
        self.reactor: Any = _reactor
        self.handler = RecordingHandler()
        self.session = Session(
            local("s1"), b"msrp://a:1/a;tcp", self.handler, self.reactor, self.limits
        )
        self.factory = MsrpFactory(table([self.session]), self.reactor)
        server = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port: IListeningPort = await server.listen(self.factory)
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        client = TCP4ClientEndpoint(self.reactor, address.host, address.port)
        self.alice = cast(Reader, await client.connect(protocol.Factory.forProtocol(Reader)))
        self.addCleanup(self.leave)
        self.alice.say(BIND)
        await self.until(lambda: b"200 OK" in self.alice.received)
        self.alice.received.clear()
        (self.connection,) = self.factory.connections
        self.transport: Any = self.connection.transport

    async def leave(self) -> None:
        self.alice.resume()
        self.alice.vanish()
        await self.until(lambda: not self.factory.connections)

    async def until(self, condition: Any) -> None:
        """Let the reactor turn until `condition` holds; trial ends what takes too long."""
        while not condition():
            await deferLater(self.reactor, 0)

    def buffered(self) -> int:
        """Octets that Twisted's transport holds."""
        transport = self.transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    def make_small(self) -> CountingSocket:
        real = self.transport.getHandle()
        real.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        counting: Any = CountingSocket(real)
        self.connection._socket = counting
        result: CountingSocket = counting
        return result

    async def test_peer_that_does_not_read(self) -> None:
        await self.connect()
        calls = self.make_small().calls
        self.alice.pause()
        number = most = full = 0
        # Fill until nothing moves any more, though the reactor turns.
        while full < 20:
            before = number
            while self.session.forward(send_frame(b"m", b"a/b", (body(number),))):
                number += 1
            full = full + 1 if number == before else 0
            await deferLater(self.reactor, 0)
            self.assertLessEqual(self.session.queued, self.limits.queue_octets)
            most = max(most, self.buffered())
        self.assertGreater(self.session.queued, self.limits.queue_octets - 4000)
        self.assertGreater(most, 0)
        self.assertLess(most, BATCH + 4000)
        last = abort_frame(b"m", b"a/b", 7)
        self.session.forward_last(last)
        self.alice.resume()
        await self.until(lambda: self.alice.received.endswith(last.end))
        heard = self.alice.frames()
        self.assertEqual(
            [frame.body for frame in heard], [body(each) for each in range(number)] + [b""]
        )
        self.assertEqual((self.session.queued, self.buffered()), (0, 0))
        self.assertTrue([1 for offered, taken in calls if 0 < taken < offered], "none was partial")
        # And it goes on as before, the short way.
        self.alice.received.clear()
        del calls[:]
        self.session.forward(send_frame(b"m", b"a/b", (b"again",)))
        await self.until(lambda: self.alice.received)
        self.assertEqual([frame.body for frame in self.alice.frames()], [b"again"])
        self.assertEqual(len(calls), 1)

    async def test_peer_that_reads_no_answers(self) -> None:
        """It is not read from, until it does."""
        await self.connect()
        self.make_small()
        self.alice.pause()
        count = 20000
        self.alice.say(send(b"x", failure=b"yes") * count)
        await self.until(lambda: self.connection._reading_paused and self.connection._stalled)
        for _ in range(50):
            await deferLater(self.reactor, 0)
        self.assertTrue(self.connection._reading_paused)
        self.assertLess(len(self.handler.messages), count)
        self.assertLess(self.connection._answers_size + self.buffered(), 4 * MAX_ANSWERS)
        self.alice.resume()
        await self.until(lambda: len(self.handler.messages) == count)
        await self.until(lambda: self.alice.received.count(b"$\r\n") == count)
        self.assertEqual({frame.text for frame in self.alice.frames()}, {"200 OK"})

    async def test_many_small_frames(self) -> None:
        """More buffers than one `sendmsg` takes."""
        await self.connect()
        calls = self.make_small().calls
        for number in range(1500):
            self.session.forward(send_frame(b"m", b"a/b", (b"%d" % number,)))
        await self.until(lambda: self.alice.received.count(b"$\r\n") == 1500)
        self.assertEqual(
            [frame.body for frame in self.alice.frames()], [b"%d" % each for each in range(1500)]
        )
        self.assertGreater(max(taken for _, taken in calls), 0)

    async def test_peer_vanishes_while_stalled(self) -> None:
        await self.connect()
        self.make_small()
        self.alice.pause()
        while not self.connection._stalled:
            while self.session.forward(send_frame(b"m", b"a/b", (body(1),))):
                pass
            await deferLater(self.reactor, 0)
        self.alice.vanish()
        await self.until(lambda: self.handler.unbound)
        self.assertEqual(self.session.queued, 0)
        self.assertEqual(self.factory.connections, set())

    async def test_close_writes_what_waits(self) -> None:
        await self.connect()
        self.make_small()
        self.alice.pause()
        number = 0
        while not self.connection._stalled:
            while self.session.forward(send_frame(b"m", b"a/b", (body(number),))):
                number += 1
            await deferLater(self.reactor, 0)
        self.session.close()
        self.alice.resume()
        await self.alice.lost
        self.assertEqual(
            [frame.body for frame in self.alice.frames()], [body(each) for each in range(number)]
        )

    async def test_small_message_passes_a_transfer(self) -> None:
        """A transfer that fills the queue delays what people say by what is on its way only."""
        await self.connect()
        self.make_small()
        self.alice.pause()
        position = 1
        full = False
        while not (full and self.connection._stalled):
            full = False
            while not full:
                piece = send_frame(b"m", b"a/b", (b"x" * 16384,), position, None, MORE)
                full = not self.session.forward(piece)
                position += 0 if full else 16384
            await deferLater(self.reactor, 0)
        waiting = self.session.queued
        self.session.forward_last(send_frame(b"m", b"a/b", (b"Hi",)))
        self.alice.resume()
        total = position // 16384 + 1
        await self.until(lambda: self.alice.received.count(b"\r\n-------") == total)
        bodies = [frame.body for frame in self.alice.frames()]
        behind = len(bodies) - 1 - bodies.index(b"Hi")
        self.assertGreater(behind * 17000, waiting - BATCH - 17000)
