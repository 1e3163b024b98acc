"""What a ledger finds, and what it takes for explained."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.ledger import (
    ACK_LOST,
    LEFT,
    RECIPIENT_WENT,
    SERVER_DIED,
    SERVER_GONE,
    Death,
    Ledger,
    Said,
    Stay,
)

HERE, THERE = "127.0.0.1:2855", "127.0.0.1:2856"


class LedgerCase(SynchronousTestCase):
    """Alice has said 1 to 5, one a second from 11 s on, and each was answered at once."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.alice = self.stay("alice")
        self.alice.said = [
            Said(number, 10.0 + number, 10.1 + number, HERE) for number in range(1, 6)
        ]
        self.bob = self.stay("bob")
        self.hears(1, 2, 3, 4, 5)

    def stay(self, name: str, since: float = 0.0, server: str = HERE) -> Stay:
        self.ledger.stays[name] = stay = Stay(name, "lobby", [server], since)
        return stay

    def hears(self, *numbers: int) -> None:
        self.bob.heard = [("alice", number) for number in numbers]

    def unexplained(self, *lines: str) -> None:
        self.assertEqual(self.ledger.judge().unexplained, lines)


class LedgerTests(LedgerCase):
    def test_all_is_well(self) -> None:
        verdict = self.ledger.judge()
        self.assertEqual((verdict.answered, verdict.due, verdict.arrived), (5, 5, 5))
        self.assertEqual((verdict.lost, verdict.ended, verdict.unexplained), ({}, {}, ()))

    def test_who_stayed_has_heard_all(self) -> None:
        self.hears(1, 2, 4, 5)
        self.unexplained("bob has not heard 3 of alice, answered at 13.1 s")
        self.hears(1, 2, 3, 4)
        self.unexplained("bob has not heard 5 of alice, answered at 15.1 s")

    def test_once_and_in_order(self) -> None:
        self.hears(1, 2, 2, 3, 4, 5)
        self.unexplained("bob has heard 2 of alice twice")
        self.hears(1, 3, 2, 4, 5)
        self.unexplained("bob has heard 2 of alice after 3")

    def test_what_nobody_said_here(self) -> None:
        self.hears(1, 2, 3, 4, 5, 6)
        self.unexplained("bob has heard 6 of alice, who never said it")
        self.hears(1, 2, 3, 4, 5)
        self.bob.servers = [THERE]
        self.assertIn("bob has heard 1 of alice, who is elsewhere", self.ledger.judge().unexplained)

    def test_what_was_said_before_one_came_and_after_one_went(self) -> None:
        self.bob.since = 12.5
        self.bob.until, self.bob.left = 14.5, True
        self.hears(3, 4)
        verdict = self.ledger.judge()
        self.assertEqual((verdict.due, verdict.arrived, verdict.ended), (2, 2, {LEFT: 1}))
        self.unexplained()

    def test_what_was_not_answered(self) -> None:
        self.alice.said[4].answered = None
        self.hears(1, 2, 3, 4)
        verdict = self.ledger.judge()
        self.assertEqual((verdict.answered, verdict.due, verdict.unexplained), (4, 4, ()))

    def test_a_server_that_died(self) -> None:
        self.ledger.deaths.append(Death("east", 15.5, HERE))
        for stay in (self.alice, self.bob):
            stay.until, stay.why = 16.0, "MSRP broke"
        self.hears(1, 2, 3)
        verdict = self.ledger.judge()
        self.assertEqual((verdict.lost, verdict.ended), ({SERVER_DIED: 2}, {SERVER_GONE: 2}))
        self.unexplained()
        # Only the last ones may be missing, and only for a while.
        self.hears(1, 3)
        self.unexplained("bob has not heard 2 of alice, answered at 12.1 s")
        self.hears()
        self.ledger.deaths = [Death("east", 17.5, HERE)]
        self.alice.until = self.bob.until = 18.0
        self.unexplained(
            "bob has not heard 1 of alice, answered at 11.1 s",
            "bob has not heard 2 of alice, answered at 12.1 s",
        )

    def test_another_server_that_died(self) -> None:
        self.ledger.deaths.append(Death("west", 15.5, THERE))
        self.hears(1, 2, 3, 4)
        self.unexplained("bob has not heard 5 of alice, answered at 15.1 s")
        self.bob.until, self.bob.why = 15.6, "Removed"
        self.hears(1, 2, 3, 4, 5)
        self.unexplained("bob ended at 15.6 s: Removed")

    def test_who_went(self) -> None:
        self.bob.until, self.bob.left = 15.2, True
        self.hears(1, 2, 3, 4)
        self.assertEqual(self.ledger.judge().lost, {RECIPIENT_WENT: 1})
        self.unexplained()

    def test_a_focus_that_died_ends_nobody_who_was_in(self) -> None:
        self.ledger.deaths.append(Death("focus-1", 5.0))
        self.bob.until, self.bob.why = 16.0, "No ACK within 5 s"
        self.assertEqual(self.ledger.judge().ended, {ACK_LOST: 1})
        self.bob.why = "MSRP broke"
        self.unexplained("bob ended at 16.0 s: MSRP broke")
        self.bob.why, self.bob.since = "No ACK within 5 s", -20.0
        self.unexplained("bob ended at 16.0 s: No ACK within 5 s")


class MovesTests(LedgerCase):
    """The room went on at another server after 3."""

    def setUp(self) -> None:
        super().setUp()
        for stay in (self.alice, self.bob):
            stay.servers.append(THERE)
        for said in self.alice.said[3:]:
            said.server = THERE

    def test_what_a_server_had_taken_that_died(self) -> None:
        self.hears(1, 2, 4, 5)
        self.unexplained("bob has not heard 3 of alice, answered at 13.1 s")
        self.ledger.deaths.append(Death("east", 13.5, HERE))
        self.assertEqual(self.ledger.judge().lost, {SERVER_DIED: 1})
        self.unexplained()
        self.hears(1, 3, 4, 5)
        self.unexplained("bob has not heard 2 of alice, answered at 12.1 s")

    def test_what_it_has_handed_over_is_there(self) -> None:
        self.ledger.deaths.append(Death("east", 13.5, HERE, hands_over=True))
        self.hears(1, 2, 4, 5)
        self.unexplained("bob has not heard 3 of alice, answered at 13.1 s")

    def test_who_came_there_later(self) -> None:
        self.bob.servers = [THERE]
        self.bob.since = 14.5
        self.hears(5)
        self.assertEqual(self.ledger.judge().due, 1)
        self.unexplained()
