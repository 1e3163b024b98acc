"""Tells watchers: which subscriptions there are, and when each gets its next NOTIFY (RFC 6665).

All watchers of a room are told together, at most once in an interval, so that one document
serves them all. A few of them are told in each turn of the reactor, so that messages pass
in between. There is one timer for all of it.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from functools import partial as bind
from itertools import count
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import DialogId
from msrpconf.presence.feed import Feed
from msrpconf.presence.rates import Rates
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.watching import Decision, Package, Source
from msrpconf.presence.ways import Ways
from msrpconf.protocols.sip.accessors import MAX_EXPIRES
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.visible import visible

Send = Callable[[Request, str, Callable[[], Request]], "Deferred[Response]"]
"""Sends a NOTIFY, over the flow of that name if there is one; gives its final response.

What gives a smaller form of it is for where it is too large to go (RFC 3261 §18.1.1)."""

Hook = Callable[[Subscription], None]

TURN = 0.004
"""Seconds that telling may take before others have their turn."""

MAX_RETRY_AFTER = 600.0
"""Seconds that a watcher may put off a NOTIFY."""

IN_DIALOG = 10
"""Subscriptions in one dialog."""

_LATER = (("Retry-After", "60"),)


@frozen
class NotifierSettings:
    """What an operator decides. Times are in seconds."""

    interval: float = 1.0
    """The least from one NOTIFY of a subscription to the next, but for those asked for."""
    partial: bool = True
    """Whether watchers are told what has changed, or everything each time."""
    max_octets: int = 524288
    """How large a document may be; who watches a larger room is told how many are there."""
    max_subscriptions: int = 20000
    max_room_subscriptions: int = 5000
    max_watcher_subscriptions: int = 100


class Notifier:
    """All subscriptions. `clock` keeps time, `send` sends.

    `on_begun`, `on_refreshed` and `on_ended` are told of subscriptions; ended is one when it
    leaves the tables, before its last NOTIFY.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, send: Send, settings: NotifierSettings) -> None:
        self.settings = settings
        self.on_begun: Hook = _ignore
        self.on_refreshed: Hook = _ignore
        self.on_ended: Hook = _ignore
        self.notified = 0
        """NOTIFYs that were sent: for metrics."""
        self._clock = clock
        self._send = send
        self._dialogs: dict[DialogId, dict[str, Subscription]] = {}
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._watching: Counter[str] = Counter()
        self._count = 0
        self._heap: list[tuple[float, int, Subscription | Feed]] = []
        self._serial = count()
        self._call: IDelayedCall | None = None
        self._queue: deque[Subscription] = deque()
        self._ways = Ways(clock, self._resume)
        self._turn: IDelayedCall | None = None
        self._last_words: set[Subscription] = set()
        self._quiet: Deferred[None] | None = None

    def __len__(self) -> int:
        return self._count

    # The table.

    def find(self, dialog: DialogId, event: str) -> Subscription | None:
        """The subscription in a dialog with that Event, as its NOTIFYs write it."""
        return self._dialogs.get(dialog, {}).get(event)

    def in_dialog(self, dialog: DialogId) -> list[Subscription]:
        """All subscriptions in a dialog; none where it is not known here."""
        return list(self._dialogs.get(dialog, {}).values())

    def of(self, package: str, key: str) -> list[Subscription]:
        """All subscriptions to one thing."""
        feed = self._feeds.get((package, key))
        return [] if feed is None else list(feed.subscriptions)

    def refuses(self, package: str, key: str, watcher: Identity) -> Denied | None:
        """Why there cannot be one subscription more; None where there can."""
        settings = self.settings
        feed = self._feeds.get((package, key))
        if self._count >= settings.max_subscriptions:
            return Denied(503, "There are too many subscriptions here: try again later", _LATER)
        if feed is not None and len(feed.subscriptions) >= settings.max_room_subscriptions:
            return Denied(503, "This room has too many watchers: try again later", _LATER)
        limit = settings.max_watcher_subscriptions
        if not watcher.is_unknown and self._watching[watcher.key] >= limit:
            return Denied(403, f"You have {limit} subscriptions already: end one of them")
        return None

    def feed(self, package: Package, key: str, source: Source) -> Feed:
        """The feed of what is watched, for a subscription that is about to begin."""
        return self._feeds.get((package.name, key)) or Feed(package, key, source)

    def begin(self, subscription: Subscription) -> None:
        """Have one more subscription, and tell it everything at once."""
        feed = subscription.feed
        feed = self._feeds.setdefault((feed.package.name, feed.key), feed)
        subscription.feed = feed
        feed.subscriptions[subscription] = None
        self._dialogs.setdefault(subscription.key, {})[subscription.event] = subscription
        self._watching[subscription.watcher.key] += 1
        self._count += 1
        self._log("watching", subscription)
        self.on_begun(subscription)
        self.tell(subscription)
        self._plan(subscription)

    def refresh(self, subscription: Subscription) -> None:
        """A SUBSCRIBE has come: its effects are in the subscription; tell it everything."""
        subscription.whole = True
        self.tell(subscription)
        self._plan(subscription)
        self.on_refreshed(subscription)

    def tell(self, subscription: Subscription) -> None:
        """Send a NOTIFY as soon as it can be, whatever has changed."""
        subscription.forced = True
        self._enqueue(subscription)

    def end(self, subscription: Subscription, reason: str, why: str) -> None:
        """Tell that it is over, for a `reason` of RFC 6665 §4.2.2; `why` is for our log."""
        if subscription.ending is not None or subscription.over:
            return
        self._remove(subscription, why)
        subscription.ending = f"reason={reason}"
        subscription.forced = False
        self._last_words.add(subscription)
        self._enqueue(subscription)

    def fetch(self, subscription: Subscription) -> None:
        """Tell somebody once, who wants no more than that."""
        subscription.ending = "reason=timeout"
        self._last_words.add(subscription)
        self.tell(subscription)

    def restore(self, subscription: Subscription) -> None:
        """Have a subscription again that was here before a restart."""
        self.begin(subscription)

    def _remove(self, subscription: Subscription, why: str) -> None:
        feed = subscription.feed
        feed.subscriptions.pop(subscription, None)
        if not feed.subscriptions and self._feeds.get((feed.package.name, feed.key)) is feed:
            del self._feeds[feed.package.name, feed.key]
        events = self._dialogs.get(subscription.key, {})
        if events.get(subscription.event) is subscription:
            del events[subscription.event]
            if not events:
                del self._dialogs[subscription.key]
        self._watching[subscription.watcher.key] -= 1
        if self._watching[subscription.watcher.key] <= 0:
            del self._watching[subscription.watcher.key]
        self._count -= 1
        self._log(f"watching no more: {why}", subscription)
        self.on_ended(subscription)

    def _drop(self, subscription: Subscription, why: str) -> None:
        """Who does not take a NOTIFY has no subscription any more (RFC 6665 §4.2.2)."""
        subscription.over = True
        if subscription.ending is None:
            self._remove(subscription, why)
        else:
            self._log(f"the last NOTIFY failed: {why}", subscription)
        self._said(subscription)

    # What happens.

    def changed(self, package: str, key: str, source: Source, change: Any) -> None:
        """Something is different in what is watched; `change` None: it is no more."""
        feed = self._feeds.get((package, key))
        if feed is None:
            return
        feed.add(change if change is not None else feed.package.nothing)
        if change is not None:
            feed.source = source
            self._arm(feed)
            return
        feed.source = None
        for each in list(feed.subscriptions):
            self.end(each, "noresource", "it has ended")

    def reconsider(self, package: str, key: str) -> None:
        """Who may watch has changed: tell those whom it matters to."""
        feed = self._feeds.get((package, key))
        if feed is None:
            return
        for each in list(feed.subscriptions):
            if self._decide(each):
                self.tell(each)

    def _decide(self, subscription: Subscription) -> bool:
        """Ask what a watcher may know; return whether that has changed and is to be told."""
        feed = subscription.feed
        decision = feed.package.decide(feed.key, subscription.watcher)
        if decision is Decision.BLOCK:
            self.end(subscription, "rejected", "not allowed any more")
            return False
        if subscription.decision is not Decision.CONFIRM and decision is Decision.CONFIRM:
            # There is no way back to pending: who subscribes again will be.
            self.end(subscription, "deactivated", "has to be allowed again")
            return False
        return subscription.decided(decision)

    # When.

    def _arm(self, feed: Feed) -> None:
        if not feed.armed:
            feed.armed = True
            self._push(max(self._clock.seconds(), feed.last + self.settings.interval), feed)

    def _tick(self, feed: Feed) -> None:
        """Tell all who can be told now."""
        now = feed.last = self._clock.seconds()
        feed.armed = False
        again = False
        lowest = feed.position
        for each in feed.subscriptions:
            lowest = min(lowest, each.mark if each.mark >= 0 else lowest)
            if not each.has_news or each.queued or each.under_way:
                continue
            if each.allowed_at(self.settings.interval) <= now + 0.001:
                self._enqueue(each)
            elif self._has_own_pace(each):
                self._plan(each)
            else:
                again = True
        feed.forget_before(lowest)
        if again:
            self._arm(feed)

    def _has_own_pace(self, subscription: Subscription) -> bool:
        slow = subscription.rates.maximum is not None
        return slow or subscription.not_before > self._clock.seconds()

    def _plan(self, subscription: Subscription) -> None:
        """Look at it when there is something to do."""
        if subscription.over or subscription.ending is not None:
            return
        when = subscription.expires_at
        if not (subscription.queued or subscription.under_way):
            when = subscription.wake_at(self._clock.seconds())
            if subscription.has_news and self._has_own_pace(subscription):
                when = min(when, subscription.allowed_at(self.settings.interval))
        if when < subscription.wake:
            subscription.wake = when
            self._push(when, subscription)

    def _wake(self, subscription: Subscription) -> None:
        now = self._clock.seconds()
        subscription.wake = float("inf")
        if subscription.over or subscription.ending is not None:
            return
        if now >= subscription.expires_at:
            self.end(subscription, "timeout", "not refreshed in time")
        elif not (subscription.queued or subscription.under_way):
            if now >= subscription.wake_at(now):
                self.tell(subscription)
            elif subscription.has_news and now >= subscription.allowed_at(self.settings.interval):
                self._enqueue(subscription)
        self._plan(subscription)

    def _push(self, when: float, what: Subscription | Feed) -> None:
        if len(self._heap) > 2 * (self._count + len(self._feeds)) + 64:
            # Those that ended long before they would have expired.
            self._heap = [each for each in self._heap if _is_awaited(each)]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (when, next(self._serial), what))
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._heap:
            return
        when = self._heap[0][0]
        call = self._call
        if call is not None and call.active():
            if call.getTime() <= when:
                return
            call.cancel()
        self._call = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        self._call = None
        now = self._clock.seconds()
        while self._heap and self._heap[0][0] <= now:
            when, _, what = heapq.heappop(self._heap)
            if isinstance(what, Feed):
                self._tick(what)
            elif what.wake == when:
                self._wake(what)
        self._set_timer()

    # Sending.

    def _enqueue(self, subscription: Subscription) -> None:
        if subscription.queued or subscription.under_way or subscription.over:
            return
        subscription.queued = True
        subscription.due = self._clock.seconds()
        self._queue.append(subscription)
        self._set_turn()

    def _resume(self, subscription: Subscription) -> None:
        self._queue.append(subscription)
        self._set_turn()

    def _set_turn(self) -> None:
        if self._turn is None and self._queue:
            self._turn = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        until = self._clock.seconds() + TURN
        try:
            while self._queue:
                self._notify(self._queue.popleft())
                if self._clock.seconds() >= until:
                    break
        finally:
            self._set_turn()

    def _notify(self, subscription: Subscription) -> None:
        subscription.queued = False
        if subscription.over or subscription.under_way:
            return
        if self._ways.waits(subscription):
            subscription.queued = True
            return
        if subscription.ending is None:
            self._decide(subscription)
            if subscription.queued:
                return  # it has ended, and is told so in its turn
            if not (subscription.forced or subscription.has_news):
                self._plan(subscription)
                return
        settings = self.settings
        notify = subscription.notify(self._clock.seconds(), settings.partial, settings.max_octets)
        subscription.under_way = True
        self.notified += 1
        answered = self._ways.take(subscription, len(notify.body))

        def small() -> Request:
            subscription.whole = True
            return subscription.summary(notify)

        self._send(notify, subscription.holder.flow, small).addCallbacks(
            bind(self._answered, subscription, answered),
            bind(self._failed, subscription, answered),
        )

    def _answered(
        self, subscription: Subscription, answered: Callable[[], None], response: Response
    ) -> None:
        subscription.under_way = False
        answered()
        if response.status >= 300:
            self._refused(subscription, response)
            return
        if subscription.over:
            self._said(subscription)
            return
        self._take_rates(subscription, response)
        self._go_on(subscription)

    def _refused(self, subscription: Subscription, response: Response) -> None:
        wait = _retry_after(response)
        if wait is None or subscription.over or response.status == 481:
            self._drop(subscription, f"NOTIFY got {response.status} {response.reason}")
            return
        subscription.not_before = self._clock.seconds() + wait
        subscription.unsettle()
        self._go_on(subscription)

    def _failed(
        self, subscription: Subscription, answered: Callable[[], None], failure: Failure
    ) -> None:
        subscription.under_way = False
        answered()
        self._drop(subscription, f"NOTIFY failed: {failure.getErrorMessage()}")

    def _go_on(self, subscription: Subscription) -> None:
        """Do what had to wait for the answer."""
        if subscription.ending is not None or subscription.forced:
            self._enqueue(subscription)
            return
        if subscription.has_news and not self._has_own_pace(subscription):
            self._arm(subscription.feed)
        self._plan(subscription)

    def _take_rates(self, subscription: Subscription, response: Response) -> None:
        """RFC 6446 §4.1: a watcher may change its mind in the answer to a NOTIFY."""
        try:
            event = response.event
            if event is None or event.value != subscription.feed.package.name:
                return
            rates = Rates.of_event(event)
        except SipSyntaxError:
            return
        now = self._clock.seconds()
        subscription.agree(
            rates.adjusted(self.settings.interval, subscription.expires_at - now), now
        )

    # The end.

    def stop(self, why: str) -> Deferred[None]:
        """End all subscriptions; done when each has been told, or its NOTIFY was given up.

        Their watchers may subscribe again (RFC 6665 §4.1.3: ``deactivated``).
        """
        for feed in list(self._feeds.values()):
            for each in list(feed.subscriptions):
                self.end(each, "deactivated", why)
        self._quiet = Deferred()
        quiet = self._quiet
        self._check_quiet()
        return quiet

    def close(self) -> None:
        """Forget everything; nothing is sent any more."""
        for call in (self._call, self._turn):
            if call is not None and call.active():
                call.cancel()
        self._call = self._turn = None
        self._ways.stop()
        self._heap.clear()
        self._queue.clear()
        self._last_words.clear()
        self._check_quiet()

    def _said(self, subscription: Subscription) -> None:
        self._last_words.discard(subscription)
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self._quiet is not None and not self._last_words:
            quiet, self._quiet = self._quiet, None
            quiet.callback(None)

    def _log(self, what: str, subscription: Subscription) -> None:
        self.log.info(
            "{what}: {watcher}, {package} of {key} (Call-ID {call_id})",
            what=visible(what),
            watcher=subscription.watcher,
            package=subscription.feed.package.name,
            key=subscription.feed.key,
            call_id=visible(subscription.holder.dialog.call_id),
        )


def _is_awaited(entry: tuple[float, int, Subscription | Feed]) -> bool:
    when, _, what = entry
    if isinstance(what, Feed):
        return True
    return what.wake == when and what.ending is None and not what.over


def _ignore(_: Subscription) -> None:
    """What is told to nobody."""


def _retry_after(response: Response) -> float | None:
    """Seconds after which a NOTIFY may be tried again; None where it may not."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    digits = value.strip().partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_EXPIRES))):
        return None
    return min(float(digits), MAX_RETRY_AFTER)
