"""When each subscription is told something next (RFC 6446, RFC 6665 §4.2.2).

All watchers of one thing are told together at a tick of its feed. Those who have asked for a pace
of their own, or to be left alone for a while, are looked at when their time has come.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from msrpconf.presence.feed import Feed
from msrpconf.presence.rates import Rates
from msrpconf.presence.schedule import Schedule
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscription import Subscription
from msrpconf.protocols.sip.accessors import MAX_EXPIRES
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Response

MAX_RETRY_AFTER = 600.0
"""Seconds that a watcher may put off a NOTIFY."""

Hook = Callable[[Subscription], None]


class Timing:
    """Says when: `news` is told of a subscription that can be told what has changed.

    `silent` is told of one that has to be told something though nothing has changed, `expired`
    of one whose time is over. `settings` gives those in force; `clock` keeps time.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: Callable[[], NotifierSettings],
        news: Hook,
        silent: Hook,
        expired: Hook,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._news = news
        self._silent = silent
        self._expired = expired
        self._schedule = Schedule(clock, self._tick, self._wake)

    def __len__(self) -> int:
        """How much is awaited, or was."""
        return len(self._schedule)

    def stop(self) -> None:
        """Forget everything."""
        self._schedule.stop()

    def arm(self, feed: Feed) -> None:
        """Something has changed: there is a tick as soon as there may be."""
        if not feed.armed:
            feed.armed = True
            self._schedule.put(max(self._clock.seconds(), feed.last + self._interval(feed)), feed)

    def plan(self, subscription: Subscription) -> None:
        """Look at it when there is something to do."""
        if subscription.over or subscription.ending is not None:
            return
        when = subscription.expires_at
        if not (subscription.queued or subscription.under_way):
            when = subscription.wake_at(self._clock.seconds())
            if subscription.has_news and self._has_own_pace(subscription):
                when = min(when, self._allowed_at(subscription))
        if when < subscription.wake:
            subscription.wake = when
            self._schedule.put(when, subscription)

    def answered(self, subscription: Subscription) -> None:
        """Its NOTIFY has been answered: what has changed meanwhile is told in its time."""
        if subscription.has_news and not self._has_own_pace(subscription):
            self.arm(subscription.feed)
        self.plan(subscription)

    def put_off(self, subscription: Subscription, seconds: float) -> None:
        """Its watcher's side takes nothing for so long; everything is told then."""
        subscription.not_before = self._clock.seconds() + seconds
        subscription.unsettle()

    def take_rates(self, subscription: Subscription, response: Response) -> None:
        """RFC 6446 §4.1: a watcher may change its mind in the answer to a NOTIFY."""
        try:
            event = response.event
            if event is None or event.value != subscription.feed.package.name:
                return
            rates = Rates.of_event(event)
        except SipSyntaxError:
            return
        now = self._clock.seconds()
        interval = self._interval(subscription.feed)
        subscription.agree(rates.adjusted(interval, subscription.expires_at - now), now)

    def _tick(self, feed: Feed) -> None:
        """Tell all who can be told now."""
        now = feed.last = self._clock.seconds()
        feed.armed = False
        interval = self._interval(feed)
        again = False
        lowest = feed.position
        for each in feed.subscriptions:
            lowest = min(lowest, each.mark if each.mark >= 0 else lowest)
            if not each.has_news or each.queued or each.under_way:
                continue
            if each.allowed_at(interval) <= now + 0.001:
                self._news(each)
            elif self._has_own_pace(each):
                self.plan(each)
            else:
                again = True
        feed.forget_before(lowest)
        if again:
            self.arm(feed)

    def _wake(self, subscription: Subscription) -> None:
        now = self._clock.seconds()
        subscription.wake = float("inf")
        if subscription.over or subscription.ending is not None:
            return
        if now >= subscription.expires_at:
            self._expired(subscription)
        elif not (subscription.queued or subscription.under_way):
            if now >= subscription.wake_at(now):
                self._silent(subscription)
            elif subscription.has_news and now >= self._allowed_at(subscription):
                self._news(subscription)
        self.plan(subscription)

    def _interval(self, feed: Feed) -> float:
        return self._settings().interval_of(feed.package.name)

    def _allowed_at(self, subscription: Subscription) -> float:
        return subscription.allowed_at(self._interval(subscription.feed))

    def _has_own_pace(self, subscription: Subscription) -> bool:
        slow = subscription.rates.maximum is not None
        return slow or subscription.not_before > self._clock.seconds()


def retry_after(response: Response) -> float | None:
    """Seconds after which a NOTIFY may be tried again; None where it may not."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    digits = value.strip().partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_EXPIRES))):
        return None
    return min(float(digits), MAX_RETRY_AFTER)
