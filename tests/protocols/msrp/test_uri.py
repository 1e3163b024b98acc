from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.uri import MAX_URI, MsrpURI

tokens = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,8}", fullmatch=True)
hosts = (
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map("[{}]".format)
)
uris = st.builds(
    MsrpURI,
    scheme=st.sampled_from(("msrp", "msrps")),
    host=hosts,
    port=st.none() | st.integers(0, 65535),
    session_id=st.none() | st.from_regex(r"[A-Za-z0-9._~+=/-]{1,20}", fullmatch=True),
    transport=st.from_regex(r"[A-Za-z0-9]{1,5}", fullmatch=True),
    parameters=st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple),
    userinfo=st.none() | st.from_regex(r"[A-Za-z0-9:%]{0,8}", fullmatch=True),
)


class ParseTests(SynchronousTestCase):
    def test_example_of_the_standard(self) -> None:
        uri = MsrpURI.parse("msrp://host.example.com:8493/asfd34;tcp")
        self.assertEqual(uri, MsrpURI("msrp", "host.example.com", 8493, "asfd34"))
        self.assertEqual(bytes(uri), b"msrp://host.example.com:8493/asfd34;tcp")
        self.assertFalse(uri.secure)

    def test_every_part(self) -> None:
        text = "msrps://bob@[2001:db8::1]:9/a+b=/c;WS;relay;x=y"
        uri = MsrpURI.parse(text.encode())
        self.assertEqual(
            uri,
            MsrpURI(
                "msrps",
                "[2001:db8::1]",
                9,
                "a+b=/c",
                "WS",
                (("relay", None), ("x", "y")),
                "bob",
            ),
        )
        self.assertEqual(str(uri), text)
        self.assertTrue(uri.secure)

    def test_uri_of_a_relay(self) -> None:
        for text in ("msrps://relay.example.com;tcp", "MSRPS://relay.example.com/;tcp"):
            uri = MsrpURI.parse(text)
            self.assertEqual(uri, MsrpURI("msrps", "relay.example.com"))
            self.assertEqual(uri.connect_port, 2855)

    def test_port_to_connect_to(self) -> None:
        self.assertEqual(MsrpURI.parse("msrp://a:9;tcp").connect_port, 9)

    def test_malformed(self) -> None:
        for text, reason in (
            ("sip:a@b", "start with msrp://"),
            ("path:msrp://a:1/b;tcp", "start with msrp://"),
            ("msrp://a:1/b", "name its transport"),
            ("msrp://a:1/b;", "the transport first"),
            ("msrp://a:1/b;x=y;tcp", "the transport first"),
            ("msrp://a:1/b c;tcp", "session id"),
            ("msrp://:1/b;tcp", "host name"),
            ("msrp://a b:1/c;tcp", "host name"),
            ("msrp://fe80::1:2855/c;tcp", "port"),
            ("msrp://[fe80::1/c;tcp", "IPv6"),
            ("msrp://[x]:1/c;tcp", "IPv6"),
            ("msrp://[fe80::1% x]:1/c;tcp", "IPv6"),
            ("msrp://[::1]1/c;tcp", "nothing but a port"),
            ("msrp://a:/b;tcp", "port"),
            ("msrp://a:65536/b;tcp", "port"),
            ("msrp://a:١/b;tcp", "port"),
            ("msrp://a:1x/b;tcp", "port"),
            ("msrp://<>@a:1/b;tcp", "before '@'"),
            ("msrp://a:1/b;tcp;", "parameter"),
            ("msrp://a:1/b;tcp;x=\r\ny", "parameter"),
            ("msrp://a:1/" + "b" * MAX_URI + ";tcp", "1024"),
        ):
            with self.subTest(text=text):
                error = self.assertRaises(MsrpSyntaxError, MsrpURI.parse, text)
                self.assertIn(reason, str(error))
        self.assertRaises(MsrpSyntaxError, MsrpURI.parse, b"msrp://\xff;tcp")

    @given(uris)
    @settings(deadline=None)
    def test_round_trip(self, uri: MsrpURI) -> None:
        self.assertEqual(MsrpURI.parse(str(uri)), uri)
        self.assertEqual(MsrpURI.parse(bytes(uri)), uri)
        self.assertTrue(uri.equivalent(uri))

    @given(st.binary() | st.text() | st.text("msrp:/@[];=%.1").map("msrp://a".__add__))
    @settings(deadline=None)
    def test_anything_gives_a_uri_or_the_error(self, text: str | bytes) -> None:
        try:
            uri = MsrpURI.parse(text)
        except MsrpSyntaxError:
            return
        self.assertEqual(MsrpURI.parse(bytes(uri)), uri)


class EquivalenceTests(SynchronousTestCase):
    """RFC 4975 §6.1."""

    def same(self, one: str, other: str) -> bool:
        result = MsrpURI.parse(one).equivalent(MsrpURI.parse(other))
        self.assertEqual(result, MsrpURI.parse(other).equivalent(MsrpURI.parse(one)))
        return result

    def test_equivalent(self) -> None:
        uri = "msrp://host.example.com:8493/asfd34;tcp"
        for other in (
            "MSRP://Host.EXAMPLE.com:8493/asfd34;TCP",
            "msrp://bob@host.example.com:8493/asfd34;tcp",
            "msrp://%68ost%2Eexample.com:8493/asfd34;tcp",
            "msrp://host.example.com:8493/asfd34;tcp;x=y",
        ):
            with self.subTest(other=other):
                self.assertTrue(self.same(uri, other))
        self.assertTrue(self.same("msrp://[::1]:1/a;tcp", "msrp://[0:0::0:1]:1/a;tcp"))

    def test_not_equivalent(self) -> None:
        uri = "msrp://host.example.com:8493/asfd34;tcp"
        for other in (
            "msrps://host.example.com:8493/asfd34;tcp",
            "msrp://host.example.org:8493/asfd34;tcp",
            "msrp://host%252Eexample.com:8493/asfd34;tcp",
            "msrp://host.example.com:8494/asfd34;tcp",
            "msrp://host.example.com/asfd34;tcp",
            "msrp://host.example.com:8493/Asfd34;tcp",
            "msrp://host.example.com:8493;tcp",
            "msrp://host.example.com:8493/asfd34;sctp",
        ):
            with self.subTest(other=other):
                self.assertFalse(self.same(uri, other))
        self.assertFalse(self.same("msrp://host/a;tcp", "msrp://host:2855/a;tcp"))
