"""Watching a room: who is in it, as the room tells by NOTIFYs (RFC 4575).

    asking --NOTIFY--> active or pending --the room ends, refuses, one stops--> over
       |                 |  ^
       |                 v  |  the subscription was lost: another one, after a while
       |               waiting
       `--refused, no answer--> over

When a document is missing, or cannot be put together with the others, everything is asked for
again (RFC 4575 §4.6).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from msrpconf.client.room_events import Before, Happening, RoomEvent, room_events
from msrpconf.client.roster import Outcome, Roster
from msrpconf.client.subscription import Over, Subscriber, Subscription
from msrpconf.client.timers import Timers
from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.visible import visible

STEADY = 60.0
"""A subscription that has lasted so many seconds was a good one: the next is tried at once."""

MAX_PAUSE = 60.0
"""Seconds between two subscriptions, unless the server asks for more."""

MAX_RETRY_AFTER = 3600.0
"""Seconds that a server may have us wait."""


class WatchError(Exception):
    """A room is not watched: a SIP `status`, and a `reason` that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Watching(Subscriber, Protocol):
    """What those who watch need of a `UserAgent`."""

    watches: set[Following[Any]]
    """Those that are not over."""


class WatchState(enum.Enum):
    """How a `Watch` stands."""

    ASKING = "asking"
    """Nothing was told yet."""
    PENDING = "pending"
    """Somebody has yet to allow it."""
    ACTIVE = "active"
    WAITING = "waiting"
    """The subscription was lost, and is to be made anew."""
    OVER = "over"


OnEvents = Callable[["Watch", list[RoomEvent]], None]
"""Told of what has happened, each time that the room tells something."""


E = TypeVar("E")


class Following(Generic[E]):
    """One event package of a room that one follows: see `Watch` and `WatchersWatch`.

    `begun` is done when the room has told something, or that somebody has yet to allow it; it fails
    with `WatchError` if that is refused. After that, what is lost is asked for again until it is
    refused: `error` says why it is over.
    """

    log = Logger()
    package = ""
    accept = ""

    def __init__(self, agent: Watching, room: SipURI, via: Address | None = None) -> None:
        self.room = room
        self.state = WatchState.ASKING
        self.error: WatchError | None = None
        self.begun: Deferred[Any] = Deferred(self._cancelled)
        self._agent = agent
        self._via = via
        self._subscription: Subscription | None = None
        self._stopped = False
        self._since = 0.0
        self._lost = 0
        self._timers = Timers(agent.clock)

    # What is followed.

    def apply(self, body: bytes) -> Outcome:
        """Take in a document. Raises `XmlError`."""
        raise NotImplementedError

    def events(self) -> list[E]:
        """What the last document has brought."""
        raise NotImplementedError

    def over_event(self, reason: str) -> E:
        """The last event, which says why nothing more is told."""
        raise NotImplementedError

    def begin_again(self) -> None:
        """Another subscription counts its documents anew."""
        raise NotImplementedError

    def tell(self, events: list[E]) -> None:
        """Tell who listens of what has happened."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether the documents say that the room has ended."""
        return False

    # How it goes.

    def begin(self) -> None:
        """Subscribe."""
        self._agent.watches.add(self)
        self._since = self._agent.clock.seconds()
        self._subscription = Subscription(
            *(self._agent, self.room, self._via, self.package, self.accept),
            *(self._notified, self._ended),
        )
        self._subscription.begin()

    def stop(self) -> Deferred[None]:
        """Be told nothing more; done when the room has answered, or will not."""
        subscription = self._subscription
        self._stopped = True
        self._finish(None)
        return succeed(None) if subscription is None else subscription.stop()

    def _cancelled(self, _: Deferred[Any]) -> None:
        self.stop()

    def _notified(self, word: str, body: bytes) -> None:
        """Hear a NOTIFY. Raises `XmlError`."""
        if self.state is WatchState.OVER:
            return
        outcome = self.apply(body) if body else None
        is_news = outcome in (Outcome.APPLIED, Outcome.ENDED)
        events = self.events() if is_news else []
        if word != "terminated":
            self.state = WatchState.PENDING if word == "pending" else WatchState.ACTIVE
            if outcome is Outcome.GAP:
                assert self._subscription is not None
                self._subscription.refresh()
            elif not self.begun.called:
                self.begun.callback(self)
        self._tell(events)
        if outcome is Outcome.ENDED and word != "terminated":
            # The room has ended, and leaves it to us to end the subscription (RFC 4575 §4.6).
            subscription = self._subscription
            self._finish(_FINAL["noresource"])
            if subscription is not None:
                subscription.stop()

    def _ended(self, over: Over) -> None:
        """The subscription is over, and it was not we who wanted that."""
        final = _FINAL.get("noresource" if self.ended else over.terminated or "")
        if final is not None:
            self._finish(final)
        elif not self.begun.called or (over.terminated is None and over.status not in _TEMPORARY):
            # Who was never told may have asked in the wrong place, and is to know that.
            self._finish(WatchError(over.status, over.reason))
        elif self.state is not WatchState.OVER:
            self._wait(over)

    def _wait(self, over: Over) -> None:
        """Make another subscription, after a while."""
        if self._agent.clock.seconds() - self._since > STEADY:
            self._lost = 0
        pause = min(over.pause, MAX_RETRY_AFTER)
        if pause or self._lost or over.terminated not in ("deactivated", "timeout"):
            pause = max(pause, min(MAX_PAUSE, 2.0**self._lost))
        self._lost = min(self._lost + 1, 10)
        assert self._subscription is not None
        self.log.info(
            "the subscription to {room} was lost, another one in {pause:g} s: {why}"
            " (Call-ID {call_id})",
            room=self.room,
            pause=pause,
            why=visible(over.reason),
            call_id=self._subscription.call_id,
        )
        self._subscription = None
        self.state = WatchState.WAITING
        self.begin_again()
        self._timers.set("again", pause, self.begin)

    def _finish(self, error: WatchError | None) -> None:
        if self.state is WatchState.OVER:
            return
        self.state, self.error = WatchState.OVER, error
        self._timers.stop()
        self._subscription = None
        self._agent.watches.discard(self)
        if not self.begun.called:
            self.begun.errback(error or WatchError(487, "it was stopped before it began"))
        if error is not None:
            self._tell([self.over_event(error.reason)])

    def _tell(self, events: list[E]) -> None:
        if self._stopped or not events:
            return
        try:
            self.tell(events)
        except Exception:
            # A fault in what somebody makes of it is no reason to watch no more.
            self.log.failure("what is told of a room was not understood")


