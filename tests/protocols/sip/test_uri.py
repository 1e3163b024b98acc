"""URIs: sip and sips, tel, im and pres, and all others."""

from __future__ import annotations

from itertools import combinations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import OtherURI, SipURI, TelURI, parse_uri


class SipUriTests(SynchronousTestCase):
    def test_every_part(self) -> None:
        uri = SipURI.parse(
            "SIPS:alice;day=tuesday:secret@Atlanta.COM:5061;transport=tcp;lr?subject=project%20x&a="
        )
        self.assertEqual(
            uri,
            SipURI(
                "sips",
                "alice;day=tuesday",
                "secret",
                "atlanta.com",
                5061,
                (("transport", "tcp"), ("lr", None)),
                (("subject", "project x"), ("a", "")),
            ),
        )
        self.assertEqual(uri.parameter("Transport"), "tcp")
        self.assertIsNone(uri.parameter("lr"))
        self.assertTrue(uri.has_parameter("LR"))
        self.assertEqual(uri.header("Subject"), "project x")
        self.assertIsNone(uri.header("priority"))

    def test_examples_of_the_standard(self) -> None:
        """RFC 3261 section 19.1.3, and each comes back as it was."""
        for text in (
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sips:1212@gateway.com",
            "sip:alice@192.0.2.4",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
        ):
            self.assertEqual(str(SipURI.parse(text)), text)

    def test_no_user(self) -> None:
        uri = SipURI.parse("sip:atlanta.com;method=REGISTER")
        self.assertEqual((uri.user, uri.host), (None, "atlanta.com"))
        self.assertEqual(uri.key, "sip:atlanta.com")

    def test_empty_password(self) -> None:
        uri = SipURI.parse("sip:alice:@atlanta.com")
        self.assertEqual(uri.password, "")
        self.assertEqual(str(uri), "sip:alice:@atlanta.com")

    def test_escapes_are_resolved_once(self) -> None:
        uri = SipURI.parse("sip:j%40s0n%2541@example.com")
        self.assertEqual(uri.user, "j@s0n%41")

    def test_octets_that_are_not_utf8_survive(self) -> None:
        uri = SipURI.parse("sip:caf%E9@example.com")
        self.assertEqual(str(evolve(uri)), "sip:caf%E9@example.com")

    def test_what_we_write_is_escaped(self) -> None:
        uri = SipURI("sip", "a b@c", "p:w", "example.com", None, (("x", "1;2"),), (("h", "a&b"),))
        self.assertEqual(str(uri), "sip:a%20b%40c:p%3Aw@example.com;x=1%3B2?h=a%26b")

    def test_ipv6_reference(self) -> None:
        uri = SipURI.parse("sip:alice@[2001:DB8::1]:5070")
        self.assertEqual((uri.host, uri.port), ("[2001:db8::1]", 5070))
        self.assertTrue(uri.equivalent(parse_uri("sip:alice@[2001:db8:0:0::1]:5070")))
        self.assertEqual(uri.key, parse_uri("sip:alice@[2001:db8:0:0:0:0:0:1]").key)

    def test_refused(self) -> None:
        for text in (
            "",
            "sip:",
            "sip:@example.com",
            "sip:alice@",
            "sip:alice@@example.com",
            "sip:alice@example.com@example.com",
            "sip:alice@exam ple.com",
            " sip:alice@example.com",
            "sip:alice@example.com\r\n",
            "sip:al ice@example.com",
            "sip:al<ice@example.com",
            "sip:алиса@example.com",
            "sip:alice@-example.com",
            "sip:alice@example..com",
            "sip:alice@%65xample.com",
            "sip:alice@256.1.1.1",
            "sip:alice@1234",
            "sip:alice@[::1",
            "sip:alice@[::g]",
            "sip:alice@[1:2]",
            "sip:alice@[:::1]",
            "sip:alice@[fe80::1%25eth0]",
            "sip:alice@::1",
            "sip:alice@" + "a" * 256,
            "sip:alice@example.com:",
            "sip:alice@example.com:0",
            "sip:alice@example.com:65536",
            "sip:alice@example.com:99999999999999999999",
            "sip:alice@example.com;",
            "sip:alice@example.com;;lr",
            "sip:alice@example.com;=a",
            "sip:alice@example.com;a=",
            "sip:alice@example.com;a=b=c",
            "sip:alice@example.com;lr;LR",
            "sip:alice@example.com;transport=tcp;%74ransport=udp",
            "sip:alice@example.com?",
            "sip:alice@example.com?a",
            "sip:alice@example.com?=a",
            "sip:alice@example.com?a=b&",
            "sip:%4@example.com",
            "sip:%zz@example.com",
        ):
            self.assertRaises(SipSyntaxError, parse_uri, text)

    def test_hosts_of_real_networks(self) -> None:
        for host in (
            "localhost",
            "3f2a9c1b7d2e",
            "kamailio_1",
            "1.example",
            "example.com.",
            "a--b",
        ):
            self.assertEqual(SipURI.parse(f"sip:a@{host}").host, host)

    def test_errors_say_what_is_wrong(self) -> None:
        for text, words in (
            ("sip:a b@c", "white space"),
            ("sip:<a@b>", "angle brackets"),
            ("sip:é@b", "escaped as %XX"),
            ("sip:a@b;x=%5", "two hexadecimal digits"),
            ("sip:a@b:70000", "port from 1 to 65535, got '70000'"),
            ("sip:a@b..c", "host name or address, got 'b..c'"),
            ("sip:a@[::x]", "sip:user@host"),
            ("sip:a@b;lr;lr", "twice"),
        ):
            error = self.assertRaises(SipSyntaxError, parse_uri, text)
            self.assertIn(words, error.reason)


