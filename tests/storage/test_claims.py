"""Claims of rooms: one server for each, whoever asks at the same time."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import gatherResults

from msrpconf.storage import claims
from msrpconf.storage.claims import beat, claim
from msrpconf.storage.database import Database
from tests.storage.support import DatabaseTestCase, OnPostgresql

ROOM = "sip:lobby@example.com"
NOW = 1000000.0


class ClaimTests(DatabaseTestCase):
    async def claim(self, database: Database, *wanted: str, free: tuple[str, ...] = ()) -> str:
        return await database.run(partial(claim, room=ROOM, wanted=wanted, free=free, now=NOW))

    async def test_the_first_gets_it_and_others_are_told(self) -> None:
        database = await self.opened()
        self.assertEqual(await self.claim(database, "east", "west"), "east")
        self.assertEqual(await self.claim(database, "west", "east"), "east")
        # Also who does not know of that server.
        self.assertEqual(await self.claim(database, "west"), "east")

    async def test_it_is_taken_from_who_is_known_not_to_have_it(self) -> None:
        database = await self.opened()
        await self.claim(database, "east")
        self.assertEqual(await self.claim(database, "west", free=("east",)), "west")
        self.assertEqual(await self.claim(database, "east", free=("north",)), "west")

    async def ask_all(self, databases: list[Database], room: str, *free: str) -> set[str]:
        """Who gets a room that each wants for another server, at the same time."""
        asked = [
            database.run(partial(claim, room=room, wanted=(f"s{each}",), free=free, now=NOW))
            for each, database in enumerate(databases)
        ]
        return set(await gatherResults(asked))

    async def test_all_at_once(self) -> None:
        databases = [await self.opened() for _ in range(4)]
        for number in range(10):
            found = await self.ask_all(databases, f"{ROOM}{number}")
            self.assertEqual(len(found), 1)

    async def test_all_at_once_from_one_that_is_gone(self) -> None:
        databases = [await self.opened() for _ in range(4)]
        await self.claim(databases[0], "gone")
        found = await self.ask_all(databases, ROOM, "gone")
        self.assertEqual(len(found), 1)
        self.assertNotIn("gone", found)

    async def test_beats_are_counted(self) -> None:
        first, second = await self.opened(), await self.opened()
        self.assertEqual(await first.run(partial(beat, names=["east"])), {"east": 1})
        found = await second.run(partial(beat, names=["west", "east"]))
        self.assertEqual(found, {"east": 2, "west": 1})
        self.assertEqual(await first.run(partial(beat, names=[])), found)

    async def test_those_of_rooms_that_are_over_are_removed(self) -> None:
        database = await self.opened()

        async def purge(server: str, living: set[str], before: float) -> int:
            work = partial(claims.purge, server=server, living=living, before=before, now=NOW + 100)
            return await database.run(work)

        await self.claim(database, "east")
        self.assertEqual(await purge("east", set(), NOW), 0)  # used just now
        self.assertEqual(await purge("west", set(), NOW + 1), 0)
        self.assertEqual(await purge("east", {ROOM}, NOW + 1), 0)
        self.assertEqual(await purge("east", set(), NOW + 1), 0)  # counted as used by the last
        self.assertEqual(await purge("east", set(), NOW + 101), 1)
        self.assertEqual(await self.claim(database, "west"), "west")

    async def test_a_row_that_another_has_made_in_this_moment(self) -> None:
        database = await self.opened()
        await self.claim(database, "east")
        made = await database.run(lambda each: claims._inserted(each, ROOM, "west", NOW))
        self.assertFalse(made)


class PostgresqlClaimTests(OnPostgresql, ClaimTests):
    """The same in PostgreSQL."""
