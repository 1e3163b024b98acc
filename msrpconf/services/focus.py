"""msrp-conference-focus: the SIP user agent of every room (RFC 4579, design: the way of an INVITE).

The focus knows transactions and nothing else. A request that passes its checks
goes over the channel to the server that keeps the rooms, and what the server
answers goes back as a SIP response. What the server wants sent comes as a request
on the channel, is given what belongs to the hop, and its final response goes back
on the channel. A 200 to INVITE is repeated until its ACK, which is all that the
focus remembers of a call; kill it, start it again, and nobody in a room notices.

    client --INVITE--> focus --channel--> server      (checks on the way in)
    client <--200----- focus <-channel--- server      (repeated until the ACK)
    client --ACK-----> focus --channel--> server
    client <--BYE----- focus <-channel--- server      (a client transaction)
"""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.control import CONFERENCE, FLOW
from msrpconf.conference.decision import Denied
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.flow import Flow, bracket
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.timers import Alarm, AlarmClock, Timers
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.focus_checks import (
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    ALLOW,
    METHODS,
    ROOM_DOMAIN,
    FocusSettings,
    check_body,
    check_extensions,
    check_method,
    check_source,
    conference_uri,
)
from msrpconf.services.focus_sending import RequestSender

RETRY_AFTER = ("Retry-After", "10")

_HOP_HEADERS = ("Via", "Max-Forwards", "Content-Length", "Authorization", "Proxy-Authorization")
_DIALOG_HEADERS = frozenset({"via", "from", "to", "call-id", "cseq", "content-length"})


@define(eq=False)
class _Unacknowledged:
    """A 2xx to INVITE that is repeated until its ACK comes (RFC 3261 §13.3.1.4)."""

    transaction: ServerTransaction
    response: Response
    interval: float
    waited: float = 0.0
    alarm: Alarm | None = None


CallKey = tuple[str, str, str, int]
"""Call-ID, our tag, the peer's tag, and the INVITE's CSeq."""