class DerivedUriTests(SynchronousTestCase):
    def test_address_of_record(self) -> None:
        uri = SipURI.parse("sips:alice:pw@Example.com:5061;transport=tcp?a=b")
        self.assertEqual(uri.aor, SipURI("sip", "alice", None, "example.com"))
        self.assertEqual(str(uri.aor), "sip:alice@example.com")

    def test_key_is_one_for_all_spellings_of_a_user(self) -> None:
        keys = {
            parse_uri(text).key
            for text in (
                "sip:alice@example.com",
                "sips:%61l%69ce:pw@EXAMPLE.com.:5061;transport=tls",
                "sip:alice@example.com;user=phone?a=b",
            )
        }
        self.assertEqual(keys, {"sip:alice@example.com"})

    def test_key_tells_users_apart(self) -> None:
        """Reserved characters and their escapes are not the same (section 19.1.4)."""
        for one, other in (
            ("sip:a%3Bb@example.com", "sip:a;b@example.com"),
            ("sip:a%2Bb@example.com", "sip:a+b@example.com"),
            ("sip:Alice@example.com", "sip:alice@example.com"),
        ):
            self.assertNotEqual(parse_uri(one).key, parse_uri(other).key)
            self.assertNotEqual(SipURI.parse(one).aor.key, SipURI.parse(other).aor.key)
            self.assertFalse(parse_uri(one).equivalent(parse_uri(other)))

    def test_spelling_of_escapes_is_kept(self) -> None:
        text = "sip:a%3bb%2B@example.com;x=%2b?y=%3f"
        self.assertEqual(str(parse_uri(text)), text)
        self.assertEqual(str(SipURI.parse(text).aor), "sip:a%3bb%2B@example.com")

    def test_with_parameters(self) -> None:
        uri = SipURI.parse("sip:alice@example.com;transport=udp;lr")
        self.assertEqual(
            str(uri.with_parameters(("Transport", "tcp"), ("ob", None))),
            "sip:alice@example.com;transport=tcp;lr;ob",
        )
        self.assertEqual(str(uri.without_parameters("TRANSPORT", "x")), "sip:alice@example.com;lr")

    def test_changed_uri_does_not_keep_old_text(self) -> None:
        uri = SipURI.parse("sip:%61@example.com;x=%41")
        self.assertEqual(str(evolve(uri, host="other.org")), "sip:a@other.org;x=A")
        self.assertEqual(str(uri.with_parameters(("x", "2"))), "sip:a@example.com;x=2")


