"""Timers that have names: of each name there is one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timers:
    """The timers of one thing on `clock`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._running: dict[str, IDelayedCall] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def set(self, name: str, seconds: float, do: Callable[..., Any], *arguments: Any) -> None:
        """Have `do` called in `seconds`, and not what the timer `name` was set for before."""
        self.cancel(name)

        def now() -> None:
            del self._running[name]
            do(*arguments)

        self._running[name] = self._clock.callLater(seconds, now)

    def ahead(self, name: str) -> float | None:
        """The seconds until something is called; None where nothing is to be."""
        timer = self._running.get(name)
        return None if timer is None else timer.getTime() - self._clock.seconds()

    def cancel(self, *names: str) -> None:
        """Have nothing called, if anything was to be."""
        for name in names:
            timer = self._running.pop(name, None)
            if timer is not None:
                timer.cancel()

    def stop(self) -> None:
        """Cancel all of them."""
        self.cancel(*list(self._running))
