"""Documents of rooms that come and go, in the database and in decisions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings
from msrpconf.services.followed_documents import INTERVAL, RETRY
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import xcap
from msrpconf.xcap.store import AD_HOC, ALLOW_ALL, index_of
from tests.storage.support import DatabaseTestCase, OnPostgresql
from tests.xcap.support import document, rule

ONE, TWO = "sip:one@conf.example.com", "sip:two@conf.example.com"
ALICE = Identity("sip:alice@example.com", None, ("sip:alice@example.com",))
FOR_BOB = document(rule('<identity><one id="sip:bob@example.com"/></identity>'))


class RoomDocumentTestCase(DatabaseTestCase):
    """A server's documents, beside its registry."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def logged(self) -> str:
        return "\n".join(formatEvent(event) or "" for event in self.events)

    async def process(self, database: Database | None = None) -> RoomDocumentService:
        self.clock = Clock()
        self.registry = ConferenceRegistry(self.clock)
        self.ended: list[Room] = []
        self.registry.on_ended = self.ended.append
        self.database = database or await self.opened()
        service = RoomDocumentService(self.database, self.registry, self.clock, 5.0, "east")
        self.changed: list[str] = []
        service.rules.on_change(self.changed.append)
        self.addCleanup(service.stopService)
        await service.startService()
        return service

    def room(self, key: str = ONE) -> Room:
        return self.registry.room(key, key, RoomSettings())

    async def settle(self, service: RoomDocumentService, seconds: float = INTERVAL) -> None:
        self.clock.advance(seconds)
        await service._lock.run(lambda: None)

    async def rows(self) -> dict[str, bytes]:
        query = select(xcap.c.doc_uri, xcap.c.doc)
        found = await self.database.read(lambda connection: connection.execute(query).all())
        return {uri: bytes(octets) for uri, octets in found}

    def decided(self, service: RoomDocumentService, key: str = ONE) -> str:
        return service.rules.decide(key, ALICE).name.lower()


