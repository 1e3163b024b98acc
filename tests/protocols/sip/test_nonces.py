"""Nonces: ours, young enough, and used once for each count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.digest import MAX_COUNT
from msrpconf.protocols.sip.nonces import LIFETIME, WINDOW, Nonces


class NoncesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.nonces = Nonces(self.clock, size=10)

    def test_one_after_another(self) -> None:
        nonce = self.nonces.new()
        self.assertNotEqual(nonce, self.nonces.new())
        self.assertTrue(self.nonces.is_fresh(nonce))
        for count in (1, 2, 3):
            self.assertTrue(self.nonces.take(nonce, count))
            self.assertFalse(self.nonces.take(nonce, count))

    def test_they_may_overtake_each_other(self) -> None:
        nonce = self.nonces.new()
        self.assertTrue(self.nonces.take(nonce, 3 + WINDOW))
        self.assertTrue(self.nonces.take(nonce, 5))
        self.assertFalse(self.nonces.take(nonce, 5))
        self.assertTrue(self.nonces.take(nonce, 4))
        self.assertFalse(self.nonces.take(nonce, 3))

    def test_counts_that_cannot_be(self) -> None:
        nonce = self.nonces.new()
        for count in (0, -1, MAX_COUNT + 1):
            self.assertFalse(self.nonces.take(nonce, count))
        self.assertTrue(self.nonces.take(nonce, MAX_COUNT))
        self.assertFalse(self.nonces.take(nonce, 1))

    def test_an_old_one(self) -> None:
        nonce = self.nonces.new()
        self.clock.advance(LIFETIME - 1)
        self.assertTrue(self.nonces.is_fresh(nonce))
        self.clock.advance(1)
        self.assertFalse(self.nonces.is_fresh(nonce))

    def test_what_is_sent_costs_no_memory(self) -> None:
        for _ in range(100):
            self.nonces.is_fresh(self.nonces.new())
        self.assertEqual(len(self.nonces), 0)

    def test_no_more_than_so_many_are_remembered(self) -> None:
        """Those that are forgotten cannot be used again, nor what was made before them."""
        used = []
        never_used = self.nonces.new()
        for _ in range(30):
            self.clock.advance(1)
            used.append(self.nonces.new())
            self.assertTrue(self.nonces.take(used[-1], 1))
        self.assertEqual(len(self.nonces), 10)
        self.assertEqual([self.nonces.is_fresh(each) for each in used], 20 * [False] + 10 * [True])
        self.assertFalse(self.nonces.is_fresh(never_used))
        self.assertTrue(self.nonces.is_fresh(self.nonces.new()))

    def test_old_ones_make_room(self) -> None:
        self.nonces.take(self.nonces.new(), 1)
        self.clock.advance(LIFETIME + 1)
        self.nonces.take(self.nonces.new(), 1)
        self.assertEqual(len(self.nonces), 1)

    def test_another_servers(self) -> None:
        nonce = Nonces(self.clock).new()
        self.assertFalse(self.nonces.is_fresh(nonce))
        self.assertFalse(self.nonces.take(nonce, 1))

    @given(st.text(max_size=120))
    def test_any_text(self, text: str) -> None:
        self.assertFalse(self.nonces.is_fresh(text))
        self.assertFalse(self.nonces.take(text, 1))
