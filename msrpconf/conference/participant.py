"""A participant: one user in one room from one device."""

from __future__ import annotations

import enum
import secrets
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.identity import Identity
from msrpconf.conference.messages import begin_message
from msrpconf.conference.negotiation import Agreement, Negotiation
from msrpconf.conference.roles import Role
from msrpconf.protocols.msrp.frame import Head
from msrpconf.protocols.msrp.session import Limits, MessageSink, Piece, Refusal, Session
from msrpconf.protocols.sip.dialog import Dialog

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


class Participant:
    """One user's presence in a room from one device, with its SIP dialog and MSRP session.

    It is the handler of its session, at our URI `local_path`, with `clock` and
    `limits`: what arrives there is the room's to route. The peer's path comes with
    what is agreed.
    """

    __slots__ = (
        "_owner",
        "agreement",
        "dialog",
        "flow",
        "identity",
        "negotiation",
        "role",
        "room",
        "session",
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
        self.timer: IDelayedCall | None = None
        """Ends the wait for what comes next: the ACK, or the MSRP connection."""
        self._owner = owner

    def __str__(self) -> str:
        return f"{self.identity} in {self.room.uri}"

    def __repr__(self) -> str:
        return f"<{self}, {self.state.value}>"

    @property
    def reception(self) -> Reception | None:
        """How messages of the room go to this participant now; None where they do not.

        They do not while its client has put us on hold (RFC 3264 §8.4), nor while
        it has no connection.
        """
        if self.agreement is None or not self.agreement.receives or self.state is State.DROPPED:
            return None
        return None if self.session.connection is None else self.agreement.reception

    @property
    def muted(self) -> bool:
        """Whether this participant has no voice."""
        return self.role <= Role.VISITOR

    @property
    def speaks_text(self) -> bool:
        """Whether our description let this participant say text/plain without a wrapper."""
        return self.agreement is None or self.agreement.speaks_text

    def stop_timer(self) -> None:
        """Wait for nothing any more."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # The handler of the MSRP session.

    def session_bound(self, session: Session) -> None:
        self.room.update_audience(self)
        self._owner.msrp_bound(self)

    def session_unbound(self, session: Session, reason: str) -> None:
        self.room.update_audience(self)
        self._owner.msrp_unbound(self, reason)

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        return begin_message(self.room, self, piece)

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        if head.method == b"NICKNAME":
            return Refusal(403, "nicknames are not served here")  # RFC 7701 §7.1
        return Refusal(501, "only SEND and REPORT are understood")

    def response_received(self, session: Session, head: Head) -> None:
        if head.status == 481 and session.connection is not None:
            # The client knows the session no more (RFC 4975 §10.8): as if it had hung up.
            session.release()
            self.session_unbound(session, "it answered 481 to a message")

    def report_received(self, session: Session, head: Head) -> None:
        """A recipient's report is not passed to the sender (RFC 7701 §6.3)."""
