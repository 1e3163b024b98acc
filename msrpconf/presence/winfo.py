"""Watcher information: who watches a room, told to who decides about that (RFC 3857, RFC 3858).

The template-package `winfo` applied to `conference`. It is a package like others to the notifier:

    a SUBSCRIBE    --> pending --approved--> active --> terminated
    to the room           |                              ^
                          `--timeout--> waiting ---------'  approved, rejected, giveup
                                                               |
    a SUBSCRIBE to conference.winfo <-- NOTIFY <-- WatchersChange

The subscriptions are the notifier's. Only those that wait are kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.identity import Identity
from msrpconf.conference.info_values import cut, user_uri
from msrpconf.conference.states import ConferenceStates
from msrpconf.presence.notifier import FETCHED, Notifier
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.waiting import Waiting, WaitingList
from msrpconf.presence.watching import CONFERENCE_EVENT, Decision, Package, WatchPolicy
from msrpconf.protocols.watcher_info import (
    WATCHER_INFO,
    Watcher,
    WatcherElement,
    document,
    watcher_element,
)

WINFO_EVENT = f"{CONFERENCE_EVENT}.winfo"
"""The event package of who watches (RFC 3857 §4.1)."""

SUMMARY_OCTETS = 500
"""Octets of watchers in a document that is to be small enough for UDP."""


@frozen
class Gone:
    """A subscription that was told of, and is no more."""

    id: str
    watcher: Identity
    event: str
    duration: float


Entry = Subscription | Waiting | Gone


@frozen(eq=False)
class WatchersChange:
    """What has become of watchers, by their ids; of those in `begun` nobody knew before."""

    entries: Mapping[str, Entry] = field(factory=dict)
    begun: frozenset[str] = frozenset()

    def then(self, later: WatchersChange) -> WatchersChange:
        """This change and a `later` one in one; who came and went is not told of (§4.7.2)."""
        entries = {**self.entries, **later.entries}
        for each in self.begun & later.entries.keys():
            if isinstance(entries[each], Gone):
                del entries[each]
        return WatchersChange(entries, self.begun | later.begun)


class RoomWatchers:
    """Who watches one room. Is a `Source`."""

    def __init__(self, uri: str, key: str, infos: WatcherInfos) -> None:
        self.uri = uri
        self._key = key
        self._infos = infos

    def full(self, version: int) -> bytes:
        """See `Source`."""
        return self._document("full", version, self._infos.elements(self._key))

    def partial(self, change: WatchersChange, version: int) -> bytes:
        """See `Source`: whole watchers, whatever has changed of them."""
        watchers = self._infos.described(change.entries.values())
        return self._document("partial", version, map(watcher_element, watchers))

    def summary(self, version: int) -> bytes:
        """See `Source`: those about whom there is something to decide, as many as are short."""
        elements: list[bytes] = []
        size = 0
        for each in self._infos.undecided(self._key):
            element = watcher_element(each)
            size += len(element)
            if size > SUMMARY_OCTETS:
                break
            elements.append(element)
        return self._document("full", version, elements)

    def _document(self, state: str, version: int, elements: Iterable[bytes]) -> bytes:
        return document(self.uri, CONFERENCE_EVENT, state, version, elements)


class WatcherInfos:
    """Who watches which room of `states`, by the subscriptions of `notifier`.

    `policy` says who may be told of it, and decides about those that wait. `clock` keeps time.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        notifier: Notifier,
        states: ConferenceStates,
        policy: WatchPolicy,
    ) -> None:
        self._clock = clock
        self._notifier = notifier
        self._states = states
        self._policy = policy
        self.waiting = WaitingList(clock, lambda waiting: self._ended(waiting, "giveup"))
        """Who asked to watch, and went undecided."""
        notifier.on_event = self._happened
        policy.on_change(self._reconsider)
        self.package = Package(
            WINFO_EVENT,
            WATCHER_INFO,
            find=self._find,
            decide=self._decide,
            empty=lambda uri, version: document(uri, CONFERENCE_EVENT, "full", version),
            nothing=WatchersChange(),
            refusal=policy.refuses_watchers,
            ages=True,
            always_partial=True,
        )
        """The event package, for who answers SUBSCRIBE."""

    def undecided(self, key: str) -> Iterator[Watcher]:
        """Those about whom there is something to decide, who has waited longest first."""
        entries = [
            each
            for each in self._entries(key)
            if isinstance(each, Waiting) or (isinstance(each, Subscription) and each.pending)
        ]
        entries.sort(key=lambda each: each.began)
        return self.described(entries)

    def identified(self, key: str) -> list[tuple[Identity, Watcher]]:
        """Who watches the room of that key, or asks to, those that wait first; and who they are.

        That is for the operator, from whom nobody is hidden.
        """
        entries = self._entries(key)
        identities = (each.watcher for each in entries)
        return list(zip(identities, self.described(entries), strict=True))

    def elements(self, key: str) -> Iterator[bytes]:
        """The elements of all of them; of each subscription it is made once for its state."""
        yield from map(watcher_element, self.described(self.waiting.of(key)))
        now = self._clock.seconds()
        for each in self._notifier.of(CONFERENCE_EVENT, key):
            kept = each.element
            if kept is None or kept[0] != each.pending:
                (watcher,) = self.described((each,))
                kept = each.element = each.pending, WatcherElement.of(watcher)
            yield kept[1].at(round(now - each.began), round(each.expires_at - now))

    def _entries(self, key: str) -> list[Subscription | Waiting]:
        return [*self.waiting.of(key), *self._notifier.of(CONFERENCE_EVENT, key)]

    def described(self, entries: Iterable[Entry]) -> Iterator[Watcher]:
        """What is told of watchers now."""
        now = self._clock.seconds()
        for each in entries:
            uri, name = user_uri(each.watcher.uri), cut(each.watcher.display_name)
            if isinstance(each, Gone):
                yield Watcher(each.id, uri, "terminated", each.event, name, round(each.duration))
                continue
            duration = round(now - each.began)
            if isinstance(each, Waiting):
                yield Watcher(each.id, uri, "waiting", "timeout", name, duration)
            else:
                status = "pending" if each.pending else "active"
                left = round(each.expires_at - now)
                yield Watcher(each.id, uri, status, each.cause, name, duration, left)

    def room_ended(self, key: str) -> None:
        """The room is no more, and its watchers have been told."""
        self.waiting.forget(key)
        source = self._notifier.source(WINFO_EVENT, key)
        if source is not None:
            self._notifier.changed(WINFO_EVENT, key, source, None)

    def stop(self) -> None:
        """Forget who waits."""
        self.waiting.stop()

    def _find(self, key: str) -> RoomWatchers | None:
        conference = self._states.find(key)
        return None if conference is None else RoomWatchers(conference.uri, key, self)

    def _decide(self, key: str, user: Identity) -> Decision:
        refused = self._policy.refuses_watchers(key, user) is not None
        return Decision.BLOCK if refused else Decision.ALLOW

    # What happens.

    def _happened(self, subscription: Subscription, event: str) -> None:
        """A subscription is in another state."""
        feed, watcher = subscription.feed, subscription.watcher
        if feed.package.name != CONFERENCE_EVENT:
            return
        key, name = feed.key, subscription.id
        if event == FETCHED:
            if subscription.pending:
                self._waits(subscription, new=True)
        elif event == "subscribe":
            # The one that waits is not needed any more (§4.7.1).
            waiting = self.waiting.pop(key, watcher.key)
            if waiting is not None:
                self._ended(waiting, "giveup")
            self._tell(key, WatchersChange({name: subscription}, frozenset((name,))))
        elif event == "approved":
            self._tell(key, WatchersChange({name: subscription}))
        elif event == "timeout" and subscription.pending:
            self._waits(subscription, new=False)
        else:
            self._gone(key, subscription, event)

    def _waits(self, subscription: Subscription, new: bool) -> None:
        """Who was not decided about has gone; `new` if nobody was told that they had come."""
        key, watcher, name = subscription.feed.key, subscription.watcher, subscription.id
        settings = self._notifier.settings
        until = self._clock.seconds() + settings.waiting
        before = self.waiting.pop(key, watcher.key)
        if before is None:
            waiting = Waiting(name, key, watcher, subscription.began, until)
        else:
            waiting = evolve(before, until=until)
        # Who is anonymous could not be named in a rule.
        if watcher.proven and self.waiting.put(waiting, settings.max_room_waiting):
            if before is None:
                begun = frozenset((name,)) if new else frozenset()
                self._tell(key, WatchersChange({name: waiting}, begun))
            elif not new:
                self._gone(key, subscription, "giveup")
            return
        if before is not None:
            self._ended(before, "giveup")
        if not new:
            self._gone(key, subscription, "giveup")

    def _reconsider(self, key: str) -> None:
        """Who may watch has changed, perhaps also for some that wait."""
        for each in self.waiting.of(key):
            decision = self._policy.decide(key, each.watcher)
            if decision is not Decision.CONFIRM:
                self.waiting.pop(key, each.watcher.key)
                self._ended(each, "rejected" if decision is Decision.BLOCK else "approved")

    def _ended(self, waiting: Waiting, event: str) -> None:
        self.log.info(
            "waits no more to watch: {watcher}, {room}: {event}",
            watcher=waiting.watcher,
            room=waiting.room,
            event=event,
        )
        self._gone(waiting.room, waiting, event)

    def _gone(self, key: str, entry: Subscription | Waiting, event: str) -> None:
        duration = self._clock.seconds() - entry.began
        gone = Gone(entry.id, entry.watcher, event, duration)
        self._tell(key, WatchersChange({entry.id: gone}))

    def _tell(self, key: str, change: WatchersChange) -> None:
        source = self._notifier.source(WINFO_EVENT, key)
        if source is not None:
            self._notifier.changed(WINFO_EVENT, key, source, change)
