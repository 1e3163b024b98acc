"""RFC 3261 sections 18.1.1, 18.2.1 and 18.2.2, RFC 3581."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Address, Endpoint
from msrpconf.protocols.sip.headers import Via
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.sip.via import alias_target, datagram_target, fill, stamp, stream_target


def request_with(*vias: str) -> Request:
    return Request("OPTIONS", parse_uri("sip:a@b"), Headers([("Via", via) for via in vias]))


class StampTests(SynchronousTestCase):
    def stamped(self, via: str, source: Endpoint) -> str:
        request = request_with(via)
        stamp(request, source)
        return str(request.top_via)

    def test_rows(self) -> None:
        for via, source, expected in (
            # The example of RFC 3261 section 18.2.1.
            (
                "SIP/2.0/UDP bobspc.biloxi.com:5060",
                ("192.0.2.4", 5060),
                "SIP/2.0/UDP bobspc.biloxi.com:5060;received=192.0.2.4",
            ),
            # The example of RFC 3581 section 6.
            (
                "SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff",
                ("192.0.2.1", 9988),
                "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.1",
            ),
            # With rport, received is set though it says nothing new.
            (
                "SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKx;rport",
                ("192.0.2.4", 5060),
                "SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKx;rport=5060;received=192.0.2.4",
            ),
            (
                "SIP/2.0/UDP 192.0.2.4:5070;branch=z9hG4bKx",
                ("192.0.2.4", 40000),
                "SIP/2.0/UDP 192.0.2.4:5070;branch=z9hG4bKx",
            ),
            (
                "SIP/2.0/TCP [2001:DB8::0:1]:5060;branch=z9hG4bKx",
                ("2001:db8::1", 40000),
                "SIP/2.0/TCP [2001:db8::0:1]:5060;branch=z9hG4bKx",
            ),
            (
                "SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKx",
                ("2001:db8::2", 40000),
                "SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKx;received=2001:db8::2",
            ),
            # What the sender itself wrote there is not believed.
            (
                "SIP/2.0/UDP 192.0.2.4;received=198.51.100.1;rport=9",
                ("192.0.2.4", 5060),
                "SIP/2.0/UDP 192.0.2.4;received=192.0.2.4;rport=5060",
            ),
            (
                "SIP/2.0/UDP 192.0.2.4;received=198.51.100.1",
                ("192.0.2.4", 5060),
                "SIP/2.0/UDP 192.0.2.4;received=192.0.2.4",
            ),
        ):
            with self.subTest(via):
                self.assertEqual(self.stamped(via, source), expected)

    def test_only_the_first_via_changes(self) -> None:
        request = request_with(
            "SIP/2.0/UDP a.example.com;branch=z9hG4bK1, SIP/2.0/UDP b.example.com;branch=z9hG4bK2",
            "SIP/2.0/UDP c.example.com;branch=z9hG4bK3",
        )
        stamp(request, ("192.0.2.4", 5060))
        self.assertEqual([via.received for via in request.vias], ["192.0.2.4", None, None])
        self.assertEqual([via.branch for via in request.vias], ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"])


class FillTests(SynchronousTestCase):
    def test_transport_sent_by_and_rport(self) -> None:
        request = request_with("SIP/2.0/UDP unsent.invalid;branch=z9hG4bKx", "SIP/2.0/UDP 10.0.0.1")
        fill(request, "tcp", ("2001:db8::1", 5060))
        self.assertEqual(
            [str(via) for via in request.vias],
            ["SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKx;rport", "SIP/2.0/UDP 10.0.0.1"],
        )

    def test_again(self) -> None:
        request = request_with("SIP/2.0/UDP unsent.invalid;branch=z9hG4bKx")
        fill(request, "tcp", ("192.0.2.1", 5060))
        fill(request, "udp", ("192.0.2.1", 5070))
        self.assertEqual(str(request.top_via), "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKx;rport")

    def test_a_connection_that_the_peer_may_use(self) -> None:
        request = request_with("SIP/2.0/UDP unsent.invalid;branch=z9hG4bKone")
        fill(request, "tls", ("192.0.2.1", 5061), alias=True)
        fill(request, "tls", ("192.0.2.1", 5061), alias=True)
        self.assertEqual(
            str(request.top_via), "SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKone;rport;alias"
        )


class AliasTargetTests(SynchronousTestCase):
    """RFC 5923 section 8.2."""

    def test_the_source_and_the_port_of_sent_by(self) -> None:
        for via, expected in (
            ("a.example.com:5071;alias", ("192.0.2.4", 5071)),
            ("a.example.com;branch=z9hG4bKx;alias", ("192.0.2.4", 5061)),
            ("192.0.2.9:5061;alias=1", ("192.0.2.4", 5061)),
            ("a.example.com:5071;branch=alias", None),
        ):
            with self.subTest(via):
                found = alias_target(Via.parse(f"SIP/2.0/TLS {via}"), ("192.0.2.4", 40000))
                self.assertEqual(found, expected)


class TargetTests(SynchronousTestCase):
    def test_over_udp(self) -> None:
        for via, expected in (
            ("192.0.2.4", ("192.0.2.4", 5060)),
            ("192.0.2.4:5070", ("192.0.2.4", 5070)),
            ("[2001:db8::1]:5070", ("2001:db8::1", 5070)),
            ("a.example.com:5070;received=192.0.2.4", ("192.0.2.4", 5070)),
            ("a.example.com;received=192.0.2.4", ("192.0.2.4", 5060)),
            ("10.1.1.1:4540;received=192.0.2.1;rport=9988", ("192.0.2.1", 9988)),
            ("10.1.1.1;received=[2001:db8::1];rport=9988", ("2001:db8::1", 9988)),
            ("10.1.1.1:4540;received=192.0.2.1;rport=9988;maddr=192.0.2.7", ("192.0.2.7", 4540)),
            ("10.1.1.1;received=192.0.2.1;rport=9988;maddr=evil.example", ("192.0.2.1", 9988)),
        ):
            with self.subTest(via):
                self.assertEqual(datagram_target(Via.parse(f"SIP/2.0/UDP {via}")), expected)

    def test_over_connections(self) -> None:
        for via, transport, expected in (
            ("192.0.2.4", "tcp", Address("tcp", "192.0.2.4", 5060)),
            ("192.0.2.4", "tls", Address("tls", "192.0.2.4", 5061, "192.0.2.4")),
            # By TLS it is the host of sent-by that must prove to be there.
            (
                "a.example.com:5071;received=192.0.2.4",
                "tls",
                Address("tls", "192.0.2.4", 5071, "a.example.com"),
            ),
            # rport is for UDP: nobody listens at the port that a connection came from.
            (
                "a.example.com:5070;received=192.0.2.4;rport=9",
                "tcp",
                Address("tcp", "192.0.2.4", 5070),
            ),
            ("[2001:db8::1]", "tcp", Address("tcp", "2001:db8::1", 5060)),
        ):
            with self.subTest(via):
                self.assertEqual(
                    stream_target(Via.parse(f"SIP/2.0/TCP {via}"), transport), expected
                )
