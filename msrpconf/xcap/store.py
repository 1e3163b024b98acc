"""Documents of rooms in the table `xcap`, which Kamailio reads and writes, too.

Rows that a server has made for its ad-hoc rooms have `source` `AD_HOC` and an entity-tag that
names the server; these alone it changes and removes by itself. Whoever else changes a row makes
it its own by that.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred

from msrpconf.storage.database import Database, batches
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import xcap
from msrpconf.xcap.ruleset import COMMON_POLICY, PRES_RULES

ROOT = "/xcap-root"
"""The path of the XCAP root, which is in `doc_uri` (RFC 4825 §6.1)."""

PRES_RULES_TYPE = 2
"""`doc_type` of pres-rules documents."""

AD_HOC = 0x6D73
"""`source` of the rows that are there as long as the ad-hoc room."""

OTHER = 0
"""`source` of all other rows, as Kamailio's server writes it."""

MAX_NAME = 64
"""Characters of the user, and of the domain, of a room's URI that the table can have."""

MAX_DOCUMENT_URI = 255

MAX_DOCUMENTS = 16
"""Documents of one room that count."""

ALLOW_ALL = f"""<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="{PRES_RULES}" xmlns:pr="{PRES_RULES}" xmlns:cr="{COMMON_POLICY}">
  <cr:rule id="authenticated">
    <cr:conditions><cr:identity><cr:many/></cr:identity></cr:conditions>
    <cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions>
  </cr:rule>
  <cr:rule id="everybody">
    <cr:conditions/>
    <cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions>
  </cr:rule>
</cr:ruleset>
""".encode()
"""The document of a new ad-hoc room. The first rule is for Kamailio, which takes empty conditions
for those of nobody."""


@frozen
class Stored:
    """A document: where it is, its entity-tag without quotes, its octets."""

    uri: str
    etag: str
    document: bytes
    source: int = OTHER


Change = Callable[[Stored | None], bytes | None]
"""Is given the document that there is, None for none, and returns what is to be there then."""


def index_of(room: str) -> str:
    """The `doc_uri` of the document that rooms have by default (RFC 5025 §9.7)."""
    return f"{ROOT}/pres-rules/users/{room}/index"


def fits(room: str) -> bool:
    """Whether the table can have documents of the room of that key."""
    username, domain = _account(room)
    length = len(index_of(room))
    return max(len(username), len(domain)) <= MAX_NAME and length <= MAX_DOCUMENT_URI


class DocumentStore:
    """Keeps documents in `database`, for the server of that name.

    Rooms are given by their keys, which must fit. Each Deferred may fail with
    `DatabaseError`.
    """

    def __init__(self, database: Database, server: str) -> None:
        self._database = database
        self._prefix = f"msrpconf.{server}."

    def sweep(self) -> Deferred[int]:
        """Remove what this server has left behind when it died; how many they were."""
        return self._database.run(self._sweep)

    def claim(self, rooms: Sequence[str], ended: Sequence[str]) -> Deferred[None]:
        """Have a document that allows all for new ad-hoc rooms, and none for those that ended.

        A room whose document somebody else has written keeps that.
        """
        return self._database.run(lambda connection: self._claim(connection, rooms, ended))

    def load(self, rooms: Sequence[str]) -> Deferred[dict[str, tuple[Stored, ...]]]:
        """The documents of rooms; none are an empty tuple."""
        return self._database.read(lambda connection: _load(connection, rooms))

    def versions(self, rooms: Sequence[str]) -> Deferred[dict[str, frozenset[tuple[str, str]]]]:
        """Places and entity-tags of the documents of rooms, by which changes are seen."""
        return self._database.read(lambda connection: _versions(connection, rooms))

    def get(self, uri: str) -> Deferred[Stored | None]:
        """A document by its place, None if it is not there."""
        return self._database.read(lambda connection: _get(connection, uri))

    def change(self, room: str, uri: str, change: Change, ad_hoc: bool) -> Deferred[Stored | None]:
        """Put in the place of a document what `change` makes of it; what there is then.

        `change` is called in another thread, and while nobody else can write the document;
        what it raises is what this fails with, and nothing has changed. `ad_hoc` says whether
        the room is one that ends with its last participant.
        """

        def work(connection: Connection) -> Stored | None:
            return self._change(connection, room, uri, change, AD_HOC if ad_hoc else OTHER)

        return self._database.run(work)

    def _new_etag(self, source: int) -> str:
        return f"{self._prefix if source == AD_HOC else 'msrpconf.'}{secrets.token_hex(12)}"

    @property
    def _is_ours(self) -> ColumnElement[bool]:
        prefix = self._prefix
        return and_(xcap.c.source == AD_HOC, func.substr(xcap.c.etag, 1, len(prefix)) == prefix)

    def _sweep(self, connection: Connection) -> int:
        return connection.execute(delete(xcap).where(self._is_ours)).rowcount

    def _claim(self, connection: Connection, rooms: Sequence[str], ended: Sequence[str]) -> None:
        for those in _of(sorted({*rooms, *ended})):
            connection.execute(delete(xcap).where(those, self._is_ours))
        for keys in batches(sorted(rooms)):
            self._make(connection, keys)

    def _make(self, connection: Connection, keys: Sequence[str]) -> None:
        """Documents for rooms that have none, or one of a room that was on another server."""
        found = _load(connection, keys)
        for key in keys:
            left = [each.uri for each in found[key] if each.source == AD_HOC]
            if left:
                connection.execute(delete(xcap).where(xcap.c.doc_uri.in_(left)))
        new = [key for key in keys if all(each.source == AD_HOC for each in found[key])]
        if new:
            rows = [self._row(key, index_of(key), ALLOW_ALL, AD_HOC) for key in new]
            connection.execute(insert(xcap), rows)

    def _row(self, room: str, uri: str, document: bytes, source: int) -> dict[str, Any]:
        username, domain = _account(room)
        return {
            "username": username,
            "domain": domain,
            "doc": document,
            "doc_type": PRES_RULES_TYPE,
            "etag": self._new_etag(source),
            "source": source,
            "doc_uri": uri,
            "port": 0,
        }

    def _change(
        self, connection: Connection, room: str, uri: str, change: Change, source: int
    ) -> Stored | None:
        before = _get(connection, uri, lock=True)
        document = change(before)
        at = xcap.c.doc_uri == uri
        if document is None:
            connection.execute(delete(xcap).where(at))
            return None
        if before is not None and before.source != AD_HOC:
            source = before.source  # it was there before the room, and stays
        row = self._row(room, uri, document, source)
        if before is not None:
            connection.execute(update(xcap).where(at).values(row))
        else:
            if _count(connection, room) >= MAX_DOCUMENTS:
                raise TooManyDocuments(f"{room} has {MAX_DOCUMENTS} documents, which is the most")
            try:
                connection.execute(insert(xcap).values(row))
            except IntegrityError:
                raise DatabaseError(f"{uri} is being written by somebody else, too") from None
        return Stored(uri, row["etag"], document, source)


