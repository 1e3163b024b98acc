"""A participant: one user in one room from one device."""

from __future__ import annotations

import enum
import secrets
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.departure import Departure
from msrpconf.conference.flood import TokenBucket
from msrpconf.conference.identity import Identity
from msrpconf.conference.messages import begin_message
from msrpconf.conference.negotiation import Agreement, Negotiation
from msrpconf.conference.rendition import Speaker
from msrpconf.conference.roles import Role
from msrpconf.conference.session_timer import SessionTimer
from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.msrp.frame import Head
from msrpconf.protocols.msrp.outgoing import MESSAGE_ID
from msrpconf.protocols.msrp.session import Limits, MessageSink, Piece, Refusal, Session
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.headers import Reason

if TYPE_CHECKING:
    from msrpconf.conference.room import Room


class State(enum.Enum):
    """How far somebody is in a room."""

    EXPECTED = "expected"
    """Their INVITE was answered; the ACK has not come."""
    JOINED = "joined"
    """The ACK has come."""
    DROPPED = "dropped"
    """They left or were removed: nothing of theirs is taken any more."""


class ParticipantOwner(Protocol):
    """Who keeps a participant's dialog and timers."""

    def msrp_bound(self, participant: Participant) -> None:
        """The participant's MSRP session has a connection."""

    def msrp_unbound(self, participant: Participant, reason: str) -> None:
        """The participant's MSRP session has lost its connection."""

    def congested(self, participant: Participant) -> None:
        """The participant's client does not read what it is sent."""

    def eased(self, participant: Participant, missed: int) -> None:
        """It does again; so many messages were not sent to it."""

    def expel(self, participant: Participant, reason: Reason) -> None:
        """Send the participant out."""


