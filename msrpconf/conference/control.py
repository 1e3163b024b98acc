"""What the focus asks of a server, answered from the registry (design: the channel).

Requests come as the client sent them, checked and settled by the focus, and are
answered with the status, the dialog's headers and the body; the focus adds what
belongs to the hop. What the server wants said (BYE) it hands to the focus complete
in its dialog's headers. This is where dialogs live; the focus has none.

    expected --ACK--> joined --BYE, or no MSRP for too long--> dropped
        `--no ACK in time, CANCEL---------------------------------^
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.negotiation import (
    SDP,
    Agreement,
    Negotiation,
    agree,
    answer_to,
    choose,
    description_in,
    not_acceptable,
    offer_of,
)
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.policy import may_join
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.session import Session, new_session_id
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Origin, SdpError
from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.headers import NameAddr, Reason, parse_name_addrs
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri

CONFERENCE = "Conference"
"""Channel header: the conference URI that a request outside a dialog is for."""

FLOW = "Flow"
"""Channel header: the focus's name for the connection that the client is on."""

Connector = Callable[[Session, MsrpURI], None]
"""Connects a session of ours to a URI of the peer's, which waits for us (RFC 6135)."""


class ConferenceControl:
    """Serves the focus's requests; ends participants, and has the focus tell them.

    `channel` leads to the focus, and is set before the first request; `connect`
    makes the MSRP connections that clients wait for.
    """

    log = Logger()

    def __init__(
        self,
        registry: ConferenceRegistry,
        clock: IReactorTime,
        settings: ServerSettings,
        connect: Connector,
    ) -> None:
        self.registry = registry
        self.settings = settings
        self._clock = clock
        self.channel: Channel | None = None
        self._connect = connect
        self._handlers: dict[str, Callable[[Request], Response | Denied]] = {
            "INVITE": self._invite,
            "ACK": self._ack,
            "BYE": self._bye,
            "CANCEL": self._cancel,
            "UPDATE": self._update,
            "OPTIONS": self._options,
        }

    def handle(self, request: Request) -> Response:
        """Answer a request of the focus's."""
        handler = self._handlers.get(request.method)
        result = (
            Denied(501, f"{request.method} is not understood here")
            if handler is None
            else handler(request)
        )
        if isinstance(result, Response):
            return result
        self.log.info(
            "refused: {method} of {user} to {uri}: {status} {reason} (Call-ID {call_id})",
            method=request.method,
            user=request.from_.uri,
            uri=request.uri,
            status=result.status,
            reason=result.reason,
            call_id=request.call_id,
        )
        return request.response(
            result.status, result.reason, headers=result.headers, to_tag=self._new_tag()
        )

    # Joining.

    def _invite(self, request: Request) -> Response | Denied:
        if request.to.tag is not None:
            return self._renegotiate(request)
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        key = parse_uri(uri).key
        user = Identity.of(request.from_, _asserted(request))
        denied = may_join(self.settings, self.registry.rooms, key, user)
        if denied is not None:
            return denied
        try:
            offered = description_in(request)
            chosen = None if offered is None else choose(offered, self.settings)
        except SdpError as error:
            return not_acceptable(error, self.settings)
        dialog = Dialog.from_request(request, self._new_tag())
        participant = Participant(
            self.registry.room(uri, key), user, dialog, self, request.headers.get(FLOW) or ""
        )
        local_path = self.settings.local_path(new_session_id())
        negotiation = participant.negotiation
        session = Session(
            local_path.encode("utf-8"), b"", participant, self._clock, self.settings.limits
        )
        if chosen is None:
            negotiation.awaiting_answer = True
            body = offer_of(local_path, self.settings, self._origin(negotiation))
        else:
            description, media = chosen
            body = answer_to(
                description, media, local_path, self.settings, self._origin(negotiation)
            )
        self.registry.enter(participant, session)
        if chosen is not None:
            self._apply(participant, agree(chosen[1], we_offered=False))
        participant.timer = self._clock.callLater(
            self.settings.ack_timeout, self._no_ack, participant
        )
        self.log.info(
            "expected: {user} in {room} (Call-ID {call_id})",
            user=user,
            room=uri,
            call_id=dialog.call_id,
        )
        return request.response(
            200, headers=(("Content-Type", SDP),), body=body, to_tag=dialog.local_tag
        )

    def _ack(self, request: Request) -> Response | Denied:
        participant = self._find(request)
        if participant is None:
            return _no_dialog()
        negotiation = participant.negotiation
        if negotiation.awaiting_answer:
            negotiation.awaiting_answer = False
            try:
                answered = description_in(request)
                if answered is None:
                    raise SdpError("The ACK has no answer to the offer in the 200")
                _, media = choose(answered, self.settings)
            except SdpError as error:
                self._end(participant, Reason("SIP", 488, str(error)))
                return request.response(200)
            self._apply(participant, agree(media, we_offered=True))
        if participant.state is State.EXPECTED:
            self.registry.acknowledge(participant)
            self._log("joined", participant)
        self._expect_msrp(participant)
        return request.response(200)

    def _cancel(self, request: Request) -> Response | Denied:
        participant = self.registry.pending.get((request.call_id, request.from_.tag or ""))
        if participant is None:
            return _no_dialog()
        self._leave(participant, "cancelled")
        return request.response(200)

    # In a dialog.

    def _bye(self, request: Request) -> Response | Denied:
        participant = self._find(request)
        if participant is None:
            return _no_dialog()
        try:
            participant.dialog.accept(request)
        except OutOfOrder as error:
            return Denied(500, str(error))
        self._leave(participant, "left")
        return request.response(200)

    def _update(self, request: Request) -> Response | Denied:
        if request.to.tag is None:
            return Denied(481, "UPDATE outside a dialog: send INVITE to join")
        return self._renegotiate(request)

    def _renegotiate(self, request: Request) -> Response | Denied:
        """A re-INVITE or UPDATE: a new target, and perhaps a new description (RFC 3311)."""
        participant = self._find(request)
        if participant is None:
            return _no_dialog()
        negotiation = participant.negotiation
        try:
            dialog = participant.dialog.accept(request)
        except OutOfOrder as error:
            return Denied(500, str(error), (("Retry-After", str(secrets.randbelow(10))),))
        if negotiation.awaiting_answer:
            return Denied(491, "Our offer has not been answered yet: acknowledge it first")
        try:
            offered = description_in(request)
            chosen = None if offered is None else choose(offered, self.settings)
        except SdpError as error:
            return not_acceptable(error, self.settings)
        participant.dialog = dialog.refresh_target(request)
        participant.flow = request.headers.get(FLOW) or participant.flow
        session = participant.session
        assert session is not None
        local_path = session.local_path.decode("utf-8")
        if chosen is not None:
            description, media = chosen
            self._apply(participant, agree(media, we_offered=False))
            body = answer_to(
                description, media, local_path, self.settings, self._origin(negotiation)
            )
        elif request.method == "INVITE":
            negotiation.awaiting_answer = True
            body = offer_of(local_path, self.settings, self._origin(negotiation))
        else:
            return request.response(200)
        if request.method == "UPDATE":
            self._expect_msrp(participant)  # for an INVITE, the ACK does
        return request.response(200, headers=(("Content-Type", SDP),), body=body)

    def _options(self, request: Request) -> Response | Denied:
        """What the room at this URI would offer (RFC 4579 §5.13)."""
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        user = Identity.of(request.from_, _asserted(request))
        denied = may_join(self.settings, self.registry.rooms, parse_uri(uri).key, user)
        if denied is not None and denied.status == 404:
            return denied
        # The path is one that no session has: this describes, it does not invite.
        local_path = self.settings.local_path(new_session_id())
        body = offer_of(local_path, self.settings, self._origin(Negotiation(0)))
        return request.response(
            200, headers=(("Content-Type", SDP),), body=body, to_tag=self._new_tag()
        )

    # The owner of participants.

    def msrp_bound(self, participant: Participant) -> None:
        """Somebody's MSRP is there: no more waiting for it."""
        if participant.state is State.JOINED:
            participant.stop_timer()

    def msrp_unbound(self, participant: Participant, reason: str) -> None:
        """Somebody's MSRP is gone: it may come back within the grace time."""
        if participant.state is State.JOINED:
            self._await_msrp(participant, self.settings.grace, f"lost MSRP: {reason}")

    def _expect_msrp(self, participant: Participant) -> None:
        """Agreed: where the session has no connection, make it or wait for it."""
        session = participant.session
        connect_to = participant.negotiation.connect_to
        participant.negotiation.connect_to = None
        if session is None or session.connection is not None or participant.timer is not None:
            return
        self._await_msrp(participant, self.settings.msrp_timeout, "did not connect to MSRP")
        if connect_to is not None:
            self._connect(session, connect_to)

    def _await_msrp(self, participant: Participant, seconds: float, why: str) -> None:
        participant.stop_timer()
        participant.timer = self._clock.callLater(seconds, self._no_msrp, participant, seconds, why)

    def _no_ack(self, participant: Participant) -> None:
        seconds = self.settings.ack_timeout
        self._end(participant, Reason("SIP", 408, f"No ACK within {seconds:g} s"))

    def _no_msrp(self, participant: Participant, seconds: float, why: str) -> None:
        text = f"{why[:1].upper()}{why[1:]}, and not within {seconds:g} s"
        self._end(participant, Reason("SIP", 408, text))

    # Leaving.

    def close(self, reason: Reason) -> Deferred[list[tuple[bool, None]]]:
        """Send everybody out; the Deferred is done when each BYE is answered or given up."""
        participants = self.registry.participants()
        return DeferredList([self._end(each, reason) for each in participants])

    def _end(self, participant: Participant, reason: Reason) -> Deferred[None]:
        """Drop a participant and have the focus send it a BYE (RFC 3261 §15, RFC 3326)."""
        self._leave(participant, f"dropped: {reason.text}")
        _, bye = participant.dialog.request("BYE", headers=(("Reason", str(reason)),))
        if participant.flow:
            bye.headers.set(FLOW, participant.flow)
        if self.channel is None:
            return succeed(None)
        return self.channel.request(bye).addCallbacks(
            self._bye_answered,
            self._bye_failed,
            callbackArgs=(participant,),
            errbackArgs=(participant,),
        )

    def _bye_answered(self, response: Response, participant: Participant) -> None:
        if response.status >= 300 and response.status != 481:
            self.log.info(
                "BYE to {user} was answered {status} {reason} (Call-ID {call_id})",
                user=participant.identity,
                status=response.status,
                reason=response.reason,
                call_id=participant.dialog.call_id,
            )

    def _bye_failed(self, failure: Failure, participant: Participant) -> None:
        self.log.warn(
            "BYE to {user} could not be sent: {error} (Call-ID {call_id})",
            user=participant.identity,
            error=failure.getErrorMessage(),
            call_id=participant.dialog.call_id,
        )

    def _leave(self, participant: Participant, how: str) -> None:
        self.registry.leave(participant)
        self._log(how, participant)

    # Helpers.

    def _apply(self, participant: Participant, agreement: Agreement) -> None:
        session = participant.session
        assert session is not None
        if session.remote_path and session.remote_path != agreement.remote_path:
            session.release()
        session.remote_path = agreement.remote_path
        participant.reception = agreement.reception
        participant.receives = agreement.receives
        participant.negotiation.connect_to = agreement.connect_to
        participant.room.update_audience(participant)

    def _find(self, request: Request) -> Participant | None:
        """The participant whose dialog a request is in, by the tags as the client sees them."""
        tag = request.to.tag or ""
        return self.registry.dialogs.get((request.call_id, tag, request.from_.tag or ""))

    def _new_tag(self) -> str:
        return f"{self.settings.name}.{secrets.token_hex(8)}"

    def _origin(self, negotiation: Negotiation) -> Origin:
        negotiation.version += 1
        host = self.settings.msrp_host
        return Origin.of(host, negotiation.origin_id, negotiation.version, "msrpconf")

    def _log(self, what: str, participant: Participant) -> None:
        self.log.info(
            "{what}: {user} in {room} (Call-ID {call_id}; {count} in the room)",
            what=what,
            user=participant.identity,
            room=participant.room.uri,
            call_id=participant.dialog.call_id,
            count=len(participant.room.participants),
        )


def _asserted(request: Request) -> tuple[NameAddr, ...]:
    return tuple(
        address
        for value in request.headers.get_all("P-Asserted-Identity")
        for address in parse_name_addrs(value)
    )


def _no_dialog() -> Denied:
    return Denied(481, "No such dialog here: it has ended, or never was")