class Focus:
    """The user agent of all rooms, over one transaction layer.

    `channel` leads to the server (or the dispatcher), `sender` sends what comes from
    there; both are set before the first request. The layer calls
    `request_received` and `ack_received`. `settings.contact` says which URI our
    Contact has: ``conference`` is the room's own, ``address`` is our address with
    the room's name, and ``auto`` the former where a proxy stays in the path
    (Record-Route) and the latter where nobody else would find us.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: FocusSettings,
        timers: Timers | None = None,
    ) -> None:
        self.settings = settings
        self.channel: Channel | None = None
        self.sender: RequestSender
        self.closing = False
        self._timers = Timers() if timers is None else timers
        self._alarms = AlarmClock(clock)
        self._unacknowledged: dict[CallKey, _Unacknowledged] = {}
        # INVITEs in a dialog that the server has not answered yet (RFC 3261 §14.2).
        self._renegotiating: set[tuple[str, str, str]] = set()

    # From clients.

    def request_received(self, transaction: ServerTransaction) -> None:
        """Serve a request that is not an ACK."""
        request = transaction.request
        if request.method == "CANCEL":
            self._cancel(transaction)
            return
        denied = self._check(transaction)
        room = None
        if denied is None and request.to.tag is None:
            found = conference_uri(request, self.settings)
            if isinstance(found, Denied):
                denied = found
            else:
                room = found
        if denied is not None:
            self._refuse(transaction, denied)
            return
        dialog = (request.call_id, request.to.tag or "", request.from_.tag or "")
        if request.method == "INVITE" and dialog[1]:
            if dialog in self._renegotiating:
                denied = Denied(
                    500, "An INVITE of this dialog is still being answered", (("Retry-After", "3"),)
                )
                self._refuse(transaction, denied)
                return
            self._renegotiating.add(dialog)
        answer = self._ask(self._for_server(transaction, room))
        answer.addCallback(self._answered, transaction, room)
        answer.addErrback(self._failed, transaction)
        answer.addBoth(lambda _: self._renegotiating.discard(dialog))

    def ack_received(self, request: Request, flow: Flow) -> None:
        """Serve the ACK for a 2xx: stop repeating that, and tell the server."""
        if check_source(flow.remote[0], self.settings) is not None:
            return
        key = (
            request.call_id,
            request.to.tag or "",
            request.from_.tag or "",
            request.cseq.number,
        )
        self._forget(key)
        told = self._ask(_for_channel(request))
        told.addErrback(
            lambda failure: self.log.warn(
                "ACK could not be passed on: {error} (Call-ID {call_id})",
                error=failure.getErrorMessage(),
                call_id=request.call_id,
            )
        )

    def _check(self, transaction: ServerTransaction) -> Denied | None:
        """Why a request does not get to the server; None where it does."""
        request = transaction.request
        if self.closing:
            return Denied(503, "This focus is shutting down: try another", (RETRY_AFTER,))
        denied = (
            check_source(transaction.flow.remote[0], self.settings)
            or check_method(request)
            or check_extensions(request, self.settings)
            or check_body(request)
        )
        if denied is not None or request.to.tag is not None:
            return denied
        if request.method in {"BYE", "UPDATE"}:
            return Denied(481, f"{request.method} outside a dialog")
        if request.method == "INVITE" and len(request.contacts) != 1:
            return Denied(400, "An INVITE needs one Contact (RFC 3261 §8.1.1.8)")
        return None

    def _for_server(self, transaction: ServerTransaction, room: SipURI | None) -> Request:
        request = _for_channel(transaction.request)
        if len(transaction.request.vias) == 1:
            # Straight from the client: what we send later goes back the same way,
            # which may be the only one (RFC 5626 §3.3). Behind a proxy the Route
            # set says where to go.
            request.headers.add(FLOW, str(transaction.flow))
        if room is not None:
            request.headers.add(CONFERENCE, str(room))
        return request

    def _ask(self, request: Request) -> Deferred[Response]:
        if self.channel is None:
            return succeed(Response(503, "No server is connected to this focus"))
        return self.channel.request(request)

    def _cancel(self, transaction: ServerTransaction) -> None:
        """End an INVITE that has no final response yet (RFC 3261 §9.2)."""
        invite = transaction.cancelled
        if invite is None:
            self._refuse(transaction, Denied(481, "There is no such INVITE to cancel"))
            return
        transaction.answer(200)
        if invite.answered:
            return
        invite.answer(487)
        self._log_refusal(invite.request, 487, "cancelled by the caller")
        cancel = _for_channel(transaction.request)
        self._ask(cancel).addErrback(lambda _: None)

    def _answered(
        self, answer: Response, transaction: ServerTransaction, room: SipURI | None
    ) -> None:
        """Send what the server says, with what belongs to the hop."""
        request = transaction.request
        if transaction.answered:
            return  # cancelled meanwhile
        response = request.response(
            answer.status, answer.reason, body=answer.body, to_tag=answer.to.tag or transaction.tag
        )
        headers = response.headers
        for name, value in answer.headers:
            if name.lower() not in _DIALOG_HEADERS:
                headers.add(name, value)
        if 200 <= answer.status < 300 and request.method in {"INVITE", "UPDATE", "OPTIONS"}:
            headers.add("Contact", self._contact(transaction, room))
            if request.method == "INVITE":
                for value in request.headers.get_all("Record-Route"):
                    headers.add("Record-Route", value)
        if request.method in {"INVITE", "OPTIONS"}:
            headers.add(*ALLOW)
            headers.add("Supported", "")
        if request.method == "OPTIONS":
            for header in (ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE):
                headers.add(*header)
        transaction.respond(response)
        if request.method == "INVITE" and 200 <= answer.status < 300:
            self._repeat_until_ack(transaction, response)

    def _contact(self, transaction: ServerTransaction, room: SipURI | None) -> str:
        """Our Contact, with the features of a focus (RFC 7701 §9.1, RFC 3840, RFC 4579 §5.1)."""
        request, flow = transaction.request, transaction.flow
        form = self.settings.contact
        if room is None:
            target = str(request.uri)  # in a dialog: what the client reaches us by already
        elif form == "conference" or (form == "auto" and "Record-Route" in request.headers):
            target = str(room)
        else:
            target = str(self._address_of(room, flow))
        methods = ",".join(METHODS)
        return f'<{target}>;methods="{methods}";automata;isfocus;message'

    def _address_of(self, room: SipURI, flow: Flow) -> SipURI:
        """The room at our own address, its domain kept where the address does not say it."""
        here = self.sender.local_address(flow)
        parameters: list[tuple[str, str | None]] = []
        if flow.transport != "udp":
            parameters.append(("transport", flow.transport))
        if room.host != bracket(here.host):
            parameters.append((ROOM_DOMAIN, room.host))
        return SipURI("sip", room.user, None, bracket(here.host), here.port, tuple(parameters))

    # The 2xx to INVITE.

    def _repeat_until_ack(self, transaction: ServerTransaction, response: Response) -> None:
        request = transaction.request
        key = (request.call_id, response.to.tag or "", request.from_.tag or "", request.cseq.number)
        entry = _Unacknowledged(transaction, response, self._timers.t1)
        self._unacknowledged[key] = entry
        entry.alarm = self._alarms.set(entry.interval, lambda: self._repeat(key, entry))

    def _repeat(self, key: CallKey, entry: _Unacknowledged) -> None:
        entry.waited += entry.interval
        if entry.waited >= self._timers.timeout:
            self._forget(key)
            return
        entry.transaction.respond(entry.response)
        entry.interval = min(2 * entry.interval, self._timers.t2)
        entry.alarm = self._alarms.set(entry.interval, lambda: self._repeat(key, entry))

    def _forget(self, key: CallKey) -> None:
        entry = self._unacknowledged.pop(key, None)
        if entry is not None and entry.alarm is not None:
            entry.alarm.cancel()

    # Refusals.

    def _refuse(self, transaction: ServerTransaction, denied: Denied) -> None:
        transaction.answer(denied.status, denied.reason, headers=denied.headers)
        self._log_refusal(transaction.request, denied.status, denied.reason)

    def _failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        """The channel gave no answer."""
        self.log.failure("no answer from the server", failure)
        if not transaction.answered:
            denied = Denied(503, "The conference server does not answer: try again", (RETRY_AFTER,))
            self._refuse(transaction, denied)

    def _log_refusal(self, request: Request, status: int, reason: str) -> None:
        self.log.info(
            "refused: {method} of {user} to {uri}: {status} {reason} (Call-ID {call_id})",
            method=request.method,
            user=request.from_.uri,
            uri=request.uri,
            status=status,
            reason=reason,
            call_id=request.call_id,
        )

    # From the server.

    def handle(self, request: Request) -> Deferred[Response]:
        """Send a request of the server's; give its final response."""
        if request.method == "BYE":
            self._stop_repeating(request)
        token = request.headers.get(FLOW)
        request.headers.remove(FLOW)
        flow: Flow | None = None
        if token is not None and "Route" not in request.headers:
            try:
                flow = Flow.parse(token)
            except ValueError:
                self.log.warn("the server named a flow that is none: {token}", token=token)
        return self.sender.send(request, flow)

    def _stop_repeating(self, bye: Request) -> None:
        """A call that has ended needs no 2xx any more."""
        ended = (bye.call_id, bye.from_.tag or "", bye.to.tag or "")
        for key in [key for key in self._unacknowledged if key[:3] == ended]:
            self._forget(key)

    def stop(self) -> None:
        """Forget everything; nothing is sent any more."""
        self._alarms.stop()
        self._unacknowledged.clear()


def _for_channel(request: Request) -> Request:
    """A client's request without what belongs to its hop, or to us alone."""
    copy = request.copy()
    for name in (*_HOP_HEADERS, FLOW, CONFERENCE):
        copy.headers.remove(name)
    return copy
