"""Focuses and servers as processes of their own, for stories of what happens to them."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat, JoinError, UserAgent
from msrpconf.protocols.sip.flow import Address
from tests.certificates import issue, write
from tests.distributed.hosts import Hosts
from tests.processes import PATIENCE, ProcessCase, Program
from tests.scenarios.embedded import Heard, joined

reactor: Any = installed

Story = Generator[Deferred[Any], Any, None]

AUTHORITY = issue("the operator's authority", authority=True)

LOOPBACK = "127.0.0.1"


class ApartTestCase(ProcessCase):
    """Focuses with their dispatchers, and servers, linked by TLS, here on loopback.

    `grace` are the seconds that a server may be away, `silence` those after which a link is given
    up, `msrp_grace` those that somebody's MSRP may be away. `server`, `dispatcher` and
    `conference` are more keys of these tables, `patience` are the seconds that people wait without
    MSRP. Each process is on the host of its name, people are on that called "people".
    """

    timeout: float = 300
    grace = 0.5
    silence = 15.0
    msrp_grace = 0.5
    focus_keys = ""
    """What else the focuses have in their table."""
    server = ""
    dispatcher = ""
    conference = ""
    patience = 1.0

    def setUp(self) -> None:
        super().setUp()
        self.servers: dict[str, Program] = {}
        self.controls: dict[str, str] = {}
        self.agents: list[UserAgent] = []
        self.chats: list[Chat] = []
        self.seen: dict[str, list[str]] = {}
        write(AUTHORITY, self.directory, "ca")
        for name in ("focus-1", "focus-2"):
            write(issue(name, issuer=AUTHORITY), self.directory, name)
        self.addresses: dict[str, Address] = {}
        self.via = Address("udp", LOOPBACK, 0)
        """Where people call: the focus that was started last."""
        self.addCleanup(self.stop_agents)

    # Hosts.

    def address(self, host: str) -> str:
        """The address of a host."""
        return LOOPBACK

    def by(self, host: str) -> Sequence[str]:
        """What starts a command there: see `ProcessCase.start`."""
        return ()

    def sip_port(self, host: str) -> int:
        """A UDP port that nobody has there."""
        return free_port()

    # Processes.

    def stop_agents(self) -> Any:
        """End all agents. Nobody says goodbye: who would answer may be dead."""
        for chat in self.chats:
            chat.end()
        return gatherResults([agent.stop() for agent in self.agents])

    @inlineCallbacks
    def begin(self, *names: str) -> Story:
        """Start servers, and the focus, and wait until it knows them."""
        for name in names:
            yield self.start_apart(name)
        yield self.start_focus()

    @inlineCallbacks
    def start_apart(self, name: str, more: str = "") -> Story:
        config = self.directory / f"{name}.toml"
        host = self.address(name)
        control = self.controls.get(name, f"tls:{host}:0")
        write(issue(host, issuer=AUTHORITY), self.directory, name)
        config.write_text(
            f'[server]\nname = "{name}"\nlisten = ["tcp:{host}:0"]\ncontrol = "{control}"\n'
            f'dispatchers = ["focus-1", "focus-2"]\nfiles = "files-{name}"\n'
            f"grace = {self.msrp_grace}\n{self.server}{self.channel(name)}"
            f"[conference]\nnotices = false\n{self.conference}{more}"
        )
        server = self.twistd("msrpconf-server", name, config)
        found = yield server.shows(r"for dispatchers at (\S+)")
        self.servers[name], self.controls[name] = server, found[1]

    @inlineCallbacks
    def start_focus(self, name: str = "focus-1", more: str = "") -> Story:
        config = self.directory / f"{name}.toml"
        servers = ", ".join(f'"{address}"' for address in self.controls.values())
        host = self.address(name)
        if name not in self.addresses:
            self.addresses[name] = Address("udp", host, self.sip_port(name))
        self.via = self.addresses[name]
        trusted = self.address("people")
        config.write_text(
            f'[sip]\nlisten = ["{self.via}"]\ntrusted = ["{trusted}"]\n[focus]\n'
            f'{self.focus_keys}[dispatcher]\nname = "{name}"\nservers = [{servers}]\n'
            f"grace = {self.grace}\n{self.dispatcher}{self.channel(name)}{more}"
        )
        self.focus = self.twistd("msrpconf-focus", name, config)
        for server in self.controls:
            yield self.focus.shows(rf"server {server} has \d+ rooms")

    def twistd(self, program: str, host: str, config: Path) -> Program:
        arguments = "-n", "--pidfile=", program, "-c", str(config)
        return self.start("twistd", *arguments, by=self.by(host))

    def channel(self, name: str) -> str:
        return (
            f'[channel]\nsilence = {self.silence}\nauthorities = "ca.pem"\n'
            f'certificate = "{name}.pem"\nprivate_key = "{name}.key"\n'
        )

    @inlineCallbacks
    def kill(self, program: Program) -> Story:
        program.signals("KILL")
        yield program.ends()

    @inlineCallbacks
    def join(
        self, name: str, room: str = "lobby", via: Address | None = None
    ) -> Generator[Any, Any, tuple[Chat, Heard]]:
        """Somebody calls, by the focus that was started last or at `via`, and is in the room."""
        seen = self.seen[name] = []
        agent = UserAgent(
            reactor,
            f"sip:{name}@example.com",
            trace=lambda kind, direction, peer, octets: seen.append(
                f"{direction} {octets.decode('utf-8', 'replace')}"
            ),
            patience=self.patience,
        )
        self.agents.append(agent)
        result: tuple[Chat, Heard] = yield joined(
            agent, f"sip:{room}@conf.example.com", via=via or self.via
        )
        self.chats.append(result[0])
        # The ACK is on its way: who kills the focus now would have it lost.
        at_a_server = re.compile(rf"joined: sip:{name}@\S+ in sip:{room}@")
        yield self.until(
            lambda: any(at_a_server.search(each.output) for each in self.servers.values())
        )
        return result

    @inlineCallbacks
    def join_in_the_end(self, name: str) -> Story:
        """Join, again after a 503: on a slow disk a beat may be counted late."""
        latest = reactor.seconds() + PATIENCE
        while True:
            try:
                yield self.join(name)
            except JoinError as error:
                if error.status != 503 or reactor.seconds() > latest:
                    raise
                yield deferLater(reactor, 0.2)
            else:
                return

    @inlineCallbacks
    def home(self, room: str = "lobby") -> Generator[Any, Any, str]:
        """The server that alice has joined a room at."""
        joined = re.compile(rf"joined: sip:alice@\S+ in sip:{room}@")

        def found() -> list[str]:
            return [name for name, each in self.servers.items() if joined.search(each.output)]

        yield self.until(found)
        (name,) = found()
        return name

    @inlineCallbacks
    def until(self, condition: Callable[[], object]) -> Story:
        """Wait for what no line of a log tells."""
        latest = reactor.seconds() + PATIENCE
        while not condition():
            self.assertLess(reactor.seconds(), latest, f"{condition} for {PATIENCE} s")
            yield deferLater(reactor, 0.02)

    def byes(self, name: str) -> list[str]:
        """The BYEs that somebody got."""
        return [text for text in self.seen[name] if text.startswith("in BYE")]

    @inlineCallbacks
    def talk(self, *people: tuple[Chat, Heard]) -> Story:
        """Each says something that the others hear."""
        for number, (chat, _) in enumerate(people):
            yield chat.send(f"from {number}")
            for other, heard in people:
                if other is not chat:
                    message = yield self.in_time(heard.next())
                    self.assertEqual(message.text, f"from {number}")

    def in_time(self, awaited: Deferred[Any]) -> Deferred[Any]:
        return awaited.addTimeout(PATIENCE, reactor)


class HostsTestCase(ApartTestCase):
    """Each process on a host of its own; what the test itself opens is on that of the people."""

    silence = 6.0  # a busy machine is not silent for so long
    grace = 60.0
    msrp_grace = 60.0  # it is not for their MSRP that people go
    names: tuple[str, ...] = ("focus-1", "focus-2", "east", "west", "people")

    def setUp(self) -> None:
        self.hosts = Hosts(*self.names)
        # After all processes have ended, and all sockets are closed.
        self.addCleanup(self.hosts.close)
        super().setUp()
        self.hosts.enter("people")

    def address(self, host: str) -> str:
        return self.hosts.addresses[host]

    def by(self, host: str) -> Sequence[str]:
        return self.hosts.by(host)

    def sip_port(self, host: str) -> int:
        return 5060

    @inlineCallbacks
    def people(self) -> Generator[Any, Any, tuple[tuple[Chat, Heard], tuple[Chat, Heard], str]]:
        """Alice and bob in the lobby, and the server that it is on."""
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        home = yield self.home()
        return alice, bob, home


def free_port() -> int:
    """A UDP port that a process may have, and another after it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
