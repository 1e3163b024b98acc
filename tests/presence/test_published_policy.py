"""Who may watch a room that is published, and who may see who does."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.identity import ANONYMOUS, Identity
from msrpconf.presence.published_policy import PublishedWatchPolicy
from msrpconf.presence.watching import Decision
from tests.presence.support import ROOM, somebody


class _Conference:
    """Alice owns it, and Bob is in it."""

    def has_user(self, key: str) -> bool:
        return key in ("sip:alice@example.com", "sip:bob@example.com")

    def has_owner(self, key: str) -> bool:
        return key == "sip:alice@example.com"


class PublishedWatchPolicyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.conferences = {ROOM: _Conference()}
        states: Any = self
        self.policy = PublishedWatchPolicy(states)

    def find(self, key: str) -> Any:
        return self.conferences.get(key)

    def test_who_is_in_sees_who_is_in(self) -> None:
        for name, expected in (("bob", Decision.ALLOW), ("carol", Decision.SUMMARY)):
            self.assertIs(self.policy.decide(ROOM, somebody(name)), expected)

    def test_who_owns_it_sees_who_watches(self) -> None:
        self.assertIsNone(self.policy.refuses_watchers(ROOM, somebody("alice")))
        hidden = Identity(ANONYMOUS, None, (ANONYMOUS,))
        for room, user in (
            (ROOM, somebody("bob")),
            (ROOM, hidden),
            ("sip:none@example.com", somebody("alice")),
        ):
            denied = self.policy.refuses_watchers(room, user)
            assert denied is not None
            self.assertEqual(denied.status, 403)
            self.assertIn("owners", denied.reason)
