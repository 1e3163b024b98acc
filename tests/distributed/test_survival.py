"""What survives what: focus and servers as processes of their own, killed with SIGKILL.

doc/distributed.md has a table of what these stories show.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat, JoinError, UserAgent
from tests.certificates import issue, write
from tests.processes import PATIENCE, ProcessCase, Program
from tests.scenarios.embedded import Heard, joined

reactor: Any = installed

Story = Generator[Deferred[Any], Any, None]

AUTHORITY = issue("the operator's authority", authority=True)

GRACE = 0.5
"""Seconds that a server may be away."""


class SurvivalTestCase(ProcessCase):
    """A focus with its dispatcher, and two servers, linked by TLS on loopback."""

    timeout = 90

    def setUp(self) -> None:
        super().setUp()
        self.servers: dict[str, Program] = {}
        self.controls: dict[str, str] = {}
        self.agents: list[UserAgent] = []
        self.chats: list[Chat] = []
        self.seen: dict[str, list[str]] = {}
        write(AUTHORITY, self.directory, "ca")
        write(issue("127.0.0.1", issuer=AUTHORITY), self.directory, "server")
        for name in ("focus-1", "focus-2"):
            write(issue(name, issuer=AUTHORITY), self.directory, name)
        self.port = free_port()
        self.addCleanup(self.stop_agents)

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
        control = self.controls.get(name, "tls:127.0.0.1:0")
        config.write_text(
            f'[server]\nname = "{name}"\nlisten = ["tcp:127.0.0.1:0"]\ncontrol = "{control}"\n'
            f'dispatchers = ["focus-1", "focus-2"]\nfiles = "files-{name}"\ngrace = 0.5\n'
            f"{channel('server')}[conference]\nnotices = false\n{more}"
        )
        server = self.start("twistd", "-n", "--pidfile=", "msrpconf-server", "-c", str(config))
        found = yield server.shows(r"for dispatchers at (\S+)")
        self.servers[name], self.controls[name] = server, found[1]

    @inlineCallbacks
    def start_focus(self, name: str = "focus-1", more: str = "") -> Story:
        config = self.directory / f"{name}.toml"
        servers = ", ".join(f'"{address}"' for address in self.controls.values())
        config.write_text(
            f'[sip]\nlisten = ["udp:127.0.0.1:{self.port}"]\n[focus]\n[dispatcher]\n'
            f'name = "{name}"\nservers = [{servers}]\ngrace = {GRACE}\n{channel(name)}{more}'
        )
        self.focus = self.start("twistd", "-n", "--pidfile=", "msrpconf-focus", "-c", str(config))
        for server in self.controls:
            yield self.focus.shows(rf"server {server} has \d+ rooms")

    @inlineCallbacks
    def kill(self, program: Program) -> Story:
        program.signals("KILL")
        yield program.ends()

    @inlineCallbacks
    def join(self, name: str, room: str = "lobby") -> Generator[Any, Any, tuple[Chat, Heard]]:
        seen = self.seen[name] = []
        agent = UserAgent(
            reactor,
            f"sip:{name}@example.com",
            trace=lambda kind, direction, peer, octets: seen.append(
                f"{direction} {octets.decode('utf-8', 'replace')}"
            ),
        )
        self.agents.append(agent)
        result: tuple[Chat, Heard] = yield joined(agent, f"sip:{room}@127.0.0.1:{self.port}")
        self.chats.append(result[0])
        # The ACK is on its way: who kills the focus now would have it lost.
        at_a_server = re.compile(rf"joined: sip:{name}@\S+ in sip:{room}@")
        yield self.until(
            lambda: any(at_a_server.search(each.output) for each in self.servers.values())
        )
        return result

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


def free_port() -> int:
    """A UDP port that a process may have, and another after it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def channel(name: str) -> str:
    return (
        f'[channel]\ncertificate = "{name}.pem"\nprivate_key = "{name}.key"\n'
        'authorities = "ca.pem"\n'
    )


class FocusDiesTests(SurvivalTestCase):
    @inlineCallbacks
    def test_people_talk_on_and_leave_when_it_is_back(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.focus)
        yield self.servers["east"].shows("dispatcher focus-1 at 127.0.0.1 lost: .*its calls go on")
        yield self.talk(alice, bob)
        yield self.start_focus()
        yield self.focus.shows("server east has 1 rooms and 2 calls; lost: 0")
        yield self.talk(alice, bob)
        carol = yield self.join("carol")
        yield self.talk(alice, carol)
        self.assertEqual((yield self.in_time(bob[1].next())).text, "from 0")
        self.assertEqual((yield self.in_time(bob[1].next())).text, "from 1")
        # A dialog from before: its BYE finds the server by our tag.
        yield self.in_time(bob[0].leave())
        yield self.servers["east"].shows(r"left: sip:bob@\S+ in \S+ \(.*; 2 in the room")

    @inlineCallbacks
    def test_what_the_server_has_to_say_meanwhile_is_said_afterwards(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.focus)
        # Bob's MSRP breaks, and does not come back.
        bob[0].session.connection.close()
        yield self.servers["east"].shows("dropped: MSRP was lost .*sip:bob@")
        yield self.start_focus()
        yield self.until(lambda: self.byes("bob"))
        self.assertIn("MSRP was lost", self.byes("bob")[0])
        self.assertEqual(self.byes("alice"), [])
        self.assertFalse(alice[0].ended)


