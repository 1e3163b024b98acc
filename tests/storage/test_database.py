"""The database itself: its URL, its tables and their versions, what goes wrong with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, inspect, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.storage import schema
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import metadata, prepare, state
from msrpconf.storage.url import in_directory, read_url, shown
from tests.storage.support import DatabaseTestCase, OnPostgresql, reactor


class UrlTests(SynchronousTestCase):
    def test_drivers(self) -> None:
        for text_, driver in (
            ("sqlite:///x.sqlite", "sqlite+pysqlite"),
            ("sqlite://", "sqlite+pysqlite"),
            ("postgresql://u:p@h/d", "postgresql+psycopg"),
            ("postgresql+psycopg://h/d", "postgresql+psycopg"),
            ("mysql://h/d", "mysql+pymysql"),
            ("mariadb://h/d", "mariadb+pymysql"),
        ):
            self.assertEqual(read_url(text_).drivername, driver)
        for wrong in ("", "x", "oracle://h/d", "postgresql+asyncpg://h/d", "msrpconf.sqlite"):
            self.assertRaises(ValueError, read_url, wrong)

    def test_a_file_of_sqlite_is_relative_to_the_configuration(self) -> None:
        here = Path("/etc/msrpconf")
        for url, expected in (
            ("sqlite:///x.sqlite", "sqlite+pysqlite:////etc/msrpconf/x.sqlite"),
            ("sqlite:////var/x.sqlite", "sqlite+pysqlite:////var/x.sqlite"),
            ("sqlite://", "sqlite://"),
            ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ):
            self.assertEqual(in_directory(url, here), expected)

    def test_the_password_is_not_shown(self) -> None:
        self.assertEqual(shown("postgresql://me:geheim@h:1/d"), "postgresql://me:***@h:1/d")
        self.assertEqual(shown("mysql://h/d?password=geheim&x=y"), "mysql://h/d?x=y")
        self.assertEqual(shown("sqlite:///x.sqlite"), "sqlite:///x.sqlite")
        self.assertNotIn("geheim", shown("oracle://me:geheim@h/d"))


class DialectTests(SynchronousTestCase):
    """The tables are such that each kind of database takes them."""

    def ddl(self, dialect: Dialect) -> str:
        tables = metadata.sorted_tables
        statements = [str(CreateTable(each).compile(dialect=dialect)) for each in tables]
        indexes = [index for each in tables for index in each.indexes]
        statements += [str(CreateIndex(each).compile(dialect=dialect)) for each in indexes]
        return "\n".join(statements)

    def test_mysql(self) -> None:
        ddl = self.ddl(mysql.dialect())
        self.assertEqual(ddl.count("ENGINE=InnoDB"), len(metadata.tables))
        self.assertEqual(ddl.count("CHARSET=utf8mb4"), len(metadata.tables))
        # What is compared as URIs is compared octet by octet.
        self.assertIn("room VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL", ddl)
        self.assertIn("position BIGINT NOT NULL AUTO_INCREMENT", ddl)

    def test_others(self) -> None:
        self.assertIn("BIGSERIAL", self.ddl(postgresql.dialect()))
        self.assertIn("position INTEGER NOT NULL", self.ddl(sqlite.dialect()))


class SchemaTests(DatabaseTestCase):
    async def test_a_new_one_gets_its_tables(self) -> None:
        database = await self.opened()
        names = await database.read(lambda connection: inspect(connection).get_table_names())
        self.assertEqual(sorted(names), sorted(metadata.tables))
        self.assertEqual(await self.version(database), schema.VERSION)

    async def test_an_old_one_keeps_what_it_has(self) -> None:
        first = await self.opened()
        query = update(state).where(state.c.name == "rooms").values(value=7)
        await first.run(lambda connection: connection.execute(query))
        await first.stop()
        second = await self.opened()
        rows = await second.read(lambda connection: connection.execute(select(state)).all())
        self.assertEqual(dict(map(tuple, rows)), {"schema": schema.VERSION, "rooms": 7})

    async def version(self, database: Database) -> object:
        query = select(state.c.value).where(state.c.name == "schema")
        return await database.read(lambda connection: connection.scalar(query))

    async def test_migrations_are_made_in_order_and_once(self) -> None:
        database = await self.opened()
        made: list[int] = []

        def second(connection: Connection) -> None:
            connection.execute(text("ALTER TABLE msrpconf_rooms ADD COLUMN logo VARCHAR(255)"))
            made.append(2)

        def third(connection: Connection) -> None:
            made.append(3)

        now = schema.VERSION
        for more, version in (([second], now + 1), *[([second, third], now + 2)] * 2):
            migrations = [*schema.MIGRATIONS, *more]
            await database.run(partial(prepare, migrations=migrations))
            self.assertEqual(await self.version(database), version)
        self.assertEqual(made, [2, 3])

    async def test_a_migration_that_fails_changes_nothing(self) -> None:
        database = await self.opened()

        def broken(connection: Connection) -> None:
            connection.execute(text("ALTER TABLE msrpconf_rooms ADD COLUMN logo VARCHAR(255)"))
            connection.execute(text("nonsense"))

        await self.fails(
            DatabaseError,
            database.run(lambda connection: prepare(connection, [*schema.MIGRATIONS, broken])),
            "nonsense",
        )
        self.assertEqual(await self.version(database), schema.VERSION)
        columns = await database.read(lambda c: inspect(c).get_columns(schema.rooms.name))
        self.assertNotIn("logo", [each["name"] for each in columns])

    async def test_a_newer_one_is_refused(self) -> None:
        database = await self.opened()
        await database.run(
            lambda connection: connection.execute(
                update(state).where(state.c.name == "schema").values(value=7)
            )
        )
        other = Database(self.url, reactor)
        error = await self.fails(
            DatabaseError,
            other.start(),
            f"version 7, and this program knows versions up to {schema.VERSION}",
        )
        self.assertTrue(error.startswith(f"{other.name}: its tables"))

    async def test_several_processes_create_it_at_once(self) -> None:
        databases = [Database(self.url, reactor) for _ in range(4)]
        for each in databases:
            self.addCleanup(each.stop)
        await gatherResults([each.start() for each in databases])
        for each in databases:
            self.assertEqual(await self.version(each), schema.VERSION)
        count = await databases[0].read(lambda c: len(c.execute(select(state)).all()))
        self.assertEqual(count, 2)


class PostgresqlSchemaTests(SchemaTests, OnPostgresql):
    pass


class TransactionTests(DatabaseTestCase):
    async def test_it_is_all_or_nothing(self) -> None:
        database = await self.opened()

        def work(connection: Connection) -> None:
            connection.execute(state.insert().values(name="x", value=1))
            raise KeyError("mine")

        await self.fails(KeyError, database.run(work), "mine")
        count = await database.read(lambda c: len(c.execute(select(state)).all()))
        self.assertEqual(count, 2)

    async def test_writers_wait_for_each_other(self) -> None:
        """None of them sees what another has begun, and none fails for that."""
        databases = [await self.opened() for _ in range(3)]

        def count_up(connection: Connection) -> None:
            where = state.c.name == "rooms"
            connection.execute(update(state).where(where).values(value=state.c.value + 1))

        await gatherResults([each.run(count_up) for each in databases for _ in range(20)])
        query = select(state.c.value).where(state.c.name == "rooms")
        self.assertEqual(await databases[0].read(lambda c: c.scalar(query)), 60)

    async def test_the_end_waits_for_what_was_begun(self) -> None:
        database = await self.opened()
        inserts = [
            database.run(lambda c: c.execute(state.insert().values(name=uuid4().hex, value=0)))
            for _ in range(10)
        ]
        await database.stop()
        self.assertTrue(all(each.called for each in inserts))
        await self.fails(DatabaseError, database.run(lambda c: None), "closed")
        await database.stop()
        again = await self.opened()
        count = await again.read(lambda c: len(c.execute(select(state)).all()))
        self.assertEqual(count, 12)


class PostgresqlTransactionTests(TransactionTests, OnPostgresql):
    pass


class UnreachableTests(DatabaseTestCase):
    """What the operator reads: which database, without its password, and the cause."""

    async def start(self, url: str, text: str) -> None:
        database = Database(url, reactor)
        error = await self.fails(DatabaseError, database.start(), text)
        self.assertTrue(error.startswith(f"database {shown(url)}: "), str(error))
        self.assertNotIn("geheim", error)
        self.assertNotIn("\n", error)

    async def test_a_file_that_cannot_be(self) -> None:
        await self.start("sqlite:////nowhere/x.sqlite", "unable to open database file")

    async def test_a_file_that_is_none(self) -> None:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"not a database, but long enough to be looked at" * 10)
        await self.start(f"sqlite:///{path}", "not a database")

    async def test_a_server_that_is_not_there(self) -> None:
        await self.start("postgresql://me:geheim@127.0.0.1:1/d", "refused")
        await self.start("mysql://me:geheim@127.0.0.1:1/d", "refused")

    async def test_a_database_in_memory(self) -> None:
        database = await self.opened("sqlite://")
        results: list[Deferred[int]] = [
            database.read(lambda c: len(c.execute(select(state)).all())) for _ in range(3)
        ]
        self.assertEqual(await gatherResults(results), [2, 2, 2])
