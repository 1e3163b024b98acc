"""The log of a server that runs in the foreground: one event a line, for people to read.

    2026-11-23 09:25:39 info      MSRP at tcp:127.0.0.1:2855

Further lines of an event are indented, and what a peer wrote is made visible, so that no peer
writes lines into the log that look like ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from msrpconf.visible import visible_lines

# What Twisted's factories tell in the name of our modules.
_NOISE = frozenset({"Starting factory {factory!r}", "Stopping factory {factory!r}"})
_TWISTED = ("twisted.", "log_legacy")


def observer() -> ILogObserver:
    """The observer for `twistd --logger`: it writes to standard output."""
    return LineObserver(sys.stdout)


@implementer(ILogObserver)
class LineObserver:
    """Writes events to `file`; `local` gives the local time of seconds since the epoch."""

    def __init__(
        self, file: TextIO, local: Callable[[float], datetime] = datetime.fromtimestamp
    ) -> None:
        self._file = file
        self._local = local

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level <= LogLevel.info and _is_noise(event):
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        if not text:
            return
        time = self._local(event["log_time"])
        first, *more = visible_lines(text)
        lines = [
            f"{time:%Y-%m-%d %H:%M:%S} {level.name:8}  {first}",
            *(f"    {line}".rstrip() for line in more),
        ]
        # A log that nobody reads any more stops no server.
        with suppress(OSError):
            print("\n".join(lines), file=self._file, flush=True)


def _is_noise(event: LogEvent) -> bool:
    """Whether an event is Twisted's about itself, which says nothing of the chat."""
    namespace = event.get("log_namespace", "")
    return namespace.startswith(_TWISTED) or event.get("log_format") in _NOISE
