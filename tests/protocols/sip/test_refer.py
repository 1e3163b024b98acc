"""Refer-To in each form that clients write (RFC 3515, RFC 4579 §5.11)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.refer import ReferTo, target_dialog, wants_no_subscription
from msrpconf.protocols.sip.uri import parse_uri


def refer(*headers: tuple[str, str]) -> Request:
    return Request("REFER", parse_uri("sip:conf1@conf.example.com"), Headers(headers))


def refer_to(value: str) -> ReferTo:
    return ReferTo.of_request(refer(("Refer-To", value)))


class ReferToTests(SynchronousTestCase):
    def test_the_method_wherever_it_stands(self) -> None:
        for value in (
            "<sip:alice@home.com;method=BYE>",
            "<sip:alice@home.com>;method=BYE",
            "sip:alice@home.com;method=BYE",
            "<sip:alice@home.com?method=BYE>",
            "<sip:alice@home.com;method=bye>",
            "<sip:alice@home.com;method=BYE>;method=INVITE",
        ):
            with self.subTest(value):
                found = refer_to(value)
                self.assertEqual((str(found.uri), found.method), ("sip:alice@home.com", "BYE"))
                self.assertEqual((found.call_id, found.tags), (None, frozenset()))

    def test_no_method_is_invite(self) -> None:
        found = refer_to('"Carol C." <sip:carol@example.com:5070;transport=tcp>')
        self.assertEqual(found.method, "INVITE")
        self.assertEqual(str(found.uri), "sip:carol@example.com:5070;transport=tcp")
        self.assertEqual(found.display_name, "Carol C.")

    def test_the_dialog_that_is_meant(self) -> None:
        found = refer_to(
            "<sip:alice@192.0.2.9:5070;method=BYE?Call-ID=2366%40home.com"
            "&From=%3Csip:conf1%40conf.example.com%3E%3Btag%3D123x"
            "&To=sip:alice%40home.com%3Btag%3D887s>"
        )
        self.assertEqual(str(found.uri), "sip:alice@192.0.2.9:5070")
        self.assertEqual(found.call_id, "2366@home.com")
        self.assertEqual(found.tags, {"123x", "887s"})

    def test_a_tag_in_a_parameter(self) -> None:
        for value in ("<sip:a@h:5070>;tag=887s;method=BYE", "<sip:a@h:5070;tag=887s;method=BYE>"):
            found = refer_to(value)
            self.assertEqual((str(found.uri), found.tags), ("sip:a@h:5070", {"887s"}))

    def test_headers_do_not_survive(self) -> None:
        """What we send to the target is ours to say (RFC 3261 §19.1.5)."""
        found = refer_to("<sip:bob@example.com?Route=%3Csip:evil%3E&body=x&From=%22>")
        self.assertEqual(str(found.uri), "sip:bob@example.com")

    def test_gruu_without_brackets(self) -> None:
        found = refer_to("sip:alice@home.com;gr=urn:uuid:f81d;method=BYE")
        self.assertEqual(str(found.uri), "sip:alice@home.com;gr=urn:uuid:f81d")

    def test_a_list(self) -> None:
        found = refer_to("<cid:cn35t8jf02@example.com>")
        self.assertEqual(found.content_id, "cid:cn35t8jf02@example.com")
        self.assertIsNone(refer_to("<sip:cid@example.com>").content_id)

    def test_refused(self) -> None:
        self.assertRaises(SipSyntaxError, ReferTo.of_request, refer())
        self.assertRaises(SipSyntaxError, refer_to, "<sip:a@b>, <sip:c@d>")
        self.assertRaises(SipSyntaxError, refer_to, "<sip:a@b;method=%20>")
        self.assertRaises(SipSyntaxError, refer_to, "alice")


class WishTests(SynchronousTestCase):
    def test_no_subscription(self) -> None:
        self.assertFalse(wants_no_subscription(refer()))
        self.assertFalse(wants_no_subscription(refer(("Supported", "norefersub"))))
        self.assertTrue(wants_no_subscription(refer(("Refer-Sub", "False;x=y"))))
        self.assertTrue(wants_no_subscription(refer(("Require", "multiple-refer,NoReferSub"))))
        self.assertFalse(
            wants_no_subscription(refer(("Refer-Sub", "true"), ("Require", "norefersub")))
        )

    def test_target_dialog(self) -> None:
        self.assertIsNone(target_dialog(refer()))
        value = "fa77as7dad8-sd98ajzz@host.example.com ;local-tag=kkaz- ;remote-tag=6544"
        self.assertEqual(
            target_dialog(refer(("Target-Dialog", value))),
            ("fa77as7dad8-sd98ajzz@host.example.com", "kkaz-", "6544"),
        )
        for wrong in ("call-1", "call-1;local-tag=a", "call-1;local-tag;remote-tag=b"):
            self.assertRaises(SipSyntaxError, target_dialog, refer(("Target-Dialog", wrong)))
