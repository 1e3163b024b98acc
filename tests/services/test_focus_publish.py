"""The focus brings the state of rooms to the presence agent (RFC 3903)."""

from __future__ import annotations

from attrs import evolve

from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from tests.services.support import SETTINGS, UDP, FocusTestCase

ROOM = "sip:lobby@conf.example.com"
AGENT = "sip:presence.example.com"


def publication() -> Request:
    fields = [
        ("From", f"<{ROOM}>;tag=1"),
        ("To", f"<{ROOM}>"),
        ("Call-ID", "p1"),
        ("CSeq", "1 PUBLISH"),
        ("Event", "conference"),
        ("Expires", "600"),
        ("SIP-If-Match", "abc"),
    ]
    return Request("PUBLISH", parse_uri(ROOM), Headers(fields), b"<x/>")


class PublishTests(FocusTestCase):
    def test_to_the_agent_that_is_configured(self) -> None:
        self.start(evolve(SETTINGS, presence=SipURI.parse(AGENT)))
        self.places[AGENT] = [Address("udp", "192.0.2.5", 5060)]
        answer = self.focus.handle(publication())
        ((sent, target, _),) = self.wire.requests
        self.assertEqual(target, Address("udp", "192.0.2.5", 5060))
        self.assertEqual(str(sent.uri), ROOM)
        self.assertEqual(sent.headers.get("SIP-If-Match"), "abc")
        self.assertEqual(sent.headers.get("Max-Forwards"), "70")
        self.assertNotIn("Contact", sent.headers)
        self.assertNotIn("Route", sent.headers)
        response = sent.response(200, headers=(("SIP-ETag", "def"), ("Expires", "60")))
        self.layer.receive(response, UDP)
        got = self.successResultOf(answer)
        self.assertEqual((got.status, got.headers.get("SIP-ETag")), (200, "def"))

    def test_no_agent(self) -> None:
        got = self.successResultOf(self.focus.handle(publication()))
        self.assertEqual(got.status, 501)
        self.assertIn("[focus] presence", got.reason)

    def test_an_agent_in_this_process(self) -> None:
        def take(request: Request) -> Response:
            return request.response(200, headers=(("SIP-ETag", "x"),))

        self.focus.published = take
        got = self.successResultOf(self.focus.handle(publication()))
        self.assertEqual(got.headers.get("SIP-ETag"), "x")
        self.assertEqual(self.wire.requests, [])
