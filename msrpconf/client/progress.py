"""How far a file has passed, for people to see."""

from __future__ import annotations

from collections.abc import Callable

from msrpconf.visible import visible

BAR = 20
"""Characters of a bar."""

REDRAW = 0.1
"""Seconds between two states of a bar."""

LINE = 2.0
"""Seconds between two lines, where each state takes a line."""

STEP = 10
"""Per cent between two lines."""

MAX_NAME = 30
"""Characters of a file's name that are shown with it."""


class Progress:
    """The state of one file; call it with the octets that have passed, and those in all.

    `changed` is called when there is something new to show, which is seldom enough to be shown;
    `in_lines` where each time takes a line. `seconds` gives the time.
    """

    def __init__(
        self,
        name: str,
        changed: Callable[[Progress], None],
        seconds: Callable[[], float],
        in_lines: bool = False,
    ) -> None:
        self.percent = 0
        self._name = visible(name)
        self._changed = changed
        self._seconds = seconds
        self._in_lines = in_lines
        self._shown = 0
        self._since = seconds()

    def __call__(self, passed: int, total: int | None) -> None:
        """Some more has passed."""
        self.percent = min(100, 100 * passed // total) if total else 0
        now = self._seconds()
        if self._in_lines:
            due = now - self._since >= LINE and self.percent - self._shown >= STEP
        else:
            due = now - self._since >= REDRAW and self.percent != self._shown
        if due:
            self._since, self._shown = now, self.percent
            self._changed(self)

    @property
    def bar(self) -> str:
        """``photo.jpg [#####---------------] 25%``"""
        name = self._name if len(self._name) <= MAX_NAME else f"{self._name[: MAX_NAME - 3]}..."
        full = BAR * self.percent // 100
        return f"{name} [{'#' * full}{'-' * (BAR - full)}] {self.percent}%"

    @property
    def line(self) -> str:
        """``photo.jpg: 25%``"""
        return f"{self._name}: {self.percent}%"
