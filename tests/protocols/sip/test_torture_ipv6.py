"""The messages of RFC 5118: SIP with IPv6."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipParseError
from msrpconf.protocols.sip.message import Request, parse_message
from msrpconf.protocols.sip.uri import SipURI
from tests.protocols.sip.archive import ipv6


class Ipv6Tests(SynchronousTestCase):
    def request(self, name: str) -> Request:
        message = parse_message(ipv6(name))
        assert isinstance(message, Request)
        self.assertEqual(parse_message(bytes(message)), message)
        return message

    def target(self, name: str) -> SipURI:
        uri = self.request(name).uri
        assert isinstance(uri, SipURI)
        return uri

    def test_reference(self) -> None:
        """4.1: in the Request-URI, in Via and in Contact."""
        request = self.request("ipv6-good")
        self.assertEqual(request.uri, SipURI("sip", None, None, "[2001:db8::10]"))
        self.assertEqual(request.top_via.host, "[2001:db8::9:1]")
        contact = request.contacts[0].uri
        assert isinstance(contact, SipURI)
        self.assertEqual(contact.host, "[2001:db8::1]")

    def test_without_brackets(self) -> None:
        """4.2: refused with 400."""
        error = self.assertRaises(SipParseError, parse_message, ipv6("ipv6-bad"))
        self.assertEqual(error.status, 400)
        self.assertIn("Request-URI", error.reason)
        self.assertIsNotNone(error.request)

    def test_port_inside_the_brackets(self) -> None:
        """4.3: that is no port."""
        uri = self.target("port-ambiguous")
        self.assertEqual((uri.host, uri.port), ("[2001:db8::10:5070]", None))

    def test_port_outside_the_brackets(self) -> None:
        """4.4."""
        uri = self.target("port-unambiguous")
        self.assertEqual((uri.host, uri.port), ("[2001:db8::10]", 5070))

    def test_received_with_and_without_brackets(self) -> None:
        """4.5: both forms are read, the one without is the one to write."""
        for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
            self.assertEqual(self.request(name).top_via.received, "2001:db8::9:255")

    def test_in_sdp(self) -> None:
        """4.6: the body is nobody's business here."""
        self.assertIn(b"c=IN IP6 2001:db8::20\r\n", self.request("ipv6-in-sdp").body)

    def test_mixed_vias(self) -> None:
        """4.7."""
        vias = self.request("mult-ip-in-header").vias
        self.assertEqual(
            [(via.host, via.port, via.received) for via in vias],
            [
                ("[2001:db8::9:1]", 6050, None),
                ("192.0.2.1", None, None),
                ("[2001:db8::9:255]", None, "192.0.2.200"),
            ],
        )

    def test_mixed_sdp(self) -> None:
        """4.8."""
        body = self.request("mult-ip-in-sdp").body
        self.assertIn(b"c=IN IP4 192.0.2.1\r\n", body)
        self.assertIn(b"c=IN IP6 2001:db8::1\r\n", body)

    def test_ipv4_mapped(self) -> None:
        """4.9."""
        request = self.request("ipv4-mapped-ipv6")
        self.assertEqual(
            [(via.host, via.port) for via in request.vias],
            [("[::ffff:192.0.2.10]", 19823), ("[::ffff:192.0.2.2]", None)],
        )

    def test_third_colon(self) -> None:
        """4.10: RFC 3261's extra colon is read and not passed on."""
        uri = self.target("ipv6-bug-abnf-3-colons")
        self.assertEqual(str(uri), "sip:user@[2001:db8::192.0.2.1]")
        self.assertEqual(uri, self.target("ipv6-correct-abnf-2-colons"))
