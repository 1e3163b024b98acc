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

import secrets
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.control import CONFERENCE, FLOW
from msrpconf.conference.decision import Denied
from msrpconf.protocols.channel import Channel, ChannelClosed
from msrpconf.protocols.sip.client_transaction import hop_by_hop
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.repeating import CallKey, Repeater
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.timers import AlarmClock, Timers
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.focus_authentication import ASSERTED
from msrpconf.services.focus_checks import (
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    SUPPORTED,
    FocusSettings,
    check_beginning,
    check_body,
    check_contact,
    check_extensions,
    check_method,
    check_source,
    conference_uri,
    takes_sdp,
    unreadable,
)
from msrpconf.services.focus_contact import contact_of_room, introduce
from msrpconf.services.sips import check_way_back
from msrpconf.services.user_agent import RETRY_AFTER, UserAgentServer, is_direct
from msrpconf.visible import visible

SERVER_TIMEOUT = 30.0
"""Seconds that the server may take to answer: less than a client waits (64*T1)."""

_HOP_HEADERS = ("Via", "Max-Forwards", "Content-Length", "Authorization", "Proxy-Authorization")
_BODY_HEADERS = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition")
_DIALOG_HEADERS = frozenset({"via", "from", "to", "call-id", "cseq", "content-length"})


class ServerTimeout(Exception):
    """The server has not answered in time."""


