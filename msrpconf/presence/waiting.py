"""Who has asked to watch, went away, and was not decided about (RFC 3857 §4.7.1: ``waiting``).

So an owner who comes later learns of it. Whoever can SUBSCRIBE can make such an entry: there are
bounds for a room, for a user and for all, and each lasts for some time only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.identity import Identity
from msrpconf.presence.kept import describe, read_identity

MAX_WAITING = 10000
"""Of all rooms."""

MAX_OF_USER = 100
"""Of one user, in as many rooms."""


@frozen(eq=False)
class Waiting:
    """A subscription to `room`, the key, that waits. Times are in seconds of the clock."""

    id: str
    room: str
    watcher: Identity
    began: float
    until: float

    def encode(self) -> bytes:
        """It as octets, in JSON, but for its id and its end: for who keeps it over a restart."""
        told = {"room": self.room, "watcher": describe(self.watcher), "began": self.began}
        return json.dumps(told).encode("ascii")

    @classmethod
    def decode(cls, name: str, until: float, octets: bytes) -> Waiting:
        """The inverse of `encode`. Raises `ValueError`, `KeyError` or `TypeError`."""
        told = json.loads(octets)
        watcher, began = read_identity(told["watcher"]), float(told["began"])
        return cls(name, str(told["room"]), watcher, began, until)


class WaitingList:
    """Keeps those that wait, one of each user in each room, in the order of coming.

    `give_up` is told of those that are waited for no more. `on_kept` and `on_ended` are told
    what to keep over a restart, and by the id of what not any more. `clock` keeps time.
    """

    def __init__(self, clock: IReactorTime, give_up: Callable[[Waiting], None]) -> None:
        self.on_kept: Callable[[Waiting], None] = lambda waiting: None
        self.on_ended: Callable[[str], None] = lambda name: None
        self._clock = clock
        self._give_up = give_up
        self._all: dict[tuple[str, str], Waiting] = {}
        self._rooms: dict[str, dict[str, Waiting]] = {}
        self._users: Counter[str] = Counter()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._all)

    def of(self, room: str) -> list[Waiting]:
        """Those of a room, who has waited longest first."""
        return list(self._rooms.get(room, {}).values())

    def put(self, waiting: Waiting, most: int) -> bool:
        """Have one more, for which others may be given up; a room has at most `most`.

        Gives False where its user has too many: then it is not kept.
        """
        user = waiting.watcher.key
        self.pop(waiting.room, user)
        if self._users[user] >= MAX_OF_USER or most < 1:
            return False
        room = self._rooms.get(waiting.room, {})
        while len(room) >= most:
            self._end(next(iter(room.values())))
        if len(self._all) >= MAX_WAITING:
            self._end(next(iter(self._all.values())))
        self._all[waiting.room, user] = waiting
        self._rooms.setdefault(waiting.room, {})[user] = waiting
        self._users[user] += 1
        self._set_timer()
        self.on_kept(waiting)
        return True

    def pop(self, room: str, user: str) -> Waiting | None:
        """Take out that of a user, by the key; None where there is none."""
        found = self._all.pop((room, user), None)
        if found is None:
            return None
        of_room = self._rooms[room]
        del of_room[user]
        if not of_room:
            del self._rooms[room]
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]
        self.on_ended(found.id)
        return found

    def forget(self, room: str) -> None:
        """A room has ended, and nobody waits for it."""
        for each in self.of(room):
            self.pop(room, each.watcher.key)

    def stop(self) -> None:
        """Forget everything, and tell nobody."""
        self._all.clear()
        self._rooms.clear()
        self._users.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, waiting: Waiting) -> None:
        self.pop(waiting.room, waiting.watcher.key)
        self._give_up(waiting)

    def _set_timer(self) -> None:
        if self._timer is None and self._all:
            oldest = next(iter(self._all.values()))
            delay = max(0.0, oldest.until - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._all and (oldest := next(iter(self._all.values()))).until <= now:
            self._end(oldest)
        self._set_timer()