class TooManyDocuments(Exception):
    """A room cannot have another document."""


def _account(room: str) -> tuple[str, str]:
    """The user and the domain of a room, as they are in its key."""
    user, _, domain = room.partition(":")[2].rpartition("@")
    return user, domain


def _of(rooms: Iterable[str]) -> Iterator[ColumnElement[bool]]:
    """What selects the pres-rules documents of rooms, in statements of bounded size."""
    by_domain = defaultdict(list)
    for room in rooms:
        username, domain = _account(room)
        by_domain[domain].append(username)
    for domain, usernames in by_domain.items():
        for some in batches(usernames):
            yield and_(
                xcap.c.doc_type == PRES_RULES_TYPE,
                xcap.c.domain == domain,
                xcap.c.username.in_(some),
            )


def _room(username: str, domain: str) -> str:
    return f"sip:{username}@{domain}" if username else f"sip:{domain}"


def _load(connection: Connection, rooms: Sequence[str]) -> dict[str, tuple[Stored, ...]]:
    found: dict[str, list[Stored]] = {room: [] for room in rooms}
    columns = xcap.c.username, xcap.c.domain, xcap.c.doc_uri, xcap.c.etag, xcap.c.doc, xcap.c.source
    for those in _of(rooms):
        query = select(*columns).where(those).order_by(xcap.c.doc_uri)
        for username, domain, uri, etag, document, source in connection.execute(query):
            known = found.get(_room(username, domain))
            if known is not None and len(known) < MAX_DOCUMENTS:
                known.append(Stored(uri, etag, _octets(document), source))
    return {room: tuple(documents) for room, documents in found.items()}


def _versions(
    connection: Connection, rooms: Sequence[str]
) -> dict[str, frozenset[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {room: set() for room in rooms}
    columns = xcap.c.username, xcap.c.domain, xcap.c.doc_uri, xcap.c.etag
    for those in _of(rooms):
        for username, domain, uri, etag in connection.execute(select(*columns).where(those)):
            known = found.get(_room(username, domain))
            if known is not None:
                known.add((uri, etag))
    return {room: frozenset(versions) for room, versions in found.items()}


def _octets(value: bytes | str) -> bytes:
    """A document as it is in the table; somebody may have written it there as text."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _get(connection: Connection, uri: str, lock: bool = False) -> Stored | None:
    query = select(xcap.c.etag, xcap.c.doc, xcap.c.source).where(
        xcap.c.doc_uri == uri, xcap.c.doc_type == PRES_RULES_TYPE
    )
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Stored(uri, row.etag, _octets(row.doc), row.source)


def _count(connection: Connection, room: str) -> int:
    username, domain = _account(room)
    query = select(func.count()).where(
        xcap.c.doc_type == PRES_RULES_TYPE,
        xcap.c.username == username,
        xcap.c.domain == domain,
    )
    return connection.scalar(query) or 0
