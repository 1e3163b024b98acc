"""REFER and NOTIFY at the focus, both ways (RFC 3515, RFC 4488, RFC 5366, RFC 5368)."""

from __future__ import annotations

from attrs import evolve

from msrpconf.conference.control import CONFERENCE, FLOW
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Headers, Request
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.services.focus_checks import METHODS
from tests.services.support import CLIENT, SETTINGS, UDP, FocusTestCase, room_of, sip

FEATURES = f';methods="{",".join(METHODS)}";automata;isfocus;message'
ROOM = "sip:lobby@conf.example.com"
TO_BOB = "Refer-To: <sip:bob@example.com;method=BYE>"


class FromClientTests(FocusTestCase):
    def test_refer_to_a_room(self) -> None:
        for tag in (None, "local.77"):
            with self.subTest(tag=tag):
                self.start()
                self.receive(sip("REFER", TO_BOB, "Record-Route: <sip:p1;lr>", to_tag=tag))
                [asked] = self.channel.asked
                self.assertEqual(asked.headers.get("Refer-To"), "<sip:bob@example.com;method=BYE>")
                self.assertEqual(room_of(asked), ROOM)
                self.assertEqual(asked.headers.get(FLOW), str(UDP))
                self.channel.answer(202, headers=(("Refer-Sub", "false"),))
                response = self.last()
                self.assertEqual((response.status, response.reason), (202, "Accepted"))
                self.assertEqual(response.headers.get("Refer-Sub"), "false")
                # It begins a dialog, in which NOTIFYs go and come.
                self.assertTrue(response.contacts[0].has_parameter("isfocus"))
                self.assertEqual(response.headers.get_all("Record-Route"), ["<sip:p1;lr>"])
                self.seconds(40)
                self.assertEqual(self.wire.statuses, [202])

    def test_what_it_may_require(self) -> None:
        self.receive(sip("REFER", TO_BOB, "Require: multiple-refer,norefersub, tdialog"))
        self.assertEqual(self.channel.methods, ["REFER"])
        self.start()
        response = self.assertRefused(sip("REFER", TO_BOB, "Require: gruu"), 420)
        self.assertEqual(response.headers.get("Unsupported"), "gruu")

    def test_a_list_in_an_invite(self) -> None:
        for headers in ((), ("Require: recipient-list-invite",)):
            self.start()
            body = b"--b\r\n\r\n--b--\r\n"
            self.receive(
                sip("INVITE", *headers, body=body, content_type="multipart/mixed;boundary=b")
            )
            self.assertEqual(self.channel.asked[0].body, body)
        # RFC 5366 §5.1: it means nothing in a dialog.
        self.start()
        response = self.assertRefused(
            sip("INVITE", "Require: Recipient-List-Invite", to_tag="local.77"), 420
        )
        self.assertEqual(response.headers.get("Unsupported"), "Recipient-List-Invite")

    def test_bodies(self) -> None:
        for method, content_type, status in (
            ("REFER", "application/resource-lists+xml", None),
            ("REFER", "text/plain", 415),
            ("NOTIFY", "message/sipfrag;version=2.0", None),
            ("NOTIFY", "text/plain", 415),
            ("INVITE", "message/sipfrag", 415),
        ):
            with self.subTest(f"{method} {content_type}"):
                self.start()
                tag = "local.77" if method == "NOTIFY" else None
                request = sip(method, to_tag=tag, body=b"x", content_type=content_type)
                if status is None:
                    self.receive(request)
                    self.assertEqual(self.channel.asked[0].body, b"x")
                else:
                    self.assertRefused(request, status)

    def test_notify_belongs_to_a_dialog(self) -> None:
        self.assertRefused(sip("NOTIFY"), 481, "NOTIFY outside a dialog")
        self.start()
        self.receive(sip("NOTIFY", "Event: refer", to_tag="local.77"))
        self.channel.answer(200)
        self.assertEqual(self.wire.statuses, [200])

    def test_not_while_the_end_is_near(self) -> None:
        self.focus.closing = True
        self.assertRefused(sip("REFER", TO_BOB), 503)
        self.receive(sip("REFER", TO_BOB, to_tag="local.77", branch="z9hG4bKtwo"))
        self.assertEqual(self.channel.methods, ["REFER"])


