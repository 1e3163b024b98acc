"""The tables, and how a database gets them: created, or migrated from an earlier version.

Each change of the tables gets the next version number and a step in `MIGRATIONS`; a
new database is made at once as the tables are now. Names start with ``msrpconf_``,
so that the tables may stand in the database of a proxy; but for ``xcap`` and
``subscriber``, which are shared with it, and left as they are where they are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    column,
    insert,
    inspect,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from msrpconf.conference.static import MAX_LINE, MAX_TEXT, MAX_URI
from msrpconf.storage.errors import DatabaseError

VERSION = 5
"""Of the tables as they are here."""

MAX_SETTINGS = 65535
"""Characters of the settings of one room, as JSON."""

MAX_HEAD = 65535
"""Octets of the head of a message in the history."""

MAX_OCTETS = 16777215
"""Octets of the content of a message in the history."""

MAX_DOCUMENT = 65535
"""Octets of a document in the table `xcap`: what Kamailio's has with MySQL."""

MAX_KEPT = 16777215
"""Octets of one thing that a presence agent keeps."""

_LOCK = 0x6D737270  # "msrp": nobody else's, we hope


def _key(length: int = MAX_URI) -> TypeEngine[str]:
    """A canonical URI, compared octet by octet: MySQL would take Alice for alice."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"))
}

metadata = MetaData()

state = Table(
    "msrpconf_state",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
    **_OPTIONS,
)
"""Numbers by name: ``schema`` is the version, ``rooms`` the revision of all static rooms."""

rooms = Table(
    "msrpconf_rooms",
    metadata,
    Column("room", _key(), primary_key=True),
    Column("uri", String(MAX_URI), nullable=False),
    Column("subject", String(MAX_LINE), nullable=False),
    Column("display_text", String(MAX_LINE), nullable=False),
    Column("free_text", String(MAX_TEXT), nullable=False),
    Column("others", String(16), nullable=False),
    Column("members_only", Integer, nullable=False),
    Column("locked", Integer, nullable=False),
    Column("settings", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Column("revision", BigInteger, nullable=False),
    **_OPTIONS,
)

members = Table(
    "msrpconf_room_members",
    metadata,
    Column("room", _key(), primary_key=True),
    Column("user", _key(), primary_key=True),
    Column("role", String(16), nullable=False),
    **_OPTIONS,
)
"""What users, or whole domains, are in a static room."""

history = Table(
    "msrpconf_history",
    metadata,
    # SQLite counts up only what it calls INTEGER.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("room", _key(), nullable=False),
    Column("at", Double, nullable=False),
    Column("head", LargeBinary(MAX_HEAD), nullable=False),
    Column("content", LargeBinary(MAX_OCTETS), nullable=False),
    Index("msrpconf_history_room", "room", "position"),
    **_OPTIONS,
)
"""What was said in static rooms, the oldest first."""

xcap = Table(
    "xcap",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("username", _key(64), nullable=False),
    Column("domain", _key(64), nullable=False),
    Column("doc", LargeBinary(MAX_DOCUMENT), nullable=False),
    Column("doc_type", Integer, nullable=False),
    Column("etag", _key(128), nullable=False),
    Column("source", Integer, nullable=False),
    Column("doc_uri", _key(255), nullable=False),
    Column("port", Integer, nullable=False),
    UniqueConstraint("doc_uri", name="xcap_doc_uri_idx"),
    Index("xcap_account_doc_type_idx", "username", "domain", "doc_type"),
    Index("xcap_account_doc_type_uri_idx", "username", "domain", "doc_type", "doc_uri"),
    Index("xcap_account_doc_uri_idx", "username", "domain", "doc_uri"),
    **_OPTIONS,
)
"""Documents of users, and of rooms: the table of Kamailio, in its version 4."""

subscriber = Table(
    "subscriber",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("username", _key(64), nullable=False, server_default=""),
    Column("domain", _key(64), nullable=False, server_default=""),
    Column("password", String(64), nullable=False, server_default=""),
    Column("ha1", String(128), nullable=False, server_default=""),
    Column("ha1b", String(128), nullable=False, server_default=""),
    UniqueConstraint("username", "domain", name="subscriber_account_idx"),
    Index("subscriber_username_idx", "username"),
    **_OPTIONS,
)
"""Users and their digests, or their passwords: the table of Kamailio, in its version 7."""

digests = Table(
    "msrpconf_digests",
    metadata,
    Column("username", _key(64), primary_key=True),
    Column("domain", _key(64), primary_key=True),
    Column("algorithm", String(16), primary_key=True),
    Column("full", Integer, primary_key=True),
    Column("ha1", String(128), nullable=False),
    Column("beside", String(128), nullable=False),
    **_OPTIONS,
)
"""Digests of users for which Kamailio's table has no room: those of other algorithms than MD5.

