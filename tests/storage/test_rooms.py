"""Static rooms in the database: written, read again, seen by other processes."""

from __future__ import annotations

from attrs import evolve
from sqlalchemy import insert, select, update
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.static import StaticRoom, StaticRoomError
from msrpconf.storage import rooms as stored
from msrpconf.storage.database import AT_ONCE, Database
from msrpconf.storage.errors import DatabaseError, NoSuchRoom, RoomChanged, RoomExists
from msrpconf.storage.rooms import Changes, RoomStore
from msrpconf.storage.schema import history, members, rooms
from tests.storage.support import DatabaseTestCase, OnPostgresql

LOBBY = StaticRoom(
    "sip:Lobby@Example.com",
    "Grüße 🙂",
    "The lobby",
    "Come in\nand talk",
    Roles(
        {"sip:alice@home.com": Role.OWNER, "*@home.com": Role.MEMBER, "tel:+1555": Role.BANNED},
        Role.VISITOR,
        members_only=True,
        locked=True,
    ),
    {"types": ("text/plain", "image/*"), "rate": 2.5, "may_invite": Role.OWNER, "notices": False},
)
OTHER = StaticRoom("sip:lobby@example.com")


class RoomStoreTests(DatabaseTestCase):
    async def store(self) -> RoomStore:
        self.database: Database = await self.opened()
        self.clock = Clock()
        self.clock.advance(1000)
        return RoomStore(self.database, self.clock.seconds)

    async def changes(self, store: RoomStore, *known: StaticRoom, revision: int = 0) -> Changes:
        changes = await store.changes(revision, {each.key: each.revision for each in known})
        assert changes is not None
        return changes

    async def test_what_is_written_is_read(self) -> None:
        store = await self.store()
        self.assertIsNone(await store.changes(0, {}))
        lobby = await store.create(LOBBY)
        self.assertEqual(lobby, evolve(LOBBY, created=1000.0, changed=1000.0, revision=1))
        # The name before the @ is another one in other letters.
        other = await store.create(OTHER)
        changes = await self.changes(store)
        self.assertEqual(sorted(changes.changed, key=lambda room: room.revision), [lobby, other])
        self.assertEqual((changes.revision, changes.removed, changes.problems), (2, (), ()))

    async def test_changes(self) -> None:
        store = await self.store()
        lobby, other = await store.create(LOBBY), await store.create(OTHER)
        self.clock.advance(1)
        roles = lobby.roles.assign(("sip:bob@home.com",), Role.BANNED)
        changed = await store.change(evolve(lobby, subject="", roles=roles, settings={}))
        self.assertEqual((changed.created, changed.changed, changed.revision), (1000, 1001, 3))
        seen = await self.changes(store, lobby, other, revision=2)
        self.assertEqual(seen, Changes(3, (changed,)))
        self.assertIsNone(await store.changes(3, {}))
        await store.delete(other.key)
        seen = await self.changes(store, changed, other, revision=3)
        self.assertEqual(seen, Changes(4, (), (other.key,)))

    async def test_there_is_one_room_of_a_uri(self) -> None:
        store = await self.store()
        await store.create(LOBBY)
        again = StaticRoom("sips:Lobby@EXAMPLE.com:5061")
        await self.fails(RoomExists, store.create(again), "sip:Lobby@example.com is set up already")
        for result in (store.change(OTHER), store.delete(OTHER.key)):
            await self.fails(NoSuchRoom, result, "sip:lobby@example.com is not set up")
        changes = await self.changes(store)
        self.assertEqual(len(changes.changed), 1)

    async def test_nobody_overwrites_what_they_have_not_seen(self) -> None:
        store = await self.store()
        lobby = await store.create(LOBBY)
        newer = await store.change(evolve(lobby, subject="New"), lobby.revision)
        old = store.change(evolve(lobby, subject="Old"), lobby.revision)
        await self.fails(RoomChanged, old, "changed by somebody else")
        await self.fails(RoomChanged, store.delete(lobby.key, lobby.revision))
        (seen,) = (await self.changes(store)).changed
        self.assertEqual(seen, newer)
        await store.delete(lobby.key, newer.revision)

    async def test_several_processes_write_at_once(self) -> None:
        stores = [await self.store() for _ in range(3)]
        names = [StaticRoom(f"sip:room{n}@example.com") for n in range(12)]
        created = await gatherResults(
            [stores[n % 3].create(room) for n, room in enumerate(names)], consumeErrors=True
        )
        self.assertEqual(sorted(each.revision for each in created), list(range(1, 13)))
        changes = await self.changes(stores[0])
        self.assertEqual({each.key for each in changes.changed}, {each.key for each in names})

    async def test_its_history_goes_with_it(self) -> None:
        store = await self.store()
        await store.create(LOBBY)
        row = {"room": LOBBY.key, "at": 1.0, "head": b"", "content": b"Hi"}
        await self.database.run(lambda connection: connection.execute(insert(history), [row]))
        await store.delete(LOBBY.key)
        for table in (history, members):
            rows = await self.database.read(lambda c, t=table: c.execute(select(t)).all())  # type: ignore[misc]
            self.assertEqual(rows, [])

    async def test_many(self) -> None:
        """More than the database takes keys in one statement."""
        store = await self.store()
        count = AT_ONCE + 1
        columns = stored._columns(LOBBY)
        await self.database.run(
            lambda connection: connection.execute(
                insert(rooms),
                [
                    {**columns, "room": f"sip:r{n}@example.com", "uri": f"sip:r{n}@example.com"}
                    for n in range(count)
                ],
            )
        )
        await store.create(OTHER)
        self.assertEqual(len((await self.changes(store)).changed), count + 1)

    async def test_their_number_is_bounded(self) -> None:
        self.patch(stored, "MAX_ROOMS", 1)
        store = await self.store()
        await store.create(LOBBY)
        await self.fails(StaticRoomError, store.create(OTHER), "there are 1 static rooms already")
        self.patch(stored, "MAX_ROOMS", 0)
        await self.fails(DatabaseError, store.changes(0, {}), "it has 1 static rooms, and 0")

    async def test_users_are_written_as_they_are_compared(self) -> None:
        store = await self.store()
        users = {"sips:Bob@HOME.com:5061": Role.OWNER, "sip:*@Home.com": Role.BANNED}
        room = await store.create(evolve(LOBBY, roles=Roles(users)))
        expected = {"sip:Bob@home.com": Role.OWNER, "*@home.com": Role.BANNED}
        self.assertEqual(room.roles.assigned, expected)
        users = {"nobody": Role.OWNER}
        await self.fails(StaticRoomError, store.change(evolve(room, roles=Roles(users))), "a URI")
        (seen,) = (await self.changes(store)).changed
        self.assertEqual(seen, room)

    async def test_settings_are_bounded(self) -> None:
        store = await self.store()
        names = tuple(f"nickname {n}" for n in range(5000))
        room = evolve(LOBBY, settings={"reserved_nicknames": names})
        await self.fails(StaticRoomError, store.create(room), "65535 at most")
        self.assertIsNone(await store.changes(0, {}))

    async def test_a_record_that_cannot_be_read_lets_nobody_in(self) -> None:
        store = await self.store()
        lobby = await store.create(LOBBY)
        wrong: tuple[dict[str, object], ...] = (
            {"settings": "{"},
            {"settings": "[]"},
            {"settings": '{"rate": -1}'},
            {"settings": '{"colour": "red"}'},
            {"others": "king"},
            {"subject": "a\nb"},
            {"uri": "sip:other@example.com"},
        )
        for values in wrong:
            await self.database.run(
                lambda c, values=values: c.execute(
                    update(rooms).values(stored._columns(lobby) | values)
                )  # type: ignore[misc]
            )
            changes = await self.changes(store)
            self.assertEqual(
                [(each.key, each.roles) for each in changes.changed],
                [(LOBBY.key, Roles(members_only=True))],
            )
            (problem,) = changes.problems
            self.assertIn(f"the record of {LOBBY.key} cannot be read: ", problem)
            self.assertNotIn("\n", problem)


class PostgresqlRoomStoreTests(RoomStoreTests, OnPostgresql):
    pass
