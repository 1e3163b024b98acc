"""Requests that wait for a link, so many and so long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.sip.message import Request, Response

MAX_WAITING = 10_000
"""Requests that wait for a link; further ones fail."""

WAIT = 120.0
"""Seconds that one of them waits."""


@define(eq=False)
class Waiting:
    """A request that is to be sent, and the answer that is awaited; `timer` runs while it waits.

    `again` says whether a link was lost that it was sent over.
    """

    message: Request
    answer: Deferred[Response]
    timer: IDelayedCall | None = None
    again: bool = False

    def pass_on(self, result: Response | Failure) -> None:
        """What has come of it, if somebody still awaits that."""
        if self.answer.called:
            return
        if isinstance(result, Failure):
            self.answer.errback(result)
        else:
            self.answer.callback(result)


class WaitingRequests:
    """Those that wait for somebody whom the log calls `whom`; `clock` keeps time."""

    def __init__(self, clock: Any, whom: str) -> None:
        self._clock = clock
        self._whom = whom
        self._waiting: deque[Waiting] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self, message: Request) -> Waiting:
        """A request, of which its sender may say that it is not to wait any more."""
        return Waiting(message.copy(), Deferred(self._forget))

    def put(self, waiting: Waiting) -> None:
        """Have it wait. Its answer is `ChannelClosed` where too many do, or after `WAIT`."""
        if len(self._waiting) >= MAX_WAITING:
            waiting.answer.errback(ChannelClosed(f"{MAX_WAITING} requests wait for a {self._whom}"))
            return
        why = f"no {self._whom} was connected for {WAIT:g} s"
        waiting.timer = self._clock.callLater(WAIT, self._give_up, waiting, why)
        self._waiting.append(waiting)

    def take_all(self) -> Iterator[Waiting]:
        """Those that wait, which do no longer, the oldest first."""
        found, self._waiting = self._waiting, deque()
        for each in found:
            self._stop(each)
            yield each

    def give_up_all(self, why: str) -> None:
        """Nobody will come."""
        for each in list(self._waiting):
            self._give_up(each, why)

    def _forget(self, answer: Deferred[Response]) -> None:
        for each in self._waiting:
            if each.answer is answer:
                self._waiting.remove(each)
                self._stop(each)
                return

    def _give_up(self, waiting: Waiting, why: str) -> None:
        self._waiting.remove(waiting)
        self._stop(waiting)
        waiting.answer.errback(ChannelClosed(why))

    def _stop(self, waiting: Waiting) -> None:
        timer, waiting.timer = waiting.timer, None
        if timer is not None and timer.active():
            timer.cancel()
