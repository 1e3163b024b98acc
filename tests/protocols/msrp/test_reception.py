"""What a SEND is answered, and when a message is refused or given up."""

from __future__ import annotations

from msrpconf.protocols.msrp.frame import ByteRange
from msrpconf.protocols.msrp.outgoing import send_frame
from msrpconf.protocols.msrp.reception import MAX_MESSAGE_ID, MAX_MESSAGES, PIECE
from msrpconf.protocols.msrp.session import Piece, Refusal, Session
from tests.protocols.msrp.support import (
    ABORTED,
    COMPLETE,
    MORE,
    Peer,
    Received,
    SessionCase,
    send,
)


class AnswerTests(SessionCase):
    def test_message_in_one_frame(self) -> None:
        self.alice.says(send(b"Hi", b"m1", b"1-2/2", transaction=b"tid7"))
        (piece,) = self.message.pieces
        self.assertEqual(
            (piece.data, piece.start, piece.total, piece.flag), (b"Hi", 1, 2, COMPLETE)
        )
        self.assertEqual(piece.message_id, b"m1")
        self.assertEqual(piece.head.content_type, b"text/plain")
        (answer,) = self.alice.hears()
        self.assertEqual((answer.text, answer.head.transaction), ("200 OK", b"tid7"))

    def test_failure_report_and_success(self) -> None:
        """RFC 4975 §7.1.4: only "yes" is told of success."""
        for value, answers in (
            (None, ["200 OK"]),
            (b"yes", ["200 OK"]),
            (b"YES", ["200 OK"]),
            (b"what", ["200 OK"]),
            (b"partial", []),
            (b"no", []),
        ):
            self.alice.says(send(b"Hi", failure=value), send(None, b"m2", failure=value))
            self.assertEqual(self.alice.hears_text(), answers * 2, value)
        self.assertEqual(len(self.handler.messages), 6)

    def test_failure_report_and_refusal(self) -> None:
        self.handler.refusal = Refusal(403, "not you")
        for value, answers in (
            (b"yes", ["403 not you"]),
            (b"partial", ["403 not you"]),
            (b"no", []),
        ):
            self.alice.says(send(b"Hi", failure=value))
            self.assertEqual(self.alice.hears_text(), answers, value)

    def test_no_failure_report_and_faults_of_the_request(self) -> None:
        self.alice.says(send(b"Hi", None, failure=b"no"), send(b"Hi", b"m", b"x", failure=b"no"))
        self.assertEqual(self.alice.hears(), [])

    def test_comment_is_one_line(self) -> None:
        self.handler.refusal = Refusal(403, "a\r\n-------b$\r\n\ud800 ü")
        self.alice.says(send(b"Hi"))
        self.assertEqual(self.alice.hears_text(), ["403 a -------b$ ? ü"])

    def test_success_report(self) -> None:
        """RFC 4975 §7.1.3: a REPORT over the whole message, after the answer."""
        self.alice.says(send(b"Hi there", b"m9", b"1-8/8", success=b"yes"))
        answer, report = self.alice.hears()
        self.assertEqual((answer.text, report.text), ("200 OK", "REPORT"))
        head = report.head
        self.assertEqual(head.message_id, b"m9")
        self.assertEqual(head.byte_range, ByteRange(1, 8, 8))
        self.assertEqual(head.headers[b"status"], b"000 200 OK")
        self.assertEqual(head.to_path, answer.head.to_path)
        self.assertEqual(head.from_path, self.session.local_path)

    def test_success_report_without_an_answer(self) -> None:
        self.alice.says(send(b"Hi", success=b"yes", failure=b"no"))
        self.assertEqual(self.alice.hears_text(), ["REPORT"])

    def test_success_report_goes_the_way_that_the_message_came(self) -> None:
        path = b"msrp://relay:2855/r;tcp msrp://a:1/a;tcp"
        octets = send(b"Hi", success=b"yes").replace(
            b"From-Path: msrp://alice.example:7777/iau3;tcp", b"From-Path: " + path
        )
        self.alice.says(octets)
        answer, report = self.alice.hears()
        self.assertEqual(answer.head.to_path, path.split()[0])
        self.assertEqual(report.head.to_path, path)

    def test_success_report_only_of_the_whole_message(self) -> None:
        self.alice.says(send(b"abc", b"m1", b"1-*/5", MORE, success=b"yes"))
        self.assertEqual(self.alice.hears_text(), ["200 OK"])
        self.alice.says(send(b"de", b"m1", b"4-5/5", success=b"yes"))
        report = self.alice.hears()[1]
        self.assertEqual(report.head.byte_range, ByteRange(1, 5, 5))

    def test_no_success_report_for_what_is_not_accepted(self) -> None:
        self.handler.refusal = Refusal(403, "no")
        self.alice.says(send(b"Hi", success=b"yes"))
        self.assertEqual(self.alice.hears_text(), ["403 no"])
        self.handler.refusal = None
        self.alice.says(send(b"H", b"m2", b"1-*/*", MORE, success=b"yes"))
        self.alice.says(send(b"", b"m2", b"2-*/*", ABORTED, success=b"yes"))
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK"])

    def test_success_report_though_the_queue_is_full(self) -> None:
        """A REPORT is owed, and goes with the answers."""
        self.bind()
        self.connection_stalls()
        while self.session.forward(send_frame(b"m", b"a/b", (b"x" * 3000,))):
            pass
        self.alice.says(send(b"Hi", success=b"yes"))
        self.alice.connection.resumeProducing()
        self.assertEqual(self.alice.hears_text()[:3], ["200 OK", "REPORT", "SEND"])

    def connection_stalls(self) -> None:
        self.alice.connection.pauseProducing()

    def test_bodiless_send(self) -> None:
        for message_id in (b"m1", None):
            self.alice.says(send(None, message_id, b"1-0/0"))
            self.assertEqual(self.alice.hears_text(), ["200 OK"])
        self.assertEqual(self.handler.messages, [])

    def test_empty_message_is_a_message(self) -> None:
        """RFC 4975 §7.1: an empty body with a Content-Type is not no body."""
        self.alice.says(send(b"", b"m1", b"1-0/0", success=b"yes"))
        self.assertEqual((self.message.data, self.message.flags), (b"", [COMPLETE]))
        self.assertEqual(self.alice.hears()[1].head.byte_range, ByteRange(1, 0, 0))

    def test_body_without_content_type(self) -> None:
        self.alice.says(send(b"Hi", content_type=None))
        self.assertRefused(400, "Content-Type")
        self.assertEqual(self.handler.messages, [])

    def test_heartbeat(self) -> None:
        for data in (b"HEARTBEAT", b"x" * (3 * PIECE)):
            octets = send(data, content_type=b"text/x-MSRP-heartbeat; charset=utf-8")
            self.alice.says(octets[: 2 * PIECE], octets[2 * PIECE :])
            self.assertEqual(self.alice.hears_text(), ["200 OK"])
        self.assertEqual(self.handler.messages, [])

    def test_missing_message_id(self) -> None:
        for message_id in (None, b"", b"x" * (MAX_MESSAGE_ID + 1)):
            self.alice.says(send(b"Hi", message_id))
            self.assertRefused(400, "Message-ID")
        self.assertEqual(self.handler.messages, [])

    def test_wrong_byte_range(self) -> None:
        for value in (b"", b"1", b"0-2/2", b"-1-2/2", b"1-2", b"a-b/c", b"1-2/" + b"9" * 30):
            self.alice.says(send(b"Hi", b"m1", value))
            self.assertRefused(400, "Byte-Range")
        self.assertEqual(self.handler.messages, [])

    def test_no_byte_range(self) -> None:
        """RFC 4975 §7.3.1: without one, the message begins here."""
        self.alice.says(send(b"Hi"))
        (piece,) = self.message.pieces
        self.assertEqual((piece.start, piece.total), (1, None))

    def test_end_of_range_is_not_believed(self) -> None:
        """RFC 4975 §7.3.1: the body itself says how long a chunk is."""
        self.alice.says(send(b"abc", b"m1", b"1-900/6", MORE), send(b"def", b"m1", b"4-5/6"))
        self.assertEqual((self.message.data, self.message.flags), (b"abcdef", [MORE, COMPLETE]))


