"""Who has left is freed at once, by reference counting alone (services/collecting.py)."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import Any

from tests.conference.support import TEXT_TYPES, ControlTestCase, cpim

CROWD = 1000
"""How many come and go."""


class FreedTests(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def circles(self) -> Counter[str]:
        """What only the collector frees, of ours: the number of objects of each kind."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            return Counter(
                type(each).__qualname__
                for each in gc.garbage
                if type(each).__module__.startswith("msrpconf.")
            )
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.collect()

    def test_a_thousand_who_come_and_go(self) -> None:
        alice = self.joined("alice")
        gone: list[weakref.ref[Any]] = []
        self.circles()
        for number in range(CROWD):
            bob = self.joined(f"bob{number}")
            gone.append(weakref.ref(bob.session))
            self.assertEqual(bob.send("BYE").status, 200)
        del bob
        alice.connected.hears()
        left = sum(each() is not None for each in gone)
        # The last one may still be in a local variable of somebody's.
        self.assertLessEqual(left, 1)
        self.assertEqual(self.circles(), Counter())

    def comes_and_goes(self, how: str) -> None:
        """Somebody is in for a while, and goes in the way `how` says."""
        alice = self.joined("alice")
        bob = self.joined("bob", types=TEXT_TYPES if how == "text" else "message/cpim text/plain")
        bob.say(cpim("hi", from_="<sip:bob@home.com>") if how != "text" else b"hi",
                content_type="text/plain" if how == "text" else "message/cpim")  # fmt: skip
        alice.say(cpim("ho"))
        bob.connected.hears()
        alice.connected.hears()
        if how == "unread":
            alice.say(cpim("ho"), "m2")
        elif how == "begun":
            bob.connected.says(bob.frame(cpim("begun"), "m3")[:-30])
        elif how == "vanished":
            bob.connected.vanishes()
            self.clock.advance(60)
        if how != "vanished":
            bob.send("BYE")
            bob.connected.vanishes()
        self.clock.advance(700)
        self.channel.answer()
        self.channel.sent.clear()
        alice.send("BYE")
        alice.connected.vanishes()
        self.clock.advance(700)

    def test_however_they_go(self) -> None:
        for how in ("BYE", "text", "unread", "begun", "vanished"):
            self.comes_and_goes(how)
            found = self.circles()
            # A room and its information hold each other; nothing of who was in it is there.
            for kind in ("Participant", "Session", "Dialog", "Agreement", "Said", "_Entry"):
                self.assertNotIn(kind, found, how)
            self.assertLessEqual(found["Room"], 1, how)
