"""How requests of ours find their way (RFC 3261 §8.1.2, §12.2.1.1, RFC 3263 §4.3)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.uri import URI
from tests.protocols.sip.fakes import TCP, UDP, Wire, make_request

CONTACT = "sip:alice@192.0.2.9:5070"
AT_CONTACT = Address("udp", "192.0.2.9", 5070)
FIRST = Address("udp", "198.51.100.1", 5060)
SECOND = Address("tcp", "198.51.100.2", 5060)
THIRD = Address("udp", "198.51.100.3", 5060)


def dialog(*routes: str, contact: str = CONTACT) -> Dialog:
    """That of a server whose client came by a proxy that recorded these routes."""
    headers = [("Contact", f"<{contact}>"), *(("Record-Route", route) for route in routes)]
    return Dialog.from_request(make_request("INVITE", headers=tuple(headers)), "local.77")


def bye(*routes: str, contact: str = CONTACT) -> Request:
    """The BYE in such a dialog."""
    return dialog(*routes, contact=contact).request("BYE")[1]


class SendingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, anew."""
        self.clock = Clock()
        self.wire = Wire()
        self.places: dict[str, list[Address]] = {}
        """Where a URI leads; what is not here leads nowhere."""
        self.live: set[Flow] = set()
        self.layer = TransactionLayer(
            self.clock, self.wire, on_request=lambda _: None, on_ack=lambda _, __: None
        )
        self.sender = RequestSender(
            self.clock, self.layer, self.locate, lambda flow: flow in self.live
        )

    def locate(self, uri: URI) -> Deferred[list[Address]]:
        found = self.places.get(str(uri))
        return succeed(found) if found else fail(LocateError(f"{uri}: leads nowhere"))

    def seconds(self, seconds: float) -> None:
        self.clock.pump([0.125] * round(seconds * 8))

    def send(self, request: Request, flow: Flow | None = None) -> Deferred[Response]:
        return self.sender.send(request, flow)

    @property
    def sent_to(self) -> list[Address]:
        return [target for _, target, _ in self.wire.requests]

    def answer(self, status: int, place: int = -1) -> None:
        request, target, flow = self.wire.requests[place]
        self.layer.receive(request.response(status), flow or Flow(target.transport, *ENDS, 9))


ENDS = (("192.0.2.1", 5060), ("192.0.2.9", 5070))


class InviteTests(SendingTestCase):
    """An INVITE in a dialog is acknowledged by who sends it (RFC 3261 §13.2.2.4)."""

    def test_each_2xx_gets_an_ack(self) -> None:
        """Along the dialog's route, to the Contact of the 2xx."""
        self.places["sip:proxy.example.com;lr"] = [FIRST]
        _, invite = dialog("<sip:proxy.example.com;lr>").request("INVITE")
        done = self.send(invite)
        request, _, _ = self.wire.requests[0]
        contact = (("Contact", "<sip:alice@192.0.2.77>"),)
        response = request.response(200, headers=contact)
        for number in (1, 2):
            self.layer.receive(response.copy(), UDP)
            acks = [each for each, _, _ in self.wire.requests if each.method == "ACK"]
            self.assertEqual(len(acks), number)
        ack = acks[0]
        self.assertEqual(str(ack.uri), "sip:alice@192.0.2.77")
        self.assertEqual(ack.headers.get("Route"), "<sip:proxy.example.com;lr>")
        self.assertEqual((ack.cseq.number, ack.cseq.method), (request.cseq.number, "ACK"))
        self.assertEqual((ack.from_.tag, ack.to.tag), ("local.77", "alice"))
        self.assertEqual(self.successResultOf(done).status, 200)

    def test_no_other_does(self) -> None:
        self.places[CONTACT] = [AT_CONTACT]
        done = self.send(dialog().request("INVITE")[1])
        self.answer(100)
        self.assertNoResult(done)
        self.answer(488)
        self.assertEqual(self.successResultOf(done).status, 488)
        # That for the 488 is the transaction's, with the branch of the INVITE.
        invite, ack = (each for each, _, _ in self.wire.requests)
        self.assertEqual(ack.top_via.branch, invite.top_via.branch)


class NextHopTests(SendingTestCase):
    def assertGoesTo(self, request: Request, uri: str) -> Request:
        self.places = {uri: [FIRST]}
        self.send(request)
        [(sent, target, flow)] = self.wire.requests
        self.assertEqual((target, flow), (FIRST, None))
        return sent

    def test_without_routes_to_the_contact(self) -> None:
        sent = self.assertGoesTo(bye(), CONTACT)
        self.assertEqual(str(sent.uri), CONTACT)

    def test_with_routes_to_the_first(self) -> None:
        """Both of a proxy between UDP and TCP, in the order in which they were recorded."""
        routes = "<sip:192.0.2.5;r2=on;lr>", "<sip:192.0.2.5;transport=tcp;r2=on;lr>"
        contact = "sip:alice@10.0.0.9:40123;transport=tcp;alias=10.0.0.9~40123~2"
        sent = self.assertGoesTo(bye(*routes, contact=contact), "sip:192.0.2.5;r2=on;lr")
        self.assertEqual(str(sent.uri), contact)
        self.assertEqual(sent.raw_routes, list(routes))

    def test_to_a_strict_router(self) -> None:
        """RFC 2543: its URI is the request's, and the client's is the last Route."""
        sent = self.assertGoesTo(bye("<sip:strict.example.com>"), "sip:strict.example.com")
        self.assertEqual(str(sent.uri), "sip:strict.example.com")
        self.assertEqual(sent.raw_routes, [f"<{CONTACT}>"])

    def test_to_a_strict_router_before_a_loose_one(self) -> None:
        """Not past it, to the one whose Route is the first then."""
        request = bye("<sip:strict.example.com>", "<sip:loose.example.com;lr>")
        sent = self.assertGoesTo(request, "sip:strict.example.com")
        self.assertEqual(str(sent.uri), "sip:strict.example.com")
        self.assertEqual(sent.raw_routes, ["<sip:loose.example.com;lr>", f"<{CONTACT}>"])

    def test_to_a_loose_router_before_a_strict_one(self) -> None:
        routes = "<sip:loose.example.com;lr>", "<sip:strict.example.com>"
        sent = self.assertGoesTo(bye(*routes), "sip:loose.example.com;lr")
        self.assertEqual(str(sent.uri), CONTACT)
        self.assertEqual(sent.raw_routes, list(routes))

    def test_the_ack_of_a_2xx_to_a_strict_router(self) -> None:
        self.places = {"sip:strict.example.com": [FIRST]}
        ack = dialog("<sip:strict.example.com>", "<sip:loose.example.com;lr>").ack(1)
        self.successResultOf(self.sender.send_ack(ack))
        [(sent, target, _)] = self.wire.requests
        self.assertEqual((str(sent.uri), target), ("sip:strict.example.com", FIRST))


