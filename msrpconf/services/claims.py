"""Claims of rooms in the database that several dispatchers share, and who is alive."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from msrpconf.storage import claims
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.visible import visible

BEAT = 1.0
"""Seconds from one beat to the next."""

PATIENCE = 5.0
"""Seconds that the database may take to answer: an INVITE waits for it."""

PURGE_EVERY = 10
"""Beats from one removal of what is over to the next."""

UNUSED = 600.0
"""Seconds that a claim stays which nobody has asked for, and whose room is over.

Far more than the clocks of dispatchers differ, and than an INVITE is under way.
"""

_DISPATCHER = "dispatcher "


class RoomClaims(Service):
    """Claims rooms, and counts the beats of a dispatcher and of the servers that are `up` there.

    `up` gives their rooms by their names, None for one that has not told of them yet.
    Who has not been counted up for `patience` seconds, by any dispatcher, is gone. `database` is
    started before this, and stopped after.
    """

    name = "msrpconf-claims"
    log = Logger()

    def __init__(
        self,
        database: Database,
        clock: Any,
        dispatcher: str,
        up: Callable[[], Mapping[str, Collection[str] | None]],
        patience: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._dispatcher = dispatcher
        self._up = up
        self.patience = max(patience, 3 * BEAT)
        """Seconds after which who has not been counted up is gone."""
        self._beats: dict[str, tuple[int, float]] = {}
        self._began: dict[str, float] = {}
        self._is_new = True
        self._watched = 0.0
        self._looked: float | None = None
        self._away: str | None = None
        self._count = 0
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin to beat."""
        Service.startService(self)
        self._loop.start(BEAT)

    def stopService(self) -> None:
        """Beat no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def claim(self, room: str, wanted: Sequence[str], free: Collection[str]) -> Deferred[str]:
        """The server that a room is to begin at: see `storage.claims`.

        Fails with `DatabaseError`, soon also where nothing answers, or `ClaimError`.
        """
        if self._away is not None:
            return fail(DatabaseError(self._away))
        work = partial(
            claims.claim,
            room=room,
            wanted=tuple(wanted),
            free=frozenset(free),
            now=self._clock.seconds(),
        )
        return self._database.run(work, PATIENCE)

    def server_gone(self, name: str) -> bool:
        """Whether no dispatcher has had a link to a server for long enough."""
        return self._gone(name)

    def dispatcher_gone(self, name: str) -> bool:
        """Whether a dispatcher is no more."""
        return name != self._dispatcher and self._gone(f"{_DISPATCHER}{name}")

    def has_forgotten(self, name: str, seconds: float) -> bool:
        """Whether another dispatcher has begun anew within so many seconds.

        Of calls from before it knows only what servers have told it since.
        """
        began = self._began.get(f"{_DISPATCHER}{name}")
        return began is not None and self._watched - began <= seconds

    def gone_servers(self) -> set[str]:
        """The servers that are gone, of those that have ever been seen."""
        return {name for name in self._beats if self._gone(name)}

    def _gone(self, name: str) -> bool:
        if self._away is not None:
            return False  # nobody can tell
        _, changed = self._beats.get(name, (0, 0.0))
        return self._watched - changed >= self.patience

    @inlineCallbacks
    def _beat(self) -> Generator[Deferred[Any], Any, None]:
        own = f"{_DISPATCHER}{self._dispatcher}"
        names, began = [own, *self._up()], own if self._is_new else None
        self._count += 1
        try:
            found = yield self._database.run(partial(claims.beat, names=names, began=began))
            self._is_new = False
            self._counted(found)
            if self._count % PURGE_EVERY == 0:
                yield self._purge()
        except DatabaseError as error:
            self._failed(error)

    def _purge(self) -> Deferred[None]:
        now = self._clock.seconds()
        told = [(name, frozenset(rooms)) for name, rooms in self._up().items() if rooms is not None]

        def work(connection: Connection) -> None:
            for name, rooms in told:
                claims.purge(connection, name, rooms, now - UNUSED, now)

        return self._database.run(work)

    def _counted(self, found: dict[str, int]) -> None:
        now = self._clock.seconds()
        leaps = [
            name
            for name, beat in found.items()
            if name in self._beats and beat - self._beats[name][0] >= claims.BEGAN
        ]
        if self._away is not None:
            self._away = None
            self.log.info("{database}: it is back", database=self._database.name)
            # What happened meanwhile is not known: all have their time again.
            self._beats.clear()
            self._began.clear()
            self._watched = 0.0
        elif self._looked is not None:
            # Where the database takes long to answer, it does for the others, too: they are given
            # a look for each beat, and not the time that has passed.
            self._watched += min(now - self._looked, BEAT)
        self._looked = now
        self._began.update((name, self._watched) for name in leaps)
        for name, beat in found.items():
            if name not in self._beats or self._beats[name][0] != beat:
                self._beats[name] = beat, self._watched

    def _failed(self, error: DatabaseError) -> None:
        if not self.running:
            return
        told, self._away = self._away, visible(str(error))
        if told is None:
            self.log.error("{error}; no new room can be claimed", error=self._away)