class GivenUpTests(SessionCase):
    def begin(self) -> None:
        self.alice.says(send(b"abcd", b"m1", b"1-*/8", MORE))
        self.alice.hears()

    def test_next_chunk_does_not_come(self) -> None:
        """RFC 7701 §6.1: a message whose next chunk does not come is given up."""
        self.begin()
        self.clock.advance(539)
        self.assertEqual(self.message.abortions, 0)
        self.clock.advance(1)
        self.assertEqual(self.message.abortions, 1)
        self.alice.says(send(b"EFGH", b"m1", b"5-8/8"))
        self.assertRefused(413, "given up")
        self.assertEqual(self.message.data, b"abcd")

    def test_each_chunk_gives_more_time(self) -> None:
        self.begin()
        for start in range(5, 8):
            self.clock.advance(500)
            self.alice.says(send(b"x", b"m1", b"%d-*/8" % start, MORE))
        self.clock.advance(539)
        self.assertEqual(self.message.abortions, 0)
        self.clock.advance(1)
        self.assertEqual(self.message.abortions, 1)

    def test_given_up_in_mid_chunk(self) -> None:
        """The rest of the chunk is not taken for another message."""
        octets = send(b"x" * 5 * PIECE, b"m1", b"1-*/*")
        self.alice.says(octets[: 2 * PIECE], octets[2 * PIECE : 2 * PIECE + 10])
        self.assertEqual(self.message.flags, [MORE])
        self.clock.advance(540)
        self.assertEqual(self.message.abortions, 1)
        self.alice.says(octets[2 * PIECE + 10 : 4 * PIECE], octets[4 * PIECE :])
        self.assertRefused(413, "given up")
        self.assertEqual(self.message.flags, [MORE])

    def test_connection_loss(self) -> None:
        self.begin()
        self.alice.vanishes()
        self.assertEqual(self.message.abortions, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.handler.unbound), 1)

    def test_session_closed(self) -> None:
        self.begin()
        self.session.close()
        self.assertEqual(self.message.abortions, 1)
        self.assertEqual(self.handler.unbound, [], "the owner knows what it did")

    def test_session_closed_in_mid_chunk(self) -> None:
        octets = send(b"x" * 5 * PIECE, b"m1", b"1-*/*")
        self.alice.says(send(None, b"b", to="s2"), octets[: 2 * PIECE], octets[2 * PIECE : -90])
        self.alice.hears()
        self.session.close()
        self.assertEqual(self.message.abortions, 1)
        taken = len(self.message.pieces)
        self.alice.says(octets[-90:], send(b"Hi", b"m2"))
        self.assertEqual(len(self.message.pieces), taken)
        self.assertRefused(481)

    def test_handler_closes_the_session_at_the_first_piece(self) -> None:
        sink = Received(self.session)

        def message_begun(session: Session, piece: Piece) -> Received:
            session.close()
            return sink

        self.patch(self.handler, "message_begun", message_begun)
        self.begin()
        self.assertEqual(sink.abortions, 1)
        self.assertEqual(self.clock.getDelayedCalls()[1:], [], "only the closing is timed")

    def test_released_in_mid_chunk(self) -> None:
        """What the old connection still brings is neither taken nor answered on the new one."""
        octets = send(b"x" * 5 * PIECE, b"m1", b"1-*/*")
        self.alice.says(send(None, b"b", to="s2"), octets[: 2 * PIECE], octets[2 * PIECE : -90])
        self.alice.hears()
        self.session.release()
        self.assertEqual(self.message.abortions, 1)
        again = Peer(self.sessions, self.clock)
        again.says(send(None, b"binding"))
        again.hears()
        self.alice.says(octets[-90:])
        self.assertEqual((self.alice.hears(), again.hears()), ([], []))


