"""Header values: what they read, what they refuse, what they write."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import (
    CSeq,
    MediaType,
    NameAddr,
    Parameterized,
    Quoted,
    Reason,
    Via,
    Warning_,
    parse_name_addrs,
)
from msrpconf.protocols.sip.uri import OtherURI, SipURI, TelURI, parse_uri


class NameAddrTests(SynchronousTestCase):
    def test_display_name_uri_and_parameters(self) -> None:
        value = NameAddr.parse('"Alice \\"A\\"" <sip:alice@example.com;lr>;tag=9')
        self.assertEqual(value.display_name, 'Alice "A"')
        self.assertEqual(str(value.uri), "sip:alice@example.com;lr")
        self.assertEqual(value.tag, "9")
        self.assertEqual(str(value), '"Alice \\"A\\"" <sip:alice@example.com;lr>;tag=9')

    def test_parameters_outside_brackets_belong_to_the_header(self) -> None:
        for text in ("<sip:bob@example.com>;method=BYE", "sip:bob@example.com ; method = BYE"):
            value = NameAddr.parse(text)
            self.assertEqual(value.parameter("method"), "BYE")
            self.assertEqual(value.uri, SipURI("sip", "bob", None, "example.com"))
        inside = NameAddr.parse("<sip:bob@example.com;method=BYE>")
        self.assertIsNone(inside.parameter("method"))
        assert isinstance(inside.uri, SipURI)
        self.assertEqual(inside.uri.parameter("method"), "BYE")

    def test_refer_to_with_headers(self) -> None:
        value = NameAddr.parse("<sip:a@example.com?Replaces=1%3Bto-tag%3D2&Require=replaces>")
        assert isinstance(value.uri, SipURI)
        self.assertEqual(value.uri.header("replaces"), "1;to-tag=2")

    def test_names_without_quotes(self) -> None:
        for text, name in (
            ("A. Bell <sip:a@b>", "A. Bell"),
            ("Bell<sip:a@b>", "Bell"),
            ("Zoë Müller <sip:a@b>", "Zoë Müller"),
            ("<sip:a@b>", None),
            ('"" <sip:a@b>', ""),
        ):
            self.assertEqual(NameAddr.parse(text).display_name, name)

    def test_written_name_is_always_quoted(self) -> None:
        value = NameAddr(parse_uri("sip:a@b"), 'Bell, "Al" \\ \0')
        self.assertEqual(str(value), '"Bell, \\"Al\\" \\\\ \\\0" <sip:a@b>')

    def test_other_uris(self) -> None:
        self.assertIsInstance(NameAddr.parse("<tel:+1201;ext=5>;x").uri, TelURI)
        bare = NameAddr.parse("tel:+1201;ext=5")
        self.assertEqual(bare.uri, TelURI("+1201"))
        self.assertEqual(bare.parameter("ext"), "5")
        self.assertEqual(
            NameAddr.parse("<pres:alice@example.com>").uri, OtherURI("pres", "alice@example.com")
        )

    def test_feature_parameters_keep_their_quotes(self) -> None:
        """RFC 3840: values of feature tags stand in quotes even where a token would do."""
        text = '<sip:a@b>;isfocus;+sip.instance="<urn:uuid:1>";+g.x="y";expires=60'
        value = NameAddr.parse(text)
        self.assertTrue(value.has_parameter("IsFocus"))
        self.assertEqual(value.parameter("+sip.instance"), "<urn:uuid:1>")
        self.assertIsInstance(value.parameter("+g.x"), Quoted)
        self.assertEqual(str(value), text)

    def test_with_tag(self) -> None:
        value = NameAddr.parse("<sip:a@b>;x=1")
        self.assertIsNone(value.tag)
        self.assertEqual(str(value.with_tag("t1")), "<sip:a@b>;x=1;tag=t1")
        self.assertEqual(str(value.with_tag("t1").with_tag("t2")), "<sip:a@b>;x=1;tag=t2")
        self.assertEqual(str(value.with_parameter("X", None)), "<sip:a@b>;x")

    def test_refused(self) -> None:
        for text in (
            "",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            "<sip:a@b>>",
            "<sip:a@b> x",
            "<sip:a@b>, <sip:c@d>",
            "<sip:a@b>;",
            "<sip:a@b>;;x",
            "<sip:a@b>;x=",
            "<sip:a@b>;x=a b",
            '<sip:a@b>;x="y',
            '<sip:a@b>;x="y"z',
            "<sip:a@b>;tag=1;TAG=2",
            "< sip:a@b >",
            "<<sip:a@b>>",
            '"A <sip:a@b>',
            '"A" "B" <sip:a@b>',
            "A, B <sip:a@b>",
            "sip:a@b?x=y",
            "sip:a,b@c",
            "sip:alice;day=tuesday@example.com",
            '"A\r\nB" <sip:a@b>',
        ):
            self.assertRaises(SipSyntaxError, NameAddr.parse, text)

    def test_list(self) -> None:
        values = parse_name_addrs('"A, B" <sip:a@b;x=1>;q=1 ,<sip:c,d@e> , sip:f@g')
        self.assertEqual(
            [str(value.uri) for value in values], ["sip:a@b;x=1", "sip:c,d@e", "sip:f@g"]
        )
        for text in ("<sip:a@b>,", "<sip:a@b>,,<sip:c@d>", '<sip:a@b>,"', "<sip:a@b>,<"):
            self.assertRaises(SipSyntaxError, parse_name_addrs, text)


class ViaTests(SynchronousTestCase):
    def test_hop(self) -> None:
        via = Via.parse("SIP / 2.0 / tcp Host.example.com : 5070 ;branch= z9hG4bK1;rport")
        self.assertEqual((via.transport, via.host, via.port), ("TCP", "host.example.com", 5070))
        self.assertEqual(via.branch, "z9hG4bK1")
        self.assertTrue(via.wants_rport)
        self.assertIsNone(via.rport)
        self.assertEqual(str(via), "SIP/2.0/TCP host.example.com:5070;branch=z9hG4bK1;rport")

    def test_where_it_came_from(self) -> None:
        via = Via.parse("SIP/2.0/UDP a;rport=5071;received=192.0.2.1")
        self.assertEqual((via.received, via.rport), ("192.0.2.1", 5071))
        self.assertEqual(via.parameter("RPORT"), "5071")
        for text in ("SIP/2.0/UDP a", "SIP/2.0/UDP a;rport=x", "SIP/2.0/UDP a;rport=0"):
            self.assertIsNone(Via.parse(text).rport)
        stamped = Via.parse("SIP/2.0/UDP a;rport;branch=b").with_parameter("rport", "1024")
        self.assertEqual(str(stamped), "SIP/2.0/UDP a;rport=1024;branch=b")

    def test_built(self) -> None:
        via = Via("udp", "Example.COM", 5060, (("branch", "z9hG4bK1"),))
        self.assertEqual(str(via), "SIP/2.0/UDP example.com:5060;branch=z9hG4bK1")

    def test_refused(self) -> None:
        for text in (
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP a",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP a:b",
            "SIP/2.0/UDP a:0",
            "SIP/2.0/UDP ::1",
            "SIP/2.0/UDP a;branch=",
            "SIP/2.0/UDP a;branch=1;branch=2",
            "SIP/2.0/UDP 300.1.1.1",
        ):
            self.assertRaises(SipSyntaxError, Via.parse, text)

    def test_salvage(self) -> None:
        for text, saved in (
            ("SIP/2.0/UDP a:5;branch=x;;y", "SIP/2.0/UDP a:5;branch=x"),
            ("SIP/2.0/UDP a b", "SIP/2.0/UDP a"),
            ("SIP/2.0/UDP a;branch=x b", "SIP/2.0/UDP a;branch=x"),
            ('SIP/2.0/UDP a;branch=x;y="z', "SIP/2.0/UDP a;branch=x"),
            ("SIP/2.0/UDP a;branch=x;BRANCH=y", "SIP/2.0/UDP a"),
            ("SIP/2.0/UDP a..b", None),
            ("nonsense", None),
        ):
            via = Via.salvage(text)
            self.assertEqual(None if via is None else str(via), saved)


class CSeqTests(SynchronousTestCase):
    def test_number_and_method(self) -> None:
        self.assertEqual(CSeq.parse("0009   INVITE"), CSeq(9, "INVITE"))
        self.assertEqual(str(CSeq(9, "INVITE")), "9 INVITE")
        self.assertEqual(CSeq.parse("4294967295 X").number, 2**32 - 1)

    def test_refused(self) -> None:
        for text in ("", "1", "INVITE", "1INVITE", "-1 INVITE", "4294967296 A", "1 A B", "٣ A"):
            self.assertRaises(SipSyntaxError, CSeq.parse, text)

    def test_error_says_what_is_due(self) -> None:
        error = self.assertRaises(SipSyntaxError, CSeq.parse, "one INVITE")
        self.assertEqual(error.reason, "expected 'number METHOD', got 'one INVITE'")


class MediaTypeTests(SynchronousTestCase):
    def test_parts(self) -> None:
        value = MediaType.parse('Multipart/Mixed ; Boundary="a b"')
        self.assertEqual((value.type, value.subtype), ("multipart", "mixed"))
        self.assertEqual(value.essence, "multipart/mixed")
        self.assertEqual(value.parameter("boundary"), "a b")
        self.assertEqual(str(value), 'multipart/mixed;Boundary="a b"')

    def test_parameters_of_mail_software(self) -> None:
        value = MediaType.parse("multipart/related;boundary=----=_Part/1:2;type=text/plain")
        self.assertEqual(value.parameter("boundary"), "----=_Part/1:2")
        self.assertEqual(
            str(value), 'multipart/related;boundary="----=_Part/1:2";type="text/plain"'
        )

    def test_range(self) -> None:
        self.assertEqual(MediaType.parse("*/*").essence, "*/*")

    def test_refused(self) -> None:
        for text in ("", "text", "text/", "/plain", "text/plain x", "text/plain;a=b,c"):
            self.assertRaises(SipSyntaxError, MediaType.parse, text)


class OtherValueTests(SynchronousTestCase):
    def test_parameterized(self) -> None:
        event = Parameterized.parse("refer ; id=93809824")
        self.assertEqual((event.value, event.parameter("ID")), ("refer", "93809824"))
        self.assertEqual(str(event), "refer;id=93809824")
        replaces = Parameterized.parse("98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff")
        self.assertEqual(replaces.value, "98732@sip.example.com")
        for text in ("", ";id=1", "a;", "a\nb"):
            self.assertRaises(SipSyntaxError, Parameterized.parse, text)

    def test_reason(self) -> None:
        text = 'SIP;cause=200;text="Call completed elsewhere"'
        reason = Reason.parse(text)
        self.assertEqual(reason, Reason("SIP", 200, "Call completed elsewhere"))
        self.assertEqual(str(reason), text)
        self.assertEqual(str(Reason("SIP", 503, "Busy")), 'SIP;cause=503;text="Busy"')
        self.assertEqual(Reason.parse("Q.850;location=LN"), Reason("Q.850"))
        for bad in ("", "a b", "SIP;cause=x"):
            self.assertRaises(SipSyntaxError, Reason.parse, bad)

    def test_warning(self) -> None:
        text = '399 isi.edu:5060 "Say \\"no\\""'
        warning = Warning_.parse(text)
        self.assertEqual(warning, Warning_(399, "isi.edu:5060", 'Say "no"'))
        self.assertEqual(str(warning), text)
        for bad in ("", '1812 a "b"', '399 "b"', "399 a b"):
            self.assertRaises(SipSyntaxError, Warning_.parse, bad)
