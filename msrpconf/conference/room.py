"""A room: who is in it, and who hears what is said."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.participant import Participant
from msrpconf.protocols.msrp.session import Session


class Room:
    """A chat room (RFC 7701 §4), known by `uri`; `key` is its canonical form.

    `audiences` has the sessions that hear the room, by what their clients can be
    sent, so that a message is made once for each kind of client and not once for
    each participant. It is kept by `update_audience`.
    """

    def __init__(self, uri: str, key: str, clock: IReactorTime) -> None:
        self.uri = uri
        self.key = key
        self.subject: str | None = None
        self.participants: dict[Participant, None] = {}
        self.audiences: dict[Reception, dict[Session, None]] = {}
        self.messages = 0
        """Messages that were routed here."""
        self.undelivered = 0
        """Copies that a full queue or a vanished connection kept from their recipients."""
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Room {self.uri}, {len(self.participants)} participants>"

    def now(self) -> float:
        """The time, in seconds of the epoch."""
        return self._clock.seconds()

    def add(self, participant: Participant) -> None:
        """Take somebody in."""
        self.participants[participant] = None

    def remove(self, participant: Participant) -> None:
        """Let somebody out."""
        self.participants.pop(participant, None)
        self.update_audience(participant)

    def update_audience(self, participant: Participant) -> None:
        """Find `participant`'s place again, whenever what it can hear may have changed."""
        session = participant.session
        if session is None:
            return
        for reception, listeners in list(self.audiences.items()):
            listeners.pop(session, None)
            if not listeners:
                del self.audiences[reception]
        if participant.hears and participant in self.participants:
            self.audiences.setdefault(participant.reception, {})[session] = None

    def is_present(self, user_key: str) -> bool:
        """Whether the user is in from any device."""
        return any(each.identity.key == user_key for each in self.participants)
