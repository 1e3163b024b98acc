"""REFER to a room: remove somebody, invite somebody (RFC 4579 §5.5, §5.6, §5.11, RFC 5368).

It comes in the dialog of a participant, or outside of one from anybody who may ask
(a Target-Dialog says which participant that is, RFC 4538). What comes of it is told
by NOTIFYs, unless the sender wants none (RFC 4488) or has sent a list.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.bye import FLOW
from msrpconf.conference.decision import Denied
from msrpconf.conference.departure import Departure
from msrpconf.conference.identity import Identity
from msrpconf.conference.invitation import Guest, Invitation, InvitationState
from msrpconf.conference.inviter import Inviter, Watcher
from msrpconf.conference.leg import CONFERENCE
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.policy import may_invite, may_remove
from msrpconf.conference.recipients import recipients_in
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.removal import named_by, users_of
from msrpconf.conference.room import Room
from msrpconf.conference.subscription import OwnDialog, ReferSubscription, Send
from msrpconf.protocols.resource_lists import RECIPIENT_LIST, ResourceListError
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.refer import ReferTo, target_dialog, wants_no_subscription
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.sipfrag import Fragment

MAX_SUBSCRIPTIONS = 10000
"""Senders of REFER that may wait for what comes of it, at a time."""

_TOO_MANY = Fragment(480, "Too many wait for what becomes of this invitation")


class Referrals:
    """Serves the REFERs of all rooms, and the lists of recipients in INVITEs.

    `send` has the focus send a request, `new_tag` gives a tag that names this server,
    `drop` takes a participant out, and says why in the log, `bye` has it told, `tell`
    says something to one in the room's name. Of every participant that is in, and that
    is out, `joined` and `left` are to be told.
    """

    def __init__(
        self,
        registry: ConferenceRegistry,
        clock: IReactorTime,
        send: Send,
        new_tag: Callable[[], str],
        drop: Callable[[Participant, str], None],
        bye: Callable[[Participant, Reason], Deferred[None]],
        tell: Callable[[Participant, str], None],
    ) -> None:
        self.inviter = Inviter(clock, send, new_tag)
        self._registry = registry
        self._clock = clock
        self._send = send
        self._new_tag = new_tag
        self._drop = drop
        self._bye = bye
        self.tell = tell
        self.max_subscriptions = MAX_SUBSCRIPTIONS
        self._subscriptions: set[ReferSubscription] = set()
        # How many subscriptions REFERs have made in a participant's dialog (RFC 3515 §2.4.6).
        self._counts: dict[Participant, int] = {}
        # Whom an INVITE wants invited, once its ACK has come.
        self._waiting: dict[Participant, list[Guest]] = {}
        # What somebody is to hear who cannot be told yet.
        self._unsaid: dict[Participant, list[str]] = {}

    # REFER.

    def refer(self, request: Request, participant: Participant | None) -> Response | Denied:
        """Answer a REFER: of `participant` in its dialog, or outside of one.

        Raises `SipSyntaxError`.
        """
        room = self._room_of(request, participant)
        if room is None:
            return Denied(404, "There is nobody in that room: join it first")
        sender = participant or self._by_target_dialog(request, room)
        user = Identity.of_request(request) if sender is None else sender.identity
        refer_to = ReferTo.of_request(request)
        asked = _asked(request, refer_to, room)
        if isinstance(asked, Denied):
            return asked
        if any(each.method not in {"BYE", "INVITE"} for each in asked):
            return Denied(403, "A room can be asked for BYE, to remove, and INVITE, to invite")
        leaving = _leaving(room, sender, user, [each for each in asked if each.method == "BYE"])
        if isinstance(leaving, Denied):
            return leaving
        coming = _coming([each for each in asked if each.method == "INVITE"])
        if isinstance(coming, Denied):
            return coming
        if coming and (denied := may_invite(room, user)):
            return denied
        if refer_to.content_id is not None or wants_no_subscription(request):
            subscription = None
        elif len(self._subscriptions) >= self.max_subscriptions:
            text = "Too many wait for what comes of a REFER: try again later, or without"
            return Denied(503, text, (("Retry-After", "60"),))
        else:
            subscription = self._subscription(request, participant)
        invited = self.inviter.admit(room, coming, user)
        if isinstance(invited, Denied):
            return invited
        for each in leaving:
            if each.state is not State.DROPPED:
                why = f"Removed by {user.short}"
                reason = Reason("SIP", 200, why)
                if each.identity.key != user.key:
                    each.departure = Departure.of(reason, by=user)
                self._drop(each, f"dropped: {why}")
                # After the answer, also for who has itself removed.
                self._clock.callLater(0, self._bye, each, reason)
        watcher = self._voice(sender)
        headers: tuple[tuple[str, str], ...] = (("Refer-Sub", "false"),)
        tag = self._new_tag()
        if subscription is not None:
            reported, tag = subscription
            self._subscriptions.add(reported)
            watcher, headers = _report_to(reported), ()
            first = Fragment.of(100 if invited else 200)
            if coming and not invited and room.invitations.is_open(coming[0].key):
                # Invited already: what becomes of that is worth as much.
                watched = self.inviter.watch(room, coming[0].key, watcher)
                first = Fragment.of(100) if watched else _TOO_MANY
            # The answer goes first: who gets a NOTIFY before it may not know what it is.
            self._clock.callLater(0, reported.report, first)
        for guest in invited:
            self.inviter.invite(room, guest, user, watcher)
        return request.response(202, headers=headers, to_tag=tag)

    def _room_of(self, request: Request, participant: Participant | None) -> Room | None:
        if participant is not None:
            return participant.room
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        return self._registry.rooms.get(parse_uri(uri).key)

    def _by_target_dialog(self, request: Request, room: Room) -> Participant | None:
        """The participant of `room` whose dialog the sender proves to know (RFC 4538 §4)."""
        dialog = target_dialog(request)
        participant = None if dialog is None else self._registry.dialogs.get(dialog)
        return participant if participant is not None and participant.room is room else None

    def _subscription(
        self, request: Request, participant: Participant | None
    ) -> tuple[ReferSubscription, str]:
        """The subscription that a REFER makes, and our tag in its dialog (RFC 3515 §2.4.4)."""
        event = "refer"
        if participant is not None:
            holder: Participant | OwnDialog = participant
            count = self._counts.get(participant, 0)
            if participant.state is not State.DROPPED:
                self._counts[participant] = count + 1
            if count:
                event = f"refer;id={request.cseq.number}"
        else:
            dialog = Dialog.from_request(request, self._new_tag())
            holder = OwnDialog(dialog, request.headers.get(FLOW) or "")
        subscription = ReferSubscription(
            self._send,
            holder,
            event,
            request.uri,
            self.inviter.timeout,
            self._subscriptions.discard,
        )
        return subscription, holder.dialog.local_tag

    # The list in an INVITE.

    def recipients(self, request: Request, limit: int) -> list[Guest] | Denied:
        """Whom an INVITE wants invited by its list, `limit` at most (RFC 5366 §5)."""
        try:
            asked = recipients_in(request, limit)
        except ResourceListError as error:
            return Denied(400, str(error))
        if any(each.method != "INVITE" for each in asked):
            return Denied(400, f"A {RECIPIENT_LIST} in an INVITE is of people to invite")
        return _coming(asked)

    def invite_later(self, participant: Participant, guests: list[Guest]) -> Denied | None:
        """Have `guests` invited in the name of `participant`, as soon as that is in."""
        if not guests:
            return None
        denied = may_invite(participant.room, participant.identity)
        if denied is None:
            self._waiting[participant] = guests
        return denied

    # Who comes and goes.

    def joined(self, participant: Participant) -> None:
        """The ACK has come: send the invitations that waited for it, and end its own."""
        self.inviter.joined(participant)
        guests = self._waiting.pop(participant, None)
        if not guests:
            return
        room, watcher = participant.room, self._voice(participant)
        invited = self.inviter.admit(room, guests, participant.identity)
        if isinstance(invited, Denied):
            self._say(participant, f"Nobody was invited: {invited.reason}")
            return
        for guest in invited:
            self.inviter.invite(room, guest, participant.identity, watcher)

    def left(self, participant: Participant) -> None:
        """Somebody is out, and is told nothing by the room any more."""
        for table in (self._counts, self._waiting, self._unsaid):
            table.pop(participant, None)

    def bound(self, participant: Participant) -> None:
        """Somebody's MSRP is there: say what waited for that."""
        for text in self._unsaid.pop(participant, ()):
            self._say(participant, text)

    # What comes of it.

    def _voice(self, participant: Participant | None) -> Watcher | None:
        """Tells by the room's voice, where there is no subscription."""
        if participant is None:
            return None

        def told(invitation: Invitation) -> None:
            joined = invitation.state is InvitationState.JOINED
            if not (joined and participant.room.gives_notices):  # that says so to all
                self._say(participant, str(invitation))

        return told

    def _say(self, participant: Participant, text: str) -> None:
        if participant.state is State.DROPPED:
            return
        if participant.reception is not None:
            self.tell(participant, text)
            return
        unsaid = self._unsaid.setdefault(participant, [])
        if len(unsaid) < participant.room.settings.max_invitations:
            unsaid.append(text)


