"""How often somebody may say a wrong password."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.flow import quota_key
from msrpconf.protocols.sip.memory import ShortMemory

PERIOD = 300.0
"""Seconds in which wrong passwords are counted together."""

BY_HOST = 20
"""Wrong passwords from one host in `PERIOD`."""

BY_USER = 50
"""Wrong passwords for one user in `PERIOD`, from wherever; who was there before is not counted."""

KNOWN = 86400.0
"""Seconds for which a host is remembered to have known a user's password."""

MAX_KEYS = 10_000
"""Hosts, and users, that are counted at a time; the oldest are forgotten first."""


@define
class _Count:
    since: float
    wrong: int = 0


class _Table:
    """Counts by key, of the last `PERIOD`."""

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def wait(self, key: str) -> float:
        """Seconds until it may guess again, 0 where it may."""
        count = self._counts.get(key)
        if count is None or count.wrong < self._limit:
            return 0.0
        return max(0.0, count.since + PERIOD - self._clock.seconds())

    def add(self, key: str, number: int) -> None:
        now = self._clock.seconds()
        count = self._counts.get(key)
        if count is None or now - count.since >= PERIOD:
            self._counts.pop(key, None)
            count = self._counts[key] = _Count(now)
            if len(self._counts) > MAX_KEYS:
                self._counts.popitem(last=False)
        count.wrong = max(0, count.wrong + number)


class Guesses:
    """The wrong passwords of a while, by host and by user.

    A guess counts from when it is looked at, so that many at one time are no more than one after
    another; `right` takes it back. A host that has known the password of a user today may go on
    whatever others say of that user: nobody is kept out by guesses of somebody else.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._hosts = _Table(clock, BY_HOST)
        self._users = _Table(clock, BY_USER)
        self._known: ShortMemory[tuple[str, str], bool] = ShortMemory(clock, KNOWN, MAX_KEYS)

    def __len__(self) -> int:
        return max(len(self._hosts), len(self._users))

    def begin(self, host: str, user: str) -> float:
        """Count a guess; the seconds to wait instead, 0 where it may be looked at."""
        key = quota_key(host)
        known = self._known.get((key, user)) is not None
        wait = max(self._hosts.wait(key), 0.0 if known else self._users.wait(user))
        if not wait:
            self._hosts.add(key, 1)
            self._users.add(user, 1)
        return wait

    def right(self, host: str, user: str) -> None:
        """It was no guess."""
        key = quota_key(host)
        self._hosts.add(key, -1)
        self._users.add(user, -1)
        self._known.put((key, user), True)

    def undecided(self, host: str, user: str) -> None:
        """It could not be looked at."""
        self._hosts.add(quota_key(host), -1)
        self._users.add(user, -1)