class ComparisonTests(SynchronousTestCase):
    """RFC 3261 section 19.1.4."""

    def assert_equivalent(self, *texts: str) -> None:
        for one, other in combinations(map(parse_uri, texts), 2):
            self.assertTrue(one.equivalent(other), f"{one} and {other}")
            self.assertTrue(other.equivalent(one), f"{other} and {one}")

    def assert_different(self, *texts: str) -> None:
        for one, other in combinations(map(parse_uri, texts), 2):
            self.assertFalse(one.equivalent(other), f"{one} and {other}")
            self.assertFalse(other.equivalent(one), f"{other} and {one}")

    def test_equivalent_examples(self) -> None:
        self.assert_equivalent(
            "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"
        )
        self.assert_equivalent("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5")
        self.assert_equivalent("sip:carol@chicago.com", "sip:carol@chicago.com;security=on")
        self.assert_equivalent(
            "sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"
        )
        self.assert_equivalent(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        )
        self.assert_equivalent(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        )

    def test_different_examples(self) -> None:
        self.assert_different(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"
        )
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060")
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp")
        self.assert_different("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp")
        self.assert_different(
            "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"
        )
        self.assert_different("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4")

    def test_not_transitive(self) -> None:
        self.assert_equivalent("sip:carol@chicago.com", "sip:carol@chicago.com;security=on")
        self.assert_equivalent("sip:carol@chicago.com", "sip:carol@chicago.com;security=off")
        self.assert_different(
            "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"
        )

    def test_rules_without_an_example(self) -> None:
        self.assert_different("sip:bob@biloxi.com", "sips:bob@biloxi.com")
        self.assert_different("sip:biloxi.com", "sip:bob@biloxi.com")
        self.assert_different("sip:bob@biloxi.com", "sip:bob:pw@biloxi.com")
        self.assert_different("sip:bob:PW@biloxi.com", "sip:bob:pw@biloxi.com")
        for parameter in ("user=ip", "ttl=1", "method=INVITE", "maddr=192.0.2.1"):
            self.assert_different("sip:bob@biloxi.com", f"sip:bob@biloxi.com;{parameter}")
        self.assert_different(
            "sip:bob@biloxi.com;method=INVITE", "sip:bob@biloxi.com;method=invite"
        )
        self.assert_equivalent("sip:bob@biloxi.com;user=phone", "sip:bob@biloxi.com;USER=Phone")
        self.assert_equivalent("sip:b%c3%a9@biloxi.com", "sip:b%C3%A9@biloxi.com")
        self.assert_equivalent("sip:bob@biloxi.com;x=%41", "sip:bob@biloxi.com;%58=a")
        self.assert_different("sip:bob@biloxi.com;x=a%2Bb", "sip:bob@biloxi.com;x=a+b")
        self.assert_different("sip:+15551234@biloxi.com", "tel:+15551234")

    def test_same(self) -> None:
        uri = parse_uri("sip:alice@example.com;x=1?y=2")
        self.assertTrue(uri.equivalent(uri))
        self.assertTrue(uri.equivalent(parse_uri(str(uri))))

    def test_built_and_read_uris_compare(self) -> None:
        self.assertTrue(
            SipURI("sip", "a b", None, "example.com").equivalent(parse_uri("sip:a%20b@example.com"))
        )


