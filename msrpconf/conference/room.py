"""A room: who is in it, and who hears what is said."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference import roles
from msrpconf.conference.capabilities import Reception
from msrpconf.conference.distribution import Transfer
from msrpconf.conference.history import History
from msrpconf.conference.identity import ANONYMOUS, ANONYMOUS_DOMAIN, Identity
from msrpconf.conference.imdn import Originals
from msrpconf.conference.info import RoomInfo
from msrpconf.conference.invitation import Invitations
from msrpconf.conference.nicknames import Nickname, Nicknames
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.roles import Roles
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.spool import Spools
from msrpconf.conference.voice import announce
from msrpconf.protocols.msrp.session import Refusal, Session
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import SipURI, parse_uri

ROOM_DOMAIN = "room-domain"
"""URI parameter: the domain of a room whose URI has the focus's address as its host."""


class Room:
    """A chat room (RFC 7701 §4), known by `uri`; `key` is its canonical form.

    `audiences` has the sessions that hear the room, by what their clients can be
    sent, so that a message is made once for each kind of client and not once for
    each participant. It is kept by `update_audience`. `nicknames`, `history` and
    `originals` are what their modules say.
    """

    __slots__ = (
        "_addresses",
        "_clock",
        "_display_text",
        "_free_text",
        "_roles",
        "_subject",
        "_users",
        "audiences",
        "history",
        "info",
        "invitations",
        "key",
        "messages",
        "nicknames",
        "originals",
        "participants",
        "private_messages",
        "run_command",
        "settings",
        "silent",
        "spools",
        "static",
        "transfers",
        "undelivered",
        "uri",
    )

    def __init__(
        self, uri: str, key: str, clock: IReactorTime, settings: RoomSettings | None = None
    ) -> None:
        self.uri = uri
        self.key = key
        self.settings = settings or RoomSettings()
        self._subject: str | None = None
        self._display_text: str | None = None
        self._free_text: str | None = None
        self.invitations = Invitations(self.settings.max_invitations)
        self.static = False
        """Whether an operator has set the room up, so that it is there without participants."""
        self._roles = Roles()
        settings = self.settings
        self.nicknames = Nicknames(clock, settings.reserved_nicknames, settings.quarantine)
        self.history = History(settings.history_messages, settings.history_age, clock.seconds)
        self.originals = Originals()
        self.run_command: Callable[[Participant, bytes], Refusal | bool] | None = None
        """Does what a message tells the room to; False for one that is to be said."""
        self.spools: Spools | None = None
        """Where what slow readers have not read yet may wait."""
        self.silent = False
        """Whether notices are not worth making: everybody is about to leave."""
        self.participants: dict[Participant, None] = {}
        self._users: dict[str, dict[Participant, None]] = {}
        self._addresses: dict[str, dict[Participant, None]] = {}
        self.audiences: dict[Reception, dict[Session, None]] = {}
        self.messages = 0
        """Messages that were said to all."""
        self.private_messages = 0
        """Messages that were said to one."""
        self.undelivered = 0
        """Copies that a full queue or a vanished connection kept from their recipients."""
        self.transfers: dict[bytes, Transfer] = {}
        """Messages of several chunks that are under way, by the Message-ID of their copies."""
        self._clock = clock
        self.info = RoomInfo(self, clock)
        """What watchers are told of the room."""

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
            each.limit_rate(settings)
        self.nicknames.configure(settings.reserved_nicknames, settings.quarantine)
        self.history.limit(settings.history_messages, settings.history_age)
        self.info.described()

    @property
    def subject(self) -> str | None:
        """What the room talks about (RFC 4575 §5.3)."""
        return self._subject

    @subject.setter
    def subject(self, text: str | None) -> None:
        self._subject = text
        self.info.described()

    @property
    def display_text(self) -> str | None:
        """What the room is for, in short."""
        return self._display_text

    @display_text.setter
    def display_text(self, text: str | None) -> None:
        self._display_text = text
        self.info.described()

    @property
    def free_text(self) -> str | None:
        """What the room is for, at length."""
        return self._free_text

    @free_text.setter
    def free_text(self, text: str | None) -> None:
        self._free_text = text
        self.info.described()

    @property
    def roles(self) -> Roles:
        """What users are in this room; another value takes effect at once on who is in."""
        return self._roles

    @roles.setter
    def roles(self, roles: Roles) -> None:
        before, self._roles = self._roles, roles
        changed = roles.changed_since(before)
        for each in self.participants:
            if changed is not None and changed.isdisjoint(each.identity.keys):
                continue  # ownership passes on in rooms of thousands, too
            role = roles.of(each.identity)
            if role is not each.role:
                each.role = role
                self.info.changed(each)
        if roles.locked is not before.locked:
            self.info.locked()

    # Who is here.

    def introduce(self, identity: Identity) -> Identity:
        """A user as this room knows it.

        Who wants to be anonymous gets a URI that says nothing, and is nobody
        else's here (RFC 7701 §5.2); another device of the same user has the same.
        """
        if not identity.anonymous:
            return identity
        for device in () if identity.is_unknown else self.devices_of(identity.key):
            if device.identity.anonymous:
                return identity.named(device.identity.uri)
        uri = identity.uri
        if uri == ANONYMOUS or self.addressed(uri):
            uri = f"sip:anonymous-{secrets.token_hex(6)}@{ANONYMOUS_DOMAIN}"
        return identity.named(uri)

    def add(self, participant: Participant) -> None:
        """Take somebody in."""
        self.participants[participant] = None
        roles.entered(self, participant)
        identity = participant.identity
        self._users.setdefault(identity.key, {})[participant] = None
        for key in identity.public_keys:
            self._addresses.setdefault(key, {})[participant] = None

    def remove(self, participant: Participant) -> None:
        """Let somebody out."""
        if self.participants.pop(participant, participant) is None:
            identity = participant.identity
            _discard(self._users, identity.key, participant)
            for key in identity.public_keys:
                _discard(self._addresses, key, participant)
        self.update_audience(participant)
        roles.left(self, participant)

    def devices_of(self, user: str) -> Collection[Participant]:
        """The participants that are one user, by its identity's key."""
        return self._users.get(user, {})

    def addressed(self, uri: str) -> Collection[Participant]:
        """The participants whom a message to `uri`, as text, is for; none for no URI."""
        try:
            key = parse_uri(uri).key
        except SipSyntaxError:
            return ()
        found = self._addresses.get(key)
        if found is None and key.startswith("im:"):
            found = self._addresses.get(f"sip:{key[3:]}")
        return found or ()

    def audiences_of(
        self, participants: Iterable[Participant]
    ) -> dict[Reception, dict[Session, None]]:
        """The sessions of some participants that can be sent to, as `audiences` has them."""
        audiences: dict[Reception, dict[Session, None]] = {}
        for participant in participants:
            reception = participant.reception
            if reception is not None:
                audiences.setdefault(reception, {})[participant.session] = None
        return audiences

    def refused(self, session: Session, message_id: bytes) -> None:
        """A recipient has refused a chunk of a message."""
        transfer = self.transfers.get(message_id)
        if transfer is not None:
            transfer.refused_by(session)

    # What the room says.

    def joined(self, participant: Participant) -> None:
        """Somebody is in: give back the nickname that was kept, and tell the others."""
        user = participant.identity.key
        if self.settings.nicknames and self.nicknames.returned(participant, user):
            participant.update_speaker()
        self.info.joined(participant)
        others = self.devices_of(user)
        if not any(each.state is State.JOINED and each is not participant for each in others):
            self.notice(f"{participant.speaker.label} has joined", participant)

    def left(self, participant: Participant) -> None:
        """Somebody who was in is out."""
        identity = participant.identity
        self.info.left(participant)
        self.nicknames.left(participant, identity.key)
        if not self.devices_of(identity.key):
            self.notice(f"{participant.speaker.label} has left", participant)

    @property
    def gives_notices(self) -> bool:
        """Whether everybody is told who comes and goes."""
        settings = self.settings
        few = len(self.participants) <= settings.notices_up_to
        return settings.notices and few and not self.silent

    def notice(self, text: str, about: Participant | None = None) -> None:
        """Tell everybody something, but for whom it is about."""
        if self.gives_notices:
            announce(self, text, but=None if about is None else about.session)

    def use_nickname(self, participant: Participant, value: bytes | None) -> Refusal | None:
        """Serve a NICKNAME request, `value` being its Use-Nickname (RFC 7701 §7.1)."""
        if not self.settings.nicknames:
            return Refusal(403, "nicknames are off in this room")
        if value is None:
            return Refusal(424, "NICKNAME needs a Use-Nickname")
        before = participant.speaker.label
        identity = participant.identity
        refusal = self.nicknames.use(participant, identity.key, value, self._is_taken)
        if refusal is None and participant.update_speaker():
            self.info.changed(participant)
            self.notice(f"{before} is now {participant.speaker.label}", participant)
        return refusal

    def _is_taken(self, nickname: Nickname, user: str) -> bool:
        """Whether a nickname would pass for somebody else's address."""
        name = nickname.key.partition(":")[2] or nickname.key
        return any(
            each.identity.key != user for each in self.addressed(f"sip:{name}") if "@" in name
        )

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


def _discard(table: dict[str, dict[Participant, None]], key: str, participant: Participant) -> None:
    found = table.get(key)
    if found is not None:
        found.pop(participant, None)
        if not found:
            del table[key]
