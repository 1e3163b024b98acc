"""An SQL database, used from threads of its own, so that nobody waits for it in the reactor.

SQLite for one host, PostgreSQL where several processes share it; MySQL and MariaDB
work, too. What is done in the database is a function of a connection, that runs in
one of the threads and in one transaction::

    database = Database("sqlite:///msrpconf.sqlite", reactor)
    await database.start()
    count = await database.run(lambda connection: connection.scalar(...))
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from threading import get_ident
from typing import Any, TypeVar

from attrs import define
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.internet.defer import Deferred, DeferredList, fail, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import prepare
from msrpconf.storage.url import DRIVERS, read_url, shown
from msrpconf.storage.watching import AnswerWatch

T = TypeVar("T")

CONNECT_TIMEOUT = 5
"""Seconds for a connection to the database."""

STATEMENT_TIMEOUT = 15
"""Seconds for one statement, and for another process to give up its lock."""

SILENCE = STATEMENT_TIMEOUT + 2
"""Seconds after which a database that has not answered, not even with an error, is given up."""

WAIT = 10.0
"""Seconds that a transaction may wait for a thread."""

LOOK = 1.0
"""Seconds from one look at a transaction that takes long to the next."""

THREADS = 4
"""Transactions at one time; of SQLite, which has one writer, one."""

AT_ONCE = 500
"""Keys in one statement."""

MAX_WAITING = 10000
"""Transactions that may wait for a thread."""


@define(eq=False)
class _Task:
    """A transaction; `thread` is what it runs in, or has run in."""

    result: Deferred[Any]
    since: float
    patience: float | None
    thread: int | None = None
    given_up: bool = False
    timer: IDelayedCall | None = None


_EXTRAS = {"psycopg": "postgresql", "pymysql": "mysql"}


class Database:
    """The database at `url`; `name` is what people know it by.

    `reactor` is where what it does comes back to.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        self.name = f"database {shown(url)}"
        self._url = read_url(url)
        self._reactor = reactor
        threads = 1 if self._url.get_backend_name() == "sqlite" else THREADS
        self._threads = ThreadPool(1, threads, name="database")
        self._engine: Engine | None = None
        self._reading: Engine | None = None
        self._running: set[Deferred[Any]] = set()
        self._watch: AnswerWatch | None = None
        self._open = False

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Connect, and create or migrate the tables.

        Fails with `DatabaseError`, and may then not be started again.
        """
        self._threads.start()
        self._open = True
        try:
            self._engine = self._make_engine()
            self._reading = self._engine.execution_options(reading=True)
            yield self.run(prepare)
        except DatabaseError:
            yield self.stop()
            raise

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Finish what is running and waiting, and close the connections."""
        if not self._open:
            return
        self._open = False
        yield DeferredList(list(self._running))
        self._threads.stop()
        if self._engine is not None:
            self._engine.dispose()

    @property
    def waiting(self) -> int:
        """Transactions that run, or wait for a thread."""
        return len(self._running)

    def run(self, work: Callable[[Connection], T], patience: float | None = None) -> Deferred[T]:
        """Call `work` in a thread, in a transaction that is rolled back if it raises.

        Fails with `DatabaseError` for what is wrong with the database, and with
        whatever else `work` raises. That is never later than the database's own time-outs
        are over; where it is to fail after `patience` seconds, `work` may still be done.
        """
        return self._run(work, self._engine, patience)

    def read(self, work: Callable[[Connection], T], patience: float | None = None) -> Deferred[T]:
        """The same for what writes nothing, and so need not wait for who does."""
        return self._run(work, self._reading, patience)

    def _run(
        self, work: Callable[[Connection], T], engine: Engine | None, patience: float | None
    ) -> Deferred[T]:
        if not self._open or engine is None:
            return fail(DatabaseError(f"{self.name}: the database is closed"))
        if len(self._running) >= MAX_WAITING:
            return fail(DatabaseError(f"{self.name}: {MAX_WAITING} transactions wait already"))
        result: Deferred[T] = Deferred()
        task = _Task(result, self._reactor.seconds(), patience)
        task.timer = self._reactor.callLater(min(patience or LOOK, LOOK), self._look, task)
        running: Deferred[T] = deferToThreadPool(
            self._reactor, self._threads, self._transaction, work, engine, task
        )
        self._running.add(running)
        running.addBoth(self._ran, running, task)
        return result

    def _ran(self, value: Any, running: Deferred[Any], task: _Task) -> None:
        self._running.discard(running)
        if task.timer is not None:
            task.timer.cancel()
            task.timer = None
        if not task.given_up:
            task.result.callback(value)

    def _look(self, task: _Task) -> None:
        """See to it that a transaction that takes long does not take for ever."""
        task.timer = None
        lasts = self._reactor.seconds() - task.since
        if task.patience is not None and lasts >= task.patience:
            self._give_up(task, f"it has not answered for {task.patience:g} s")
        elif task.thread is None and lasts >= WAIT:
            self._give_up(task, f"{len(self._running)} transactions wait, this one for {WAIT:g} s")
        if task.thread is not None and self._watch is not None:
            self._watch.end_if_silent(task.thread)
        if task.thread is not None or not task.given_up:
            rest = LOOK if task.patience is None else task.patience - lasts
            task.timer = self._reactor.callLater(
                rest if 0 < rest < LOOK else LOOK, self._look, task
            )

    def _give_up(self, task: _Task, why: str) -> None:
        if not task.given_up:
            task.given_up = True
            task.result.errback(DatabaseError(f"{self.name}: {why}"))

    def _transaction(self, work: Callable[[Connection], T], engine: Engine, task: _Task) -> T:
        if task.given_up:
            raise DatabaseError(f"{self.name}: nobody waits for it any more")
        task.thread = get_ident()
        try:
            with engine.begin() as connection:
                return work(connection)
        except DatabaseError as error:
            raise DatabaseError(f"{self.name}: {error}") from None
        except SQLAlchemyError as error:
            raise DatabaseError(f"{self.name}: {_cause(error)}") from error
        finally:
            if self._watch is not None:
                self._watch.done()

    def _make_engine(self) -> Engine:
        url = self._url
        backend = url.get_backend_name()
        options: dict[str, Any] = {}
        arguments: dict[str, Any]
        if backend == "sqlite":
            arguments = {"timeout": STATEMENT_TIMEOUT}
            if url.database in (None, "", ":memory:"):
                options["poolclass"] = StaticPool
                arguments["check_same_thread"] = False
        elif backend == "postgresql":
            milliseconds = STATEMENT_TIMEOUT * 1000
            arguments = {
                "connect_timeout": CONNECT_TIMEOUT,
                "application_name": "msrpconf",
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
            }
        else:
            arguments = {
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": STATEMENT_TIMEOUT,
                "write_timeout": STATEMENT_TIMEOUT,
            }
        if backend != "sqlite":
            options |= {"pool_size": THREADS, "max_overflow": 0}
            # PostgreSQL's are asked by the watch.
            options["pool_pre_ping"] = backend != "postgresql"
        arguments = {name: each for name, each in arguments.items() if name not in url.query}
        try:
            engine = create_engine(url, connect_args=arguments, hide_parameters=True, **options)
        except ImportError:
            driver = DRIVERS[backend]
            raise DatabaseError(
                f"{self.name}: its driver {driver} is not installed:"
                f" pip install 'msrpconf[{_EXTRAS[driver]}]'"
            ) from None
        if backend == "sqlite":
            event.listen(engine, "connect", _sqlite_connected)
            event.listen(engine, "begin", _sqlite_begins)
        elif backend == "postgresql":
            self._watch = AnswerWatch(engine, SILENCE, CONNECT_TIMEOUT)
        return engine


def batches(keys: Iterable[str]) -> Iterator[list[str]]:
    """Keys in as many lists as it takes for one statement to take each."""
    rest = iter(keys)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch


def _sqlite_connected(connection: sqlite3.Connection, _: object) -> None:
    # The module's own idea of transactions begins them late; `_sqlite_begins` does it.
    connection.isolation_level = None


def _sqlite_begins(connection: Connection) -> None:
    """Take the lock at the beginning, where it can be waited for, and not at the first write."""
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _cause(error: SQLAlchemyError) -> str:
    """What the driver says, on one line."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split()) or type(cause).__name__
