from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import SendError
from msrpconf.client.composing import IDLE, MAX_REFRESH, MAX_TYPING, Composer, Composing, Typists
from msrpconf.client.message import Person
from msrpconf.protocols.xml import XmlError

ALICE = Person("sip:alice@example.com", "Alice")

FROM_THE_RFC = b"""<?xml version="1.0" encoding="UTF-8"?>
<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xsi:schemaLocation="urn:ietf:params:xml:ns:im-composing
iscomposing.xsd">
  <state>%b</state>
  <contenttype>text/plain</contenttype>
  <refresh>90</refresh>
</isComposing>"""


class ComposingTests(SynchronousTestCase):
    def test_read(self) -> None:
        self.assertEqual(Composing.parse(FROM_THE_RFC % b"active"), Composing(True, 90))
        self.assertEqual(Composing.parse(FROM_THE_RFC % b"idle"), Composing(False, 90))

    def test_a_state_that_is_not_known_is_idle(self) -> None:
        self.assertFalse(Composing.parse(FROM_THE_RFC % b"dreaming").active)

    def test_written_and_read(self) -> None:
        for state in (Composing(True, 60), Composing(False)):
            self.assertEqual(Composing.parse(bytes(state)), state)

    def test_what_is_none_is_refused(self) -> None:
        bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><isComposing>&a;</isComposing>'
        for wrong in (b"", b"<isComposing/>", b"<a", bomb, b"<a>" + b" " * 20000 + b"</a>"):
            with self.assertRaises(XmlError):
                Composing.parse(wrong)

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=100))
    def test_any_octets_are_read_or_refused(self, octets: bytes) -> None:
        try:
            Composing.parse(octets)
        except XmlError:
            pass


class ComposerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Composing] = []
        self.answers: list[Deferred[None]] = []
        self.composer = Composer(self.clock, self.send)

    def send(self, document: bytes) -> Deferred[None]:
        self.sent.append(Composing.parse(document))
        self.answers.append(Deferred())
        return self.answers[-1]

    def types_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.composer.typed()
            self.clock.advance(1)

    def test_active_is_told_once(self) -> None:
        self.types_for(20)
        self.assertEqual(self.sent, [Composing(True, 60)])

    def test_and_again_while_it_lasts(self) -> None:
        self.types_for(130)
        self.assertEqual(self.sent, [Composing(True, 60)] * 3)

    def test_a_pause_is_told(self) -> None:
        self.composer.typed()
        self.clock.advance(IDLE - 1)
        self.composer.typed()
        self.clock.advance(IDLE - 1)
        self.assertEqual(len(self.sent), 1)
        self.clock.advance(1)
        self.assertEqual(self.sent[1:], [Composing(False)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.composer.typed()
        self.assertEqual(self.sent[2:], [Composing(True, 60)])

    def test_the_message_tells_that_it_is_over(self) -> None:
        self.composer.typed()
        self.composer.said()
        self.clock.advance(1000)
        self.assertEqual(len(self.sent), 1)

    def test_who_does_not_take_it_is_sent_no_more(self) -> None:
        self.composer.typed()
        self.answers[0].errback(SendError(415, "only text/plain can be said here"))
        self.types_for(100)
        self.assertEqual(len(self.sent), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_passing_fault_is_passed_over(self) -> None:
        self.composer.typed()
        self.answers[0].errback(SendError(408, "no answer"))
        self.types_for(61)
        self.assertEqual(len(self.sent), 2)


class TypistsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[str | None, bool]] = []
        self.typists = Typists(
            self.clock, lambda person, active: self.told.append((person.name, active))
        )

    def test_until_it_is_said(self) -> None:
        self.typists.heard(ALICE, Composing(True, 60))
        self.typists.heard(Person("sip:alice@example.com:5070", "Alice"), Composing(True, 60))
        self.assertEqual(self.told, [("Alice", True)])
        self.typists.said(ALICE)
        self.typists.said(ALICE)
        self.assertEqual(self.told[1:], [("Alice", False)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_until_idle(self) -> None:
        self.typists.heard(ALICE, Composing(False))
        self.assertEqual(self.told, [])
        self.typists.heard(ALICE, Composing(True, 60))
        self.typists.heard(ALICE, Composing(False))
        self.assertEqual(self.told, [("Alice", True), ("Alice", False)])

    def test_until_it_was_not_told_again(self) -> None:
        for refresh, seconds in ((60, 60), (None, 120), (10**8, MAX_REFRESH)):
            self.told.clear()
            self.typists.heard(ALICE, Composing(True, refresh))
            self.clock.advance(seconds - 1)
            self.assertEqual(self.told, [("Alice", True)])
            self.clock.advance(1)
            self.assertEqual(self.told[1:], [("Alice", False)])

    def test_what_is_told_again_goes_on(self) -> None:
        self.typists.heard(ALICE, Composing(True, 60))
        self.clock.advance(50)
        self.typists.heard(ALICE, Composing(True, 60))
        self.clock.advance(50)
        self.assertEqual(self.told, [("Alice", True)])
        self.typists.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_crowd_takes_no_more_than_its_place(self) -> None:
        for number in range(MAX_TYPING + 10):
            self.typists.heard(Person(f"sip:{number}@example.com"), Composing(True))
        self.assertEqual(len(self.told), MAX_TYPING)
        self.assertEqual(len(self.clock.getDelayedCalls()), MAX_TYPING)