class RefusalTests(SessionCase):
    def test_announced_total(self) -> None:
        octets = send(b"ab", b"m1", b"1-*/200001", MORE)
        self.alice.says(octets)
        self.assertRefused(413, "200000")
        self.alice.says(send(b"cd", b"m1", b"3-*/200001", MORE))
        self.assertRefused(413, "200000")
        self.assertEqual(self.handler.messages, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 0, "nothing is kept of it")

    def test_total_announced_late(self) -> None:
        self.alice.says(send(b"ab", b"m1", b"1-*/*", MORE))
        self.alice.says(send(b"cd", b"m1", b"3-*/200001", MORE))
        self.assertEqual([f.head.status for f in self.alice.hears()], [200, 413])
        self.assertEqual(self.message.abortions, 1)

    def test_actual_size(self) -> None:
        chunk = b"x" * 50000
        for number in range(4):
            self.alice.says(send(chunk, b"m1", b"%d-*/*" % (number * 50000 + 1), MORE))
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * 4)
        self.alice.says(send(b"y", b"m1", b"200001-*/*", MORE))
        self.assertRefused(413, "200000")
        self.assertEqual(self.message.abortions, 1)
        self.assertEqual(len(self.message.data), 200000)

    def test_octets_that_come_twice_count_twice(self) -> None:
        self.alice.says(send(b"x", b"m1", b"1-*/*", MORE))
        statuses: list[int] = []
        for _ in range(5):
            self.alice.says(send(b"x" * 50000, b"m1", b"1-*/*", MORE))
            statuses += [frame.head.status for frame in self.alice.hears()]
        self.assertEqual(statuses[-1], 413)

    def test_position_beyond_the_limit(self) -> None:
        self.alice.says(send(b"x", b"m1", b"1-*/*", MORE))
        self.alice.hears()
        self.alice.says(send(b"x", b"m1", b"200001-*/*", MORE))
        self.assertRefused(413)

    def test_answered_in_mid_chunk(self) -> None:
        """RFC 4975 §7.3.2: the sender is told at once, and can stop."""
        self.handler.refusal = Refusal(415, "only text")
        octets = send(
            b"x" * 4 * PIECE, b"m1", b"1-*/*", MORE, transaction=b"tid5", failure=b"partial"
        )
        self.alice.says(octets[: PIECE + 500])
        self.assertEqual(self.alice.hears(), [])
        self.alice.says(octets[PIECE + 500 : 2 * PIECE])
        (answer,) = self.alice.hears()
        self.assertEqual((answer.text, answer.head.transaction), ("415 only text", b"tid5"))
        self.alice.says(octets[2 * PIECE :])
        self.assertEqual(self.alice.hears(), [], "one answer is enough")
        self.assertEqual(len(self.handler.messages), 1)

    def test_other_chunks_get_the_same_answer(self) -> None:
        self.handler.refusal = Refusal(403, "no")
        self.alice.says(send(b"ab", b"m1", b"1-*/*", MORE))
        self.handler.refusal = None
        self.alice.says(send(b"cd", b"m1", b"3-*/*", MORE), send(b"ef", b"m1", b"5-6/6"))
        self.assertEqual(self.alice.hears_text(), ["403 no"] * 3)
        self.assertEqual(len(self.handler.messages), 1)
        # Its last chunk has come: nothing of it is left.
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alice.says(send(b"ab", b"m1"))
        self.assertEqual(self.alice.hears_text(), ["200 OK"])

    def test_sink_refuses(self) -> None:
        self.alice.says(send(b"ab", b"m1", b"1-*/*", MORE))
        self.message.refuse_next = Refusal(413, "enough")
        self.alice.says(send(b"cd", b"m1", b"3-*/*", MORE), send(b"ef", b"m1", b"5-*/*", ABORTED))
        self.assertEqual(self.alice.hears_text(), ["200 OK", "413 enough", "413 enough"])
        self.assertEqual(self.message.abortions, 0, "it knows")
        self.assertEqual(self.message.data, b"abcd")

    def test_refusal_is_forgotten_in_time(self) -> None:
        self.handler.refusal = Refusal(403, "no")
        self.alice.says(send(b"ab", b"m1", b"1-*/*", MORE))
        self.alice.hears()
        self.clock.advance(540)
        self.alice.says(send(b"cd", b"m1", b"3-*/*", MORE))
        self.assertRefused(403, "no")
        self.alice.says(send(b"ab", b"m1"))
        self.assertEqual(len(self.handler.messages), 2, "and asked anew from its beginning")

    def test_too_many_messages(self) -> None:
        for number in range(MAX_MESSAGES):
            self.alice.says(send(b"ab", b"m%d" % number, b"1-*/*", MORE))
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * MAX_MESSAGES)
        self.alice.says(send(b"ab", b"other", b"1-*/*", MORE))
        self.assertRefused(413, "at most 16")
        self.alice.says(send(b"cd", b"other", b"3-*/*", MORE))
        self.assertRefused(413, "at most 16")
        self.alice.says(send(b"cd", b"m7", b"3-4/4"), send(b"ab", b"other", b"1-*/*", MORE))
        self.assertEqual(self.alice.hears_text(), ["200 OK"] * 2)
        self.assertEqual(len(self.handler.messages), MAX_MESSAGES + 1)

    def test_refused_messages_leave_room_for_others(self) -> None:
        """A sender that was refused sends no more, which must not shut it out."""
        for total in (b"*", b"200001"):
            self.handler.refusal = Refusal(403, "no")
            for number in range(2 * MAX_MESSAGES):
                self.alice.says(send(b"ab", b"m%d" % number, b"1-*/" + total, MORE))
            self.assertNotIn("200 OK", self.alice.hears_text())
            self.handler.refusal = None
            self.alice.says(send(b"ab", b"other"))
            self.assertEqual(self.alice.hears_text(), ["200 OK"])
        self.assertLessEqual(len(self.clock.getDelayedCalls()), MAX_MESSAGES)
