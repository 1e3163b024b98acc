"""What is known of peers for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_KEYS = 1000
"""Keys that are remembered at a time."""


class ShortMemory(Generic[K, V]):
    """Values that are forgotten after `lifetime` seconds, or when `size` newer ones have come."""

    def __init__(self, clock: IReactorTime, lifetime: float, size: int = MAX_KEYS) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._size = size
        self._values: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value; None where it was never known, or is forgotten."""
        known = self._values.get(key)
        if known is None or known[1] <= self._clock.seconds():
            return None
        return known[0]

    def put(self, key: K, value: V, lifetime: float | None = None) -> None:
        """Remembers a value, from now on; for `lifetime` seconds, if that is said."""
        lasts = self._lifetime if lifetime is None else lifetime
        self._values[key] = value, self._clock.seconds() + lasts
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
