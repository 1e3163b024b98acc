"""RFC 3261 section 12, and the examples of section 16.12.1."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import (
    Headers,
    Message,
    Request,
    Response,
    SipSyntaxError,
    parse_message,
)
from msrpconf.protocols.sip.outgoing import outgoing
from msrpconf.protocols.sip.uri import parse_uri


def invite(
    *record_routes: str,
    contact: str | None = "sip:caller@u1.example.com",
    uri: str = "sip:callee@domain.com",
    from_: str = '"The Caller" <sip:caller@example.com>;tag=caller-tag',
    transport: str = "UDP",
    method: str = "INVITE",
    cseq: int = 7,
) -> Request:
    """An INVITE as it reaches the callee."""
    headers = Headers(
        [
            ("Via", f"SIP/2.0/{transport} u1.example.com;branch=z9hG4bKx"),
            ("From", from_),
            ("To", "<sip:callee@domain.com>"),
            ("Call-ID", "call-1"),
            ("CSeq", f"{cseq} {method}"),
        ]
    )
    for route in record_routes:
        headers.add("Record-Route", route)
    if contact is not None:
        headers.add("Contact", contact)
    return Request(method, parse_uri(uri), headers)


def answer(request: Request, contact: str = "sip:callee@u2.domain.com") -> Response:
    """The 200 as it reaches the caller, with the Record-Route of the request."""
    routes = [("Record-Route", route) for route in request.headers.get_all("Record-Route")]
    return request.response(200, headers=[*routes, ("Contact", contact)], to_tag="callee-tag")


def lines(message: Message) -> list[str]:
    """Request line and routes, as the RFC shows them."""
    assert isinstance(message, Request)
    return [f"{message.method} {message.uri}", *message.headers.get_all("Route")]


class CreationTests(SynchronousTestCase):
    def test_at_the_callee(self) -> None:
        """Section 12.1.1."""
        request = invite("<sip:p2.domain.com;lr>;x=1", "<sip:p1.example.com;lr>")
        self.assertEqual(
            Dialog.from_request(request, "callee-tag"),
            Dialog(
                call_id="call-1",
                local_tag="callee-tag",
                remote_tag="caller-tag",
                local_uri="<sip:callee@domain.com>",
                remote_uri='"The Caller" <sip:caller@example.com>',
                remote_target=parse_uri("sip:caller@u1.example.com"),
                route_set=("<sip:p2.domain.com;lr>;x=1", "<sip:p1.example.com;lr>"),
                local_cseq=0,
                remote_cseq=7,
                secure=False,
            ),
        )

    def test_at_the_caller(self) -> None:
        """Section 12.1.2."""
        request = invite("<sip:p2.domain.com;lr>, <sip:p1.example.com;lr>")
        self.assertEqual(
            Dialog.from_response(request, answer(request)),
            Dialog(
                call_id="call-1",
                local_tag="caller-tag",
                remote_tag="callee-tag",
                local_uri='"The Caller" <sip:caller@example.com>',
                remote_uri="<sip:callee@domain.com>",
                remote_target=parse_uri("sip:callee@u2.domain.com"),
                route_set=("<sip:p1.example.com;lr>", "<sip:p2.domain.com;lr>"),
                local_cseq=7,
                remote_cseq=None,
                secure=False,
            ),
        )

    def test_both_sides_name_the_same_dialog(self) -> None:
        request = invite()
        callee = Dialog.from_request(request, "callee-tag")
        caller = Dialog.from_response(request, answer(request))
        self.assertEqual(callee.id, ("call-1", "callee-tag", "caller-tag"))
        self.assertEqual(caller.id, ("call-1", "caller-tag", "callee-tag"))

    def test_secure(self) -> None:
        for uri, transport, secure in (
            ("sips:callee@domain.com", "TLS", True),
            ("sips:callee@domain.com", "TCP", False),
            ("sip:callee@domain.com", "TLS", False),
        ):
            with self.subTest(f"{uri} {transport}"):
                request = invite(uri=uri, transport=transport)
                dialogs = (
                    Dialog.from_request(request, "t"),
                    Dialog.from_response(request, answer(request)),
                )
                self.assertEqual([dialog.secure for dialog in dialogs], [secure, secure])

    def test_a_request_that_came_by_a_channel_has_no_via(self) -> None:
        request = invite(uri="sips:callee@domain.com")
        request.headers.remove("Via")
        self.assertTrue(Dialog.from_request(request, "t").secure)

    def test_no_contact(self) -> None:
        with self.assertRaises(SipSyntaxError):
            Dialog.from_request(invite(contact=None), "t")
        with self.assertRaises(SipSyntaxError):
            Dialog.from_request(invite(contact="*"), "t")

    def test_a_peer_of_rfc_2543_has_no_tag(self) -> None:
        dialog = Dialog.from_request(invite(from_="<sip:caller@example.com>"), "callee-tag")
        self.assertIsNone(dialog.remote_tag)
        _, bye = dialog.request("BYE")
        self.assertEqual(bye.headers.get("To"), "<sip:caller@example.com>")

    def test_addr_specs_get_their_brackets(self) -> None:
        dialog = Dialog.from_request(invite(from_="sip:caller@example.com;tag=a"), "callee-tag")
        _, bye = dialog.request("BYE")
        self.assertEqual(bye.headers.get("To"), "<sip:caller@example.com>;tag=a")


class RequestTests(SynchronousTestCase):
    """Section 12.2.1.1."""

    def setUp(self) -> None:
        self.dialog = Dialog.from_request(invite(), "callee-tag")

    def test_headers(self) -> None:
        dialog, bye = self.dialog.request("BYE", [("Reason", "SIP;cause=200")], b"x")
        self.assertEqual(
            list(bye.headers),
            [
                ("From", "<sip:callee@domain.com>;tag=callee-tag"),
                ("To", '"The Caller" <sip:caller@example.com>;tag=caller-tag'),
                ("Call-ID", "call-1"),
                ("CSeq", "1 BYE"),
                ("Reason", "SIP;cause=200"),
            ],
        )
        self.assertEqual((bye.body, dialog.local_cseq), (b"x", 1))

    def test_numbers_grow_by_one(self) -> None:
        dialog = self.dialog
        for number in (1, 2, 3):
            dialog, request = dialog.request("OPTIONS")
            self.assertEqual(request.cseq.number, number)

    def test_the_peer_can_read_it(self) -> None:
        _, bye = self.dialog.request("BYE")
        bye.headers.prepend("Via", "SIP/2.0/UDP u2.domain.com;branch=z9hG4bKy")
        read = parse_message(bytes(bye))
        self.assertEqual((read.from_.tag, read.to.tag), ("callee-tag", "caller-tag"))

    def test_ack(self) -> None:
        request = invite("<sip:p1.example.com;lr>", cseq=7)
        dialog = Dialog.from_response(request, answer(request))
        dialog, _ = dialog.request("OPTIONS")
        ack = dialog.ack(7, [("Proxy-Authorization", "Digest x")])
        self.assertEqual(str(ack.cseq), "7 ACK")
        self.assertEqual(lines(ack), ["ACK sip:callee@u2.domain.com", "<sip:p1.example.com;lr>"])
        self.assertEqual(ack.headers.get("Proxy-Authorization"), "Digest x")
        self.assertEqual(ack.to.tag, "callee-tag")

    def test_contact_parameters_are_kept_as_they_are(self) -> None:
        # By these Kamailio finds a client behind NAT.
        contact = "sip:alice@10.0.0.7:5060;transport=tcp;alias=127.0.0.1~58888~2;Ob"
        _, bye = Dialog.from_request(invite(contact=f"<{contact}>;expires=60"), "t").request("BYE")
        self.assertTrue(bytes(bye).startswith(f"BYE {contact} SIP/2.0\r\n".encode()))

    def test_escapes_in_the_contact_are_kept(self) -> None:
        contact = "sip:%61lice%40home@10.0.0.7;x=a%20b"
        _, bye = Dialog.from_request(invite(contact=f"<{contact}>"), "t").request("BYE")
        self.assertEqual(str(bye.uri), contact)

    def test_what_a_request_uri_must_not_have(self) -> None:
        contact = "<sip:alice@10.0.0.7;method=INVITE;x=1?Subject=hello>"
        _, bye = Dialog.from_request(invite(contact=contact), "t").request("BYE")
        self.assertEqual(str(bye.uri), "sip:alice@10.0.0.7;x=1")


class RoutingTests(SynchronousTestCase):
    def test_basic_trapezoid(self) -> None:
        """Section 16.12.1.1: U1 -> P1 -> P2 -> U2."""
        request = invite(
            "<sip:p2.domain.com;lr>", "<sip:p1.example.com;lr>", uri="sip:callee@u2.domain.com"
        )
        caller = Dialog.from_response(request, answer(request))
        _, bye = caller.request("BYE")
        self.assertEqual(
            lines(bye),
            ["BYE sip:callee@u2.domain.com", "<sip:p1.example.com;lr>", "<sip:p2.domain.com;lr>"],
        )
        self.assertEqual(str(caller.next_hop), "sip:p1.example.com;lr")

    def test_a_strict_router_further_on(self) -> None:
        """Section 16.12.1.2: the callee does as if all were loose routers."""
        callee = Dialog.from_request(
            invite(
                "<sip:p4.domain.com;lr>",
                "<sip:p3.middle.com>",
                "<sip:p2.example.com;lr>",
                "<sip:p1.example.com;lr>",
            ),
            "t",
        )
        _, bye = callee.request("BYE")
        self.assertEqual(
            lines(bye),
            [
                "BYE sip:caller@u1.example.com",
                "<sip:p4.domain.com;lr>",
                "<sip:p3.middle.com>",
                "<sip:p2.example.com;lr>",
                "<sip:p1.example.com;lr>",
            ],
        )
        self.assertEqual(str(callee.next_hop), "sip:p4.domain.com;lr")

    def test_a_strict_router_first(self) -> None:
        """As P4 rewrites it in section 16.12.1.2."""
        callee = Dialog.from_request(
            invite(
                "<sip:p3.middle.com;method=INVITE>",
                "<sip:p2.example.com;lr>",
                "<sip:p1.example.com;lr>",
            ),
            "t",
        )
        _, bye = callee.request("BYE")
        self.assertEqual(
            lines(outgoing(bye, Address("udp", "192.0.2.1", 5060), "z9hG4bK1")),
            [
                "BYE sip:p3.middle.com",
                "<sip:p2.example.com;lr>",
                "<sip:p1.example.com;lr>",
                "<sip:caller@u1.example.com>",
            ],
        )

    def test_the_example_of_section_12_2_1_1(self) -> None:
        dialog = Dialog.from_request(
            invite(
                "<sip:proxy1>,<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>",
                contact="<sip:user@remoteua>",
            ),
            "t",
        )
        _, request = dialog.request("METHOD")
        self.assertEqual(
            lines(outgoing(request, Address("udp", "192.0.2.1", 5060), "z9hG4bK1")),
            [
                "METHOD sip:proxy1",
                "<sip:proxy2>",
                "<sip:proxy3;lr>",
                "<sip:proxy4>",
                "<sip:user@remoteua>",
            ],
        )
        self.assertEqual(str(dialog.next_hop), "sip:proxy1")

    def test_a_gateway_that_rewrites_record_route(self) -> None:
        """Section 16.12.1.3."""
        request = invite(uri="sip:callee@gateway.leftprivatespace.com")
        response = request.response(
            200,
            headers=[
                ("Contact", "<sip:callee@u2.rightprivatespace.com>"),
                ("Record-Route", "<sip:gateway.leftprivatespace.com;lr>"),
            ],
            to_tag="t",
        )
        _, bye = Dialog.from_response(request, response).request("BYE")
        self.assertEqual(
            lines(bye),
            ["BYE sip:callee@u2.rightprivatespace.com", "<sip:gateway.leftprivatespace.com;lr>"],
        )

    def test_both_record_routes_of_kamailio(self) -> None:
        # A TCP client and a UDP focus: Kamailio records both of its sides.
        routes = ("<sip:127.0.0.1;r2=on;lr>", "<sip:127.0.0.1;transport=tcp;r2=on;lr>")
        _, bye = Dialog.from_request(invite(*routes), "t").request("BYE")
        self.assertEqual(lines(bye)[1:], list(routes))


class AcceptTests(SynchronousTestCase):
    """Section 12.2.2."""

    def test_numbers(self) -> None:
        dialog = Dialog.from_request(invite(cseq=7), "t")
        self.assertRaises(OutOfOrder, dialog.accept, invite(method="BYE", cseq=6))
        self.assertEqual(dialog.accept(invite(method="BYE", cseq=8)).remote_cseq, 8)
        self.assertEqual(dialog.accept(invite(method="BYE", cseq=100)).remote_cseq, 100)
        self.assertEqual(OutOfOrder.status, 500)

    def test_the_first_request_to_the_caller_sets_it(self) -> None:
        request = invite()
        dialog = Dialog.from_response(request, answer(request))
        self.assertEqual(dialog.accept(invite(method="BYE", cseq=3)).remote_cseq, 3)


class RefreshTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dialog = Dialog.from_request(invite("<sip:p1.example.com;lr>"), "t")

    def test_target_refresh_requests(self) -> None:
        for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"):
            with self.subTest(method):
                request = invite(
                    "<sip:p9.example.com;lr>", method=method, contact="sip:caller@u9.example.com"
                )
                dialog = self.dialog.refresh_target(request)
                self.assertEqual(str(dialog.remote_target), "sip:caller@u9.example.com")
                self.assertEqual(dialog.route_set, self.dialog.route_set)

    def test_their_2xx(self) -> None:
        request = invite()
        dialog = self.dialog.refresh_target(answer(request, "sip:callee@u9.domain.com"))
        self.assertEqual(str(dialog.remote_target), "sip:callee@u9.domain.com")

    def test_nothing_else(self) -> None:
        failure = invite().response(302, headers=[("Contact", "sip:x@y")])
        for message in (invite(method="BYE", contact="sip:x@y"), invite(contact=None), failure):
            self.assertEqual(self.dialog.refresh_target(message), self.dialog)