class ServerDiesTests(SurvivalTestCase):
    @inlineCallbacks
    def test_everybody_gets_a_bye_and_the_room_begins_anew_elsewhere(self) -> Story:
        yield self.begin("east", "west")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        home = yield self.home()
        other = {"east": "west", "west": "east"}[home]
        yield self.kill(self.servers[home])
        yield self.focus.shows(f"server {home} at .* lost: ")
        # Its rooms may still come back: nobody begins one of the same name elsewhere.
        for _, heard in (alice, bob):
            why = yield self.in_time(heard.ended)
            self.assertIn("The conference server has failed", why)
        for name in ("alice", "bob"):
            (bye,) = self.byes(name)
            self.assertIn("Reason: SIP;cause=503;text=", bye)
        detected = reactor.seconds()
        carol = yield self.join("carol")
        self.assertLess(reactor.seconds() - detected, 2.0)
        dave = yield self.join("dave")
        yield self.talk(carol, dave)
        yield self.servers[other].shows(r"joined: sip:carol@\S+ in sip:lobby@")

    @inlineCallbacks
    def test_new_rooms_go_elsewhere_at_once(self) -> Story:
        yield self.begin("east", "west")
        yield self.kill(self.servers["east"])
        yield self.focus.shows("server east at .* lost: ")
        for number in range(6):
            yield self.join(f"alice{number}", f"room{number}")

    @inlineCallbacks
    def test_a_server_that_starts_anew_has_lost_its_calls(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        yield self.kill(self.servers["east"])
        yield self.start_apart("east")
        yield self.in_time(alice[1].ended)
        self.assertIn("Reason: SIP;cause=503", self.byes("alice")[0])
        # Once at the start, and once now.
        yield self.focus.shows(r"(?s)(server east has 0 rooms and 0 calls.*){2}")
        yield self.join("bob")

    @inlineCallbacks
    def test_no_server_is_left(self) -> Story:
        yield self.begin("east")
        yield self.kill(self.servers["east"])
        yield self.focus.shows("server east has not come back for 0.5 s: BYE to 0 calls")
        try:
            yield self.join("alice")
        except JoinError as error:
            self.assertEqual(error.status, 503)
            self.assertIn("No conference server", str(error))
        else:
            self.fail("joined nothing")
        self.assertIn("Retry-After: 5", "".join(self.seen["alice"]))


class ServerEndsTests(SurvivalTestCase):
    @inlineCallbacks
    def test_everybody_is_told_and_new_rooms_go_elsewhere(self) -> Story:
        yield self.begin("east", "west")
        alice = yield self.join("alice")
        home = yield self.home()
        self.servers[home].signals("TERM")
        why = yield self.in_time(alice[1].ended)
        self.assertIn("shutting down", why)
        status = yield self.servers[home].ends()
        self.assertEqual(status, 0)
        yield self.focus.shows(f"server {home} at .* lost: ")
        self.assertEqual(len(self.byes("alice")), 1)
        yield self.join("bob")
        self.assertNotIn("Traceback", self.focus.output + self.servers[home].output)

    @inlineCallbacks
    def test_a_focus_that_ends_sends_nobody_out(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        self.focus.signals("TERM")
        status = yield self.focus.ends()
        self.assertEqual(status, 0)
        yield self.talk(alice, bob)
        self.assertNotIn("Traceback", self.focus.output)


class TwoFocusesTests(SurvivalTestCase):
    database = '[database]\nurl = "sqlite:///shared.sqlite"\n'

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
    def test_one_is_killed_and_then_a_server(self) -> Story:
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus("focus-1", self.database)
        first = self.focus
        alice = yield self.join("alice")
        self.port = free_port()
        yield self.start_focus("focus-2", self.database)
        bob = yield self.join("bob")
        yield self.talk(alice, bob)
        home = yield self.home()
        yield self.kill(first)
        yield self.talk(alice, bob)
        yield self.servers[home].shows("dispatcher focus-1 at 127.0.0.1 lost")
        yield self.kill(self.servers[home])
        for name in ("alice", "bob"):
            yield self.until(partial(self.byes, name))
            self.assertIn("Reason: SIP;cause=503", self.byes(name)[0])
        yield self.join_in_the_end("carol")
        self.assertNotIn("Traceback", self.focus.output)
