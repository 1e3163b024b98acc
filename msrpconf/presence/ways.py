"""How much is under way to one place at a time.

Behind a proxy are many watchers. What is told to all of them at once would be more than a
connection, or a socket, holds; so a few are told, and the next when those have answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from msrpconf.presence.subscription import Subscription
from msrpconf.protocols.sip.timers import AlarmClock

WINDOW = 256 * 1024
"""Octets that may be under way to one place, before others wait; a single NOTIFY may be more."""

MOST = 448 * 1024
"""Octets that may be unanswered, however long: with one more document, less than a connection
holds for who does not read."""

PATIENCE = 2.0
"""Seconds after which who has not answered holds up nobody else."""

LEAST = 4096
"""Octets that a NOTIFY counts for at least: the answers to many come all at once, too, and what
is read at once holds up messages."""

HEAD = 600
"""Octets of a NOTIFY without its body, about."""


@define(eq=False)
class _Way:
    octets: int = 0
    unanswered: int = 0
    waiting: deque[Subscription] = field(factory=deque)

    @property
    def has_room(self) -> bool:
        return self.octets < WINDOW and self.unanswered < MOST


class Ways:
    """What is under way, by where it goes. `resume` is told whose turn it is."""

    def __init__(self, clock: IReactorTime, resume: Callable[[Subscription], None]) -> None:
        self._alarms = AlarmClock(clock)
        self._resume = resume
        self._ways: dict[str, _Way] = {}

    def __len__(self) -> int:
        return len(self._ways)

    def waits(self, subscription: Subscription) -> bool:
        """Whether it has to wait for others; `resume` is called with it when it need not."""
        way = self._ways.get(_name(subscription))
        if way is None or way.has_room:
            return False
        way.waiting.append(subscription)
        return True

    def take(self, subscription: Subscription, octets: int) -> Callable[[], None]:
        """A body of so many octets goes out. What is given is to be called when it is answered."""
        name = _name(subscription)
        way = self._ways.setdefault(name, _Way())
        size = octets + HEAD
        counted = max(size, LEAST)
        way.octets += counted
        way.unanswered += size
        late = False

        def is_late() -> None:
            nonlocal late
            late = True
            way.octets -= counted
            self._go_on(name, way)

        alarm = self._alarms.set(PATIENCE, is_late)

        def answered() -> None:
            alarm.cancel()
            way.unanswered -= size
            if not late:
                way.octets -= counted
            self._go_on(name, way)

        return answered

    def stop(self) -> None:
        """Forget everything."""
        self._alarms.stop()
        self._ways.clear()

    def _go_on(self, name: str, way: _Way) -> None:
        # Two, since what is next may be smaller: the second may have to wait again.
        for _ in range(min(2, len(way.waiting)) if way.has_room else 0):
            self._resume(way.waiting.popleft())
        if not (way.unanswered or way.waiting) and self._ways.get(name) is way:
            del self._ways[name]


def _name(subscription: Subscription) -> str:
    """Where the NOTIFYs of a subscription go first."""
    holder = subscription.holder
    if holder.dialog.route_set:
        return holder.dialog.route_set[0]
    return holder.flow or str(holder.dialog.remote_target)
