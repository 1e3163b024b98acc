"""When something is to be looked at again: one timer for all subscriptions and feeds."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.presence.feed import Feed
from msrpconf.presence.subscription import Subscription

SPARE = 64
"""Entries that there may be besides twice as many as are awaited."""


class Schedule:
    """Calls `tick` with a feed and `wake` with a subscription when their time has come.

    A subscription's time is that in its `wake`; what was put here for another is nothing.
    """

    def __init__(
        self,
        clock: IReactorTime,
        tick: Callable[[Feed], None],
        wake: Callable[[Subscription], None],
    ) -> None:
        self._clock = clock
        self._tick = tick
        self._wake = wake
        self._heap: list[tuple[float, int, Subscription | Feed]] = []
        self._most = SPARE
        self._serial = count()
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, when: float, what: Subscription | Feed) -> None:
        """Look at it then, in seconds of the clock."""
        if len(self._heap) >= self._most:
            # Those that ended long before they would have expired.
            self._heap = [each for each in self._heap if _is_awaited(each)]
            heapq.heapify(self._heap)
            self._most = 2 * len(self._heap) + SPARE
        heapq.heappush(self._heap, (when, next(self._serial), what))
        self._set_timer()

    def stop(self) -> None:
        """Forget everything."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        self._heap.clear()

    def _set_timer(self) -> None:
        if not self._heap:
            return
        when = self._heap[0][0]
        call = self._call
        if call is not None and call.active():
            if call.getTime() <= when:
                return
            call.cancel()
        self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        self._call = None
        now = self._clock.seconds()
        while self._heap and self._heap[0][0] <= now:
            when, _, what = heapq.heappop(self._heap)
            if isinstance(what, Feed):
                self._tick(what)
            elif what.wake == when:
                self._wake(what)
        self._set_timer()


def _is_awaited(entry: tuple[float, int, Subscription | Feed]) -> bool:
    when, _, what = entry
    if isinstance(what, Feed):
        return True
    return what.wake == when and what.ending is None and not what.over
