"""The channel's octets: what goes out comes in, and nothing else does (doc/channel.md)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_codec import (
    MAX_BODY,
    MAX_HEAD,
    ChannelParser,
    ChannelSyntaxError,
    Enveloped,
    encode,
)
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from tests.services.support import sip

INVITE = (
    b"INVITE sip:conf1@example.com\r\nTransaction: 1f\r\nFrom: <sip:alice@example.com>;tag=a\r\n"
    b"Content-Length: 4\r\n\r\nv=0\n"
)


class CodecTests(SynchronousTestCase):
    def parse(self, octets: bytes) -> list[Enveloped]:
        return ChannelParser().receive(octets)

    def refused(self, octets: bytes, why: str) -> None:
        with self.assertRaisesRegex(ChannelSyntaxError, why):
            self.parse(octets)

    def test_a_request(self) -> None:
        (found,) = self.parse(INVITE)
        self.assertEqual(found.transaction, "1f")
        assert isinstance(found.message, Request)
        self.assertEqual(found.message.method, "INVITE")
        self.assertEqual(str(found.message.uri), "sip:conf1@example.com")
        self.assertEqual(found.message.body, b"v=0\n")
        self.assertEqual(next(iter(found.message.headers))[0], "From")
        self.assertEqual(len(found.message.headers), 1)

    def test_a_response(self) -> None:
        (found,) = self.parse(b"486 Busy Here\r\nTransaction: a\r\nContent-Length: 0\r\n\r\n")
        assert isinstance(found.message, Response)
        self.assertEqual((found.message.status, found.message.reason), (486, "Busy Here"))

    def test_it_is_written_as_it_is_read(self) -> None:
        (found,) = self.parse(INVITE)
        self.assertEqual(encode(found.message, "1f"), INVITE)

    def test_what_came_from_a_client_is_carried_whole(self) -> None:
        invite = sip("INVITE", "Subject: Grüße", "X-Odd: a,b;c", body=b"\r\n\r\nx")
        (found,) = self.parse(encode(invite, "1"))
        assert isinstance(found.message, Request)
        self.assertEqual(found.message.headers.get("Subject"), "Grüße")
        self.assertEqual(found.message.body, b"\r\n\r\nx")

    def test_a_clients_own_transaction_header_is_not_ours(self) -> None:
        (found,) = self.parse(encode(sip("INVITE", "Transaction: 99"), "7"))
        self.assertEqual(found.transaction, "7")

    def test_it_does_not_depend_on_how_octets_come(self) -> None:
        parser = ChannelParser()
        found = [each for octet in INVITE * 2 for each in parser.receive(bytes([octet]))]
        self.assertEqual(found, self.parse(INVITE * 2))
        self.assertEqual(len(found), 2)

    def test_what_is_refused(self) -> None:
        self.refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: missing")
        self.refused(b"INVITE sip:a@b\r\nContent-Length: 0\r\n\r\n", "Transaction: expected")
        self.refused(
            b"INVITE sip:a@b\r\nTransaction: " + b"a" * 65 + b"\r\nContent-Length: 0\r\n\r\n",
            "Transaction: expected",
        )
        self.refused(b"? sip:a@b\r\nTransaction: 1\r\nContent-Length: 0\r\n\r\n", "METHOD uri")
        self.refused(b"BYE nothing\r\nTransaction: 1\r\nContent-Length: 0\r\n\r\n", "")
        self.refused(b"100 Trying\r\nTransaction: 1\r\nContent-Length: 0\r\n\r\n", "")
        self.refused(b"BYE a:b\r\nTransaction: 1\r\nContent-Length: -1\r\n\r\n", "Content-Length")
        self.refused(b"no colon\r\nhere\r\n\r\n", "header field")

    def test_bounds(self) -> None:
        head = b"BYE a:b\r\nTransaction: 1\r\nContent-Length: %d\r\n" % MAX_BODY
        self.refused(head.replace(b"%d" % MAX_BODY, b"%d" % (MAX_BODY + 1)) + b"\r\n", "at most")
        (found,) = self.parse(head + b"\r\n" + b"x" * MAX_BODY)
        self.assertEqual(len(found.message.body), MAX_BODY)
        self.refused(head + b"X: " + b"x" * MAX_HEAD, "at most")
        self.refused(head + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n", "at most")

    def test_what_is_too_long_is_not_written(self) -> None:
        long = Request("BYE", parse_uri("a:b"), Headers([("X", "x" * MAX_HEAD)]))
        with self.assertRaisesRegex(ChannelSyntaxError, "octets, above"):
            encode(long, "1")
        with self.assertRaisesRegex(ChannelSyntaxError, "octets, above"):
            encode(Response(200, "OK", body=b"x" * (MAX_BODY + 1)), "1")
        with self.assertRaises(SipSyntaxError):
            encode(Response(200, "OK\r\nX: y"), "1")

    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, octets: bytes) -> None:
        for prefix in (b"", b"INVITE sip:a@b\r\nTransaction: 1\r\n", b"200 OK\r\n"):
            for suffix in (b"", b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"):
                try:
                    self.parse(prefix + octets + suffix)
                except ChannelSyntaxError:
                    pass


class AddressTests(SynchronousTestCase):
    def test_both_forms(self) -> None:
        for text in ("tls:10.0.0.5:4570", "tls:[::1]:4570", "tls:chat.example.com:1", "unix:/a/b"):
            self.assertEqual(str(ChannelAddress.parse(text)), text)

    def test_others_are_refused(self) -> None:
        wrong = ("tcp:10.0.0.5:4570", "tls:10.0.0.5", "tls::1", "tls:a b:1", "tls:a:65536")
        for text in (*wrong, "unix:relative", "unix:/" + "x" * 100, "", "tls:a:x"):
            with self.assertRaises(ValueError, msg=text):
                ChannelAddress.parse(text)
