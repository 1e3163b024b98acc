"""Session timers: a dialog that nobody refreshes ends (RFC 4028).

    client                                server
      |--INVITE, Session-Expires: 1800----->|
      |<--200, Session-Expires: 1800--------|   ;refresher=uac: the client does it
      |--UPDATE----------------------------->|   before half of that is over
      |              ... nothing ...        |
      |<--BYE-------------------------------|   before all of it is over

Who refreshes is the client's choice; it does it itself where it knows session timers and says
nothing. One that does not know them is sent an UPDATE by us, if it takes that, and is there as
long as it answers, whatever it says. Who has vanished without a word is found so also where MSRP
cannot tell, and every proxy on the way knows when to forget the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.conference.decision import Denied
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import parse_number
from msrpconf.protocols.sip.headers import Parameterized, Reason
from msrpconf.protocols.sip.message import Message, Request, Response

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant

MIN_SE = 90
"""Seconds that a session must be good for at least (RFC 4028 §5)."""

MAX_SE = 86_400
"""Seconds beyond which no peer makes us wait."""

AGAIN = 10.0
"""Seconds after which a refresh that came to nothing is tried again."""

EXTENSION = "timer"

Send = Callable[[Request], "Deferred[Response]"]
"""Has the focus send a request."""


@frozen
class Wish:
    """What a message says of session timers.

    `interval` in seconds and `refresher` (``uac`` or ``uas``) are those of Session-Expires,
    `minimum` is Min-SE; each None where it does not say. `supported` is whether its sender knows
    session timers, `updates` whether it takes UPDATE.
    """

    supported: bool = False
    interval: int | None = None
    refresher: str | None = None
    minimum: int = MIN_SE
    updates: bool = False

    @classmethod
    def of(cls, message: Message) -> Wish:
        """Raises `SipSyntaxError`, whose reason begins with the header's name."""
        tags = (*message.option_tags("Supported"), *message.option_tags("Require"))
        interval = refresher = None
        value = message.headers.get("Session-Expires")
        try:
            if value is not None:
                parsed = Parameterized.parse(value)
                interval = parse_number(parsed.value, 2**32 - 1)
                refresher = (parsed.parameter("refresher") or "").lower()
            minimum = message.headers.get("Min-SE")
            shortest = 0 if minimum is None else _seconds(minimum)
        except SipSyntaxError as error:
            raise SipSyntaxError(f"Session-Expires or Min-SE: {error.reason}") from None
        return cls(
            EXTENSION in {each.lower() for each in tags},
            interval,
            refresher if refresher in ("uac", "uas") else None,
            max(MIN_SE, shortest),
            "UPDATE" in {each.upper() for each in message.option_tags("Allow")},
        )


@define(eq=False)
class SessionTimer:
    """The timer of one dialog: after how many seconds it ends, and who refreshes it."""

    interval: float
    ours: bool
    """Whether we refresh."""
    supported: bool
    updates: bool
    """Whether the client takes UPDATE, and else a new INVITE."""
    expires: float
    """When it is over, by the clock."""
    call: IDelayedCall | None = field(default=None, repr=False)

    def stop(self) -> None:
        """Wait for nothing any more."""
        call, self.call = self.call, None
        if call is not None and call.active():
            call.cancel()


