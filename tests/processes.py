"""Programs of ours as processes of their own, for tests of what people start."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from signal import Signals
from tempfile import mkdtemp
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

T = TypeVar("T")

ROOT = Path(__file__).parent.parent

PATIENCE = 60.0
"""Seconds for anything that is waited for: a busy machine is no error."""

_UNWANTED = frozenset({"NO_COLOR", "COLUMNS", "LINES"})

PROGRAMS = {
    "twistd": "from twisted.scripts.twistd import run; run()",
    "trial": "from twisted.scripts.trial import run; run()",
    "msrpconf": "from msrpconf.cli import main; main(prog_name='msrpconf')",
}


class Program(ProcessProtocol):
    """A process: what it has written, what is waited for, how it ended."""

    def __init__(self, name: str, reactor: Any) -> None:
        self.name = name
        self._reactor = reactor
        self.output = ""
        self.errors = ""
        self.status: int | None = None
        """The exit status; minus the number of the signal that it died of."""
        self.ended: Deferred[int] = Deferred()
        self._waiting: list[tuple[re.Pattern[str], Deferred[re.Match[str]]]] = []

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode("utf-8", "replace")
        self._look()

    def processEnded(self, reason: Failure) -> None:
        ended = reason.value
        assert isinstance(ended, ProcessDone | ProcessTerminated)
        self.status = -ended.signal if ended.signal else ended.exitCode or 0
        waiting, self._waiting = self._waiting, []
        for pattern, found in waiting:
            found.errback(AssertionError(f"{self} ended before {pattern.pattern!r}"))
        self.ended.callback(self.status)

    def __str__(self) -> str:
        return f"{self.name} (status {self.status}):\n{self.output}\n--\n{self.errors}"

    def shows(self, pattern: str) -> Deferred[re.Match[str]]:
        """Done when what it has written, to standard output or error, matches."""
        found: Deferred[re.Match[str]] = Deferred()
        self._waiting.append((re.compile(pattern), found))
        self._look()
        return self._in_time(found, pattern)

    def ends(self) -> Deferred[int]:
        """Done when it has ended, with its status."""
        return self._in_time(self.ended, "its end")

    def types(self, text: str) -> None:
        """Writes to its standard input."""
        assert self.transport is not None
        self.transport.write(text.encode("utf-8"))

    def closes_input(self) -> None:
        """Ends its standard input."""
        assert self.transport is not None
        self.transport.closeStdin()

    def signals(self, name: str) -> None:
        """Sends it SIG`name`."""
        assert self.transport is not None
        self.transport.signalProcess(Signals[f"SIG{name}"])

    def _look(self) -> None:
        for each in list(self._waiting):
            pattern, found = each
            match = pattern.search(self.output) or pattern.search(self.errors)
            if match is not None:
                self._waiting.remove(each)
                found.callback(match)

    def _in_time(self, awaited: Deferred[T], what: str) -> Deferred[T]:
        def too_late(_: object, __: float) -> T:
            raise AssertionError(f"{what!r} was not seen for {PATIENCE} seconds of {self}")

        return awaited.addTimeout(PATIENCE, self._reactor, onTimeoutCancel=too_late)


class ProcessCase(TestCase):
    """Starts programs, in an empty directory, and ends those that are left."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self._programs: list[Program] = []
        self.addCleanup(self._end_all)

    def _end_all(self) -> Deferred[Any]:
        left = [program for program in self._programs if program.status is None]
        for program in left:
            with suppress(ProcessExitedAlready):
                program.signals("KILL")
        return DeferredList([program.ended for program in left])

    def start(
        self, name: str, *arguments: str, terminal: bool = False, by: Sequence[str] = ()
    ) -> Program:
        """Starts `twistd`, `trial` or `msrpconf`; `terminal` gives it one, of 80 columns.

        `by` are the words of a command that becomes the one it is given, as ``nice`` does.
        """
        return self._spawn(name, "-c", PROGRAMS[name], *arguments, terminal=terminal, by=by)

    def start_script(self, path: Path, *arguments: str, by: Sequence[str] = ()) -> Program:
        """Starts a Python program that is in a file; `by` as for `start`."""
        return self._spawn(path.name, str(path), *arguments, by=by)

    def start_module(self, name: str, *arguments: str) -> Program:
        """Starts a Python program that is a module."""
        return self._spawn(name, "-m", name, *arguments)

    def _spawn(
        self, name: str, *arguments: str, terminal: bool = False, by: Sequence[str] = ()
    ) -> Program:
        return self.spawn(name, [*by, sys.executable, *arguments], terminal=terminal)

    def spawn(
        self, name: str, command: Sequence[str], *, path: str = str(ROOT), terminal: bool = False
    ) -> Program:
        """Starts a command, whose Python finds modules by `path`."""
        reactor: Any = import_module("twisted.internet.reactor")
        program = Program(name, reactor)
        environment = {
            **{key: value for key, value in os.environ.items() if key not in _UNWANTED},
            "PYTHONPATH": path,
            "PYTHONUTF8": "1",
            "TERM": "xterm",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        reactor.spawnProcess(
            program,
            command[0],
            command,
            environment,
            str(self.directory),
            usePTY=terminal,
        )
        self._programs.append(program)
        return program

    @inlineCallbacks
    def start_server(
        self, *options: str, settings: str = ""
    ) -> Generator[Deferred[Any], Any, tuple[Program, str]]:
        """Starts a server on free ports: it, and the address of a room.

        `options` are twistd's, `settings` more tables of the configuration.
        """
        config = self.directory / "msrpconf.toml"
        config.write_text(
            '[sip]\nlisten = ["udp:127.0.0.1:0"]\n'
            # Who is killed at the end removes no temporary directory.
            f'[server]\nlisten = ["tcp:127.0.0.1:0"]\nfiles = "files"\n[focus]\n{settings}'
        )
        server = self.start("twistd", "-n", "--pidfile=", "msrpconf", "-c", str(config), *options)
        found = yield server.shows(r"join with: \S*msrpconf chat (\S+)")
        return server, found[1]

    @inlineCallbacks
    def start_focus_and_server(
        self, name: str = "chat-1", more: str = ""
    ) -> Generator[Deferred[Any], Any, tuple[Program, Program]]:
        """Starts a server called `name` and a focus that is linked to it, by a Unix socket.

        `more` are tables for the focus. Paths of sockets are short.
        """
        sockets = Path(mkdtemp(prefix="msrpconf-"))
        self.addCleanup(rmtree, sockets)
        control = f"unix:{sockets}/{name}.sock"
        server, focus = self.directory / f"{name}.toml", self.directory / "focus.toml"
        server.write_text(
            f'[server]\nname = "{name}"\nlisten = ["tcp:127.0.0.1:0"]\ncontrol = "{control}"\n'
            'files = "files"\n'
        )
        focus.write_text(
            f'[sip]\nlisten = ["udp:127.0.0.1:0"]\n[focus]\n[dispatcher]\nservers = ["{control}"]\n'
            f"{more}"
        )
        twistd = "twistd", "-n", "--pidfile="
        serving = self.start(*twistd, "msrpconf-server", "-c", str(server))
        yield serving.shows("for dispatchers at ")
        focusing = self.start(*twistd, "msrpconf-focus", "-c", str(focus))
        yield focusing.shows(rf"server {name} has 0 rooms")
        return serving, focusing
