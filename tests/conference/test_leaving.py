"""How people leave, or are sent out (RFC 3261 §15)."""

from __future__ import annotations

from msrpconf.conference.participant import State
from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import (
    TEXT_TYPES,
    ControlTestCase,
    cpim,
)


class LeaveTests(ControlTestCase):
    def test_bye(self) -> None:
        alice = self.joined("alice")
        participant, session = alice.participant, alice.session
        self.assertEqual(alice.send("BYE").status, 200)
        self.assertIs(participant.state, State.DROPPED)
        self.assertTrue(session.closed)
        self.assertTrue(alice.connected.transport.disconnecting)
        self.assertEqual(self.channel.sent, [])
        self.assertNobodyIsLeft()
        self.assertEqual(alice.send("BYE").status, 481)

    def test_bye_before_the_ack(self) -> None:
        alice = self.client("alice")
        alice.invite()
        self.assertEqual(alice.send("BYE").status, 200)
        self.assertNobodyIsLeft()

    def test_nothing_is_taken_or_sent_afterwards(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        late = alice.frame(cpim("late"))
        begun = alice.frame(cpim("begun"), "m2")
        alice.connected.says(begun[:-30])
        alice.send("BYE")
        alice.connected.says(begun[-30:], late)
        self.assertEqual(bob.hears(), [])
        bob.say(cpim("gone?", from_="<sip:bob@home.com>"))
        self.assertEqual(alice.connected.hears(), [])
        self.assertEqual(bob.told(), ["200 OK"])

    def test_bye_out_of_order(self) -> None:
        alice = self.joined("alice")
        answer = alice.send("BYE", cseq=100)
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.room.participants), 1)

    def test_the_server_ends(self) -> None:
        alice, bob = self.joined("alice"), self.client("bob", types=TEXT_TYPES)
        bob.invite()
        carol = self.joined("carol", room="sip:conf2@conf.example.com")
        done = self.control.close(Reason("SIP", 503, "Going down"))
        self.assertNobodyIsLeft()
        self.assertEqual(
            sorted(each.call_id for each in self.channel.requests),
            sorted(each.call_id for each in (alice, bob, carol)),
        )
        for bye in self.channel.requests:
            self.assertEqual(bye.headers.get("Reason"), 'SIP;cause=503;text="Going down"')
        self.assertNoResult(done)
        self.channel.answer()
        self.assertEqual(len(self.successResultOf(done)), 3)

    def test_the_server_ends_with_nobody_in(self) -> None:
        self.assertEqual(self.successResultOf(self.control.close(Reason("SIP", 503, "x"))), [])

    def test_without_a_channel(self) -> None:
        self.joined("alice")
        self.control.channel = None
        done = self.control.close(Reason("SIP", 503, "Going down"))
        self.assertEqual(len(self.successResultOf(done)), 1)
        self.assertNobodyIsLeft()


class ConnectionTests(ControlTestCase):
    """A broken MSRP connection: a grace time, then BYE."""

    def test_who_comes_back_in_time_stays(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        alice.connected.vanishes()
        self.clock.advance(14.9)
        alice.connect()
        self.clock.advance(60)
        self.assertIs(alice.participant.state, State.JOINED)
        self.assertEqual(self.channel.sent, [])
        bob.say(cpim("welcome back", from_="<sip:bob@home.com>"))
        self.assertEqual(len(alice.hears()), 1)

    def test_who_does_not_come_back_gets_a_bye(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        alice.connected.vanishes()
        self.clock.advance(14.9)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        bye = self.bye()
        self.assertEqual(bye.call_id, alice.call_id)
        self.assertEqual(
            Reason.parse(bye.headers.get("Reason") or ""),
            Reason(
                "SIP",
                408,
                "MSRP was lost (Connection to the other side was lost in a non-clean fashion:"
                " gone) and did not come back within 15 s",
            ),
        )
        self.assertEqual(list(self.room.participants), [bob.participant])

    def test_nothing_is_kept_for_who_is_away(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        alice.connected.vanishes()
        bob.say(cpim("missed", from_="<sip:bob@home.com>"))
        alice.connect()
        self.assertEqual(alice.hears(), [])

    def test_the_grace_time_begins_anew_each_time(self) -> None:
        alice = self.joined("alice")
        for _ in range(3):
            alice.connected.vanishes()
            self.clock.advance(10)
            alice.connect()
        self.assertEqual(self.channel.sent, [])

    def test_bye_within_the_grace_time(self) -> None:
        alice = self.joined("alice")
        alice.connected.vanishes()
        alice.send("BYE")
        self.assertNobodyIsLeft()

    def test_481_is_as_if_the_client_had_hung_up(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        bob.say(cpim("one", from_="<sip:bob@home.com>"))
        (frame,) = alice.hears()
        alice.responds(frame, "481 No such session")
        self.assertIsNone(alice.session.connection)
        # Messages that go on must not keep alive who does not hear them.
        for _ in range(3):
            self.clock.advance(5)
            bob.say(cpim("more", from_="<sip:bob@home.com>"))
        self.clock.advance(0.1)
        self.assertEqual(self.bye().call_id, alice.call_id)

    def test_481_and_back_again(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        bob.say(cpim("one", from_="<sip:bob@home.com>"))
        (frame,) = alice.hears()
        alice.responds(frame, "481 No such session")
        alice.connect()
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_other_failures_are_of_one_message(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        bob.say(cpim("one", from_="<sip:bob@home.com>"))
        (frame,) = alice.hears()
        for status in ("415 What is that", "200 OK", "413 Too large"):
            alice.responds(frame, status)
        self.assertIsNotNone(alice.session.connection)


class ByeAnswerTests(ControlTestCase):
    """What becomes of a BYE is nobody's problem any more, but for the operator's log."""

    def drop(self) -> None:
        self.client("alice").invite()
        self.clock.advance(5.1)
        self.events.clear()

    def test_answers_that_need_no_word(self) -> None:
        for status in (200, 408, 481):
            self.drop()
            self.channel.answer(status)
            self.assertEqual(self.logged, [])

    def test_an_answer_that_surprises_is_logged(self) -> None:
        self.drop()
        self.channel.answer(403)
        self.assertEqual(
            self.logged,
            ["BYE to sip:alice@home.com was answered 403 Forbidden (Call-ID alice@home.com)"],
        )

    def test_the_channel_breaks(self) -> None:
        self.drop()
        self.channel.sent[0][1].errback(ConnectionError("no focus"))
        self.assertEqual(
            self.logged,
            ["BYE to sip:alice@home.com could not be sent: no focus (Call-ID alice@home.com)"],
        )
