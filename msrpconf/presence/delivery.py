"""Sends NOTIFYs: a few in each turn of the reactor, so that messages pass in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial as bind

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from msrpconf.presence.subscription import Subscription
from msrpconf.presence.ways import Ways
from msrpconf.protocols.sip.message import Request, Response

Send = Callable[[Request, str, Callable[[], Request]], "Deferred[Response]"]
"""Sends a NOTIFY, over the flow of that name if there is one; gives its final response.

What gives a smaller form of it is for where it is too large to go (RFC 3261 §18.1.1)."""

TURN = 0.004
"""Seconds that telling may take before others have their turn."""


class Delivery:
    """Subscriptions that are about to be told something, in their order.

    `make` gives the NOTIFY of one whose turn has come, None for none; `done` is told what was
    answered, or why nothing was.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Send,
        make: Callable[[Subscription], Request | None],
        done: Callable[[Subscription, Response | Failure], None],
    ) -> None:
        self.ways = Ways(clock, self._resume)
        self.sent = 0
        """NOTIFYs that were sent."""
        self.held = False
        """Whether nothing is sent yet."""
        self._clock = clock
        self._send = send
        self._make = make
        self._done = done
        self._queue: deque[Subscription] = deque()
        self._turn: IDelayedCall | None = None

    def put(self, subscription: Subscription) -> None:
        """Tell it something in its turn, once the NOTIFY before was answered."""
        if subscription.queued or subscription.under_way or subscription.over:
            return
        subscription.queued = True
        subscription.due = self._clock.seconds()
        self._queue.append(subscription)
        self._set_turn()

    def release(self) -> None:
        """Send what was held."""
        self.held = False
        self._set_turn()

    def stop(self) -> None:
        """Forget everything."""
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None
        self.ways.stop()
        self._queue.clear()

    def _resume(self, subscription: Subscription) -> None:
        self._queue.append(subscription)
        self._set_turn()

    def _set_turn(self) -> None:
        if self._turn is None and self._queue and not self.held:
            self._turn = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        until = self._clock.seconds() + TURN
        try:
            while self._queue:
                self._serve(self._queue.popleft())
                if self._clock.seconds() >= until:
                    break
        finally:
            self._set_turn()

    def _serve(self, subscription: Subscription) -> None:
        subscription.queued = False
        if subscription.over or subscription.under_way:
            return
        if self.ways.waits(subscription):
            subscription.queued = True
            return
        notify = self._make(subscription)
        if notify is None:
            return
        subscription.under_way = True
        self.sent += 1
        taken = self.ways.take(subscription, len(notify.body))
        answered = bind(self._answered, subscription, taken)
        small = bind(subscription.summary, notify)
        self._send(notify, subscription.holder.flow, small).addCallbacks(answered, answered)

    def _answered(
        self, subscription: Subscription, answered: Callable[[], None], result: Response | Failure
    ) -> None:
        subscription.under_way = False
        answered()
        self._done(subscription, result)
