from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.trace import MAX_BODY, Tracer, describe, parse_trace

NOW = datetime(2026, 11, 23, 9, 25, 39, 120_900)

PIECES = [
    *(b"MSRP abcd SEND\r\n", b"-------abcd$\r\n", b"Content-Length: 4\r\n", b"\r\n", b"text"),
    *(b"\0", b"\x1b]0;", b"\xe2\x80", b"\xc2\x9b", "\u202e".encode()),
]


def lines(kind: str, octets: bytes) -> list[str]:
    """What is shown of `octets`, without the line that says where they went."""
    return [line.strip() for line in describe(kind, "in", "peer", octets, NOW).split("\n")[1:]]


class ParseTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        self.assertEqual(parse_trace("sip,msrp"), {"sip", "msrp"})
        self.assertEqual(parse_trace(" MSRP "), {"msrp"})
        self.assertEqual(parse_trace(""), frozenset())

    def test_an_unknown_kind_is_named(self) -> None:
        with self.assertRaisesRegex(ValueError, "expected sip, msrp or sip,msrp .* got 'http'"):
            parse_trace("sip,http")


class TracerTests(SynchronousTestCase):
    def test_what_is_asked_for_is_written_with_its_way_and_time(self) -> None:
        written: list[str] = []
        tracer = Tracer(frozenset({"sip"}), written.append, lambda: NOW)
        tracer("sip", "out", "udp:192.0.2.1:5060", b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")
        tracer("sip", "in", "udp:192.0.2.1:5060", b"S")
        tracer("msrp", "in", "tcp:192.0.2.1:2855", b"MSRP abcd SEND\r\n")
        self.assertEqual(
            written,
            [
                "--> 09:25:39.120 sip udp:192.0.2.1:5060, 27 octets\n    OPTIONS sip:a@b SIP/2.0",
                "<-- 09:25:39.120 sip udp:192.0.2.1:5060, 1 octet\n    S",
            ],
        )


class SipTests(SynchronousTestCase):
    def test_messages_of_a_stream_are_told_apart(self) -> None:
        invite = b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 3\r\n\r\nv=0"
        self.assertEqual(
            lines("sip", b"\r\n\r\n" + invite + b"ACK sip:a@b SIP/2.0\r\nl: 0\r\n\r\n"),
            [
                *("INVITE sip:a@b SIP/2.0", "Content-Length: 3", "", "v=0", ""),
                *("ACK sip:a@b SIP/2.0", "l: 0"),
            ],
        )

    def test_a_ping_is_told(self) -> None:
        self.assertIn("keep the connection open", lines("sip", b"\r\n\r\n")[0])

    def test_control_characters_are_seen(self) -> None:
        self.assertEqual(lines("sip", b"X \x1b[2J\xff\r\n\r\n"), [r"X \x1b[2J" + "\ufffd"])


class MsrpTests(SynchronousTestCase):
    def test_frames(self) -> None:
        frame = b"MSRP abcd SEND\r\nMessage-ID: 1\r\n\r\nhi\r\nho\r\n-------abcd$\r\n"
        response = b"MSRP efgh 200 OK\r\nTo-Path: msrp://a;tcp\r\n-------efgh$\r\n"
        self.assertEqual(
            lines("msrp", frame + response),
            [
                *("MSRP abcd SEND", "Message-ID: 1", "", "hi", "ho", "-------abcd$"),
                *("MSRP efgh 200 OK", "To-Path: msrp://a;tcp", "-------efgh$"),
            ],
        )

    def test_the_rest_of_a_frame_that_began_earlier(self) -> None:
        self.assertEqual(
            lines("msrp", b"and so on\r\n-------abcd+\r\nMSRP efgh SEND\r\n"),
            ["and so on", "-------abcd+", "MSRP efgh SEND"],
        )

    def test_a_body_that_looks_like_another_frames_end_is_a_body(self) -> None:
        frame = b"MSRP abcd SEND\r\n\r\n-------efgh$\r\nMSRP efgh SEND\r\n-------abcd$\r\n"
        self.assertEqual(
            lines("msrp", frame),
            ["MSRP abcd SEND", "", "-------efgh$", "MSRP efgh SEND", "-------abcd$"],
        )

    def test_a_long_body_is_cut(self) -> None:
        body = b"x" * (MAX_BODY - 1) + "é".encode() + b"y" * 10
        shown = lines("msrp", b"MSRP abcd SEND\r\n\r\n" + body + b"\r\n-------abcd$\r\n")
        self.assertEqual(shown[2], "x" * (MAX_BODY - 1))
        self.assertEqual(shown[3:], ["[12 more octets left out]", "-------abcd$"])

    def test_what_is_not_text_is_left_out(self) -> None:
        cpim = b"From: <sip:a@b>\r\n\r\n"
        for picture in (b"\x89PNG\xff\xfe", b"GIF\0\0", b"\0" * MAX_BODY):
            frame = b"MSRP abcd SEND\r\n\r\n" + cpim + picture + b"\r\n-------abcd$\r\n"
            self.assertEqual(
                lines("msrp", frame)[2:],
                [
                    *("From: <sip:a@b>", ""),
                    f"[{len(picture)} octets that are not text left out]",
                    "-------abcd$",
                ],
            )


class AnyOctetsTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from(["sip", "msrp"]),
        st.lists(st.sampled_from(PIECES) | st.binary(max_size=40)).map(b"".join),
    )
    def test_only_what_can_be_seen_is_written(self, kind: str, octets: bytes) -> None:
        text = describe(kind, ">", "peer\x1b", octets, NOW)
        for line in text.split("\n"):
            self.assertNotRegex(line, "[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
