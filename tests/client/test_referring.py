from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.referring import OUTCOME_TIMEOUT, ReferError, Referrals
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.sipfrag import Fragment
from tests.protocols.sip.fakes import UDP, Wire, make_request


class Referrer:
    """Somebody in a room."""

    user = "sip:me@example.com"
    contact = "<sip:me@192.0.2.1>"
    flow: Flow | None = None

    def __init__(self) -> None:
        target = parse_uri("sip:conf1@192.0.2.9")
        self.dialog: Dialog | None = Dialog(
            "call-1", "me", "alice", "<sip:me@example.com>", "<sip:conf1@example.com>", target
        )


class ReferralsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.referrer = Referrer()
        self.sent: list[tuple[Request, Deferred[Response]]] = []
        self.referrals = Referrals(self.referrer, self.clock, self.send)
        self.layer = TransactionLayer(
            self.clock, self.wire, on_request=self.requested, on_ack=lambda _, __: None
        )
        self.number = 0

    def send(self, request: Request, flow: Flow | None) -> Deferred[Response]:
        self.sent.append((request, Deferred()))
        return self.sent[-1][1]

    def requested(self, transaction: ServerTransaction) -> None:
        self.referrals.notify(transaction)

    def answer(self, status: int = 202, **more: Any) -> None:
        request, answered = self.sent[-1]
        answered.callback(request.response(status, **more))

    def notify(
        self,
        status: str = "SIP/2.0 200 OK",
        event: str = "refer",
        state: str = "terminated",
        content_type: str = "message/sipfrag;version=2.0",
        cseq: int | None = None,
    ) -> int:
        """The room's NOTIFY; gives the status that it gets."""
        self.number += 1
        headers = (
            ("Event", event),
            ("Subscription-State", state),
            ("Content-Type", content_type),
        )
        request = make_request(
            "NOTIFY",
            branch=f"z9hG4bK{self.number}",
            to_tag="me",
            cseq=self.number if cseq is None else cseq,
            headers=headers,
        )
        request.body = status.encode("ascii")
        self.layer.receive(request, UDP)
        return self.wire.statuses[-1]

    def refused(self, outcome: Deferred[Fragment]) -> ReferError:
        error = self.failureResultOf(outcome, ReferError).value
        assert isinstance(error, ReferError)
        return error

    def test_what_is_asked(self) -> None:
        for uri, method, refer_to in (
            ("sip:bob@example.com", "BYE", "<sip:bob@example.com;method=BYE>"),
            ("bob@example.com", "INVITE", "<sip:bob@example.com>"),
            ("tel:+1555", "BYE", "<tel:+1555>;method=BYE"),
        ):
            self.referrals.refer(uri, method).addErrback(lambda _: None)
            request = self.sent[-1][0]
            self.assertEqual(request.method, "REFER")
            self.assertEqual(request.headers.get("Refer-To"), refer_to)
            self.assertEqual(request.headers.get("Referred-By"), "<sip:me@example.com>")
            self.assertEqual(request.headers.get("Contact"), "<sip:me@192.0.2.1>")
        self.referrals.close()

    def test_the_outcome_may_come_before_the_answer(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "BYE")
        self.assertEqual(self.notify(), 200)
        self.assertEqual(self.successResultOf(outcome).status, 200)
        self.answer()

    def test_a_refusal_is_the_outcome(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "BYE")
        self.answer(403, reason="Only moderators may")
        self.assertEqual(str(self.refused(outcome)), "403 Only moderators may")
        self.assertEqual(self.notify(), 481)

    def test_progress_is_none(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        self.answer()
        self.assertEqual(self.notify("SIP/2.0 100 Trying", state="active;expires=180"), 200)
        self.assertNoResult(outcome)
        self.assertEqual(self.notify("SIP/2.0 603 Decline"), 200)
        self.assertEqual(str(self.refused(outcome)), "603 Decline")

    def test_two_at_once_are_told_apart_by_their_ids(self) -> None:
        first = self.referrals.refer("sip:bob@example.com", "BYE")
        second = self.referrals.refer("sip:carol@example.com", "BYE")
        number = self.sent[-1][0].cseq.number
        self.assertEqual(self.notify(event=f"refer;id={number}"), 200)
        self.successResultOf(second)
        self.assertNoResult(first)
        self.assertEqual(self.notify(), 200)
        self.successResultOf(first)

    def test_who_gives_no_subscription_is_done(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "BYE")
        self.answer(headers=(("Refer-Sub", "false"),))
        self.assertEqual(self.successResultOf(outcome).status, 202)

    def test_an_end_without_an_outcome(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        self.notify("SIP/2.0 100 Trying")
        self.assertEqual(self.refused(outcome).status, 480)

    def test_silence(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        self.answer()
        self.clock.advance(OUTCOME_TIMEOUT)
        self.assertEqual(self.refused(outcome).status, 408)
        self.assertEqual(self.notify(), 481)

    def test_who_leaves_waits_no_more(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        self.referrals.close()
        self.assertEqual(self.refused(outcome).status, 487)
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_no_notify_of_ours(self) -> None:
        outcome = self.referrals.refer("sip:bob@example.com", "INVITE")
        self.assertEqual(self.notify(event="presence"), 489)
        self.assertEqual(self.notify(event="refer;id=99"), 481)
        self.assertEqual(self.notify(event="refer;id=x2"), 481)
        self.assertEqual(self.notify(content_type="text/plain"), 415)
        self.assertEqual(self.notify("HTTP/1.1 200 OK"), 400)
        self.assertNoResult(outcome)
        self.notify("SIP/2.0 100 Trying", state="active", cseq=20)
        self.assertEqual(self.notify(cseq=19), 500)
        self.assertNoResult(outcome)
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
