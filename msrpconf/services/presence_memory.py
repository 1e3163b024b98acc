"""What a presence agent knows again after a restart: who watches, and what was published.

    start:  read what was kept --> publications, then subscriptions --> ports --> NOTIFY, all of it
    then:   what changes --> KeptStore, which writes it a moment later

A subscription to a room that nobody has published again yet is there, and is told nothing but that
it is: its watcher is told everything when the room is published, or that it is no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.conference.composing import KeptPublication
from msrpconf.conference.published import PublishedStates
from msrpconf.conference.states import Change, ConferenceInfo, ConferenceStates
from msrpconf.conference.subscription import OwnDialog
from msrpconf.presence.kept import (
    KeptError,
    KeptSubscription,
    describe,
    kept_until,
    read_identity,
)
from msrpconf.presence.publishing import KeptTexts
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.waiting import Waiting
from msrpconf.protocols.xml import XmlError
from msrpconf.storage.kept import Content, Kept, KeptStore

if TYPE_CHECKING:
    from msrpconf.services.presence import PresenceAgent

PATIENCE = 90.0
"""Seconds for which a room is awaited: publishers notice a restart within a minute."""

SUBSCRIPTION, PUBLICATION, TEXTS, WAITING = "subscription", "publication", "texts", "waiting"

HEAD = 1000
"""Octets of a subscription, about."""


class PresenceMemory:
    """Keeps what `agent` knows in `store`; `clock` keeps time.

    `states` are the rooms, and are kept as well where they are published ones. `patience` are the
    seconds for which rooms may come that are not there at the start.
    """

    log = Logger()

    def __init__(
        self,
        store: KeptStore,
        clock: IReactorTime,
        agent: PresenceAgent,
        states: ConferenceStates,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._agent = agent
        self._published = states if isinstance(states, PublishedStates) else None
        self._patience = patience
        self._awaited: set[str] = set()
        self._giving_up: IDelayedCall | None = None
        self._subscriptions: list[KeptSubscription] = []
        self._publications: list[KeptPublication] = []
        self._texts: list[KeptTexts] = []
        self._waiting: list[Waiting] = []
        states.watch(self._changed)

    @inlineCallbacks
    def load(self) -> Generator[Deferred[Any], Any, None]:
        """Read what was kept, once the database is there. Fails with `DatabaseError`."""
        found = yield self._store.load()
        readers: dict[str, Callable[[Kept], None]] = {
            SUBSCRIPTION: lambda each: self._subscriptions.append(
                KeptSubscription.decode(each.id, each.octets)
            ),
            PUBLICATION: lambda each: self._publications.append(_read_publication(each)),
            TEXTS: lambda each: self._texts.append(_read_texts(each)),
            WAITING: lambda each: self._waiting.append(
                Waiting.decode(each.id, each.expires, each.octets)
            ),
        }
        for each in found:
            try:
                readers[each.kind](each)
            except (KeptError, ValueError, KeyError, TypeError) as error:
                self._drop(each.kind, each.id, error)

    @property
    def rooms(self) -> set[str]:
        """The keys of the rooms that what was read is about."""
        things: Iterable[KeptSubscription | KeptPublication | Waiting] = (
            *self._subscriptions,
            *self._publications,
            *self._waiting,
        )
        return {each.room for each in things}

    @property
    def awaited(self) -> frozenset[str]:
        """The keys of rooms that are watched, and that nobody has published again yet."""
        return frozenset(self._awaited)

    def restore(self) -> None:
        """Have what was read, and keep what changes from now on. Nothing is to be sent yet."""
        agent = self._agent
        notifier, publishing = agent.notifier, agent.publishing
        notifier.on_kept, notifier.on_ended = self._subscription_kept, self._subscription_ended
        if self._published is not None:
            self._published.on_kept = self._publication_kept
        if publishing is not None:
            publishing.on_kept, publishing.on_ended = self._texts_kept, self._texts_ended
        self._restore_publications()
        for texts in self._texts:
            if publishing is None or not publishing.restore(texts):
                self._store.remove(TEXTS, texts.id)
        count = sum(map(self._restore_subscription, self._subscriptions))
        self._restore_waiting()
        if count or self._publications:
            self.log.info(
                "presence: {subscriptions} subscriptions and {publications} publications are here"
                " again; awaited: {awaited} rooms",
                subscriptions=count,
                publications=len(self._publications),
                awaited=len(self._awaited),
            )
        self._subscriptions, self._publications, self._texts, self._waiting = [], [], [], []
        if self._patience > 0 and self._awaited:
            self._giving_up = self._clock.callLater(self._patience, self._give_up)
        else:
            self._give_up()

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Write what there is, and keep nothing any more."""
        if self._giving_up is not None and self._giving_up.active():
            self._giving_up.cancel()
        yield self._store.stop()

    # Restoring.

    def _restore_publications(self) -> None:
        for each in self._publications:
            try:
                if self._published is not None:
                    self._published.restore(each)
            except XmlError as error:
                self._drop(PUBLICATION, _id_of(each.room, each.publisher), error)

    def _restore_subscription(self, kept: KeptSubscription) -> bool:
        notifier = self._agent.notifier
        package = self._agent.packages.get(kept.package)
        if package is None or notifier.find(kept.dialog.id, kept.event) is not None:
            self._store.remove(SUBSCRIPTION, kept.id)
            return False
        source = package.find(kept.room)
        if source is None:
            feed = notifier.awaited_feed(package, kept.room, kept.uri)
            self._awaited.add(kept.room)
        else:
            feed = notifier.feed(package, kept.room, source)
        notifier.restore(kept.revive(feed, self._clock.seconds()))
        return True

    def _restore_waiting(self) -> None:
        """Who waits, does so for the rest of the time, unless the room does not come."""
        watchers, most = self._agent.watchers, self._agent.notifier.settings.max_room_waiting
        waiting = watchers.waiting
        waiting.on_ended = partial(self._store.remove, WAITING)
        for each in sorted(self._waiting, key=lambda each: each.until):
            if not waiting.put(each, most):
                self._store.remove(WAITING, each.id)
            elif watchers.package.find(each.room) is None:
                self._awaited.add(each.room)
        waiting.on_kept = self._waiting_kept

    def _changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        if key in self._awaited and change is not None:
            self._awaited.discard(key)
            self._found(key)

    def _found(self, key: str) -> None:
        for package in self._agent.packages.values():
            self._agent.notifier.found(package.name, key, package.find(key))

    def _give_up(self) -> None:
        """Rooms that are not there by now are no more."""
        awaited, self._awaited = self._awaited, set()
        for key in awaited:
            self._found(key)
            if self._agent.watchers.package.find(key) is None:
                self._agent.watchers.room_ended(key)

    def _drop(self, kind: str, name: str, error: Exception) -> None:
        self.log.warn(
            "a {kind} that was kept is lost: {error}", kind=kind, error=" ".join(str(error).split())
        )
        self._store.remove(kind, name)

    # Keeping.

    def _subscription_kept(self, subscription: Subscription) -> None:
        if isinstance(subscription.holder, OwnDialog):
            subscription.kept_until = kept_until(subscription)
            look = partial(self._look_at_subscription, subscription)
            self._store.put(SUBSCRIPTION, subscription.id, look)

    def _look_at_subscription(self, subscription: Subscription) -> Content | None:
        if subscription.over or subscription.ending is not None:
            return None
        kept = KeptSubscription.of(subscription, self._clock.seconds())
        if kept is None:
            return None
        subscription.kept_until = kept_until(subscription)
        return Content(kept.expires_at, HEAD, kept.encode)

    def _subscription_ended(self, subscription: Subscription) -> None:
        self._store.remove(SUBSCRIPTION, subscription.id)

    def _publication_kept(self, key: str, publisher: str) -> None:
        name = _id_of(key, publisher)
        states = self._published
        if states is None or states.kept(key, publisher) is None:
            self._store.remove(PUBLICATION, name)
        else:
            self._store.put(
                PUBLICATION, name, partial(_look_at_publication, states, key, publisher)
            )

    def _texts_kept(self, texts: KeptTexts) -> None:
        content = Content(texts.expires_at, HEAD, partial(_write_texts, texts))
        self._store.put(TEXTS, texts.id, lambda: content)

    def _texts_ended(self, name: str) -> None:
        self._store.remove(TEXTS, name)

    def _waiting_kept(self, waiting: Waiting) -> None:
        content = Content(waiting.until, HEAD, waiting.encode)
        self._store.put(WAITING, waiting.id, lambda: content)


