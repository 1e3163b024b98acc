"""URLs of databases: which kinds there are, and how they are shown."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql", "sqlite": "pysqlite"}
_SECRETS = ("password", "passwd", "sslpassword")


def read_url(text: str) -> URL:
    """A database's URL with the driver that we use. Raises `ValueError`, without the password."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError("not a URL") from None
    name, _, driver = url.drivername.partition("+")
    if name not in DRIVERS or driver not in ("", DRIVERS[name]):
        raise ValueError(f"{url.drivername} is none that is known")
    return url.set(drivername=f"{name}+{DRIVERS[name]}")


def shown(text: str) -> str:
    """A database's URL for people: without the password."""
    try:
        url = read_url(text)
    except ValueError:
        return "a URL that cannot be read"
    url = url.set(drivername=url.get_backend_name()).difference_update_query(_SECRETS)
    return url.render_as_string(hide_password=True)


def in_directory(text: str, directory: Path) -> str:
    """The same URL, where the file of SQLite is in `directory` unless it says where it is."""
    url = read_url(text)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return text
    url = url.set(database=str(directory / str(url.database)))
    return url.render_as_string(hide_password=False)
