"""Users in the table that Kamailio has."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, update
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.digest import ALGORITHMS, ha1
from msrpconf.storage.schema import digests, subscriber
from msrpconf.storage.subscribers import NoSuchUser, SubscriberStore, User, UserExists
from tests.storage.support import DatabaseTestCase, OnPostgresql

ALICE = User("alice", "example.com")
BOB = User("bob", "example.com")


class UserTests(SynchronousTestCase):
    def test_parse(self) -> None:
        self.assertEqual(User.parse("sip:alice@Example.COM"), ALICE)
        self.assertEqual(User.parse("alice@example.com"), ALICE)
        for wrong in ("alice", "@b", "a@", "a" * 65 + "@b", "a b@c", "a@b@c", 'a"@b', "a\n@b"):
            self.assertRaises(ValueError, User.parse, wrong)


class SubscriberTests(DatabaseTestCase):
    async def store(self) -> SubscriberStore:
        self.database = await self.opened()
        return SubscriberStore(self.database)

    async def test_every_algorithm(self) -> None:
        store = await self.store()
        await store.add(ALICE, "pw")
        right = {each: ha1(each, "alice", "example.com", "pw") for each in ALGORITHMS}
        self.assertEqual(await store.digests(ALICE), right)
        full = {each: ha1(each, "alice@example.com", "example.com", "pw") for each in ALGORITHMS}
        self.assertEqual(await store.digests(ALICE, True), full)
        self.assertIsNone(await store.digests(BOB))

    async def test_no_password_is_kept(self) -> None:
        store = await self.store()
        await store.add(ALICE, "the very password")

        def look(connection: Connection) -> str:
            tables = subscriber, digests
            return str([connection.execute(each.select()).all() for each in tables])

        self.assertNotIn("the very password", await self.database.read(look))

    async def test_another_password(self) -> None:
        store = await self.store()
        await self.fails(NoSuchUser, store.change(ALICE, "new"), "alice@example.com")
        await store.add(ALICE, "old")
        await self.fails(UserExists, store.add(ALICE, "other"), "alice@example.com")
        await store.change(ALICE, "new")
        found = await store.digests(ALICE)
        assert found is not None
        self.assertEqual(found["SHA-256"], ha1("SHA-256", "alice", "example.com", "new"))
        self.assertEqual(found["MD5"], ha1("MD5", "alice", "example.com", "new"))

    async def test_list_and_remove(self) -> None:
        store = await self.store()
        carol = User("carol", "a.example")
        for each in (BOB, ALICE, carol):
            await store.add(each, "pw")
        self.assertEqual(await store.users(), [carol, ALICE, BOB])
        self.assertEqual(await store.users("EXAMPLE.com"), [ALICE, BOB])
        self.assertEqual(await store.count(), 3)
        await store.remove(ALICE)
        await self.fails(NoSuchUser, store.remove(ALICE))
        self.assertIsNone(await store.digests(ALICE))
        await store.add(ALICE, "another")

    async def test_a_row_of_kamailios(self) -> None:
        """With a password, with digests, and with a new one that its tools have written."""
        store = await self.store()

        def write(connection: Connection) -> None:
            values = {"domain": "example.com", "password": "", "ha1": "", "ha1b": ""}
            md5 = ha1("MD5", "bob", "example.com", "pw")
            connection.execute(
                insert(subscriber),
                [
                    {**values, "username": "alice", "password": "pw"},
                    {**values, "username": "bob", "ha1": md5.upper(), "ha1b": "f" * 32},
                    {**values, "username": "carol"},
                ],
            )

        await self.database.run(write)
        right = {each: ha1(each, "alice", "example.com", "pw") for each in ALGORITHMS}
        self.assertEqual(await store.digests(ALICE), right)
        md5 = {"MD5": ha1("MD5", "bob", "example.com", "pw")}
        self.assertEqual(await store.digests(BOB), md5)
        self.assertEqual(await store.digests(BOB, True), {"MD5": "f" * 32})
        self.assertEqual(await store.digests(User("carol", "example.com")), {})

    async def test_a_password_that_others_have_changed(self) -> None:
        """What we had beside the table does not outlive it there."""
        store = await self.store()
        await store.add(ALICE, "old")
        new = ha1("MD5", "alice", "example.com", "new")
        change = update(subscriber).values(ha1=new)
        await self.database.run(lambda connection: connection.execute(change))
        self.assertEqual(await store.digests(ALICE), {"MD5": new})

    async def test_a_database_of_before(self) -> None:
        store = await self.store()

        def go_back(connection: Connection) -> None:
            digests.drop(connection)
            subscriber.drop(connection)
            connection.exec_driver_sql("UPDATE msrpconf_state SET value = 2 WHERE name = 'schema'")

        await self.database.run(go_back)
        await self.database.stop()
        store = SubscriberStore(await self.opened())
        await store.add(ALICE, "pw")


class PostgresqlSubscriberTests(OnPostgresql, SubscriberTests):
    async def test_its_columns(self) -> None:
        await self.store()
        columns = await self.database.read(
            lambda connection: inspect(connection).get_columns("subscriber")
        )
        names = [each["name"] for each in columns]
        self.assertEqual(names, ["id", "username", "domain", "password", "ha1", "ha1b"])
