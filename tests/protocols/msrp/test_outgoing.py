"""Frames that are made once for all who get them."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp import outgoing
from msrpconf.protocols.msrp.frame import ByteRange, Continuation
from msrpconf.protocols.msrp.outgoing import (
    MAX_UNINTERRUPTED,
    PROMPT,
    OutgoingFrame,
    abort_frame,
    bodiless_send,
    new_message_id,
    report_frame,
    send_frame,
)
from tests.protocols.msrp.support import ABORTED, COMPLETE, MORE, Frame, frames

PATHS = b"To-Path: msrp://b/b;tcp\r\nFrom-Path: msrp://a/a;tcp\r\n"


def octets(frame: OutgoingFrame) -> bytes:
    """As a connection writes it."""
    return frame.start + PATHS + frame.middle + frame.end


def read(frame: OutgoingFrame) -> Frame:
    (found,) = frames(octets(frame))
    return found


class SendTests(SynchronousTestCase):
    def test_a_message_in_one_frame(self) -> None:
        frame = send_frame(b"m1", b"text/plain", (b"Hi, ", b"all"), total=7)
        found = read(frame)
        self.assertEqual(found.text, "SEND")
        self.assertEqual(found.body, b"Hi, all")
        self.assertIs(found.flag, COMPLETE)
        self.assertEqual(found.head.transaction, frame.transaction)
        self.assertEqual(found.head.message_id, b"m1")
        self.assertEqual(found.head.byte_range, ByteRange(1, 7, 7))
        self.assertEqual(found.head.content_type, b"text/plain")
        self.assertEqual(frame.size, len(octets(frame)) - len(PATHS))

    def test_content_type_is_the_last_header(self) -> None:
        """RFC 4975 §7.1: clients rely on it."""
        frame = send_frame(b"m1", b"text/plain", (b"x",), success_report=True)
        self.assertTrue(frame.middle.endswith(b"\r\nContent-Type: text/plain\r\n\r\nx\r\n"))

    def test_reports_that_are_asked_for(self) -> None:
        for failure in (b"yes", b"partial", b"no"):
            for success in (True, False):
                frame = send_frame(
                    b"m1", b"a/b", (), failure_report=failure, success_report=success
                )
                head = read(frame).head
                self.assertEqual((head.failure_report, head.success_report), (failure, success))

    def test_errors_only_are_asked_for_by_default(self) -> None:
        head = read(send_frame(b"m1", b"a/b", (b"x",))).head
        self.assertEqual((head.failure_report, head.success_report), (b"partial", False))

    def test_large_chunks_may_be_interrupted(self) -> None:
        """RFC 4975 §7.1.1: above 2048 octets the end must be ``*``."""
        for length, end in ((MAX_UNINTERRUPTED, 2052), (MAX_UNINTERRUPTED + 1, None)):
            frame = send_frame(b"m1", b"a/b", (b"x" * length,), 5, 9000, MORE)
            self.assertEqual(read(frame).head.byte_range, ByteRange(5, end, 9000))
            self.assertIs(read(frame).flag, MORE)

    def test_range_of_nothing(self) -> None:
        """RFC 4975 §7.1.1: ``1-0/0`` for an empty message; no end before the start elsewhere."""
        self.assertEqual(
            read(send_frame(b"m", b"a/b", (), total=0)).head.byte_range, ByteRange(1, 0, 0)
        )
        last = send_frame(b"m", b"a/b", (), 8, 7)
        self.assertEqual(read(last).head.byte_range, ByteRange(8, None, 7))

    def test_abort(self) -> None:
        found = read(abort_frame(b"m1", b"text/plain", 17))
        self.assertIs(found.flag, ABORTED)
        self.assertEqual((found.head.message_id, found.body), (b"m1", b""))
        self.assertEqual(found.head.byte_range, ByteRange(17, None, None))

    def test_only_what_is_far_into_a_message_may_be_overtaken(self) -> None:
        for start, bulk in ((1, False), (PROMPT, False), (PROMPT + 1, True)):
            self.assertEqual(send_frame(b"m", b"a/b", (b"x",), start).bulk, bulk)
        self.assertFalse(send_frame(b"m", b"a/b", (b"x" * 2 * PROMPT,)).bulk)
        self.assertTrue(abort_frame(b"m", b"a/b", PROMPT + 1).bulk, "its message would overtake it")

    def test_transaction_is_not_in_the_body(self) -> None:
        names = [b"aaaa", b"bbbb", b"cccc"]
        with patch.object(outgoing, "new_transaction", lambda: names.pop(0)):
            frame = send_frame(b"m", b"a/b", (b"x\r\n-------aa", b"aa$\r\n-------bbbb+"))
        self.assertEqual(frame.transaction, b"cccc")
        self.assertEqual(read(frame).body, b"x\r\n-------aaaa$\r\n-------bbbb+")

    def test_renamed(self) -> None:
        frame = send_frame(b"m1", b"a/b", (b"body",), 3, 9, MORE)
        renamed = frame.renamed(b".2")
        self.assertEqual(read(renamed).head.transaction, frame.transaction + b".2")
        self.assertEqual((read(renamed).body, read(renamed).flag), (b"body", MORE))
        self.assertEqual(renamed.size, len(octets(renamed)) - len(PATHS))
        self.assertIs(renamed.middle, frame.middle, "a body is not copied for a recipient")

    @given(
        data=st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\n", b"-------"]), max_size=5),
        start=st.integers(1, 10**6),
        flag=st.sampled_from(list(Continuation)),
    )
    @settings(deadline=None, max_examples=100)
    def test_read_back(self, data: list[bytes], start: int, flag: Continuation) -> None:
        frame = send_frame(b"m1", b"text/plain", data, start, None, flag)
        found = read(frame)
        self.assertEqual((found.body, found.flag), (b"".join(data), flag))
        self.assertEqual(found.head.byte_range.start, start)


class OtherTests(SynchronousTestCase):
    def test_binding_send_has_no_body(self) -> None:
        """RFC 4975 §7.1: no Content-Type and no blank line, ``1-0/0``, an answer wanted."""
        frame = bodiless_send(b"m1")
        found = read(frame)
        self.assertEqual((found.text, found.body, found.head.content_type), ("SEND", b"", b""))
        self.assertEqual(found.head.byte_range, ByteRange(1, 0, 0))
        self.assertEqual(found.head.failure_report, b"yes")
        self.assertNotIn(b"\r\n\r\n", octets(frame))

    def test_report(self) -> None:
        head = read(report_frame(b"m1", 1, 300, 300, 200, b"OK")).head
        self.assertEqual(head.method, b"REPORT")
        self.assertEqual(head.message_id, b"m1")
        self.assertEqual(head.byte_range, ByteRange(1, 300, 300))
        self.assertEqual(head.headers[b"status"], b"000 200 OK")
        # RFC 4975 §7.1.2: neither may stand in a REPORT.
        self.assertFalse({b"success-report", b"failure-report"} & head.headers.keys())
        unknown = read(report_frame(b"m1", 1, 3, None, 413, b"No")).head
        self.assertEqual(unknown.byte_range, ByteRange(1, 3, None))

    def test_message_ids_are_unlike(self) -> None:
        ids = {new_message_id() for _ in range(100)}
        self.assertEqual(len(ids), 100)
        self.assertTrue(all(4 <= len(each) <= 32 for each in ids))
