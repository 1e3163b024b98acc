"""One subscription: somebody who is told of what is watched (RFC 6665 §4.2).

    pending --allowed--> active --time over, unsubscribed, refused, nothing to watch--> over
        `--------------------------------------------------------------------------------^

It has one NOTIFY under way at a time; what happens meanwhile is told by the next.
"""

from __future__ import annotations

import secrets
from collections import deque

from msrpconf.conference.identity import Identity
from msrpconf.conference.subscription import DialogHolder
from msrpconf.presence.feed import MAX_VERSION, Feed, Template
from msrpconf.presence.rates import Rates
from msrpconf.presence.watching import Decision
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.watcher_info import WatcherElement

_NEVER = 2**32
"""Higher than any CSeq."""


class Subscription:
    """A watcher's subscription to what `feed` tells.

    `holder` has the dialog, which may be that of a participant; `event` is the Event of the
    NOTIFYs, with its id; `contact` our Contact in them. Times are those of the clock.
    """

    __slots__ = (
        "began",
        "cause",
        "contact",
        "decision",
        "due",
        "element",
        "ending",
        "event",
        "expires_at",
        "feed",
        "forced",
        "holder",
        "id",
        "kept_until",
        "last",
        "mark",
        "not_before",
        "over",
        "queued",
        "rates",
        "sent",
        "under_way",
        "version",
        "wake",
        "watcher",
        "whole",
    )

    def __init__(
        self,
        feed: Feed,
        holder: DialogHolder,
        watcher: Identity,
        event: str,
        contact: str,
        now: float,
    ) -> None:
        self.feed = feed
        self.holder = holder
        self.watcher = watcher
        self.event = event
        self.contact = contact
        self.began = now
        self.decision = Decision.BLOCK
        """What the watcher may know, as it was told last."""
        self.rates = Rates()
        self.expires_at = now
        self.mark = -1
        """How far the watcher has been told."""
        self.whole = True
        """Whether the next document is to be a full one."""
        self.version = -1
        """That of the last document."""
        self.forced = True
        """Whether a NOTIFY is due whatever has changed: a SUBSCRIBE has come."""
        self.ending: str | None = None
        """Why it ends with the next NOTIFY: the parameters of that Subscription-State."""
        self.over = False
        """Whether nothing is told any more."""
        self.under_way = False
        """Whether a NOTIFY waits for its answer."""
        self.queued = False
        """Whether a NOTIFY is about to be sent."""
        self.last = float("-inf")
        """When the last NOTIFY was sent, or was to be sent."""
        self.due = now
        """When the next one is, or was, to be sent."""
        self.not_before = float("-inf")
        """When the watcher's side can take another, as it has said."""
        self.wake = float("inf")
        """When the notifier looks at it next."""
        self.sent: deque[float] = deque()
        self.id = secrets.token_hex(8)
        """What its element in watcher information is called (RFC 3858 §3)."""
        self.kept_until = _NEVER
        """The CSeq above which it is to be kept again, where it is kept over a restart."""
        self.cause = "subscribe"
        """The event that brought it into its state (RFC 3857 §4.7.1)."""
        self.element: tuple[bool, WatcherElement] | None = None
        """The element in watcher information, and whether it is that of a pending one."""

    def __repr__(self) -> str:
        return f"<Subscription of {self.watcher} to {self.feed.key}>"

    @property
    def key(self) -> tuple[str, str, str | None]:
        """The dialog that it is in."""
        return self.holder.dialog.id

    @property
    def pending(self) -> bool:
        """Whether somebody has yet to allow it."""
        return self.decision is Decision.CONFIRM

    @property
    def has_news(self) -> bool:
        """Whether there is something that the watcher may know and has not been told."""
        if self.feed.awaited or self.decision not in (Decision.ALLOW, Decision.SUMMARY):
            return False
        return self.feed.changes_since(self.mark)

    def decided(self, decision: Decision) -> bool:
        """Take what the watcher may know; return whether that is something else than before."""
        if decision is self.decision:
            return False
        self.decision = decision
        self.unsettle()
        return True

    def unsettle(self) -> None:
        """What the watcher knows is not certain: tell everything."""
        self.mark = -1
        self.whole = True

    def agree(self, rates: Rates, now: float) -> None:
        """Be told as often as that from now on."""
        if rates.adaptive != self.rates.adaptive:
            self.sent = rates.history(now)
        self.rates = rates

    def allowed_at(self, interval: float) -> float:
        """When the next NOTIFY may be sent that nobody has asked for."""
        return max(self.last + self.rates.least_gap(interval), self.not_before)

    def wake_at(self, now: float) -> float:
        """When there is something to do if nothing changes: it is over, or silent for too long."""
        gap = self.rates.greatest_gap(now, self.sent)
        if gap is None or self.pending:
            return self.expires_at
        return min(self.expires_at, max(self.last, self.not_before) + gap)

    def notify(self, now: float, partial: bool, max_octets: int) -> Request:
        """The next NOTIFY; all that there is to tell is told, if that is not too large."""
        headers = [
            ("Event", self.event),
            ("Subscription-State", self._state(now)),
            ("Contact", self.contact),
        ]
        body = b""
        template = self._template(partial)
        if template is not None:
            shrunk = template.size > max_octets and self.feed.source is not None
            if shrunk:
                template = self.feed.document(None, Decision.SUMMARY)
            self.version = (self.version + 1) % MAX_VERSION
            body = template.with_version(self.version)
            headers.append(("Content-Type", self.feed.package.content_type))
            self.whole = shrunk
        self.mark = self.feed.position
        self.forced = False
        # Who is told late, for there are many, is not told later and later.
        self.last = self.due if self.rates.maximum is None else now
        if self.rates.adaptive is not None:
            self.sent.append(now)
        self.over = self.ending is not None
        self.holder.dialog, request = self.holder.dialog.request("NOTIFY", headers, body)
        return request

    def summary(self, notify: Request) -> Request:
        """`notify` with a document that is small enough for UDP (RFC 3261 §18.1.1).

        The next document is a full one then.
        """
        self.whole = True
        small = notify.copy()
        if self.feed.source is None:
            small.body = b""
        else:
            kind = Decision.SUMMARY if self.decision is Decision.ALLOW else self.decision
            small.body = self.feed.document(None, kind).with_version(self.version)
        if not small.body:
            small.headers.remove("Content-Type")
        return small

    def _template(self, partial: bool) -> Template | None:
        if self.feed.awaited:
            return None
        ended = self.feed.package.ended
        if self.feed.source is None:
            if ended is None or self.decision not in (Decision.ALLOW, Decision.SUMMARY):
                return None
            return Template.of(ended, self.feed.uri)
        if self.ending is not None and not self.forced:
            return None
        if self.decision in (Decision.CONFIRM, Decision.BLOCK):
            # RFC 6665 §4.2.2: who is not known to be allowed is told nothing.
            return None
        partial = partial or self.feed.package.always_partial
        return self.feed.document(self.mark if partial and not self.whole else None, self.decision)

    def _state(self, now: float) -> str:
        if self.ending is not None:
            return f"terminated;{self.ending}"
        state = "pending" if self.pending else "active"
        return f"{state};expires={max(0, round(self.expires_at - now))}{self.rates}"