class Participant:
    """One user's presence in a room from one device, with its SIP dialog and MSRP session.

    It is the handler of its session, at our URI `local_path`, with `clock` and
    `limits`: what arrives there is the room's to route. The peer's path comes with
    what is agreed.
    """

    __slots__ = (
        "_clock",
        "_greeted",
        "_owner",
        "agreement",
        "bucket",
        "congestion_timer",
        "contact",
        "departure",
        "dialog",
        "flow",
        "identity",
        "negotiation",
        "role",
        "room",
        "session",
        "session_timer",
        "speaker",
        "state",
        "timer",
    )

    def __init__(
        self,
        room: Room,
        identity: Identity,
        dialog: Dialog,
        owner: ParticipantOwner,
        flow: str,
        local_path: bytes,
        clock: IReactorTime,
        limits: Limits,
    ) -> None:
        self.room = room
        self.identity = identity
        self.dialog = dialog
        self.flow = flow
        """The focus's name for the connection that this dialog's client came on."""
        self.state = State.EXPECTED
        self.role = Role.PARTICIPANT
        """What the user is in the room, kept true by the room."""
        self.session = Session(local_path, b"", self, clock, limits)
        self.negotiation = Negotiation(secrets.randbelow(2**62))
        self.agreement: Agreement | None = None
        """What offer and answer came to; None until there are both."""
        self.departure: Departure | None = None
        """How it came that they are out; None while they are in, and where they said BYE."""
        self.timer: IDelayedCall | None = None
        """Ends the wait for what comes next: the ACK, or the MSRP connection."""
        self.contact = room.uri
        """The URI by which the client reaches us in this dialog: what the focus gave it."""
        self.session_timer: SessionTimer | None = None
        """When the dialog ends if nobody refreshes it (RFC 4028)."""
        self.congestion_timer: IDelayedCall | None = None
        """Ends the patience with a client that does not read."""
        self._clock = clock
        self.limit_rate(room.settings)
        self.speaker = Speaker.of(identity)
        self._owner = owner
        self._greeted = False

    def __str__(self) -> str:
        return f"{self.identity} in {self.room.uri}"

    def __repr__(self) -> str:
        return f"<{self}, {self.state.value}>"

    @property
    def reception(self) -> Reception | None:
        """How messages of the room go to this participant now; None where they do not.

        They do not while its client has put us on hold (RFC 3264 §8.4), nor while
        it has no connection and its session keeps nothing for the next one.
        """
        if self.agreement is None or not self.agreement.receives or self.state is State.DROPPED:
            return None
        session = self.session
        if session.connection is None and not session.keeps:
            return None
        return self.agreement.reception

    @property
    def muted(self) -> bool:
        """Whether this participant has no voice."""
        return self.role <= Role.VISITOR

    @property
    def speaks_text(self) -> bool:
        """Whether our description let this participant say text/plain without a wrapper."""
        return self.agreement is None or self.agreement.speaks_text

    @property
    def takes_private_messages(self) -> bool:
        """Whether this participant's client can tell what is said to it alone."""
        agreement = self.agreement
        return agreement is not None and agreement.private_messages and agreement.reception.cpim

    def update_speaker(self) -> bool:
        """Be known by the nickname that is in use; return whether that is another now."""
        before = self.speaker
        self.speaker = Speaker.of(self.identity, self.room.nicknames.of(self))
        return self.speaker != before

    def expect_again(self, agreement: Agreement) -> None:
        """Wait for who was in the room already, on another server, as was agreed there.

        What is said meanwhile is kept for them; what was said before they have heard.
        """
        self.agreement = agreement
        self.session.keep()
        self._greeted = True
        self.room.update_audience(self)

    def limit_rate(self, settings: RoomSettings) -> None:
        """Take messages as fast as the room allows."""
        self.bucket = TokenBucket(self._clock, settings.rate, settings.burst)

    def flooded(self) -> Refusal:
        """The answer to a message too many; it may be the last one that is heard of this client."""
        settings = self.room.settings
        text = f"Too many messages: {settings.rate:g} per second are allowed"
        if settings.close_on_flood:
            self._owner.expel(self, Reason("SIP", 403, text))
        return Refusal(403, text)

    def stop_timers(self) -> None:
        """Wait for nothing, and bear nothing, any more."""
        self.stop_timer()
        self.stop_congestion_timer()
        if self.session_timer is not None:
            self.session_timer.stop()
            self.session_timer = None

    def stop_congestion_timer(self) -> None:
        """The client reads again, or has another connection: there is nothing to bear."""
        timer, self.congestion_timer = self.congestion_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def stop_timer(self) -> None:
        """Wait for nothing any more."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # The handler of the MSRP session.

    def session_bound(self, session: Session) -> None:
        self.room.update_audience(self)
        if not self._greeted:
            self._greeted = True
            self.room.history.replay(self)
        self._owner.msrp_bound(self)

    def session_unbound(self, session: Session, reason: str) -> None:
        self.room.update_audience(self)
        self._owner.msrp_unbound(self, reason)

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        return begin_message(self.room, self, piece)

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        if head.method == b"NICKNAME":
            if not self.bucket.touch():
                return self.flooded()
            return self.room.use_nickname(self, head.headers.get(b"use-nickname"))
        return Refusal(501, "only SEND, REPORT and NICKNAME are understood")

    def session_congested(self, session: Session) -> None:
        self._owner.congested(self)

    def session_eased(self, session: Session, missed: int) -> None:
        self._owner.eased(self, missed)

    def response_received(self, session: Session, head: Head) -> None:
        if head.status == 481 and session.connection is not None:
            # The client knows the session no more (RFC 4975 §10.8): as if it had hung up.
            session.release()
            self.session_unbound(session, "it answered 481 to a message")
        elif head.status != 200:
            self.room.refused(session, head.transaction[:MESSAGE_ID])

    def report_received(self, session: Session, head: Head) -> None:
        """A recipient's report is not passed to the sender (RFC 7701 §6.3)."""
        if not head.headers.get(b"status", b"").startswith(b"000 2"):
            self.room.refused(session, head.message_id)