class TelUriTests(SynchronousTestCase):
    """RFC 3966."""

    def test_parts(self) -> None:
        uri = parse_uri("tel:863-1234;ext=5;phone-context=+1-914-555;X=%41%3b")
        assert isinstance(uri, TelURI)
        self.assertEqual((uri.scheme, uri.number), ("tel", "863-1234"))
        self.assertEqual(uri.parameter("Phone-Context"), "+1-914-555")
        self.assertEqual(uri.parameter("x"), "A;")
        self.assertEqual(parse_uri(str(uri)), uri)
        self.assertEqual(str(parse_uri("tel:+1201;x;Y=1")), "tel:+1201;x;Y=1")
        self.assertEqual(parse_uri("tel:+1201;Y=1;x").key, "tel:+1201;x;y=1")

    def test_examples(self) -> None:
        for text in (
            "tel:+1-201-555-0123",
            "tel:7042;phone-context=example.com",
            "tel:863-1234;phone-context=+1-914-555",
            "tel:*31#;phone-context=example.com",
            "tel:911",
        ):
            self.assertEqual(str(parse_uri(text)), text)

    def test_comparison(self) -> None:
        """Section 4."""
        for one, other in (
            ("tel:+1-201-555-0123", "TEL:+1(201)5550123"),
            ("tel:7042;phone-context=example.com", "tel:70-42;Phone-Context=EXAMPLE.com"),
            ("tel:7042;phone-context=+1-914", "tel:7042;phone-context=+1914"),
            ("tel:+1201;ext=12-3", "tel:+1201;ext=123"),
            ("tel:+1201;a=1;b=2", "tel:+1201;b=2;a=1"),
            ("tel:7042ab;phone-context=x.com", "tel:7042AB;phone-context=x.com"),
        ):
            self.assertTrue(parse_uri(one).equivalent(parse_uri(other)), one)
            self.assertEqual(parse_uri(one).key, parse_uri(other).key)
        for one, other in (
            ("tel:+1201", "tel:1201"),
            ("tel:+1201", "tel:+1202"),
            ("tel:7042;phone-context=example.com", "tel:7042;phone-context=example.org"),
            ("tel:7042;phone-context=example.com", "tel:7042"),
            ("tel:+1201", "tel:+1201;ext=5"),
        ):
            self.assertFalse(parse_uri(one).equivalent(parse_uri(other)), one)
            self.assertNotEqual(parse_uri(one).key, parse_uri(other).key)

    def test_key(self) -> None:
        self.assertEqual(parse_uri("tel:+1-(555)").key, "tel:+1555")

    def test_refused(self) -> None:
        for text in (
            "tel:",
            "tel:+",
            "tel:-.-",
            "tel:+1 201",
            "tel:alice@example.com",
            "tel:+1201;",
            "tel:+1201;a_b",
            "tel:+1201;ext=1;ext=2",
            "tel:+1201;ext=%",
        ):
            self.assertRaises(SipSyntaxError, parse_uri, text)


class OtherUriTests(SynchronousTestCase):
    def test_presence_and_messaging_addresses(self) -> None:
        for scheme in ("im", "pres"):
            uri = parse_uri(f"{scheme.upper()}:fred%41@Example.com?a=b")
            assert isinstance(uri, OtherURI)
            self.assertEqual((uri.scheme, uri.user, uri.host), (scheme, "fredA", "example.com"))
            self.assertEqual(uri.key, f"{scheme}:fredA@example.com")

    def test_other_schemes_have_no_user(self) -> None:
        for text in ("mailto:fred@example.com", "urn:uuid:f81d4fae", "im:fred", "pres:@x"):
            uri = parse_uri(text)
            assert isinstance(uri, OtherURI)
            self.assertEqual((uri.user, uri.host), (None, None))
            self.assertEqual(str(uri), text)
            self.assertEqual(uri.key, text)

    def test_schemes_are_not_sip_hosts(self) -> None:
        """A policy may not take `pres:alice@example.com` for a user at a host named pres."""
        for text in ("pres:alice@example.com", "im:alice@example.com", "tel:+1201", "sip-x:a@b"):
            self.assertNotIsInstance(parse_uri(text), SipURI)
            self.assertRaises(SipSyntaxError, SipURI.parse, text)
            self.assertFalse(parse_uri(text).equivalent(parse_uri("sip:alice@example.com")))

    def test_comparison(self) -> None:
        self.assertTrue(parse_uri("im:a@EXAMPLE.com").equivalent(parse_uri("im:%61@example.com")))
        self.assertFalse(parse_uri("im:a@example.com").equivalent(parse_uri("pres:a@example.com")))

    def test_refused(self) -> None:
        for text in ("alice", "alice@example.com", ":x", "im:", "1a:b", "im:a b", "x:<y>", "x:%"):
            self.assertRaises(SipSyntaxError, parse_uri, text)
