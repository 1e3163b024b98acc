"""Who may watch a room, and when that is another than before."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.identity import ANONYMOUS, Identity
from msrpconf.xcap.rules import SubHandling
from msrpconf.xcap.watching import MAX_DELAY, RoomRules
from tests.xcap.support import document, rule, validity

ROOM = "sip:room@conf.example.com"
ALICE = Identity("sip:alice@example.com", None, ("sip:alice@example.com", "tel:+1234"))
BOB = Identity("sip:bob@example.com", None, ("sip:bob@example.com",))
NOBODY = Identity(ANONYMOUS, None, (ANONYMOUS,))

FOR_ALICE = document(rule('<identity><one id="sip:alice@example.com"/></identity>'))


class RoomRulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rules = RoomRules(self.clock)
        self.changed: list[str] = []
        self.rules.on_change(self.changed.append)

    def decided(self) -> str:
        found = (self.rules.decide(ROOM, each) for each in (ALICE, BOB, NOBODY))
        return " ".join(each.name.lower() for each in found)

    def test_pending_until_something_is_known(self) -> None:
        self.assertEqual(self.decided(), "confirm confirm confirm")
        self.rules.put(ROOM, [])
        self.assertEqual(self.decided(), "allow allow allow")
        self.assertEqual(self.changed, [ROOM])
        self.rules.forget(ROOM)
        self.assertEqual(self.decided(), "confirm confirm confirm")
        self.rules.forget(ROOM)

    def test_documents(self) -> None:
        self.rules.put(ROOM, [FOR_ALICE])
        self.assertEqual(self.decided(), "allow block block")
        bob = rule('<identity><one id="sip:bob@example.com"/></identity>', "polite-block")
        self.rules.put(ROOM, [FOR_ALICE, document(bob)])
        self.assertEqual(self.decided(), "allow polite_block block")
        self.rules.put(ROOM, [document()])
        self.assertEqual(self.decided(), "block block block")
        self.assertEqual(self.changed, [ROOM] * 3)

    def test_the_same_documents_change_nothing(self) -> None:
        for _ in range(3):
            self.rules.put(ROOM, [FOR_ALICE])
        self.assertEqual(self.changed, [ROOM])

    def test_an_anonymous_participant_is_who_the_focus_knows(self) -> None:
        self.rules.put(ROOM, [FOR_ALICE])
        hidden = Identity(ANONYMOUS, None, ALICE.keys, anonymous=True)
        self.assertIs(self.rules.decide(ROOM, hidden), SubHandling.ALLOW)

    def test_what_cannot_be_read_grants_nothing(self) -> None:
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.rules.put(ROOM, [b"<ruleset", document(rule('<mood xmlns="urn:x"/>'))])
        self.assertEqual(self.decided(), "block block block")
        lines = [formatEvent(each) or "" for each in events]
        self.assertIn("is not well-formed", lines[0])
        self.assertIn("it grants nothing", lines[0])
        self.assertIn(f"pres-rules of {ROOM}: rule 'a': '<mood xmlns=urn:x>'", lines[1])

    def test_told_when_a_period_begins_and_ends(self) -> None:
        period = validity("1970-01-01T00:01:00Z", "1970-01-03T00:00:00Z")
        self.rules.put(ROOM, [document(rule(period))])
        self.changed.clear()
        self.clock.advance(59)
        self.assertEqual((self.decided(), self.changed), ("block block block", []))
        self.clock.advance(1)
        self.assertEqual((self.decided(), self.changed), ("allow allow allow", [ROOM]))
        self.clock.pump([MAX_DELAY, 86340 - 1])
        self.assertEqual((self.decided(), self.changed), ("allow allow allow", [ROOM]))
        self.clock.advance(1)
        self.assertEqual((self.decided(), self.changed), ("block block block", [ROOM] * 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timers_are_left(self) -> None:
        period = validity("1970-01-01T00:01:00Z", "1970-01-03T00:00:00Z")
        for leave in (
            lambda: self.rules.put(ROOM, []),
            lambda: self.rules.forget(ROOM),
            self.rules.stop,
        ):
            self.rules.put(ROOM, [document(rule(period))])
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            leave()
            self.assertEqual(self.clock.getDelayedCalls(), [])
