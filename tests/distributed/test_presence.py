"""Who watches, while focus, server and presence agent are processes of their own, and die."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from tests.distributed.support import ApartTestCase, Story, free_port, reactor
from tests.processes import PATIENCE, Program
from tests.scenarios.watching import News, WatcherWire

ROOM = "sip:lobby@conf.example.com"


class PresenceTestCase(ApartTestCase):
    """A presence agent, a focus that publishes to it, and servers."""

    more = ""
    """Further tables of the presence agent's configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.presence_port = free_port()
        self.focus_keys = f'presence = "sip:127.0.0.1:{self.presence_port}"\n'
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
            f'[sip]\nlisten = ["udp:127.0.0.1:{self.presence_port}"]\n[presence]\ninterval = 0.1\n'
            f"{self.more}"
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
