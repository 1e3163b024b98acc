"""What was said in static rooms, in the database."""

from __future__ import annotations

from sqlalchemy import func, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from msrpconf.conference.static import StaticRoom
from msrpconf.storage import history as stored
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.history import Bounds, HistoryStore, StoredMessage
from msrpconf.storage.rooms import RoomStore
from msrpconf.storage.schema import MAX_HEAD, history
from tests.storage.support import DatabaseTestCase, OnPostgresql

ONE, TWO = "sip:one@example.com", "sip:two@example.com"
BOUNDS = Bounds(3, 100.0)


def said(text: str, at: float = 1000.0) -> StoredMessage:
    return StoredMessage(at, b'{"by": "alice"}', text.encode())


class HistoryTests(DatabaseTestCase):
    async def store(self) -> HistoryStore:
        self.database = await self.opened()
        self.clock = Clock()
        self.clock.advance(1000)
        self.rooms = RoomStore(self.database, self.clock.seconds)
        for each in (ONE, TWO):
            await self.rooms.create(StaticRoom(each))
        self.transactions = 0
        run = self.database.run

        def counted(work):  # type: ignore[no-untyped-def]
            self.transactions += 1
            return run(work)

        self.patch(self.database, "run", counted)
        store = HistoryStore(self.database, self.clock)
        self.addCleanup(store.stop)
        return store

    async def written(self, store: HistoryStore, seconds: float = stored.INTERVAL) -> None:
        self.clock.advance(seconds)
        if store._writing is not None:
            await store._writing

    async def texts(self, store: HistoryStore, room: str = ONE, bounds: Bounds = BOUNDS) -> str:
        found = await store.load({room: bounds})
        return " ".join(each.content.decode() for each in found.get(room, []))

    async def rows(self) -> int:
        query = select(func.count()).select_from(history)
        return await self.database.read(lambda c: c.scalar(query)) or 0

    async def test_what_is_written_is_read(self) -> None:
        store = await self.store()
        message = StoredMessage(999.5, bytes(range(256)), bytes(range(256)) * 100)
        store.append(ONE, [message, said("b")], BOUNDS)
        self.assertEqual(await store.load({ONE: BOUNDS, TWO: BOUNDS}), {})
        await self.written(store)
        found = await store.load({ONE: BOUNDS, TWO: BOUNDS})
        self.assertEqual(found, {ONE: [message, said("b")]})

    async def test_one_transaction_for_many_messages(self) -> None:
        store = await self.store()
        for n in range(100):
            store.append((ONE, TWO)[n % 2], [said(str(n))], BOUNDS)
        await self.written(store)
        self.assertEqual(self.transactions, 1)
        self.assertEqual(await self.texts(store), "94 96 98")
        self.assertEqual(await self.texts(store, TWO), "95 97 99")
        self.assertEqual(await self.rows(), 6)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_what_comes_while_it_writes_is_next(self) -> None:
        store = await self.store()
        store.append(ONE, [said("a")], BOUNDS)
        self.clock.advance(stored.INTERVAL)
        store.append(ONE, [said("b")], BOUNDS)
        await self.written(store, 0)
        self.assertEqual(await self.texts(store), "a")
        await self.written(store)
        self.assertEqual(await self.texts(store), "a b")

    async def test_what_is_old_goes(self) -> None:
        store = await self.store()
        store.append(ONE, [said("old", 901.5), said("new")], BOUNDS)
        self.assertEqual(await self.rows(), 0)
        await self.written(store, 1.0)
        self.assertEqual(await self.texts(store), "old new")
        self.clock.advance(1.0)
        self.assertEqual(await self.texts(store), "new")
        store.append(ONE, [said("newer")], BOUNDS)
        await self.written(store)
        self.assertEqual(await self.rows(), 2)

    async def test_fewer_than_before(self) -> None:
        store = await self.store()
        store.append(ONE, map(said, "abc"), BOUNDS)
        await self.written(store)
        self.assertEqual(await self.texts(store, bounds=Bounds(2, 100.0)), "b c")
        store.append(ONE, [said("d")], Bounds(1, 100.0))
        await self.written(store)
        self.assertEqual(await self.texts(store), "d")
        store.append(ONE, [], Bounds(0, 100.0))
        await self.written(store)
        self.assertEqual(await self.rows(), 0)

    async def test_the_end_writes_what_waits(self) -> None:
        store = await self.store()
        store.append(ONE, [said("a")], BOUNDS)
        self.clock.advance(stored.INTERVAL)
        store.append(ONE, [said("b")], BOUNDS)
        await store.stop()
        self.assertEqual(await self.texts(store), "a b")
        store.append(ONE, [said("late")], BOUNDS)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        await store.stop()

    async def test_a_room_that_is_deleted_has_none(self) -> None:
        store = await self.store()
        store.append(ONE, [said("a")], BOUNDS)
        await self.written(store)
        store.append(ONE, [said("b")], BOUNDS)
        store.append("sip:adhoc@example.com", [said("c")], BOUNDS)
        await self.rooms.delete(ONE)
        await self.written(store)
        self.assertEqual(await self.rows(), 0)
        store.append(ONE, [said("b")], BOUNDS)
        store.forget(ONE)
        await self.rooms.create(StaticRoom(ONE))
        await self.written(store)
        self.assertEqual(await self.rows(), 0)

    async def test_what_is_too_long_is_left_out(self) -> None:
        store = await self.store()
        store.append(ONE, [StoredMessage(1000, b"x" * (MAX_HEAD + 1), b""), said("a")], BOUNDS)
        await self.written(store)
        self.assertEqual(await self.texts(store), "a")

    async def test_while_the_database_is_away(self) -> None:
        store = await self.store()
        run = self.database.run
        self.patch(self.database, "run", self.gone)
        store.append(ONE, [said("a")], BOUNDS)
        await self.written(store)
        store.append(ONE, [said("b")], BOUNDS)
        await self.written(store)
        self.patch(self.database, "run", run)
        await self.written(store, stored.RETRY)
        self.assertEqual(await self.texts(store), "a b")

    async def test_what_waits_is_bounded(self) -> None:
        store = await self.store()
        self.patch(stored, "MAX_PENDING", 3 * len(said("a")))
        run = self.database.run
        self.patch(self.database, "run", self.gone)
        store.append(ONE, [said("a")], BOUNDS)
        await self.written(store)
        for text in "bcdef":
            store.append(ONE, [said(text)], BOUNDS)
        self.assertEqual((store.lost, len(store._pending)), (3, 3))
        self.patch(self.database, "run", run)
        await self.written(store, stored.RETRY)
        self.assertEqual(await self.texts(store), "d e f")

    def gone(self, *_: object) -> Deferred[None]:
        raise DatabaseError("x: gone")


class PostgresqlHistoryTests(HistoryTests, OnPostgresql):
    pass
