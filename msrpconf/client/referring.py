"""REFERs that one sends in a room: to remove somebody, to invite somebody (RFC 4579 §5.5, §5.11).

    client --REFER, Refer-To: <sip:bob@example.com;method=BYE>--> focus
    client <--202------------------------------------------------ focus
    client <--NOTIFY, message/sipfrag: SIP/2.0 200 OK------------ focus

The NOTIFYs belong to the subscription that the REFER makes (RFC 3515); they come in the chat's
own dialog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.headers import NameAddr, Parameterized
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import OtherURI, SipURI, parse_uri
from msrpconf.protocols.sipfrag import SIPFRAG, Fragment

OUTCOME_TIMEOUT = 240.0
"""Seconds that what comes of a REFER may take; rooms give an invitee 180."""


class ReferError(Exception):
    """What was asked of a room did not come about: a SIP `status`, and a `reason`."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Referrer(Protocol):
    """Whose dialog the REFERs go in. `contact` is the value of our Contact."""

    dialog: Dialog | None
    flow: Flow | None
    contact: str
    user: str


class Referrals:
    """The REFERs of one dialog; `send` sends a request in it and gives its final response."""

    def __init__(
        self,
        referrer: Referrer,
        clock: IReactorTime,
        send: Callable[[Request, Flow | None], Deferred[Response]],
    ) -> None:
        self._referrer = referrer
        self._clock = clock
        self._send = send
        self._first: int | None = None
        self._open: dict[int, _Referral] = {}

    def refer(self, uri: str, method: str) -> Deferred[Fragment]:
        """Ask for `method` to the user at `uri`; done with the final status, a 2xx.

        Fails with `ReferError`.
        """
        referrer = self._referrer
        try:
            refer_to = _refer_to(uri, method)
        except SipSyntaxError as error:
            return _failed(416, f"no user's address: {error}")
        if referrer.dialog is None:
            return _failed(481, "you are not in the room")
        headers = (
            ("Refer-To", refer_to),
            ("Referred-By", f"<{referrer.user}>"),
            ("Contact", referrer.contact),
        )
        referrer.dialog, request = referrer.dialog.request("REFER", headers)
        number = request.cseq.number
        self._first = self._first or number
        referral = self._open[number] = _Referral(self, number, self._clock)
        self._send(request, referrer.flow).addCallback(referral.answered)
        return referral.outcome

    def notify(self, transaction: ServerTransaction) -> None:
        """Answer a NOTIFY of the dialog, and hear what it says (RFC 3515 §2.4.4)."""
        request, referrer = transaction.request, self._referrer
        try:
            event = request.event
            if event is None or event.value.lower() != "refer":
                headers = (("Allow-Events", "refer"),)
                transaction.answer(
                    489, "Only the event package refer is known here", headers=headers
                )
                return
            referral = self._meant(event)
            if referral is None or referrer.dialog is None:
                transaction.answer(481, "No such subscription here: it has ended, or never was")
                return
            content_type = request.content_type
            if content_type is None or content_type.essence != SIPFRAG:
                transaction.answer(415, headers=(("Accept", SIPFRAG),))
                return
            outcome = Fragment.parse(request.body)
            state = Parameterized.parse(request.headers.get("Subscription-State") or "active").value
            referrer.dialog = referrer.dialog.accept(request)
        except SipSyntaxError as error:
            transaction.answer(400, str(error))
        except OutOfOrder as error:
            transaction.answer(500, str(error))
        else:
            # First: who is told may well leave.
            transaction.answer(200)
            referral.heard(outcome, state.lower() == "terminated")

    def forget(self, number: int) -> None:
        """A REFER has come to something."""
        self._open.pop(number, None)

    def close(self) -> None:
        """Nothing more is heard."""
        for referral in list(self._open.values()):
            referral.fail(487, "the chat has ended")

    def _meant(self, event: Parameterized) -> _Referral | None:
        """The REFER of a NOTIFY: that of its id; the first of a dialog needs none (§2.4.6)."""
        number = event.parameter("id")
        if number is None:
            return None if self._first is None else self._open.get(self._first)
        known = number.isascii() and number.isdigit() and len(number) <= 10
        return self._open.get(int(number)) if known else None


class _Referral:
    """One REFER until its outcome is known."""

    def __init__(self, referrals: Referrals, number: int, clock: IReactorTime) -> None:
        self.outcome: Deferred[Fragment] = Deferred(self._cancelled)
        self._referrals = referrals
        self._number = number
        self._timer: IDelayedCall | None = clock.callLater(
            OUTCOME_TIMEOUT, self.fail, 408, f"nothing was heard for {OUTCOME_TIMEOUT:g} s"
        )

    def answered(self, response: Response) -> None:
        """The final response to the REFER itself."""
        if response.status >= 300:
            self.fail(response.status, response.reason)
        elif (response.headers.get("Refer-Sub") or "").strip().lower() == "false":
            self._done(Fragment.of(response.status, response.reason))

    def heard(self, outcome: Fragment, is_last: bool) -> None:
        """A NOTIFY's status."""
        if outcome.final and outcome.status < 300:
            self._done(outcome)
        elif outcome.final:
            self.fail(outcome.status, outcome.reason)
        elif is_last:
            self.fail(480, "the room does not tell what became of it")

    def fail(self, status: int, reason: str) -> None:
        """It came to nothing."""
        if self._end():
            self.outcome.errback(ReferError(status, reason))

    def _done(self, outcome: Fragment) -> None:
        if self._end():
            self.outcome.callback(outcome)

    def _cancelled(self, outcome: Deferred[Fragment]) -> None:
        self._end()
        outcome.errback(CancelledError())

    def _end(self) -> bool:
        """Whether it had not ended before."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        if timer.active():
            timer.cancel()
        self._referrals.forget(self._number)
        return True


def _refer_to(uri: str, method: str) -> str:
    """The value of Refer-To. Raises `SipSyntaxError`."""
    parsed = parse_uri(uri if ":" in uri.partition("@")[0] else f"sip:{uri}")
    if isinstance(parsed, OtherURI) or (isinstance(parsed, SipURI) and not parsed.user):
        raise SipSyntaxError(f"expected sip:name@domain, got {uri[:80]!r}")
    if method == "INVITE":
        return str(NameAddr(parsed))
    if isinstance(parsed, SipURI):
        return str(NameAddr(parsed.with_parameters(("method", method))))
    return str(NameAddr(parsed, None, (("method", method),)))


def _failed(status: int, reason: str) -> Deferred[Fragment]:
    failed: Deferred[Fragment] = Deferred()
    failed.errback(ReferError(status, reason))
    return failed
