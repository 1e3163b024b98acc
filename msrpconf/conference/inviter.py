"""Asking people into a room: one REFER for each (RFC 4579 §5.2, design: the original's dial-out).

    server --REFER, Refer-To: the room--> invitee        dialing-out
    server <--202------------------------ invitee        pending
    server <--NOTIFY 100, 180, 200, 603-- invitee        (the subscription that our REFER makes)
    focus  <--INVITE--------------------- invitee        joined

Whoever asked for it is told by a `Watcher`: of a subscription, or of the room's voice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.flood import TokenBucket
from msrpconf.conference.identity import Identity
from msrpconf.conference.invitation import Guest, Invitation, InvitationState
from msrpconf.conference.leg import CONFERENCE
from msrpconf.conference.participant import Participant
from msrpconf.conference.removal import is_contact
from msrpconf.conference.roles import welcome
from msrpconf.conference.room import Room
from msrpconf.conference.subscription import Send
from msrpconf.protocols.sip.headers import NameAddr, Parameterized
from msrpconf.protocols.sip.identifiers import new_call_id
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.sipfrag import SIPFRAG, Fragment
from msrpconf.visible import visible

INVITATION_TIMEOUT = 180.0
"""Seconds that an invitee may take to come, or to say that they will not."""

MAX_OUTSTANDING = 10000
"""Invitations of all rooms together that may be open at a time."""

MAX_WATCHERS = 16
"""How many may wait for the outcome of one invitation."""

PER_SECONDS = 60.0
"""A room may send as many invitations within this time as one list may have."""

Watcher = Callable[[Invitation], None]
"""Told of an invitation once it has come to something."""

log = Logger()


@define(eq=False)
class _Outgoing:
    """One REFER of ours and the subscription that it has made."""

    room: Room
    invitation: Invitation
    dialog: tuple[str, str]
    watchers: list[Watcher] = field(factory=list)
    timer: IDelayedCall | None = None


class Inviter:
    """Sends the invitations of all rooms, and hears what becomes of them.

    `send` has the focus send a request, `new_tag` gives a tag that names this
    server, so that the invitees' NOTIFYs come here.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Send,
        new_tag: Callable[[], str],
        timeout: float = INVITATION_TIMEOUT,
    ) -> None:
        self.timeout = timeout
        self._clock = clock
        self._send = send
        self._new_tag = new_tag
        # By Call-ID and our tag. It stays when the invitation has ended: its NOTIFYs may not have.
        self._outgoing: dict[tuple[str, str], _Outgoing] = {}
        self._by_room: dict[Room, dict[_Outgoing, None]] = {}
        self._buckets: dict[Room, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._outgoing)

    def admit(self, room: Room, guests: Iterable[Guest], user: Identity) -> list[Guest] | Denied:
        """Those of `guests` who can be invited by `user`: each once, and nobody who is in.

        A refusal where that is more than the room may ask for just now.
        """
        inside = {key for each in room.participants for key in each.identity.keys}
        chosen: dict[str, Guest] = {}
        for each in guests:
            chosen.setdefault(each.key, each)
        opened = self._open(room)
        for key in [*user.keys, room.key, *opened]:
            chosen.pop(key, None)
        wanted = [each for key, each in chosen.items() if key not in inside]
        limit = room.settings.max_invitations
        if len(opened) + len(wanted) > limit or len(self) + len(wanted) > MAX_OUTSTANDING:
            text = f"{len(opened)} invitations are not answered yet: try again later"
            return Denied(480, text, (("Retry-After", str(int(self.timeout))),))
        bucket = self._buckets.get(room)
        if bucket is None:
            bucket = self._buckets[room] = TokenBucket(self._clock, limit / PER_SECONDS, limit)
        for _ in wanted:
            if not bucket.touch():
                text = f"{limit} invitations a minute are allowed: try again later"
                return Denied(480, text, (("Retry-After", str(int(PER_SECONDS))),))
        return wanted

    def invite(
        self, room: Room, guest: Guest, user: Identity, watcher: Watcher | None = None
    ) -> None:
        """Invite somebody whom `admit` let through."""
        now = room.now()
        call_id, tag = dialog = new_call_id(), self._new_tag()
        outgoing = _Outgoing(room, Invitation(guest, user, now, now), dialog)
        if watcher is not None:
            outgoing.watchers.append(watcher)
        self._outgoing[dialog] = outgoing
        self._by_room.setdefault(room, {})[outgoing] = None
        _put(outgoing)
        welcome(room, guest.key)
        outgoing.timer = self._clock.callLater(self.timeout, self._timed_out, outgoing)
        self._log(outgoing)
        headers = Headers(
            [
                ("From", f"<{room.uri}>;tag={tag}"),
                ("To", guest.address),
                ("Call-ID", call_id),
                ("CSeq", "1 REFER"),
                ("Refer-To", f"<{room.uri}>"),
                ("Referred-By", str(NameAddr(parse_uri(user.uri), user.display_name))),
                (CONFERENCE, room.uri),
            ]
        )
        if room.subject:
            headers.add("Subject", room.subject)
        self._send(Request("REFER", guest.uri, headers)).addCallbacks(
            self._answered, self._failed, callbackArgs=(outgoing,), errbackArgs=(outgoing,)
        )

    def watch(self, room: Room, key: str, watcher: Watcher) -> bool:
        """Have `watcher` told of an open invitation, too; False where there is none."""
        outgoing = self._open(room).get(key)
        if outgoing is None or len(outgoing.watchers) >= MAX_WATCHERS:
            return False
        outgoing.watchers.append(watcher)
        return True

    def notify(self, request: Request) -> Response | Denied:
        """Hear an invitee's NOTIFY (RFC 3515 §2.4.4, RFC 6665 §4.1.3). `SipSyntaxError`."""
        event = request.event
        if event is None or event.value.lower() != "refer":
            why = "Only the event package refer is served here"
            return Denied(489, why, (("Allow-Events", "refer"),))
        outgoing = self._outgoing.get((request.call_id, request.to.tag or ""))
        if outgoing is None:
            return Denied(481, "No such subscription here: it has ended, or never was")
        content_type = request.content_type
        if content_type is None or content_type.essence != SIPFRAG:
            return Denied(415, f"A NOTIFY of this package has {SIPFRAG}", (("Accept", SIPFRAG),))
        outcome = Fragment.parse(request.body)
        state = Parameterized.parse(request.headers.get("Subscription-State") or "active").value
        self._heard(outgoing, outcome)
        if state.lower() == "terminated" and not outgoing.invitation.open:
            self._forget(outgoing)
        return request.response(200)

    def joined(self, participant: Participant) -> None:
        """Somebody is in: perhaps because they were invited."""
        room = participant.room
        identity = participant.identity
        for outgoing in self._open(room).values():
            guest = outgoing.invitation.guest
            if guest.key in identity.keys or is_contact(participant, guest.uri):
                if not identity.anonymous:
                    room.info.came_by(participant, outgoing.invitation)
                self._heard(outgoing, Fragment.of(200))

    def room_ended(self, room: Room) -> None:
        """Nobody is left to come to."""
        self._buckets.pop(room, None)
        for outgoing in self._open(room).values():
            self._end(outgoing, InvitationState.FAILED, Fragment.of(487, "The room has ended"))
        for outgoing in list(self._by_room.get(room, ())):
            self._forget(outgoing)

    def stop(self) -> None:
        """End all invitations, also those to rooms that stay."""
        for room in list(self._by_room):
            self.room_ended(room)

    def _open(self, room: Room) -> dict[str, _Outgoing]:
        """The open invitations of a room, by their guests' keys."""
        everybody = self._by_room.get(room, ())
        return {each.invitation.guest.key: each for each in everybody if each.invitation.open}

    def _answered(self, response: Response, outgoing: _Outgoing) -> None:
        if response.status >= 300:
            self._heard(outgoing, Fragment.of(response.status, response.reason))
            self._forget(outgoing)
        elif outgoing.invitation.state is InvitationState.DIALING_OUT:
            self._advance(outgoing, InvitationState.PENDING, Fragment.of(100))

    def _failed(self, failure: Failure, outgoing: _Outgoing) -> None:
        self._heard(outgoing, Fragment.of(503, failure.getErrorMessage()))
        self._forget(outgoing)

    def _timed_out(self, outgoing: _Outgoing) -> None:
        outgoing.timer = None
        self._heard(outgoing, Fragment.of(408, f"No answer within {self.timeout:g} s"))
        self._forget(outgoing)

    def _heard(self, outgoing: _Outgoing, outcome: Fragment) -> None:
        if not outgoing.invitation.open:
            return
        if not outcome.final:
            self._advance(outgoing, InvitationState.PENDING, outcome)
        elif outcome.status < 300:
            self._end(outgoing, InvitationState.JOINED, outcome)
        else:
            self._end(outgoing, InvitationState.FAILED, outcome)

    def _advance(self, outgoing: _Outgoing, state: InvitationState, outcome: Fragment) -> None:
        room = outgoing.room
        outgoing.invitation = outgoing.invitation.after(state, outcome, room.now())
        _put(outgoing)

    def _end(self, outgoing: _Outgoing, state: InvitationState, outcome: Fragment) -> None:
        self._advance(outgoing, state, outcome)
        self._log(outgoing)
        watchers, outgoing.watchers = outgoing.watchers, []
        for watcher in watchers:
            watcher(outgoing.invitation)

    def _forget(self, outgoing: _Outgoing) -> None:
        self._outgoing.pop(outgoing.dialog, None)
        others = self._by_room.get(outgoing.room, {})
        others.pop(outgoing, None)
        if not others:
            self._by_room.pop(outgoing.room, None)
        timer, outgoing.timer = outgoing.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _log(self, outgoing: _Outgoing) -> None:
        invitation = outgoing.invitation
        log.info(
            "{what}: {guest} to {room} by {user}: {outcome} (Call-ID {call_id})",
            what=f"invitation {invitation.state.value}",
            guest=invitation.guest.key,
            room=outgoing.room.uri,
            user=invitation.inviter,
            outcome=visible(str(invitation.outcome)),
            call_id=outgoing.dialog[0],
        )


def _put(outgoing: _Outgoing) -> None:
    """Have the room know an invitation as it now stands."""
    outgoing.room.invitations.put(outgoing.invitation)
    outgoing.room.info.invited(outgoing.invitation)
