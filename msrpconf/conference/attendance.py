"""How participants come, wait and go: the owner of their timers.

Whoever is in must have an MSRP connection before long, and read what comes on it;
else it is dropped, and the focus tells it so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.conference.bye import send_bye
from msrpconf.conference.connecting import NOT_THE_PEER
from msrpconf.conference.departure import Departure
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.conference.voice import tell
from msrpconf.protocols.channel import Channel
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.session import FrameWriter, Refusal, Session
from msrpconf.protocols.sip.headers import Reason
from msrpconf.visible import visible

Connector = Callable[[Session, Destination], None]
"""Connects a session of ours to where its peer waits for us (RFC 6135)."""


class Server(Protocol):
    """What a server's participants depend on."""

    settings: ServerSettings
    channel: Channel | None
    connect: Connector


class Attendance:
    """The owner of a server's participants: see `ParticipantOwner`.

    `on_bound` is told of each participant whose MSRP is there.
    """

    _log = Logger()

    def __init__(self, server: Server, registry: ConferenceRegistry, clock: IReactorTime) -> None:
        self.on_bound: Callable[[Participant], None] | None = None
        self._server = server
        self._registry = registry
        self._clock = clock

    def msrp_bound(self, participant: Participant) -> None:
        """Somebody's MSRP is there: no more waiting for it."""
        if awaits_msrp(participant):
            participant.stop_timer()
        if self.on_bound is not None:
            self.on_bound(participant)

    def msrp_unbound(self, participant: Participant, reason: str) -> None:
        """Somebody's MSRP is gone: it may come back within the grace time."""
        participant.stop_congestion_timer()
        if awaits_msrp(participant):
            told = " ".join(reason.split()).rstrip(".")
            why = f"MSRP was lost ({told}) and did not come back"
            self.wait(participant, self._server.settings.grace, why)

    def admits(self, participant: Participant, connection: FrameWriter) -> Refusal | None:
        """Whose certificate is not the one of the description ends the session (RFC 8122 §6.2)."""
        agreement = participant.agreement
        if agreement is None or agreement.trusts(connection):
            return None
        self.end(participant, Reason("SIP", 488, NOT_THE_PEER))
        return Refusal(403, NOT_THE_PEER)

    def congested(self, participant: Participant) -> None:
        """Somebody does not read what they are sent: bear it for a while (RFC 7701 §6.4)."""
        self.note("congested", participant)
        seconds = self._server.settings.congested_timeout
        reason = Reason("SIP", 480, f"Your client did not read messages for {seconds:g} s")
        participant.congestion_timer = self._clock.callLater(seconds, self.end, participant, reason)

    def eased(self, participant: Participant, missed: int) -> None:
        """They read again: tell them that they missed something."""
        participant.stop_congestion_timer()
        self.note(f"no longer congested, {missed} messages missed", participant)
        tell(participant, f"Your connection was too slow: you missed {missed} messages")

    def expect_msrp(self, participant: Participant) -> None:
        """Agreed: where the session has no connection, make it or wait for it."""
        session = participant.session
        agreement = participant.agreement
        if not awaits_msrp(participant) or session.connection is not None:
            return
        self.wait(participant, self._server.settings.msrp_timeout, "No MSRP connection")
        if agreement is not None and agreement.connect_to is not None:
            self._server.connect(session, agreement.connect_to)

    def wait(self, participant: Participant, seconds: float, why: str) -> None:
        """Drop a participant after so many seconds, unless its timer is stopped before."""
        participant.stop_timer()
        participant.timer = self._clock.callLater(seconds, self._gave_up, participant, seconds, why)

    def _gave_up(self, participant: Participant, seconds: float, why: str) -> None:
        self.end(participant, Reason("SIP", 408, f"{why} within {seconds:g} s"))

    def expel(self, participant: Participant, reason: Reason) -> None:
        """Send somebody out."""
        if participant.state is not State.DROPPED:
            self.end(participant, reason)

    def end(self, participant: Participant, reason: Reason) -> Deferred[None]:
        """Drop a participant and have the focus tell it."""
        participant.departure = Departure.of(reason)
        self.leave(participant, f"dropped: {reason.text}")
        return self.tell_out(participant, reason)

    def tell_out(self, participant: Participant, reason: Reason) -> Deferred[None]:
        """Have the focus say BYE to who is dropped; done when it is answered or given up."""
        self._registry.tally.dropped[reason.cause or 0] += 1
        return send_bye(self._server.channel, participant, reason)

    def leave(self, participant: Participant, how: str) -> None:
        """Drop a participant; `how` is for the log."""
        self._registry.leave(participant)
        self.note(how, participant)

    def note(self, what: str, participant: Participant) -> None:
        """Log what becomes of a participant."""
        self._log.info(
            "{what}: {user} in {room} (Call-ID {call_id}; {count} in the room)",
            what=visible(what),
            user=participant.identity,
            room=participant.room.uri,
            call_id=visible(participant.dialog.call_id),
            count=len(participant.room.participants),
        )


def awaits_msrp(participant: Participant) -> bool:
    """Whether MSRP is what a participant's timer is for: it is in, and no ACK is outstanding."""
    return participant.state is State.JOINED and participant.negotiation.unacknowledged is None
