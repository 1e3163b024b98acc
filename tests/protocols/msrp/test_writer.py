"""How octets get out, also to who does not read them."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.connection import MsrpFactory
from msrpconf.protocols.msrp.outgoing import send_frame
from msrpconf.protocols.msrp.session import Limits
from msrpconf.protocols.msrp.writer import BATCH, MAX_ANSWERS, Flusher
from tests.protocols.msrp.support import (
    BIND,
    Peer,
    SessionCase,
    body,
    frames,
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
