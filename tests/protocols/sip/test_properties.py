"""What holds for all values: they come back as they went, and bad octets give one kind of error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip import headers
from msrpconf.protocols.sip.dates import parse_date
from msrpconf.protocols.sip.errors import SipParseError, SipSyntaxError
from msrpconf.protocols.sip.grammar import parse_host, parse_token_list, split_list
from msrpconf.protocols.sip.message import Message, Request, parse_message
from msrpconf.protocols.sip.stream import KeepAlive, StreamParser
from msrpconf.protocols.sip.uri import URI, SipURI, parse_uri
from tests.protocols.sip import strategies

moderately = settings(max_examples=80, deadline=None)


class RoundTripTests(SynchronousTestCase):
    """`parse(str(value)) == value`."""

    @moderately
    @given(strategies.uris)
    def test_uris(self, uri: URI) -> None:
        again = parse_uri(str(uri))
        self.assertEqual(again, uri)
        self.assertEqual(str(again), str(uri))
        self.assertTrue(again.equivalent(uri))
        self.assertEqual(again.key, uri.key)

    @moderately
    @given(strategies.sip_uris)
    def test_keys_are_uris_of_the_same_user(self, uri: SipURI) -> None:
        self.assertEqual(parse_uri(uri.key).key, uri.key)
        self.assertEqual(uri.aor.key, uri.key)
        self.assertEqual(uri.aor.user, uri.user)

    @moderately
    @given(strategies.name_addrs)
    def test_name_addrs(self, value: headers.NameAddr) -> None:
        self.assertEqual(headers.NameAddr.parse(str(value)), value)

    @moderately
    @given(st.lists(strategies.name_addrs, min_size=1, max_size=4))
    def test_lists_of_name_addrs(self, values: list[headers.NameAddr]) -> None:
        text = ", ".join(map(str, values))
        self.assertEqual(split_list(text), [str(value) for value in values])
        self.assertEqual(headers.parse_name_addrs(text), values)

    @moderately
    @given(strategies.vias)
    def test_vias(self, value: headers.Via) -> None:
        self.assertEqual(headers.Via.parse(str(value)), value)

    @moderately
    @given(strategies.cseqs)
    def test_cseqs(self, value: headers.CSeq) -> None:
        self.assertEqual(headers.CSeq.parse(str(value)), value)

    @moderately
    @given(strategies.media_types)
    def test_media_types(self, value: headers.MediaType) -> None:
        self.assertEqual(headers.MediaType.parse(str(value)), value)

    @moderately
    @given(strategies.reasons)
    def test_reasons(self, value: headers.Reason) -> None:
        self.assertEqual(headers.Reason.parse(str(value)), value)

    @moderately
    @given(strategies.warnings)
    def test_warnings(self, value: headers.Warning_) -> None:
        self.assertEqual(headers.Warning_.parse(str(value)), value)

    @moderately
    @given(strategies.messages())
    def test_messages(self, message: Message) -> None:
        data = bytes(message)
        again = parse_message(data)
        self.assertEqual(again, message)
        self.assertEqual(bytes(again), data)


def _use_everything(message: Message) -> None:
    """What the parser has promised to work on any message that it hands out."""
    _ = (message.vias, message.top_via, message.from_.tag, message.to.uri.key, message.call_id)
    _ = (message.cseq, message.max_forwards, message.contacts, message.contact_star)
    _ = (message.routes, message.raw_routes, message.record_routes, message.raw_record_routes)
    _ = (message.content_type, message.content_length)
    if isinstance(message, Request):
        bytes(message.response(200, to_tag="x"))


def _answer(error: SipParseError) -> None:
    if error.request is not None:
        answer = error.request.response(error.status, to_tag="x")
        assert bytes(answer).startswith(b"SIP/2.0 ")
        assert answer.top_via.host


class AnyInputTests(SynchronousTestCase):
    """Whatever comes is a value or the documented error."""

    PARSERS: Sequence[Callable[[str], object]] = (
        parse_uri,
        headers.NameAddr.parse,
        headers.Via.parse,
        headers.Via.salvage,
        headers.CSeq.parse,
        headers.MediaType.parse,
        headers.Parameterized.parse,
        headers.Reason.parse,
        headers.Warning_.parse,
        headers.parse_name_addrs,
        parse_date,
        parse_host,
        parse_token_list,
        split_list,
    )

    def _parse_all(self, text: str) -> None:
        for parse in self.PARSERS:
            try:
                value = parse(text)
            except SipSyntaxError as error:
                self.assertTrue(error.reason.isascii() and error.reason.isprintable())
                continue
            if hasattr(value, "parse"):  # what was read can be written, and is read as the same
                self.assertEqual(type(value).parse(str(value)), value)

    @moderately
    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        self._parse_all(text)

    @moderately
    @given(st.text('sip:tel@a.[]1;=%41?&<>"\\, \tSIP/2.0UDP', max_size=30))
    def test_text_of_separators(self, text: str) -> None:
        for prefix in ("", "sip:", "tel:+1", "<sip:a@b", "SIP/2.0/UDP a", '"'):
            self._parse_all(prefix + text)

    def _parse_message(self, data: bytes) -> None:
        try:
            message = parse_message(data)
        except SipParseError as error:
            self.assertTrue(error.reason.isascii() and error.reason.isprintable())
            _answer(error)
        else:
            _use_everything(message)
            again = parse_message(bytes(message))
            self.assertEqual(bytes(again), bytes(message))
        for event in StreamParser().receive_data(data):
            if isinstance(event, SipParseError):
                _answer(event)
            elif not isinstance(event, KeepAlive):
                _use_everything(event)

    @moderately
    @given(st.binary(max_size=200))
    def test_any_octets(self, data: bytes) -> None:
        self._parse_message(data)

    @settings(max_examples=400, deadline=None)
    @given(strategies.damaged_messages())
    def test_damaged_messages(self, data: bytes) -> None:
        self._parse_message(data)


def _events(chunks: Sequence[bytes]) -> tuple[list[object], bool]:
    parser = StreamParser(max_headers=4000, max_body=1000)
    events = [event for chunk in chunks for event in parser.receive_data(chunk)]
    return [
        (event.reason, event.status, event.fatal) if isinstance(event, SipParseError) else event
        for event in events
    ], parser.error is not None


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


class SplitTests(SynchronousTestCase):
    """A stream gives the same however its octets were split."""

    parts = st.one_of(
        strategies.messages().map(bytes),
        strategies.damaged_messages(),
        st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\r", b"garbage", b"a" * 4100]),
    )

    @settings(max_examples=150, deadline=None)
    @given(st.lists(parts, max_size=4), st.lists(st.integers(0, 2000), max_size=8))
    def test_any_split(self, parts: list[bytes], cuts: list[int]) -> None:
        data = b"".join(parts)
        self.assertEqual(_events(_split(data, cuts)), _events([data]))

    @settings(max_examples=15, deadline=None)
    @given(st.lists(strategies.messages().map(bytes), max_size=2))
    def test_octet_by_octet(self, parts: list[bytes]) -> None:
        data = b"\r\n\r\n".join([b"", *parts, b""])
        events, failed = _events([data[i : i + 1] for i in range(len(data))])
        self.assertEqual((events, failed), _events([data]))
        self.assertFalse(failed)
        messages = [event for event in events if not isinstance(event, KeepAlive)]
        self.assertEqual(messages, [parse_message(part) for part in parts])
