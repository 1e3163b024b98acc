"""What a presence agent keeps over a restart, in the database.

Changes are collected and written together, a moment later and some at a time: nobody who
subscribes waits for the database, and while that is away nothing is told later for it. What is
written is what there is by then. A process that dies loses what it had collected.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, delete, insert, select
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import MAX_KEPT, kept

INTERVAL = 0.2
"""Seconds that a change may wait to be written."""

RETRY = 10.0
"""Seconds until the next attempt, where writing has failed."""

AT_ONCE = 100
"""Things that are written in one transaction."""

AT_ONCE_OCTETS = 1048576
"""Octets after which one transaction takes no more of them."""

Name = tuple[str, str]
"""What names a thing: its kind, of at most 16 characters, and its id, of at most 64."""


@frozen
class Content:
    """A thing that is kept until `expires`, in seconds of the epoch.

    `encode` is called in another thread and gives its octets, of which there are some `size`.
    """

    expires: float
    size: int
    encode: Callable[[], bytes]


@frozen
class Kept:
    """A thing that was kept."""

    kind: str
    id: str
    expires: float
    octets: bytes


Look = Callable[[], Content | None]
"""Gives a thing as it is now; None for one that is over."""


class KeptStore:
    """Keeps things in `database` for the agent of that name; `clock` keeps time.

    That is in seconds of the epoch.
    """

    log = Logger()

    def __init__(self, database: Database, agent: str, clock: IReactorTime) -> None:
        self._database = database
        self._agent = agent
        self._clock = clock
        self._changed: dict[Name, Look] = {}
        self._written: set[Name] = set()
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._stopped = False
        self._away = False

    @property
    def waiting(self) -> int:
        """Things that wait to be written, or to be removed."""
        return len(self._changed)

    @inlineCallbacks
    def load(self) -> Generator[Deferred[Any], Any, list[Kept]]:
        """All that was kept and has not expired. Fails with `DatabaseError`."""
        now = self._clock.seconds()
        found: list[Kept] = yield self._database.run(lambda c: _load(c, self._agent, now))
        self._written = {(each.kind, each.id) for each in found}
        return found

    def put(self, kind: str, name: str, look: Look) -> None:
        """Something has changed, and `look` gives it when it is written."""
        self._change((kind, name), look)

    def remove(self, kind: str, name: str) -> None:
        """Something is over. What was never written costs nothing."""
        if (kind, name) in self._written:
            self._change((kind, name), _over)
        else:
            self._changed.pop((kind, name), None)

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Write what there is, and take no more; before the database is stopped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            yield self._writing
        while self._changed:
            before = len(self._changed)
            yield self._write()
            if len(self._changed) >= before:
                return  # the database is away

    def _change(self, name: Name, look: Look) -> None:
        if self._stopped:
            return
        self._changed[name] = look
        if self._timer is None and self._writing is None:
            self._timer = self._clock.callLater(RETRY if self._away else INTERVAL, self._write)

    @inlineCallbacks
    def _write(self) -> Generator[Deferred[Any], Any, None]:
        """Write some of what waits, in one transaction. Never fails."""
        self._timer = None
        batch = self._take()
        done: Deferred[None] = Deferred()
        self._writing = done
        # What ends while it is being written is removed afterwards.
        new = {name for name, _, content in batch if content is not None} - self._written
        self._written |= new
        wait = INTERVAL if len(batch) < AT_ONCE else 0.0
        rows = [(name, content) for name, _, content in batch]
        try:
            yield self._database.run(lambda connection: _save(connection, self._agent, rows))
        except DatabaseError as error:
            wait = RETRY
            if not self._away:
                self.log.error(
                    "{error}; subscriptions and publications would not outlive a restart now",
                    error=str(error),
                )
            self._away = True
            self._written -= new
            for name, look, _ in batch:
                self._changed.setdefault(name, look)
        else:
            self._written.difference_update(
                name
                for name, _, content in batch
                if content is None and self._changed.get(name, _over) is _over
            )
            if self._away:
                self.log.info("{database}: it is back", database=self._database.name)
            self._away = False
        finally:
            self._writing = None
            if self._changed and not self._stopped:
                self._timer = self._clock.callLater(wait, self._write)
            done.callback(None)

    def _take(self) -> list[tuple[Name, Look, Content | None]]:
        """Some of what waits, as it is now."""
        batch: list[tuple[Name, Look, Content | None]] = []
        size = 0
        while self._changed and len(batch) < AT_ONCE and size < AT_ONCE_OCTETS:
            name = next(iter(self._changed))
            look = self._changed.pop(name)
            content = look()
            size += 0 if content is None else content.size
            batch.append((name, look, content))
        return batch


def _over() -> None:
    """What is no more."""


def _load(connection: Connection, agent: str, now: float) -> list[Kept]:
    ours = kept.c.agent == agent
    connection.execute(delete(kept).where(ours, kept.c.expires <= now))
    columns = kept.c.kind, kept.c.id, kept.c.expires, kept.c.content
    rows = connection.execute(select(*columns).where(ours).order_by(kept.c.kind, kept.c.id))
    return [Kept(kind, name, expires, bytes(octets)) for kind, name, expires, octets in rows]


def _save(connection: Connection, agent: str, batch: Sequence[tuple[Name, Content | None]]) -> None:
    kinds: dict[str, list[str]] = {}
    for (kind, name), _ in batch:
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        those = kept.c.agent == agent, kept.c.kind == kind, kept.c.id.in_(names)
        connection.execute(delete(kept).where(*those))
    rows = []
    for (kind, name), content in batch:
        octets = None if content is None else content.encode()
        if content is not None and octets is not None and len(octets) <= MAX_KEPT:
            rows.append(
                {
                    "agent": agent,
                    "kind": kind,
                    "id": name,
                    "expires": content.expires,
                    "content": octets,
                }
            )
    if rows:
        connection.execute(insert(kept), rows)
