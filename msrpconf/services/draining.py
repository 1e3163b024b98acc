"""A server that takes nobody new in, until it is stopped, or that is undone.

`begin` --> draining --deadline--> its rooms go on at other servers, or end; still draining
                 `--`end`--> as before

It is kept where a restart finds it: in the database, else in a file in the directory that
`[server] state` names; with neither it ends with the process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, delete, insert, select
from twisted.internet.defer import Deferred, DeferredList, fail, inlineCallbacks, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.conference.control import ConferenceControl
from msrpconf.protocols.sip.headers import Reason
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.schema import state
from msrpconf.visible import visible

MAX_DEADLINE = 31 * 86_400
"""Seconds."""

OVER = Reason("SIP", 503, "The conference server is taken out of service: join again")

NONE = 0
"""What is kept for a drain without a deadline."""


class DrainStore(Protocol):
    """Keeps whether a server is draining: the deadline in seconds of the epoch, or `NONE`.

    Each fails with `DatabaseError` or OSError.
    """

    def load(self) -> Deferred[int | None]:
        """What was kept; None where the server was not draining."""

    def save(self, deadline: int | None) -> Deferred[None]:
        """Keep that, or None: that it is not."""


class DrainRow:
    """In a database that several servers may share: a row of the server called `name`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        # A name may be longer than the column.
        self._key = f"drain-{hashlib.blake2s(name.encode(), digest_size=12).hexdigest()}"

    def load(self) -> Deferred[int | None]:
        """See `DrainStore`."""

        def work(connection: Connection) -> int | None:
            found: int | None = connection.scalar(
                select(state.c.value).where(state.c.name == self._key)
            )
            return found

        return self._database.run(work)

    def save(self, deadline: int | None) -> Deferred[None]:
        """See `DrainStore`."""

        def work(connection: Connection) -> None:
            connection.execute(delete(state).where(state.c.name == self._key))
            if deadline is not None:
                connection.execute(insert(state).values(name=self._key, value=deadline))

        return self._database.run(work)


class DrainFile:
    """In a file in `directory`, which is made where it is not there."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / f"{name}.draining"

    def load(self) -> Deferred[int | None]:
        """See `DrainStore`."""
        try:
            return succeed(int(self._path.read_text("ascii")))
        except FileNotFoundError:
            return succeed(None)
        except ValueError:
            return succeed(NONE)  # it is there: that is what counts
        except OSError as error:
            return fail(error)

    def save(self, deadline: int | None) -> Deferred[None]:
        """See `DrainStore`."""
        try:
            if deadline is None:
                self._path.unlink(missing_ok=True)
            else:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                made = self._path.with_suffix(".new")
                made.write_text(str(deadline), "ascii")
                os.replace(made, self._path)
        except OSError as error:
            return fail(error)
        return succeed(None)


class Draining:
    """Whether a server takes people in, and until when who is in may stay.

    `store` keeps it, where there is something; `hand_over` brings the rooms to other servers at
    the deadline, as far as that can be: None where there are no others.
    """

    log = Logger()

    def __init__(
        self,
        control: ConferenceControl,
        clock: IReactorTime,
        store: DrainStore | None = None,
        hand_over: Callable[[], Deferred[Any]] | None = None,
    ) -> None:
        self.deadline: int | None = None
        """When the rooms end, in seconds of the epoch; None for never."""
        self.is_kept = False
        """Whether a restart does not end it."""
        self.changed: Callable[[], None] = lambda: None
        """Told when it has begun or ended, to tell others."""
        self._control = control
        self._clock = clock
        self._store = store
        self._hand_over = hand_over
        self._timer: IDelayedCall | None = None

    @inlineCallbacks
    def start(self) -> Any:
        """Go on with what was kept."""
        if self._store is None:
            return
        try:
            found: int | None = yield self._store.load()
        except (DatabaseError, OSError) as error:
            text = "whether this server was draining cannot be read: {error}"
            self.log.error(text, error=visible(str(error)))
            return
        if found is not None:
            self.is_kept = True
            self._begin(None if found == NONE else found)
            self.log.warn("this server drains, as it did before: it takes nobody new in")

    def stop(self) -> None:
        """Wait for no deadline any more; what is kept stays so."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def begin(self, seconds: float | None = None) -> Deferred[None]:
        """Take nobody new in; after so many seconds, at most `MAX_DEADLINE`, the rooms end.

        Done when it is kept, or cannot be. Without `seconds` a deadline of before holds no more.
        """
        self._begin(None if seconds is None else max(1, round(self._clock.seconds() + seconds)))
        return self._keep(NONE if self.deadline is None else self.deadline)

    def end(self) -> Deferred[None]:
        """Take people in again."""
        self.stop()
        self.deadline = None
        self._control.registry.draining = False
        self.changed()
        return self._keep(None)

    def _begin(self, deadline: int | None) -> None:
        self.stop()
        self.deadline = deadline
        self._control.registry.draining = True
        self.changed()
        if deadline is not None:
            wait = max(0.0, deadline - self._clock.seconds())
            self._timer = self._clock.callLater(min(wait, MAX_DEADLINE), self._over)

    @inlineCallbacks
    def _keep(self, deadline: int | None) -> Any:
        self.is_kept = False
        if self._store is None:
            return
        try:
            yield self._store.save(deadline)
            self.is_kept = deadline is not None
        except (DatabaseError, OSError) as error:
            text = "that this server drains, or not, cannot be kept for a restart: {error}"
            self.log.error(text, error=visible(str(error)))

    @inlineCallbacks
    def _over(self) -> Any:
        self._timer = None
        if self._hand_over is not None:
            yield self._hand_over()
        registry = self._control.registry
        rooms = [each for each in registry.rooms.values() if each.participants]
        self.log.info("the deadline is over: {count} rooms end here", count=len(rooms))
        yield DeferredList([self._control.close_room(each.key, OVER) for each in rooms])
