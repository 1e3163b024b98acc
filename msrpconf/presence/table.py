"""Which subscriptions there are, and how many more there can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.registry import DialogId
from msrpconf.presence.feed import Feed
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.watching import Package, Source

IN_DIALOG = 10
"""Subscriptions in one dialog."""

_LATER = (("Retry-After", "60"),)


class SubscriptionTable:
    """Subscriptions by their dialog and by what they watch."""

    def __init__(self) -> None:
        self._dialogs: dict[DialogId, dict[str, Subscription]] = {}
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._watching: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Subscription]:
        """All of them, as they are now."""
        return iter([each for feed in self._feeds.values() for each in feed.subscriptions])

    def find(self, dialog: DialogId, event: str) -> Subscription | None:
        """The subscription in a dialog with that Event, as its NOTIFYs write it."""
        return self._dialogs.get(dialog, {}).get(event)

    def in_dialog(self, dialog: DialogId) -> list[Subscription]:
        """All subscriptions in a dialog; none where it is not known here."""
        return list(self._dialogs.get(dialog, {}).values())

    def feed(self, package: str, key: str) -> Feed | None:
        """The feed of what is watched, None while nobody does."""
        return self._feeds.get((package, key))

    def feed_of(self, package: Package, key: str, source: Source) -> Feed:
        """The feed of what is watched, for a subscription that is about to begin."""
        return self._feeds.get((package.name, key)) or Feed(package, key, source)

    def by_package(self) -> dict[str, int]:
        """How many there are in each event package; those without any are left out."""
        found: Counter[str] = Counter()
        for (package, _), feed in self._feeds.items():
            found[package] += len(feed.subscriptions)
        return found

    def refuses(
        self, package: str, key: str, watcher: Identity, settings: NotifierSettings
    ) -> Denied | None:
        """Why there cannot be one subscription more; None where there can."""
        feed = self._feeds.get((package, key))
        if self._count >= settings.max_subscriptions:
            return Denied(503, "There are too many subscriptions here: try again later", _LATER)
        if feed is not None and len(feed.subscriptions) >= settings.max_room_subscriptions:
            return Denied(503, "This room has too many watchers: try again later", _LATER)
        limit = settings.max_watcher_subscriptions
        if not watcher.is_unknown and self._watching[watcher.key] >= limit:
            return Denied(403, f"You have {limit} subscriptions already: end one of them")
        return None

    def add(self, subscription: Subscription) -> None:
        """Have one more, which shares the feed of the others."""
        feed = subscription.feed
        feed = self._feeds.setdefault((feed.package.name, feed.key), feed)
        subscription.feed = feed
        feed.subscriptions[subscription] = None
        self._dialogs.setdefault(subscription.key, {})[subscription.event] = subscription
        self._watching[subscription.watcher.key] += 1
        self._count += 1

    def remove(self, subscription: Subscription) -> None:
        """Have one less, which must be here."""
        feed = subscription.feed
        del feed.subscriptions[subscription]
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
