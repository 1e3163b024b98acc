from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.timers import AlarmClock, Timers


class TimersTests(SynchronousTestCase):
    """RFC 3261 table 4."""

    def test_defaults(self) -> None:
        timers = Timers()
        self.assertEqual((timers.t1, timers.t2, timers.t4), (0.5, 4.0, 5.0))
        self.assertEqual(timers.timeout, 32.0)
        self.assertEqual(timers.completed_client, 32.0)

    def test_timer_d_is_at_least_32_seconds(self) -> None:
        self.assertEqual(Timers(t1=0.1).completed_client, 32.0)
        self.assertEqual(Timers(t1=1.0).completed_client, 64.0)

    def test_when_timer_e_reaches_t2(self) -> None:
        # 0.5 + 1 + 2: then it is set to 4.
        self.assertEqual(Timers().trying_other, 3.5)
        self.assertEqual(Timers(t1=1.0, t2=4.0).trying_other, 3.0)
        self.assertEqual(Timers(t1=4.0, t2=4.0).trying_other, 4.0)


class AlarmClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.alarms = AlarmClock(self.clock)
        self.rung: list[tuple[str, float]] = []

    def ring(self, name: str) -> None:
        self.rung.append((name, self.clock.seconds()))

    def test_each_rings_at_its_time(self) -> None:
        self.alarms.set(2.0, lambda: self.ring("a"))
        self.clock.advance(1)
        self.alarms.set(2.0, lambda: self.ring("b"))
        self.alarms.set(0.5, lambda: self.ring("c"))
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.rung, [("c", 1.5), ("a", 2.0), ("b", 3.0)])

    def test_cancelled(self) -> None:
        first = self.alarms.set(2.0, lambda: self.ring("a"))
        self.alarms.set(2.0, lambda: self.ring("b"))
        first.cancel()
        first.cancel()
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.rung, [("b", 2.0)])

    def test_the_reactor_sees_one_call_for_each_length(self) -> None:
        for _ in range(1000):
            self.alarms.set(32.0, lambda: None)
            self.alarms.set(5.0, lambda: None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)

    def test_nothing_is_left_when_all_have_rung(self) -> None:
        self.alarms.set(2.0, lambda: self.ring("a"))
        self.clock.advance(3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_set_while_ringing_delays_nobody(self) -> None:
        def ring_and_set() -> None:
            self.ring("a")
            self.alarms.set(2.0, lambda: None)

        self.alarms.set(2.0, ring_and_set)
        self.clock.advance(0.5)
        self.alarms.set(2.0, lambda: self.ring("b"))
        self.clock.pump([0.5] * 6)
        self.assertEqual(self.rung, [("a", 2.0), ("b", 2.5)])

    def test_a_failing_action_is_logged_and_harms_no_other(self) -> None:
        self.alarms.set(2.0, lambda: self.ring(str(1 // 0)))
        self.alarms.set(2.0, lambda: self.ring("b"))
        self.clock.advance(2)
        self.assertEqual(self.rung, [("b", 2.0)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        self.alarms.set(2.0, lambda: self.ring("a"))
        self.alarms.set(1.0, self.alarms.stop)
        self.alarms.set(1.0, lambda: self.ring("b"))
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.rung, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
