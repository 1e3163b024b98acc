"""Who may watch rooms that are on servers elsewhere, which share the database."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from msrpconf.conference.composing import KeptPublication
from msrpconf.conference.identity import Identity
from msrpconf.conference.published import PublishedStates
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.static import StaticRoom
from msrpconf.services.followed_documents import INTERVAL, RETRY
from msrpconf.services.published_documents import PublishedDocuments
from msrpconf.services.static_records import StaticRecords
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.rooms import RoomStore
from msrpconf.xcap.store import DocumentStore, index_of
from tests.conference.support import request
from tests.conference.test_published import body
from tests.storage.support import DatabaseTestCase
from tests.xcap.support import document, rule

ONE, TWO = "sip:one@conf.example.com", "sip:two@conf.example.com"
ALICE = Identity("sip:alice@example.com", None, ("sip:alice@example.com",))
FOR_BOB = document(rule('<identity><one id="sip:bob@example.com"/></identity>'))


class FollowingCase(DatabaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("msrpconf"):
            self.lines.append(formatEvent(event))


class PublishedDocumentsTests(FollowingCase):
    async def process(self, *awaited: str) -> PublishedDocuments:
        self.database = await self.opened()
        self.store = DocumentStore(self.database, "east")
        self.states = PublishedStates(self.clock)
        self.addCleanup(self.states.stop)
        self.awaited = frozenset(awaited)
        documents = PublishedDocuments(
            self.database, self.states, lambda: self.awaited, self.clock, 5.0
        )
        self.addCleanup(documents.stopService)
        return documents

    def publish(self, key: str = ONE) -> None:
        self.states.restore(KeptPublication(key, "east", "tag", 10000.0, body(uri=key)))

    def end(self, key: str = ONE) -> None:
        headers = (("Event", "conference"), ("SIP-If-Match", "tag"), ("Expires", "0"))
        answer = self.states.handle(request("PUBLISH", key, headers=headers))
        self.assertEqual(answer.status, 200)

    async def settle(self, documents: PublishedDocuments, seconds: float = INTERVAL) -> None:
        self.clock.advance(seconds)
        await documents._lock.run(lambda: None)

    def decided(self, documents: PublishedDocuments, key: str = ONE) -> str:
        return documents.rules.decide(key, ALICE).name.lower()

    async def test_rooms_that_come_and_go(self) -> None:
        documents = await self.process()
        await documents.startService()
        await self.store.change(TWO, index_of(TWO), lambda before: FOR_BOB, False)
        self.publish()
        self.publish(TWO)
        self.assertEqual(self.decided(documents), "confirm")
        await self.settle(documents)
        self.assertEqual(self.decided(documents), "allow")
        self.assertEqual(self.decided(documents, TWO), "block")
        self.end(TWO)
        self.assertFalse(documents.rules.knows(TWO))
        self.publish(TWO)
        await self.settle(documents)
        self.assertEqual(self.decided(documents, TWO), "block")

    async def test_rooms_that_are_there_or_awaited_at_the_start(self) -> None:
        documents = await self.process(TWO)
        await self.store.change(TWO, index_of(TWO), lambda before: FOR_BOB, False)
        self.publish()
        await documents.startService()
        self.assertEqual(self.decided(documents), "allow")
        self.assertEqual(self.decided(documents, TWO), "block")

    async def test_what_others_change_takes_effect_soon(self) -> None:
        documents = await self.process()
        changed: list[str] = []
        documents.rules.on_change(changed.append)
        self.publish()
        await documents.startService()
        changed.clear()
        await self.store.change(ONE, index_of(ONE), lambda before: FOR_BOB, False)
        await self.settle(documents, 5.0)
        self.assertEqual((self.decided(documents), changed), ("block", [ONE]))

    async def test_a_room_that_is_gone_at_once_costs_nothing(self) -> None:
        documents = await self.process()
        await documents.startService()
        self.publish()
        self.end()
        self.assertEqual(documents._due, set())

    async def test_a_room_whose_uri_is_too_long(self) -> None:
        documents = await self.process()
        await documents.startService()
        key = f"sip:{'x' * 65}@conf.example.com"
        self.publish(key)
        self.assertEqual(self.decided(documents, key), "allow")
        self.assertIn("its URI is too long for the table xcap", self.lines[-1])
        self.assertEqual(documents._due, set())

    async def test_while_the_database_is_away(self) -> None:
        documents = await self.process()
        await documents.startService()
        load = documents.store.load

        def away(*_: object) -> Deferred[Any]:
            return fail(DatabaseError("database x: away"))

        self.patch(documents.store, "load", away)
        self.publish()
        self.publish(TWO)
        await self.settle(documents)
        self.assertEqual(self.decided(documents), "confirm")
        await self.settle(documents, RETRY)
        self.assertEqual(len([line for line in self.lines if "away" in line]), 1)
        self.end(TWO)
        self.assertEqual(documents._due, {ONE})
        self.patch(documents.store, "load", load)
        await self.settle(documents, RETRY)
        self.assertEqual(self.decided(documents), "allow")
        self.assertIn("the database is back", self.lines[-1])

    async def test_stopping(self) -> None:
        documents = await self.process()
        await documents.startService()
        self.publish()
        await documents.stopService()
        self.states.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StaticRecordsTests(FollowingCase):
    async def test_they_follow(self) -> None:
        database = await self.opened()
        store = RoomStore(database, self.clock.seconds)
        roles = Roles({"sip:alice@example.com": Role.OWNER})
        record = await store.create(StaticRoom(ONE, roles=roles))
        records = StaticRecords(database, self.clock, 5.0)
        self.addCleanup(records.stopService)
        changed: list[str] = []
        records.on_change(changed.append)
        await records.startService()
        self.assertEqual((list(records.records), changed), ([ONE], [ONE]))
        self.assertIs(records.records[ONE].roles.of(ALICE), Role.OWNER)
        await store.change(evolve(record, roles=Roles()))
        await store.create(StaticRoom(TWO))
        await records.refresh()
        self.assertIs(records.records[ONE].roles.of(ALICE), Role.PARTICIPANT)
        self.assertEqual(changed, [ONE, ONE, TWO])
        await store.delete(ONE)
        await records.refresh()
        self.assertEqual((list(records.records), changed[3:]), ([TWO], [ONE]))

    async def test_while_the_database_is_away(self) -> None:
        database = await self.opened()
        await RoomStore(database, self.clock.seconds).create(StaticRoom(ONE))
        records = StaticRecords(database, self.clock, 5.0)
        await records.startService()
        read = database.read
        self.patch(database, "read", lambda work: fail(DatabaseError("database x: away")))
        self.clock.advance(5.0)
        self.clock.advance(5.0)
        self.assertEqual(list(records.records), [ONE])
        self.assertEqual(len([line for line in self.lines if "away" in line]), 1)
        self.patch(database, "read", read)
        await records.refresh()
        self.assertIn("is back", self.lines[-1])
        records.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
