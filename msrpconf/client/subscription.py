"""One subscription of ours to an event package of a room: its dialog (RFC 6665 §4.1).

    asking --2xx, NOTIFY--> told --SUBSCRIBE in time--> told ...
       |                     |
       v                     v
      over <----------------over: refused, terminated, silent, unsubscribed

What the NOTIFYs tell, and whether another subscription follows, is for `client.watching`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.client.timers import Timers
from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.grammar import parse_number
from msrpconf.protocols.sip.headers import NameAddr, Parameterized
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import ServerTransaction, new_call_id, new_tag
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.protocols.xml import XmlError

EXPIRES = 3600
"""Seconds that a subscription is asked for; it is refreshed before they are over."""

LONGEST = 86400
"""Seconds that a subscription is asked for at most, whatever Min-Expires says."""

REFRESH = 0.8
"""What part of the granted time passes before a refresh."""

SHORTEST = 5.0
"""Seconds between two refreshes, whatever the server grants, and however often something misses."""

NOTIFY_TIMEOUT = 32.0
"""Seconds that a NOTIFY may take after a SUBSCRIBE (timer N, RFC 6665 §4.1.2)."""

LAST_WORD = 2.0
"""Seconds that the last NOTIFY may take after we have unsubscribed."""


class Subscriber(Protocol):
    """What a subscription needs of a `UserAgent`."""

    user: str
    display_name: str | None
    clock: IReactorTime
    subscriptions: dict[str, Subscription]
    """By their Call-IDs: whose requests come."""

    def locate_proxy(self, uri: SipURI) -> Deferred[list[Address]]:
        """Where requests for `uri` go first."""

    def contact_towards(self, address: Address, *, sips: bool = False) -> Deferred[str]:
        """The value of our Contact for who is at an address."""

    def send_to(self, request: Request, address: Address) -> Deferred[Response]:
        """Send a request that begins a dialog."""

    def send_in_dialog(self, request: Request, flow: Flow | None) -> Deferred[Response]:
        """Send a request of a dialog's."""


@frozen
class Over:
    """Why a subscription is over.

    `status` is that of who refused, `reason` is for people. `terminated` is the reason that the
    room gives in Subscription-State, if it was the room who ended it. Another one is to be made
    after `pause` seconds at the earliest.
    """

    status: int
    reason: str
    terminated: str | None = None
    pause: float = 0.0


OnNotify = Callable[[str, bytes], None]
"""Told of a NOTIFY: the word of Subscription-State, and the document, if there is one.

Raises `XmlError` for a document that cannot be read.
"""


