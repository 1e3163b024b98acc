"""MSRP frames: what the octets say, however they were split."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.frame import (
    MAX_HEAD,
    ByteRange,
    Continuation,
    Event,
    FrameParser,
    Head,
    encode,
    encode_response,
    new_transaction,
)

PATHS = [(b"To-Path", b"msrp://b.example:2855/b1;tcp"), (b"From-Path", b"msrp://a:1/a1;tcp")]

BASIC = (
    b"MSRP a786hjs2 SEND\r\n"
    b"To-Path: msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp\r\n"
    b"From-Path: msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\n"
    b"Message-ID: 87652491\r\n"
    b"Byte-Range: 1-25/25\r\n"
    b"Content-Type: text/plain\r\n"
    b"\r\n"
    b"Hey Bob, are you there?\r\n"
    b"-------a786hjs2$\r\n"
)
"""The request of RFC 4975 §4, figure 1 (message 4), as its octets."""


def joined(events: list[Event]) -> list[Event]:
    """The same events with the pieces of each body put together."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += event
        else:
            result.append(event)
    return result


def parse(data: bytes) -> list[Event]:
    return joined(FrameParser().receive_data(data))


class ParseTests(SynchronousTestCase):
    def test_request(self) -> None:
        head, body, flag = parse(BASIC)
        assert isinstance(head, Head)
        self.assertEqual(head.transaction, b"a786hjs2")
        self.assertEqual(head.method, b"SEND")
        self.assertEqual(head.to_path, b"msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp")
        self.assertEqual(head.from_path, b"msrp://atlanta.example.com:7654/jshA7weztas;tcp")
        self.assertEqual(head.message_id, b"87652491")
        self.assertEqual(head.byte_range, ByteRange(1, 25, 25))
        self.assertEqual(head.content_type, b"text/plain")
        self.assertEqual(head.failure_report, b"yes")
        self.assertFalse(head.success_report)
        self.assertEqual(body, b"Hey Bob, are you there?")
        self.assertIs(flag, Continuation.COMPLETE)

    def test_reports_asked_for(self) -> None:
        """RFC 4975 §7.1.1; what is none of the values is as if it were not there."""
        for value, expected in (
            (b"yes", b"yes"),
            (b"Partial", b"partial"),
            (b"NO", b"no"),
            (b"maybe", b"yes"),
        ):
            head = parse(encode(b"SEND", b"tid1", [*PATHS, (b"Failure-Report", value)]))[0]
            assert isinstance(head, Head)
            self.assertEqual(head.failure_report, expected)

    def test_response(self) -> None:
        request = parse(BASIC)[0]
        assert isinstance(request, Head)
        head, flag = parse(encode_response(request, 200))
        assert isinstance(head, Head)
        self.assertEqual((head.status, head.comment, head.method), (200, b"OK", b""))
        self.assertEqual(head.transaction, request.transaction)
        self.assertEqual(head.to_path, request.from_path)
        self.assertEqual(head.from_path, request.to_path)
        self.assertIs(flag, Continuation.COMPLETE)

    def test_response_to_send_goes_to_previous_hop_only(self) -> None:
        """RFC 4975 §7.2: only the leftmost URI of a SEND's From-Path; all of them otherwise."""
        path = b"msrp://relay:2855/r;tcp msrp://a:1/a;tcp"
        for method, expected in ((b"SEND", path.split()[0]), (b"NICKNAME", path)):
            frame = encode(method, b"tid1", [(b"To-Path", b"msrp://s/x;tcp"), (b"From-Path", path)])
            request = parse(frame)[0]
            assert isinstance(request, Head)
            response = parse(encode_response(request, 403, b"No"))[0]
            assert isinstance(response, Head)
            self.assertEqual(response.to_path, expected)
            self.assertEqual(response.comment, b"No")

    def test_no_body_is_not_an_empty_body(self) -> None:
        without = encode(b"SEND", b"tid1", PATHS)
        self.assertEqual([type(e) for e in parse(without)], [Head, Continuation])
        empty = encode(b"SEND", b"tid1", [*PATHS, (b"Content-Type", b"text/plain")], b"")
        head, flag = parse(empty)
        assert isinstance(head, Head)
        self.assertEqual(head.content_type, b"text/plain")
        self.assertIs(flag, Continuation.COMPLETE)

    def test_empty_body_without_its_own_crlf(self) -> None:
        """Some clients end an empty body with the blank line's CRLF: whole or in pieces."""
        frame = encode(b"SEND", b"tid1", [*PATHS, (b"Content-Type", b"text/plain")], b"")
        short = frame.replace(b"\r\n\r\n\r\n", b"\r\n\r\n")
        for split in range(len(short)):
            parser = FrameParser()
            events = parser.receive_data(short[:split]) + parser.receive_data(short[split:])
            self.assertEqual([type(e) for e in events], [Head, Continuation], split)

    def test_end_line_of_another_transaction_is_body(self) -> None:
        body = b"-------tid2$\r\n-------tid$\r\n\r\n-------tid1X\r\n-------tid1$ no\r\n"
        data = (
            b"MSRP tid1 SEND\r\nTo-Path: msrp://b/b;tcp\r\nFrom-Path: msrp://a/a;tcp\r\n"
            b"Content-Type: text/plain\r\n\r\n" + body + b"\r\n-------tid1+\r\n"
        )
        self.assertEqual(parse(data)[1:], [body, Continuation.MORE])

    def test_unknown_and_repeated_headers_do_no_harm(self) -> None:
        extra = [(b"X-New", b"one: two"), (b"Message-ID", b"first"), (b"message-id", b"second")]
        head = parse(encode(b"SEND", b"tid1", [*PATHS, *extra]))[0]
        assert isinstance(head, Head)
        self.assertEqual(head.headers[b"x-new"], b"one: two")
        self.assertEqual(head.message_id, b"first")

    def test_empty_lines_between_frames(self) -> None:
        self.assertEqual(parse(b"\r\n\r\n" + BASIC + b"\r\n" + BASIC), parse(BASIC) * 2)

    def test_faults(self) -> None:
        paths = b"To-Path: msrp://b/b;tcp\r\nFrom-Path: msrp://a/a;tcp\r\n"
        end = b"-------tid1$\r\n"
        for data, text in (
            (b"GET / HTTP/1.1\r\n", "start of a frame"),
            (b"\x16\x03\x01\x02", "start of a frame"),
            (b"MSRP tid1 send\r\n" + paths + end, "method or a status"),
            (b"MSRP ti d1 SEND\r\n" + paths + end, "method or a status"),
            (b"MSRP  SEND\r\n" + paths + end, "transaction"),
            (b"MSRP " + b"a" * 65 + b" SEND\r\n" + paths, "transaction"),
            (b"MSRP tid1 SEND\r\n" + paths + b"nonsense\r\n" + end, "Name: value"),
            (b"MSRP tid1 SEND\r\n" + paths + b"Content-Type: a/b\nX: y\r\n" + end, "only CRLF"),
            (b"MSRP tid1 SEND\r\n" + paths + b"Content-Type: a/b\rX: y\r\n" + end, "only CRLF"),
            (b"MSRP tid1 SEND\r\nFrom-Path: msrp://a/a;tcp\r\n" + end, "To-Path"),
            (b"MSRP tid1 SEND\r\nTo-Path: msrp://a/a;tcp\r\n" + end, "From-Path"),
            (b"MSRP tid1 SEND\r\n" + paths + b"A: b\r\n" * 100 + end, "more than 64"),
            (b"MSRP tid1 SEND\r\n" + paths + b"A: " + b"b" * MAX_HEAD, "longer than"),
            (b"MSRP tid1 SEND\r\n" + paths + b"A: " + b"b" * MAX_HEAD + b"\r\n" + end, "longer"),
            (b"MSRP " + b"x" * MAX_HEAD, "longer than"),
        ):
            parser = FrameParser()
            error = self.assertRaises(MsrpSyntaxError, parser.receive_data, data)
            self.assertIn(text, str(error))
            self.assertRaises(MsrpSyntaxError, parser.receive_data, BASIC)

    def test_body_is_not_held(self) -> None:
        parser = FrameParser()
        head = BASIC[: BASIC.index(b"Hey")]
        parser.receive_data(head)
        received = 0
        for _ in range(200):
            received += sum(len(e) for e in parser.receive_data(b"x" * 5000) if type(e) is bytes)
            self.assertLess(len(parser._buffer), 100)
        self.assertGreater(received, 200 * 5000 - 100)


