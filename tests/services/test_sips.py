"""sips URIs: by TLS or not at all (RFC 3261 §12.1.1, §26.2; RFC 5630)."""

from __future__ import annotations

from attrs import evolve

from msrpconf.conference.control import CONFERENCE, FLOW
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.headers import Warning_
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from tests.services.support import HERE, SETTINGS, TCP, TLS, UDP, FocusTestCase, sip

ROOM = "sips:lobby@conf.example.com"
PLAIN_ROOM = "sip:lobby@conf.example.com"
ALICE = "sips:alice@192.0.2.9:40124"


class AnsweringTests(FocusTestCase):
    def target(self) -> str:
        """The URI of our Contact in the last answer."""
        return str(self.last().contacts[0].uri)

    def test_480_for_what_came_without_tls(self) -> None:
        for flow in (UDP, TCP):
            for method in ("INVITE", "OPTIONS", "REFER"):
                with self.subTest(method=method, transport=flow.transport):
                    self.start()
                    response = self.assertRefused(
                        sip(method, "Refer-To: <sip:bob@example.com>", uri=ROOM),
                        480,
                        f"it came by {flow.transport.upper()}",
                        flow=flow,
                    )
                    warning = Warning_.parse(response.headers.get("Warning") or "")
                    self.assertEqual((warning.code, warning.text), (380, "SIPS Not Allowed"))

    def test_what_is_in_a_dialog_is_the_servers_to_know(self) -> None:
        self.receive(sip("BYE", uri=ROOM, to_tag="local.77"))
        self.assertEqual(self.channel.methods, ["BYE"])

    def test_our_contact(self) -> None:
        at_us = f"sips:lobby@{HERE[0]}:{HERE[1]};room-domain=conf.example.com"
        plain = f"sip:lobby@{HERE[0]}:{HERE[1]};transport=tls;room-domain=conf.example.com"
        for uri, contact, record_route, expected in (
            (ROOM, ALICE, None, at_us),
            (PLAIN_ROOM, ALICE, None, at_us),
            (PLAIN_ROOM, "sip:alice@192.0.2.9;transport=tls", None, plain),
            (ROOM, ALICE, "sips:p.example.com;lr", ROOM),
            (ROOM, ALICE, "sip:p.example.com;lr", ROOM),
            (PLAIN_ROOM, ALICE, "sips:p.example.com;lr", ROOM),
            # What counts is the Record-Route, where there is one.
            (PLAIN_ROOM, ALICE, "sip:p.example.com;lr", PLAIN_ROOM),
        ):
            with self.subTest(uri=uri, contact=contact, record_route=record_route):
                self.start()
                headers = () if record_route is None else (f"Record-Route: <{record_route}>",)
                self.receive(sip("INVITE", *headers, uri=uri, contact=f"<{contact}>"), TLS)
                self.channel.answer()
                self.assertEqual(self.target(), expected)

    def test_the_conferences_uri_if_that_is_wanted(self) -> None:
        self.start(evolve(SETTINGS, contact="conference"))
        self.receive(sip(uri=ROOM, contact=f"<{ALICE}>"), TLS)
        self.channel.answer()
        self.assertEqual(self.target(), ROOM)

    def test_in_a_dialog_it_stays(self) -> None:
        uri = f"sips:lobby@{HERE[0]}:{HERE[1]};room-domain=conf.example.com"
        self.receive(sip(uri=uri, to_tag="local.77", contact=f"<{ALICE}>"), TLS)
        self.channel.answer()
        self.assertEqual(self.target(), uri)


class SendingTests(FocusTestCase):
    def request(self, method: str, uri: str, *headers: tuple[str, str]) -> Request:
        return Request(
            method,
            parse_uri(uri),
            Headers(
                [
                    ("From", f"<{PLAIN_ROOM}>;tag=local.77"),
                    ("To", "<sip:alice@example.com>;tag=a1"),
                    ("Call-ID", "call-1"),
                    ("CSeq", f"1 {method}"),
                    *headers,
                ]
            ),
        )

    def test_every_hop_is_by_tls(self) -> None:
        # RFC 3261 §8.1.2: whatever the Route says.
        address = Address("tls", "192.0.2.7", 5061, "p.example.com")
        self.places["sips:p.example.com:5061;lr"] = [address]
        route = ("Route", "<sip:p.example.com:5061;transport=udp;lr>")
        self.focus.handle(self.request("BYE", ALICE, route))
        [(request, target, flow)] = self.wire.requests
        self.assertEqual((target, flow), (address, None))
        self.assertEqual(request.top_via.transport, "TLS")
        self.assertEqual(request.headers.get("Route"), route[1])

    def test_not_by_a_flow_without_tls(self) -> None:
        self.live |= {TCP, TLS}
        at_alice = Address("tls", "192.0.2.9", 40124)
        self.places[ALICE] = [at_alice]
        for flow, expected in ((TLS, (TLS.peer, TLS)), (TCP, (at_alice, None))):
            self.focus.handle(self.request("BYE", ALICE, (FLOW, str(flow))))
            self.assertEqual(self.wire.requests[-1][1:], expected)

    def test_a_proxy_is_asked_by_tls(self) -> None:
        proxy = SipURI.parse("sip:proxy.example.com;transport=tcp")
        self.start(evolve(SETTINGS, outbound_proxy=proxy))
        self.places["sips:proxy.example.com"] = [Address("tls", "192.0.2.5", 5061)]
        refer = self.request("REFER", "sips:bob@example.com", (CONFERENCE, PLAIN_ROOM))
        self.focus.handle(refer)
        [(sent, target, _)] = self.wire.requests
        self.assertEqual(target.transport, "tls")
        self.assertEqual(str(sent.contacts[0].uri), ROOM)
        self.assertEqual(sent.headers.get("Refer-To"), f"<{ROOM}>")

    def test_our_address_is_a_sips_uri(self) -> None:
        self.places["sips:bob@example.com"] = [Address("tls", "192.0.2.5", 5061)]
        self.focus.handle(self.request("REFER", "sips:bob@example.com", (CONFERENCE, PLAIN_ROOM)))
        [(sent, _, _)] = self.wire.requests
        expected = f"sips:lobby@{HERE[0]}:{HERE[1]};room-domain=conf.example.com"
        self.assertEqual(str(sent.contacts[0].uri), expected)

    def test_480_where_nobody_could_answer_by_tls(self) -> None:
        self.focus.listening = [Address("udp", *HERE)]
        refer = self.request("REFER", "sips:bob@example.com", (CONFERENCE, PLAIN_ROOM))
        response = self.successResultOf(self.focus.handle(refer))
        self.assertEqual(response.status, 480)
        self.assertIn("listens for no TLS", response.reason)
        self.assertIn("380", response.headers.get("Warning") or "")
        self.assertEqual(self.wire.requests, [])
        self.assertEqual(len(self.refusals), 1)
