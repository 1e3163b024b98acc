"""Kamailio, as Debian has it, in front of a server of ours: what `examples/kamailio` has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from msrpconf.client import Chat, UserAgent
from msrpconf.config import Config
from msrpconf.protocols.sip.message import Message, Request, Response, parse_message
from msrpconf.services.compose import ConferenceService, make_service
from tests.processes import ROOT, Program
from tests.scenarios.embedded import Heard, joined

EXAMPLE = ROOT / "examples" / "kamailio"

PROXY = "127.0.0.2"
"""Another address than ours, so that what comes from it can be told from what does not."""

USERS = "example.com"
ROOMS = "conference.example.com"
ROOM = f"sip:lobby@{ROOMS}"

PATIENCE = 15.0
"""Seconds that Kamailio may take to start, and to end."""

SETTINGS = """
#!substdef "!MY_USERS!{users}!g"
#!substdef "!MY_ROOMS!{rooms}!g"
#!substdef "!MY_LISTEN!{proxy}:{public}!g"
#!substdef "!MY_PRIVATE_LISTEN!{proxy}:{private}!g"
#!substdef "!MY_PRIVATE_PORT!{private}!g"
#!substdef "!MY_FOCUS_HOST!127.0.0.1!g"
#!substdef "!MY_FOCUS_URI!sip:127.0.0.1:{focus}!g"
#!substdef "!MY_DIRECTORY!{directory}!g"
tcp_source_ipv4 = {proxy}
{more}
"""

CONFIGURATION = """
[sip]
listen = ["udp:127.0.0.1:{focus}", "tcp:127.0.0.1:{focus}"]
domains = ["{rooms}"]
trusted = ["{proxy}"]
contact = "{contact}"
[focus]
outbound_proxy = "sip:{proxy}:{private};lr"
[server]
listen = ["tcp:127.0.0.1:0"]
"""


def find_kamailio() -> str:
    """Where Kamailio is. Skips the test where it is missing, and fails it in CI."""
    found = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    complete = Path("/usr/share/kamailio/db_sqlite").is_dir() and shutil.which("sqlite3")
    if found is not None and complete:
        return found
    text = "Kamailio is missing: apt install kamailio kamailio-sqlite-modules sqlite3"
    if os.environ.get("CI"):
        raise AssertionError(text)
    raise SkipTest(text)


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


class KamailioCase(TestCase):
    """Kamailio with its users alice, bob and carol, and a server of ours behind it.

    `settings` are more lines of Kamailio's configuration, `contact` is that of `[sip]`.
    """

    timeout = 60
    settings = ""
    contact = "auto"
    people = ("alice", "bob", "carol")

    def setUp(self) -> Any:
        return self.start_both()

    @inlineCallbacks
    def start_both(self) -> Generator[Deferred[Any], Any, None]:
        """The server, then the proxy."""
        kamailio = find_kamailio()
        self.reactor: Any = import_module("twisted.internet.reactor")
        self.traced: list[tuple[str, str, bytes]] = []
        """SIP of our server's: ``in`` or ``out``, the peer, the octets."""
        self.directory = Path(self.mktemp()).resolve()
        self.public, self.private, self.focus = free_ports(PROXY, PROXY, "127.0.0.1")
        self._waiting: list[tuple[Callable[[Message], bool], Deferred[Any]]] = []
        self._agents: list[UserAgent] = []
        yield self._serve()
        self._set_up_proxy()
        yield self._start_proxy(kamailio)
        self.addCleanup(self._all_leave)

    def _values(self) -> dict[str, Any]:
        return {
            "users": USERS,
            "rooms": ROOMS,
            "proxy": PROXY,
            "public": self.public,
            "private": self.private,
            "focus": self.focus,
            "directory": self.directory,
            "contact": self.contact,
            "more": self.settings,
        }

    @inlineCallbacks
    def _serve(self) -> Generator[Deferred[Any], Any, None]:
        def trace(kind: str, direction: str, peer: str, octets: bytes) -> None:
            if kind == "sip":
                self.traced.append((direction, peer, octets))
                self._look()

        text = CONFIGURATION.format(**self._values())
        self.service: ConferenceService = make_service(
            Config.parse(text, "the test"), self.reactor, trace
        )
        yield self.service.startService()
        self.addCleanup(self.service.stopService)

    def _set_up_proxy(self) -> None:
        shutil.copytree(EXAMPLE, self.directory)
        (self.directory / "settings.cfg").write_text(SETTINGS.format(**self._values()))
        self._run_script("setup", str(self.directory))
        for name in self.people:
            self._run_script("setup", str(self.directory), name, USERS, typed=password_of(name))

    def _run_script(self, script: str, *arguments: str, typed: str = "") -> None:
        done = subprocess.run(
            [str(self.directory / script), *arguments],
            input=typed,
            text=True,
            capture_output=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    @inlineCallbacks
    def _start_proxy(self, kamailio: str) -> Generator[Deferred[Any], Any, None]:
        program = Program("kamailio", self.reactor)
        environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:{Path(kamailio).parent}",
            "RUN_DIRECTORY": str(self.directory),
        }
        start = str(self.directory / "start")
        # A group of its own: it has children, which must not outlive it.
        arguments = ["setsid", start, "-m", "32", "-M", "8"]
        process = self.reactor.spawnProcess(
            program, shutil.which("setsid"), arguments, environment, str(self.directory)
        )
        group = process.pid
        self.program = program
        self.addCleanup(self._stop_proxy, program, group)
        yield self._when_ready(program)

    @inlineCallbacks
    def _when_ready(self, program: Program) -> Generator[Deferred[Any], Any, None]:
        """Done when it answers OPTIONS over TCP; stopped before, it may hang."""
        deadline = self.reactor.seconds() + PATIENCE
        while True:
            try:
                answer = yield self._ask()
                break
            except ConnectError:
                if program.status is not None or self.reactor.seconds() > deadline:
                    raise AssertionError(f"{program}") from None
                yield deferLater(self.reactor, 0.02)
        self.assertIn("SIP/2.0 200 OK", answer, str(program))

    @inlineCallbacks
    def _ask(self) -> Generator[Deferred[Any], Any, str]:
        endpoint = HostnameEndpoint(self.reactor, PROXY.encode(), self.public, timeout=5)
        asking = yield connectProtocol(endpoint, Asking(self.public))
        answer: str = yield asking.answer.addTimeout(PATIENCE, self.reactor)
        return answer

    @inlineCallbacks
    def _stop_proxy(self, program: Program, group: int) -> Generator[Deferred[Any], Any, None]:
        if program.status is None:
            program.signals("TERM")
            yield DeferredList([_shielded(program.ended).addTimeout(PATIENCE, self.reactor)])
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        if program.status is None:
            yield program.ended

    @inlineCallbacks
    def _all_leave(self) -> Generator[Deferred[Any], Any, None]:
        for agent in self._agents:
            yield agent.stop()

    # For stories.

    def agent(self, name: str, transport: str = "udp", **options: Any) -> UserAgent:
        """A user agent that knows its proxy and its password, and ends with the test."""
        options = {
            "proxy": f"{transport}:{PROXY}:{self.public}",
            "password": password_of(name),
            "listen": f"{transport}:127.0.0.1:0",
            **options,
        }
        agent = UserAgent(self.reactor, f"sip:{name}@{USERS}", **options)
        self._agents.append(agent)
        return agent

    @inlineCallbacks
    def enter(
        self, name: str, transport: str = "udp", **options: Any
    ) -> Generator[Deferred[Any], Any, tuple[Chat, Heard]]:
        """Have somebody register and join."""
        agent = self.agent(name, transport)
        yield agent.register()
        pair: tuple[Chat, Heard] = yield joined(agent, ROOM, **options)
        return pair

    def came(self, method: str) -> list[Request]:
        """The requests of this method that have come to our server."""
        return [each for each in self._messages("in") if each.method == method]

    def went(self, method: str) -> list[Request]:
        """The requests of this method that our server has sent."""
        return [each for each in self._messages("out") if each.method == method]

    def _messages(self, direction: str) -> list[Request]:
        messages = [parse_message(octets) for way, _, octets in self.traced if way == direction]
        return [each for each in messages if isinstance(each, Request)]

    def when_answered(self, request: Request) -> Deferred[int]:
        """The status that a request of ours gets, once it is there."""

        def answers(message: Message) -> bool:
            return (
                isinstance(message, Response)
                and message.status >= 200
                and (message.call_id, message.cseq) == (request.call_id, request.cseq)
            )

        return self._when(answers).addCallback(lambda message: message.status)

    def when_came(self, method: str) -> Deferred[Any]:
        """A request of this method, once it is there."""
        return self._when(lambda each: isinstance(each, Request) and each.method == method)

    def _when(self, fits: Callable[[Message], bool]) -> Deferred[Any]:
        found: Deferred[Any] = Deferred()
        self._waiting.append((fits, found))
        self._look()
        return found

    def _look(self) -> None:
        for each in list(self._waiting):
            fits, found = each
            for direction, _, octets in self.traced:
                message = parse_message(octets)
                if direction == "in" and fits(message):
                    self._waiting.remove(each)
                    found.callback(message)
                    break


class Asking(Protocol):
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


def password_of(name: str) -> str:
    """The password of one of the users."""
    return f"{name}'s secret"


def _shielded(awaited: Deferred[int]) -> Deferred[int]:
    """The same, which can be given up without harm to the other."""
    result: Deferred[int] = Deferred()

    def ended(status: int) -> int:
        if not result.called:
            result.callback(status)
        return status

    awaited.addCallback(ended)
    return result
