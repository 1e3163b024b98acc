"""A bucket of tokens."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.flood import TokenBucket


class TokenBucketTests(SynchronousTestCase):
    def test_a_burst_then_the_rate(self) -> None:
        clock = Clock()
        bucket = TokenBucket(clock, 2.0, 3.0)
        self.assertEqual([bucket.touch() for _ in range(5)], [True] * 3 + [False] * 2)
        clock.advance(0.5)
        self.assertEqual([bucket.touch() for _ in range(2)], [True, False])
        clock.advance(100)
        self.assertEqual([bucket.touch() for _ in range(4)], [True] * 3 + [False])

    def test_a_clock_that_is_set_back(self) -> None:
        clock = Clock()
        clock.advance(1000)
        bucket = TokenBucket(clock, 2.0, 3.0)
        self.assertTrue(bucket.touch())
        clock.rightNow -= 900
        self.assertEqual([bucket.touch() for _ in range(3)], [True, True, False])
        clock.advance(0.5)
        self.assertTrue(bucket.touch())

    def test_no_rate_no_limit(self) -> None:
        bucket = TokenBucket(Clock(), 0, 0)
        self.assertTrue(all(bucket.touch() for _ in range(1000)))
