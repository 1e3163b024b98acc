"""How fast a long message goes: no faster than those who get it can read.

What a recipient does not read waits in its queue. Where a queue has grown past
`HIGH_WATER`, the sender's connection is not read from until the queue is short
again, so that TCP holds the sender back and nothing piles up here. A recipient
that takes next to nothing meanwhile is stalled: it is waited for no longer, so that
it costs the others little time, and left behind if its queue grows much further
(RFC 7701 §6.4). What is left of the queue is for what people say. Where there is room on
disk, who is slower than most is left behind at once, and gets the rest from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from msrpconf.protocols.msrp.session import FrameWriter, Session

if TYPE_CHECKING:
    from msrpconf.conference.distribution import Transfer

HIGH_WATER = 262144
"""Octets in a recipient's queue above which the sender has to wait."""

PATIENCE = 0.25
"""Seconds that a recipient whose program does not read may hold up the others."""

PATIENCE_SHARE = 0.05
"""Of the time that the transfer took so far, what is added to that."""

PATIENCE_NETWORK = 3.0
"""Seconds that a recipient may, whose network is still at work on what it was sent."""

PATIENCE_ALONE = 30.0
"""Seconds after which a transfer whose recipients are all stalled is given up.

Not on a connection that several sessions share: there others would wait as well.
"""

TICK = 0.05
"""Seconds between two looks at who is behind. So much is counted for each of them, also where we
were busy with something else and it took longer: that is nobody's fault but ours."""

SLOWEST = 16384
"""Octets per second: who takes fewer is stalled."""


class Pacing:
    """Holds the sender of one message while recipients are behind.

    `drop` is called with those who are to be left behind, and calls `wait_no_more` for each.
    If that costs them nothing (`lenient`: the rest is kept for them elsewhere), those are all
    who are behind at a look while most are not; else those who are stalled.
    """

    __slots__ = (
        "_behind",
        "_drop",
        "_held",
        "_high_water",
        "_lenient",
        "_most",
        "_sender",
        "_stalled",
        "_started",
        "_timer",
    )

    def __init__(
        self,
        sender: Session,
        drop: Callable[[Collection[Session]], None],
        lenient: bool = False,
    ) -> None:
        self._lenient = lenient
        self._sender = sender
        self._drop = drop
        self._high_water = min(HIGH_WATER, sender.limits.queue_octets // 4)
        self._most = sender.limits.mark * 3 // 4
        self._started = sender.clock.seconds()
        # Who is behind: what had been written to it, and for how long it has taken too little.
        self._behind: dict[Session, tuple[int, float]] = {}
        # Who is not waited for until its queue is short again.
        self._stalled: set[Session] = set()
        self._held: FrameWriter | None = None
        self._timer: IDelayedCall | None = None

    def check(self, transfer: Transfer) -> None:
        """See who is behind now that a chunk has been queued; wait for them."""
        if self._stalled:
            lost = [each for each in self._stalled if each.queued > self._most]
            if lost:
                self._drop(lost)
        behind = [
            each
            for each in transfer.sessions
            if each.queued > self._high_water and each not in self._stalled
        ]
        if not behind:
            return
        for session in behind:
            if session not in self._behind:
                self._behind[session] = session.written, 0.0
                session.watch(self.wait_no_more)
        connection = self._sender.connection
        if self._held is None and connection is not None:
            self._held = connection
            connection.hold(self)
            self._arm(transfer)

    def _arm(self, transfer: Transfer) -> None:
        self._timer = self._sender.clock.callLater(TICK, self._judge, transfer)

    def _judge(self, transfer: Transfer) -> None:
        """Some are still behind: go on waiting for those who are not stalled."""
        self._timer = None
        sessions = set(transfer.sessions)
        if self._lenient and 2 * len(self._behind) <= len(sessions):
            self._drop(list(self._behind))
            return
        stalled: dict[Session, float] = {}
        for session, (before, waited) in self._behind.items():
            if session.written - before < SLOWEST * TICK:
                stalled[session] = waited = waited + TICK
            else:
                waited = 0.0
            self._behind[session] = session.written, waited
        # Who is held up by nobody but the stalled ones may wait longer, if it is alone in that.
        held = self._held
        alone = held is not None and not held.shared and stalled.keys() >= sessions
        elapsed = self._sender.clock.seconds() - self._started
        patience = PATIENCE + PATIENCE_SHARE * elapsed
        for session, waited in stalled.items():
            if alone:
                limit = PATIENCE_ALONE
            else:
                limit = patience if session.peer_is_idle else PATIENCE_NETWORK
            if waited >= limit:
                del self._behind[session]
                self._stalled.add(session)
        if self._behind:
            self._arm(transfer)
        else:
            self._go_on()

    def wait_no_more(self, session: Session) -> None:
        """A recipient's queue is short again, or it has gone, or it was left behind."""
        self._forget(session)
        if not self._behind:
            self._go_on()

    def _forget(self, session: Session) -> None:
        if self._behind.pop(session, None) is not None or session in self._stalled:
            self._stalled.discard(session)
            session.unwatch(self.wait_no_more)

    def _go_on(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        held, self._held = self._held, None
        if held is not None:
            held.release(self)

    def stop(self) -> None:
        """The message has ended: wait for nobody any more."""
        for session in (*self._behind, *self._stalled):
            self._forget(session)
        self._go_on()