class FromServerTests(FocusTestCase):
    """What a room sends to somebody it has no dialog with."""

    def invite(self, to: str = "sip:bob@example.com") -> Request:
        """The REFER that goes out for an invitation."""
        headers = Headers(
            [
                ("From", f"<{ROOM}>;tag=local.1"),
                ("To", f"<{to}>"),
                ("Call-ID", "invitation-1"),
                ("CSeq", "1 REFER"),
                ("Refer-To", f"<{ROOM}>"),
                (CONFERENCE, ROOM),
            ]
        )
        self.answer = self.focus.handle(Request("REFER", parse_uri(to), headers))
        [(sent, _, _)] = self.wire.requests
        self.assertNotIn(CONFERENCE, sent.headers)
        return sent

    def test_straight_to_the_invitee(self) -> None:
        self.places["sip:bob@example.com"] = [Address("udp", *CLIENT)]
        sent = self.invite()
        here = "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"
        self.assertEqual(sent.headers.get("Refer-To"), f"<{here}>")
        self.assertEqual(sent.headers.get("Contact"), f"<{here}>{FEATURES}")
        self.assertEqual(sent.headers.get("From"), f"<{ROOM}>;tag=local.1")
        self.assertEqual(sent.headers.get("Max-Forwards"), "70")
        self.assertNotIn("Route", sent.headers)
        self.layer.receive(sent.response(202, to_tag="b"), UDP)
        self.assertEqual(self.successResultOf(self.answer).status, 202)

    def test_each_address_has_a_form_of_its_own(self) -> None:
        self.places["sip:bob@example.com"] = [Address("tcp", *CLIENT)]
        sent = self.invite()
        here = "sip:lobby@192.0.2.1:5060;transport=tcp;room-domain=conf.example.com"
        self.assertEqual(sent.headers.get("Refer-To"), f"<{here}>")

    def test_by_the_outbound_proxy(self) -> None:
        proxy = SipURI.parse("sip:proxy.example.com")
        for form, expected in (
            ("auto", ROOM),
            ("conference", ROOM),
            ("address", "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"),
        ):
            self.start(evolve(SETTINGS, outbound_proxy=proxy, contact=form))
            self.places[str(proxy)] = [Address("udp", "192.0.2.5", 5060)]
            sent = self.invite()
            self.assertNotIn("Route", sent.headers)
            self.assertEqual(self.wire.requests[0][1], Address("udp", "192.0.2.5", 5060))
            self.assertEqual(str(sent.uri), "sip:bob@example.com")
            self.assertEqual(sent.headers.get("Refer-To"), f"<{expected}>")
            self.assertEqual(sent.headers.get("Contact"), f"<{expected}>{FEATURES}")

    def test_a_telephone_number_by_the_proxy(self) -> None:
        proxy = SipURI.parse("sip:proxy.example.com")
        self.start(evolve(SETTINGS, outbound_proxy=proxy))
        self.places[str(proxy)] = [Address("udp", "192.0.2.5", 5060)]
        self.assertEqual(str(self.invite("tel:+12015550123").uri), "tel:+12015550123")

    def test_leads_nowhere(self) -> None:
        headers = Headers([("From", f"<{ROOM}>;tag=1"), ("To", "<sip:x@nowhere.example>")])
        for name, value in (("Call-ID", "c"), ("CSeq", "1 REFER"), (CONFERENCE, ROOM)):
            headers.add(name, value)
        answer = self.focus.handle(Request("REFER", parse_uri("sip:x@nowhere.example"), headers))
        response = self.successResultOf(answer)
        self.assertEqual(response.status, 503)
        self.assertIn("leads nowhere", response.reason)

    def test_in_a_dialog_nothing_is_added(self) -> None:
        self.live.add(UDP)
        request = Request(
            "NOTIFY",
            parse_uri("sip:alice@192.0.2.9:5070"),
            Headers(
                [
                    ("From", f"<{ROOM}>;tag=local.1"),
                    ("To", "<sip:alice@example.com>;tag=a1"),
                    ("Call-ID", "call-1"),
                    ("CSeq", "1 NOTIFY"),
                    ("Contact", "<sip:lobby@192.0.2.1>;isfocus"),
                    (FLOW, str(UDP)),
                ]
            ),
        )
        self.start(evolve(SETTINGS, outbound_proxy=SipURI.parse("sip:proxy.example.com")))
        self.live.add(UDP)
        self.focus.handle(request)
        [(sent, _, _)] = self.wire.requests
        self.assertEqual(sent.headers.get_all("Contact"), ["<sip:lobby@192.0.2.1>;isfocus"])
        self.assertNotIn("Route", sent.headers)
        self.assertNotIn(FLOW, sent.headers)
