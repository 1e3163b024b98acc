"""Messages: read, refused, answered and written."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipParseError, SipSyntaxError
from msrpconf.protocols.sip.grammar import split_list
from msrpconf.protocols.sip.headers import CSeq, MediaType, Via
from msrpconf.protocols.sip.message import (
    MAX_FIELDS,
    MAX_HOPS,
    Headers,
    Request,
    Response,
    parse_message,
)
from msrpconf.protocols.sip.uri import SipURI, parse_uri

INVITE = b"""\
INVITE sip:room@conf.example.com SIP/2.0
Via: SIP/2.0/TCP proxy.example.com;branch=z9hG4bK2, SIP/2.0/UDP 10.0.0.5:44321;rport;branch=z9hG4bK1
Record-Route: <sip:b.example.com;lr>, <sip:a.example.com;lr>
Max-Forwards: 69
From: "Alice" <sip:alice@example.com>;tag=8f7c6e
To: <sip:room@conf.example.com>
Contact: <sip:alice@10.0.0.5:44321>
Call-ID: 7c4bf2@10.0.0.5
CSeq: 297 INVITE
Timestamp: 54.2
Supported: replaces, gruu
k: norefersub
Content-Type: application/sdp
Content-Length: 5
P-Asserted-Identity: <sip:alice@example.com>, <tel:+15551234>

