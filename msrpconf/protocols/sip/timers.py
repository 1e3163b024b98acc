"""Time in transactions: the timers of RFC 3261 section 17, and a cheap way to keep thousands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

# A timer may ring this early, in seconds: sums of floats need not meet to the last bit.
_TOLERANCE = 1e-6


@frozen
class Timers:
    """The lengths of the timers, in seconds (RFC 3261 table 4, RFC 6026, RFC 4320)."""

    t1: float = 0.5
    """Estimate of the round-trip time; first interval between retransmissions."""
    t2: float = 4.0
    """Longest interval between retransmissions, but for INVITE requests."""
    t4: float = 5.0
    """How long a message may stay in the network: timers I and K."""
    trying: float = 0.2
    """After this long without an answer an INVITE gets 100 (RFC 3261 section 17.2.1)."""
    pending: float = 240.0
    """How long an INVITE may have no final response after its last provisional one.

    RFC 3261 gives proxies timer C for this, more than three minutes (section 16.6), and gives
    user agents nothing; without an end, a peer that never answers would hold memory for ever.
    """

    @property
    def timeout(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1

    @property
    def completed_client(self) -> float:
        """Timer D: at least 32 s, for the server's T1 is not known."""
        return max(32.0, self.timeout)

    @property
    def trying_other(self) -> float:
        """How long it takes a client's timer E to be set to T2.

        Before that a request other than INVITE must not get 100 over UDP; then, without an
        answer, it must (RFC 4320 section 4.1).
        """
        elapsed, interval = 0.0, self.t1
        while interval < self.t2:
            elapsed += interval
            interval = min(2 * interval, self.t2)
        return elapsed or self.t1


class Alarm:
    """A call to come. `cancel()` forgets it, as often as one likes."""

    __slots__ = ("_action", "_deadline")

    def __init__(self, deadline: float, action: Callable[[], None]) -> None:
        self._deadline = deadline
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """The call does not come."""
        self._action = None


class AlarmClock:
    """Many timers of a few different lengths.

    Timers of one length ring in the order in which they were set. So each length has a queue,
    of which only the head is known to the reactor: setting and cancelling cost the same
    whether ten timers run or a hundred thousand, and the reactor's heap stays small. Use it
    for lengths that come from configuration, not for arbitrary ones: the queue of a length is
    kept once it was used. `clock` is an `IReactorTime`.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queues: dict[float, deque[Alarm]] = {}
        self._calls: dict[float, IDelayedCall] = {}

    def set(self, delay: float, action: Callable[[], None]) -> Alarm:
        """Calls `action` after `delay` seconds. What it raises is logged."""
        alarm = Alarm(self._clock.seconds() + delay, action)
        queue = self._queues.get(delay)
        if queue is None:
            queue = self._queues[delay] = deque()
        queue.append(alarm)
        if delay not in self._calls:
            self._calls[delay] = self._clock.callLater(delay, self._ring, delay)
        return alarm

    def stop(self) -> None:
        """Forgets all alarms."""
        for queue in self._queues.values():
            queue.clear()
        for call in self._calls.values():
            if call.active():
                call.cancel()
        self._calls.clear()

    def _ring(self, delay: float) -> None:
        queue = self._queues[delay]
        now = self._clock.seconds() + _TOLERANCE
        while queue and (queue[0]._action is None or queue[0]._deadline <= now):
            action = queue.popleft()._action
            if action is None:
                continue
            try:
                action()
            except Exception:
                _log.failure("a timer's action failed")
        # Only now: an action that set a timer of this length must not make the reactor wait
        # for that one alone.
        self._calls.pop(delay, None)
        if queue:
            wait = max(0.0, queue[0]._deadline - self._clock.seconds())
            self._calls[delay] = self._clock.callLater(wait, self._ring, delay)
