from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Address, Flow, quota_key

HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,5})?", fullmatch=True),
)
ENDPOINTS = st.tuples(HOSTS, st.integers(0, 65535))
TRANSPORTS = st.sampled_from(["udp", "tcp", "tls"])


class AddressTests(SynchronousTestCase):
    def test_parse(self) -> None:
        for text, expected in (
            ("udp:127.0.0.1:5060", ("udp", "127.0.0.1", 5060)),
            ("TCP:[::1]:0", ("tcp", "::1", 0)),
            ("tcp:[2001:DB8:0::1]:5060", ("tcp", "2001:db8::1", 5060)),
            ("tls:Proxy.Example.COM:5061", ("tls", "proxy.example.com", 5061)),
        ):
            with self.subTest(text):
                address = Address.parse(text)
                self.assertEqual((address.transport, address.host, address.port), expected)

    def test_str(self) -> None:
        self.assertEqual(str(Address("tcp", "::1", 5060)), "tcp:[::1]:5060")
        self.assertEqual(Address("tcp", "::1", 5060).sent_by, "[::1]:5060")
        self.assertEqual(str(Address("udp", "127.0.0.1", 5060)), "udp:127.0.0.1:5060")

    def test_refused(self) -> None:
        for text in (
            "",
            "127.0.0.1:5060",
            "udp:127.0.0.1",
            "udp:127.0.0.1:70000",
            "udp:::1:5060",
            "udp:[::1:5060",
            "udp:[127.0.0.1]:5060",
            "sctp:127.0.0.1:5060",
            "udp:a b:5060",
            "udp:-x-:5060",
            "udp:127.0.0.1:５０６０",
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                Address.parse(text)

    def test_an_error_says_what_would_be_right(self) -> None:
        error = self.assertRaises(ValueError, Address.parse, "sctp:127.0.0.1:5060")
        self.assertIn("udp, tcp, tls", str(error))

    @settings(max_examples=100, deadline=None)
    @given(TRANSPORTS, ENDPOINTS)
    def test_round_trip(self, transport: str, endpoint: tuple[str, int]) -> None:
        address = Address(transport, *endpoint)
        self.assertEqual(Address.parse(str(address)), address)

    def test_reliable(self) -> None:
        reliable = [Address(name, "127.0.0.1", 1).reliable for name in ("udp", "tcp", "tls")]
        self.assertEqual(reliable, [False, True, True])


class FlowTests(SynchronousTestCase):
    def test_token(self) -> None:
        flow = Flow("tcp", ("192.0.2.1", 5060), ("2001:db8::9", 34567), 12)
        self.assertEqual(str(flow), "tcp/192.0.2.1:5060/[2001:db8::9]:34567/12")
        self.assertEqual(flow.peer, Address("tcp", "2001:db8::9", 34567))

    @settings(max_examples=100, deadline=None)
    @given(TRANSPORTS, ENDPOINTS, ENDPOINTS, st.integers(0, 2**63))
    def test_round_trip(
        self, transport: str, local: tuple[str, int], remote: tuple[str, int], serial: int
    ) -> None:
        flow = Flow(transport, local, remote, serial)
        token = str(flow)
        self.assertEqual(Flow.parse(token), flow)
        self.assertFalse(set(token) & set(' ,;"<>'))

    @settings(max_examples=100, deadline=None)
    @given(st.text())
    def test_any_text_gives_a_flow_or_value_error(self, text: str) -> None:
        for candidate in (text, f"tcp/127.0.0.1:1/{text}/1", f"udp/127.0.0.1:1/127.0.0.1:2/{text}"):
            try:
                Flow.parse(candidate)
            except ValueError:
                pass

    def test_refused(self) -> None:
        for text in ("", "tcp", "xyz/127.0.0.1:1/127.0.0.1:2/0", "udp/127.0.0.1:1/127.0.0.1:2/-1"):
            with self.subTest(text), self.assertRaises(ValueError):
                Flow.parse(text)


class QuotaKeyTests(SynchronousTestCase):
    def test_an_ipv6_network_counts_as_one_peer(self) -> None:
        self.assertEqual(quota_key("2001:db8::1"), quota_key("2001:db8::ffff:1"))
        self.assertNotEqual(quota_key("2001:db8::1"), quota_key("2001:db8:0:1::1"))
        self.assertNotEqual(quota_key("192.0.2.1"), quota_key("192.0.2.2"))
