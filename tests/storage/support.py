"""Databases for tests: a file of SQLite, and a PostgreSQL server where there is one.

The server's URL is in the variable MSRPCONF_TEST_POSTGRESQL; each test has a schema of its
own there, which is taken away afterwards. Continuous integration must have one.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from msrpconf.storage.database import Database
from msrpconf.storage.url import read_url

reactor: Any = import_module("twisted.internet.reactor")

POSTGRESQL = "MSRPCONF_TEST_POSTGRESQL"


def postgresql_server() -> str:
    """The URL of the PostgreSQL server for tests; skips the test where there is none."""
    url = os.environ.get(POSTGRESQL)
    if url:
        return url
    if os.environ.get("CI"):
        raise AssertionError(f"{POSTGRESQL} is not set, and CI has to test with PostgreSQL")
    raise SkipTest(f"no PostgreSQL: `bash .ci/postgresql make test` starts one (sets {POSTGRESQL})")


class DatabaseTestCase(TestCase):
    """A database that is new, of the SQLite kind."""

    timeout = 60

    def new_url(self) -> str:
        """The URL of a database that has nothing in it."""
        return f"sqlite:///{Path(self.mktemp()).absolute()}"

    def setUp(self) -> None:
        self.url = self.new_url()

    async def opened(self, url: str | None = None) -> Database:
        """The database, started."""
        database = Database(url or self.url, reactor)
        self.addCleanup(database.stop)
        await database.start()
        return database

    async def fails(self, kind: type[Exception], result: Deferred[Any], text: str = "") -> str:
        """What the error says that `result` fails with."""
        error = str(await self.assertFailure(result, kind))
        self.assertIn(text, error)
        return error


def new_schema(case: TestCase) -> str:
    """The URL of a schema of its own on the server for tests, as long as `case` runs."""
    server = read_url(postgresql_server())
    schema = f"test_{uuid4().hex}"
    engine = create_engine(server)
    case.addCleanup(engine.dispose)

    def execute(statement: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(statement))

    execute(f"CREATE SCHEMA {schema}")
    case.addCleanup(execute, f"DROP SCHEMA {schema} CASCADE")
    url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


class OnPostgresql(DatabaseTestCase):
    """The same with PostgreSQL."""

    def new_url(self) -> str:
        return new_schema(self)
