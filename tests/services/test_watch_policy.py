"""The room and its documents together say who may watch."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.presence.watching import Decision
from msrpconf.services.watch_policy import RuledWatchPolicy
from msrpconf.xcap.rules import SubHandling
from msrpconf.xcap.watching import RoomRules
from tests.presence.support import ROOM, somebody


class _Room:
    decision = Decision.ALLOW
    refused: Denied | None = None

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        return self.decision

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        return self.refused

    def on_change(self, hook: Callable[[str], None]) -> None:
        self.hook = hook


class _Rules(RoomRules):
    handling = SubHandling.ALLOW

    def decide(self, room: str, watcher: Identity) -> SubHandling:
        return self.handling


class RuledWatchPolicyTests(SynchronousTestCase):
    def test_the_stricter_of_both(self) -> None:
        room, rules = _Room(), _Rules(Clock())
        policy = RuledWatchPolicy(room, rules)
        for handling in SubHandling:
            for decision in (Decision.ALLOW, Decision.SUMMARY, Decision.BLOCK):
                rules.handling, room.decision = handling, decision
                with self.subTest(handling=handling, decision=decision):
                    expected = Decision[handling.name]
                    if decision is Decision.BLOCK or handling is SubHandling.ALLOW:
                        expected = decision
                    self.assertIs(policy.decide(ROOM, somebody()), expected)

    def test_who_watches_is_for_the_room_to_say(self) -> None:
        room = _Room()
        policy = RuledWatchPolicy(room, RoomRules(Clock()))
        self.assertIsNone(policy.refuses_watchers(ROOM, somebody()))
        room.refused = Denied(403, "No")
        self.assertEqual(policy.refuses_watchers(ROOM, somebody()), room.refused)

    def test_both_tell_of_changes(self) -> None:
        room, rules = _Room(), RoomRules(Clock())
        told: list[str] = []
        RuledWatchPolicy(room, rules).on_change(told.append)
        room.hook("sip:a@b")
        rules.put("sip:c@d", ())
        self.assertEqual(told, ["sip:a@b", "sip:c@d"])
