"""What another server needs to go on with a participant, or with a room, that was ours.

Both are texts in JSON, which dispatchers keep and do not read: `write_seat` and `write_room` make
them, `read_seat` and `read_room` understand them, on a server that the room moves to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import asdict, evolve, frozen
from cattrs import BaseValidationError, Converter

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.identity import Identity
from msrpconf.conference.negotiation import Agreement
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.room import Room
from msrpconf.conference.session_timer import MAX_SE, MIN_SE
from msrpconf.conference.subject import clean_subject
from msrpconf.protocols.sdp import MediaDescription
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import bracket
from msrpconf.protocols.sip.grammar import parse_host
from msrpconf.protocols.sip.uri import parse_uri

MAX_SEAT = 16_384
"""Characters of what is told of one participant; who needs more is not moved."""

MAX_ROOM = 131_072
"""Characters of what is told of one room, but for its participants."""

MAX_USERS = 1000
"""Users whose roles are told of one room: those who may do most, and who may do least, first."""

MAX_LINES = 16
"""Refused lines of a description."""


class SeatError(ValueError):
    """What another server has told of a participant or a room cannot be used."""


@frozen
class Line:
    """A refused line of a session description."""

    media: str
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def of(cls, media: MediaDescription) -> Line:
        """From the description."""
        return cls(media.media, media.protocol, media.formats, media.attributes)

    @property
    def description(self) -> MediaDescription:
        """As the description has it."""
        return MediaDescription(self.media, 0, self.protocol, self.formats, self.attributes)


@frozen
class Terms:
    """A session timer (RFC 4028): `interval` in seconds, `ours` whether the server refreshes."""

    interval: float
    ours: bool
    supported: bool
    updates: bool


@frozen
class Seat:
    """A participant, but for the dialog.

    `contact` is the URI by which the client reaches the focus. `reception` is in what form its
    client is sent messages, and `receives`, `speaks_text`, `private_messages`, `secure` and
    `direction` are those of its `Agreement`. `origin` is the address, id and version of our last
    description, `above` and `below` are the lines that it refuses.
    """

    identity: Identity
    contact: str
    reception: Reception
    receives: bool
    speaks_text: bool
    private_messages: bool
    secure: bool
    direction: str
    origin: tuple[str, int, int]
    above: tuple[Line, ...] = ()
    below: tuple[Line, ...] = ()
    nickname: str | None = None
    terms: Terms | None = None

    @property
    def agreement(self) -> Agreement:
        """What was agreed, as far as it does not depend on where the room is."""
        return Agreement(
            b"",
            self.reception,
            self.receives,
            self.speaks_text,
            self.private_messages,
            None,
            self.secure,
            (),
            self.direction,
        )


@frozen
class RoomState:
    """A room, but for its participants and its settings, which are those of the new server."""

    uri: str
    subject: str | None = None
    display_text: str | None = None
    free_text: str | None = None
    assigned: Mapping[str, str] = {}
    others: str = Role.PARTICIPANT.text
    muted: tuple[str, ...] = ()
    invited: tuple[str, ...] = ()
    members_only: bool = False
    locked: bool = False

    @property
    def roles(self) -> Roles:
        """The roles of its users. Raises `ValueError` for what is none."""
        return Roles(
            {key: Role.parse(text) for key, text in self.assigned.items()},
            Role.parse(self.others),
            frozenset(self.muted),
            self.members_only,
            self.locked,
            frozenset(self.invited),
        )


_CONVERTER = Converter(forbid_extra_keys=False)


def write_seat(participant: Participant, host: str) -> str:
    """What there is to tell of a participant; empty for who cannot be moved.

    `host` is the address in the server's descriptions. Who has not joined yet, or whose client
    and we have not agreed, cannot be moved.
    """
    agreement = participant.agreement
    if participant.state is not State.JOINED or agreement is None:
        return ""
    negotiation = participant.negotiation
    above, below = negotiation.refused
    if len(above) + len(below) > MAX_LINES:
        return ""
    timer = participant.session_timer
    seat = Seat(
        participant.identity,
        participant.contact,
        agreement.reception,
        agreement.receives,
        agreement.speaks_text,
        agreement.private_messages,
        participant.session.secure,
        agreement.direction,
        (negotiation.origin_host or host, negotiation.origin_id, negotiation.version),
        tuple(map(Line.of, above)),
        tuple(map(Line.of, below)),
        participant.room.nicknames.of(participant),
        None
        if timer is None
        else Terms(timer.interval, timer.ours, timer.supported, timer.updates),
    )
    text = _dump(asdict(seat))
    return text if len(text) <= MAX_SEAT else ""


def read_seat(text: str) -> Seat:
    """A participant as another server has told of it. Raises `SeatError`."""
    seat: Seat = _structure(text, Seat, MAX_SEAT, "a participant")
    if not seat.identity.keys:
        raise SeatError("a participant: it has no URI")
    if len(seat.above) + len(seat.below) > MAX_LINES:
        raise SeatError(f"a participant: more than {MAX_LINES} refused lines")
    if seat.terms is not None and not MIN_SE <= seat.terms.interval <= MAX_SE:
        raise SeatError(f"a participant: its session is good for {seat.terms.interval} s")
    if not all(map(_is_line, _texts(asdict(seat)))):
        raise SeatError("a participant: a text has more than one line")
    try:
        parse_uri(seat.identity.uri)
        parse_uri(seat.contact)
        parse_host(bracket(seat.origin[0]))
    except SipSyntaxError as error:
        raise SeatError(f"a participant: {error}") from None
    return seat


def write_room(room: Room) -> str:
    """What there is to tell of a room: of a static one not what its record says."""
    roles = room.roles
    assigned = {} if room.static else dict(_first(roles.assigned))
    state = RoomState(
        room.uri,
        room.subject,
        None if room.static else room.display_text,
        None if room.static else room.free_text,
        {key: role.text for key, role in assigned.items()},
        roles.others.text,
        tuple(sorted(roles.muted)[:MAX_USERS]),
        tuple(sorted(roles.invited)[:MAX_USERS]),
        roles.members_only,
        roles.locked,
    )
    text = _dump(asdict(state))
    if len(text) > MAX_ROOM:
        owners = {key: role for key, role in state.assigned.items() if role == Role.OWNER.text}
        text = _dump(asdict(evolve(state, assigned=owners, muted=(), invited=())))
    return text if len(text) <= MAX_ROOM else ""


def read_room(text: str) -> RoomState:
    """A room as another server has told of it. Raises `SeatError`."""
    state: RoomState = _structure(text, RoomState, MAX_ROOM, "a room")
    try:
        parse_uri(state.uri)
        roles = state.roles
    except ValueError as error:
        raise SeatError(f"a room: {error}") from None
    if any(len(each) > MAX_USERS for each in (roles.assigned, roles.muted, roles.invited)):
        raise SeatError(f"a room: more than {MAX_USERS} users of one kind")
    subject = clean_subject(state.subject or "")
    return evolve(state, subject=subject)


def apply_room(room: Room, state: RoomState) -> None:
    """Have a room be as it was on another server: of a static one what its record does not say."""
    room.subject = state.subject
    roles = state.roles
    if room.static:
        room.roles = evolve(room.roles, muted=roles.muted, invited=roles.invited)
        return
    room.display_text = state.display_text
    room.free_text = state.free_text
    room.roles = roles


def _first(assigned: Mapping[str, Role]) -> list[tuple[str, Role]]:
    """The roles that matter most."""
    weight = {Role.OWNER: 0, Role.BANNED: 1, Role.MODERATOR: 2}
    return sorted(assigned.items(), key=lambda item: weight.get(item[1], 3))[:MAX_USERS]


def _texts(value: Any) -> Iterator[str]:
    """All texts in what `asdict` gives."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _is_line(text: str) -> bool:
    return not any(char in text for char in "\r\n\0")


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _structure(text: str, kind: Any, limit: int, what: str) -> Any:
    if len(text) > limit:
        raise SeatError(f"{what}: {len(text)} characters; {limit} at most")
    try:
        return _CONVERTER.structure(json.loads(text), kind)
    except (BaseValidationError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SeatError(f"{what}: {type(error).__name__}: {str(error)[:200]}") from None
