"""Running the reactor for the time that a command takes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click
from twisted.internet import asyncioreactor
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.visible import visible

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to end."""


def run(command: Callable[[Any], Deferred[T]], *, with_asyncio: bool = False) -> T:
    """Runs `command(reactor)` and gives its result; `with_asyncio` on asyncio's event loop.

    A signal cancels the command, which then has the time that it takes to leave in good order; a
    second one ends the process. Raises what the command fails with: a `ClickException` as it is,
    `Exit` with the signal's status where it was cancelled, anything else as an internal error.
    """
    if with_asyncio:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    # It is made by being imported, so the line above has to come first.
    reactor = import_module("twisted.internet.reactor")
    globalLogBeginner.beginLoggingTo([_tell], redirectStandardIO=False, discardBuffer=True)
    result: T = _Run(reactor, command).result()
    return result


class _Run:
    """One command, from the start of the reactor to its end."""

    def __init__(self, reactor: Any, command: Callable[[Any], Deferred[Any]]) -> None:
        self._reactor = reactor
        self._command = command
        self._running: Deferred[None] | None = None
        self._outcome: Any = None
        self._is_over = False
        self._signal = 0

    def result(self) -> Any:
        self._reactor.addSystemEventTrigger("after", "startup", self._start)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end)
        self._reactor.run()
        if not isinstance(self._outcome, Failure):
            return self._outcome
        error = self._outcome.value
        if isinstance(error, click.ClickException):
            raise error
        if isinstance(error, CancelledError):
            raise click.exceptions.Exit(128 + self._signal)
        raise click.ClickException(f"internal error: {type(error).__name__}: {_line(str(error))}")

    def _start(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._signalled)
        self._running = maybeDeferred(self._command, self._reactor)
        self._running.addBoth(self._over)

    def _over(self, outcome: Any) -> None:
        self._outcome = outcome
        self._is_over = True
        if not self._signal:
            self._reactor.stop()

    def _signalled(self, number: int, _: object) -> None:
        self._signal = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self._reactor.callFromThread(self._stop)

    def _stop(self) -> None:
        if not self._is_over:
            self._reactor.stop()

    def _end(self) -> Deferred[None] | None:
        """The reactor stops when the command has ended."""
        if self._is_over or self._running is None:
            return None
        self._running.cancel()
        return self._running


@implementer(ILogObserver)
def _tell(event: LogEvent) -> None:
    """Says of an error what it is, in one line; a traceback is of no use to who types commands."""
    level = event.get("log_level")
    if level is None or level < LogLevel.error:
        return
    failure = event.get("log_failure")
    text = formatEvent(event)
    if failure is not None:
        text = f"{text}: {type(failure.value).__name__}: {failure.getErrorMessage()}"
    click.echo(f"Error: {_line(text)}", err=True)


def _line(text: str) -> str:
    return visible(" ".join(text.split()))
