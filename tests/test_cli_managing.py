"""The commands of an operator, as processes beside a server's."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import UserAgent
from tests.processes import ProcessCase, Program
from tests.scenarios.embedded import joined

Story = Generator[Deferred[Any], Any, None]

SETTINGS = '[presence]\n[management]\nlisten = "127.0.0.1:0"\n[database]\nurl = "sqlite://"\n'


class ManagingTests(ProcessCase):
    timeout = 120
    url = ""

    @inlineCallbacks
    def serve(self, settings: str = SETTINGS) -> Generator[Deferred[Any], Any, str]:
        """Start a server; the address of a room there."""
        server, room = yield self.start_server(settings=settings)
        found = yield server.shows(r"management at (http://[\d.]+:\d+)")
        self.url = found[1]
        return str(room)

    @inlineCallbacks
    def does(self, *arguments: str, status: int = 0) -> Generator[Deferred[Any], Any, Program]:
        """Run a command to its end."""
        program = self.start("msrpconf", *arguments, "--url", self.url)
        yield program.ends()
        self.assertEqual(program.status, status, str(program))
        self.assertNotIn("Traceback", program.errors)
        return program

    @inlineCallbacks
    def says(self, expected: str, *arguments: str) -> Story:
        """Run a command that succeeds and says something."""
        program = yield self.does(*arguments)
        self.assertIn(expected, program.output)

    @inlineCallbacks
    def fails(self, expected: str, *arguments: str) -> Story:
        """Run a command that fails with one clear line."""
        program = yield self.does(*arguments, status=1)
        self.assertEqual(len(program.errors.splitlines()), 1, str(program))
        self.assertTrue(program.errors.startswith("Error: "), str(program))
        self.assertIn(expected, program.errors)

    @inlineCallbacks
    def test_a_room_with_somebody_in_it(self) -> Story:
        address = yield self.serve()
        name = "lobby@127.0.0.1"
        made = ("--subject", "Tea time", "--owner", "carol@example.com", "--set", "burst=7")
        yield self.says("sip:lobby@127.0.0.1 is set up", "room", "create", name, *made)
        yield self.fails("is set up already", "room", "create", name)
        agent = UserAgent(reactor, "sip:alice@127.0.0.1")
        self.addCleanup(agent.stop)
        _, alice = yield joined(agent, address)
        yield self.says("alice@127.0.0.1", "participant", "list", name)
        yield self.says("told 1 devices", "room", "announce", name, "We", "close", "at ten")
        yield self.says("is muted", "participant", "mute", name, "alice@127.0.0.1")
        yield self.says("nobody watches it", "room", "watchers", name)
        yield self.says("bob@127.0.0.1: block", "room", "block-watcher", name, "bob@127.0.0.1")
        yield self.says("bob@127.0.0.1: allow", "room", "allow-watcher", name, "bob@127.0.0.1")
        yield self.says("lobby", "top", "--once", "--interval", "0.1")
        yield self.fails("1 person in it, will be no more: say --yes", "room", "delete", name)
        yield self.says("has ended; 1 person sent out", "room", "delete", name, "--yes")
        why = yield alice.ended
        self.assertIn("closed by its operator", why)

    @inlineCallbacks
    def test_the_server(self) -> Story:
        yield self.serve()
        yield self.says("ready        yes", "status")
        yield self.says("nobody new is taken in; 0 devices in 0 rooms are left", "drain")
        status = yield self.does("status", "--json", status=2)
        self.assertFalse(json.loads(status.output)["ready"])
        yield self.says("people are taken in again", "undrain")
        yield self.says("changed: nothing", "reload")

    @inlineCallbacks
    def test_without_a_database(self) -> Story:
        yield self.serve('[management]\nlisten = "127.0.0.1:0"\n')
        yield self.fails("write [database] into its configuration", "room", "create", "a@b")
        yield self.fails("there is no room sip:a@b", "room", "show", "a@b")

    @inlineCallbacks
    def test_nobody_answers(self) -> Story:
        self.url = "http://127.0.0.1:1"
        yield self.fails("http://127.0.0.1:1 does not answer: Connection refused", "status")
        self.url = "unix:/nowhere/m.sock"
        yield self.fails("does not answer: No such file or directory", "room", "list")
        self.url = "ftp://x"
        yield self.fails("--url is written as http://127.0.0.1:8080", "top", "--once")

    @inlineCallbacks
    def test_a_dispatcher(self) -> Story:
        server, focus = yield self.start_focus_and_server(
            more='[management]\nlisten = "127.0.0.1:0"\n'
        )
        found = yield focus.shows(r"management at (http://[\d.]+:\d+)")
        self.url = found[1]
        room = (yield focus.shows(r"msrpconf chat (\S+)"))[1]
        yield self.says("no rooms", "server", "rooms")
        agent = UserAgent(reactor, "sip:alice@127.0.0.1")
        self.addCleanup(agent.stop)
        yield joined(agent, room)
        yield server.shows("joined: sip:alice@127.0.0.1")
        listed = yield self.does("server", "list")
        self.assertRegex(listed.output, r"chat-1  unix:\S+ +connected +1 +\d+ +1 *\n")
        yield self.says("state          connected since 2", "server", "show", "chat-1")
        rooms = yield self.does("server", "rooms", "--server", "chat-1", "--json")
        (lobby,) = json.loads(rooms.output)
        self.assertEqual((lobby["server"], lobby["dialogs"]), ("chat-1", 1))
        self.assertTrue(lobby["uri"].startswith("sip:lobby@127.0.0.1"), lobby)
        yield self.says("servers      1: 1 connected, 0 draining", "status")
        yield self.fails("there is no server chat-9", "server", "show", "chat-9")
        yield self.says("changed: nothing", "reload")
        config = self.directory / "focus.toml"
        config.write_text(config.read_text().replace('.sock"]', '.sock", "unix:/nowhere/x.sock"]'))
        yield self.says("changed: dispatcher.servers", "reload")
        yield self.says("unix:/nowhere/x.sock", "server", "list")
        config.write_text(config.read_text().replace(', "unix:/nowhere/x.sock"]', "]"))
        focus.signals("HUP")
        yield focus.shows("SIGHUP: changed dispatcher.servers; waiting for a restart: nothing")
        config.write_text("[focus]")
        focus.signals("HUP")
        yield focus.shows(r"SIGHUP: nothing has changed: \S+focus.toml: \[focus\] alone runs no")
        server.signals("KILL")
        yield focus.shows("server chat-1 at .* lost")
        yield self.does("status", status=2)
        shown = yield self.does("server", "show", "chat-1", "--json")
        self.assertIn(json.loads(shown.output)["state"], ("lost", "given up"))
