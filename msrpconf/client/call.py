"""The INVITE by which a user agent enters a room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.sdp import MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_msrp import MsrpMedia, msrp_media
from msrpconf.protocols.sip.answering import MAX_ROUNDS, credentials_of
from msrpconf.protocols.sip.client_transaction import ClientTransaction
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI, parse_uri

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent


ACTIVE_PORT = 9
"""The port in the description of who connects and does not listen (RFC 6135 §4.2.2)."""


GOODBYE = 1.0
"""Seconds that the BYE may come after the end of the MSRP connection."""


class JoinError(Exception):
    """A room was not entered: a SIP `status`, and a `reason` that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class Unreached(JoinError):
    """Nobody is at an address, or nobody who serves us now: another may do (RFC 3263 §4.3)."""


class Leg(Protocol):
    """A dialog with a room, and its MSRP session: a chat, or a file.

    `contact` is the value of our Contact there, `via` where the INVITE went.
    """

    dialog: Dialog | None
    flow: Flow | None
    contact: str
    via: Address | None

    @property
    def session(self) -> Session: ...

    def line(self, fingerprints: Sequence[Fingerprint]) -> MediaDescription:
        """The MSRP line of our offer; `fingerprints` are those of our certificate."""

    def answered(self, answer: Response) -> None:
        """The room has answered. Raises `JoinError` where that cannot be used."""

    def bind(self) -> Deferred[None]:
        """Begin on the connection; done once the room has taken it. Fails with `SendError`."""

    def request_received(self, transaction: ServerTransaction) -> None:
        """Answer a request in the dialog."""

    def leave(self) -> Deferred[None]:
        """Say goodbye; done when the room has answered, or will not."""


class Call:
    """An INVITE until its final response, and the ACKs for what comes after it.

    `answered` gives the 2xx, the dialog and the flow, or fails with `JoinError`;
    cancelling it cancels the INVITE, and ends a call that is answered all the same.
    So does `patience`, in seconds, where it passes without any response.
    """

    def __init__(
        self, agent: UserAgent, invite: Request, address: Address, patience: float | None = None
    ) -> None:
        self.answered: Deferred[tuple[Response, Dialog, Flow | None]] = Deferred(self._cancelled)
        self._agent = agent
        self._address = address
        self._dialog: Dialog | None = None
        self._given_up = False
        self._invite = invite
        self._rounds = 0
        self._timer: IDelayedCall | None = None
        if patience is not None:
            error = Unreached(408, f"{address}: has not answered for {patience:g} s")
            self._timer = agent.clock.callLater(patience, self.give_up, error)
        self._transaction = self._send(invite)

    def _send(self, invite: Request) -> ClientTransaction:
        return self._agent.layer.request(invite, self._address, on_response=self._response_received)

    def give_up(self, error: JoinError) -> None:
        """Wait for the answer no longer: `answered` fails with `error`."""
        self._cancelled(self.answered)
        if not self.answered.called:
            self.answered.errback(error)

    def _response_received(self, response: Response, flow: Flow | None) -> None:
        self._stop_timer()
        if response.status < 200:
            return
        if response.status >= 300:
            if self._goes_again(response):
                return
            if not self.answered.called and not self._given_up:
                self.answered.errback(self._refusal(response, flow))
            return
        first = self._dialog is None
        if self._dialog is None:
            try:
                self._dialog = Dialog.from_response(self._invite, response)
            except SipSyntaxError as error:
                if not self.answered.called:
                    self.answered.errback(JoinError(502, f"the room's answer is wrong: {error}"))
                return
        ack = self._dialog.ack(self._invite.cseq.number, credentials_of(self._invite))
        self._agent.send_ack(ack, flow)
        if not first:
            return
        if self._given_up:
            _, bye = self._dialog.request("BYE")
            self._agent.send_in_dialog(bye, flow)
        elif not self.answered.called:
            self.answered.callback((response, self._dialog, flow))

    def _goes_again(self, response: Response) -> bool:
        """Whether the INVITE has gone again with what the response asks for."""
        answering = self._agent.answering
        if answering is None or self._given_up or self._rounds >= MAX_ROUNDS:
            return False
        again = answering.answer(self._invite, response)
        if again is None:
            return False
        self._rounds += 1
        self._invite = again
        self._transaction = self._send(again)
        return True

    def _refusal(self, response: Response, flow: Flow | None) -> JoinError:
        if flow is None:
            # Our transaction's own: there was no response.
            error = self._transaction.error
            return Unreached(response.status, str(error or f"{self._address}: does not answer"))
        if response.status in (401, 407):
            return JoinError(response.status, self._asked(response))
        kind = Unreached if response.status == 503 else JoinError
        return kind(response.status, _why_not(response))

    def _asked(self, response: Response) -> str:
        answering = self._agent.answering
        if answering is None:
            return f"{response.reason}: a password is asked for"
        return f"{response.reason}: the password of {answering.username} is not right there"

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._given_up = True
        self._stop_timer()
        self._transaction.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def _why_not(response: Response) -> str:
    """The reason phrase, and what a Warning adds to it."""
    warning = response.headers.get("Warning")
    if warning is None or response.reason in warning:
        return response.reason
    return f"{response.reason} ({warning})"


def reason_of(request: Request) -> str | None:
    """What the Reason of a BYE says, None where it has none."""
    value = request.headers.get("Reason")
    if value is None:
        return None
    try:
        return Reason.parse(value).text
    except SipSyntaxError:
        return value


def room_uri(room: str) -> SipURI:
    """The URI of a room as people write it: ``lobby@example.com``. Raises `JoinError`."""
    try:
        uri = parse_uri(room if ":" in room.partition("@")[0] else f"sip:{room}")
    except SipSyntaxError as error:
        raise JoinError(416, f"no room's address: {error}") from None
    if not isinstance(uri, SipURI) or not uri.user:
        raise JoinError(416, f"a room's address is sip:room@domain, got {room!r}")
    return uri


def answered_media(answer: Response) -> MsrpMedia:
    """The MSRP session in an answer. Raises `JoinError` where there is none."""
    try:
        media = msrp_media(SessionDescription.parse(answer.body))
    except SdpError as error:
        raise JoinError(488, f"the room's answer is wrong: {error}") from None
    if not media:
        raise JoinError(488, "the room refused the MSRP session")
    return media[0]
