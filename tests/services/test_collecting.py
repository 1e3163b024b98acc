from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services import collecting
from msrpconf.services.collecting import (
    AGAIN,
    INTERVAL,
    LEAST_GROWTH,
    NEVER,
    Collector,
    resident_octets,
)


class Garbage:
    """Python's collector, which tells what it was asked."""

    def __init__(self) -> None:
        self.collections = 0
        self.frozen = False
        self.thresholds: tuple[int, ...] = ()

    def collect(self) -> int:
        self.collections += 1
        return 7

    def freeze(self) -> None:
        self.frozen = True

    def set_threshold(self, *thresholds: int) -> None:
        self.thresholds = thresholds


class Time:
    """Time that the process computes, and time that passes."""

    def __init__(self) -> None:
        self.computed = self.passed = 0.0

    def process_time(self) -> float:
        return self.computed

    def perf_counter(self) -> float:
        self.passed += 0.2
        return self.passed


class CollectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.garbage, self.time, self.clock = Garbage(), Time(), Clock()
        self.octets = 100_000_000
        self.patch(collecting, "gc", self.garbage)
        self.patch(collecting, "time", self.time)
        self.patch(collecting, "resident_octets", lambda: self.octets)
        self.collector = Collector(self.clock)
        self.collector.start()
        self.garbage.collections = 0

    def passes(self, seconds: float, busy: float) -> None:
        """Time passes, of which the process computes a part."""
        for _ in range(int(seconds / INTERVAL)):
            self.time.computed += busy * INTERVAL
            self.clock.advance(INTERVAL)

    def test_what_is_there_at_the_start_is_not_looked_through_again(self) -> None:
        self.assertTrue(self.garbage.frozen)
        self.assertEqual(self.garbage.thresholds[2], NEVER)

    def test_when_there_is_little_to_do(self) -> None:
        self.passes(AGAIN - INTERVAL, 0)
        self.assertEqual(self.garbage.collections, 0)
        self.passes(AGAIN, 0)
        self.assertEqual(self.garbage.collections, 1)

    def test_not_while_there_is_much_to_do(self) -> None:
        self.passes(10 * AGAIN, 0.5)
        self.assertEqual(self.garbage.collections, 0)
        self.passes(INTERVAL, 0.01)
        self.assertEqual(self.garbage.collections, 1)

    def test_when_memory_has_grown(self) -> None:
        self.octets += LEAST_GROWTH + 1
        self.passes(INTERVAL, 1)
        self.assertEqual(self.garbage.collections, 1)
        self.passes(10 * INTERVAL, 1)
        self.assertEqual(self.garbage.collections, 1)
        self.octets *= 2
        self.passes(INTERVAL, 1)
        self.assertEqual(self.garbage.collections, 1)
        self.octets += 1
        self.passes(INTERVAL, 1)
        self.assertEqual(self.garbage.collections, 2)

    def test_the_end(self) -> None:
        self.collector.stop()
        self.collector.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ResidentTests(SynchronousTestCase):
    def test_of_this_process(self) -> None:
        self.assertGreater(resident_octets(), 10_000_000)
