"""Participants who come from another server with their dialogs, and are asked to connect here.

    old server                 here                                    client
        X (dead, or stops)      |                                        |
                             expected --INVITE in its dialog, our path-->|
                                |<--200, its path------------------------|
                             joined                                      |
                                |<--MSRP---------------------------------|
                                    |--refused, no answer: BYE---------->|

Until they are back, what others say is kept for them, within what may wait for a slow reader. The
room is as it was told to us: roles, nicknames, subject.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.conference.connecting import settle
from msrpconf.conference.decision import Denied
from msrpconf.conference.history import Said
from msrpconf.conference.negotiation import SDP, Negotiation, agree
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.room import Room
from msrpconf.conference.seat import RoomState, Seat, SeatError, apply_room, read_room, read_seat
from msrpconf.conference.voice import tell
from msrpconf.protocols.msrp.session import new_session_id
from msrpconf.protocols.sdp import SdpError
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.conference.control import ConferenceControl

AT_ONCE = 1000
"""INVITEs of ours that are under way at one time; who waits for theirs is expected, too."""

AGAIN = 5
"""How often one is sent that comes to nothing for the moment."""

PATIENCE = 32.0
"""Seconds from the INVITE until it is given up, as long as a client may take to answer (64*T1)."""

MAX_CSEQ = 2**31 - 2


@frozen
class Arrival:
    """Somebody who comes: their `dialog`, the way to their client, and what `write_seat` wrote."""

    dialog: Dialog
    flow: str
    seat: str


class Arrivals:
    """Takes participants of other servers into the rooms of a server."""

    log = Logger()

    def __init__(self, control: ConferenceControl, clock: IReactorTime) -> None:
        self.seats: dict[Participant, str] = {}
        """Who is expected, with what was told of them."""
        self.on_static: Callable[[Room], object] = lambda room: None
        """Told of static rooms that go on here and whose history is only in the database."""
        self._control = control
        self._clock = clock
        self._inviting = DeferredSemaphore(AT_ONCE)
        self._again: dict[Participant, IDelayedCall] = {}
        self._came_from: dict[str, str] = {}

    def take(
        self,
        key: str,
        state: str,
        arrivals: Iterable[Arrival],
        origin: str,
        said: Iterable[Said] = (),
    ) -> Denied | list[Arrival]:
        """Have the room `key` go on here, with these participants.

        `state` is what `write_room` wrote on the server called `origin`, `said` what was said
        last. Gives those who cannot be taken; who is here already is. Refused as a whole where
        no new room is taken.
        """
        control = self._control
        registry, settings = control.registry, control.settings
        if registry.draining:
            return Denied(503, "This server is draining")
        try:
            told = read_room(state) if state else RoomState(key)
            uri = told.uri if parse_uri(told.uri).key == key else key
        except SeatError as error:
            return Denied(400, str(error))
        room = registry.rooms.get(key)
        if room is None and registry.ad_hoc_rooms >= settings.max_rooms:
            return Denied(503, f"This server has {settings.max_rooms} rooms")
        if room is None:
            room = registry.room(uri, key, settings.room)
        if state and self._came_from.get(key) != origin:
            self._came_from[key] = origin
            apply_room(room, told)
            if not room.participants:
                self._restore_history(room, list(said))
        coming = list(arrivals)
        refused = [each for each in coming if not self._enter(room, each)]
        self.log.info(
            "{room} has moved here from server {origin}: {count} are expected, {refused} cannot be",
            room=visible(room.uri),
            origin=visible(origin),
            count=len(coming) - len(refused),
            refused=len(refused),
        )
        if not (room.participants or room.static):
            registry.end(room)
        return refused

    def _restore_history(self, room: Room, said: list[Said]) -> None:
        """Have the history that the room had; what was read of it at our start is old."""
        if said:
            room.history.clear()
            room.history.restore(said)
        elif room.static:
            room.history.clear()
            self.on_static(room)

    def room_ended(self, room: Room) -> None:
        """A room is no more."""
        self._came_from.pop(room.key, None)

    def stop(self) -> None:
        """Ask nobody any more."""
        for call in self._again.values():
            call.cancel()
        self._again.clear()

    def left(self, participant: Participant) -> None:
        """Somebody is out, who may have been expected."""
        self.seats.pop(participant, None)
        call = self._again.pop(participant, None)
        if call is not None and call.active():
            call.cancel()

    def _enter(self, room: Room, arrival: Arrival) -> bool:
        control = self._control
        registry, settings = control.registry, control.settings
        dialog = arrival.dialog
        if dialog.id in registry.dialogs:
            return True
        if len(registry.sessions) >= settings.max_sessions:
            return False
        try:
            seat = read_seat(arrival.seat)
        except SeatError as error:
            text = "{key} cannot be moved: {error} (Call-ID {call_id})"
            call_id = visible(dialog.call_id)
            self.log.warn(text, key=room.key, error=visible(str(error)), call_id=call_id)
            return False
        if not settings.serves(room.settings, seat.secure):
            return False
        participant = self._participant(room, seat, dialog, arrival.flow)
        registry.enter(participant)
        identity = participant.identity
        if seat.nickname is not None and room.settings.nicknames:
            room.nicknames.restore(participant, identity.key, seat.nickname)
            participant.update_speaker()
        participant.expect_again(seat.agreement)
        self.seats[participant] = arrival.seat
        control.attendance.note("expected from another server", participant)
        self._ask(participant, seat, AGAIN)
        return True

    def _participant(self, room: Room, seat: Seat, dialog: Dialog, flow: str) -> Participant:
        control = self._control
        settings = control.settings
        participant = Participant(
            room,
            seat.identity,
            dialog,
            control.attendance,
            flow,
            settings.local_path(new_session_id(), seat.secure).encode("ascii"),
            self._clock,
            evolve(settings.limits, message_octets=room.settings.max_message_octets),
        )
        participant.contact = seat.contact
        participant.session.admits = partial(control.attendance.admits, participant)
        above = tuple(each.description for each in seat.above)
        below = tuple(each.description for each in seat.below)
        participant.negotiation = Negotiation.continuing(seat.origin, above, below)
        return participant

    # The INVITE.

    def _ask(self, participant: Participant, seat: Seat, times: int) -> None:
        """Send it, as soon as there are not too many."""
        participant.negotiation.offered = True
        asking = self._inviting.run(self._invite, participant, seat)
        asking.addCallback(self._answered, participant, seat, times)
        asking.addErrback(self._not_sent, participant)

    def _invite(self, participant: Participant, seat: Seat) -> Deferred[Any]:
        if participant.state is State.DROPPED:
            return succeed(None)
        control = self._control
        # Not before: who is behind many that do not answer has their time all the same.
        control.attendance.wait(participant, PATIENCE, "No answer to the INVITE to another server")
        local_path = participant.session.local_path.decode("ascii")
        body = participant.negotiation.offer(
            local_path, control.settings, participant.room.settings
        )
        headers = [("Contact", f"<{participant.contact}>"), ("Content-Type", SDP)]
        if seat.terms is not None:
            headers.append(control.session_timers.offered(seat.terms.interval, seat.terms.ours))
        participant.dialog, request = participant.dialog.request("INVITE", headers, body)
        if participant.flow:
            request.headers.set(FLOW, participant.flow)
        return control.send(request)

    def _answered(
        self, response: Response | None, participant: Participant, seat: Seat, times: int
    ) -> None:
        participant.negotiation.offered = False
        if response is None or participant.state is State.DROPPED:
            return
        if 200 <= response.status < 300:
            self._accepted(response, participant, seat)
        elif response.status in {491, 500, 503} and times > 1:
            # Not its Call-ID: within 2 s (RFC 3261 §14.1).
            wait = 0.1 + secrets.randbelow(190) / 100
            self._again[participant] = self._clock.callLater(
                wait, self._once_more, participant, seat, times - 1
            )
        else:
            why = f"{response.status} {response.reason}"
            self._fail(participant, f"Your client did not follow to another server: {why}")

    def _once_more(self, participant: Participant, seat: Seat, times: int) -> None:
        del self._again[participant]
        self._ask(participant, seat, times)

    def _accepted(self, response: Response, participant: Participant, seat: Seat) -> None:
        control = self._control
        participant.dialog = participant.dialog.refresh_target(response)
        room = participant.room
        try:
            choice = control.choice_of(response, room.settings, participant.session.secure)
            if choice is None:
                raise SdpError("The answer to the INVITE to another server has no description")
        except SdpError as error:
            control.attendance.end(participant, Reason("SIP", 488, str(error)))
            return
        del self.seats[participant]
        participant.stop_timer()
        settle(participant, agree(choice, room.settings, we_offered=True), control.settings)
        silent, room.silent = room.silent, True  # nobody has come, for those who are here
        control.registry.acknowledge(participant)
        room.silent = silent
        terms = seat.terms
        if terms is not None:
            kind = terms.ours, terms.supported, terms.updates
            control.session_timers.take_up(participant, terms.interval, kind, response)
        control.attendance.note("joined", participant)
        control.attendance.expect_msrp(participant)
        if room.settings.notices:
            tell(participant, "The room has moved to another server")

    def _not_sent(self, failure: Failure, participant: Participant) -> None:
        participant.negotiation.offered = False
        if participant.state is not State.DROPPED:
            self._fail(participant, f"You could not be moved: {failure.getErrorMessage()}")

    def _fail(self, participant: Participant, why: str) -> None:
        self._control.attendance.end(participant, Reason("SIP", 503, why))
