"""What presence agents keep over a restart, in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, inspect, select, text, update
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from msrpconf.storage import kept as stored
from msrpconf.storage import schema
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.kept import INTERVAL, RETRY, Content, Kept, KeptStore
from msrpconf.storage.schema import kept, state
from tests.storage.support import DatabaseTestCase, OnPostgresql


class KeptTests(DatabaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1000)
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: dict[str, object]) -> None:
        if str(event.get("log_namespace", "")).startswith("msrpconf"):
            self.lines.append(formatEvent(event))

    async def store(self, agent: str = "one", database: Database | None = None) -> KeptStore:
        self.database = database or await self.opened()
        return KeptStore(self.database, agent, self.clock)

    def put(self, store: KeptStore, name: str, octets: bytes = b"x", expires: float = 2000) -> None:
        content = Content(expires, len(octets), lambda: octets)
        store.put("thing", name, lambda: content)

    async def written(self, store: KeptStore, seconds: float = INTERVAL) -> None:
        self.clock.advance(seconds)
        if store._writing is not None:
            await store._writing

    async def loaded(self, agent: str = "one") -> dict[str, bytes]:
        found = await KeptStore(self.database, agent, self.clock).load()
        return {each.id: each.octets for each in found}

    async def test_what_is_written_is_read(self) -> None:
        store = await self.store()
        octets = bytes(range(256)) * 1000
        self.put(store, "a", octets, 1500.5)
        self.put(store, "b")
        self.assertEqual(await self.loaded(), {})
        await self.written(store)
        found = await KeptStore(self.database, "one", self.clock).load()
        self.assertEqual(found[0], Kept("thing", "a", 1500.5, octets))
        self.assertEqual([each.id for each in found], ["a", "b"])

    async def test_one_transaction_for_what_comes_together(self) -> None:
        store = await self.store()
        transactions: list[object] = []
        run = self.database.run

        def counted(work):  # type: ignore[no-untyped-def]
            transactions.append(work)
            return run(work)

        self.patch(self.database, "run", counted)
        for number in range(50):
            self.put(store, str(number % 20), str(number).encode())
        await self.written(store)
        self.assertEqual(len(transactions), 1)
        self.assertEqual((await self.loaded())["9"], b"49")

    async def test_what_changes_takes_the_place(self) -> None:
        store = await self.store()
        self.put(store, "a", b"old")
        await self.written(store)
        self.put(store, "a", b"new")
        await self.written(store)
        self.assertEqual(await self.loaded(), {"a": b"new"})
        store.remove("thing", "a")
        await self.written(store)
        self.assertEqual(await self.loaded(), {})
        self.assertEqual((store.waiting, len(store._written)), (0, 0))

    async def test_what_was_never_written_costs_nothing(self) -> None:
        store = await self.store()
        self.put(store, "a")
        store.remove("thing", "a")
        store.remove("thing", "b")
        self.assertEqual(store.waiting, 0)

    async def test_what_is_over_by_then_is_not_written(self) -> None:
        store = await self.store()
        self.put(store, "a")
        await self.written(store)
        store.put("thing", "a", lambda: None)
        await self.written(store)
        self.assertEqual(await self.loaded(), {})

    async def test_what_ends_while_it_is_written_is_removed(self) -> None:
        store = await self.store()
        self.put(store, "a")
        self.clock.advance(INTERVAL)
        store.remove("thing", "a")
        await self.written(store, 0)
        self.assertEqual(await self.loaded(), {"a": b"x"})
        await self.written(store)
        self.assertEqual(await self.loaded(), {})

    async def test_what_has_expired_goes(self) -> None:
        store = await self.store()
        self.put(store, "a", expires=1001)
        self.put(store, "b", expires=1100)
        await self.written(store)
        self.clock.advance(10)
        self.assertEqual(list(await self.loaded()), ["b"])
        count = select(func.count()).select_from(kept)
        self.assertEqual(await self.database.read(lambda c: c.scalar(count)), 1)

    async def test_each_agent_has_its_own(self) -> None:
        one = await self.store()
        other = await self.store("other", self.database)
        self.put(one, "a", b"one")
        self.put(other, "a", b"other")
        await self.written(one)
        await self.written(other, 0)
        self.assertEqual(await self.loaded(), {"a": b"one"})
        self.assertEqual(await self.loaded("other"), {"a": b"other"})
        one.remove("thing", "a")
        await self.written(one)
        self.assertEqual(await self.loaded("other"), {"a": b"other"})

    async def test_so_much_in_one_transaction(self) -> None:
        store = await self.store()
        for number in range(stored.AT_ONCE + 1):
            self.put(store, str(number))
        await self.written(store)
        self.assertEqual(store.waiting, 1)
        await self.written(store, 0)
        self.assertEqual(len(await self.loaded()), stored.AT_ONCE + 1)
        self.patch(stored, "AT_ONCE_OCTETS", 1000)
        for number in range(5):
            self.put(store, str(number), b"x" * 600)
        await self.written(store)
        self.assertEqual(store.waiting, 3)

    async def test_the_end_writes_what_waits(self) -> None:
        store = await self.store()
        for number in range(stored.AT_ONCE + 1):
            self.put(store, str(number))
        self.clock.advance(INTERVAL)
        await store.stop()
        self.assertEqual(len(await self.loaded()), stored.AT_ONCE + 1)
        self.put(store, "late")
        self.assertEqual((store.waiting, self.clock.getDelayedCalls()), (0, []))

    async def test_while_the_database_is_away(self) -> None:
        store = await self.store()
        self.put(store, "a")
        self.put(store, "b")
        await self.written(store)
        run = self.database.run
        self.patch(self.database, "run", lambda work: fail(DatabaseError("database x: gone")))
        self.put(store, "a", b"new")
        store.remove("thing", "b")
        self.put(store, "c")
        await self.written(store)
        await self.written(store, RETRY)
        (line,) = [line for line in self.lines if "gone" in line]
        self.assertIn("would not outlive a restart now", line)
        # Who comes and goes meanwhile leaves nothing behind.
        for number in range(50):
            self.put(store, f"guest{number}")
            store.remove("thing", f"guest{number}")
        self.assertEqual(store.waiting, 3)
        self.patch(self.database, "run", run)
        await self.written(store, RETRY)
        self.assertEqual(await self.loaded(), {"a": b"new", "c": b"x"})
        self.assertIn("it is back", self.lines[-1])

    async def test_the_end_while_it_is_away(self) -> None:
        store = await self.store()
        self.put(store, "a")
        self.patch(self.database, "run", lambda work: fail(DatabaseError("database x: gone")))
        await store.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_a_database_of_the_version_before(self) -> None:
        database = await self.opened()
        version = 1 + schema.MIGRATIONS.index(schema._add_kept)

        def older(connection):  # type: ignore[no-untyped-def]
            connection.execute(text("DROP TABLE msrpconf_kept"))
            connection.execute(update(state).where(state.c.name == "schema").values(value=version))

        await database.run(older)
        await database.run(schema.prepare)
        names = await database.read(lambda c: inspect(c).get_table_names())
        self.assertIn("msrpconf_kept", names)
        store = await self.store(database=database)
        self.put(store, "a")
        await self.written(store)
        self.assertEqual(list(await self.loaded()), ["a"])


class PostgresqlKeptTests(KeptTests, OnPostgresql):
    pass
