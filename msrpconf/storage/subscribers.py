"""Users and what stands for their passwords, in the table `subscriber` that Kamailio has, too.

We write digests and no passwords: that of MD5 into Kamailio's columns, the others beside it.
A row of Kamailio's with a password in it is as good.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from twisted.internet.defer import Deferred

from msrpconf.protocols.sip.digest import ALGORITHMS, ha1
from msrpconf.storage.database import Database
from msrpconf.storage.schema import digests, subscriber

MAX_NAME = 64
"""Characters of a user's name, and of a domain."""

MAX_LISTED = 100_000
"""Users that a list has at most."""

PATIENCE = 5.0
"""Seconds that the database may take to answer: who says a password waits for it."""

Digests = Mapping[str, str]
"""What stands for a password, by algorithm (see `ha1`)."""


class NoSuchUser(LookupError):
    """There is no such user."""


class UserExists(Exception):
    """There is such a user already."""


@frozen
class User:
    """A user of a domain: `sip:name@domain`."""

    name: str
    domain: str

    def __str__(self) -> str:
        return f"{self.name}@{self.domain}"

    @classmethod
    def parse(cls, text: str) -> User:
        """Reads ``alice@example.com``, with or without ``sip:``. Raises `ValueError`."""
        name, at, domain = text.removeprefix("sip:").rpartition("@")
        fits = 0 < len(name) <= MAX_NAME and 0 < len(domain) <= MAX_NAME
        if not (at and fits and text.isprintable()) or any(each in name for each in '"@: '):
            raise ValueError(f"a user is name@domain, each of at most {MAX_NAME} characters")
        return cls(name, domain.lower())


class SubscriberStore:
    """The users in `database`. Each Deferred may fail with `DatabaseError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def digests(self, user: User, full: bool = False) -> Deferred[Digests | None]:
        """What stands for a user's password; None where there is no such user.

        `full` is whether the client takes name and domain for the name. Algorithms may be
        missing: of a row that Kamailio's tools have written, all but MD5.
        """
        return self._database.read(lambda connection: _read(connection, user, full), PATIENCE)

    def add(self, user: User, password: str) -> Deferred[None]:
        """Enter a user. Fails with `UserExists`."""

        def work(connection: Connection) -> None:
            if _exists(connection, user):
                raise UserExists(f"there is a user {user} already")
            connection.execute(insert(subscriber).values(username=user.name, domain=user.domain))
            _write(connection, user, password)

        return self._database.run(work)

    def change(self, user: User, password: str) -> Deferred[None]:
        """Give a user another password. Fails with `NoSuchUser`."""

        def work(connection: Connection) -> None:
            if not _exists(connection, user):
                raise NoSuchUser(f"there is no user {user}")
            _write(connection, user, password)

        return self._database.run(work)

    def remove(self, user: User) -> Deferred[None]:
        """Take a user out. Fails with `NoSuchUser`."""

        def work(connection: Connection) -> None:
            if connection.execute(delete(subscriber).where(*_is(user))).rowcount == 0:
                raise NoSuchUser(f"there is no user {user}")
            _forget_digests(connection, user)

        return self._database.run(work)

    def users(self, domain: str | None = None) -> Deferred[list[User]]:
        """All users, or those of a domain, in order; of very many, the first `MAX_LISTED`."""
        query = select(subscriber.c.username, subscriber.c.domain)
        if domain is not None:
            query = query.where(subscriber.c.domain == domain.lower())
        query = query.order_by(subscriber.c.domain, subscriber.c.username).limit(MAX_LISTED)
        return self._database.read(
            lambda connection: [User(*row) for row in connection.execute(query)]
        )

    def count(self) -> Deferred[int]:
        """How many users there are."""
        query = select(func.count()).select_from(subscriber)
        return self._database.read(lambda connection: connection.scalar(query) or 0)


def _is(user: User) -> tuple[ColumnElement[bool], ...]:
    return subscriber.c.username == user.name, subscriber.c.domain == user.domain


def _exists(connection: Connection, user: User) -> bool:
    return connection.execute(select(subscriber.c.id).where(*_is(user))).first() is not None


def _read(connection: Connection, user: User, full: bool) -> Digests | None:
    columns = subscriber.c.password, subscriber.c.ha1, subscriber.c.ha1b
    row = connection.execute(select(*columns).where(*_is(user))).first()
    if row is None:
        return None
    if row.password:
        name = str(user) if full else user.name
        return {each: ha1(each, name, user.domain, row.password) for each in ALGORITHMS}
    md5 = row.ha1b if full else row.ha1
    found = {"MD5": md5.lower()} if len(md5) == 32 else {}
    query = select(digests.c.algorithm, digests.c.ha1).where(
        digests.c.username == user.name,
        digests.c.domain == user.domain,
        digests.c.full == int(full),
        digests.c.beside == row.ha1,
    )
    found.update((algorithm, digest) for algorithm, digest in connection.execute(query))
    return found


def _write(connection: Connection, user: User, password: str) -> None:
    md5 = ha1("MD5", user.name, user.domain, password)
    connection.execute(
        update(subscriber)
        .where(*_is(user))
        .values(password="", ha1=md5, ha1b=ha1("MD5", str(user), user.domain, password))
    )
    _forget_digests(connection, user)
    rows = [
        {
            "username": user.name,
            "domain": user.domain,
            "algorithm": algorithm,
            "full": full,
            "ha1": ha1(algorithm, name, user.domain, password),
            "beside": md5,
        }
        for algorithm in ALGORITHMS
        if algorithm != "MD5"
        for full, name in enumerate((user.name, str(user)))
    ]
    connection.execute(insert(digests), rows)


def _forget_digests(connection: Connection, user: User) -> None:
    connection.execute(
        delete(digests).where(digests.c.username == user.name, digests.c.domain == user.domain)
    )
