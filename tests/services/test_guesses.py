"""How often somebody may say a wrong password."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services.guesses import BY_HOST, BY_USER, MAX_KEYS, PERIOD, Guesses


class GuessesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guesses = Guesses(self.clock)

    def test_from_one_host(self) -> None:
        for number in range(BY_HOST):
            self.assertEqual(self.guesses.begin("192.0.2.1", f"user{number}"), 0)
        self.clock.advance(100)
        self.assertEqual(self.guesses.begin("192.0.2.1", "alice"), PERIOD - 100)
        self.assertEqual(self.guesses.begin("192.0.2.2", "alice"), 0)
        self.clock.advance(PERIOD - 100)
        self.assertEqual(self.guesses.begin("192.0.2.1", "alice"), 0)

    def test_ipv6_by_the_network_that_one_host_has(self) -> None:
        for number in range(BY_HOST):
            self.guesses.begin(f"2001:db8::{number:x}", "alice")
        self.assertGreater(self.guesses.begin("2001:db8::ffff", "alice"), 0)
        self.assertEqual(self.guesses.begin("2001:db8:0:1::1", "alice"), 0)

    def test_for_one_user(self) -> None:
        for number in range(BY_USER):
            self.guesses.begin(f"192.0.2.{number}", "alice")
        self.assertEqual(self.guesses.begin("198.51.100.1", "alice"), PERIOD)
        self.assertEqual(self.guesses.begin("198.51.100.1", "bob"), 0)

    def test_nobody_is_kept_out_by_others(self) -> None:
        self.guesses.begin("198.51.100.1", "alice")
        self.guesses.right("198.51.100.1", "alice")
        for number in range(BY_USER):
            self.guesses.begin(f"192.0.2.{number}", "alice")
        self.assertEqual(self.guesses.begin("198.51.100.1", "alice"), 0)
        self.assertGreater(self.guesses.begin("198.51.100.2", "alice"), 0)

    def test_what_is_right_does_not_count(self) -> None:
        for _ in range(3 * BY_HOST):
            self.assertEqual(self.guesses.begin("192.0.2.1", "alice"), 0)
            self.guesses.right("192.0.2.1", "alice")

    def test_many_at_one_time_are_no_more(self) -> None:
        """They count from the beginning, not from when they are found to be wrong."""
        begun = [self.guesses.begin("192.0.2.1", "alice") for _ in range(3 * BY_HOST)]
        self.assertEqual(begun.count(0), BY_HOST)

    def test_the_tables_are_bounded(self) -> None:
        for number in range(MAX_KEYS + 100):
            self.guesses.begin(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", str(number))
        self.assertEqual(len(self.guesses), MAX_KEYS)
