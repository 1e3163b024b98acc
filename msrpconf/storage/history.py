"""What was said in static rooms, in the database, so that it outlives a restart.

Messages are collected and written together, a moment after the first of them: a
busy room costs a transaction a second, not one for each message. A process that
dies loses what it had collected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, delete, insert, select
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.storage.database import Database, batches
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import MAX_HEAD, MAX_OCTETS, history, rooms

INTERVAL = 1.0
"""Seconds that a message may wait to be written."""

RETRY = 10.0
"""Seconds until the next attempt, where writing has failed."""

MAX_PENDING = 67108864
"""Octets that wait to be written; while the database is away the oldest go first."""


@frozen
class StoredMessage:
    """A message: the time in seconds of the epoch, what its keeper wrote about it, its content.

    The `head` has `MAX_HEAD` octets at most, the `content` `MAX_OCTETS`.
    """

    at: float
    head: bytes
    content: bytes

    def __len__(self) -> int:
        return len(self.head) + len(self.content)


@frozen
class Bounds:
    """How many messages of a room are kept, and how old in seconds they may be."""

    messages: int
    age: float


class HistoryStore:
    """Keeps the messages of rooms in `database`; `clock` keeps time, in seconds of the epoch.

    Only rooms that are static there have a history.
    """

    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
        self._pending: deque[tuple[str, StoredMessage]] = deque()
        self._octets = 0
        self._bounds: dict[str, Bounds] = {}
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._stopped = False
        self._away = False
        self.lost = 0
        """Messages that were not written, because the database was away for too long."""

    def append(self, room: str, messages: Iterable[StoredMessage], bounds: Bounds) -> None:
        """Add messages to the history of the room of that key; what is over `bounds` goes.

        They are written soon; what is too long for the table is not.
        """
        if self._stopped:
            return
        for each in messages:
            if len(each.head) <= MAX_HEAD and len(each.content) <= MAX_OCTETS:
                self._pending.append((room, each))
                self._octets += len(each)
        self._bounds[room] = bounds
        self._trim()
        if self._timer is None and self._writing is None:
            self._timer = self._clock.callLater(INTERVAL, self._write)

    def load(self, bounds: Mapping[str, Bounds]) -> Deferred[dict[str, list[StoredMessage]]]:
        """The messages of rooms within their `bounds`, the oldest first; none are not there.

        Fails with `DatabaseError`.
        """
        now = self._clock.seconds()
        return self._database.read(lambda connection: _load(connection, bounds, now))

    def forget(self, room: str) -> None:
        """Write no more of a room: it was deleted, and its history with it."""
        self._pending = deque(each for each in self._pending if each[0] != room)
        self._octets = sum(len(each) for _, each in self._pending)
        self._bounds.pop(room, None)

    @inlineCallbacks
    def clear(self, room: str) -> Generator[Deferred[Any], Any, None]:
        """Delete the messages of a room. Fails with `DatabaseError`."""
        if self._writing is not None:
            # What is being written now would else be there again.
            written: Deferred[None] = Deferred()
            self._writing.addCallback(lambda _: written.callback(None))
            yield written
        self.forget(room)
        yield self._database.run(lambda connection: _clear(connection, room))

    @property
    def waiting(self) -> int:
        """Messages that wait to be written."""
        return len(self._pending)

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Write what there is, and take no more; before the database is stopped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            yield self._writing
        if self._pending:
            yield self._write()

    def _trim(self) -> None:
        while self._octets > MAX_PENDING:
            _, oldest = self._pending.popleft()
            self._octets -= len(oldest)
            if not self.lost:
                self.log.error(
                    "{name}: too much waits to be written; the oldest messages of the"
                    " histories are lost",
                    name=self._database.name,
                )
            self.lost += 1

    @inlineCallbacks
    def _write(self) -> Generator[Deferred[Any], Any, None]:
        """Write all that waits, in one transaction. Never fails."""
        self._timer = None
        pending, self._pending, self._octets = self._pending, deque(), 0
        bounds, self._bounds = self._bounds, {}
        now = self._clock.seconds()
        done: Deferred[None] = Deferred()
        self._writing = done
        wait = INTERVAL
        try:
            yield self._database.run(lambda connection: _save(connection, pending, bounds, now))
        except DatabaseError as error:
            wait = RETRY
            if not self._away:
                self.log.error("{error}; the histories of rooms wait", error=str(error))
            self._away = True
            # Before what has come meanwhile.
            pending.extend(self._pending)
            self._pending = pending
            self._octets = sum(len(each) for _, each in pending)
            self._bounds = {**bounds, **self._bounds}
            self._trim()
        else:
            self._away = False
        finally:
            self._writing = None
            if self._pending and not self._stopped:
                self._timer = self._clock.callLater(wait, self._write)
            done.callback(None)


def _save(
    connection: Connection,
    pending: Iterable[tuple[str, StoredMessage]],
    bounds: dict[str, Bounds],
    now: float,
) -> None:
    # Not of a room that was deleted meanwhile: it would stay for ever.
    static: set[str] = set()
    for keys in batches(sorted(bounds)):
        query = select(rooms.c.room).where(rooms.c.room.in_(keys))
        static.update(connection.scalars(query.with_for_update(read=True)))
    rows = [
        {"room": room, "at": each.at, "head": each.head, "content": each.content}
        for room, each in pending
        if room in static
    ]
    if rows:
        connection.execute(insert(history), rows)
    for room in sorted(static):
        _prune(connection, room, bounds[room], now)


def _prune(connection: Connection, room: str, bounds: Bounds, now: float) -> None:
    of_room = history.c.room == room
    connection.execute(delete(history).where(of_room, history.c.at < now - bounds.age))
    positions = select(history.c.position).where(of_room).order_by(history.c.position.desc())
    # By itself: MySQL deletes from no table that it selects from.
    last = connection.scalar(positions.offset(bounds.messages).limit(1))
    if last is not None:
        connection.execute(delete(history).where(of_room, history.c.position <= last))


def _load(
    connection: Connection, bounds: Mapping[str, Bounds], now: float
) -> dict[str, list[StoredMessage]]:
    found: dict[str, deque[StoredMessage]] = {}
    for keys in batches(bounds):
        columns = history.c.room, history.c.at, history.c.head, history.c.content
        query = select(*columns).where(history.c.room.in_(keys)).order_by(history.c.position)
        for room, at, head, content in connection.execute(query):
            limits = bounds[room]
            if at >= now - limits.age:
                messages = found.setdefault(room, deque(maxlen=limits.messages))
                messages.append(StoredMessage(at, head, content))
    return {room: list(messages) for room, messages in found.items() if messages}


def _clear(connection: Connection, room: str) -> None:
    connection.execute(delete(history).where(history.c.room == room))
