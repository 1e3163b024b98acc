"""Which message belongs to which transaction (RFC 3261 sections 8.2.2.2, 9.2, 17.1.3, 17.2.3)."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.transaction import (
    ServerTransaction,
    State,
    TransactionLayer,
    new_branch,
    new_call_id,
    new_tag,
)
from tests.protocols.sip.fakes import TARGETS, TCP, UDP, RecordingSender, make_request


class LayerTestCase(SynchronousTestCase):
    limit = 1000

    def setUp(self) -> None:
        self.clock = Clock()
        self.sender = RecordingSender()
        self.opened: list[ServerTransaction] = []
        self.acks: list[tuple[Request, Flow]] = []
        self.layer = TransactionLayer(
            self.clock,
            self.sender,
            on_request=self.opened.append,
            on_ack=lambda request, flow: self.acks.append((request, flow)),
            max_server_transactions=self.limit,
        )

    def receive(self, *requests: Request) -> list[ServerTransaction]:
        """The transactions that these requests open."""
        before = len(self.opened)
        for request in requests:
            self.layer.receive(request, UDP)
        return self.opened[before:]


class MatchingTests(LayerTestCase):
    """RFC 3261 section 17.2.3."""

    def test_branch_sent_by_and_method_tell(self) -> None:
        opened = self.receive(
            make_request(cseq=1),
            make_request(cseq=2, branch="z9hG4bKtwo"),
            make_request(cseq=3, sent_by="192.0.2.10:5070"),
            make_request(cseq=4, sent_by="192.0.2.9:5071"),
            make_request("MESSAGE", cseq=5),
        )
        self.assertEqual(len(opened), 5)
        self.assertEqual(self.layer.counters.requests, 5)

    def test_nothing_else_tells(self) -> None:
        opened = self.receive(make_request(), make_request(cseq=2, call_id="x", from_tag="y"))
        self.assertEqual(len(opened), 1)
        self.assertEqual(self.layer.counters.repetitions, 1)

    def test_the_ack_of_a_failure_is_absorbed(self) -> None:
        [invite] = self.receive(make_request("INVITE"))
        invite.answer(486)
        self.receive(make_request("ACK", to_tag=invite.tag))
        self.assertIs(invite.state, State.CONFIRMED)
        self.assertEqual(self.acks, [])

    def test_other_acks_go_to_the_tu(self) -> None:
        stray = make_request("ACK", branch="z9hG4bKstray")
        self.receive(stray)
        self.assertEqual(self.acks, [(stray, UDP)])
        self.assertEqual(self.layer.server_transactions, 0)


class OldPeerTests(LayerTestCase):
    """RFC 2543: no branch, or one that says nothing."""

    def old(self, method: str = "OPTIONS", **fields: Any) -> Request:
        return make_request(method, **{"branch": None, **fields})

    def test_a_repetition(self) -> None:
        for branch in (None, "1"):
            with self.subTest(branch):
                opened = self.receive(self.old(branch=branch), self.old(branch=branch))
                self.assertEqual(len(opened), 1)
                self.layer.stop()
                self.setUp()

    def test_each_of_these_tells(self) -> None:
        different: list[dict[str, Any]] = [
            {"uri": "sip:conf2@example.com"},
            {"from_tag": "bob"},
            {"to_tag": "other"},
            {"call_id": "call-2"},
            {"cseq": 2},
            {"sent_by": "192.0.2.9:5071"},
            {"branch": "2"},
        ]
        for fields in different:
            with self.subTest(str(fields)):
                self.setUp()
                self.receive(self.old(to_tag="dialog"), self.old(**{"to_tag": "dialog", **fields}))
                self.assertEqual(self.layer.counters.repetitions, 0)

    def test_the_ack_of_a_failure(self) -> None:
        [invite] = self.receive(self.old("INVITE"))
        invite.answer(486)
        self.receive(self.old("ACK", to_tag=invite.tag))
        self.assertIs(invite.state, State.CONFIRMED)
        self.assertEqual(self.acks, [])

    def test_the_ack_of_a_failure_in_a_dialog(self) -> None:
        [invite] = self.receive(self.old("INVITE", to_tag="dialog"))
        invite.answer(491)
        self.receive(self.old("ACK", to_tag="dialog"))
        self.assertIs(invite.state, State.CONFIRMED)

    def test_the_ack_of_a_2xx_goes_to_the_tu(self) -> None:
        # RFC 6026 section 6: it matches the transaction, and must not be absorbed.
        [invite] = self.receive(self.old("INVITE"))
        invite.answer(200)
        self.receive(self.old("ACK", to_tag=invite.tag))
        self.assertEqual(len(self.acks), 1)

    def test_cancel(self) -> None:
        [invite, cancel] = self.receive(self.old("INVITE"), self.old("CANCEL"))
        self.assertIs(cancel.cancelled, invite)


class CancelTests(LayerTestCase):
    """RFC 3261 section 9.2."""

    def test_the_invite_that_it_means(self) -> None:
        [invite, cancel] = self.receive(make_request("INVITE"), make_request("CANCEL"))
        self.assertIs(cancel.cancelled, invite)
        cancel.answer(200)
        invite.answer(487)
        self.assertEqual(self.sender.statuses, [200, 487])
        first, second = self.sender.responses
        self.assertEqual(first.to.tag, second.to.tag)
        self.assertEqual((first.cseq.method, second.cseq.method), ("CANCEL", "INVITE"))

    def test_a_repetition_is_absorbed(self) -> None:
        self.receive(make_request("INVITE"), make_request("CANCEL"))
        self.assertEqual(self.receive(make_request("CANCEL")), [])

    def test_of_no_transaction(self) -> None:
        self.receive(make_request("INVITE"))
        [cancel] = self.receive(make_request("CANCEL", branch="z9hG4bKtwo"))
        self.assertIsNone(cancel.cancelled)

    def test_of_something_else_has_no_effect_and_gets_200(self) -> None:
        [options] = self.receive(make_request("OPTIONS"))
        self.assertEqual(self.receive(make_request("CANCEL")), [])
        self.assertEqual(self.sender.statuses, [200])
        self.assertIs(options.state, State.TRYING)

    def test_after_the_answer(self) -> None:
        [invite] = self.receive(make_request("INVITE"))
        invite.answer(200)
        [cancel] = self.receive(make_request("CANCEL"))
        self.assertIs(cancel.cancelled, invite)
        self.assertFalse(invite.answer(487))


class MergedTests(LayerTestCase):
    """RFC 3261 section 8.2.2.2: the same request by two ways."""

    def test_482(self) -> None:
        for method in ("INVITE", "MESSAGE"):
            with self.subTest(method):
                self.setUp()
                opened = self.receive(
                    make_request(method), make_request(method, branch="z9hG4bKtwo")
                )
                self.assertEqual(len(opened), 1)
                self.assertEqual(self.sender.statuses, [482])
                self.assertEqual(self.layer.counters.merged, 1)

    def test_482_after_a_2xx(self) -> None:
        for method in ("INVITE", "MESSAGE"):
            with self.subTest(method):
                self.setUp()
                [first] = self.receive(make_request(method))
                first.answer(200)
                self.assertEqual(self.receive(make_request(method, branch="z9hG4bKtwo")), [])
                self.assertEqual(self.sender.statuses, [200, 482])

    def test_not_after_a_failure(self) -> None:
        # A proxy that goes through its targets may come back to us.
        for method in ("INVITE", "MESSAGE"):
            with self.subTest(method):
                self.setUp()
                [first] = self.receive(make_request(method))
                first.answer(480)
                self.assertEqual(len(self.receive(make_request(method, branch="z9hG4bKtwo"))), 1)

    def test_not_after_its_time(self) -> None:
        [first] = self.receive(make_request("MESSAGE"))
        first.answer(200)
        self.clock.advance(33)
        self.assertEqual(len(self.receive(make_request("MESSAGE", branch="z9hG4bKtwo"))), 1)

    def test_not_in_a_dialog(self) -> None:
        opened = self.receive(
            make_request("BYE", to_tag="conf"),
            make_request("BYE", to_tag="conf", branch="z9hG4bKtwo"),
        )
        self.assertEqual(len(opened), 2)

    def test_not_another_request(self) -> None:
        opened = self.receive(
            make_request(),
            make_request(branch="z9hG4bK2", cseq=2),
            make_request(branch="z9hG4bK3", call_id="call-2"),
            make_request(branch="z9hG4bK4", from_tag="bob"),
        )
        self.assertEqual(len(opened), 4)

    def test_the_482_is_a_transaction_too(self) -> None:
        self.receive(make_request("INVITE"), make_request("INVITE", branch="z9hG4bKtwo"))
        self.receive(make_request("INVITE", branch="z9hG4bKtwo"))
        self.assertEqual(len(self.sender.repeated), 1)
        self.receive(make_request("ACK", branch="z9hG4bKtwo"))
        self.assertEqual(self.acks, [])


class OverloadTests(LayerTestCase):
    limit = 2

    def test_503_without_state(self) -> None:
        self.receive(make_request(cseq=1), make_request(cseq=2, branch="z9hG4bKtwo"))
        third = make_request(cseq=3, branch="z9hG4bKthree")
        self.assertEqual(self.receive(third, third), [])
        self.assertEqual(self.sender.statuses, [503, 503])
        first, second = self.sender.responses
        self.assertEqual(first.headers.get("Retry-After"), "10")
        self.assertEqual(first.to.tag, second.to.tag)
        self.assertEqual(self.layer.server_transactions, 2)
        self.assertEqual(self.layer.counters.overload, 2)

    def test_the_tu_is_told(self) -> None:
        told: list[tuple[int, str]] = []
        self.layer.on_refused = lambda status, reason, request, flow: told.append(
            (status, request.call_id)
        )
        self.receive(
            make_request(call_id="a"),
            make_request(call_id="a", branch="z9hG4bKtwo"),
            make_request(call_id="b", branch="z9hG4bKthree"),
        )
        self.assertEqual(told, [(482, "a"), (503, "b")])

    def test_what_is_there_goes_on(self) -> None:
        [invite, _] = self.receive(
            make_request("INVITE"), make_request(cseq=2, branch="z9hG4bKtwo")
        )
        [cancel] = self.receive(make_request("CANCEL"))
        self.assertIs(cancel.cancelled, invite)
        self.receive(make_request("ACK", branch="z9hG4bKx"))
        self.assertEqual(len(self.acks), 1)
        self.receive(make_request("INVITE"))
        self.assertEqual(self.sender.statuses, [])

    def test_a_cancel_of_nothing_is_refused(self) -> None:
        self.receive(make_request(cseq=1), make_request(cseq=2, branch="z9hG4bKtwo"))
        self.receive(make_request("CANCEL", branch="z9hG4bKx"))
        self.assertEqual(self.sender.statuses, [503])

    def test_room_again(self) -> None:
        for transaction in self.receive(make_request(), make_request("MESSAGE")):
            transaction.answer(200)
        self.clock.advance(33)
        self.assertEqual(len(self.receive(make_request(cseq=3, branch="z9hG4bKx"))), 1)


class ResponseTests(LayerTestCase):
    """RFC 3261 section 17.1.3."""

    def test_unmatched_responses_are_dropped_and_counted(self) -> None:
        transaction = self.layer.request(make_request(headers=()), TARGETS["udp"])
        got: list[int] = []
        transaction.on_response = lambda response, flow: got.append(response.status)
        request = transaction.request
        other_branch = make_request(branch="z9hG4bKother").response(200)
        other_method = request.response(200)
        other_method.headers.set("CSeq", "1 INVITE")
        for response in (other_branch, other_method):
            self.layer.receive(response, UDP)
        self.assertEqual((got, self.layer.counters.unmatched), ([], 2))

    def test_more_than_one_via(self) -> None:
        """RFC 3261 section 8.1.3.3: it was not meant for us."""
        request = make_request()
        request.headers.remove("Via")
        transaction = self.layer.request(request, TARGETS["udp"])
        response = transaction.request.response(200)
        response.headers.add("Via", "SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKx")
        self.layer.receive(response, UDP)
        self.assertEqual(self.layer.counters.unmatched, 1)


class TransactionUserTests(LayerTestCase):
    def test_an_error_in_the_tu_is_500(self) -> None:
        def fail(transaction: ServerTransaction) -> None:
            raise RuntimeError("a bug")

        self.layer.on_request = fail
        self.receive(make_request())
        self.assertEqual(self.sender.statuses, [500])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_error_after_the_answer(self) -> None:
        def fail(transaction: ServerTransaction) -> None:
            transaction.answer(200)
            raise RuntimeError("a bug")

        self.layer.on_request = fail
        self.receive(make_request())
        self.assertEqual(self.sender.statuses, [200])
        self.flushLoggedErrors(RuntimeError)

    def test_an_error_in_on_ack(self) -> None:
        def fail(request: Request, flow: Flow) -> None:
            raise RuntimeError("a bug")

        self.layer.on_ack = fail
        self.receive(make_request("ACK"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_answered_at_once_over_tcp_leaves_nothing(self) -> None:
        self.layer.on_request = lambda transaction: (transaction.answer(200), None)[1]
        self.layer.receive(make_request(), TCP)
        self.assertEqual(self.layer.server_transactions, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answered_at_once_over_udp_has_one_timer(self) -> None:
        self.layer.on_request = lambda transaction: (transaction.answer(200), None)[1]
        for number in range(100):
            self.layer.receive(make_request(branch=f"z9hG4bK{number}", cseq=number), UDP)
        self.assertEqual(self.layer.server_transactions, 100)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_stop(self) -> None:
        [transaction] = self.receive(make_request("INVITE"))
        client = self.layer.request(make_request(), TARGETS["udp"])
        log: list[str] = []
        transaction.on_terminated = lambda: log.append("server")
        client.on_terminated = lambda: log.append("client")
        client.on_response = lambda response, flow: log.append("response")
        self.layer.stop()
        self.receive(make_request(branch="z9hG4bKtwo"))
        self.clock.advance(300)
        self.assertEqual(log, [])
        self.assertEqual(self.sender.statuses, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(transaction.answer(200))


class IdentifierTests(SynchronousTestCase):
    def test_they_are_new_each_time(self) -> None:
        for make in (new_branch, new_tag, new_call_id):
            self.assertEqual(len({make() for _ in range(100)}), 100)

    def test_a_branch_has_the_magic_cookie(self) -> None:
        self.assertTrue(new_branch().startswith("z9hG4bK"))