class FlowTests(SendingTestCase):
    def test_a_live_flow_is_used(self) -> None:
        for flow in (UDP, TCP):
            with self.subTest(flow.transport):
                self.start()
                self.live.add(flow)
                done = self.send(bye(contact="sip:alice@behind.nat.invalid"), flow)
                [(_, target, used)] = self.wire.requests
                self.assertEqual((target, used), (flow.peer, flow))
                self.answer(200)
                self.assertEqual(self.successResultOf(done).status, 200)

    def test_where_it_is_gone_the_contact_is(self) -> None:
        self.places[CONTACT] = [AT_CONTACT]
        self.send(bye(), TCP)
        self.assertEqual(self.wire.requests[0][1:], (AT_CONTACT, None))

    def test_where_it_breaks_the_contact_is(self) -> None:
        self.live.add(TCP)
        self.wire.dead.add(TCP.peer)
        self.places[CONTACT] = [AT_CONTACT]
        done = self.send(bye(), TCP)
        self.clock.advance(0)
        self.assertEqual(self.wire.requests[0][1:], (AT_CONTACT, None))
        self.answer(200)
        self.assertEqual(self.successResultOf(done).status, 200)

    def test_what_it_answers_is_the_answer(self) -> None:
        self.live.add(UDP)
        self.places[CONTACT] = [AT_CONTACT]
        done = self.send(bye(), UDP)
        self.answer(503)
        self.assertEqual(self.successResultOf(done).status, 503)
        self.assertEqual(self.sent_to, [UDP.peer])


class AddressTests(SendingTestCase):
    def test_the_next_where_one_is_dead(self) -> None:
        self.places[CONTACT] = [FIRST, SECOND, THIRD]
        self.wire.dead |= {FIRST, SECOND}
        done = self.send(bye())
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.sent_to, [THIRD])
        self.answer(200)
        self.assertEqual(self.successResultOf(done).status, 200)

    def test_the_next_where_one_is_unavailable(self) -> None:
        self.places[CONTACT] = [FIRST, SECOND]
        done = self.send(bye())
        self.answer(503)
        self.assertEqual(self.sent_to, [FIRST, SECOND])
        branches = {request.top_via.branch for request, _, _ in self.wire.requests}
        self.assertEqual(len(branches), 2)
        self.answer(481)
        self.assertEqual(self.successResultOf(done).status, 481)

    def test_no_other_answer_is_asked_for_again(self) -> None:
        self.places[CONTACT] = [FIRST, SECOND]
        for status in (200, 404, 481, 500, 603):
            with self.subTest(status):
                self.wire.requests.clear()
                done = self.send(bye())
                self.answer(status)
                self.assertEqual(self.successResultOf(done).status, status)
                self.assertEqual(self.sent_to, [FIRST])

    def test_all_dead(self) -> None:
        self.places[CONTACT] = [FIRST, SECOND]
        self.wire.dead |= {FIRST, SECOND}
        done = self.send(bye())
        self.clock.advance(0)
        self.clock.advance(0)
        response = self.successResultOf(done)
        self.assertEqual(response.status, 503)
        self.assertEqual(response.reason, f"{SECOND}: Connection refused")

    def test_nowhere(self) -> None:
        response = self.successResultOf(self.send(bye()))
        self.assertEqual(response.status, 503)
        self.assertIn("leads nowhere", response.reason)
        self.assertEqual(self.wire.requests, [])

    def test_nobody_answers(self) -> None:
        self.places[CONTACT] = [FIRST]
        done = self.send(bye())
        self.seconds(31.5)
        self.assertNoResult(done)
        self.seconds(1)
        self.assertEqual(self.successResultOf(done).status, 408)


class AckTests(SendingTestCase):
    """The ACK for a 2xx has no transaction."""

    def ack(self) -> Request:
        return dialog().ack(1)

    def test_over_a_live_flow(self) -> None:
        self.live.add(TCP)
        self.successResultOf(self.sender.send_ack(self.ack(), TCP))
        self.assertEqual(self.wire.requests[0][1:], (TCP.peer, TCP))

    def test_to_the_contact(self) -> None:
        self.places[CONTACT] = [AT_CONTACT, FIRST]
        self.successResultOf(self.sender.send_ack(self.ack(), TCP))
        self.assertEqual(self.wire.requests[0][1:], (AT_CONTACT, None))

    def test_nowhere(self) -> None:
        self.failureResultOf(self.sender.send_ack(self.ack()), LocateError)
        self.places[CONTACT] = [FIRST]
        self.wire.dead.add(FIRST)
        self.failureResultOf(self.sender.send_ack(self.ack()), TransportError)