class ByteRangeTests(SynchronousTestCase):
    def test_read_and_written(self) -> None:
        for text, value in (
            (b"1-25/25", ByteRange(1, 25, 25)),
            (b"1-*/*", ByteRange(1, None, None)),
            (b"17-*/400", ByteRange(17, None, 400)),
            (b"1-0/0", ByteRange(1, 0, 0)),
        ):
            self.assertEqual(ByteRange.parse(text), value)
            self.assertEqual(bytes(value), text)

    def test_wrong(self) -> None:
        for text in (
            b"",
            b"1",
            b"1-2",
            b"0-2/2",
            b"a-2/2",
            b"1-x/2",
            b"1-2/-2",
            b"1-2/" + b"9" * 17,
        ):
            self.assertRaises(MsrpSyntaxError, ByteRange.parse, text)


body_octets = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\r\n", b"-------", b"tid1", b"$", b"\r", b"x"]), max_size=20).map(
        b"".join
    ),
)


class PropertyTests(SynchronousTestCase):
    @given(
        frames=st.lists(
            st.tuples(
                st.one_of(st.none(), body_octets),
                st.sampled_from(list(Continuation)),
            ),
            min_size=1,
            max_size=4,
        ),
        data=st.data(),
    )
    @settings(deadline=None, max_examples=300)
    def test_indifferent_to_splits(
        self, frames: list[tuple[bytes | None, Continuation]], data: st.DataObject
    ) -> None:
        octets = b""
        expected: list[Event] = []
        for body, flag in frames:
            transaction = new_transaction()
            headers = [*PATHS, (b"Message-ID", b"m1")]
            if body is not None:
                headers.append((b"Content-Type", b"text/plain"))
            octets += encode(b"SEND", transaction, headers, body, flag)
            fields = {name.lower(): value for name, value in headers}
            expected.append(Head(transaction, b"SEND", 0, b"", fields))
            if body:
                expected.append(body)
            expected.append(flag)
        cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=10).map(sorted))
        parser = FrameParser()
        events: list[Event] = []
        for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            events += parser.receive_data(octets[begin:end])
        self.assertEqual(joined(events), expected)
        self.assertTrue(parser.between_frames)

    @given(
        pieces=st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [BASIC, b"MSRP tid1 SEND\r\n", b"To-Path: x\r\n", b"\r\n", b"-------"]
                ),
            ),
            max_size=12,
        )
    )
    @settings(deadline=None, max_examples=300)
    def test_anything_gives_events_or_the_error(self, pieces: list[bytes]) -> None:
        parser = FrameParser()
        try:
            for piece in pieces:
                for event in parser.receive_data(piece):
                    self.assertIsInstance(event, (Head, bytes, Continuation))
        except MsrpSyntaxError as error:
            self.assertTrue(str(error))

    def test_encode_refuses_its_end_line_in_the_body(self) -> None:
        self.assertRaises(ValueError, encode, b"SEND", b"tid1", PATHS, b"a -------tid1 b")
