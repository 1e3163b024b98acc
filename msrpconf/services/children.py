"""Server processes under a parent that watches over them (`[server] processes`).

    started --dies--> waits, longer each time --> started again
       `--stop: SIGTERM--> ends, or is killed after a while

A child whose parent dies, in whatever way, finds its standard input closed, and ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import (
    ConnectionDone,
    ProcessExitedAlready,
    ProcessTerminated,
    ReactorNotRunning,
)
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

FIRST_WAIT, LAST_WAIT = 1.0, 30.0
"""Seconds until a child that has died is started again: the first time, and at most."""

LIVED_WELL = 60.0
"""Seconds that a child has to live for the next wait to be the first one again."""

STOP_TIMEOUT = 30.0
"""Seconds that children have for telling everybody, before they are killed."""

_TWISTD = "from twisted.scripts.twistd import run; run()"

# What tells of our own parent, or is for one process.
_NOT_PASSED_ON = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"})


@frozen
class Command:
    """A child: its `name`, and what follows ``twistd`` on its command line."""

    name: str
    arguments: tuple[str, ...]


class Child(ProcessProtocol):
    """One process, from its start to the end of its last successor."""

    log = Logger()

    def __init__(self, reactor: Any, command: Command) -> None:
        self.command = command
        self.ended: Deferred[None] | None = None
        """Done when it has ended, once it is to."""
        self._reactor = reactor
        self._transport: Any = None
        self._since = 0.0
        self._wait = FIRST_WAIT
        self._later: IDelayedCall | None = None

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._transport is not None

    def start(self) -> None:
        """Start the process; its output goes where ours does."""
        self._later = None
        self._since = self._reactor.seconds()
        environment = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED_ON}
        self._transport = self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-c", _TWISTD, *self.command.arguments],
            environment,
            childFDs={0: "w", 1: 1, 2: 2},
        )

    def processEnded(self, reason: Failure) -> None:
        """It is gone: another one follows, unless it was to end."""
        self._transport = None
        if self.ended is not None:
            self.ended.callback(None)
            return
        if self._reactor.seconds() - self._since >= LIVED_WELL:
            self._wait = FIRST_WAIT
        self.log.error(
            "server process {name} has ended: {why}; it is started again in {wait:g} s",
            name=self.command.name,
            why=_why_ended(reason),
            wait=self._wait,
        )
        self._later = self._reactor.callLater(self._wait, self.start)
        self._wait = min(2 * self._wait, LAST_WAIT)

    def signal(self, name: str) -> None:
        """Send a signal, such as ``HUP``, to the process, if there is one."""
        if self._transport is not None:
            # Of one that has exited, `processEnded` tells.
            with suppress(ProcessExitedAlready):
                self._transport.signalProcess(name)

    def stop(self) -> Deferred[None]:
        """Have it end; done when it has. Who takes too long is killed."""
        ended: Deferred[None] = Deferred()
        self.ended = ended
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        if self._transport is None:
            ended.callback(None)
            return ended
        self.signal("TERM")
        too_late = self._reactor.callLater(STOP_TIMEOUT, self._kill)

        def done(result: None) -> None:
            if too_late.active():
                too_late.cancel()

        return ended.addCallback(done)

    def _kill(self) -> None:
        text = "server process {name} has not ended for {seconds:g} s: it is killed"
        self.log.error(text, name=self.command.name, seconds=STOP_TIMEOUT)
        self.signal("KILL")


def _why_ended(reason: Failure) -> str:
    """How a process has ended, in words."""
    error = reason.value
    if not isinstance(error, ProcessTerminated):
        return "exit status 0"
    if error.signal is None:
        return f"exit status {error.exitCode}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(error.signal).name}"
    return f"killed by signal {error.signal}"


class Children(Service):
    """The server processes of a parent."""

    name = "msrpconf-children"

    def __init__(self, reactor: Any, commands: Sequence[Command]) -> None:
        self.all = [Child(reactor, command) for command in commands]

    def startService(self) -> None:
        """Start them."""
        Service.startService(self)
        for child in self.all:
            child.start()

    def stopService(self) -> Deferred[Any]:
        """Have all of them tell everybody, and end."""
        Service.stopService(self)
        return DeferredList([child.stop() for child in self.all])

    def reload(self) -> None:
        """Have them read their configuration again."""
        for child in self.all:
            child.signal("HUP")


@implementer(IReadDescriptor)
class ParentWatch:
    """Tells `gone` when standard input is closed: the parent of this process is no more."""

    def __init__(self, reactor: Any, gone: Callable[[], None], descriptor: int = 0) -> None:
        self._reactor = reactor
        self._gone = gone
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        reactor.addReader(self)

    def fileno(self) -> int:
        """Our standard input, the pipe that the parent holds."""
        return self._descriptor

    def doRead(self) -> None:
        """Nobody says anything there; an end is that of the parent."""
        try:
            octets = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not octets:
            self._reactor.removeReader(self)
            self.connectionLost(Failure(ConnectionDone()))

    def connectionLost(self, reason: Failure) -> None:
        """The pipe is closed; also called by the reactor at its own end."""
        with suppress(ReactorNotRunning):
            self._gone()

    def logPrefix(self) -> str:
        """From the reactor."""
        return "parent"