class RoomDocumentTests(RoomDocumentTestCase):
    async def test_ad_hoc_rooms(self) -> None:
        service = await self.process()
        for key in (ONE, TWO):
            self.room(key)
        self.assertEqual(self.decided(service), "confirm")
        await self.settle(service)
        self.assertEqual(self.decided(service), "allow")
        self.assertEqual(await self.rows(), {index_of(each): ALLOW_ALL for each in (ONE, TWO)})
        self.registry.end(self.room())
        self.assertEqual([each.key for each in self.ended], [ONE])
        await self.settle(service)
        self.assertEqual(list(await self.rows()), [index_of(TWO)])

    async def test_one_transaction_for_many_rooms(self) -> None:
        service = await self.process()
        count = 0
        run = self.database.run

        def counted(work: Any) -> Deferred[Any]:
            nonlocal count
            count += 1
            return run(work)

        self.patch(self.database, "run", counted)
        for n in range(100):
            self.room(f"sip:{n}@conf.example.com")
        await self.settle(service)
        self.assertEqual((count, len(await self.rows())), (1, 100))

    async def test_a_room_that_is_gone_at_once_costs_nothing(self) -> None:
        service = await self.process()
        self.registry.end(self.room())
        self.assertEqual(service._due, set())
        await self.settle(service)
        self.assertEqual(await self.rows(), {})

    async def test_a_room_that_comes_again_begins_anew(self) -> None:
        service = await self.process()
        room = self.room()
        await self.settle(service)
        await service.change(room, index_of(ONE), lambda before: FOR_BOB)
        self.assertEqual(self.decided(service), "block")
        self.registry.end(room)
        self.room()
        self.assertEqual(self.decided(service), "confirm")
        await self.settle(service)
        self.assertEqual(self.decided(service), "allow")
        self.assertEqual(await self.rows(), {index_of(ONE): ALLOW_ALL})

    async def test_static_rooms_get_no_document(self) -> None:
        service = await self.process()
        self.room().static = True
        await self.settle(service)
        self.assertEqual(await self.rows(), {})
        self.assertEqual(self.decided(service), "allow")

    async def test_a_change_takes_effect_at_once(self) -> None:
        service = await self.process()
        room = self.room()
        room.static = True
        await self.settle(service)
        self.changed.clear()
        await service.change(room, index_of(ONE), lambda before: FOR_BOB)
        self.assertEqual((self.decided(service), self.changed), ("block", [ONE]))
        await service.change(room, index_of(ONE), lambda before: None)
        self.assertEqual((self.decided(service), self.changed), ("allow", [ONE, ONE]))

    async def test_what_others_change_takes_effect_soon(self) -> None:
        service = await self.process()
        self.room()
        await self.settle(service)
        await service.store.change(ONE, index_of(ONE), lambda before: FOR_BOB, True)
        self.assertEqual(self.decided(service), "allow")
        await self.settle(service, 5.0)
        self.assertEqual(self.decided(service), "block")

    async def test_a_document_that_was_there_before_the_room(self) -> None:
        service = await self.process()
        await service.store.change(ONE, index_of(ONE), lambda before: FOR_BOB, False)
        room = self.room()
        await self.settle(service)
        self.assertEqual(self.decided(service), "block")
        self.registry.end(room)
        await self.settle(service)
        self.assertEqual(await self.rows(), {index_of(ONE): FOR_BOB})

    async def test_leftovers_of_a_crash_are_removed(self) -> None:
        service = await self.process()
        self.room()
        await self.settle(service)
        await service.store.change(TWO, index_of(TWO), lambda before: FOR_BOB, False)
        await self.process(self.database)
        self.assertEqual(list(await self.rows()), [index_of(TWO)])
        self.assertIn("pres-rules: removed 1 of rooms that are no more", self.logged)

    async def test_stopping_removes_those_of_rooms_that_have_ended(self) -> None:
        service = await self.process()
        room = self.room()
        await self.settle(service)
        self.registry.end(room)
        await service.stopService()
        self.assertEqual(await self.rows(), {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_while_the_database_is_away(self) -> None:
        service = await self.process()
        self.room()
        await self.settle(service)
        claim, versions = service.store.claim, service.store.versions

        def away(*_: object) -> Deferred[Any]:
            raise DatabaseError("database x: away")

        self.patch(service.store, "claim", away)
        self.patch(service.store, "versions", away)
        gone = self.room(TWO)
        await self.settle(service)
        self.assertEqual(self.decided(service), "allow")
        self.assertEqual(self.decided(service, TWO), "confirm")
        # Rooms that come and go meanwhile are not remembered for ever.
        self.registry.end(gone)
        self.assertEqual(service._due, set())
        self.room(TWO)
        self.registry.end(self.registry.rooms[ONE])
        await self.settle(service, RETRY)
        self.patch(service.store, "claim", claim)
        self.patch(service.store, "versions", versions)
        await self.settle(service, RETRY)
        self.assertEqual(list(await self.rows()), [index_of(TWO)])
        self.assertEqual(self.decided(service, TWO), "allow")
        self.assertEqual(self.logged.count("away; pres-rules stay as they are"), 1)
        self.assertIn("the database is back", self.logged)

    async def test_a_room_whose_uri_is_too_long(self) -> None:
        service = await self.process()
        key = f"sip:{'a' * 65}@conf.example.com"
        self.room(key)
        await self.settle(service)
        self.assertEqual(self.decided(service, key), "allow")
        self.assertIn("its URI is too long for the table xcap", self.logged)
        self.assertEqual(await self.rows(), {})

    async def test_marked(self) -> None:
        service = await self.process()
        self.room()
        await self.settle(service)
        found = await service.store.get(index_of(ONE))
        assert found is not None
        self.assertEqual(found.source, AD_HOC)
        self.assertTrue(found.etag.startswith("msrpconf.east."))


class PostgresqlRoomDocumentTests(OnPostgresql, RoomDocumentTests):
    pass