def _report_to(subscription: ReferSubscription) -> Watcher:
    def report(invitation: Invitation) -> None:
        joined = invitation.state is InvitationState.JOINED
        subscription.report(Fragment.of(200) if joined else invitation.outcome)

    return report


def _asked(request: Request, refer_to: ReferTo, room: Room) -> list[ReferTo] | Denied:
    """What a REFER asks for: one thing, or what each entry of its list says."""
    if refer_to.content_id is None:
        return [refer_to]
    try:
        asked = recipients_in(request, room.settings.max_invitations, refer_to.content_id)
    except ResourceListError as error:
        return Denied(400, str(error))
    if not asked:
        return Denied(400, f"The body has no list of anybody as {refer_to.content_id[:100]}")
    return asked


def _leaving(
    room: Room, sender: Participant | None, user: Identity, asked: list[ReferTo]
) -> list[Participant] | Denied:
    """Whom a REFER with BYE sends out. Who is not there is no matter, if others are."""
    leaving: dict[Participant, None] = {}
    for each in asked:
        if each.uri.key == room.key:
            return Denied(403, "A room is not removed by REFER: name a participant")
        named = named_by(room, each)
        targets = [target.identity for target in named if target is not sender]
        if not named:
            targets.append(Identity(str(each.uri), None, (each.uri.key,)))
        for target in targets:
            denied = may_remove(room, user, target)
            if denied is not None:
                return denied
        if len(users_of(named)) > 1:
            return Denied(485, f"{each.uri} is more than one user here: name a Contact")
        leaving.update(dict.fromkeys(named))
    if asked and not leaving:
        return Denied(404, f"{asked[0].uri} is not in this room"[:200])
    return list(leaving)


def _coming(asked: list[ReferTo]) -> list[Guest] | Denied:
    """Who is to be invited."""
    guests = []
    for each in asked:
        guest = Guest.of(each)
        if guest is None:
            why = f"Nobody can be called by {each.uri.scheme[:20]}: use a sip URI"
            return Denied(416, why)
        guests.append(guest)
    return guests
