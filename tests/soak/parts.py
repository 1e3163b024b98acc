"""The processes of a soak: servers, focuses with their dispatchers, the way to a database."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.protocols.sip.flow import Address
from tests.certificates import issue, write
from tests.processes import PROGRAMS, ROOT, Program

LOOPBACK = "127.0.0.1"
GRACE = 3.0
STARTS = 300.0
"""Seconds that a part may take to start, on a busy machine or while the database is away."""

_WITH_US = ("/usr/bin/setpriv", "--pdeathsig", "KILL")
"""What begins a command that is to end when we do, however that is."""

_RELAY = ROOT / "tests" / "distributed" / "relay.py"


class Part:
    """A process that may be killed and started again; `ready` is what it writes once it is up."""

    def __init__(
        self, reactor: Any, directory: Path, name: str, command: list[str], ready: str
    ) -> None:
        self.name = name
        self.is_busy = False
        """Whether something is being done to it."""
        self.output = ""
        """What all its processes have written that have ended."""
        self.program: Program
        self._reactor = reactor
        self._directory = directory
        self._command = command
        self._ready = ready

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, re.Match[str]]:
        """Start it, again if it does not come up; gives the match of `ready`."""
        latest = self._reactor.seconds() + STARTS
        while True:
            self.program = Program(self.name, self._reactor)
            environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"}
            command = [*_WITH_US, sys.executable, *self._command]
            self._reactor.spawnProcess(
                self.program, command[0], command, environment, str(self._directory)
            )
            try:
                found: re.Match[str] = yield self.program.shows(self._ready)
            except AssertionError:
                if self._reactor.seconds() > latest:
                    raise
                yield self.end("KILL")
                yield deferLater(self._reactor, 1.0)
            else:
                return found

    @inlineCallbacks
    def end(self, signal: str) -> Generator[Deferred[Any], Any, None]:
        """Have it end by a signal."""
        if self.program.status is None:
            self.program.signals(signal)
            yield self.program.ended
        self.output += self.program.output + self.program.errors
        (self._directory / f"{self.name}.log").write_text(self.output)


class Server(Part):
    """A conference server; `msrp` is where its clients are, another one at each start."""

    msrp = ""

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, re.Match[str]]:
        """Start it, and note where its MSRP is."""
        found: re.Match[str] = yield Part.start(self)
        self.msrp = found[1]
        return found


class Parts:
    """All of them, configured in `directory`: so many `servers` and `focuses`.

    `moves` is whether the rooms of a server that is lost go on at another.
    """

    def __init__(
        self, reactor: Any, directory: Path, servers: int, focuses: int, moves: bool
    ) -> None:
        self._moves = moves
        self._reactor = reactor
        self._directory = directory
        authority = issue("the operator's authority", authority=True)
        write(authority, directory, "ca")
        write(issue(LOOPBACK, issuer=authority), directory, "server")
        self._focus_names = [f"focus-{number}" for number in range(1, focuses + 1)]
        for name in self._focus_names:
            write(issue(name, issuer=authority), directory, name)
        self._controls = [f"tls:{LOOPBACK}:{free_port(socket.SOCK_STREAM)}" for _ in range(servers)]
        self.ways = [Address("udp", LOOPBACK, free_port(socket.SOCK_DGRAM)) for _ in range(focuses)]
        """Where people may call."""
        self.servers: list[Server] = [
            self._server(f"server-{number}", control)
            for number, control in enumerate(self._controls, 1)
        ]
        self.focuses: list[Part] = []
        self.relay: Part | None = None

    @property
    def all(self) -> list[Part]:
        """All that may be killed."""
        relay = [] if self.relay is None else [self.relay]
        return [*self.servers, *self.focuses, *relay]

    def use_relay(self, port: int, sockets: str) -> None:
        """Have the database be reached by a process that may be killed."""
        command = [str(_RELAY), LOOPBACK, str(port), sockets]
        self.relay = Part(self._reactor, self._directory, "database", command, "relays")

    def use_database(self, url: str) -> None:
        """Have focuses that share a database."""
        for name, way in zip(self._focus_names, self.ways, strict=True):
            servers = ", ".join(f'"{each}"' for each in self._controls)
            text = (
                f'[sip]\nlisten = ["{way}"]\n[focus]\n[dispatcher]\nname = "{name}"\n'
                f"servers = [{servers}]\ngrace = {GRACE}\n"
                f'on_server_loss = "{"move" if self._moves else "end"}"\n{_channel(name)}'
                f'[database]\nurl = "{url}"\n'
            )
            self.focuses.append(Part(*self._twistd("focus", name, text), "join with: "))

    def _server(self, name: str, control: str) -> Server:
        names = ", ".join(f'"{each}"' for each in self._focus_names)
        text = (
            f'[server]\nname = "{name}"\nlisten = ["tcp:{LOOPBACK}:0"]\ncontrol = "{control}"\n'
            f'dispatchers = [{names}]\nfiles = "files-{name}"\ngrace = 2.0\n'
            f"{_channel('server')}[conference]\nnotices = false\n"
        )
        return Server(*self._twistd("server", name, text), r"MSRP at tcp:(\S+); for dispatchers")

    def _twistd(self, kind: str, name: str, text: str) -> tuple[Any, Path, str, list[str]]:
        config = self._directory / f"{name}.toml"
        config.write_text(text)
        options = ["-n", "--pidfile=", f"msrpconf-{kind}", "-c", str(config)]
        return self._reactor, self._directory, name, ["-c", PROGRAMS["twistd"], *options]


def _channel(name: str) -> str:
    return (
        f'[channel]\ncertificate = "{name}.pem"\nprivate_key = "{name}.key"\n'
        'authorities = "ca.pem"\n'
    )


def free_port(kind: int) -> int:
    """A port that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind((LOOPBACK, 0))
        port: int = free.getsockname()[1]
        return port
