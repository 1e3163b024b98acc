"""The subscription that a REFER makes: its sender is told what comes of it (RFC 3515 §2.4).

It lives in the dialog of a participant, or in one that the REFER itself has begun. There is one
NOTIFY under way at a time; what happens meanwhile is told by the next, of which the last word
counts. It ends with the final status, or when a NOTIFY is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import URI
from msrpconf.protocols.sipfrag import SIPFRAG_TYPE, Fragment
from msrpconf.visible import visible

log = Logger()

Send = Callable[[Request], "Deferred[Response]"]
"""Has the focus send a request; gives its final response."""


class DialogHolder(Protocol):
    """Who has a dialog that requests of ours go in, and the way to its client."""

    dialog: Dialog
    flow: str


@define(eq=False)
class OwnDialog:
    """A dialog that nothing but a subscription lives in."""

    dialog: Dialog
    flow: str


class ReferSubscription:
    """One implicit subscription.

    `event` is the Event of its NOTIFYs, ``refer`` or ``refer;id=…``; `contact` the
    URI by which the subscriber reached us; `lifetime` how many seconds it may take
    to a final status. `ended` is called once.
    """

    def __init__(
        self,
        send: Send,
        holder: DialogHolder,
        event: str,
        contact: URI,
        lifetime: float,
        ended: Callable[[ReferSubscription], None],
    ) -> None:
        self._send = send
        self._holder = holder
        self._event = event
        self._contact = contact
        self._lifetime = lifetime
        self._ended = ended
        self._under_way = False
        self._next: Fragment | None = None
        self.over = False
        """Whether the final status was told, or nobody wants to hear it."""

    def report(self, status: Fragment) -> None:
        """Tell the subscriber; nothing is told after a final status."""
        if self.over or (self._next is not None and self._next.final):
            return
        if self._under_way:
            self._next = status
        else:
            self._notify(status)

    def _notify(self, status: Fragment) -> None:
        if status.final:
            self.over = True
            state = "terminated;reason=noresource"
        else:
            state = f"active;expires={int(self._lifetime)}"
        holder = self._holder
        headers = (
            ("Event", self._event),
            ("Subscription-State", state),
            ("Contact", f"<{self._contact}>;isfocus"),
            ("Content-Type", SIPFRAG_TYPE),
        )
        holder.dialog, notify = holder.dialog.request("NOTIFY", headers, bytes(status))
        if holder.flow:
            notify.headers.set(FLOW, holder.flow)
        self._under_way = True
        self._send(notify).addCallbacks(
            self._answered, self._failed, callbackArgs=(notify,), errbackArgs=(notify,)
        )

    def _answered(self, response: Response, notify: Request) -> None:
        if response.status >= 300:
            self._lost(notify, f"{response.status} {response.reason}")
        self._done()

    def _failed(self, failure: Failure, notify: Request) -> None:
        self._lost(notify, failure.getErrorMessage())
        self._done()

    def _lost(self, notify: Request, why: str) -> None:
        # RFC 6665 §4.2.2: who does not take a NOTIFY has no subscription any more.
        self.over = True
        log.info(
            "NOTIFY to {uri} of what came of a REFER failed: {why} (Call-ID {call_id})",
            uri=notify.to.uri,
            why=visible(why),
            call_id=visible(notify.call_id),
        )

    def _done(self) -> None:
        self._under_way = False
        following, self._next = self._next, None
        if self.over:
            self._ended(self)
        elif following is not None:
            self._notify(following)