class SessionTimers:
    """The session timers of a server's participants.

    `settings` gives the settings of the moment, `send` has the focus send a request, `end` drops
    somebody with a reason. `describe` gives the description that a new INVITE has, and
    `answered` takes the response to it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: Callable[[], ServerSettings],
        send: Send,
        end: Callable[[Participant, Reason], object],
        describe: Callable[[Participant], tuple[str, bytes]],
        answered: Callable[[Participant, Response], None],
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._send = send
        self._end = end
        self._describe = describe
        self._answered = answered

    def refusal(self, request: Request) -> Denied | None:
        """Why an INVITE or UPDATE is refused for its session timer; None where it is not (§9)."""
        try:
            wish = Wish.of(request)
        except SipSyntaxError as error:
            return Denied(400, error.reason)
        if wish.supported and wish.interval is not None and wish.interval < MIN_SE:
            why = f"A session of {wish.interval} s is too short: {MIN_SE} s at least"
            return Denied(422, why, (("Min-SE", str(MIN_SE)),))
        return None

    def accept(self, participant: Participant, request: Request, response: Response) -> Response:
        """Say in the 2xx to an INVITE or UPDATE what holds from now on, and hold to it (§9)."""
        wish = Wish.of(request)
        before, participant.session_timer = participant.session_timer, None
        updates = wish.updates
        if before is not None:
            before.stop()
            updates = updates if "Allow" in request.headers else before.updates
        asked = wish.interval if wish.interval is None or wish.interval >= MIN_SE else None
        ours = self._settings().session_expires
        if not ours and asked is None:
            return response
        if asked is None and not wish.supported and not updates:
            # A new INVITE just to see who is there: simple clients make more of it than that.
            return response
        interval = max(min(asked or MAX_SE, ours or MAX_SE), min(wish.minimum, MAX_SE))
        refresher = "uas" if not wish.supported else wish.refresher or "uac"
        response.headers.set("Session-Expires", f"{int(interval)};refresher={refresher}")
        if wish.supported:
            response.headers.add("Require", EXTENSION)
        self._begin(participant, interval, refresher == "uas", wish.supported, updates)
        return response

    def offered(self, interval: float, ours: bool) -> tuple[str, str]:
        """The header of an INVITE of ours that goes on with a timer of another server's."""
        return "Session-Expires", f"{int(interval)};refresher={'uac' if ours else 'uas'}"

    def take_up(
        self,
        participant: Participant,
        interval: float,
        kind: tuple[bool, bool, bool],
        answer: Response,
    ) -> None:
        """Go on with it, as the 2xx to that INVITE says; `kind` is ours, supported, updates."""
        ours, supported, updates = kind
        try:
            wish = Wish.of(answer)
        except SipSyntaxError:
            wish = Wish()
        interval = min(max(wish.interval or interval, MIN_SE), MAX_SE)
        if wish.interval is None:
            ours = True  # it does not know them, or not any more
        elif wish.refresher is not None:
            ours = wish.refresher == "uac"
        self._begin(participant, interval, ours, supported, updates)

    def _begin(
        self,
        participant: Participant,
        interval: float,
        ours: bool,
        supported: bool,
        updates: bool,
    ) -> None:
        expires = self._clock.seconds() + interval
        timer = SessionTimer(interval, ours, supported, updates, expires)
        participant.session_timer = timer
        if ours:
            timer.call = self._clock.callLater(interval / 2, self._refresh, participant, timer)
        else:
            wait = interval - min(32.0, interval / 3)
            timer.call = self._clock.callLater(wait, self._over, participant, timer)

    def _over(self, participant: Participant, timer: SessionTimer) -> None:
        timer.call = None
        why = f"The session was not refreshed within {timer.interval:g} s"
        self._end(participant, Reason("SIP", 408, why))

    def _refresh(self, participant: Participant, timer: SessionTimer) -> None:
        """Refresh it, by UPDATE if the client takes that (§7.4, §10)."""
        timer.call = None
        negotiation = participant.negotiation
        if negotiation.unacknowledged is not None or negotiation.awaiting_answer:
            self._retry(participant, timer)  # the ACK first
            return
        method = "UPDATE" if timer.updates else "INVITE"
        headers = [
            ("Session-Expires", f"{int(timer.interval)};refresher=uac"),
            ("Min-SE", str(MIN_SE)),
            ("Contact", f"<{participant.contact}>"),
        ]
        body = b""
        if method == "INVITE":
            content_type, body = self._describe(participant)
            headers.append(("Content-Type", content_type))
        participant.dialog, request = participant.dialog.request(method, headers, body)
        if participant.flow:
            request.headers.set(FLOW, participant.flow)
        participant.negotiation.offered = method == "INVITE"
        self._send(request).addCallbacks(
            self._refreshed,
            self._not_sent,
            callbackArgs=(participant, timer),
            errbackArgs=(participant, timer),
        )

    def _refreshed(self, response: Response, participant: Participant, timer: SessionTimer) -> None:
        participant.negotiation.offered = False
        if participant.session_timer is not timer:
            return  # it has left, or refreshed by itself meanwhile
        if 200 <= response.status < 300:
            participant.dialog = participant.dialog.refresh_target(response)
            if response.cseq.method == "INVITE":
                self._answered(participant, response)
            self._renew(participant, timer, response)
        elif response.status == 481:
            self._end(participant, Reason("SIP", 481, "Your client knows nothing of the session"))
        elif response.status == 422:
            self._lengthen(participant, timer, response)
        elif response.status in (408, 491, 500, 503) or timer.supported:
            self._retry(participant, timer)
        else:
            # It does not do that, but it is there.
            self._begin(participant, timer.interval, True, timer.supported, timer.updates)

    def _renew(self, participant: Participant, timer: SessionTimer, response: Response) -> None:
        try:
            wish = Wish.of(response)
        except SipSyntaxError:
            wish = Wish()
        interval = min(max(wish.interval or timer.interval, MIN_SE), MAX_SE)
        # Ours was the request: the client is the user agent server here.
        ours = wish.interval is None or wish.refresher != "uas"
        self._begin(participant, interval, ours, timer.supported, timer.updates)

    def _lengthen(self, participant: Participant, timer: SessionTimer, response: Response) -> None:
        """Somebody on the way wants longer sessions: ask again at once, but once (§7.3)."""
        try:
            minimum = Wish.of(response).minimum
        except SipSyntaxError:
            minimum = 0
        if timer.interval < minimum <= MAX_SE:
            timer.interval = minimum
            self._refresh(participant, timer)
        else:
            self._retry(participant, timer)

    def _not_sent(self, _: Failure, participant: Participant, timer: SessionTimer) -> None:
        participant.negotiation.offered = False
        if participant.session_timer is timer:
            self._retry(participant, timer)

    def _retry(self, participant: Participant, timer: SessionTimer) -> None:
        left = timer.expires - self._clock.seconds()
        if left <= AGAIN:
            self._over(participant, timer)
        else:
            timer.call = self._clock.callLater(AGAIN, self._refresh, participant, timer)


def _seconds(value: str) -> int:
    return parse_number(Parameterized.parse(value).value, 2**32 - 1)
