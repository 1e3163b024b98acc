"""What peers can make us hold is bounded, and given back when they go."""

from __future__ import annotations

from twisted.python.failure import Failure

from msrpconf.conference.capabilities import Reception
from msrpconf.protocols.msrp.reception import MAX_MESSAGES
from tests.conference.support import MORE, ControlTestCase, cpim, msrp_lines, sdp


class TableTests(ControlTestCase):
    def test_who_is_expected_takes_a_place(self) -> None:
        """INVITEs that nobody acknowledges fill a room, and no more; for 5 s, and no longer."""
        self.configure(max_participants=10)
        answers = [self.client("eve", str(each)).invite().status for each in range(30)]
        self.assertEqual(answers, [200] * 10 + [486] * 20)
        tables = self.registry
        for table in (tables.dialogs, tables.sessions, tables.pending):
            self.assertEqual(len(table), 10)
        self.clock.advance(5.1)
        self.assertNobodyIsLeft()

    def test_the_same_call_again_and_again(self) -> None:
        """Each INVITE without our tag begins a dialog; the last is the one to be cancelled."""
        self.configure(max_participants=3)
        eve = self.client("eve")
        for _ in range(5):
            eve.to = f"<{eve.room}>"
            eve.invite()
        self.assertEqual(len(self.registry.dialogs), 3)
        self.assertEqual(len(self.registry.pending), 1)
        self.clock.advance(5.1)
        self.assertNobodyIsLeft()

    def test_rooms_and_sessions(self) -> None:
        self.configure(max_rooms=5, max_sessions=8)
        answers = [
            self.client("eve", str(each), room=f"sip:room{each % 6}@conf.example.com")
            .invite()
            .status
            for each in range(12)
        ]
        self.assertEqual(answers.count(200), 8)
        self.assertEqual(len(self.registry.rooms), 5)
        self.assertEqual(len(self.registry.sessions), 8)
        self.clock.advance(5.1)
        self.assertNobodyIsLeft()

    def test_no_more_kinds_of_client_than_clients(self) -> None:
        alice = self.joined("alice")
        room = self.room
        for each in range(5):
            alice.types = f"message/cpim text/x-{each}"
            alice.send("UPDATE", alice.offer())
            self.assertEqual(list(room.audiences), [Reception(True, (f"text/x-{each}",))])
        alice.connected.vanishes()
        self.assertEqual(room.audiences, {})
        alice.connect()
        self.assertEqual(len(room.audiences), 1)
        alice.send("BYE")
        self.assertEqual(room.audiences, {})

    def test_equal_kinds_are_one(self) -> None:
        one, other = self.joined("alice"), self.joined("bob")
        self.assertIs(one.participant.reception, other.participant.reception)
        self.assertEqual(len(self.room.audiences), 1)

    def test_timers_go_with_their_participant(self) -> None:
        before = len(self.clock.getDelayedCalls())
        for each in range(5):
            alice = self.client("alice", str(each))
            alice.invite()
            if each % 2:
                alice.send("ACK")
            alice.send("BYE")
        self.assertEqual(len(self.clock.getDelayedCalls()), before)


class DescriptionTests(ControlTestCase):
    def test_a_description_that_is_too_long(self) -> None:
        for body in (
            sdp(*["m=audio 4000 RTP/AVP 0"] * 65, *msrp_lines()),
            sdp(*msrp_lines(), "a=x:" + 70000 * "x"),
            sdp(*msrp_lines(types="message/cpim " + " ".join(f"a/{n}" for n in range(300)))),
            sdp(*msrp_lines(path=" ".join(["msrp://relay.example.com:1/x;tcp"] * 20))),
        ):
            self.assertEqual(self.client("eve").invite(body).status, 488)
        self.assertNobodyIsLeft()


class MessageTests(ControlTestCase):
    def test_messages_that_are_begun_and_not_ended(self) -> None:
        eve, bob = self.joined("eve"), self.joined("bob")
        message = cpim("Hi", from_="<sip:eve@home.com>")
        for each in range(MAX_MESSAGES + 5):
            eve.say(message, f"m{each}", "1-*/*", MORE)
        answers = eve.told()
        self.assertEqual(answers[:MAX_MESSAGES], ["200 OK"] * MAX_MESSAGES)
        self.assertEqual({each[:3] for each in answers[MAX_MESSAGES:]}, {"413"})
        self.assertEqual(len(bob.hears()), MAX_MESSAGES)
        self.assertEqual(len(self.room.transfers), MAX_MESSAGES)
        eve.send("BYE")
        self.assertEqual(self.room.transfers, {})

    def test_pseudonyms_go_with_who_has_them(self) -> None:
        bob = self.joined("bob")
        for each in range(20):
            eve = self.client("eve", str(each), from_="<sip:anonymous@anonymous.invalid>;tag=e")
            eve.join()
            self.assertEqual(len(self.room.participants), 2)
            uri = eve.participant.identity.uri
            self.assertEqual(len(self.room.addressed(uri)), 1)
            eve.send("BYE")
            self.assertEqual(len(self.room.addressed(uri)), 0)
        self.assertEqual(len(self.room._addresses), len(bob.participant.identity.public_keys))
        self.assertEqual(len(self.room._users), 1)
        self.assertEqual(bob.hears(), [])

    def test_the_reason_of_a_lost_connection_is_one_line(self) -> None:
        """It goes into a header of the BYE."""
        eve = self.joined("eve")
        eve.connected.connection.connectionLost(Failure(OSError("one\r\nVia: two")))
        self.clock.advance(15.1)
        self.assertIn("one Via: two", self.bye().headers.get("Reason") or "")
