"""Sessions: what is queued, in which order, and what becomes of it."""

from __future__ import annotations

from msrpconf.protocols.msrp.outgoing import OutgoingFrame, abort_frame, send_frame
from msrpconf.protocols.msrp.session import new_session_id
from tests.protocols.msrp.support import (
    ABORTED,
    BIND,
    Peer,
    SessionCase,
    send,
)


class QueueTests(SessionCase):
    def frame(self, data: bytes, start: int = 1) -> OutgoingFrame:
        return send_frame(b"m", b"text/plain", (data,), start)

    def test_unbound(self) -> None:
        self.assertFalse(self.session.forward(self.frame(b"x")))
        self.session.forward_last(self.frame(b"x"))
        self.assertEqual(self.session.queued, 0)

    def test_limit(self) -> None:
        self.bind()
        frame = self.frame(b"x" * 1000)
        taken = 0
        while self.session.forward(frame):
            taken += 1
        self.assertEqual(self.session.queued, taken * frame.size)
        self.assertLessEqual(self.session.queued, 16000)
        self.assertGreater(self.session.queued + frame.size, 16000)
        last = abort_frame(b"m", b"text/plain", 1001)
        self.session.forward_last(last)
        self.assertEqual(self.session.queued, taken * frame.size + last.size)
        self.assertFalse(self.session.forward(frame))
        heard = self.alice.hears()
        self.assertEqual(len(heard), taken + 1)
        self.assertIs(heard[-1].flag, ABORTED)
        self.assertEqual(self.session.queued, 0)
        self.assertTrue(self.session.forward(frame))

    def test_order(self) -> None:
        self.bind()
        for number in range(10):
            self.session.forward(self.frame(b"%d" % number))
        self.assertEqual([f.body for f in self.alice.hears()], [b"%d" % n for n in range(10)])

    def test_large_transfer_lets_others_pass(self) -> None:
        self.bind()
        for start in (1, 16385, 32769, 49153):
            self.session.forward(self.frame(b"%d" % start, start))
        self.session.forward(self.frame(b"Hi"))
        self.session.forward_last(abort_frame(b"m", b"text/plain", 65537))
        self.assertEqual(
            [frame.body for frame in self.alice.hears()],
            [b"1", b"16385", b"Hi", b"32769", b"49153", b""],
        )
        self.assertEqual(self.session.queued, 0)

    def test_connection_loss_clears(self) -> None:
        self.bind()
        for start in (1, 40000):
            self.session.forward(self.frame(b"x", start))
        self.alice.vanishes()
        self.assertEqual(self.session.queued, 0)
        self.assertFalse(self.session.forward(self.frame(b"x")))
        self.assertEqual(len(self.handler.unbound), 1)
        # Another connection takes its place, and gets none of the old.
        again = Peer(self.sessions, self.clock)
        again.says(BIND)
        self.session.forward(self.frame(b"new"))
        self.assertEqual([frame.body for frame in again.hears()], [b"", b"new"])

    def test_released_session_is_written_on_its_new_connection_only(self) -> None:
        """Also where the old one lives on for others, and had something queued."""
        self.bind()
        self.alice.says(send(None, b"b", to="s2"))
        self.alice.hears()
        self.session.forward(self.frame(b"old"))
        self.session.release()
        again = Peer(self.sessions, self.clock)
        again.says(BIND)
        self.session.forward(self.frame(b"new"))
        self.assertEqual((self.alice.hears(), again.hears_text()), ([], ["200 OK", "SEND"]))

    def test_released_from_a_stalled_connection(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        self.session.forward(self.frame(b"old"))
        self.session.release()
        again = Peer(self.sessions, self.clock)
        again.says(BIND)
        self.session.forward(self.frame(b"new"))
        self.alice.connection.resumeProducing()
        self.assertEqual((self.alice.hears(), again.hears_text()), ([], ["200 OK", "SEND"]))
        self.assertTrue(self.alice.transport.disconnecting)

    def test_drained(self) -> None:
        self.bind()
        calls: list[int] = []

        def drained() -> None:
            calls.append(self.session.queued)
            if len(calls) < 3:
                self.session.forward(self.frame(b"more"))

        self.session.on_drained = drained
        self.session.forward(self.frame(b"x"))
        self.assertEqual(calls, [])
        self.assertEqual([f.body for f in self.alice.hears()], [b"x", b"more", b"more"])
        self.assertEqual(calls, [0, 0, 0])

    def test_new_path(self) -> None:
        self.bind()
        self.session.remote_path = b"msrp://relay:2855/r;tcp msrp://a:1/a;tcp"
        self.session.forward(self.frame(b"x"))
        (frame,) = self.alice.hears()
        self.assertEqual(frame.head.to_path, b"msrp://relay:2855/r;tcp msrp://a:1/a;tcp")
        self.assertEqual(frame.head.from_path, self.session.local_path)

    def test_session_ids_cannot_be_guessed(self) -> None:
        """RFC 4975 §14.1: 80 bits at the least."""
        ids = {new_session_id() for _ in range(100)}
        self.assertEqual(len(ids), 100)
        self.assertTrue(all(len(bytes.fromhex(each)) >= 10 for each in ids))