class Focus(UserAgentServer):
    """The user agent of all rooms, over one transaction layer.

    `channel` leads to the server (or the dispatcher), and `sender` sends what comes from
    there; both are set before the first request. See `UserAgentServer`.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: FocusSettings,
        timers: Timers | None = None,
    ) -> None:
        super().__init__(clock, settings)
        self.channel: Channel | None = None
        self.sender: RequestSender
        self.published: Callable[[Request], Response] | None = None
        """Takes the server's PUBLISHes, where the presence agent is in this process."""
        self._alarms = AlarmClock(clock)
        self._repeater = Repeater(self._alarms, Timers() if timers is None else timers)
        # The last offer in each dialog that the server may not have answered yet.
        self._renegotiating: dict[CallKey, ServerTransaction] = {}

    # From clients.

    def serve(self, transaction: ServerTransaction) -> None:
        """See `UserAgentServer`."""
        request = transaction.request
        if request.method == "CANCEL":
            self._cancel(transaction)
            return
        room = conference_uri(request, self.settings)
        denied = self._check(request, room)
        dialog = None
        if request.method in {"INVITE", "UPDATE"} and request.to.tag is not None:
            dialog = _call(request)
            denied = denied or self._check_pending(dialog)
        if denied is not None:
            self.refuse(transaction, denied)
            return
        known = None if isinstance(room, Denied) else room
        answer = self._ask(self._for_server(transaction, known))
        answer.addCallback(self._answered, transaction, known)
        answer.addErrback(self.failed, transaction)
        if dialog is not None:
            self._renegotiating[dialog] = transaction
            answer.addBoth(self._renegotiated, dialog, transaction)

    def ack_received(self, request: Request, flow: Flow) -> None:
        """Serve the ACK for a 2xx: stop repeating that, and tell the server."""
        if check_source(flow.remote[0], self.settings, self.identities(flow)) is not None:
            # That for a 401 has a tag that is no server's.
            if self.authentication is None or "." not in (request.to.tag or ""):
                return
            request.headers.remove(ASSERTED)
        self._repeater.acknowledged(request)
        self._ask(_for_channel(request)).addErrback(self._not_passed_on, request)

    def _check(self, request: Request, room: SipURI | Denied) -> Denied | None:
        """Why a request does not get to the server; None where it does (RFC 3261 §8.2)."""
        denied = check_method(request, self.settings)
        if denied is None and request.to.tag is None:
            # In a dialog the tags say what a request is for, and whom nobody knows by them
            # gets a 481 of the server's; what begins something must name a room of ours.
            if isinstance(room, Denied):
                denied = room
            elif self.closing:
                denied = Denied(503, "This focus is shutting down: try another", (RETRY_AFTER,))
            else:
                denied = check_beginning(request)
        return (
            denied
            or check_extensions(request, self.settings)
            or check_contact(request)
            or check_body(request)
        )

    def _check_pending(self, dialog: CallKey) -> Denied | None:
        """Whether an offer comes before the one before it is answered (§14.2, RFC 3311 §5.2)."""
        pending = self._renegotiating.get(dialog)
        if pending is None or pending.answered:
            return None
        return Denied(
            500,
            f"{pending.request.method} of this dialog is still being answered: try again",
            (("Retry-After", str(secrets.randbelow(11))),),
        )

    def _renegotiated(self, _: object, dialog: CallKey, transaction: ServerTransaction) -> None:
        if self._renegotiating.get(dialog) is transaction:
            del self._renegotiating[dialog]

    def _for_server(self, transaction: ServerTransaction, room: SipURI | None) -> Request:
        request = _for_channel(transaction.request)
        if unreadable(request) is not None:
            # Let through because nobody needs to read it: so nobody shall.
            request.body = b""
            request.headers.remove(*_BODY_HEADERS)
        if is_direct(transaction):
            request.headers.add(FLOW, str(transaction.flow))
        if room is not None:
            request.headers.add(CONFERENCE, str(room))
        return request

    def _ask(self, request: Request) -> Deferred[Response]:
        if self.channel is None:
            return fail(ChannelClosed("no server is connected to this focus"))
        answer = self.channel.request(request)
        alarm = self._alarms.set(SERVER_TIMEOUT, answer.cancel)

        def ended(result: Response | Failure) -> Response | Failure:
            alarm.cancel()
            if isinstance(result, Failure) and result.check(CancelledError):
                raise ServerTimeout(f"the server has not answered for {SERVER_TIMEOUT:g} s")
            return result

        return answer.addBoth(ended)

    def _cancel(self, transaction: ServerTransaction) -> None:
        """End an INVITE that has no final response yet (RFC 3261 §9.2)."""
        invite = transaction.cancelled
        if invite is None:
            self.refuse(transaction, Denied(481, "There is no such INVITE to cancel"))
            return
        transaction.answer(200)
        if invite.answered:
            return
        invite.answer(487)
        self.log_refusal(invite.request, 487, "cancelled by the caller")
        self._take_back(transaction.request)

    def _take_back(self, cancel: Request) -> None:
        """Tell the server of an INVITE that it may still accept, and that nobody waits for.

        The CANCEL arrives after the INVITE, however long that takes to be answered: whom the
        INVITE has let in is sent out again.
        """
        cancel = _for_channel(cancel)
        self._ask(cancel).addErrback(self._not_passed_on, cancel)

    def _answered(
        self, answer: Response, transaction: ServerTransaction, room: SipURI | None
    ) -> None:
        """Send what the server says, with what belongs to the hop."""
        request = transaction.request
        accepted = 200 <= answer.status < 300
        if request.method == "BYE" and (accepted or answer.status == 481):
            self._repeater.ended(_call(request))
        if transaction.answered:
            return  # cancelled meanwhile
        if answer.to.tag is not None:
            transaction.tag = answer.to.tag  # for the response to a CANCEL, too
        response = request.response(
            answer.status, answer.reason, body=answer.body, to_tag=transaction.tag
        )
        headers = response.headers
        for name, value in answer.headers:
            if name.lower() not in _DIALOG_HEADERS:
                headers.add(name, value)
        if request.method == "OPTIONS":
            for header in (ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE):
                headers.add(*header)
            if not takes_sdp(request):
                response.body = b""
                headers.remove("Content-Type")
        if request.method in {"INVITE", "OPTIONS"}:
            headers.add(*self.settings.allow)
            headers.add(*SUPPORTED)
            headers.add(*self.settings.allow_events)
        if accepted and request.method in {"INVITE", "UPDATE", "OPTIONS", "REFER"}:
            headers.add("Contact", self.contact(transaction, room))
        if accepted and request.method in {"INVITE", "REFER"}:
            for value in request.headers.get_all("Record-Route"):
                headers.add("Record-Route", value)
        transaction.respond(response)
        if accepted and request.method == "INVITE":
            self._repeater.repeat(transaction, response)

    def contact(self, transaction: ServerTransaction, room: SipURI | None) -> str:
        """Our Contact, with the features of a focus (RFC 7701 §9.1, RFC 3840, RFC 4579 §5.1)."""
        return contact_of_room(self.target(transaction, room), self.settings.methods)

    # Refusals.

    def failed(self, failure: Failure, transaction: ServerTransaction) -> None:
        """The channel gave no answer, or none that makes a response."""
        if failure.check(ServerTimeout) is not None:
            self._overdue(transaction)
            return
        if failure.check(ChannelClosed) is None:
            self.log.failure("an answer of the server cannot be used", failure)
        if not transaction.answered:
            denied = Denied(503, "The conference server does not answer: try again", (RETRY_AFTER,))
            self.refuse(transaction, denied)

    def _overdue(self, transaction: ServerTransaction) -> None:
        """The server has not answered in time, and will be listened to no longer."""
        if transaction.answered:
            return
        why = f"The conference server has not answered for {SERVER_TIMEOUT:g} s: try again"
        self.refuse(transaction, Denied(504, why))
        if transaction.request.method == "INVITE":
            self._take_back(hop_by_hop("CANCEL", transaction.request))

    def _not_passed_on(self, failure: Failure, request: Request) -> None:
        self.log.warn(
            "{method} could not be passed on: {error} (Call-ID {call_id})",
            method=request.method,
            error=visible(failure.getErrorMessage()),
            call_id=visible(request.call_id),
        )

    # From the server.

    def handle(self, request: Request) -> Deferred[Response]:
        """Send a request of the server's; give its final response."""
        if request.method == "PUBLISH":
            return self._publish(request)
        if request.method == "BYE":
            # From our side: a call that has ended needs no 2xx any more.
            self._repeater.ended((request.call_id, request.from_.tag or "", request.to.tag or ""))
        token = request.headers.get(FLOW)
        request.headers.remove(FLOW)
        flow: Flow | None = None
        if token is not None and "Route" not in request.headers:
            try:
                flow = Flow.parse(token)
            except ValueError:
                self.log.warn("the server named a flow that is none: {token}", token=visible(token))
        if request.method in {"INVITE", "UPDATE"}:
            # The server knows which URI we gave the client, and we what belongs to it.
            for contact in request.contacts:
                request.headers.set(
                    "Contact", contact_of_room(str(contact.uri), self.settings.methods)
                )
            for header in (self.settings.allow, SUPPORTED):
                request.headers.add(*header)
        if (conference := request.headers.get(CONFERENCE)) is None:
            return self.sender.send(request, flow)
        room = SipURI.parse(conference)
        request.headers.remove(CONFERENCE)
        if (denied := check_way_back(request, self.listening)) is not None:
            self.log_refusal(request, denied.status, denied.reason)
            return succeed(request.response(denied.status, denied.reason, headers=denied.headers))
        # Without a Route, which some proxies take from nobody who begins something.
        proxy = self.settings.outbound_proxy if "Route" not in request.headers else None

        def introduced(address: Address) -> Request:
            here = self.address_towards(address)
            by_proxy = proxy is not None or "Route" in request.headers
            return introduce(request, room, here, self.settings, by_proxy)

        return self.sender.send(request, flow, introduced, proxy)

    def _publish(self, request: Request) -> Deferred[Response]:
        """Bring the state of a room to the presence agent (RFC 3903)."""
        if self.published is not None:
            return succeed(self.published(request))
        agent = self.settings.presence
        if agent is None:
            why = "No presence agent is known to this focus: write [presence], or [focus] presence"
            return succeed(request.response(501, why))
        return self.sender.send(request, proxy=agent)

    def stop(self) -> None:
        """Forget everything; nothing is sent any more."""
        self._repeater.stop()
        self._alarms.stop()


def _call(request: Request) -> CallKey:
    """What names the call of a client's request in a dialog."""
    return request.call_id, request.to.tag or "", request.from_.tag or ""


def _for_channel(request: Request) -> Request:
    """A client's request without what belongs to its hop, or to us alone."""
    copy = request.copy()
    copy.headers.remove(*_HOP_HEADERS, FLOW, CONFERENCE)
    return copy
