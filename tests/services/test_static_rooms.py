"""Static rooms from the database to the people in them."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from sqlalchemy import update
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.history import Said
from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.rendition import Speaker
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.conference.static import StaticRoom
from msrpconf.protocols.sip.message import Response
from msrpconf.services.static_rooms import StaticRoomService
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError, NoSuchRoom, RoomExists
from msrpconf.storage.schema import history, rooms
from tests.conference.support import ROOM, FakeChannel, msrp_lines, request, sdp
from tests.storage.support import DatabaseTestCase, OnPostgresql, reactor

LOBBY = StaticRoom(ROOM, "Tea")


class Process:
    """A server with its static rooms."""

    def __init__(self, case: DatabaseTestCase, url: str) -> None:
        self.clock = Clock()
        self.control = ConferenceControl(
            ConferenceRegistry(self.clock), self.clock, ServerSettings(ad_hoc=False), print
        )
        self.channel = FakeChannel()
        self.control.channel = self.channel
        self.database = Database(url, reactor)
        self.rooms = StaticRoomService(self.database, self.control, self.clock, 5.0)
        case.addCleanup(self.rooms.stopService)

    def invite(self, name: str) -> Response:
        return self.control.handle(
            request(
                "INVITE",
                from_=f"<sip:{name}@home.com>;tag={name}",
                call_id=name,
                headers=(("Contact", f"<sip:{name}@192.0.2.1>"),),
                body=sdp(*msrp_lines()),
            )
        )

    def says(self, key: str, text: str) -> None:
        """Alice says something in a room."""
        alice = Speaker.of(Identity("sip:alice@home.com", "Alice", ("sip:alice@home.com",)))
        now = self.clock.seconds()
        room = self.control.registry.rooms[key]
        said = Said(alice, now, "2026-11-23T09:00:00Z", "text/plain", (), text.encode())
        if room.history.keeps(said.media_type):
            room.history.add(said)

    def said(self, key: str) -> str:
        """What was said in a room."""
        messages = self.control.registry.rooms[key].history.messages()
        return " ".join(each.content.decode() for each in messages)

    def looked(self) -> Deferred[None]:
        """Done when it has looked for changes as it does from time to time."""
        self.clock.advance(5.0)
        return self.rooms.refresh()


class StaticRoomServiceTests(DatabaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def logged(self) -> list[str]:
        lines = [
            formatEvent(each)
            for each in self.events
            if each.get("log_namespace") == StaticRoomService.__module__ + ".StaticRoomService"
        ]
        self.events.clear()
        return lines

    async def process(self) -> Process:
        process = Process(self, self.url)
        await process.rooms.startService()
        return process

    async def test_it_outlives_a_restart(self) -> None:
        first = await self.process()
        self.assertEqual(first.invite("alice").status, 404)
        created = await first.rooms.create(LOBBY)
        self.assertEqual(first.invite("alice").status, 200)
        await first.rooms.stopService()
        second = await self.process()
        self.assertEqual(second.rooms.rooms, {LOBBY.key: created})
        self.assertEqual(second.control.registry.rooms[LOBBY.key].subject, "Tea")
        self.assertEqual(second.invite("alice").status, 200)
        self.assertEqual(
            self.logged,
            [f"{second.database.name}: {count} static rooms" for count in (0, 1)],
        )

    async def test_a_change_takes_effect_before_its_answer(self) -> None:
        process = await self.process()
        room = await process.rooms.create(LOBBY)
        self.assertEqual(process.invite("alice").status, 200)
        banned = Roles({"sip:alice@home.com": Role.BANNED})
        await process.rooms.change(evolve(room, roles=banned), room.revision)
        self.assertEqual([each.method for each in process.channel.requests], ["BYE"])
        self.assertEqual(process.invite("alice").status, 403)
        await process.rooms.delete(room.key)
        self.assertEqual(process.invite("bob").status, 404)
        self.assertEqual(process.rooms.rooms, {})

    async def test_what_is_refused_changes_nothing(self) -> None:
        process = await self.process()
        await process.rooms.create(LOBBY)
        await self.fails(RoomExists, process.rooms.create(evolve(LOBBY, subject="Coffee")))
        await self.fails(NoSuchRoom, process.rooms.delete("sip:other@example.com"))
        self.assertEqual(process.control.registry.rooms[LOBBY.key].subject, "Tea")

    async def test_other_processes_follow(self) -> None:
        one, two = await self.process(), await self.process()
        room = await one.rooms.create(LOBBY)
        self.assertEqual(two.invite("alice").status, 404)
        await two.looked()
        self.assertEqual(two.invite("alice").status, 200)
        await one.rooms.change(evolve(room, roles=Roles(members_only=True)))
        await two.looked()
        self.assertEqual([each.method for each in two.channel.requests], ["BYE"])
        await one.rooms.delete(room.key)
        await two.looked()
        self.assertEqual(two.control.registry.rooms, {})

    async def test_changes_at_once_end_the_same_everywhere(self) -> None:
        processes = [await self.process() for _ in range(3)]
        room = await processes[0].rooms.create(LOBBY)
        await gatherResults([each.looked() for each in processes])
        changes: list[Deferred[Any]] = [
            each.rooms.change(evolve(room, subject=f"{n}")) for n in range(5) for each in processes
        ]
        await gatherResults([*changes, *(each.looked() for each in processes)])
        await gatherResults([each.looked() for each in processes])
        records = [each.rooms.rooms[room.key] for each in processes]
        self.assertEqual(records, [records[0]] * 3)

    async def test_what_was_said_outlives_a_restart(self) -> None:
        first = await self.process()
        room = await first.rooms.create(evolve(LOBBY, settings={"history_messages": 3}))
        other = await first.rooms.create(StaticRoom("sip:other@example.com"))
        for key in (room.key, other.key):
            for text in "abcd":
                first.says(key, text)
        self.assertEqual(first.said(other.key), "")
        await first.rooms.stopService()
        second = await self.process()
        self.assertEqual(second.said(room.key), "b c d")
        second.says(room.key, "e")
        await second.rooms.change(evolve(room, settings={"history_messages": 1}))
        await second.rooms.stopService()
        third = await self.process()
        self.assertEqual(third.said(room.key), "e")
        await third.rooms.change(room)
        await third.rooms.stopService()
        fourth = await self.process()
        self.assertEqual(fourth.said(room.key), "e")
        await fourth.rooms.delete(room.key)
        await fourth.rooms.create(room)
        await fourth.rooms.stopService()
        fifth = await self.process()
        self.assertEqual(fifth.said(room.key), "")

    async def test_an_ad_hoc_room_keeps_what_was_said(self) -> None:
        first = await self.process()
        first.control.settings = ServerSettings(room=RoomSettings(history_messages=3))
        first.invite("alice")
        first.says(LOBBY.key, "a")
        room = await first.rooms.create(evolve(LOBBY, settings={"history_messages": 3}))
        await first.rooms.stopService()
        second = await self.process()
        self.assertEqual(second.said(room.key), "a")

    async def test_a_stored_message_that_cannot_be_read(self) -> None:
        first = await self.process()
        room = await first.rooms.create(evolve(LOBBY, settings={"history_messages": 3}))
        first.says(room.key, "a")
        await first.rooms.stopService()
        database = await self.opened()
        await database.run(lambda c: c.execute(update(history).values(head=b"{}")))
        second = await self.process()
        self.assertEqual(second.said(room.key), "")
        self.assertEqual(second.invite("alice").status, 200)

    async def test_a_record_that_cannot_be_read(self) -> None:
        process = await self.process()
        await process.rooms.create(LOBBY)
        await process.database.run(lambda c: c.execute(update(rooms).values(settings="{")))
        await process.rooms.stopService()
        self.events.clear()
        process = await self.process()
        self.assertIn(f"static room: the record of {ROOM} cannot be read: ", self.logged[0])
        self.assertEqual(process.invite("alice").status, 403)

    async def test_rooms_stay_while_the_database_is_away(self) -> None:
        process = await self.process()
        await process.rooms.create(LOBBY)
        self.events.clear()

        def broken(*_: object) -> Deferred[None]:
            raise DatabaseError("x: gone")

        self.patch(process.rooms._store, "changes", broken)
        for _ in range(3):
            await self.assertFailure(process.looked(), DatabaseError)
        self.assertEqual(self.logged, ["x: gone; static rooms stay as they are"])
        self.assertEqual(process.invite("alice").status, 200)
        self.flushLoggedErrors()
        del process.rooms._store.changes
        await process.looked()
        await process.looked()
        self.assertEqual(self.logged, [f"{process.database.name}: it is back"])

    async def test_a_database_that_cannot_be_used(self) -> None:
        process = Process(self, "sqlite:////nowhere/x.sqlite")
        await self.fails(DatabaseError, process.rooms.startService(), "unable to open")
        await process.rooms.stopService()


class PostgresqlStaticRoomServiceTests(StaticRoomServiceTests, OnPostgresql):
    pass
