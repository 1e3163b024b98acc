"""Focus and server as processes of their own, behind Kamailio."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Invited, JoinError
from msrpconf.protocols.sip.flow import Address
from tests.interop.kamailio import ROOM, USERS, KamailioCase, password_of
from tests.interop.proxy import FOCUS, PROXY, free_ports
from tests.interop.watching import Watcher
from tests.processes import ProcessCase, Program

Story = Generator[Deferred[Any], Any, None]

ALICE, BOB, CAROL = (f"sip:{name}@{USERS}" for name in ("alice", "bob", "carol"))

SERVER = """
[server]
name = "one"
listen = ["tcp:127.0.0.1:0"]
control = "unix:{socket}"
files = "files"
"""

DISPATCHER = """
[dispatcher]
name = "focus.example.com"
servers = ["unix:{socket}"]
"""

PRESENCE = """
[sip]
listen = ["udp:{focus}:{port}", "tcp:{focus}:{port}"]
domains = ["conference.example.com"]
trusted = ["{proxy}", "{focus}"]
[presence]
interval = 0.1
"""


class ApartCase(KamailioCase, ProcessCase):
    """As `KamailioCase`, with `focus_program` and `server` in place of the service."""

    def setUp(self) -> Any:
        ProcessCase.setUp(self)
        return self.start_both()

    @inlineCallbacks
    def serve(self) -> Story:
        directory = mkdtemp(prefix="msrpconf")  # the name of a socket must be short
        self.addCleanup(rmtree, directory)
        socket = f"{directory}/one.sock"
        (self.focus,) = free_ports(FOCUS)
        server = self.directory / "server.toml"
        server.write_text(SERVER.format(socket=socket))
        self.server = self.begin("msrpconf-server", server)
        yield self.server.shows("for dispatchers at")
        self.focus_file = self.directory / "focus.toml"
        text = self.focus_configuration() + DISPATCHER.format(socket=socket) + self.tables
        self.focus_file.write_text(text)
        yield self.start_focus()

    def begin(self, plugin: str, config: Path) -> Program:
        return self.start("twistd", "-n", "--pidfile=", plugin, "-c", str(config))

    @inlineCallbacks
    def start_focus(self) -> Story:
        self.focus_program = self.begin("msrpconf-focus", self.focus_file)
        yield self.focus_program.shows(r"server one has \d+ rooms")


class ApartTests(ApartCase):
    @inlineCallbacks
    def test_all_of_it(self) -> Story:
        """People register, join, talk, are invited and removed; nobody comes past the proxy."""
        forged = (("P-Asserted-Identity", f"<{BOB}>"),)
        direct = self.agent("alice", proxy=f"udp:{FOCUS}:{self.focus}", headers=forged)
        error = yield self.assertFailure(direct.join(ROOM), JoinError)
        self.assertEqual(error.status, 403)
        self.assertIn("come through the proxy", error.reason)
        alice, alice_hears = yield self.enter("alice")
        bob, bob_hears = yield self.enter("bob", "tcp")
        yield bob.send("Hi")
        self.assertEqual((yield alice_hears.next()).text, "Hi")
        asked: Deferred[Invited] = Deferred()
        carol = self.agent("carol", "tcp", on_invited=asked.callback)
        yield carol.register()
        asking = alice.invite(CAROL)
        chat = yield (yield asked).accept()
        self.assertEqual((yield asking).status, 200)
        yield alice.remove(BOB)
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        for each in (chat, alice):
            yield each.leave()
        yield self.server.shows(f"left: {ALICE}")

    @inlineCallbacks
    def test_a_focus_that_is_killed(self) -> Story:
        """Another in its place goes on with the calls, through the same proxy."""
        alice, _ = yield self.enter("alice")
        _, bob_hears = yield self.enter("bob", "tcp")
        yield self.server.shows(f"joined: {BOB}")
        self.focus_program.signals("KILL")
        yield self.focus_program.ends()
        yield alice.send("Still there?")
        self.assertEqual((yield bob_hears.next()).text, "Still there?")
        yield self.start_focus()
        # From a client, to a client, and back.
        yield alice.remove(BOB)
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        yield alice.leave()
        yield self.server.shows(f"left: {ALICE}")


class WatchingCase(ApartCase):
    """Somebody who watches."""

    @inlineCallbacks
    def follow(self) -> Story:
        """Alice, who is in the room, is told who comes and goes, also after a refresh."""
        proxy = Address("tcp", PROXY, self.public)
        watcher = Watcher("alice", USERS, password_of("alice"), proxy)
        yield watcher.start()
        self.addCleanup(watcher.stop)
        alice, _ = yield self.enter("alice")
        yield self.until_watched(watcher)
        yield watcher.until(ALICE)
        bob, _ = yield self.enter("bob")
        yield watcher.until_present(BOB)
        self.assertEqual((yield watcher.subscribe(ROOM)).status, 200)
        yield watcher.until(ALICE, BOB)
        for each in (alice, bob):
            yield each.leave()

    @inlineCallbacks
    def until_watched(self, watcher: Watcher) -> Story:
        """Subscribe, as soon as the presence agent knows the room."""
        while True:
            answer = yield watcher.subscribe(ROOM)
            if answer.status != 404:
                break
            yield deferLater(self.reactor, 0.05)
        self.assertEqual(answer.status, 200)


class PresenceWithFocusTests(WatchingCase):
    tables = "[presence]\ninterval = 0.1\n"

    def test_who_comes_and_goes(self) -> Any:
        return self.follow()


class PresenceApartTests(WatchingCase):
    """A presence agent as a third process."""

    @property
    def focus_keys(self) -> str:  # type: ignore[override]
        return f'presence = "sip:{FOCUS}:{self.presence};transport=tcp"'

    @inlineCallbacks
    def serve(self) -> Story:
        (self.presence,) = free_ports(FOCUS)
        config = self.directory / "presence.toml"
        config.write_text(PRESENCE.format(focus=FOCUS, proxy=PROXY, port=self.presence))
        presence = self.begin("msrpconf-presence", config)
        yield presence.shows("SIP at")
        yield super().serve()

    def test_who_comes_and_goes(self) -> Any:
        return self.follow()


class KamailioPresenceTests(WatchingCase):
    """The server has its rooms published by the focus, to Kamailio."""

    kamailio_presence = True

    @property
    def focus_keys(self) -> str:  # type: ignore[override]
        return f'presence = "sip:{PROXY}:{self.private};transport=tcp"'

    def test_who_comes_and_goes(self) -> Any:
        return self.follow()