class Watch(Following[RoomEvent]):
    """A room that is watched, by `UserAgent.watch` or as one's chat goes on.

    `roster` is what is known of it, and kept true. `begun` is done when the room has told who is in
    it, or that somebody has yet to allow that; it fails with `WatchError` if that is refused.
    After that, what is lost is asked for again until it is refused. `error` says why it is over,
    and `on_events` is told so in the end, unless one has stopped it.
    """

    package = "conference"
    accept = CONFERENCE_INFO

    def __init__(
        self,
        agent: Watching,
        room: SipURI,
        via: Address | None = None,
        on_events: OnEvents | None = None,
    ) -> None:
        super().__init__(agent, room, via)
        self.roster = Roster()
        self._on_events = on_events
        self._before: Before | None = None

    @property
    def ended(self) -> bool:
        return self.roster.ended

    def apply(self, body: bytes) -> Outcome:
        return self.roster.apply(body)

    def events(self) -> list[RoomEvent]:
        before, self._before = self._before, Before.of(self.roster)
        return room_events(before, self.roster)

    def over_event(self, reason: str) -> RoomEvent:
        return RoomEvent(Happening.UNWATCHED, reason=reason)

    def begin_again(self) -> None:
        self.roster.begin_again()

    def tell(self, events: list[RoomEvent]) -> None:
        if self._on_events is not None:
            self._on_events(self, events)


_FINAL = {
    "noresource": WatchError(410, "the room has ended"),
    "rejected": WatchError(403, "you may not watch the room any more"),
    "invariant": WatchError(410, "the room tells nothing more"),
}
"""What the reasons of Subscription-State mean after which one does not ask again (§4.1.3)."""

_TEMPORARY = frozenset((400, 408, 423, 429, 480, 481, 486, 491, 500, 502, 503, 504))
"""Answers to a SUBSCRIBE after which one may ask again."""
