"""How often a watcher wants to be told (RFC 6446)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Parameterized

_RATE = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,10})?")

_PERIODS = 5
"""The period of the adaptive minimum rate, in notifications at that rate (RFC 6446 §7.4)."""


@frozen
class Rates:
    """What was agreed on, in notifications per second; None where nothing was asked for."""

    maximum: float | None = None
    minimum: float | None = None
    adaptive: float | None = None

    @classmethod
    def of_event(cls, event: Parameterized) -> Rates:
        """What the Event of a SUBSCRIBE asks for. Raises `SipSyntaxError`."""
        return cls(
            _rate(event, "max-rate"), _rate(event, "min-rate"), _rate(event, "adaptive-min-rate")
        )

    def adjusted(self, interval: float, lifetime: float) -> Rates:
        """What is kept to: at most one in `interval` seconds, one in `lifetime` at least.

        RFC 6446 §5.3 asks for the latter, and §8 for minimal rates that are not above the
        maximal one.
        """
        fastest = 1.0 / interval
        maximum = self.maximum
        if maximum is not None:
            maximum = min(max(maximum, 1.0 / max(lifetime, interval)), fastest)
        limit = fastest if maximum is None else maximum
        adaptive = None if self.adaptive is None else min(self.adaptive, limit)
        minimum = None if self.minimum is None else min(self.minimum, limit)
        if minimum is not None and adaptive is not None and minimum > adaptive:
            minimum = None
        return Rates(maximum, minimum, adaptive)

    def least_gap(self, interval: float) -> float:
        """Seconds from one notification to the next, at least."""
        return interval if self.maximum is None else max(interval, 1.0 / self.maximum)

    def greatest_gap(self, now: float, sent: Iterable[float]) -> float | None:
        """Seconds until the next one though nothing has changed; None for any number.

        `sent` are the times at which the last ones were sent.
        """
        gaps = [] if self.minimum is None else [1.0 / self.minimum]
        if self.adaptive is not None:
            period = _PERIODS / self.adaptive
            count = max(1, sum(1 for each in sent if each > now - period))
            gap = count / (self.adaptive**2 * period)
            gaps.append(gap if self.maximum is None else max(gap, 1.0 / self.maximum))
        return min(gaps, default=None)

    def history(self, now: float) -> deque[float]:
        """The times of notifications at the adaptive rate, with which a subscription begins."""
        times: deque[float] = deque(maxlen=8 * _PERIODS)
        if self.adaptive is not None:
            times.extend(now - number / self.adaptive for number in range(_PERIODS - 1, 0, -1))
        return times

    def __str__(self) -> str:
        """The parameters of Subscription-State, each after a semicolon."""
        named = (
            ("max-rate", self.maximum),
            ("min-rate", self.minimum),
            ("adaptive-min-rate", self.adaptive),
        )
        return "".join(f";{name}={_shown(value)}" for name, value in named if value is not None)


def _rate(event: Parameterized, name: str) -> float | None:
    text = event.parameter(name)
    if text is None:
        return None
    value = float(text) if _RATE.fullmatch(text) else 0.0
    if value <= 0:
        raise SipSyntaxError(f"Event: {name} is a number of notifications per second above 0")
    return value


def _shown(value: float) -> str:
    text = f"{value:.10f}".rstrip("0").rstrip(".")
    return text if text != "0" else "0.0000000001"
