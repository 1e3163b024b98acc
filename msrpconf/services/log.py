"""The log of a server that runs in the foreground: one event a line, for people to read.

    2026-11-23 09:25:39 info      MSRP at tcp:127.0.0.1:2855

Further lines of an event are indented, and what a peer wrote is made visible, so that no peer
writes lines into the log that look like ours. For programs there is one JSON object a line:

    {"time": "2026-11-23T09:25:39.123456+00:00", "level": "info", "logger": "msrpconf.services.tap",
     "message": "MSRP at tcp:127.0.0.1:2855", "fields": {"line": "MSRP at tcp:127.0.0.1:2855"}}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import isfinite
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from msrpconf.visible import visible_lines

# What Twisted's factories tell in the name of our modules.
_NOISE = frozenset({"Starting factory {factory!r}", "Stopping factory {factory!r}"})
_NO_FIELDS = frozenset(
    {"log_failure", "log_flattened", "log_format", "log_level", "log_logger", "log_namespace"}
    | {"log_source", "log_system", "log_text", "log_time", "log_trace", "log_legacy"}
    # What old-style events have besides.
    | {"format", "message", "time", "system", "isError", "failure", "why"}
)
_TWISTED = ("twisted.", "log_legacy")


def observer() -> ILogObserver:
    """The observer for `twistd --logger`: it writes to standard output."""
    return LineObserver(sys.stdout)


def json_observer() -> ILogObserver:
    """The same in JSON."""
    return JsonObserver(sys.stdout)


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


@implementer(ILogObserver)
class JsonObserver:
    """Writes events to `file`, each as one object in one line of ASCII.

    `time` is in UTC, `logger` the module that tells it, `message` the text, `fields` what the text
    was made of: strings, numbers and booleans as they are, all else as text. `traceback` is there
    for what has failed.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        if level <= LogLevel.info and _is_noise(event):
            return
        failure = event.get("log_failure")
        text = formatEvent(event)
        if not text and failure is None:
            return
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(),
            "level": level.name,
            "logger": event.get("log_namespace", ""),
            "message": text,
            "fields": {
                name: _plain(value) for name, value in event.items() if name not in _NO_FIELDS
            },
        }
        if failure is not None:
            told["traceback"] = failure.getTraceback()
        # A log that nobody reads any more stops no server.
        with suppress(OSError):
            print(json.dumps(told, allow_nan=False), file=self._file, flush=True)


def _plain(value: object) -> str | int | float | bool | None:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    try:
        return str(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"


def _is_noise(event: LogEvent) -> bool:
    """Whether an event is Twisted's about itself, which says nothing of the chat."""
    namespace = event.get("log_namespace", "")
    return namespace.startswith(_TWISTED) or event.get("log_format") in _NOISE
