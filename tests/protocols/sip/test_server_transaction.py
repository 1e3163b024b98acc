"""The state machines of RFC 3261 section 17.2 and RFC 6026, by the clock."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import (
    AckTimeout,
    ServerTransaction,
    State,
    TransactionLayer,
)
from tests.protocols.sip.fakes import FLOWS, TCP, UDP, RecordingSender, make_request


class ServerTransactionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = RecordingSender()
        self.opened: list[ServerTransaction] = []
        self.acks: list[Request] = []
        self.log: list[str] = []
        self.layer = TransactionLayer(
            self.clock,
            self.sender,
            on_request=self.opened.append,
            on_ack=lambda request, flow: self.acks.append(request),
        )

    def open(self, method: str, flow: Flow = UDP) -> ServerTransaction:
        """A transaction that the TU has been told of and has not answered."""
        self.layer.receive(make_request(method), flow)
        [transaction] = self.opened
        transaction.on_terminated = lambda: self.log.append("terminated")
        transaction.on_transport_error = lambda error: self.log.append(type(error).__name__)
        return transaction

    def again(self, method: str, flow: Flow = UDP) -> None:
        """The same request once more."""
        self.layer.receive(make_request(method), flow)
        self.assertEqual(len(self.opened), 1)

    def seconds(self, seconds: float) -> None:
        self.clock.pump([0.125] * int(seconds * 8))

    def assertGone(self) -> None:
        self.assertEqual(self.layer.server_transactions, 0)
        self.assertEqual(self.log, ["terminated"])


class InviteTests(ServerTransactionTestCase):
    def test_100_after_200_ms(self) -> None:
        transaction = self.open("INVITE")
        self.clock.advance(0.19)
        self.assertEqual(self.sender.statuses, [])
        self.clock.advance(0.02)
        self.assertEqual(self.sender.statuses, [100])
        self.assertIsNone(self.sender.responses[0].to.tag)
        self.assertIs(transaction.state, State.PROCEEDING)

    def test_no_100_where_the_tu_was_faster(self) -> None:
        self.open("INVITE").answer(180)
        self.seconds(10)
        self.assertEqual(self.sender.statuses, [180])

    def test_repetitions_get_the_last_provisional_response(self) -> None:
        transaction = self.open("INVITE")
        self.again("INVITE")
        self.assertEqual(self.sender.repeated, [])
        transaction.answer(180)
        transaction.answer(183)
        self.again("INVITE")
        self.assertIn(b"SIP/2.0 183 ", self.sender.repeated[0])

    def test_all_responses_have_one_tag(self) -> None:
        transaction = self.open("INVITE")
        transaction.answer(180)
        transaction.answer(200)
        tags = {response.to.tag for response in self.sender.responses}
        self.assertEqual(tags, {transaction.tag})

    def test_2xx_is_repeated_by_the_tu_alone_until_timer_l(self) -> None:
        for transport in FLOWS:
            with self.subTest(transport):
                self.setUp()
                transaction = self.open("INVITE", FLOWS[transport])
                transaction.answer(200)
                self.assertIs(transaction.state, State.ACCEPTED)
                self.again("INVITE", FLOWS[transport])
                self.seconds(31.5)
                self.assertEqual((self.sender.statuses, self.sender.repeated), ([200], []))
                self.assertTrue(transaction.answer(200))
                self.assertFalse(transaction.answer(486))
                self.assertEqual(self.sender.statuses, [200, 200])
                self.seconds(1)
                self.assertGone()
                self.assertFalse(transaction.answer(200))

    def test_acks_of_a_2xx_go_to_the_tu(self) -> None:
        # Some clients send it with the branch of the INVITE.
        self.open("INVITE").answer(200)
        self.layer.receive(make_request("ACK"), UDP)
        self.layer.receive(make_request("ACK", branch="z9hG4bKtwo"), UDP)
        self.assertEqual(len(self.acks), 2)

    def test_failure_over_udp_timers_g_and_h(self) -> None:
        transaction = self.open("INVITE")
        transaction.answer(486)
        times: list[float] = []
        for _ in range(32 * 8 - 1):
            self.clock.advance(0.125)
            if len(self.sender.repeated) > len(times):
                times.append(self.clock.seconds())
        # T1, doubling up to T2.
        self.assertEqual(times, [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(self.log, [])
        self.clock.advance(0.125)
        self.assertEqual(self.log, ["AckTimeout", "terminated"])
        self.assertEqual(self.layer.server_transactions, 0)
        self.assertTrue(issubclass(AckTimeout, TransportError))

    def test_failure_over_udp_acknowledged_timer_i(self) -> None:
        transaction = self.open("INVITE")
        transaction.answer(486)
        self.again("INVITE")
        self.assertEqual(len(self.sender.repeated), 1)
        self.layer.receive(make_request("ACK"), UDP)
        self.assertIs(transaction.state, State.CONFIRMED)
        self.layer.receive(make_request("ACK"), UDP)
        self.again("INVITE")
        self.seconds(4.5)
        self.assertEqual(len(self.sender.repeated), 1)
        self.assertEqual(self.log, [])
        self.seconds(1)
        self.assertGone()
        self.assertEqual(self.acks, [])

    def test_failure_over_tcp(self) -> None:
        self.open("INVITE", TCP).answer(486)
        self.seconds(31)
        self.assertEqual(self.sender.repeated, [])
        self.layer.receive(make_request("ACK"), TCP)
        self.assertGone()

    def test_failure_over_tcp_without_ack(self) -> None:
        self.open("INVITE", TCP).answer(486)
        self.seconds(33)
        self.assertEqual(self.log, ["AckTimeout", "terminated"])

    def test_never_answered(self) -> None:
        transaction = self.open("INVITE")
        self.seconds(100)
        transaction.answer(180)
        self.seconds(239)
        self.assertEqual(self.sender.statuses, [100, 180])
        self.seconds(2)
        self.assertEqual(self.sender.statuses, [100, 180, 408])
        self.seconds(33)
        self.assertEqual(self.layer.server_transactions, 0)

    def test_a_transport_error_keeps_the_state(self) -> None:
        # RFC 6026 section 7.1: what comes again must not be taken for new.
        for status, state in ((180, "proceeding"), (200, "accepted"), (486, "completed")):
            with self.subTest(status):
                self.setUp()
                transaction = self.open("INVITE")
                self.sender.broken = TransportError("unreachable")
                transaction.answer(status)
                self.assertEqual(self.log, ["TransportError"])
                self.assertEqual(transaction.state.value, state)
                self.again("INVITE")

    def test_an_ack_before_any_answer_changes_nothing(self) -> None:
        transaction = self.open("INVITE")
        self.layer.receive(make_request("ACK"), UDP)
        self.assertIs(transaction.state, State.PROCEEDING)


class OtherTests(ServerTransactionTestCase):
    def test_answered_over_udp_timer_j(self) -> None:
        transaction = self.open("OPTIONS")
        self.again("OPTIONS")
        self.assertEqual(self.sender.repeated, [])
        transaction.answer(200)
        self.assertIs(transaction.state, State.COMPLETED)
        self.assertFalse(transaction.answer(500))
        self.seconds(31.5)
        self.again("OPTIONS")
        self.assertEqual(self.sender.statuses, [200])
        self.assertIn(b"SIP/2.0 200 ", self.sender.repeated[0])
        self.assertEqual(self.log, [])
        self.seconds(1)
        self.assertGone()
        self.assertIs(transaction.state, State.TERMINATED)

    def test_answered_over_tcp(self) -> None:
        self.open("OPTIONS", TCP).answer(404)
        self.assertGone()

    def test_100_when_timer_e_reaches_t2(self) -> None:
        # RFC 4320 section 4.1, over any transport.
        for transport in FLOWS:
            with self.subTest(transport):
                self.setUp()
                self.open("OPTIONS", FLOWS[transport])
                self.clock.advance(3.4)
                self.assertEqual(self.sender.statuses, [])
                self.clock.advance(0.2)
                self.assertEqual(self.sender.statuses, [100])
                self.again("OPTIONS", FLOWS[transport])
                self.assertEqual(len(self.sender.repeated), 1)

    def test_provisional_responses_that_rfc_4320_forbids(self) -> None:
        transaction = self.open("OPTIONS")
        self.assertFalse(transaction.answer(180))
        self.assertFalse(transaction.answer(100))
        self.clock.advance(4)
        self.assertEqual(self.sender.statuses, [100])
        self.assertTrue(transaction.answer(100))
        self.assertFalse(transaction.answer(183))

    def test_100_over_tcp_at_any_time(self) -> None:
        transaction = self.open("OPTIONS", TCP)
        self.assertTrue(transaction.answer(100))
        self.clock.advance(4)
        self.assertEqual(self.sender.statuses, [100])

    def test_no_408(self) -> None:
        transaction = self.open("OPTIONS")
        self.assertFalse(transaction.answer(408))
        self.assertEqual(self.sender.statuses, [])
        self.assertFalse(transaction.answered)

    def test_never_answered(self) -> None:
        transaction = self.open("OPTIONS")
        self.seconds(33)
        self.assertEqual(self.sender.statuses, [100])
        self.assertGone()
        self.assertFalse(transaction.answer(200))

    def test_a_transport_error_keeps_absorbing(self) -> None:
        transaction = self.open("OPTIONS")
        self.sender.broken = TransportError("too long")
        transaction.answer(200)
        self.assertEqual(self.log, ["TransportError"])
        self.again("OPTIONS")


class RefuseTests(ServerTransactionTestCase):
    """RFC 3261 section 8.2.7: what strangers send costs no memory."""

    def test_forgotten_at_once(self) -> None:
        for method in ("INVITE", "OPTIONS"):
            with self.subTest(method):
                self.setUp()
                self.open(method).refuse(403)
                self.assertEqual(self.sender.statuses, [403])
                self.assertGone()

    def test_a_repetition_gets_the_same_tag(self) -> None:
        self.open("INVITE").refuse(403)
        self.layer.receive(make_request("INVITE"), UDP)
        self.opened[1].refuse(403)
        first, second = self.sender.responses
        self.assertEqual(first.to.tag, second.to.tag)
        self.layer.receive(make_request("INVITE", call_id="other"), UDP)
        self.opened[2].refuse(403)
        self.assertNotEqual(first.to.tag, self.sender.responses[2].to.tag)

    def test_not_after_an_answer(self) -> None:
        transaction = self.open("INVITE")
        transaction.answer(200)
        transaction.refuse(403)
        self.assertEqual(self.sender.statuses, [200])


class HookTests(ServerTransactionTestCase):
    def test_what_hooks_raise_is_logged(self) -> None:
        transaction = self.open("OPTIONS", TCP)
        transaction.on_terminated = lambda: 1 // 0  # type: ignore[assignment]
        transaction.answer(200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.layer.server_transactions, 0)

    def test_a_tag_that_the_tu_chose(self) -> None:
        transaction = self.open("INVITE")
        transaction.tag = "server1.abc"
        transaction.answer(200)
        self.assertEqual(self.sender.responses[0].to.tag, "server1.abc")
