"""A database that does not answer: nobody waits for ever, and it heals by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from threading import Event

from sqlalchemy import Connection, select, text
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SkipTest

from msrpconf.storage import database as module
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import state
from tests.storage.support import DatabaseTestCase, OnPostgresql, reactor


def one(connection: Connection) -> object:
    return connection.scalar(select(1))


class BusyTests(DatabaseTestCase):
    """All threads are busy."""

    async def occupied(self) -> tuple[Database, Deferred[bool], Event]:
        """A database whose only thread does something until the event."""
        database = await self.opened()
        done, begun = Event(), Deferred[None]()
        self.addCleanup(done.set)

        def work(connection: Connection) -> bool:
            reactor.callFromThread(begun.callback, None)
            return done.wait(60)

        working = database.run(work)
        await begun
        return database, working, done

    async def test_who_waits_too_long_for_a_thread_does_not_run(self) -> None:
        self.patch(module, "WAIT", 0.2)
        self.patch(module, "LOOK", 0.1)
        database, working, done = await self.occupied()
        ran: list[str] = []
        late = [database.run(lambda _: ran.append("late")) for _ in range(2)]
        for each in late:
            await self.fails(DatabaseError, each, "transactions wait, this one for 0.2 s")
        done.set()
        self.assertTrue(await working)
        self.patch(module, "WAIT", 60.0)
        await database.run(lambda _: ran.append("next"))
        self.assertEqual(ran, ["next"])
        self.assertEqual(database.waiting, 0)

    async def test_so_many_may_wait(self) -> None:
        self.patch(module, "MAX_WAITING", 3)
        database, working, done = await self.occupied()
        waiting = [database.read(one) for _ in range(2)]
        await self.fails(DatabaseError, database.read(one), "3 transactions wait already")
        done.set()
        self.assertTrue(await working)
        self.assertEqual(await gatherResults(waiting), [1, 1])

    async def test_who_has_less_patience(self) -> None:
        database, working, done = await self.occupied()
        impatient = database.read(one, patience=0.1)
        await self.fails(DatabaseError, impatient, "it has not answered for 0.1 s")
        self.assertFalse(working.called)
        done.set()
        self.assertTrue(await working)
        self.assertEqual(await database.read(one, patience=60), 1)


class SilentTests(DatabaseTestCase):
    async def test_a_server_that_takes_connections_and_says_nothing(self) -> None:
        self.patch(module, "CONNECT_TIMEOUT", 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            database = Database(f"postgresql://me@127.0.0.1:{port}/d", reactor)
            await self.fails(DatabaseError, database.start(), "timeout")


class HangingTests(OnPostgresql):
    """A server that was there, and does not answer any more."""

    async def test_a_statement_without_an_end(self) -> None:
        self.patch(module, "SILENCE", 3.0)
        self.patch(module, "LOOK", 0.1)
        # This URL has options of its own, and so no time-outs of the server's.
        database = await self.opened()
        sleeping = [database.run(_sleeps) for _ in range(module.THREADS)]
        waiting = database.read(one)
        for each in sleeping:
            await self.fails(DatabaseError, each)
        self.assertEqual(await waiting, 1)

    async def test_connections_that_nobody_answers_at(self) -> None:
        self.patch(module, "CONNECT_TIMEOUT", 3)
        self.patch(module, "LOOK", 0.1)
        database = await self.opened()
        for pid in set(await gatherResults([database.run(_pid) for _ in range(10)])):
            self.stop(pid)
        # They are asked first, and no more used; another one is made.
        self.assertEqual(await database.read(one), 1)
        await database.run(lambda c: c.execute(state.insert().values(name="x", value=1)))

    def stop(self, pid: int) -> None:
        if not Path(f"/proc/{pid}").exists():
            raise SkipTest("the PostgreSQL server is on another host")
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(_goes_on, pid)


def _sleeps(connection: Connection) -> None:
    connection.execute(text("SELECT pg_sleep(60)"))


def _pid(connection: Connection) -> int:
    connection.execute(text("SELECT pg_sleep(0.1)"))
    found: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return found


def _goes_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
