"""Draining: until a deadline, and over a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from msrpconf.services.draining import MAX_DEADLINE, NONE, DrainFile, Draining, DrainRow
from msrpconf.storage.errors import DatabaseError
from tests.conference.support import ControlTestCase
from tests.services.test_dispatching import DispatchTestCase, Here


class DrainingTests(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.database: Any = Here()
        self.draining = self.new()
        self.client_of = self.joined("alice")

    def new(self, name: str = "east", **options: Any) -> Draining:
        """What another process of that name has."""
        store = DrainRow(self.database, name)
        draining = Draining(self.control, self.clock, store, **options)
        self.addCleanup(draining.stop)
        self.successResultOf(draining.start())
        return draining

    def test_it_goes_on_after_a_restart(self) -> None:
        self.successResultOf(self.draining.begin())
        self.assertTrue(self.draining.is_kept)
        self.registry.draining = False
        again = self.new()
        self.assertTrue(self.registry.draining and again.is_kept)
        self.assertIsNone(again.deadline)
        self.successResultOf(again.end())
        self.assertFalse(self.registry.draining or again.is_kept)
        self.new()
        self.assertFalse(self.registry.draining)

    def test_another_server_does_not_drain(self) -> None:
        self.successResultOf(self.draining.begin())
        self.registry.draining = False
        self.new("west")
        self.assertFalse(self.registry.draining)

    def test_at_the_deadline_rooms_end(self) -> None:
        self.successResultOf(self.draining.begin(60))
        self.clock.advance(59)
        self.assertEqual(len(self.room.participants), 1)
        self.clock.advance(1)
        self.assertIn("taken out of service", self.bye().headers.get("Reason") or "")
        self.assertNobodyIsLeft()
        self.assertTrue(self.registry.draining)

    def test_also_after_a_restart(self) -> None:
        self.successResultOf(self.draining.begin(60))
        self.draining.stop()
        self.clock.advance(100)
        self.assertEqual(len(self.room.participants), 1)
        self.new()
        self.clock.advance(0)
        self.assertNobodyIsLeft()

    def test_another_deadline_and_none(self) -> None:
        self.successResultOf(self.draining.begin(60))
        self.successResultOf(self.draining.begin(600))
        self.clock.advance(60)
        self.assertEqual(len(self.room.participants), 1)
        self.successResultOf(self.draining.begin())
        self.clock.advance(1000)
        self.assertEqual(len(self.room.participants), 1)
        self.successResultOf(self.draining.begin(60))
        self.successResultOf(self.draining.end())
        self.clock.advance(60)
        self.assertEqual(len(self.room.participants), 1)

    def test_they_go_to_other_servers_first(self) -> None:
        went: list[str] = []

        def hand_over() -> Deferred[Any]:
            went.append("all")
            self.registry.leave(self.client_of.participant)
            return succeed(None)

        draining = self.new(hand_over=hand_over)
        self.successResultOf(draining.begin(5))
        self.clock.advance(5)
        self.assertEqual(went, ["all"])
        self.assertEqual(self.channel.requests, [])

    def test_without_the_database_it_drains_all_the_same(self) -> None:
        self.database.away = True
        self.successResultOf(self.draining.begin())
        self.assertTrue(self.registry.draining)
        self.assertFalse(self.draining.is_kept)
        self.registry.draining = False
        self.new()
        self.assertFalse(self.registry.draining)

    def test_nowhere_to_keep_it(self) -> None:
        draining = Draining(self.control, self.clock)
        self.successResultOf(draining.start())
        self.successResultOf(draining.begin())
        self.assertTrue(self.registry.draining)
        self.assertFalse(draining.is_kept)


class FileTests(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.mktemp()) / "below"
        self.store = DrainFile(self.directory, "east")

    def loaded(self) -> int | None:
        return self.successResultOf(self.store.load())

    def test_a_file(self) -> None:
        self.assertIsNone(self.loaded())
        self.successResultOf(self.store.save(None))
        for deadline in (NONE, 1_800_000_000):
            self.successResultOf(self.store.save(deadline))
            self.assertEqual(self.loaded(), deadline)
        self.assertEqual(os.listdir(self.directory), ["east.draining"])
        self.successResultOf(self.store.save(None))
        self.assertEqual(os.listdir(self.directory), [])

    def test_what_somebody_else_has_written(self) -> None:
        self.directory.mkdir(parents=True)
        (self.directory / "east.draining").write_text("yes, please")
        self.assertEqual(self.loaded(), NONE)

    def test_a_directory_that_cannot_be_used(self) -> None:
        self.directory.parent.mkdir(parents=True)
        self.directory.write_text("a file")
        self.failureResultOf(self.store.save(NONE), OSError)
        self.failureResultOf(self.store.load(), OSError)
        draining = Draining(self.control, self.clock, self.store)
        self.successResultOf(draining.start())
        self.successResultOf(draining.begin())
        self.assertTrue(self.registry.draining)


class Broken:
    """A store whose database is away."""

    def load(self) -> Deferred[int | None]:
        return fail(DatabaseError("it is away"))

    def save(self, deadline: int | None) -> Deferred[None]:
        return fail(DatabaseError("it is away"))


class ChannelTests(DispatchTestCase):
    """A dispatcher has a server drain."""

    def setUp(self) -> None:
        super().setUp()
        self.tag = self.join()
        self.draining = self.home(self.tag)
        for server in self.servers.values():
            server.links.draining.changed = server.links.tell_draining

    def ask_drain(self, draining: bool, seconds: Any = None) -> Any:
        asking = self.dispatcher.drain(self.draining, draining, seconds)
        self.turn()
        return self.successResultOf(asking)

    def test_it_takes_nobody_new_in(self) -> None:
        response = self.ask_drain(True)
        self.assertEqual((response.status, response.headers.get("Kept")), (200, "no"))
        self.assertTrue(self.dispatcher.tables.servers[self.draining].draining)
        self.assertEqual(self.answer(self.invite("call-2")).status, 503)
        self.assertEqual(self.ask_drain(False).status, 200)
        self.assertFalse(self.dispatcher.tables.servers[self.draining].draining)
        self.join("call-2")

    def test_until_a_deadline(self) -> None:
        self.assertEqual(self.ask_drain(True, 30).status, 200)
        self.seconds(30)
        self.assertEqual(self.byes(), ["call-1"])

    def test_a_deadline_that_is_none(self) -> None:
        for wrong in ("soon", "-1", str(MAX_DEADLINE + 1), "9" * 30):
            self.assertEqual(self.ask_drain(True, wrong).status, 400, wrong)
        self.assertFalse(self.servers[self.draining].registry.draining)

    def test_the_database_is_away(self) -> None:
        links = self.servers[self.draining].links
        links.draining = Draining(links.control, self.clock, Broken())
        self.successResultOf(links.draining.start())
        self.assertEqual(self.ask_drain(True).headers.get("Kept"), "no")
        self.assertIn("cannot be kept for a restart: it is away", "".join(self.lines))