class Subscription:
    """A subscription to the room at the URI `room`, which is reached at `via`, if that is given.

    It is to the event package `package`, whose documents have the media type `accept`.
    `on_notify` is told of what comes, `on_over` once that it is over, unless it was stopped.
    """

    log = Logger()

    def __init__(
        self,
        agent: Subscriber,
        room: SipURI,
        via: Address | None,
        package: str,
        accept: str,
        on_notify: OnNotify,
        on_over: Callable[[Over], None],
    ) -> None:
        self.call_id, self.tag = new_call_id(), new_tag()
        self.over = False
        self._agent = agent
        self._room = room
        self._via = via
        self._package, self._accept = package, accept
        self._on_notify, self._on_over = on_notify, on_over
        self._dialog: Dialog | None = None
        self._flow: Flow | None = None
        self._contact = ""
        self._cseq = 0
        self._expires = EXPIRES
        self._asking = False
        self._ask_again = False
        self._asked_at = float("-inf")
        self._was_told = False
        self._stopped: Deferred[None] | None = None
        self._timers = Timers(agent.clock)

    def begin(self) -> None:
        """Subscribe."""
        self._agent.subscriptions[self.call_id] = self
        self._ask()

    def refresh(self) -> None:
        """Ask for everything again, which is not done too often."""
        ahead = self._asked_at + SHORTEST - self._agent.clock.seconds()
        if self._asking or "refresh soon" in self._timers:
            return
        if ahead > 0:
            self._timers.set("refresh soon", ahead, self._ask)
        else:
            self._ask()

    def stop(self) -> Deferred[None]:
        """Unsubscribe; done when the room has answered, or will not."""
        if self.over:
            return succeed(None)
        if self._stopped is None:
            self._stopped = Deferred()
            self._timers.stop()
            self._ask()
        done: Deferred[None] = Deferred()
        self._stopped.chainDeferred(done)
        return done

    # SUBSCRIBE.

    def _ask(self) -> None:
        """Send a SUBSCRIBE, to begin, to be told everything again, or to end it: one at a time."""
        if self._asking:
            self._ask_again = True
            return
        self._asking = True
        self._timers.cancel("refresh", "refresh soon")
        self._subscribe(self._expires if self._stopped is None else 0).addErrback(
            lambda failure: self.log.failure("a SUBSCRIBE could not be sent", failure)
        )

    @inlineCallbacks
    def _subscribe(self, expires: int) -> Generator[Deferred[Any], Any, None]:
        agent = self._agent
        self._asked_at = agent.clock.seconds()
        self._was_told = False
        if self._dialog is not None:
            self._dialog, request = self._dialog.request("SUBSCRIBE", self._headers(expires))
            response: Response = yield agent.send_in_dialog(request, self._flow)
        else:
            try:
                address = self._via or (yield agent.locate_proxy(self._room))[0]
                sips = self._room.scheme == "sips"
                self._contact = yield agent.contact_towards(address, sips=sips)
            except (LocateError, TransportError, CannotListenError) as error:
                self._end(Over(503, str(error)))
                return
            request = self._first(expires)
            response = yield agent.send_to(request, address)
        self._answered(expires, request, response)

    def _first(self, expires: int) -> Request:
        self._cseq += 1
        user = NameAddr(parse_uri(self._agent.user), self._agent.display_name)
        headers = [
            ("From", str(user.with_tag(self.tag))),
            ("To", f"<{self._room.aor}>"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._cseq} SUBSCRIBE"),
            *self._headers(expires),
        ]
        return Request("SUBSCRIBE", self._room, Headers(headers))

    def _headers(self, expires: int) -> tuple[tuple[str, str], ...]:
        return (
            ("Contact", self._contact),
            ("Event", self._package),
            ("Accept", self._accept),
            ("Expires", str(expires)),
        )

    def _answered(self, expires: int, request: Request, response: Response) -> None:
        """What came of a SUBSCRIBE."""
        self._asking = False
        again, self._ask_again = self._ask_again, False
        if self.over:
            return
        self._count(response.cseq.number)
        if response.status < 300:
            self._granted(request, response, expires)
        elif response.status == 423 and self._longer(response):
            again = True
        else:
            pause = seconds_of(response.headers.get("Retry-After"))
            self._end(Over(response.status, response.reason, pause=pause))
        if again and not self.over:
            self._ask()

    def _count(self, number: int) -> None:
        """A request that went again with a password counts, too."""
        self._cseq = max(self._cseq, number)
        if self._dialog is not None:
            number = max(self._dialog.local_cseq, number)
            self._dialog = evolve(self._dialog, local_cseq=number)

    def _granted(self, request: Request, response: Response, expires: int) -> None:
        try:
            if self._dialog is None:
                dialog = Dialog.from_response(request, response)
                self._dialog = evolve(dialog, local_cseq=self._cseq)
            else:
                self._dialog = self._dialog.refresh_target(response)
            granted = expires if response.expires is None else min(response.expires, expires)
        except SipSyntaxError as error:
            self._end(Over(502, f"the answer cannot be used: {error}"))
            return
        if expires == 0:
            self._timers.set("last word", LAST_WORD, self._end, Over(200, "unsubscribed"))
            return
        self._timers.set("refresh", max(SHORTEST, REFRESH * granted), self._ask)
        if not self._was_told:
            silence = Over(408, "the room has agreed, and tells nothing")
            self._timers.set("silence", NOTIFY_TIMEOUT, self._end, silence)

    def _longer(self, response: Response) -> bool:
        """Whether it may be granted if it is asked for longer (RFC 6665 §4.1.2.1)."""
        least = seconds_of(response.headers.get("Min-Expires"))
        if not self._expires < least <= LONGEST:
            return False
        self._expires = int(least)
        return True

    # NOTIFY.

    def received(self, transaction: ServerTransaction) -> None:
        """Answer a request of the dialog, and hear what it tells."""
        request = transaction.request
        # Where a proxy has forked the SUBSCRIBE, the first to tell something is who tells.
        known = self._dialog is None or self._dialog.remote_tag == request.from_.tag
        if request.to.tag != self.tag or not known:
            transaction.answer(481, "There is no such subscription here")
            return
        if request.method != "NOTIFY":
            transaction.answer(405, headers=(("Allow", "NOTIFY"),))
            return
        try:
            event = request.event
            if event is None or event.value.lower() != self._package:
                transaction.answer(489, headers=(("Allow-Events", self._package),))
                return
            content_type = request.content_type
            if request.body and (content_type is None or content_type.essence != self._accept):
                transaction.answer(415, headers=(("Accept", self._accept),))
                return
            state = Parameterized.parse(request.headers.get("Subscription-State") or "")
            dialog = self._accepted(request)
        except SipSyntaxError as error:
            transaction.answer(400, str(error))
            return
        except OutOfOrder as error:
            transaction.answer(500, str(error))
            return
        self._take(transaction, dialog, state)

    def _accepted(self, request: Request) -> Dialog:
        dialog = self._dialog
        if dialog is None:
            # It has overtaken the answer to the SUBSCRIBE (RFC 6665 §4.1.2.4).
            dialog = Dialog.from_request(request, self.tag)
            dialog = evolve(dialog, local_cseq=self._cseq, remote_cseq=None)
        return dialog.accept(request).refresh_target(request)

    def _take(self, transaction: ServerTransaction, dialog: Dialog, state: Parameterized) -> None:
        word = state.value.lower()
        self._was_told = True
        self._timers.cancel("silence")
        try:
            if self._stopped is None:
                self._on_notify(word, transaction.request.body)
        except XmlError as error:
            transaction.answer(400, str(error))
            # Who gets that answer ends the subscription (RFC 6665 §4.2.2).
            self._end(Over(400, str(error)))
            return
        transaction.answer(200)
        self._dialog, self._flow = dialog, transaction.flow
        if word == "terminated":
            reason = (state.parameter("reason") or "").lower()
            pause = seconds_of(state.parameter("retry-after"))
            why = f"the room has ended the subscription: {reason or 'it does not say why'}"
            self._end(Over(480, why, reason, pause))
        else:
            self._shorten(state.parameter("expires"))

    def _shorten(self, expires: str | None) -> None:
        """The subscription may be over sooner than was granted."""
        ahead = self._timers.ahead("refresh")
        if expires is not None and ahead is not None:
            seconds = max(SHORTEST, REFRESH * seconds_of(expires))
            if seconds < ahead:
                self._timers.set("refresh", seconds, self._ask)

    def _end(self, over: Over) -> None:
        if self.over:
            return
        self.over = True
        self._timers.stop()
        self._agent.subscriptions.pop(self.call_id, None)
        if self._stopped is not None:
            self._stopped.callback(None)
        else:
            self._on_over(over)


def seconds_of(text: str | None) -> float:
    """A number of seconds, as in Retry-After and in parameters; 0 where there is none."""
    try:
        return parse_number((text or "").partition(";")[0].partition("(")[0].strip(), 2**32 - 1)
    except SipSyntaxError:
        return 0.0
