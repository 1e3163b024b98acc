"""The next address where one does not serve (RFC 3263 section 4.3), and which one is the next."""

from __future__ import annotations

from msrpconf.protocols.sip.failover import AVOID_TIME, PATIENCE
from msrpconf.protocols.sip.flow import Address
from tests.protocols.sip.test_requests import (
    CONTACT,
    FIRST,
    SECOND,
    THIRD,
    SendingTestCase,
    bye,
    dialog,
)


class FailoverTests(SendingTestCase):
    def start(self) -> None:
        super().start()
        self.places[CONTACT] = [FIRST, SECOND, THIRD]

    def test_the_next_where_nobody_answers(self) -> None:
        done = self.send(bye())
        self.seconds(PATIENCE - 0.5)
        self.assertEqual(set(self.sent_to), {FIRST})
        self.seconds(1)
        self.assertEqual(self.sent_to[-1], SECOND)
        self.answer(200)
        self.assertEqual(self.successResultOf(done).status, 200)
        # The first is not asked again meanwhile.
        sent = len(self.sent_to)
        self.seconds(40)
        self.assertEqual(len(self.sent_to), sent)
        self.assertEqual(self.layer.client_transactions, 0)

    def test_each_has_a_branch_of_its_own(self) -> None:
        self.send(bye())
        self.answer(503)
        self.answer(503)
        branches = [request.top_via.branch for request, _, _ in self.wire.requests]
        self.assertEqual(len(set(branches)), 3)
        cseqs = {str(request.cseq) for request, _, _ in self.wire.requests}
        self.assertEqual(len(cseqs), 1)

    def test_who_has_said_a_word_is_waited_for(self) -> None:
        done = self.send(bye())
        self.answer(100)
        self.seconds(PATIENCE + 5)
        self.assertEqual(set(self.sent_to), {FIRST})
        self.answer(200)
        self.assertEqual(self.successResultOf(done).status, 200)

    def test_a_late_answer_is_nobodys(self) -> None:
        done = self.send(bye())
        self.seconds(PATIENCE + 0.5)
        self.answer(200, place=0)
        self.assertNoResult(done)
        self.answer(481)
        self.assertEqual(self.successResultOf(done).status, 481)

    def test_the_last_has_all_the_time(self) -> None:
        self.places[CONTACT] = [FIRST, SECOND]
        done = self.send(bye())
        self.seconds(PATIENCE + 31)
        self.assertNoResult(done)
        self.seconds(2)
        response = self.successResultOf(done)
        self.assertEqual(response.status, 408)
        self.assertEqual(response.reason, f"{SECOND}: does not answer")

    def test_an_invite_is_waited_for(self) -> None:
        # Whoever takes it late would wait for an ACK.
        invite = dialog().request("INVITE", [("Contact", "<sip:conf@192.0.2.1>")])[1]
        self.send(invite)
        self.seconds(20)
        self.assertEqual(set(self.sent_to), {FIRST})
        self.answer(503)
        self.assertIn(SECOND, self.sent_to)

    def test_all_of_them_and_no_more(self) -> None:
        many = [Address("udp", f"198.51.100.{number}", 5060) for number in range(1, 9)]
        self.places[CONTACT] = many
        done = self.send(bye())
        self.seconds(7 * PATIENCE + 33)
        self.assertEqual(self.successResultOf(done).status, 408)
        self.assertEqual(list(dict.fromkeys(self.sent_to)), many)

    def test_who_did_not_serve_comes_last_for_a_while(self) -> None:
        done = self.send(bye())
        self.answer(503)
        self.answer(200)
        self.successResultOf(done)
        for after, expected in ((0, SECOND), (AVOID_TIME - 1, SECOND), (1, FIRST)):
            self.seconds(after)
            self.wire.requests.clear()
            self.send(bye())
            self.assertEqual(self.sent_to, [expected])
            self.answer(200)

    def test_an_ack_goes_where_it_can(self) -> None:
        self.wire.dead |= {FIRST, SECOND}
        self.successResultOf(self.sender.send_ack(dialog().ack(1)))
        self.assertEqual(self.sent_to, [THIRD])
        # Those are known now not to serve.
        self.wire.dead.clear()
        self.send(bye())
        self.assertEqual(self.sent_to, [THIRD, THIRD])

    def test_where_all_have_failed_they_are_tried_again(self) -> None:
        for _ in range(2):
            self.wire.requests.clear()
            done = self.send(bye())
            for _ in range(3):
                self.answer(503)
            self.assertEqual(self.successResultOf(done).status, 503)
            self.assertEqual(self.sent_to, [FIRST, SECOND, THIRD])
