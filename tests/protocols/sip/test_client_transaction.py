"""The state machines of RFC 3261 section 17.1 and RFC 6026, by the clock."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import ClientTransaction, State, TransactionLayer
from tests.protocols.sip.fakes import FLOWS, TARGETS, UDP, RecordingSender, make_request


class ClientTransactionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = RecordingSender()
        self.log: list[int | str] = []
        self.flows: list[Flow | None] = []
        self.layer = TransactionLayer(
            self.clock,
            self.sender,
            on_request=lambda transaction: None,
            on_ack=lambda request, flow: None,
        )

    def request(self, method: str, transport: str = "udp") -> ClientTransaction:
        request = make_request(method)
        request.headers.remove("Via")
        transaction = self.layer.request(request, TARGETS[transport])
        transaction.on_response = self.responded
        transaction.on_terminated = lambda: self.log.append("terminated")
        return transaction

    def responded(self, response: Response, flow: Flow | None) -> None:
        self.log.append(response.status)
        self.flows.append(flow)

    def respond(self, transaction: ClientTransaction, status: int, to_tag: str = "conf") -> None:
        response = transaction.request.response(status, to_tag=to_tag)
        self.layer.receive(response, FLOWS[transaction.target.transport])

    def seconds(self, seconds: float) -> None:
        self.clock.pump([0.125] * int(seconds * 8))

    def repetition_times(self, seconds: float) -> list[float]:
        times = []
        for _ in range(int(seconds * 8)):
            before = len(self.sender.repeated)
            self.clock.advance(0.125)
            if len(self.sender.repeated) > before:
                times.append(self.clock.seconds())
        return times


class SendingTests(ClientTransactionTestCase):
    def test_a_copy_is_sent_with_via_and_max_forwards(self) -> None:
        request = make_request("OPTIONS")
        request.headers.remove("Via")
        before = bytes(request)
        transaction = self.layer.request(request, TARGETS["udp"])
        self.assertEqual(bytes(request), before)
        [sent] = self.sender.requests
        self.assertIs(transaction.request, sent)
        self.assertTrue((sent.top_via.branch or "").startswith("z9hG4bK"))
        self.assertEqual(sent.max_forwards, 70)

    def test_max_forwards_of_the_tu_stays(self) -> None:
        request = make_request("OPTIONS", headers=(("Max-Forwards", "5"),))
        self.layer.request(request, TARGETS["udp"])
        self.assertEqual(self.sender.requests[0].max_forwards, 5)

    def test_branches_differ(self) -> None:
        branches = {self.request("OPTIONS").request.top_via.branch for _ in range(10)}
        self.assertEqual(len(branches), 10)

    def test_ack_and_cancel_have_no_transaction(self) -> None:
        for method in ("ACK", "CANCEL"):
            with self.assertRaises(ValueError):
                self.layer.request(make_request(method), TARGETS["udp"])

    def test_the_flow_is_known(self) -> None:
        transaction = self.layer.request(make_request(), TARGETS["tcp"], FLOWS["udp"])
        self.assertEqual(transaction.flow, UDP)

    def test_transport_error(self) -> None:
        # Told later: the TU sets on_response once it has the transaction.
        self.sender.broken = TransportError("udp:192.0.2.9:5070: unreachable")
        for method in ("INVITE", "OPTIONS"):
            with self.subTest(method):
                self.log.clear()
                transaction = self.request(method)
                self.assertEqual(self.log, [])
                self.clock.advance(0)
                self.assertEqual(self.log, [503, "terminated"])
                self.assertIs(transaction.error, self.sender.broken)
                self.assertEqual(self.flows[-1], None)
                self.assertEqual(self.layer.client_transactions, 0)

    def test_time_up_while_connecting_cancels_the_sending(self) -> None:
        self.sender.waiting = []
        self.request("OPTIONS", "tcp")
        [sending] = self.sender.waiting
        self.seconds(33)
        self.assertEqual(self.log, [408, "terminated"])
        self.assertTrue(sending.called)

    def test_no_repetition_before_it_is_sent(self) -> None:
        self.sender.waiting = []
        self.request("OPTIONS", "udp")
        self.seconds(3)
        self.sender.waiting[0].callback(UDP)
        self.assertEqual(self.repetition_times(2), [3.5, 4.5])

    def test_when_final(self) -> None:
        transaction = self.request("OPTIONS")
        result = transaction.when_final()
        self.respond(transaction, 100)
        self.assertNoResult(result)
        self.respond(transaction, 404)
        self.assertEqual(self.successResultOf(result).status, 404)

    def test_nobody_waits_any_more(self) -> None:
        transaction = self.request("INVITE")
        result = transaction.when_final()
        result.addErrback(lambda failure: None)
        result.cancel()
        self.respond(transaction, 200)
        self.assertIs(transaction.state, State.ACCEPTED)

    def test_what_hooks_raise_is_logged(self) -> None:
        transaction = self.request("OPTIONS")
        transaction.on_response = lambda response, flow: 1 // 0  # type: ignore[assignment]
        self.respond(transaction, 200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(transaction.state, State.COMPLETED)


class LostConnectionTests(ClientTransactionTestCase):
    """RFC 3261 section 17.1.4."""

    def lose(self, transport: str = "tcp") -> None:
        self.layer.flow_lost(FLOWS[transport])
        self.clock.advance(0)

    def test_without_a_response_it_fails(self) -> None:
        for method in ("INVITE", "OPTIONS"):
            with self.subTest(method):
                self.log.clear()
                transaction = self.request(method, "tcp")
                self.lose()
                self.assertEqual(self.log, [503, "terminated"])
                self.assertIn("was lost", str(transaction.error))
                self.assertEqual(self.layer.client_transactions, 0)

    def test_who_has_answered_is_waited_for(self) -> None:
        """It may make a new connection for its final response (section 18.2.2)."""
        transaction = self.request("INVITE", "tcp")
        self.respond(transaction, 180)
        self.lose()
        self.assertEqual(self.log, [180])
        self.respond(transaction, 200)
        self.assertEqual(self.log, [180, 200])

    def test_others_go_on(self) -> None:
        self.request("OPTIONS", "udp")
        transaction = self.request("OPTIONS", "tcp")
        self.layer.flow_lost(Flow("tcp", UDP.local, UDP.remote, 8))
        self.lose("udp")
        self.assertEqual(self.log, [])
        self.respond(transaction, 200)
        self.assertEqual(self.log, [200, "terminated"])

    def test_nothing_is_kept_of_what_has_ended(self) -> None:
        for status in (200, 404):
            for method in ("INVITE", "OPTIONS"):
                self.respond(self.request(method, "tcp"), status)
        self.request("OPTIONS", "tcp")
        self.seconds(40)
        self.assertEqual(len(self.layer._carried), 0)
        self.request("OPTIONS", "tcp")
        self.layer.stop()
        self.assertEqual(len(self.layer._carried), 0)


class InviteTests(ClientTransactionTestCase):
    def test_repeated_over_udp_timers_a_and_b(self) -> None:
        self.request("INVITE")
        # T1, doubling without end.
        self.assertEqual(self.repetition_times(31.875), [0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(self.log, [])
        self.clock.advance(0.125)
        self.assertEqual(self.log, [408, "terminated"])
        self.assertEqual(self.flows, [None])
        self.assertEqual(self.sender.methods, ["INVITE"])

    def test_not_repeated_over_tcp(self) -> None:
        self.request("INVITE", "tcp")
        self.assertEqual(self.repetition_times(31.875), [])
        self.clock.advance(0.125)
        self.assertEqual(self.log, [408, "terminated"])

    def test_a_repetition_is_the_same_octets(self) -> None:
        transaction = self.request("INVITE")
        self.seconds(1)
        self.assertEqual(self.sender.repeated, [bytes(transaction.request)])

    def test_provisional_responses_end_the_repetitions(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 100)
        self.respond(transaction, 180)
        self.assertIs(transaction.state, State.PROCEEDING)
        self.assertEqual(self.repetition_times(60), [])
        self.assertEqual(self.log, [100, 180])

    def test_every_2xx_reaches_the_tu_until_timer_m(self) -> None:
        for transport in FLOWS:
            with self.subTest(transport):
                self.setUp()
                transaction = self.request("INVITE", transport)
                self.respond(transaction, 200)
                self.respond(transaction, 200)
                self.respond(transaction, 200, "other fork")
                self.assertEqual(self.log, [200, 200, 200])
                self.assertEqual(self.sender.methods, ["INVITE"])
                self.seconds(31)
                self.respond(transaction, 200)
                self.seconds(2)
                self.assertEqual(self.log, [200, 200, 200, 200, "terminated"])
                self.respond(transaction, 200)
                self.assertEqual(self.layer.counters.unmatched, 1)

    def test_failure_is_acknowledged_until_timer_d(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 180)
        self.respond(transaction, 486)
        self.assertEqual(self.log, [180, 486])
        self.assertEqual(self.sender.methods, ["INVITE", "ACK"])
        self.respond(transaction, 486)
        self.assertEqual(self.log, [180, 486])
        self.assertEqual(self.sender.methods, ["INVITE", "ACK", "ACK"])
        self.seconds(31.5)
        self.assertIs(transaction.state, State.COMPLETED)
        self.seconds(1)
        self.assertEqual(self.log, [180, 486, "terminated"])

    def test_failure_over_tcp_ends_it_at_once(self) -> None:
        transaction = self.request("INVITE", "tcp")
        self.respond(transaction, 486)
        self.assertEqual(self.log, [486, "terminated"])
        self.assertEqual(self.sender.methods, ["INVITE", "ACK"])

    def test_the_ack_of_a_failure(self) -> None:
        """RFC 3261 section 17.1.1.3."""
        invite = make_request(
            "INVITE",
            cseq=986759,
            headers=(("Route", "<sip:p1.example.com;lr>"), ("Route", "<sip:p2.example.com;lr>")),
        )
        invite.headers.remove("Via")
        invite.body = b"v=0\r\n"
        transaction = self.layer.request(invite, TARGETS["udp"])
        self.respond(transaction, 486, "99sa0xk")
        ack = self.sender.requests[1]
        sent = transaction.request
        self.assertEqual((ack.method, ack.uri), ("ACK", sent.uri))
        self.assertEqual([str(via) for via in ack.vias], [str(sent.top_via)])
        self.assertEqual(str(ack.to), "<sip:conf1@example.com>;tag=99sa0xk")
        self.assertEqual(ack.from_, sent.from_)
        self.assertEqual(ack.call_id, sent.call_id)
        self.assertEqual(str(ack.cseq), "986759 ACK")
        self.assertEqual(ack.raw_routes, ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"])
        self.assertEqual(ack.max_forwards, 70)
        self.assertEqual(ack.body, b"")

    def test_2xx_after_a_failure_is_not_for_the_tu(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 486)
        self.respond(transaction, 200)
        self.assertEqual(self.log, [486])

    def test_no_final_response_for_long(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 180)
        self.seconds(230)
        self.respond(transaction, 180)
        self.seconds(230)
        self.assertEqual(self.sender.methods, ["INVITE"])
        self.seconds(11)
        self.assertEqual(self.sender.methods, ["INVITE", "CANCEL"])
        self.seconds(33)
        self.assertEqual(self.log, [180, 180, 487, "terminated"])


class CancelTests(ClientTransactionTestCase):
    """RFC 3261 section 9.1."""

    def test_sent_after_the_first_provisional_response(self) -> None:
        transaction = self.request("INVITE")
        transaction.cancel()
        self.assertEqual(self.sender.methods, ["INVITE"])
        self.respond(transaction, 100)
        self.respond(transaction, 180)
        self.assertEqual(self.sender.methods, ["INVITE", "CANCEL"])

    def test_sent_at_once_after_that(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 100)
        transaction.cancel()
        transaction.cancel()
        self.assertEqual(self.sender.methods, ["INVITE", "CANCEL"])

    def test_not_sent_after_a_final_response(self) -> None:
        for status in (200, 486):
            transaction = self.request("INVITE")
            self.respond(transaction, status)
            transaction.cancel()
        self.assertNotIn("CANCEL", self.sender.methods)

    def test_nothing_else_is_cancelled(self) -> None:
        transaction = self.request("OPTIONS")
        self.respond(transaction, 100)
        transaction.cancel()
        self.assertEqual(self.sender.methods, ["OPTIONS"])

    def test_what_is_sent(self) -> None:
        invite = make_request(
            "INVITE", headers=(("Route", "<sip:p1.example.com;lr>"), ("Require", "100rel"))
        )
        invite.headers.remove("Via")
        transaction = self.layer.request(invite, TARGETS["udp"])
        self.respond(transaction, 180)
        transaction.cancel()
        cancel = self.sender.requests[1]
        sent = transaction.request
        self.assertEqual([str(via) for via in cancel.vias], [str(sent.top_via)])
        for name in ("From", "To", "Call-ID", "Route"):
            self.assertEqual(cancel.headers.get(name), sent.headers.get(name))
        self.assertEqual(str(cancel.cseq), "1 CANCEL")
        self.assertEqual(cancel.uri, sent.uri)
        self.assertNotIn("Require", cancel.headers)

    def test_both_are_answered(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 180)
        transaction.cancel()
        self.layer.receive(self.sender.requests[1].response(200), UDP)
        self.assertEqual(self.log, [180])
        self.respond(transaction, 487)
        self.assertEqual(self.log, [180, 487])

    def test_a_2xx_that_crosses_it(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 180)
        transaction.cancel()
        self.respond(transaction, 200)
        self.assertEqual(self.log, [180, 200])
        self.assertIs(transaction.state, State.ACCEPTED)

    def test_the_invite_is_never_answered(self) -> None:
        transaction = self.request("INVITE")
        self.respond(transaction, 180)
        transaction.cancel()
        self.seconds(31.5)
        self.assertEqual(self.log, [180])
        self.seconds(1)
        self.assertEqual(self.log, [180, 487, "terminated"])
        self.assertEqual(self.flows[-1], None)


class OtherTests(ClientTransactionTestCase):
    def test_repeated_over_udp_timers_e_and_f(self) -> None:
        self.request("OPTIONS")
        times = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        self.assertEqual(self.repetition_times(31.875), times)
        self.assertEqual(self.log, [])
        self.clock.advance(0.125)
        self.assertEqual(self.log, [408, "terminated"])

    def test_not_repeated_over_tcp(self) -> None:
        self.request("OPTIONS", "tcp")
        self.assertEqual(self.repetition_times(31.875), [])
        self.clock.advance(0.125)
        self.assertEqual(self.log, [408, "terminated"])

    def test_repeated_every_t2_after_a_provisional_response(self) -> None:
        transaction = self.request("OPTIONS")
        self.seconds(1)
        self.respond(transaction, 100)
        self.assertIs(transaction.state, State.PROCEEDING)
        self.assertEqual(self.repetition_times(10), [1.5, 5.5, 9.5])
        self.seconds(22)
        self.assertEqual(self.log, [100, 408, "terminated"])

    def test_one_final_response_reaches_the_tu_timer_k(self) -> None:
        transaction = self.request("OPTIONS")
        self.respond(transaction, 200)
        self.respond(transaction, 200)
        self.assertEqual(self.log, [200])
        self.assertEqual(self.repetition_times(4.5), [])
        self.assertIs(transaction.state, State.COMPLETED)
        self.seconds(1)
        self.assertEqual(self.log, [200, "terminated"])

    def test_over_tcp_it_ends_with_the_response(self) -> None:
        transaction = self.request("OPTIONS", "tcp")
        self.respond(transaction, 200)
        self.assertEqual(self.log, [200, "terminated"])
        self.assertEqual(self.layer.client_transactions, 0)


class AckTests(ClientTransactionTestCase):
    def test_the_ack_of_a_2xx_has_a_branch_of_its_own(self) -> None:
        """RFC 3261 section 13.2.2.4."""
        invite = self.request("INVITE")
        ack = make_request("ACK", to_tag="conf")
        ack.headers.remove("Via")
        sending = self.layer.send_ack(ack, TARGETS["udp"])
        self.assertEqual(self.successResultOf(sending), UDP)
        sent: Request = self.sender.requests[1]
        self.assertEqual(sent.method, "ACK")
        self.assertNotEqual(sent.top_via.branch, invite.request.top_via.branch)
        self.assertEqual(self.layer.client_transactions, 1)
