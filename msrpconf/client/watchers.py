"""Who watches a room, as its owners are told (RFC 3857, RFC 3858)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from msrpconf.client.roster import MAX_OCTETS, MAX_USERS, Outcome
from msrpconf.client.watching import Following, Watching
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.watcher_info import WATCHER_INFO, Watcher
from msrpconf.protocols.watcher_info_reading import read_watchers
from msrpconf.protocols.xml import XmlError

WATCHED_PACKAGE = "conference"


class WatcherList:
    """The watchers of a room, as the documents of one subscription come to (RFC 3858 §4.1)."""

    def __init__(self) -> None:
        self.version: int | None = None
        self._broken = False
        self._octets = 0
        self._watchers: dict[str, Watcher] = {}
        self._changed: list[Watcher] = []

    @property
    def watchers(self) -> Mapping[str, Watcher]:
        """Those that there are, by their ids."""
        return self._watchers

    @property
    def changed(self) -> list[Watcher]:
        """What the last document has brought: those who are gone are `terminated`."""
        return self._changed

    def begin_again(self) -> None:
        """Another subscription counts its documents anew."""
        self.version, self._broken = None, False

    def apply(self, octets: bytes) -> Outcome:
        """Take in a document. Raises `XmlError`, and is then as before."""
        document = read_watchers(octets, WATCHED_PACKAGE)
        if self.version is not None and document.version <= self.version and not self._broken:
            return Outcome.OLD
        known = self._watchers
        if document.state == "partial":
            self._octets += len(octets)
            missing = self.version is None or document.version != self.version + 1
            if missing or self._broken or self._octets > MAX_OCTETS:
                self._broken = True
                return Outcome.GAP
            told, kept = {each.id: each for each in document.watchers}, dict(known)
        else:
            told, kept = {each.id: each for each in document.watchers}, {}
        if len(told) + len(kept) > MAX_USERS:
            raise XmlError(f"more than {MAX_USERS} watchers")
        for id_, each in told.items():
            if each.status == "terminated":
                kept.pop(id_, None)
            else:
                kept[id_] = each
        self._changed = [each for id_, each in told.items() if _is_news(known.get(id_), each)]
        if document.state == "full":
            self._octets = 0
            self._changed += [_gone(each) for id_, each in known.items() if id_ not in told]
        self._watchers, self._broken, self.version = kept, False, document.version
        return Outcome.APPLIED


@frozen
class WatchersEvent:
    """What the room has told of its watchers: those who are new or in another state.

    `reason` is why it tells nothing more, None while it does.
    """

    watchers: tuple[Watcher, ...] = ()
    reason: str | None = None


OnWatchers = Callable[["WatchersWatch", list[WatchersEvent]], None]


class WatchersWatch(Following[WatchersEvent]):
    """A room of one's own whose watchers one is told of: `list` is kept true.

    It begins and ends as a `Watch` does. Who is no owner is refused.
    """

    package = f"{WATCHED_PACKAGE}.winfo"
    accept = WATCHER_INFO

    def __init__(
        self,
        agent: Watching,
        room: SipURI,
        via: Address | None = None,
        on_events: OnWatchers | None = None,
    ) -> None:
        super().__init__(agent, room, via)
        self.list = WatcherList()
        self._on_watchers = on_events

    def apply(self, body: bytes) -> Outcome:
        return self.list.apply(body)

    def events(self) -> list[WatchersEvent]:
        return [WatchersEvent(tuple(self.list.changed))]

    def over_event(self, reason: str) -> WatchersEvent:
        return WatchersEvent(reason=reason)

    def begin_again(self) -> None:
        self.list.begin_again()

    def tell(self, events: list[WatchersEvent]) -> None:
        if self._on_watchers is not None:
            self._on_watchers(self, events)


def _is_news(before: Watcher | None, now: Watcher) -> bool:
    if before is None:
        return now.status != "terminated" or bool(now.event)
    return before.status != now.status


def _gone(watcher: Watcher) -> Watcher:
    """Of whom nothing is told any more."""
    return Watcher(watcher.id, watcher.uri, "terminated", "", watcher.display_name)
