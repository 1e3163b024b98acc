"""Who watches, while focus, server and presence agent are processes of their own, and die."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from tests.distributed.support import ApartTestCase, Story, free_port, reactor
from tests.processes import PATIENCE, Program
from tests.scenarios.watching import News, WatcherWire
from tests.scenarios.wire import header

ROOM = "sip:lobby@conf.example.com"


class PresenceTestCase(ApartTestCase):
    """A presence agent, a focus that publishes to it, and servers."""

    more = ""
    """Further tables of the presence agent's configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.presence_port = port = port_for_both()
        # By TCP who is away is noticed at once.
        self.focus_keys = f'presence = "sip:127.0.0.1:{port};transport=tcp"\n'
        self.presence: Program
        self.watchers: list[WatcherWire] = []
        self.addCleanup(self.stop_watchers)

    @inlineCallbacks
    def stop_watchers(self) -> Story:
        for each in self.watchers:
            yield each.close()

    @inlineCallbacks
    def start_presence(self) -> Story:
        config = self.directory / "presence.toml"
        config.write_text(
            f'[sip]\nlisten = ["udp:127.0.0.1:{self.presence_port}",'
            f' "tcp:127.0.0.1:{self.presence_port}"]\n[presence]\ninterval = 0.1\n{self.more}'
        )
        self.presence = self.twistd("msrpconf-presence", "presence", config)
        yield self.presence.shows("focuses publish here what happens in rooms")

    @inlineCallbacks
    def watch(self, name: str) -> Generator[Any, Any, WatcherWire]:
        """Subscribe, as soon as the room is known there."""
        watcher = WatcherWire(("127.0.0.1", self.presence_port), name, tcp=True)
        self.watchers.append(watcher)
        watcher.domain = "example.com"
        watcher.uri = ROOM
        latest = reactor.seconds() + PATIENCE
        while True:
            watcher.subscribe()
            answer = yield self.in_time(watcher.next())
            if not answer.startswith("SIP/2.0 404 "):
                break
            self.assertLess(reactor.seconds(), latest)
            yield deferLater(reactor, 0.05)
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        watcher.to_tag = answer.partition("\nTo: ")[2].partition("\r")[0].partition(";tag=")[2]
        return watcher

    @inlineCallbacks
    def sees(self, watcher: WatcherWire, *people: str) -> Generator[Any, Any, News]:
        """Wait until a watcher has been told that just these are in the room."""
        wanted = {f"sip:{name}@example.com" for name in people}
        while True:
            news: News = yield self.in_time(watcher.news())
            watcher.apply(news)
            if watcher.people == wanted:
                return news


class OneOfThemDiesTests(PresenceTestCase):
    @inlineCallbacks
    def test_the_server(self) -> Story:
        yield self.start_presence()
        yield self.begin("east")
        alice = yield self.join("alice")
        watcher = yield self.watch("alice")
        yield self.sees(watcher, "alice")
        bob = yield self.join("bob")
        news = yield self.sees(watcher, "alice", "bob")
        self.assertEqual(news.kind, "partial")
        yield self.in_time(bob[0].leave())
        yield self.sees(watcher, "alice")
        yield self.kill(self.servers["east"])
        while True:
            news = yield self.in_time(watcher.news())
            if not news.state.startswith("active"):
                break
        self.assertEqual(news.state, "terminated;reason=noresource")
        yield self.in_time(alice[1].ended)
        for program in (self.focus, self.presence):
            self.assertNotIn("Traceback", program.output + program.errors)


class RoomsMoveTests(PresenceTestCase):
    """Where rooms go on at another server, who watches them notices nothing."""

    dispatcher = 'on_server_loss = "move"\n'

    @inlineCallbacks
    def watched(self) -> Generator[Any, Any, tuple[str, str, WatcherWire]]:
        """Alice and Bob in a room: its server, the other one, and who watches."""
        yield self.start_presence()
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus(more='[management]\nlisten = "127.0.0.1:0"\n')
        yield self.join("alice")
        yield self.join("bob")
        home = yield self.home()
        watcher = yield self.watch("alice")
        yield self.sees(watcher, "alice", "bob")
        return home, {"east": "west", "west": "east"}[home], watcher

    @inlineCallbacks
    def goes_on(self, watcher: WatcherWire, other: str) -> Story:
        """Who comes to the other server is told of, and nothing was told before."""
        for name in ("alice", "bob"):
            yield self.servers[other].shows(rf"joined: sip:{name}@")
        yield self.join("carol")
        while watcher.people != {f"sip:{name}@example.com" for name in ("alice", "bob", "carol")}:
            news = yield self.in_time(watcher.news())
            self.assertTrue(news.state.startswith("active"), news.state)
            watcher.apply(news)
            self.assertLessEqual({"sip:alice@example.com", "sip:bob@example.com"}, watcher.people)

    @inlineCallbacks
    def test_the_server_is_killed(self) -> Story:
        home, other, watcher = yield self.watched()
        yield self.kill(self.servers[home])
        yield self.goes_on(watcher, other)

    @inlineCallbacks
    def test_the_server_is_drained(self) -> Story:
        home, other, watcher = yield self.watched()
        url = (yield self.focus.shows(r"management at (http://[\d.]+:\d+)"))[1]
        draining = self.start("msrpconf", "server", "drain", home, "--deadline", "1", "--url", url)
        self.assertEqual((yield draining.ends()), 0, str(draining))
        yield self.goes_on(watcher, other)


