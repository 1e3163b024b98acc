from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sdp import (
    MAX_MEDIA,
    MAX_SDP,
    Connection,
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
    answer,
    offer,
)


def sdp(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


# RFC 8866 §5, and each kind of line that it knows besides.
FULL = sdp(
    "v=0",
    "o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1",
    "s=Call to John Smith",
    "i=SDP Offer #1",
    "u=http://www.jdoe.example.com/home.html",
    "e=Jane Doe <jane@jdoe.example.com>",
    "p=+1 617 555-6011",
    "c=IN IP4 198.51.100.1",
    "b=AS:64",
    "t=0 0",
    "t=3724394400 3724398000",
    "r=604800 3600 0 90000",
    "z=3730928400 -1h 3749680800 0",
    "k=prompt",
    "a=recvonly",
    "a=charset:ISO-8859-1",
    "m=audio 49170 RTP/AVP 0",
    "m=audio 49180/2 RTP/AVP 0 8",
    "i=second",
    "c=IN IP6 ff00::db8:0:101",
    "c=IN IP6 ff00::db8:0:102",
    "b=AS:32",
    "b=TIAS:32000",
    "k=prompt",
    "a=rtpmap:0 PCMU/8000",
    "a=x-empty:",
    "m=video 51372 RTP/AVP 99",
    "c=IN IP6 2001:db8::2",
    "a=rtpmap:99 h263-1998/90000",
)


class ParseTests(SynchronousTestCase):
    def refused(self, data: bytes, reason: str) -> None:
        error = self.assertRaises(SdpError, SessionDescription.parse, data)
        self.assertIn(reason, str(error))

    def test_every_kind_of_line(self) -> None:
        description = SessionDescription.parse(FULL)
        self.assertEqual(
            description.origin,
            Origin("jdoe", "3724394400", "3724394405", "IN", "IP4", "198.51.100.1"),
        )
        self.assertEqual(description.session_name, "Call to John Smith")
        self.assertEqual(description.connection, Connection("IN", "IP4", "198.51.100.1"))
        self.assertEqual(description.attribute("recvonly"), "")
        self.assertEqual(description.attribute("charset"), "ISO-8859-1")
        self.assertIsNone(description.attribute("setup"))
        first, second, third = description.media
        self.assertEqual(first, MediaDescription("audio", 49170, "RTP/AVP", ("0",)))
        self.assertEqual(second.port_count, 2)
        self.assertEqual(second.formats, ("0", "8"))
        self.assertEqual(second.attributes, (("rtpmap", "0 PCMU/8000"), ("x-empty", "")))
        self.assertEqual(description.connection_of(0), Connection("IN", "IP4", "198.51.100.1"))
        self.assertEqual(description.connection_of(2), Connection("IN", "IP6", "2001:db8::2"))
        self.assertEqual(third.attributes_named("rtpmap"), ["99 h263-1998/90000"])
        self.assertEqual(bytes(description), FULL)

    def test_bare_lf_and_no_end_of_the_last_line(self) -> None:
        data = FULL.replace(b"\r\n", b"\n").rstrip(b"\n")
        self.assertEqual(bytes(SessionDescription.parse(data)), FULL)
        self.assertEqual(bytes(SessionDescription.parse(FULL + b"\r\n")), FULL)

    def test_text_that_is_not_utf8_is_kept(self) -> None:
        data = b"v=0\r\no=- 1 1 IN IP4 a.example.com\r\ns=\xe9t\xe9\r\nt=0 0\r\na=x:\xff\r\n"
        self.assertEqual(bytes(SessionDescription.parse(data)), data)

    def test_missing_and_empty_lines(self) -> None:
        # RFC 7701 §9.1 has no t=, and RFC 5547 §9 an empty s=.
        description = SessionDescription.parse(sdp("v=0", "o=- 1 1 IN IP4 a", "s="))
        self.assertEqual(description.session_name, "")
        self.assertEqual(description.times, (("t", "0 0"),))
        description = SessionDescription.parse(sdp("v=0", "o=- 1 1 IN IP4 a"))
        self.assertEqual(description.session_name, "-")

    def test_other_order_and_unknown_letters(self) -> None:
        description = SessionDescription.parse(
            sdp("v=0", "t=0 0", "s=-", "a=x", "y=?", "c=IN IP4 b", "o=- 1  1 IN IP4 a")
        )
        self.assertEqual(
            bytes(description),
            sdp("v=0", "o=- 1 1 IN IP4 a", "s=-", "c=IN IP4 b", "t=0 0", "y=?", "a=x"),
        )

    def test_malformed(self) -> None:
        start = ("v=0", "o=- 1 1 IN IP4 a", "s=-")
        for data, reason in (
            (b"", "line 1 must be"),
            (b"hello", "line 1 must be"),
            (sdp("o=- 1 1 IN IP4 a", "v=0"), "start with its only v="),
            (sdp(*start, "v=0"), "start with its only v="),
            (sdp("v=1", *start[1:]), "version 0"),
            (sdp("v=0", "s=-"), "o= line; it has none"),
            (sdp(*start, start[1]), "it has two"),
            (sdp("v=0", "o=- 1 1 IN IP4", "s=-"), "six fields"),
            (sdp(*start, "c=IN IP4"), "three fields"),
            (sdp(*start, "c =IN IP4 a"), "line 4 must be"),
            (sdp(*start, "", "c=IN IP4 a"), "line 4 must be"),
            (sdp(*start, " folded"), "line 4 must be"),
            (sdp(*start, "a=x\ry"), "line 4 must be"),
            (sdp(*start, "a=x\0y"), "line 4 must be"),
            (sdp(*start, "m=message 9 TCP/MSRP"), "media port protocol format"),
            (sdp(*start, "m=message -1 TCP/MSRP *"), "port from 0 to 65535"),
            (sdp(*start, "m=message 65536 TCP/MSRP *"), "port from 0 to 65535"),
            (sdp(*start, "m=message 1/x TCP/MSRP *"), "port from 0 to 65535"),
            (sdp(*start, "m=message ٣ TCP/MSRP *"), "port from 0 to 65535"),
        ):
            with self.subTest(data=data):
                self.refused(data, reason)

    def test_size_is_bounded(self) -> None:
        start = sdp("v=0", "o=- 1 1 IN IP4 a", "s=-")
        fits = start + b"a=" + b"x" * (MAX_SDP - len(start) - 4) + b"\r\n"
        self.assertEqual(len(bytes(SessionDescription.parse(fits))), MAX_SDP)
        self.refused(fits + b"\n", "longer than 65536")

    def test_media_are_bounded(self) -> None:
        start = sdp("v=0", "o=- 1 1 IN IP4 a", "s=-")
        line = sdp("m=message 9 TCP/MSRP *")
        self.assertEqual(len(SessionDescription.parse(start + line * MAX_MEDIA).media), MAX_MEDIA)
        self.refused(start + line * (MAX_MEDIA + 1), "64 m= lines")

    @given(
        st.binary(max_size=100)
        | st.lists(
            st.sampled_from(
                (
                    b"v=0",
                    b"o=- 1 1 IN IP4 a",
                    b"s=-",
                    b"c=IN",
                    b"m=x 1 y z",
                    b"a=b",
                    b"\xff=\0",
                    b"",
                )
            )
        ).map(b"\n".join)
    )
    @settings(deadline=None)
    def test_any_bytes_give_a_description_or_the_error(self, data: bytes) -> None:
        try:
            description = SessionDescription.parse(data)
        except SdpError:
            return
        self.assertEqual(SessionDescription.parse(bytes(description)), description)


# What RFC 8866 §9 lets stand in each field.
tokens = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,8}", fullmatch=True)
words = st.text(
    st.characters(exclude_characters=" \t\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=8
)
texts = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
numbers = st.from_regex("[0-9]{1,20}", fullmatch=True)
connections = st.builds(Connection, tokens, tokens, words)
attributes = st.lists(st.tuples(tokens, st.none() | texts), max_size=4).map(tuple)


def some(letters: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from(letters), texts), max_size=3).map(
        lambda lines: sorted(lines, key=lambda line: letters.index(line[0]))
    )


