"""Tells watchers: which subscriptions there are, and when each gets its next NOTIFY (RFC 6665).

All watchers of a room are told together, at most once in an interval, so that one document
serves them all. Who there is is in `table.py`, when it is whose turn in `timing.py`, and how
NOTIFYs go out in `delivery.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import DialogId
from msrpconf.presence.delivery import Delivery, Send
from msrpconf.presence.feed import Feed
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.table import SubscriptionTable
from msrpconf.presence.timing import Timing, retry_after
from msrpconf.presence.watching import Decision, Package, Source
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.visible import visible

Hook = Callable[[Subscription], None]

FETCHED = "fetched"
"""The event of who has asked once."""


class Notifier:
    """All subscriptions. `clock` keeps time, `send` sends.

    `on_kept` is told of a subscription that is to be kept over a restart, and whenever it is to be
    kept differently; `on_ended` when it leaves the tables, before its last NOTIFY. `on_event` is
    told of what brings them into another state, by the names of RFC 3857 §4.7.1, and of `FETCHED`.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, send: Send, settings: NotifierSettings) -> None:
        self.settings = settings
        self.on_kept: Hook = _ignore
        self.on_ended: Hook = _ignore
        self.on_event: Callable[[Subscription, str], None] = lambda subscription, event: None
        self._clock = clock
        self._table = SubscriptionTable()
        self._delivery = Delivery(clock, send, self._notify, self._done)
        self._timing = Timing(
            clock, lambda: self.settings, self._delivery.put, self.tell, self._expired
        )
        self._last_words: set[Subscription] = set()
        self._quiet: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._table)

    @property
    def notified(self) -> int:
        """NOTIFYs that were sent: for metrics."""
        return self._delivery.sent

    def by_package(self) -> dict[str, int]:
        """How many subscriptions there are in each event package that has some."""
        return self._table.by_package()

    # Which there are.

    def find(self, dialog: DialogId, event: str) -> Subscription | None:
        """The subscription in a dialog with that Event, as its NOTIFYs write it."""
        return self._table.find(dialog, event)

    def in_dialog(self, dialog: DialogId) -> list[Subscription]:
        """All subscriptions in a dialog; none where it is not known here."""
        return self._table.in_dialog(dialog)

    def of(self, package: str, key: str) -> list[Subscription]:
        """All subscriptions to one thing."""
        feed = self._table.feed(package, key)
        return [] if feed is None else list(feed.subscriptions)

    def refuses(self, package: str, key: str, watcher: Identity) -> Denied | None:
        """Why there cannot be one subscription more; None where there can."""
        return self._table.refuses(package, key, watcher, self.settings)

    def feed(self, package: Package, key: str, source: Source) -> Feed:
        """The feed of what is watched, for a subscription that is about to begin."""
        return self._table.feed_of(package, key, source)

    def source(self, package: str, key: str) -> Source | None:
        """What is watched; None while nobody does."""
        feed = self._table.feed(package, key)
        return None if feed is None else feed.source

    def begin(self, subscription: Subscription) -> None:
        """Have one more subscription, and tell it everything at once."""
        self._table.add(subscription)
        self._log("watching", subscription)
        self.on_kept(subscription)
        self.on_event(subscription, "subscribe")
        self.tell(subscription)
        self._timing.plan(subscription)

    def refresh(self, subscription: Subscription) -> None:
        """A SUBSCRIBE has come: its effects are in the subscription; tell it everything."""
        subscription.whole = True
        self.tell(subscription)
        self._timing.plan(subscription)
        self.on_kept(subscription)

    def tell(self, subscription: Subscription) -> None:
        """Send a NOTIFY as soon as it can be, whatever has changed."""
        subscription.forced = True
        self._delivery.put(subscription)

    def end(self, subscription: Subscription, reason: str, why: str) -> None:
        """Tell that it is over, for a `reason` of RFC 6665 §4.2.2; `why` is for our log."""
        if subscription.ending is not None or subscription.over:
            return
        self._remove(subscription, why, reason)
        subscription.ending = f"reason={reason}"
        subscription.forced = False
        self._last_words.add(subscription)
        self._delivery.put(subscription)

    def fetch(self, subscription: Subscription) -> None:
        """Tell somebody once, who wants no more than that."""
        subscription.ending = "reason=timeout"
        self._last_words.add(subscription)
        self.tell(subscription)
        self.on_event(subscription, FETCHED)

    def restore(self, subscription: Subscription) -> None:
        """Have a subscription again that was here before a restart, and tell it everything.

        One to what is awaited is told that when it comes.
        """
        self._table.add(subscription)
        self.on_kept(subscription)
        if not subscription.feed.awaited:
            self.tell(subscription)
        self._timing.plan(subscription)

    def awaited_feed(self, package: Package, key: str, uri: str) -> Feed:
        """The feed of what is not known yet, and will perhaps be: for `restore`."""
        return self._table.feed(package.name, key) or Feed.of_awaited(package, key, uri)

    def found(self, package: str, key: str, source: Source | None) -> None:
        """What was awaited has come, or will not: None."""
        feed = self._table.feed(package, key)
        if feed is None or not feed.awaited:
            return
        feed.awaited, feed.source = False, source
        for each in list(feed.subscriptions):
            if source is None:
                self.end(each, "noresource", "nothing is known of it any more")
            else:
                self.tell(each)

    def hold(self) -> None:
        """Send nothing until `release`: there is no way yet."""
        self._delivery.held = True

    def release(self) -> None:
        """Send what is to be sent."""
        self._delivery.release()

    def _remove(self, subscription: Subscription, why: str, event: str) -> None:
        self._table.remove(subscription)
        self._log(f"watching no more: {why}", subscription)
        self.on_ended(subscription)
        self.on_event(subscription, event)

    def _expired(self, subscription: Subscription) -> None:
        self.end(subscription, "timeout", "not refreshed in time")

    def _drop(self, subscription: Subscription, why: str) -> None:
        """Who does not take a NOTIFY has no subscription any more (RFC 6665 §4.2.2)."""
        subscription.over = True
        if subscription.ending is None:
            self._remove(subscription, why, "timeout")
        else:
            self._log(f"the last NOTIFY failed: {why}", subscription)
        self._said(subscription)

    # What happens.

    def changed(self, package: str, key: str, source: Source, change: Any) -> None:
        """Something is different in what is watched; `change` None: it is no more."""
        feed = self._table.feed(package, key)
        if feed is None:
            return
        feed.add(change if change is not None else feed.package.nothing)
        if feed.awaited and change is not None:
            self.found(package, key, source)
            return
        feed.awaited = False
        if change is not None:
            feed.source = source
            self._timing.arm(feed)
            return
        feed.source = None
        for each in list(feed.subscriptions):
            self.end(each, "noresource", "it has ended")

    def reconsider(self, package: str, key: str) -> None:
        """Who may watch has changed: tell those whom it matters to."""
        feed = self._table.feed(package, key)
        if feed is None:
            return
        for each in list(feed.subscriptions):
            if self._decide(each):
                self.tell(each)

    def _decide(self, subscription: Subscription) -> bool:
        """Ask what a watcher may know; return whether that has changed and is to be told."""
        feed = subscription.feed
        if feed.awaited:
            return False  # nothing is told, and who decides knows nothing
        decision = feed.package.decide(feed.key, subscription.watcher)
        if decision is Decision.BLOCK:
            self.end(subscription, "rejected", "not allowed any more")
            return False
        if subscription.decision is not Decision.CONFIRM and decision is Decision.CONFIRM:
            # There is no way back to pending: who subscribes again will be.
            self.end(subscription, "deactivated", "has to be allowed again")
            return False
        was_pending = subscription.pending
        changed = subscription.decided(decision)
        if was_pending and changed:
            subscription.cause = "approved"
            self.on_event(subscription, "approved")
        if changed:
            self.on_kept(subscription)
        return changed

    # Sending.

    def _notify(self, subscription: Subscription) -> Request | None:
        """What it is told now, None for nothing."""
        if subscription.ending is None:
            self._decide(subscription)
            if subscription.queued:
                return None  # it has ended, and is told so in its turn
            if not (subscription.forced or subscription.has_news):
                self._timing.plan(subscription)
                return None
        settings = self.settings
        now = self._clock.seconds()
        subscription.feed.grow_old(now)
        notify = subscription.notify(now, settings.partial, settings.max_octets)
        if subscription.holder.dialog.local_cseq > subscription.kept_until:
            self.on_kept(subscription)
        return notify

    def _done(self, subscription: Subscription, result: Response | Failure) -> None:
        """A NOTIFY has its final response, or could not be sent."""
        if isinstance(result, Failure):
            self._drop(subscription, f"NOTIFY failed: {result.getErrorMessage()}")
        else:
            self._answered(subscription, result)

    def _answered(self, subscription: Subscription, response: Response) -> None:
        if response.status >= 300:
            self._refused(subscription, response)
            return
        if subscription.over:
            self._said(subscription)
            return
        self._timing.take_rates(subscription, response)
        self._go_on(subscription)

    def _refused(self, subscription: Subscription, response: Response) -> None:
        wait = retry_after(response)
        if wait is None or subscription.over or response.status == 481:
            self._drop(subscription, f"NOTIFY got {response.status} {response.reason}")
            return
        self._timing.put_off(subscription, wait)
        self._go_on(subscription)

    def _go_on(self, subscription: Subscription) -> None:
        """Do what had to wait for the answer."""
        if subscription.ending is not None or subscription.forced:
            self._delivery.put(subscription)
            return
        self._timing.answered(subscription)

    # The end.

    def stop(self, why: str) -> Deferred[None]:
        """End all subscriptions; done when each has been told, or its NOTIFY was given up.

        Their watchers may subscribe again (RFC 6665 §4.1.3: ``deactivated``).
        """
        for each in self._table:
            self.end(each, "deactivated", why)
        return self.finish()

    def finish(self) -> Deferred[None]:
        """Done when all that have ended have been told so."""
        self._quiet = Deferred()
        quiet = self._quiet
        self._check_quiet()
        return quiet

    def close(self) -> None:
        """Forget everything; nothing is sent any more."""
        self._timing.stop()
        self._delivery.stop()
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


def _ignore(_: Subscription) -> None:
    """What is told to nobody."""
