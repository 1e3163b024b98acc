"""A room with people in it who understand different things."""

from __future__ import annotations

from tests.conference.support import (
    TEXT_TYPES,
    Client,
    ControlTestCase,
    cpim,
)


class TalkTestCase(ControlTestCase):
    """Alice and Bob take message/cpim, Carol and Dave plain text alone."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.joined("alice"), self.joined("bob")
        self.carol = self.joined("carol", types=TEXT_TYPES)
        self.dave = self.joined("dave", types=TEXT_TYPES)
        self.others: tuple[Client, ...] = (self.bob, self.carol, self.dave)

    def assertNobodyHears(self) -> None:
        for each in self.others:
            self.assertEqual(each.connected.hears(), [], each.name)

    def assertRefused(self, status: int, text: str, *, speaker: Client | None = None) -> None:
        """The last message got this answer, and nobody heard of it."""
        (told,) = (speaker or self.alice).told()
        self.assertTrue(told.startswith(f"{status} "), told)
        self.assertIn(text, told)
        self.assertNobodyHears()

    def assertAllIsWell(self) -> None:
        """Whatever happened, what is said now is heard by all."""
        self.alice.told()
        self.alice.say(cpim("still here"), "last")
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertEqual(self.carol.hears_text(), ["alice@home.com: still here"])
        self.assertEqual(len(self.bob.hears()), 1)
