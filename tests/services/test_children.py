"""Server processes under a parent, without processes."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.error import (
    ConnectionLost,
    ProcessDone,
    ProcessExitedAlready,
    ProcessTerminated,
    ReactorNotRunning,
)
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services.children import (
    FIRST_WAIT,
    LAST_WAIT,
    LIVED_WELL,
    STOP_TIMEOUT,
    Child,
    Children,
    Command,
    ParentWatch,
)


class Processes(Clock):
    """A reactor that only notes what it is to start, and which signals were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[Any, tuple[str, ...], dict[str, str], dict[int, Any]]] = []
        self.signals: list[str] = []

    def spawnProcess(
        self, protocol: Any, executable: str, args: Any, env: Any, childFDs: Any
    ) -> Processes:
        self.started.append((protocol, tuple(args), env, childFDs))
        return self

    def signalProcess(self, name: str) -> None:
        if name == "HUP" and "KILL" in self.signals:
            raise ProcessExitedAlready
        self.signals.append(name)


class ChildTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Processes()
        self.children = Children(self.reactor, [Command("east-1", ("msrpconf-server", "-c", "x"))])
        (self.child,) = self.children.all

    def die(self, child: Child | None = None) -> None:
        (child or self.child).processEnded(Failure(ProcessDone(0)))

    def test_it_is_started_with_our_output_and_a_pipe_that_we_hold(self) -> None:
        self.patch(os, "environ", {"PATH": "/bin", "NOTIFY_SOCKET": "/run/notify"})
        self.children.startService()
        (_, arguments, environment, descriptors) = self.reactor.started[0]
        self.assertEqual(arguments[-3:], ("msrpconf-server", "-c", "x"))
        self.assertEqual(environment, {"PATH": "/bin"})
        self.assertEqual(descriptors, {0: "w", 1: 1, 2: 2})

    def test_how_it_died_is_told(self) -> None:
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        self.patch(self.child, "log", Logger(observer=observer))
        self.children.startService()
        for reason, said in (
            (ProcessDone(0), "exit status 0"),
            (ProcessTerminated(1), "exit status 1"),
            (ProcessTerminated(None, 9), "killed by SIGKILL"),
        ):
            self.child.processEnded(Failure(reason))
            self.assertIn(f"server process east-1 has ended: {said}; it is started", lines[-1])
            self.reactor.advance(LAST_WAIT)

    def test_one_that_dies_is_started_again_after_longer_and_longer(self) -> None:
        self.children.startService()
        wait = FIRST_WAIT
        for number in range(1, 9):
            self.die()
            self.reactor.advance(wait - 0.1)
            self.assertEqual(len(self.reactor.started), number)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.reactor.started), number + 1)
            wait = min(2 * wait, LAST_WAIT)
        self.assertEqual(wait, LAST_WAIT)
        self.reactor.advance(LIVED_WELL)
        self.die()
        self.reactor.advance(FIRST_WAIT)
        self.assertEqual(len(self.reactor.started), 10)

    def test_they_end_when_they_have_told_everybody(self) -> None:
        self.children.startService()
        ending = self.children.stopService()
        self.assertEqual(self.reactor.signals, ["TERM"])
        self.assertNoResult(ending)
        self.die()
        self.successResultOf(ending)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.reactor.started), 1)

    def test_who_takes_too_long_is_killed(self) -> None:
        self.children.startService()
        ending = self.children.stopService()
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.reactor.signals, ["TERM", "KILL"])
        self.die()
        self.successResultOf(ending)

    def test_one_that_waits_for_its_start_does_not_start(self) -> None:
        self.children.startService()
        self.die()
        self.successResultOf(self.children.stopService())
        self.reactor.advance(LAST_WAIT)
        self.assertEqual(len(self.reactor.started), 1)

    def test_reading_the_configuration_again(self) -> None:
        self.children.startService()
        self.children.reload()
        self.assertEqual(self.reactor.signals, ["HUP"])
        self.reactor.signals.append("KILL")
        self.children.reload()  # it has died, and we do not know yet
        self.die()
        self.children.reload()
        self.assertEqual(self.reactor.signals, ["HUP", "KILL"])


class ParentWatchTests(SynchronousTestCase):
    def test_a_pipe_that_is_closed(self) -> None:
        readers: list[Any] = []

        class Reactor:
            addReader = readers.append
            removeReader = readers.remove

        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        gone: list[bool] = []
        watch = ParentWatch(Reactor, lambda: gone.append(True), ours)
        self.assertEqual((readers, watch.fileno()), ([watch], ours))
        watch.doRead()
        os.write(theirs, b"x")
        watch.doRead()
        self.assertEqual(gone, [])
        os.close(theirs)
        watch.doRead()
        self.assertEqual((gone, readers), ([True], []))

    def test_what_the_reactor_says_of_it(self) -> None:
        """epoll tells of a pipe that is closed by this; so does the reactor that ends."""

        class Reactor:
            addReader = staticmethod(lambda reader: None)

        def stop() -> None:
            stopped.append(True)
            raise ReactorNotRunning

        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        stopped: list[bool] = []
        ParentWatch(Reactor, stop, ours).connectionLost(Failure(ConnectionLost()))
        self.assertEqual(stopped, [True])