def _id_of(key: str, publisher: str) -> str:
    return hashlib.sha256(f"{key}\0{publisher}".encode()).hexdigest()


def _look_at_publication(states: PublishedStates, key: str, publisher: str) -> Content | None:
    kept = states.kept(key, publisher)
    if kept is None:
        return None
    return Content(kept.expires_at, len(kept.octets), partial(_write_publication, kept))


def _write_publication(kept: KeptPublication) -> bytes:
    head = {"room": kept.room, "publisher": kept.publisher, "etag": kept.etag}
    return json.dumps(head).encode("ascii") + b"\n" + kept.octets


def _read_publication(kept: Kept) -> KeptPublication:
    line, _, octets = kept.octets.partition(b"\n")
    head = json.loads(line)
    return KeptPublication(
        str(head["room"]), str(head["publisher"]), str(head["etag"]), kept.expires, octets
    )


def _write_texts(texts: KeptTexts) -> bytes:
    document = {
        "room": texts.room,
        "user": describe(texts.user),
        "etag": texts.etag,
        "published": dict(texts.published),
        "before": dict(texts.before),
    }
    return json.dumps(document).encode("ascii")


def _read_texts(kept: Kept) -> KeptTexts:
    told = json.loads(kept.octets)
    user, etag = read_identity(told["user"]), str(told["etag"])
    published, before = dict(told["published"]), dict(told["before"])
    return KeptTexts(kept.id, str(told["room"]), user, etag, published, before, kept.expires)
