"""What a room is about."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.roles import Role
from msrpconf.conference.subject import MAX_SUBJECT, change_subject, clean_subject
from tests.conference.referring import ReferTestCase
from tests.conference.support import TEXT_TYPES, Client


class CleanTests(SynchronousTestCase):
    def test_one_line_of_what_can_be_shown(self) -> None:
        for text, expected in (
            ("Lunch on Friday", "Lunch on Friday"),
            ("  Déjeuner\r\n\t vendredi ", "Déjeuner vendredi"),
            ("a\x1b[31mb\x00c\u202ed\u2028e", "a [31mb c d e"),
            ("\ud800\udcff?", "?"),
            ("👩\u200d🚀", "👩\u200d🚀"),
            ("", None),
            (" \r\n ", None),
            ("x" * 9000, "x" * MAX_SUBJECT),
        ):
            self.assertEqual(clean_subject(text), expected)

    @settings(deadline=None)
    @given(st.text(max_size=600))
    def test_anything(self, text: str) -> None:
        subject = clean_subject(text)
        if subject is not None:
            self.assertTrue(0 < len(subject) <= MAX_SUBJECT)
            self.assertEqual(clean_subject(subject), subject)
            subject.encode("utf-8")


class SubjectTests(ReferTestCase):
    def creator(self, subject: str, **options: str) -> Client:
        alice = self.client("alice", **options)
        answer = alice.invite(headers=(("Subject", subject),))
        self.assertEqual(answer.status, 200)
        alice.send("ACK")
        return alice.connect()

    def test_of_the_invite_that_creates_the_room(self) -> None:
        self.creator("Lunch\ton Friday")
        self.assertEqual(self.room.subject, "Lunch on Friday")
        # Who joins later has nothing to say about it.
        self.client("bob").invite(headers=(("Subject", "Bob's room"),))
        self.assertEqual(self.room.subject, "Lunch on Friday")

    def test_there_need_be_none(self) -> None:
        self.joined("alice")
        self.assertIsNone(self.room.subject)

    def test_invitations_have_it(self) -> None:
        alice = self.creator("Lunch")
        self.refer(alice, "<sip:carol@example.com>")
        [refer] = self.answer_refers()
        self.assertEqual(refer.headers.get("Subject"), "Lunch")

    def test_it_is_changed_and_everybody_told(self) -> None:
        self.configure(notices=True)
        alice = self.creator("Lunch", types=TEXT_TYPES)
        bob = self.joined("bob", types=TEXT_TYPES)
        for client in (alice, bob):
            client.hears()
        owner = alice.participant.identity
        self.assertIsNone(change_subject(self.room, owner, " Dinner\r\n"))
        self.assertIsNone(change_subject(self.room, owner, "Dinner"))
        self.assertIsNone(change_subject(self.room, owner, ""))
        self.assertIsNone(self.room.subject)
        for client in (alice, bob):
            self.assertEqual(
                client.hears_text(),
                [
                    "*** alice@home.com has changed the subject: Dinner",
                    "*** alice@home.com has taken the subject away",
                ],
            )

    def test_who_may_not(self) -> None:
        self.creator("Lunch")
        bob = self.joined("bob")
        denied = change_subject(self.room, bob.participant.identity, "Mine")
        assert denied is not None
        self.assertEqual((denied.status, self.room.subject), (403, "Lunch"))
        self.make(Role.MODERATOR, "bob")
        self.assertIsNone(change_subject(self.room, bob.participant.identity, "Mine"))
        self.assertEqual(self.room.subject, "Mine")