class PresenceDiesTests(PresenceTestCase):
    """It is killed with SIGKILL, started again, and nobody asks."""

    more = '[database]\nurl = "sqlite:///presence.sqlite"\n'

    @inlineCallbacks
    def written(self, *kept: tuple[str, bytes]) -> Story:
        """Wait until the database has things of these kinds, with these octets in them."""
        path = self.directory / "presence.sqlite"

        def there() -> bool:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                rows = connection.execute("SELECT kind, content FROM msrpconf_kept").fetchall()
            return all(
                any(kind == wanted and octets in content for kind, content in rows)
                for wanted, octets in kept
            )

        yield self.until(there)

    @inlineCallbacks
    def test_watchers_are_told_on(self) -> Story:
        yield self.start_presence()
        yield self.begin("east")
        yield self.join("alice")
        watcher = yield self.watch("alice")
        before = yield self.sees(watcher, "alice")
        yield self.written(("subscription", b"sip:alice@"), ("publication", b"sip:alice@"))
        yield self.kill(self.presence)
        yield self.start_presence()
        yield self.presence.shows("1 subscriptions and 1 publications are here again; awaited: 0")
        # Full state, with numbers that are higher than any before.
        news = yield self.in_time(watcher.news())
        self.assertEqual((news.kind, list(news.users)), ("full", ["sip:alice@example.com"]))
        self.assertTrue(news.state.startswith("active;expires="), news.state)
        self.assertGreater(news.version, before.version)
        self.assertGreater(cseq(news), cseq(before))
        # Then what changes: the server has published on.
        yield self.join("bob")
        news = yield self.sees(watcher, "alice", "bob")
        self.assertEqual(news.kind, "partial")
        for program in (self.focus, self.servers["east"], self.presence):
            self.assertNotIn("Traceback", program.output + program.errors)

    @inlineCallbacks
    def test_what_happens_meanwhile_is_told_afterwards(self) -> Story:
        yield self.start_presence()
        yield self.begin("east")
        yield self.join("alice")
        watcher = yield self.watch("alice")
        yield self.sees(watcher, "alice")
        yield self.written(("subscription", b"sip:alice@"), ("publication", b"sip:alice@"))
        yield self.kill(self.presence)
        yield self.join("bob")
        yield self.start_presence()
        yield self.sees(watcher, "alice", "bob")

    @inlineCallbacks
    def test_stopped_with_sigterm(self) -> Story:
        yield self.start_presence()
        yield self.begin("east")
        yield self.join("alice")
        watcher = yield self.watch("alice")
        yield self.sees(watcher, "alice")
        self.presence.signals("TERM")
        status = yield self.presence.ends()
        self.assertEqual(status, 0)
        yield self.start_presence()
        yield self.presence.shows("1 subscriptions and 1 publications are here again")
        # It is the next thing that the watcher hears.
        news = yield self.in_time(watcher.news())
        self.assertEqual((news.kind, list(news.users)), ("full", ["sip:alice@example.com"]))
        # A refresh in the same dialog is known.
        watcher.subscribe()
        while True:
            answer = yield self.in_time(watcher.next())
            if answer.startswith("SIP/2.0 "):
                break
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)


class WithoutDatabaseTests(PresenceTestCase):
    @inlineCallbacks
    def test_rooms_are_published_again_by_themselves(self) -> Story:
        yield self.start_presence()
        yield self.begin("east")
        yield self.join("alice")
        yield self.watch("alice")
        yield self.kill(self.presence)
        yield self.start_presence()
        yield self.join("bob")
        watcher = yield self.watch("bob")
        yield self.sees(watcher, "alice", "bob")
        yield self.servers["east"].shows("the presence agent has forgotten sip:lobby@")


def port_for_both() -> int:
    """A port that a process may have for UDP and for TCP."""
    while True:
        port = free_port()
        with socket.socket() as stream:
            try:
                stream.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def cseq(news: News) -> int:
    return int(header(news.text, "CSeq").partition(" ")[0])
