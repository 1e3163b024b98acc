"""Who is alive, by the beats in a database that may be slow, or away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, StaticPool, create_engine
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services.claims import PATIENCE, RoomClaims
from msrpconf.storage import claims
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import prepare

GRACE = 3.0


class SlowDatabase:
    """SQLite in memory, which answers when it is told to."""

    name = "database here"

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        self.hangs = False
        self.asked: list[float | None] = []
        self._waiting: list[tuple[Callable[[Connection], Any], Deferred[Any]]] = []
        self.now(prepare)

    def now(self, work: Callable[[Connection], Any]) -> Any:
        with self.engine.begin() as connection:
            return work(connection)

    def run(self, work: Callable[[Connection], Any], patience: float | None = None) -> Any:
        result: Deferred[Any] = Deferred()
        self.asked.append(patience)
        self._waiting.append((work, result))
        if not self.hangs:
            self.answer()
        return result

    def answer(self) -> None:
        self.hangs = False
        waiting, self._waiting = self._waiting, []
        for work, result in waiting:
            result.callback(self.now(work))

    def fail(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, result in waiting:
            result.errback(DatabaseError(f"{self.name}: it is away"))


class ClaimsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = SlowDatabase()
        database: Any = self.database
        up = {"east": ()}
        self.claims = RoomClaims(database, self.clock, "focus-1", lambda: up, GRACE)
        self.claims.startService()
        self.addCleanup(self.claims.stopService)

    def seconds(self, number: int, others: tuple[str, ...] = ()) -> None:
        """Time passes, in which others count up these."""
        for _ in range(number):
            self.clock.advance(1)
            self.database.now(lambda connection: claims.beat(connection, others))

    def test_who_is_counted_up_by_nobody_is_gone(self) -> None:
        self.seconds(2, ("west", "dispatcher focus-2"))
        self.assertEqual(self.claims.gone_servers(), set())
        self.seconds(10, ("dispatcher focus-2",))
        self.assertEqual(self.claims.gone_servers(), {"west"})
        self.assertTrue(self.claims.server_gone("west"))
        self.assertTrue(self.claims.server_gone("north"))
        self.assertFalse(self.claims.server_gone("east"))
        self.assertFalse(self.claims.dispatcher_gone("focus-2"))
        self.assertTrue(self.claims.dispatcher_gone("focus-3"))
        self.assertFalse(self.claims.dispatcher_gone("focus-1"))

    def test_who_has_begun_anew(self) -> None:
        self.seconds(3, ("dispatcher focus-2",))
        self.assertFalse(self.claims.has_forgotten("focus-2", 60.0))
        other = "dispatcher focus-2"
        self.database.now(lambda connection: claims.beat(connection, [other], other))
        self.seconds(3, (other,))
        self.assertTrue(self.claims.has_forgotten("focus-2", 5.0))
        self.assertFalse(self.claims.has_forgotten("focus-3", 5.0))
        self.seconds(10, (other,))
        self.assertFalse(self.claims.has_forgotten("focus-2", 5.0))

    def test_nobody_is_gone_because_the_database_hangs(self) -> None:
        self.seconds(2, ("west",))
        self.database.hangs = True
        self.seconds(30)
        self.assertFalse(self.claims.server_gone("west"))
        self.assertEqual(self.claims.gone_servers(), set())
        # Others have waited for it just as well, and may be later than we.
        self.database.answer()
        self.seconds(1)
        self.assertEqual(self.claims.gone_servers(), set())
        self.seconds(20, ("west",))
        self.assertEqual(self.claims.gone_servers(), set())
        self.seconds(4)
        self.assertEqual(self.claims.gone_servers(), {"west"})

    def test_nor_because_it_is_away(self) -> None:
        self.seconds(2, ("west",))
        self.database.hangs = True
        self.seconds(1)
        self.database.fail()
        self.seconds(30)
        self.assertFalse(self.claims.server_gone("west"))
        self.database.answer()
        self.seconds(2, ("west",))
        self.assertEqual(self.claims.gone_servers(), set())

    def test_while_it_is_away_nobody_waits(self) -> None:
        self.database.hangs = True
        self.seconds(2)
        asking = self.claims.claim("sip:lobby@example.com", ("east",), ("east",))
        self.assertEqual(self.database.asked[-1], PATIENCE)
        self.assertNoResult(asking)
        self.database.fail()
        self.assertIn("it is away", str(self.failureResultOf(asking, DatabaseError).value))
        asked = len(self.database.asked)
        again = self.claims.claim("sip:lobby@example.com", ("east",), ("east",))
        self.assertIn("it is away", str(self.failureResultOf(again, DatabaseError).value))
        self.assertEqual(len(self.database.asked), asked)
        self.seconds(2)
        self.database.answer()
        again = self.claims.claim("sip:lobby@example.com", ("east",), ("east",))
        self.assertEqual(self.successResultOf(again), "east")
