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
from functools import partial

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.arrivals import Arrivals
from msrpconf.conference.attendance import Attendance, Connector
from msrpconf.conference.bye import FLOW
from msrpconf.conference.commands import run_command
from msrpconf.conference.connecting import settle
from msrpconf.conference.decision import Denied
from msrpconf.conference.file_control import FileControl
from msrpconf.conference.file_descriptions import with_capability
from msrpconf.conference.file_transfers import Transfer
from msrpconf.conference.files import FileStore
from msrpconf.conference.identity import Identity
from msrpconf.conference.leg import CONFERENCE, in_order
from msrpconf.conference.negotiation import (
    SDP,
    Agreement,
    Choice,
    Negotiation,
    agree,
    choose,
    description_in,
    not_acceptable,
)
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.policy import may_join
from msrpconf.conference.refer import Referrals
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.room import Room
from msrpconf.conference.session_timer import SessionTimers
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.conference.subject import clean_subject
from msrpconf.conference.voice import tell
from msrpconf.protocols.channel import Channel, ChannelClosed
from msrpconf.protocols.msrp.session import Session, new_session_id
from msrpconf.protocols.sdp import SdpError
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Message, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

__all__ = ["CONFERENCE", "FLOW", "ConferenceControl", "Connector"]


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
        self.connect = connect
        self.attendance = Attendance(self, registry, clock)
        self.files = FileControl(self, clock, FileStore(settings.files, settings.max_files_octets))
        self.referrals = Referrals(
            registry,
            clock,
            self.send,
            self.new_tag,
            self.attendance.leave,
            self.attendance.tell_out,
            tell,
        )
        self.session_timers = SessionTimers(
            clock,
            lambda: self.settings,
            self.send,
            self.attendance.end,
            self._refreshing_offer,
            self._refresh_answered,
        )
        self.arrivals = Arrivals(self, clock)
        self.attendance.on_bound = self.referrals.bound
        registry.run_command = run_command
        registry.on_left = self._left
        registry.on_ended = self._ended
        self._handlers: dict[str, Callable[[Request], Response | Denied]] = {
            "INVITE": self._invite,
            "ACK": self._ack,
            "BYE": self._bye,
            "CANCEL": self._cancel,
            "UPDATE": self._update,
            "OPTIONS": self._options,
            "REFER": self._refer,
            "NOTIFY": self.referrals.inviter.notify,
        }

    def serve(self, method: str, handler: Callable[[Request], Response | Denied]) -> None:
        """Have `handler` answer requests of a method that is not about who is in a room."""
        self._handlers[method] = handler

    def handle(self, request: Request) -> Response:
        """Answer a request of the focus's."""
        handler = self._handlers.get(request.method, _not_understood)
        try:
            result = self.files.handle(request) or handler(request)
        except SipSyntaxError as error:
            result = Denied(400, str(error))
        if isinstance(result, Response):
            return result
        self.registry.tally.refused[result.status] += 1
        self.log.info(
            "refused: {method} of {user} to {room}: {status} {reason} (Call-ID {call_id})",
            method=request.method,
            user=_who(request),
            room=request.headers.get(CONFERENCE) or request.to.uri,
            status=result.status,
            reason=visible(result.reason),
            call_id=visible(request.call_id),
        )
        return request.response(
            result.status, result.reason, headers=result.headers, to_tag=self.new_tag()
        )

    # Joining.

    def _invite(self, request: Request) -> Response | Denied:
        if request.to.tag is not None:
            return self._renegotiate(request)
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        key = parse_uri(uri).key
        user = Identity.of_request(request)
        denied = may_join(self.settings, self.registry, key, user)
        if denied is not None:
            return denied
        denied = self.session_timers.refusal(request)
        if denied is not None:
            return denied
        room_settings = self._room_settings(key)
        try:
            choice = self.choice_of(request, room_settings)
        except SdpError as error:
            return not_acceptable(error, self.settings)
        secure = (
            not self.settings.serves(room_settings, False)
            if choice is None
            else choice.media.secure
        )
        guests = self.referrals.recipients(request, room_settings.max_invitations)
        if isinstance(guests, Denied):
            return guests
        dialog = Dialog.from_request(request, self.new_tag())
        room = self.registry.room(uri, key, room_settings)
        if not (room.participants or room.static):
            room.subject = clean_subject(request.headers.get("Subject") or "")
        user = room.introduce(user)
        participant = Participant(
            room,
            user,
            dialog,
            self.attendance,
            request.headers.get(FLOW) or "",
            self.settings.local_path(new_session_id(), secure).encode("ascii"),
            self._clock,
            evolve(self.settings.limits, message_octets=room_settings.max_message_octets),
        )
        participant.session.admits = partial(self.attendance.admits, participant)
        self.registry.enter(participant)
        denied = self.referrals.invite_later(participant, guests)
        if denied is not None:
            self.registry.leave(participant)
            return denied
        self.log.info(
            "expected: {user} in {room} (Call-ID {call_id})",
            user=user,
            room=uri,
            call_id=visible(dialog.call_id),
        )
        return self._answer_invite(request, participant, choice)

    def _answer_invite(
        self, request: Request, participant: Participant, choice: Choice | None
    ) -> Response:
        """The 200 with our answer, or with our offer where the INVITE has none."""
        negotiation = participant.negotiation
        negotiation.before = participant.agreement
        negotiation.unacknowledged = request.cseq.number
        negotiation.awaiting_answer = choice is None
        if choice is not None:
            self._apply(participant, agree(choice, participant.room.settings, we_offered=False))
        self.attendance.wait(participant, self.settings.ack_timeout, "No ACK")
        return self._described(request, participant, choice)

    def _ack(self, request: Request) -> Response | Denied:
        participant = self.registry.participant(request)
        if participant is None:
            return _no_dialog()
        participant.contact = str(request.uri)
        negotiation = participant.negotiation
        if request.cseq.number == negotiation.unacknowledged:
            agreement = participant.agreement
            if negotiation.awaiting_answer:
                try:
                    choice = self.choice_of(
                        request, participant.room.settings, participant.session.secure
                    )
                    if choice is None:
                        raise SdpError("The ACK has no answer to the offer in the 200")
                except SdpError as error:
                    self.attendance.end(participant, Reason("SIP", 488, str(error)))
                    return request.response(200)
                agreement = agree(choice, participant.room.settings, we_offered=True)
            self._acknowledged(participant, agreement)
        return request.response(200)

    def _acknowledged(self, participant: Participant, agreement: Agreement | None) -> None:
        """The client has our 200, and offer and answer came to `agreement`."""
        negotiation = participant.negotiation
        negotiation.unacknowledged = negotiation.before = None
        negotiation.awaiting_answer = False
        participant.stop_timer()
        if agreement is not None and agreement is not participant.agreement:
            self._apply(participant, agreement)
        if participant.state is State.EXPECTED:
            self.registry.acknowledge(participant)
            self.attendance.note("joined", participant)
            self.referrals.joined(participant)
        self.attendance.expect_msrp(participant)

    def _cancel(self, request: Request) -> Response | Denied:
        """The focus has answered 487 to an INVITE that we answered with 200 (RFC 3261 §9.2)."""
        participant = self.registry.participant(request)
        if participant is None or participant.negotiation.unacknowledged != request.cseq.number:
            return _no_dialog()
        if participant.state is State.EXPECTED:
            self.registry.tally.cancelled += 1
            self.attendance.leave(participant, "cancelled")
        else:
            # The session goes on as it was before the INVITE (§14.1).
            self._acknowledged(participant, participant.negotiation.before)
        return request.response(200)

    # In a dialog.

    def _bye(self, request: Request) -> Response | Denied:
        participant = self.registry.participant(request)
        if participant is None:
            return _no_dialog()
        denied = self._in_order(participant, request)
        if denied is not None:
            return denied
        self.registry.tally.left += 1
        self.attendance.leave(participant, "left")
        return request.response(200)

    def _update(self, request: Request) -> Response | Denied:
        if request.to.tag is None:
            return Denied(481, "UPDATE outside a dialog: send INVITE to join")
        return self._renegotiate(request)

    def _renegotiate(self, request: Request) -> Response | Denied:
        """A re-INVITE or UPDATE: a new target, and perhaps a new description (RFC 3311)."""
        participant = self.registry.participant(request)
        if participant is None:
            return _no_dialog()
        denied = self._in_order(participant, request) or self.session_timers.refusal(request)
        if denied is not None:
            return denied
        negotiation = participant.negotiation
        try:
            choice = self.choice_of(request, participant.room.settings)
        except SdpError as error:
            return not_acceptable(error, self.settings)
        describes = choice is not None or request.method == "INVITE"
        if negotiation.offered and describes:
            return Denied(491, "Our own INVITE of this dialog has not been answered yet")
        if negotiation.awaiting_answer and describes:
            return Denied(491, "Our offer has not been answered yet: acknowledge it first")
        participant.dialog = participant.dialog.refresh_target(request)
        participant.flow = request.headers.get(FLOW) or participant.flow
        participant.room.info.changed(participant)
        if negotiation.unacknowledged is not None and not negotiation.awaiting_answer:
            # Who sends in the dialog has our 200; its ACK was lost, or is late.
            self._acknowledged(participant, participant.agreement)
        if request.method == "INVITE":
            return self._answer_invite(request, participant, choice)
        if choice is None:
            return self.session_timers.accept(participant, request, request.response(200))
        self._apply(participant, agree(choice, participant.room.settings, we_offered=False))
        self.attendance.expect_msrp(participant)
        return self._described(request, participant, choice)

    def _refer(self, request: Request) -> Response | Denied:
        """Remove somebody, invite somebody (RFC 4579 §5.5, §5.11): see `conference.refer`."""
        if request.to.tag is None:
            return self.referrals.refer(request, None)
        participant = self.registry.participant(request)
        if participant is None:
            return _no_dialog()
        denied = self._in_order(participant, request)
        if denied is not None:
            return denied
        before = participant.dialog, participant.flow
        participant.dialog = participant.dialog.refresh_target(request)
        participant.flow = request.headers.get(FLOW) or participant.flow
        result = self.referrals.refer(request, participant)
        if isinstance(result, Denied):
            participant.dialog, participant.flow = before
        return result

    def _options(self, request: Request) -> Response | Denied:
        """What the room at this URI would offer (RFC 4579 §5.13, RFC 3261 §11.2)."""
        if request.to.tag is None:
            uri = request.headers.get(CONFERENCE) or str(request.uri)
            user = Identity.of_request(request)
            key = parse_uri(uri).key
            denied = may_join(self.settings, self.registry, key, user)
            room_settings = self._room_settings(key)
        else:
            participant = self.registry.participant(request)
            if participant is None:
                return _no_dialog()
            denied = self._in_order(participant, request)
            room_settings = participant.room.settings
        if denied is not None:
            return denied
        # The path is one that no session has: this describes, it does not invite.
        secure = not self.settings.serves(room_settings, False)
        local_path = self.settings.local_path(new_session_id(), secure)
        body = Negotiation(0).offer(local_path, self.settings, room_settings)
        if room_settings.files:
            body = with_capability(body)
        return request.response(
            200, headers=(("Content-Type", SDP),), body=body, to_tag=self.new_tag()
        )

    # How they end.

    def untrusted(self, session: Session, why: str) -> None:
        """Where a session's client waits for us is somebody else: the session ends."""
        handler = session.handler
        if isinstance(handler, Participant) and handler.state is State.JOINED:
            self.attendance.end(handler, Reason("SIP", 488, why))
        elif isinstance(handler, Transfer):
            handler.fail(488, why)

    def expel(self, participant: Participant, reason: Reason) -> None:
        """Send somebody out."""
        self.attendance.expel(participant, reason)

    def close_room(self, key: str, reason: Reason) -> Deferred[list[tuple[bool, None]]]:
        """Send everybody out of the room `key`, as `close` does. Raises `KeyError` without one."""
        room = self.registry.rooms[key]
        room.silent = True
        ended = [self.attendance.end(each, reason) for each in list(room.participants)]
        self.referrals.inviter.room_ended(room)
        room.silent = False  # a static room goes on
        return DeferredList(ended)

    def close(self, reason: Reason) -> Deferred[list[tuple[bool, None]]]:
        """Send everybody out; the Deferred is done when each BYE is answered or given up."""
        participants = self.registry.participants()
        for room in self.registry.rooms.values():
            room.silent = True
        ends = [
            *self.files.close(reason),
            *(self.attendance.end(each, reason) for each in participants),
        ]
        self.arrivals.stop()
        self.referrals.inviter.stop()
        for room in self.registry.rooms.values():
            room.info.forget_gone()
        return DeferredList(ends)

    def _left(self, participant: Participant) -> None:
        self.arrivals.left(participant)
        self.files.left(participant)
        self.referrals.left(participant)

    def _ended(self, room: Room) -> None:
        self.arrivals.room_ended(room)
        self.files.room_ended(room)
        self.referrals.inviter.room_ended(room)

    # Helpers.

    def choice_of(
        self, message: Message, room: RoomSettings, secure: bool | None = None
    ) -> Choice | None:
        """What a room makes of the description in a request; None where it has none.

        Raises `SdpError`.
        """
        description = description_in(message)
        return None if description is None else choose(description, self.settings, room, secure)

    def send(self, request: Request) -> Deferred[Response]:
        """Have the focus send a request; give its final response. Fails with `ChannelClosed`."""
        if self.channel is None:
            return fail(ChannelClosed("no focus is connected to this server"))
        return self.channel.request(request)

    def _room_settings(self, key: str) -> RoomSettings:
        """The settings of the room `key`, which need not exist yet."""
        room = self.registry.rooms.get(key)
        return self.settings.room if room is None else room.settings

    def _described(
        self, request: Request, participant: Participant, choice: Choice | None
    ) -> Response:
        """A 200 with our answer to what was chosen, or with our offer where nothing was."""
        local_path = participant.session.local_path.decode("ascii")
        negotiation = participant.negotiation
        body = (
            negotiation.offer(local_path, self.settings, participant.room.settings)
            if choice is None
            else negotiation.answer(choice, local_path, self.settings, participant.room.settings)
        )
        response = request.response(
            200,
            headers=(("Content-Type", SDP),),
            body=body,
            to_tag=participant.dialog.local_tag,
        )
        return self.session_timers.accept(participant, request, response)

    def _refreshing_offer(self, participant: Participant) -> tuple[str, bytes]:
        """The description of an INVITE of ours that only refreshes the session."""
        local_path = participant.session.local_path.decode("ascii")
        negotiation, room = participant.negotiation, participant.room
        return SDP, negotiation.offer(local_path, self.settings, room.settings)

    def _refresh_answered(self, participant: Participant, response: Response) -> None:
        """A client has answered such an INVITE; what it says holds."""
        room = participant.room.settings
        try:
            choice = self.choice_of(response, room, participant.session.secure)
        except SdpError as error:
            self.attendance.end(participant, Reason("SIP", 488, str(error)))
            return
        if choice is not None:
            self._apply(participant, agree(choice, room, we_offered=True))
            self.attendance.expect_msrp(participant)

    def _apply(self, participant: Participant, agreement: Agreement) -> None:
        settle(participant, agreement, self.settings)

    def _in_order(self, participant: Participant, request: Request) -> Denied | None:
        """Count a request in its dialog; 500 for one that others overtook (RFC 3261 §12.2.2)."""
        return in_order(participant, request)

    def new_tag(self) -> str:
        """A tag for a dialog of ours: it names this server."""
        return f"{self.settings.name}.{secrets.token_hex(8)}"


def _who(request: Request) -> str:
    """The sender of a request as our log names it, whatever is wrong with the request."""
    try:
        return Identity.of_request(request).key
    except SipSyntaxError:
        return str(request.from_.uri)


def _not_understood(request: Request) -> Denied:
    return Denied(501, f"{request.method} is not understood here")


def _no_dialog() -> Denied:
    return Denied(481, "No such dialog here: it has ended, or never was")
