"""How fast somebody may speak: a bucket of tokens that fills by the clock."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime


class TokenBucket:
    """Allows `rate` of something a second, and up to `burst` at once; a rate of 0 allows all."""

    __slots__ = ("_burst", "_clock", "_filled", "_rate", "_tokens")

    def __init__(self, clock: IReactorTime, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled = clock.seconds()

    def touch(self) -> bool:
        """Take a token; False where none is left."""
        if not self._rate:
            return True
        now = self._clock.seconds()
        # A clock that is set back must not take tokens away.
        gained = max(0.0, now - self._filled) * self._rate
        tokens = min(self._burst, self._tokens + gained)
        self._filled = now
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True