media = st.builds(
    MediaDescription,
    tokens,
    st.integers(0, 65535),
    tokens,
    st.lists(tokens, min_size=1, max_size=3).map(tuple),
    attributes,
    st.none() | connections,
    st.none() | st.integers(1, 65535),
    some("ibk").map(tuple),
)
descriptions = st.builds(
    SessionDescription,
    st.builds(Origin, words, numbers, numbers, tokens, tokens, words),
    texts,
    st.none() | connections,
    attributes,
    st.lists(media, max_size=3).map(tuple),
    st.tuples(some("iuep"), some("btrzk")).map(lambda both: tuple(both[0] + both[1])),
)


class RoundTripTests(SynchronousTestCase):
    @given(descriptions)
    @settings(max_examples=60, deadline=None)
    def test_round_trip(self, description: SessionDescription) -> None:
        data = bytes(description)
        parsed = SessionDescription.parse(data)
        self.assertEqual(parsed, description)
        self.assertEqual(bytes(parsed), data)


class OfferAnswerTests(SynchronousTestCase):
    """RFC 3264."""

    ours = MediaDescription("message", 2855, "TCP/MSRP", ("*",), (("setup", "passive"),))
    origin = Origin.of("192.0.2.9", 7, 1)

    def test_origin_of_an_address(self) -> None:
        self.assertEqual(str(Origin.of("chat.example.com", 7, 1)), "- 7 1 IN IP4 chat.example.com")
        self.assertEqual(str(Origin.of("[2001:db8::1]", 7, 2)), "- 7 2 IN IP6 2001:db8::1")

    def test_offer(self) -> None:
        self.assertEqual(
            bytes(offer([self.ours], origin=self.origin)),
            sdp(
                "v=0",
                "o=- 7 1 IN IP4 192.0.2.9",
                "s=-",
                "c=IN IP4 192.0.2.9",
                "t=0 0",
                "m=message 2855 TCP/MSRP *",
                "a=setup:passive",
            ),
        )

    def test_answer_refuses_all_but_one_in_their_order(self) -> None:
        offered = SessionDescription.parse(
            sdp(
                "v=0",
                "o=alice 1 1 IN IP4 192.0.2.1",
                "s=Lunch",
                "c=IN IP4 192.0.2.1",
                "t=3724394400 3724398000",
                "r=604800 3600 0 90000",
                "a=group:BUNDLE 1 2",
                "m=audio 49170/2 RTP/AVP 0 8 97",
                "a=rtpmap:97 iLBC/8000",
                "m=message 7654 TCP/MSRP *",
                "a=path:msrp://192.0.2.1:7654/a;tcp",
                "m=message 7654 TCP/MSRP *",
                "a=path:msrp://192.0.2.1:7654/b;tcp",
                "m=video 0 RTP/AVP 31",
            )
        )
        self.assertEqual(
            bytes(answer(offered, 1, self.ours, origin=self.origin, session_name="Chat")),
            sdp(
                "v=0",
                "o=- 7 1 IN IP4 192.0.2.9",
                "s=Chat",
                "c=IN IP4 192.0.2.9",
                "t=3724394400 3724398000",
                "r=604800 3600 0 90000",
                "m=audio 0 RTP/AVP 0 8 97",
                "m=message 2855 TCP/MSRP *",
                "a=setup:passive",
                "m=message 0 TCP/MSRP *",
                "m=video 0 RTP/AVP 31",
            ),
        )

    def test_answer_that_accepts_nothing(self) -> None:
        offered = offer([self.ours, self.ours], origin=Origin.of("192.0.2.1", 1, 1))
        answered = answer(offered, None, None, origin=self.origin)
        self.assertEqual([line.port for line in answered.media], [0, 0])

    def test_answer_to_another_spelling_of_the_protocol(self) -> None:
        line = evolve(self.ours, protocol="tcp/msrp")
        offered = offer([line], origin=Origin.of("192.0.2.1", 1, 1))
        self.assertEqual(answer(offered, 0, self.ours, origin=self.origin).media, (self.ours,))

    def test_answer_must_be_of_the_medium_that_was_offered(self) -> None:
        for line in (
            evolve(self.ours, media="audio"),
            evolve(self.ours, protocol="TCP/TLS/MSRP"),
        ):
            offered = offer([line], origin=Origin.of("192.0.2.1", 1, 1))
            self.assertRaises(ValueError, answer, offered, 0, self.ours, origin=self.origin)
