"""Kamailio, as Debian has it, as a process with the configuration that a directory has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest

from tests.processes import PATIENCE, ROOT, Program

EXAMPLE = ROOT / "examples" / "kamailio"

_SCHEMAS = Path("/usr/share/kamailio/db_sqlite")
_PACKAGES = "kamailio kamailio-sqlite-modules sqlite3"
_PRESENCE_PACKAGE = "kamailio-presence-modules"


def own_address(network: int) -> str:
    """An address of loopback that no other process of tests has, 127.`network`.x.y at least.

    Whoever listens there cannot find a port taken by somebody else's connection.
    """
    number = os.getpid()
    return f"127.{network + number // 64516 % 8}.{1 + number // 254 % 254}.{1 + number % 254}"


PROXY = own_address(8)
"""Another address than ours, so that what comes from it can be told from what does not."""

FOCUS = own_address(16)
"""Where our server listens for SIP."""


def find_kamailio(*, presence: bool = False) -> str:
    """Where Kamailio is; `presence`: with its modules for that.

    Skips the test where it is missing, and fails it in CI.
    """
    found = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    complete = _SCHEMAS.is_dir() and shutil.which("sqlite3")
    text = f"Kamailio is missing: apt install {_PACKAGES}"
    if found is not None and complete:
        if not presence or _has_module("presence_conference"):
            return found
        text = f"Kamailio's presence is missing: apt install {_PRESENCE_PACKAGE}"
    if os.environ.get("CI"):
        raise AssertionError(text)
    raise SkipTest(text)


def _has_module(name: str) -> bool:
    return any(Path("/usr/lib").glob(f"*/kamailio/modules/{name}.so"))


def free_ports(*hosts: str) -> list[int]:
    """A port at each of the addresses that is free for UDP and for TCP."""
    ports: list[int] = []
    with ExitStack() as opened:
        while len(ports) < len(hosts):
            host = hosts[len(ports)]
            stream = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            stream.bind((host, 0))
            datagram = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):
                datagram.bind((host, stream.getsockname()[1]))
                ports.append(stream.getsockname()[1])
    return ports


class Kamailio:
    """Kamailio with the configuration and the scripts of `directory`, at `PROXY`:`port`.

    `run` runs one of the scripts; `start` and `stop` may be called by turns.
    """

    def __init__(self, reactor: Any, directory: Path, port: int, path: str) -> None:
        self._reactor = reactor
        self._directory = directory
        self._port = port
        self._path = path
        self._program: Program | None = None
        self._group = 0

    def run(self, script: str, *arguments: str, typed: str = "") -> str:
        """Run a script that ends; gives what is wrong, "" if nothing is."""
        done = subprocess.run(
            [str(self._directory / script), *arguments],
            input=typed,
            text=True,
            capture_output=True,
            check=False,
        )
        return done.stderr if done.returncode else ""

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start it; done when it answers OPTIONS over TCP. Stopped before, it may hang."""
        program = self._program = Program("kamailio", self._reactor)
        environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:{Path(self._path).parent}",
            "RUN_DIRECTORY": str(self._directory),
        }
        start = str(self._directory / "start")
        # A group of its own: it has children, which must not outlive it.
        process = self._reactor.spawnProcess(
            program,
            shutil.which("setsid"),
            ["setsid", start, "-m", "32", "-M", "8"],
            environment,
            str(self._directory),
        )
        self._group = process.pid
        deadline = self._reactor.seconds() + PATIENCE
        while True:
            try:
                answer = yield self._ask()
                break
            except ConnectError:
                if program.status is not None or self._reactor.seconds() > deadline:
                    raise AssertionError(f"{program}") from None
                yield deferLater(self._reactor, 0.02)
        assert "SIP/2.0 200 OK" in answer, f"{answer}\n{program}"

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """End it and its children."""
        program, self._program = self._program, None
        if program is None:
            return
        if program.status is None:
            program.signals("TERM")
            yield DeferredList([_shielded(program.ended).addTimeout(PATIENCE, self._reactor)])
        with suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        if program.status is None:
            yield program.ended

    def shows(self, pattern: str) -> Deferred[Any]:
        """Done when its log matches."""
        assert self._program is not None
        return self._program.shows(pattern)

    @property
    def log(self) -> str:
        """What it has logged."""
        return "" if self._program is None else self._program.errors

    @inlineCallbacks
    def _ask(self) -> Generator[Deferred[Any], Any, str]:
        endpoint = HostnameEndpoint(self._reactor, PROXY.encode(), self._port, timeout=5)
        asking = yield connectProtocol(endpoint, _Asking(self._port))
        answer: str = yield asking.answer.addTimeout(PATIENCE, self._reactor)
        return answer


class _Asking(Protocol):
    """Sends OPTIONS over TCP; `answer` is what comes."""

    def __init__(self, port: int) -> None:
        self.answer: Deferred[str] = Deferred()
        self._uri = f"sip:{PROXY}:{port}"

    def connectionMade(self) -> None:
        assert self.transport is not None
        lines = [
            f"OPTIONS {self._uri} SIP/2.0",
            "Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKready",
            "Max-Forwards: 70",
            "From: <sip:ready@127.0.0.1>;tag=ready",
            f"To: <{self._uri}>",
            "Call-ID: ready",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def dataReceived(self, data: bytes) -> None:
        if not self.answer.called:
            self.answer.callback(data.decode())
        assert self.transport is not None
        self.transport.loseConnection()


def _shielded(awaited: Deferred[int]) -> Deferred[int]:
    """The same, which can be given up without harm to the other."""
    result: Deferred[int] = Deferred()

    def ended(status: int) -> int:
        if not result.called:
            result.callback(status)
        return status

    awaited.addCallback(ended)
    return result
