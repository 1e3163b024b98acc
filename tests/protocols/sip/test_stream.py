"""Messages on a stream: framing, keep-alives, bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipParseError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.stream import KeepAlive, StreamParser

OPTIONS = b"""\
OPTIONS sip:room@conf.example.com SIP/2.0
Via: SIP/2.0/TCP client.example.com;branch=z9hG4bK1
From: <sip:alice@example.com>;tag=1
To: <sip:room@conf.example.com>
Call-ID: a@b
CSeq: 1 OPTIONS
Content-Length: 4

body""".replace(b"\n", b"\r\n")


def only_error(events: list[Request | Response | SipParseError | KeepAlive]) -> SipParseError:
    (error,) = events
    assert isinstance(error, SipParseError)
    return error


class FramingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.parser = StreamParser(max_headers=1000, max_body=100)

    def test_messages_one_after_another(self) -> None:
        events = self.parser.receive_data(OPTIONS + OPTIONS + OPTIONS[:30])
        self.assertEqual(
            [event.body for event in events if isinstance(event, Request)], [b"body"] * 2
        )
        self.assertEqual(len(events), 2)
        self.assertEqual(self.parser.buffered, 30)
        self.assertEqual(len(self.parser.receive_data(OPTIONS[30:])), 1)
        self.assertEqual(self.parser.buffered, 0)

    def test_when_a_message_is_incomplete(self) -> None:
        self.assertFalse(self.parser.incomplete)
        head, _, body = OPTIONS.partition(b"\r\n\r\n")
        for data, incomplete in (
            (b"\r\n", False),
            (b"\r", False),
            (b"\n", False),
            (head[:1], True),
            (head[1:], True),
            (b"\r\n\r", True),
            (b"\n", True),  # the whole body is missing
            (body[:2], True),
            (body[2:], False),
            (head + b"\r\n\r\n", True),
            (body + b"\r\n", False),
        ):
            self.parser.receive_data(data)
            self.assertIs(self.parser.incomplete, incomplete, data)

    def test_one_octet_at_a_time(self) -> None:
        data = b"\r\n" + OPTIONS + b"\r\n\r\n\r\n" + OPTIONS
        events = [event for octet in data for event in self.parser.receive_data(bytes([octet]))]
        self.assertEqual([type(event) for event in events], [Request, KeepAlive, Request])

    def test_response(self) -> None:
        data = OPTIONS.replace(b"OPTIONS sip:room@conf.example.com SIP/2.0", b"SIP/2.0 200 OK")
        (event,) = self.parser.receive_data(data)
        self.assertIsInstance(event, Response)

    def test_keep_alives(self) -> None:
        """RFC 5626 section 3.5.1: each CR LF CR LF is a ping."""
        self.assertEqual(self.parser.receive_data(b"\r\n\r"), [])
        self.assertEqual(self.parser.receive_data(b"\n"), [KeepAlive()])
        self.assertEqual(self.parser.receive_data(b"\r\n\r\n\r\n\r\n"), [KeepAlive(), KeepAlive()])

    def test_line_breaks_before_a_message_are_ignored(self) -> None:
        """RFC 3261 section 7.5."""
        (event,) = self.parser.receive_data(b"\r\n" + OPTIONS)
        self.assertIsInstance(event, Request)

    def test_line_breaks_in_a_body_are_no_keep_alive(self) -> None:
        (event,) = self.parser.receive_data(OPTIONS.replace(b"body", b"\r\n\r\n"))
        assert isinstance(event, Request)
        self.assertEqual(event.body, b"\r\n\r\n")


class BadMessageTests(SynchronousTestCase):
    """What is wrong in a message does not harm the next one, unless its end is lost."""

    def setUp(self) -> None:
        self.parser = StreamParser(max_headers=1000, max_body=100)

    def test_next_message_is_read(self) -> None:
        events = self.parser.receive_data(OPTIONS.replace(b"1 OPTIONS", b"x") + OPTIONS)
        bad, good = events
        assert isinstance(bad, SipParseError)
        self.assertIn("CSeq", bad.reason)
        self.assertFalse(bad.fatal)
        self.assertIsInstance(good, Request)
        self.assertIsNone(self.parser.error)

    def test_bad_start_line_is_not_fatal_either(self) -> None:
        bad, good = self.parser.receive_data(
            OPTIONS.replace(b"sip:room@", b"<sip:room>@", 1) + OPTIONS
        )
        self.assertIsInstance(bad, SipParseError)
        self.assertIsInstance(good, Request)

    def assert_fatal(self, data: bytes, reason: str, status: int = 400) -> SipParseError:
        error = only_error(self.parser.receive_data(data + OPTIONS))
        self.assertIn(reason, error.reason)
        self.assertEqual((error.status, error.fatal), (status, True))
        self.assertIs(self.parser.error, error)
        self.assertEqual(self.parser.receive_data(OPTIONS), [])
        self.assertEqual(self.parser.buffered, 0)
        return error

    def test_no_length(self) -> None:
        error = self.assert_fatal(OPTIONS.replace(b"Content-Length", b"X"), "required on a stream")
        assert error.request is not None
        self.assertEqual(error.request.response(400).call_id, "a@b")

    def test_unusable_length(self) -> None:
        self.assert_fatal(OPTIONS.replace(b"Length: 4", b"Length: -4"), "Content-Length")

    def test_two_lengths(self) -> None:
        self.assert_fatal(OPTIONS.replace(b"Content-Length", b"l: 4\r\nContent-Length"), "once")

    def test_no_header_fields(self) -> None:
        self.assert_fatal(b"hello\r\nworld\r\n\r\n", "expected a header field")

    def test_body_too_large(self) -> None:
        error = self.assert_fatal(OPTIONS.replace(b"Length: 4", b"Length: 101"), "at most 100", 513)
        self.assertIsNotNone(error.request)

    def test_largest_body(self) -> None:
        data = OPTIONS.replace(b"Length: 4\r\n\r\nbody", b"Length: 100\r\n\r\n" + b"x" * 100)
        (event,) = self.parser.receive_data(data)
        assert isinstance(event, Request)
        self.assertEqual(len(event.body), 100)

    def test_head_too_large(self) -> None:
        """The sender is told, as long as it told us who it is in time."""
        data = OPTIONS.replace(b"Content-Length", b"X: " + b"y" * 1000 + b"\r\nContent-Length")
        error = self.assert_fatal(data, "at most 1000 octets", 513)
        assert error.request is not None
        self.assertEqual(error.request.cseq.number, 1)

    def test_head_too_large_and_wrong_besides(self) -> None:
        self.assert_fatal(OPTIONS.replace(b"To:", b"no colon\r\nX: " + b"y" * 1000), "header field")

    def test_head_without_an_end(self) -> None:
        error = only_error(self.parser.receive_data(b"x" * 5000))
        self.assertEqual((error.status, error.fatal, error.request), (513, True, None))

    def test_largest_head(self) -> None:
        size = OPTIONS.index(b"\r\n\r\n")
        data = OPTIONS.replace(b"a@b", b"a@b" + b"c" * (1000 - size))
        self.assertEqual(data.index(b"\r\n\r\n"), 1000)
        self.assertEqual(len(self.parser.receive_data(data)), 1)
        only_error(StreamParser(max_headers=999).receive_data(data))

    def test_bound_holds_before_the_end_is_seen(self) -> None:
        """A head that never ends takes no more memory than its bound."""
        events = []
        for _ in range(100):
            events += self.parser.receive_data(b"x" * 100)
            self.assertLessEqual(self.parser.buffered, 1003)
        self.assertEqual(len(events), 1)
