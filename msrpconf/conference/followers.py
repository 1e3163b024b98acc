"""Those who get a message later than the others, because they read more slowly.

What comes while they are behind is kept in a `Spool`, from which each of them gets it
as fast as it reads. Who has caught up is one of the others again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.spool import Spool
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.session import Session

if TYPE_CHECKING:
    from msrpconf.conference.distribution import Copy, Recipient

CHUNK = 65536
"""Octets of a message that go to a follower in one frame."""

CHECK = 5.0
"""Seconds between two looks at whether followers get on."""

PATIENCE = 30.0
"""Seconds after which a follower that takes nothing at all is given up."""


class Follower:
    """One of them: what it gets, and from where on."""

    __slots__ = ("copy", "idle", "position", "recipient", "written")

    def __init__(self, copy: Copy, recipient: Recipient, position: int) -> None:
        self.copy = copy
        self.recipient = recipient
        self.position = position
        self.idle = 0.0
        self.written = recipient.session.written


class Followers:
    """The followers of one message, from its position `start` on.

    `lost` is called with each that does not get the message; `empty` once, when there
    are none any more, with whether the message has ended.
    """

    def __init__(
        self,
        spool: Spool,
        start: int,
        clock: IReactorTime,
        lost: Callable[[Follower], None],
        empty: Callable[[bool], None],
    ) -> None:
        self._spool = spool
        self._start = start
        self._clock = clock
        self._lost = lost
        self._empty = empty
        self._followers: dict[Session, Follower] = {}
        self._total: int | None = None
        self._ended = False
        self._timer: IDelayedCall | None = clock.callLater(CHECK, self._check)

    def add(self, copy: Copy, recipient: Recipient, position: int) -> None:
        """Somebody is behind, and has what comes before `position`."""
        session = recipient.session
        self._followers[session] = Follower(copy, recipient, position)
        session.watch(self._eased)

    def piece_received(self, data: bytes, total: int | None) -> None:
        """More of the message is here; its length, if that is known."""
        self._total = total
        if not self._spool.append(data):
            for follower in list(self._followers.values()):
                self._lose(follower)

    def end(self, total: int | None) -> None:
        """Nothing more comes; `total` octets were all of it, None where some are missing."""
        self._ended = True
        self._total = total
        for session, follower in list(self._followers.items()):
            if total is None:
                self._lose(follower)
            elif session.queued <= session.limits.short:
                self._feed(follower)

    def lose(self, session: Session) -> bool:
        """Send no more to one; False for who is none of the followers."""
        follower = self._followers.get(session)
        if follower is not None:
            self._lose(follower)
        return follower is not None

    def _eased(self, session: Session) -> None:
        """Somebody has read, or is gone."""
        follower = self._followers.get(session)
        if follower is None:
            return
        if session.connection is follower.recipient.connection:
            self._feed(follower)
        else:
            self._lose(follower)

    def _feed(self, follower: Follower) -> None:
        """Queue as much as a follower may have waiting."""
        session = follower.recipient.session
        session.unwatch(self._eased)
        octets = min(CHUNK, session.limits.queue_octets // 4)
        while session.queued <= session.limits.short:
            position = follower.position
            data = self._spool.read(position - self._start, octets)
            complete = self._ended and position + len(data) - 1 == self._total
            if not data and not complete:
                self._remove(follower)
                follower.copy.recipients.append(follower.recipient)
                return
            flag = Continuation.COMPLETE if complete else Continuation.MORE
            if not follower.copy.forward(follower.recipient, data, position, self._total, flag):
                self._lose(follower)
                return
            follower.position = position + len(data)
            if complete:
                self._remove(follower)
                return
        session.watch(self._eased)

    def _lose(self, follower: Follower) -> None:
        self._lost(follower)
        self._remove(follower)

    def _remove(self, follower: Follower) -> None:
        session = follower.recipient.session
        session.unwatch(self._eased)
        self._followers.pop(session, None)
        if not self._followers:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
                self._spool.close()
                self._empty(self._ended)

    def _check(self) -> None:
        self._timer = self._clock.callLater(CHECK, self._check)
        for session, follower in list(self._followers.items()):
            follower.idle = follower.idle + CHECK if session.written == follower.written else 0.0
            follower.written = session.written
            if follower.idle >= PATIENCE:
                self._lose(follower)
