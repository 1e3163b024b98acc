"""A room: who is in it, and who hears what is said."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference import roles
from msrpconf.conference.capabilities import Reception
from msrpconf.conference.identity import ANONYMOUS
from msrpconf.conference.invitation import Invitations
from msrpconf.conference.participant import Participant
from msrpconf.conference.roles import Roles
from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import SipURI, parse_uri

ROOM_DOMAIN = "room-domain"
"""URI parameter: the domain of a room whose URI has the focus's address as its host."""


class Room:
    """A chat room (RFC 7701 §4), known by `uri`; `key` is its canonical form.

    `audiences` has the sessions that hear the room, by what their clients can be
    sent, so that a message is made once for each kind of client and not once for
    each participant. It is kept by `update_audience`.
    """

    __slots__ = (
        "_clock",
        "_roles",
        "audiences",
        "display_text",
        "free_text",
        "invitations",
        "key",
        "messages",
        "participants",
        "settings",
        "static",
        "subject",
        "undelivered",
        "uri",
    )

    def __init__(
        self, uri: str, key: str, clock: IReactorTime, settings: RoomSettings | None = None
    ) -> None:
        self.uri = uri
        self.key = key
        self.settings = settings or RoomSettings()
        self.subject: str | None = None
        self.display_text: str | None = None
        self.free_text: str | None = None
        """What the room is for, in short and at length (RFC 4575 §5.2)."""
        self.invitations = Invitations(self.settings.max_invitations)
        self.static = False
        """Whether an operator has set the room up, so that it is there without participants."""
        self._roles = Roles()
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

    def is_named_by(self, uri: str) -> bool:
        """Whether a message to `uri`, as text, is to this room.

        The room is named by its URI, by the Contact that its focus gave (RFC 4579
        §5.1), and by the anonymous URI, which RCS clients write for it.
        """
        if uri in (self.uri, ANONYMOUS):
            return True
        try:
            parsed = parse_uri(uri)
        except SipSyntaxError:
            return False
        if isinstance(parsed, SipURI) and (domain := parsed.parameter(ROOM_DOMAIN)):
            parsed = evolve(parsed, host=domain)
        return parsed.key == self.key

    def configure(self, settings: RoomSettings) -> None:
        """Have other settings from now on."""
        self.settings = settings
        octets = settings.max_message_octets
        for each in self.participants:
            each.session.limits = evolve(each.session.limits, message_octets=octets)

    @property
    def roles(self) -> Roles:
        """What users are in this room; another value takes effect at once on who is in."""
        return self._roles

    @roles.setter
    def roles(self, roles: Roles) -> None:
        self._roles = roles
        for each in self.participants:
            each.role = roles.of(each.identity)

    def add(self, participant: Participant) -> None:
        """Take somebody in."""
        self.participants[participant] = None
        roles.entered(self, participant)

    def remove(self, participant: Participant) -> None:
        """Let somebody out."""
        self.participants.pop(participant, None)
        self.update_audience(participant)
        roles.left(self, participant)

    def update_audience(self, participant: Participant) -> None:
        """Find `participant`'s place again, whenever what it can hear may have changed."""
        session = participant.session
        for kind, listeners in list(self.audiences.items()):
            listeners.pop(session, None)
            if not listeners:
                del self.audiences[kind]
        reception = participant.reception
        if reception is not None and participant in self.participants:
            self.audiences.setdefault(reception, {})[session] = None
