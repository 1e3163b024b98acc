"""The database that focus and servers share is away, without a word, and comes back."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from sqlalchemy import URL
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import JoinError
from msrpconf.conference.static import StaticRoom
from msrpconf.storage.database import Database
from msrpconf.storage.history import Bounds, HistoryStore
from msrpconf.storage.rooms import RoomStore
from msrpconf.storage.url import read_url
from tests.distributed.support import HostsTestCase, Story, reactor
from tests.processes import PATIENCE
from tests.storage.support import new_schema

ROOM = "sip:{}@conf.example.com"


class DatabaseAwayTests(HostsTestCase):
    names = ("focus-1", "east", "database", "people")

    @inlineCallbacks
    def begin_with_database(self) -> Story:
        """A database on a host of its own, a static room in it, a server and a focus."""
        # What the operator has of it is not cut off.
        mine = new_schema(self)
        self.database = Database(mine, reactor)
        self.addCleanup(self.database.stop)
        yield self.database.start()
        self.rooms = RoomStore(self.database, time.time)
        yield self.create("lobby", history_messages=10)
        url = read_url(mine)
        relay = self.start_script(
            Path(__file__).with_name("relay.py"),
            *(self.address("database"), "5432", str(url.query["host"])),
            by=self.by("database"),
        )
        yield relay.shows("relays")
        table = f'[database]\nrefresh = 0.5\nurl = "{self.by_network(url)}"\n'
        yield self.start_apart("east", f"ad_hoc = false\n{table}")
        yield self.start_focus("focus-1", table)

    def by_network(self, url: URL) -> str:
        """The same database as others reach it."""
        there = url.set(host=self.address("database"), port=5432).difference_update_query(["host"])
        return there.render_as_string(hide_password=False)

    def create(self, name: str, **settings: object) -> Any:
        return self.rooms.create(StaticRoom(ROOM.format(name), settings=settings))

    @inlineCallbacks
    def test_rooms_go_on_and_what_needs_it_is_refused_until_it_is_back(self) -> Story:
        yield self.begin_with_database()
        alice = yield self.join("alice")
        for host in ("focus-1", "east"):
            self.hosts.cut(host, "database")
        # Nobody knows yet. To begin a room takes a claim, to join one does not.
        early = self.refused("dave", "fresh")
        bob = yield self.join("bob")
        yield self.talk(alice, bob)
        yield early
        # Now everybody knows, and nobody waits.
        yield self.focus.shows("no new room can be claimed")
        yield self.servers["east"].shows("static rooms stay as they are")
        yield self.servers["east"].shows("the histories of rooms wait")
        yield self.refused("erin", "fresh")
        yield self.create("fresh")
        carol = yield self.join("carol")
        yield self.talk(alice, carol)
        for host in ("focus-1", "east"):
            self.hosts.heal(host, "database")
        yield self.focus.shows("it is back")
        yield self.servers["east"].shows("it is back")
        # What the operator has changed meanwhile holds, and what was said is kept.
        yield self.join_at_last("frank", "fresh")
        self.assertEqual((yield self.said(4)), ["from 0", "from 1"] * 2)
        for each in (self.focus, self.servers["east"]):
            self.assertNotIn("Traceback", each.output)

    @inlineCallbacks
    def refused(self, name: str, room: str) -> Story:
        with self.assertRaises(JoinError) as refused:
            yield self.join(name, room)
        self.assertEqual(refused.exception.status, 503)
        self.assertIn("cannot be claimed", str(refused.exception))
        self.assertIn("Retry-After: ", "".join(self.seen[name]))

    @inlineCallbacks
    def join_at_last(self, name: str, room: str) -> Story:
        """Join a room that the server does not know yet."""
        latest = reactor.seconds() + PATIENCE
        while True:
            try:
                yield self.join(name, room)
            except JoinError as error:
                self.assertIn(error.status, {403, 404, 503})
                self.assertLess(reactor.seconds(), latest, str(error))
                yield deferLater(reactor, 0.2)
            else:
                return

    @inlineCallbacks
    def said(self, number: int) -> Generator[Any, Any, list[str]]:
        """What the history of the lobby has, once it has so many messages."""
        store = HistoryStore(self.database, reactor)
        key = ROOM.format("lobby")
        latest = reactor.seconds() + PATIENCE
        while True:
            found = yield store.load({key: Bounds(10, 3600.0)})
            texts = [each.content.decode("utf-8") for each in found.get(key, ())]
            if len(texts) >= number:
                return texts
            self.assertLess(reactor.seconds(), latest, str(texts))
            yield deferLater(reactor, 0.1)
