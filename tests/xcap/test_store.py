"""Documents of rooms in the table that Kamailio has, too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import create_engine, insert, select, text
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import MAX_DOCUMENT, xcap
from msrpconf.storage.url import read_url
from msrpconf.xcap import ruleset
from msrpconf.xcap.rules import SubHandling, sub_handling
from msrpconf.xcap.store import (
    AD_HOC,
    ALLOW_ALL,
    MAX_DOCUMENTS,
    DocumentStore,
    Stored,
    TooManyDocuments,
    fits,
    index_of,
)
from tests.storage.support import DatabaseTestCase, OnPostgresql, reactor
from tests.xcap.support import document, watcher

ONE, TWO = "sip:one@conf.example.com", "sip:two@conf.example.com"

# As Kamailio 5.6 creates it, for PostgreSQL and SQLite, and as its xcap_server writes a row.
KAMAILIO = (
    "CREATE TABLE version (table_name VARCHAR(32) NOT NULL, table_version INTEGER NOT NULL)",
    "CREATE TABLE xcap (id {id} PRIMARY KEY NOT NULL, username VARCHAR(64) NOT NULL,"
    " domain VARCHAR(64) NOT NULL, doc {blob} NOT NULL, doc_type INTEGER NOT NULL,"
    " etag VARCHAR(128) NOT NULL, source INTEGER NOT NULL, doc_uri VARCHAR(255) NOT NULL,"
    " port INTEGER NOT NULL, CONSTRAINT xcap_doc_uri_idx UNIQUE (doc_uri))",
)


def kamailio_row(room: str, octets: bytes, uri: str | None = None) -> dict[str, Any]:
    username, _, domain = room.removeprefix("sip:").partition("@")
    return {
        "username": username,
        "domain": domain,
        "doc": octets,
        "doc_type": 2,
        "etag": "sr-1795414845-2738-1",
        "source": 0,
        "doc_uri": uri or index_of(room),
        "port": 0,
    }


class ConstantsTests(SynchronousTestCase):
    def test_a_document_that_is_read_is_one_that_fits(self) -> None:
        self.assertEqual(ruleset.MAX_OCTETS, MAX_DOCUMENT)

    def test_the_document_of_a_new_room_allows_all(self) -> None:
        found = ruleset.parse_ruleset(ALLOW_ALL)
        self.assertEqual(found.problems, ())
        for who in (watcher(), watcher("sip:alice@example.com")):
            self.assertIs(sub_handling(found.rules, who), SubHandling.ALLOW)
            # Of Kamailio, only the first rule that has an identity counts.
        self.assertIs(
            sub_handling(found.rules[:1], watcher("sip:alice@example.com")), SubHandling.ALLOW
        )

    def test_what_fits(self) -> None:
        self.assertTrue(fits(f"sip:{'a' * 64}@{'b' * 64}"))
        self.assertFalse(fits(f"sip:{'a' * 65}@b"))
        self.assertFalse(fits(f"sip:a@{'b' * 65}"))
        self.assertTrue(fits("sip:conf.example.com"))


class StoreTests(DatabaseTestCase):
    async def store(self, server: str = "east") -> DocumentStore:
        self.database = await self.opened()
        return DocumentStore(self.database, server)

    async def rows(self) -> list[tuple[str, bytes, int]]:
        query = select(xcap.c.doc_uri, xcap.c.doc, xcap.c.source).order_by(xcap.c.doc_uri)
        found = await self.database.read(lambda connection: connection.execute(query).all())
        return [(uri, bytes(octets), source) for uri, octets, source in found]

    async def add(self, *rows: dict[str, Any]) -> None:
        await self.database.run(lambda connection: connection.execute(insert(xcap), list(rows)))

    async def test_ad_hoc_rooms_have_a_document_while_they_are_there(self) -> None:
        store = await self.store()
        await store.claim([ONE, TWO], [])
        self.assertEqual(
            await self.rows(), [(index_of(each), ALLOW_ALL, AD_HOC) for each in (ONE, TWO)]
        )
        found = await store.load([ONE, "sip:three@conf.example.com"])
        self.assertEqual([each.document for each in found[ONE]], [ALLOW_ALL])
        self.assertEqual(found["sip:three@conf.example.com"], ())
        await store.claim([], [ONE])
        self.assertEqual(await self.rows(), [(index_of(TWO), ALLOW_ALL, AD_HOC)])

    async def test_the_columns_are_as_kamailio_writes_them(self) -> None:
        store = await self.store()
        await store.claim([ONE], [])
        found = await self.database.read(lambda c: c.execute(select(xcap)).mappings().one())
        self.assertEqual(
            {name: found[name] for name in ("username", "domain", "doc_type", "doc_uri", "port")},
            {
                "username": "one",
                "domain": "conf.example.com",
                "doc_type": 2,
                "doc_uri": "/xcap-root/pres-rules/users/sip:one@conf.example.com/index",
                "port": 0,
            },
        )

    async def test_what_others_wrote_stays(self) -> None:
        store = await self.store()
        await self.add(kamailio_row(ONE, b"theirs"), kamailio_row("sip:x@example.com", b"x"))
        before = await self.rows()
        await store.claim([ONE], [])
        self.assertEqual(await self.rows(), before)
        self.assertEqual([each.document for each in (await store.load([ONE]))[ONE]], [b"theirs"])
        await store.claim([], [ONE])
        self.assertEqual(await store.sweep(), 0)
        self.assertEqual(await self.rows(), before)

    async def test_a_row_that_somebody_has_changed_is_theirs(self) -> None:
        store = await self.store()
        await store.claim([ONE], [])
        row = kamailio_row(ONE, b"theirs")
        await self.database.run(lambda connection: connection.execute(xcap.update().values(row)))
        await store.claim([], [ONE])
        self.assertEqual(await self.rows(), [(index_of(ONE), b"theirs", 0)])

    async def test_what_is_left_behind_is_swept_by_its_server_alone(self) -> None:
        east = await self.store()
        west = DocumentStore(self.database, "west")
        await east.claim([ONE], [])
        await west.claim([TWO], [])
        self.assertEqual(await east.sweep(), 1)
        self.assertEqual([row[0] for row in await self.rows()], [index_of(TWO)])

    async def test_a_room_on_another_server_begins_anew(self) -> None:
        east = await self.store()
        west = DocumentStore(self.database, "west")
        await east.claim([ONE], [])
        await east.change(ONE, index_of(ONE), lambda before: b"changed", True)
        await west.claim([ONE], [])
        self.assertEqual(await self.rows(), [(index_of(ONE), ALLOW_ALL, AD_HOC)])
        await east.claim([], [ONE])
        self.assertEqual(len(await self.rows()), 1)

    async def test_all_documents_of_a_room_count(self) -> None:
        store = await self.store()
        other = f"/xcap-root/org.openmobilealliance.pres-rules/users/{ONE}/pres-rules"
        await self.add(
            kamailio_row(ONE, b"a"),
            kamailio_row(ONE, b"b", other),
            kamailio_row(ONE, b"list", f"/xcap-root/resource-lists/users/{ONE}/index")
            | {"doc_type": 4},
        )
        found = await store.load([ONE])
        self.assertEqual({each.document for each in found[ONE]}, {b"a", b"b"})

    async def test_changes_are_seen_by_versions(self) -> None:
        store = await self.store()
        await store.claim([ONE, TWO], [])
        before = await store.versions([ONE, TWO])
        await store.change(ONE, index_of(ONE), lambda stored: document(), True)
        after = await store.versions([ONE, TWO])
        self.assertNotEqual(before[ONE], after[ONE])
        self.assertEqual(before[TWO], after[TWO])

    async def test_change(self) -> None:
        store = await self.store()
        seen: list[Stored | None] = []

        def becomes(octets: bytes | None) -> Any:
            def change(before: Stored | None) -> bytes | None:
                seen.append(before)
                return octets

            return store.change(ONE, index_of(ONE), change, False)

        first = await becomes(b"a")
        second = await becomes(b"b")
        self.assertEqual((first.document, second.document), (b"a", b"b"))
        self.assertNotEqual(first.etag, second.etag)
        self.assertEqual(await store.get(index_of(ONE)), second)
        self.assertIsNone(await becomes(None))
        self.assertIsNone(await store.get(index_of(ONE)))
        self.assertEqual(seen, [None, first, second])

    async def test_a_change_that_fails_changes_nothing(self) -> None:
        store = await self.store()
        await store.claim([ONE], [])

        def fail(before: Stored | None) -> bytes | None:
            raise KeyError("no")

        await self.assertFailure(store.change(ONE, index_of(ONE), fail, True), KeyError)
        self.assertEqual(await self.rows(), [(index_of(ONE), ALLOW_ALL, AD_HOC)])

    async def test_a_document_of_an_ad_hoc_room_ends_with_it(self) -> None:
        store = await self.store()
        await store.claim([ONE], [])
        await store.change(ONE, index_of(ONE), lambda before: document(), True)
        await store.claim([], [ONE])
        self.assertEqual(await self.rows(), [])

    async def test_a_room_has_no_more_documents_than_count(self) -> None:
        store = await self.store()
        places = [f"/xcap-root/pres-rules/users/{ONE}/{n}" for n in range(MAX_DOCUMENTS + 1)]
        for place in places[:-1]:
            await store.change(ONE, place, lambda before: b"a", False)
        await self.assertFailure(
            store.change(ONE, places[-1], lambda before: b"a", False), TooManyDocuments
        )
        await store.change(ONE, places[0], lambda before: b"b", False)

    async def test_more_rooms_than_one_statement_takes(self) -> None:
        store = await self.store()
        rooms = [f"sip:{n}@conf.example.com" for n in range(1200)]
        await store.claim(rooms, [])
        self.assertTrue(all((await store.load(rooms)).values()))
        await store.claim([], rooms)
        self.assertEqual(await self.rows(), [])


class BesideKamailioTests(DatabaseTestCase):
    """Its tables are there before ours."""

    kinds = {"id": "INTEGER", "blob": "BLOB"}

    def kamailio(self, *statements: str) -> None:
        """A database that somebody else has made, before ours."""
        engine = create_engine(read_url(self.url))
        with engine.begin() as connection:
            for each in statements:
                connection.execute(text(each))
        engine.dispose()

    async def test_its_table_is_used_as_it_is(self) -> None:
        self.kamailio(
            *(each.format(**self.kinds) for each in KAMAILIO),
            "INSERT INTO version (table_name, table_version) VALUES ('xcap', 4)",
            "INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port)"
            " VALUES ('one', 'conf.example.com', 'theirs', 2, 'sr-1', 0,"
            f" '{index_of(ONE)}', 0)",
        )
        database = await self.opened()
        store = DocumentStore(database, "east")
        await store.claim([ONE, TWO], [])
        found = await store.load([ONE, TWO])
        self.assertEqual(
            [each.document for room in (ONE, TWO) for each in found[room]], [b"theirs", ALLOW_ALL]
        )
        self.assertEqual(await self.versions(database), [("xcap", 4), ("subscriber", 7)])

    async def test_it_finds_the_version_of_the_table_that_we_made(self) -> None:
        self.kamailio(KAMAILIO[0])
        for _ in range(2):
            database = await self.opened()
            self.assertEqual(await self.versions(database), [("xcap", 4), ("subscriber", 7)])

    async def test_a_table_of_another_kind_is_refused(self) -> None:
        self.kamailio("CREATE TABLE xcap (id INTEGER, doc VARCHAR(10))")
        error = await self.fails(DatabaseError, Database(self.url, reactor).start())
        self.assertIn("its table xcap has no column doc_type, doc_uri, domain", error)

    async def versions(self, database: Database) -> list[tuple[str, int]]:
        query = text("SELECT table_name, table_version FROM version")
        return [tuple(row) for row in await database.read(lambda c: c.execute(query).all())]


class PostgresqlStoreTests(OnPostgresql, StoreTests):
    pass


class PostgresqlBesideKamailioTests(OnPostgresql, BesideKamailioTests):
    kinds = {"id": "SERIAL", "blob": "BYTEA"}