`full` is 1 where the name is with its domain, as in `ha1b`. They hold as long as `beside` is
`ha1` of the user: whoever changes the password there knows nothing of these.
"""

claims = Table(
    "msrpconf_claims",
    metadata,
    Column("room", _key(), primary_key=True),
    Column("server", String(64), nullable=False),
    Column("touched", Double, nullable=False),
    Index("msrpconf_claims_touched", "server", "touched"),
    **_OPTIONS,
)
"""The server that a room is at, or was last, where several dispatchers share the database."""

beats = Table(
    "msrpconf_beats",
    metadata,
    Column("name", _key(), primary_key=True),
    Column("beat", BigInteger, nullable=False),
    **_OPTIONS,
)
"""Numbers that are counted up while a server, or a dispatcher, is there."""

kept = Table(
    "msrpconf_kept",
    metadata,
    Column("agent", _key(), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("id", _key(64), primary_key=True),
    Column("expires", Double, nullable=False),
    Column("content", LargeBinary(MAX_KEPT), nullable=False),
    **_OPTIONS,
)
"""What presence agents keep over a restart, each by its name: subscriptions and publications."""

_SHARED = ((xcap, 4), (subscriber, 7))
"""Kamailio's tables, each with its version."""

Migration = Callable[[Connection], None]


def _add_xcap(connection: Connection) -> None:
    xcap.create(connection, checkfirst=True)


def _add_subscriber(connection: Connection) -> None:
    subscriber.create(connection, checkfirst=True)
    digests.create(connection, checkfirst=True)


def _add_claims(connection: Connection) -> None:
    claims.create(connection, checkfirst=True)
    beats.create(connection, checkfirst=True)


def _add_kept(connection: Connection) -> None:
    kept.create(connection, checkfirst=True)


MIGRATIONS: Sequence[Migration] = (_add_xcap, _add_subscriber, _add_claims, _add_kept)
"""What makes version 2 of version 1, version 3 of version 2, and so on."""


def prepare(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a database to the version that we know, in the transaction of `connection`.

    Several processes may do so at one time: one does it, the others find it done.
    Raises `DatabaseError` for a version that is newer than ours.
    """
    with_lock = _LOCKS.get(connection.dialect.name)
    if with_lock is not None:
        connection.execute(text(with_lock))
    try:
        _prepare(connection, migrations)
    finally:
        if connection.dialect.name in {"mysql", "mariadb"}:
            connection.execute(text(f"SELECT RELEASE_LOCK('{_LOCK}')"))


# PostgreSQL gives the lock back with the transaction; SQLite has one writer anyway.
_LOCKS = {
    "postgresql": f"SELECT pg_advisory_xact_lock({_LOCK})",
    "mysql": f"SELECT GET_LOCK('{_LOCK}', 30)",
    "mariadb": f"SELECT GET_LOCK('{_LOCK}', 30)",
}


def _prepare(connection: Connection, migrations: Sequence[Migration]) -> None:
    newest = len(migrations) + 1
    version = None
    if inspect(connection).has_table(state.name):
        version = connection.scalar(select(state.c.value).where(state.c.name == "schema"))
    if version is None:
        metadata.create_all(connection)
        _share(connection)
        connection.execute(
            state.insert(), [{"name": "schema", "value": newest}, {"name": "rooms", "value": 0}]
        )
        return
    if version > newest:
        raise DatabaseError(
            f"its tables are of version {version}, and this program knows versions up to"
            f" {newest}: run the newer program, or restore the backup from before the update"
        )
    for migrate in migrations[version - 1 :]:
        migrate(connection)
    _share(connection)
    if version < newest:
        connection.execute(update(state).where(state.c.name == "schema").values(value=newest))


def _share(connection: Connection) -> None:
    """Have Kamailio's tables as it wants to find them, whoever has made them.

    Kamailio starts only if its table of versions has them. Raises `DatabaseError`
    where a table is another than we know.
    """
    for shared, version in _SHARED:
        found = {each["name"] for each in inspect(connection).get_columns(shared.name)}
        missing = sorted({each.name for each in shared.columns} - found)
        if missing:
            raise DatabaseError(
                f"its table {shared.name} has no column {', '.join(missing)}: it must be as"
                f" Kamailio makes it, version {version}"
            )
    if not inspect(connection).has_table("version"):
        return
    columns = {each["name"] for each in inspect(connection).get_columns("version")}
    if not {"table_name", "table_version"} <= columns:
        return  # somebody else's
    versions = table("version", column("table_name"), column("table_version"))
    for shared, version in _SHARED:
        query = select(versions.c.table_version).where(versions.c.table_name == shared.name)
        if connection.execute(query).first() is None:
            connection.execute(
                insert(versions).values(table_name=shared.name, table_version=version)
            )
