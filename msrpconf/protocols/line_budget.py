"""How much of the log is for what peers do wrong."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.flow import quota_key

LINES = 10
"""Lines that one peer's messages may fill in `PERIOD`."""

ALL_LINES = 200
"""Lines that all peers together may fill in `PERIOD`: over UDP, peers can be made up."""

PERIOD = 60.0
"""Seconds."""


class LineBudget:
    """How many log lines peers may cause, so that nobody can fill the disk from outside."""

    def __init__(self, clock: IReactorTime, lines: int = LINES, all_lines: int = ALL_LINES) -> None:
        self._clock = clock
        self._lines = lines
        self._all_lines = all_lines
        self._start = clock.seconds()
        self._spent: Counter[str] = Counter()
        self._total = 0
        self._left_out = 0

    def take(self, host: str) -> str | None:
        """What to add to a line about this peer, most often nothing; None: leave the line out."""
        now = self._clock.seconds()
        note = ""
        if now - self._start >= PERIOD:
            if self._left_out:
                note = f"; {self._left_out} such lines were left out before"
            self._start, self._total, self._left_out = now, 0, 0
            self._spent.clear()
        key = quota_key(host)
        if self._total >= self._all_lines or self._spent.get(key, 0) >= self._lines:
            self._left_out += 1
            return None
        self._total += 1
        self._spent[key] += 1
        return note
