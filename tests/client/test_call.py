from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.call import Call, JoinError, Unreached
from msrpconf.protocols.sip.answering import MAX_ROUNDS, Answering
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.transaction import TransactionLayer
from tests.protocols.sip.fakes import FLOWS, TARGETS, UDP, Wire, make_request


def invite() -> Request:
    """As a user agent makes it: Via comes with the transaction."""
    request = make_request("INVITE")
    request.headers.remove("Via")
    return request


CONTACT = (("Contact", "<sip:lobby@192.0.2.9>"),)


class Agent:
    """What a call needs of a user agent."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.layer = TransactionLayer(
            self.clock, self.wire, on_request=lambda _: None, on_ack=lambda _, __: None
        )
        self.answering: Answering | None = None
        self.sent: list[Request] = []

    def send_ack(self, ack: Request, flow: Flow | None) -> None:
        self.sent.append(ack)

    def send_in_dialog(self, request: Request, flow: Flow | None) -> None:
        self.sent.append(request)


class CallCase(SynchronousTestCase):
    def call(self, patience: float | None = None, transport: str = "udp") -> Call:
        self.agent = Agent()
        agent: Any = self.agent
        return Call(agent, invite(), TARGETS[transport], patience)

    def answer(self, status: int, reason: str | None = None, transport: str = "udp") -> None:
        request = self.agent.wire.requests[0][0]
        response = request.response(status, reason, headers=CONTACT, to_tag="b")
        self.agent.layer.receive(response, FLOWS[transport])

    def failure(self, call: Call) -> JoinError:
        error = self.failureResultOf(call.answered, JoinError).value
        assert isinstance(error, JoinError)
        return error


class CallTests(CallCase):
    def test_answered(self) -> None:
        call = self.call(patience=4)
        self.answer(200)
        _, dialog, flow = self.successResultOf(call.answered)
        self.assertEqual((dialog.remote_tag, flow), ("b", UDP))
        self.assertEqual([each.method for each in self.agent.sent], ["ACK"])
        self.assertEqual([call for call in self.agent.clock.calls if call.getTime() == 4], [])

    def test_only_what_another_address_may_do_better_is_unreached(self) -> None:
        for status, kind in ((503, Unreached), (486, JoinError), (408, JoinError)):
            with self.subTest(status):
                call = self.call()
                self.answer(status, "Because")
                error = self.failure(call)
                self.assertIs(type(error), kind)
                self.assertEqual((error.status, error.reason), (status, "Because"))

    def test_no_answer_at_all(self) -> None:
        call = self.call()
        self.agent.clock.pump([0.5] * 65)
        error = self.failure(call)
        self.assertIsInstance(error, Unreached)
        self.assertEqual(str(error), "408 udp:192.0.2.9:5070: does not answer")

    def test_what_could_not_be_sent(self) -> None:
        agent = Agent()
        agent.wire.dead.add(TARGETS["tcp"])
        its: Any = agent
        call = Call(its, invite(), TARGETS["tcp"])
        agent.clock.advance(0)
        error = self.failure(call)
        self.assertIsInstance(error, Unreached)
        self.assertEqual(str(error), "503 tcp:192.0.2.9:5070: Connection refused")

    def test_patience(self) -> None:
        call = self.call(patience=4)
        self.agent.clock.advance(3.9)
        self.assertNoResult(call.answered)
        self.agent.clock.advance(0.2)
        error = self.failure(call)
        self.assertIsInstance(error, Unreached)
        self.assertEqual(str(error), "408 udp:192.0.2.9:5070: has not answered for 4 s")

    def test_who_has_said_a_word_is_waited_for(self) -> None:
        call = self.call(patience=4)
        self.answer(180)
        self.agent.clock.advance(10)
        self.assertNoResult(call.answered)

    def test_who_answers_too_late_is_told_goodbye(self) -> None:
        call = self.call(patience=4)
        self.agent.clock.advance(4)
        self.failure(call)
        self.answer(200)
        self.assertEqual([each.method for each in self.agent.sent], ["ACK", "BYE"])


class AskedTests(CallCase):
    """Somebody on the way asks for a password."""

    def ask(self, call: Call, nonce: str) -> None:
        request = self.agent.wire.requests[-1][0]
        headers = (("Proxy-Authenticate", f'Digest realm="r", nonce="{nonce}", qop="auth"'),)
        response = request.response(407, headers=headers, to_tag="b")
        self.agent.layer.receive(response, UDP)

    def test_the_invite_goes_again(self) -> None:
        call = self.call()
        self.agent.answering = Answering("alice", "pw")
        self.ask(call, "n")
        again = self.agent.wire.requests[-1][0]
        self.assertEqual((again.method, again.cseq.number), ("INVITE", 2))
        response = again.response(200, headers=CONTACT, to_tag="b")
        self.agent.layer.receive(response, UDP)
        _, dialog, _ = self.successResultOf(call.answered)
        self.assertEqual(dialog.local_cseq, 2)
        # The ACK is let through for the same reason as the INVITE (RFC 3261 §22.1).
        (ack,) = self.agent.sent
        self.assertEqual(ack.cseq.number, 2)
        name = "Proxy-Authorization"
        self.assertEqual(ack.headers.get(name), again.headers.get(name))

    def test_a_wrong_password(self) -> None:
        call = self.call()
        self.agent.answering = Answering("alice", "pw")
        self.ask(call, "n")
        self.ask(call, "m")
        self.assertIn("the password of alice is not right", self.failure(call).reason)

    def test_whoever_asks_again_and_again(self) -> None:
        """Each time for another realm."""
        call = self.call()
        self.agent.answering = Answering("alice", "pw")
        for number in range(MAX_ROUNDS + 1):
            request = self.agent.wire.requests[-1][0]
            value = f'Digest realm="r{number}", nonce="n", qop="auth"'
            response = request.response(401, headers=(("WWW-Authenticate", value),), to_tag="b")
            self.agent.layer.receive(response, UDP)
        self.assertEqual(self.failure(call).status, 401)

    def test_without_a_password(self) -> None:
        call = self.call()
        self.ask(call, "n")
        self.assertIn("a password is asked for", self.failure(call).reason)