v=0
""".replace(b"\n", b"\r\n")


def invite(old: bytes = b"", new: bytes = b"") -> Request:
    message = parse_message(INVITE.replace(old, new) if old else INVITE)
    assert isinstance(message, Request)
    return message


class ErrorCase(SynchronousTestCase):
    def refused(self, data: bytes, reason: str, status: int = 400) -> SipParseError:
        error: SipParseError = self.assertRaises(SipParseError, parse_message, data)
        self.assertIn(reason, error.reason)
        self.assertEqual(error.status, status)
        return error

    def altered(self, old: bytes, new: bytes, reason: str, status: int = 400) -> SipParseError:
        self.assertIn(old, INVITE)
        return self.refused(INVITE.replace(old, new), reason, status)


class RequestTests(SynchronousTestCase):
    def test_accessors(self) -> None:
        request = invite()
        self.assertEqual((request.method, request.body), ("INVITE", b"v=0\r\n"))
        self.assertEqual(request.uri, SipURI("sip", "room", None, "conf.example.com"))
        self.assertEqual([via.branch for via in request.vias], ["z9hG4bK2", "z9hG4bK1"])
        self.assertEqual(request.top_via.host, "proxy.example.com")
        self.assertEqual((request.from_.display_name, request.from_.tag), ("Alice", "8f7c6e"))
        self.assertIsNone(request.to.tag)
        self.assertEqual(request.call_id, "7c4bf2@10.0.0.5")
        self.assertEqual(request.cseq, CSeq(297, "INVITE"))
        self.assertEqual(request.max_forwards, 69)
        self.assertEqual([str(c.uri) for c in request.contacts], ["sip:alice@10.0.0.5:44321"])
        self.assertEqual(request.content_type, MediaType("application", "sdp"))
        self.assertEqual(request.content_length, 5)
        self.assertEqual(
            request.raw_record_routes, ["<sip:b.example.com;lr>", "<sip:a.example.com;lr>"]
        )
        self.assertEqual(
            [route.uri.key for route in request.record_routes],
            ["sip:b.example.com", "sip:a.example.com"],
        )
        self.assertEqual((request.routes, request.raw_routes), ([], []))
        self.assertEqual(request.option_tags("Supported"), ["replaces", "gruu", "norefersub"])
        self.assertEqual(request.option_tags("Require"), [])
        self.assertEqual(
            [identity.uri.key for identity in request.name_addrs("P-Asserted-Identity")],
            ["sip:alice@example.com", "tel:+15551234"],
        )
        self.assertIsNone(request.expires)
        self.assertIsNone(request.event)
        self.assertIsNone(request.date)
        self.assertIsNone(request.content_disposition)

    def test_accessors_that_only_some_requests_have(self) -> None:
        request = invite(
            b"Max-Forwards",
            b"o: conference;id=1\r\nExpires: 3600\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
            b"Content-Disposition: session;handling=required\r\nMax-Forwards",
        )
        assert request.event is not None and request.content_disposition is not None
        self.assertEqual((request.event.value, request.event.parameter("id")), ("conference", "1"))
        self.assertEqual(request.expires, 3600)
        self.assertEqual(request.date, datetime(2010, 11, 13, 23, 29, tzinfo=UTC))
        self.assertEqual(request.content_disposition.parameter("handling"), "required")

    def test_bad_values_that_nobody_may_need(self) -> None:
        """They raise when they are asked for, and name the header."""
        request = invite(
            b"Max-Forwards",
            b"Expires: soon\r\nDate: today\r\nEvent: ;\r\nRequire: a b\r\nRefer-To: <x\r\n"
            b"Max-Forwards",
        )
        for name, use in (
            ("Expires", lambda: request.expires),
            ("Date", lambda: request.date),
            ("Event", lambda: request.event),
            ("Require", lambda: request.option_tags("Require")),
            ("Refer-To", lambda: request.name_addrs("Refer-To")),
        ):
            error = self.assertRaises(SipSyntaxError, use)
            self.assertTrue(error.reason.startswith(f"{name}: expected"), error.reason)

    def test_lists_belong_to_the_caller(self) -> None:
        request = invite()
        request.vias.clear()
        request.contacts.clear()
        self.assertEqual((len(request.vias), len(request.contacts)), (2, 1))

    def test_contact_star(self) -> None:
        request = invite(b"<sip:alice@10.0.0.5:44321>", b"*")
        self.assertTrue(request.contact_star)
        self.assertEqual(request.contacts, [])
        self.assertFalse(invite().contact_star)

    def test_folding(self) -> None:
        request = invite(b"CSeq: 297 INVITE", b"CSeq:\r\n 297\r\n\tINVITE\r\nSubject: a\r\n   b")
        self.assertEqual(request.cseq, CSeq(297, "INVITE"))
        self.assertEqual(request.headers.get("Subject"), "a b")

    def test_version_in_any_case(self) -> None:
        """RFC 3261 section 7.1; we write it in upper case."""
        request = invite(b"com SIP/2.0\r\n", b"com sip/2.0\r\n")
        self.assertTrue(bytes(request).startswith(b"INVITE sip:room@conf.example.com SIP/2.0\r\n"))

    def test_line_breaks_before_the_message(self) -> None:
        self.assertEqual(parse_message(b"\r\n\r\n\r\n" + INVITE), invite())


class WritingTests(SynchronousTestCase):
    def test_comes_back_octet_by_octet(self) -> None:
        self.assertEqual(bytes(invite()), INVITE)

    def test_octets_that_are_not_utf8(self) -> None:
        data = INVITE.replace(b"k: norefersub", b"sUbJect: caf\xe9 \xc3\xa9 \xff\x00")
        request = parse_message(data)
        self.assertEqual(request.headers.get("Subject"), "caf\udce9 é \udcff\0")
        self.assertEqual(bytes(request), data)

    def test_content_length_is_written_in_its_place(self) -> None:
        request = invite()
        request.body = b"v=0\r\ns=-\r\n"
        self.assertIn(b"Content-Length: 10\r\nP-Asserted-Identity:", bytes(request))
        self.assertEqual(parse_message(bytes(request)).body, request.body)

    def test_content_length_is_added(self) -> None:
        request = Request("OPTIONS", parse_uri("sip:a@b"), Headers([("To", "<sip:a@b>")]), b"xy")
        self.assertEqual(
            bytes(request),
            b"OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nContent-Length: 2\r\n\r\nxy",
        )

    def test_text_without_octets(self) -> None:
        error = self.assertRaises(
            SipSyntaxError, bytes, Response(200, "OK", Headers([("Subject", "\ud800")]))
        )
        self.assertIn("ud800", error.reason)

    def test_start_line_takes_no_line_break(self) -> None:
        self.assertRaises(SipSyntaxError, bytes, Response(200, "OK\r\nVia: evil"))
        self.assertRaises(SipSyntaxError, bytes, Request("A\nB", parse_uri("sip:a@b")))

    def test_set_top_via(self) -> None:
        request = invite()
        request.set_top_via(request.top_via.with_parameter("received", "192.0.2.9"))
        self.assertEqual(request.top_via.received, "192.0.2.9")
        self.assertEqual(
            request.headers.get_all("Via"),
            [
                "SIP/2.0/TCP proxy.example.com;branch=z9hG4bK2;received=192.0.2.9,"
                " SIP/2.0/UDP 10.0.0.5:44321;rport;branch=z9hG4bK1"
            ],
        )

    def test_set_top_via_of_many_fields_and_of_none(self) -> None:
        request = Request("BYE", parse_uri("sip:a@b"))
        request.set_top_via(Via("UDP", "a"))
        self.assertEqual(request.headers.get_all("v"), ["SIP/2.0/UDP a"])
        request.headers.prepend("v", "SIP/2.0/UDP b")
        request.set_top_via(Via("UDP", "c"))
        self.assertEqual(request.headers.get_all("v"), ["SIP/2.0/UDP c", "SIP/2.0/UDP a"])

    def test_what_was_set_as_top_via_is_not_parsed_again(self) -> None:
        request = invite()
        via = request.top_via.with_parameter("received", "2001:db8::9")
        request.set_top_via(via)
        parsed = [Via.parse(each) for each in split_list(request.headers.get("Via") or "")]
        self.assertEqual(request.vias, parsed)
        self.assertIs(request.top_via, via)

    def test_copy_is_independent(self) -> None:
        for message in (invite(), invite().response(200)):
            copy = message.copy()
            self.assertEqual(copy, message)
            copy.headers.add("X", "y")
            copy.body = b"z"
            self.assertNotIn("X", message.headers)
            self.assertNotEqual(copy, message)


class ResponseTests(SynchronousTestCase):
    def test_of_a_request(self) -> None:
        """RFC 3261 section 8.2.6."""
        response = invite().response(
            180, headers=[("Contact", "<sip:room@b>;isfocus")], body=b"x", to_tag="ours"
        )
        self.assertEqual((response.status, response.reason, response.body), (180, "Ringing", b"x"))
        self.assertEqual(
            list(response.headers),
            [
                ("Via", invite().headers.get("Via")),
                ("From", '"Alice" <sip:alice@example.com>;tag=8f7c6e'),
                ("To", "<sip:room@conf.example.com>;tag=ours"),
                ("Call-ID", "7c4bf2@10.0.0.5"),
                ("CSeq", "297 INVITE"),
                ("Contact", "<sip:room@b>;isfocus"),
            ],
        )
        self.assertEqual(parse_message(bytes(response)).to.tag, "ours")

    def test_tag_of_the_request_stays(self) -> None:
        request = invite(
            b"To: <sip:room@conf.example.com>", b"t: sip:room@conf.example.com;tag=old"
        )
        response = request.response(200, to_tag="new")
        self.assertEqual(response.headers.get("To"), "sip:room@conf.example.com;tag=old")

    def test_trying_returns_the_timestamp(self) -> None:
        self.assertEqual(invite().response(100).headers.get("Timestamp"), "54.2")
        self.assertIsNone(invite().response(200).headers.get("Timestamp"))

    def test_phrases(self) -> None:
        self.assertEqual(invite().response(489).reason, "Bad Event")
        self.assertEqual(invite().response(489, "No Such Event").reason, "No Such Event")
        self.assertEqual(invite().response(499).reason, "")

    def test_read(self) -> None:
        data = bytes(invite().response(486, to_tag="x"))
        response = parse_message(data)
        assert isinstance(response, Response)
        self.assertEqual((response.status, response.reason), (486, "Busy Here"))
        self.assertEqual(bytes(response), data)

    def test_phrase_may_be_missing_with_its_space(self) -> None:
        data = bytes(invite().response(486)).replace(b"486 Busy Here", b"486")
        response = parse_message(data)
        assert isinstance(response, Response)
        self.assertEqual((response.status, response.reason), (486, ""))


class RefusalTests(ErrorCase):
    def test_start_lines(self) -> None:
        line = b"INVITE sip:room@conf.example.com SIP/2.0"
        for bad, reason, status in (
            (b"INVITE sip:room@conf.example.com", "Request-Line: expected 'METHOD uri", 400),
            (b"INVITE sip:room@conf.example.com HTTP/1.1", "Request-Line", 400),
            (b"INV@TE sip:room@conf.example.com SIP/2.0", "expected a method, got 'INV@TE'", 400),
            (b"INVITE sip:room@conf..com SIP/2.0", "Request-URI: expected a host", 400),
            (b"INVITE sip:room@conf.example.com SIP/3.0", "SIP/2.0, got 'SIP/3.0'", 505),
            (b"INVITE sip:room@conf.example.com\r\n SIP/2.0", "folded", 400),
            (b"INVITE\nsip:room@conf.example.com SIP/2.0", "CR LF", 400),
            (b"SIP/2.0 99 Low", "Status-Line: expected 'SIP/2.0 200 OK'", 400),
            (b"SIP/2.0 700 High", "Status-Line", 400),
            (b"SIP/2.0 20 0", "Status-Line", 400),
            (b"SIP/3.0 200 OK", "got 'SIP/3.0'", 400),
            (b"SIP/2.0 200 OK\nX", "CR LF", 400),
        ):
            self.altered(line, bad, reason, status)

    def test_header_lines(self) -> None:
        for bad in (
            b"no colon",
            b": no name",
            b"two words: x",
            b"X: a\rb",
            b"X: a\nb",
            b"X\xe9: y",
        ):
            error = self.altered(b"Timestamp: 54.2", bad, "expected a header field, 'Name: value'")
            self.assertTrue(error.fatal)

    def test_first_header_may_not_continue_the_start_line(self) -> None:
        self.altered(b"SIP/2.0\r\nVia", b"SIP/2.0\r\n Via", "may not be folded")

    def test_each_header_that_must_be_there(self) -> None:
        for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
            self.altered(b"\r\n" + name + b":", b"\r\nX-Was:", f"{name.decode()}: missing")

    def test_each_header_that_may_be_there_once(self) -> None:
        for name, again in (
            (b"From", b"f: <sip:a@b>"),
            (b"To", b"t: <sip:a@b>"),
            (b"Call-ID", b"i: x"),
            (b"CSeq", b"CSEQ: 297 INVITE"),
            (b"Max-Forwards", b"Max-Forwards: 69"),
            (b"Content-Type", b"c: application/sdp"),
            (b"Content-Length", b"l: 5"),
        ):
            self.altered(
                b"Timestamp: 54.2", again, f"{name.decode()}: expected once, given 2 times"
            )

    def test_each_value_that_is_checked(self) -> None:
        for header, reason in (
            (b"Via: SIP/2.0/UDP", "Via: expected 'SIP/2.0/TRANSPORT host"),
            (b"Route: <sip:a@b>;", "Route: expected ';name'"),
            (b"Record-Route: sip:a@b c", "Record-Route: expected"),
            (b"Contact: <sip:a@b:0>", "Contact: expected a port"),
            (b"Contact: *, <sip:a@b>", "Contact: expected"),
        ):
            self.altered(b"Timestamp: 54.2", header, reason)
        for old, new, reason in (
            (b"CSeq: 297 INVITE", b"CSeq: INVITE", "CSeq: expected 'number METHOD', got 'INVITE'"),
            (b"CSeq: 297 INVITE", b"CSeq: 297 invite", "CSeq: expected the method 'INVITE'"),
            (b"Max-Forwards: 69", b"Max-Forwards: 256", "Max-Forwards: expected a number from 0"),
            (b"7c4bf2@10.0.0.5", b"a b", "Call-ID: expected"),
            (b"application/sdp", b"sdp", "Content-Type: expected"),
            (b"tag=8f7c6e", b"tag=1;tag=2", "From: a parameter is given twice"),
        ):
            self.altered(old, new, reason)

    def test_reason_is_bounded_and_printable(self) -> None:
        error = self.altered(b"7c4bf2@10.0.0.5", b"\x1b\xff " + b"x" * 5000, "Call-ID")
        self.assertLess(len(error.reason), 200)
        self.assertTrue(error.reason.isascii() and error.reason.isprintable())

    def test_too_many_fields(self) -> None:
        fields = b"X: y\r\n" * (MAX_FIELDS + 1)
        error = self.altered(b"Timestamp: 54.2\r\n", fields, "at most")
        self.assertIsNotNone(error.request)
        self.assertTrue(
            parse_message(INVITE.replace(b"Timestamp", b"X: y\r\n" * 400 + b"Timestamp"))
        )

    def test_not_sip(self) -> None:
        for data in (b"", b"\r\n\r\n", b"\0" * 20, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            error = self.assertRaises(SipParseError, parse_message, data)
            self.assertIsNone(error.request)

    def test_no_empty_line(self) -> None:
        head = INVITE.partition(b"\r\n\r\n")[0]
        for data in (head, head + b"\r\n"):
            error = self.refused(data, "expected an empty line")
            self.assertIsNotNone(error.request)


class FramingTests(ErrorCase):
    """RFC 3261 section 18.3, for datagrams."""

    def test_rest_is_dropped(self) -> None:
        self.assertEqual(parse_message(INVITE + b"noise").body, b"v=0\r\n")

    def test_all_the_rest_without_a_length(self) -> None:
        data = INVITE.replace(b"Content-Length: 5\r\n", b"")
        self.assertEqual(parse_message(data + b"more").body, b"v=0\r\nmore")

    def test_too_short(self) -> None:
        self.refused(INVITE[:-1], "the body has 4 octets, fewer than the 5 announced")

    def test_bad_lengths(self) -> None:
        for value in (b"-1", b"five", b"5 5", b"0x5", b"", b"99999999999"):
            self.altered(b"Content-Length: 5", b"Content-Length: " + value, "Content-Length")


class AnswerableTests(ErrorCase):
    """What an error keeps of a request, so that its sender hears of it."""

    def test_answer_has_all_that_identifies_the_request(self) -> None:
        error = self.altered(b"Max-Forwards: 69", b"Max-Forwards: x", "Max-Forwards")
        assert error.request is not None
        response = error.request.response(error.status, to_tag="t")
        good = invite().response(400, to_tag="t")
        self.assertEqual(response.vias, good.vias)
        for name in ("From", "To", "Call-ID", "CSeq"):
            self.assertEqual(response.headers.get_all(name), good.headers.get_all(name))
        self.assertEqual(error.request.uri, invite().uri)

    def test_even_where_lines_are_broken(self) -> None:
        error = self.altered(b"Timestamp: 54.2", b"no colon", "header field")
        assert error.request is not None
        self.assertEqual(error.request.call_id, "7c4bf2@10.0.0.5")

    def test_hops_that_cannot_be_read_are_left_out(self) -> None:
        error = self.altered(b"SIP/2.0/UDP 10.0.0.5:44321", b"SIP/2.0/UDP 10.0..5", "Via")
        assert error.request is not None
        self.assertEqual([via.host for via in error.request.vias], ["proxy.example.com"])

    def test_hop_with_an_open_quote(self) -> None:
        error = self.altered(b"branch=z9hG4bK2,", b'x="y,', "Via")
        assert error.request is not None
        self.assertEqual(
            [str(via) for via in error.request.vias], ["SIP/2.0/TCP proxy.example.com"]
        )

    def test_hops_are_bounded(self) -> None:
        error = self.altered(
            b"Via:", b"Via: SIP/2.0/UDP a" + b",SIP/2.0/UDP b" * 999 + b",,", "Via"
        )
        assert error.request is not None
        self.assertEqual(len(error.request.vias), MAX_HOPS + 1)

    def test_nothing_without_a_way_back(self) -> None:
        for new in (b"Via: nonsense", b"X-Via: SIP/2.0/TCP proxy.example.com"):
            error = self.altered(b"Via: SIP/2.0/TCP proxy.example.com", new, "Via")
            self.assertIsNone(error.request)

    def test_ack_is_never_answered(self) -> None:
        error = self.refused(INVITE.replace(b"INVITE", b"ACK").replace(b"69", b"x"), "Max-Forwards")
        self.assertIsNone(error.request)

    def test_response_is_never_answered(self) -> None:
        data = bytes(invite().response(200)).replace(b"297 INVITE", b"x")
        self.assertIsNone(self.refused(data, "CSeq").request)
