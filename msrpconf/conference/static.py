"""Static rooms: those that an operator has set up (design: created by management only).

They are there without participants, and cannot be ended by SIP or MSRP. A record,
`StaticRoom`, says what such a room is; `StaticRooms` gives it to the registry's room
of that URI, which it makes where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import evolve, field, fields, frozen
from twisted.logger import Logger

from msrpconf.conference.moderation import Expeller, set_roles
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.roles import MAX_ASSIGNED, Role, Roles, is_whole_domain, user_key
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.uri import SipURI, parse_uri

MAX_URI = 255
"""Characters of the URI of a room, and of a user in its lists."""

MAX_LINE = 255
"""Characters of a subject, and of a display text."""

MAX_TEXT = 4000
"""Characters of a free text."""

CLOSED = Reason("SIP", 410, "The room was closed by its operator")

log = Logger()


class StaticRoomError(ValueError):
    """A record that cannot be; the text says what is wrong with what, and what would be right."""


def _line(room: object, attribute: Any, value: str) -> None:
    if len(value) > MAX_LINE:
        raise StaticRoomError(f"{attribute.name}: {len(value)} characters; {MAX_LINE} at most")
    if not all(each.isprintable() for each in value):
        raise StaticRoomError(f"{attribute.name}: must be one line of text")


def _text(room: object, attribute: Any, value: str) -> None:
    if len(value) > MAX_TEXT:
        raise StaticRoomError(f"{attribute.name}: {len(value)} characters; {MAX_TEXT} at most")
    if not all(each.isprintable() or each in "\n\t" for each in value):
        raise StaticRoomError(f"{attribute.name}: must be text, without control characters")


def _room_uri(room: object, attribute: Any, value: str) -> None:
    try:
        uri = parse_uri(value)
    except SipSyntaxError as error:
        raise StaticRoomError(f"uri: {error}") from None
    if not isinstance(uri, SipURI) or uri.user is None:
        raise StaticRoomError(f"uri: expected one such as sip:lobby@example.com, found {value!r}")
    if len(value) > MAX_URI or len(uri.key) > MAX_URI:
        raise StaticRoomError(f"uri: {MAX_URI} characters at most")


def _overrides(room: object, attribute: Any, value: Mapping[str, object]) -> None:
    unknown = value.keys() - {each.name for each in fields(RoomSettings)}
    if unknown:
        raise StaticRoomError(f"settings: {', '.join(sorted(unknown))}: no setting of a room")


@frozen
class StaticRoom:
    """What an operator has decided about one room.

    `uri` is how the room is shown, `display_text` and `free_text` describe it
    (RFC 4575 §5.2). `settings` are those of the `RoomSettings` that differ from the
    configuration's. `created` and `changed` are in seconds of the epoch; `revision`
    is another after each change. An empty text is none. Raises `StaticRoomError`.
    """

    uri: str = field(validator=_room_uri)
    subject: str = field(default="", validator=_line)
    display_text: str = field(default="", validator=_line)
    free_text: str = field(default="", validator=_text)
    roles: Roles = field(factory=Roles)
    settings: Mapping[str, Any] = field(factory=dict, validator=_overrides)
    created: float = 0.0
    changed: float = 0.0
    revision: int = 0

    @roles.validator
    def _check_roles(self, _: object, roles: Roles) -> None:
        if roles.others not in {Role.PARTICIPANT, Role.VISITOR}:
            raise StaticRoomError("others: expected participant or visitor")
        if len(roles.assigned) > MAX_ASSIGNED:
            raise StaticRoomError(f"roles: {len(roles.assigned)} users; {MAX_ASSIGNED} at most")
        for key, role in roles.assigned.items():
            if role >= Role.MODERATOR and is_whole_domain(key):
                raise StaticRoomError(f"roles: {key}: a whole domain cannot be {role.text}")

    @property
    def key(self) -> str:
        """The canonical form of the URI, which identifies the room."""
        return parse_uri(self.uri).key

    def settings_over(self, defaults: RoomSettings) -> RoomSettings:
        """The settings of this room, where `defaults` are those of all."""
        return evolve(defaults, **self.settings)


def assigned(users: Mapping[str, Role]) -> dict[str, Role]:
    """A list of users as people write it, by canonical URIs. Raises `StaticRoomError`."""
    result: dict[str, Role] = {}
    for text, role in users.items():
        try:
            key = user_key(text)
        except SipSyntaxError as error:
            raise StaticRoomError(
                f"roles: {error}; expected a URI such as sip:alice@example.com,"
                " or *@example.com for a whole domain"
            ) from None
        if len(key) > MAX_URI:
            raise StaticRoomError(f"roles: {key[:40]}...: {MAX_URI} characters at most")
        if result.setdefault(key, role) is not role:
            raise StaticRoomError(f"roles: {key} is both {result[key].text} and {role.text}")
    return result


class Server(Expeller, Protocol):
    """What has the rooms and the settings of all of them: `ConferenceControl`."""

    @property
    def registry(self) -> ConferenceRegistry: ...

    @property
    def settings(self) -> ServerSettings: ...


class StaticRooms:
    """The static rooms of a server: their records, and the registry's rooms kept like them.

    A record takes effect at once on who is in the room. Who is banned now, no member of
    what is for members only now, or without TLS in what is for TLS only now, is sent out;
    nobody is because the room is locked now, or takes fewer participants. Media types hold
    for what is negotiated from then on.
    """

    def __init__(self, control: Server) -> None:
        self.records: dict[str, StaticRoom] = {}
        """By the key of the room."""
        self._control = control

    def put(self, record: StaticRoom) -> None:
        """Have a static room, or change it; an ad-hoc room of that URI becomes it."""
        registry = self._control.registry
        key = record.key
        self.records[key] = record
        settings = record.settings_over(self._control.settings.room)
        room = registry.room(record.uri, key, settings)
        if not room.static:
            room.static = True
            registry.static_rooms += 1
        room.uri = record.uri
        room.subject = record.subject or None
        room.display_text = record.display_text or None
        room.free_text = record.free_text or None
        room.configure(settings)
        # What moderators did stays: whom they muted, and invited.
        before = room.roles
        roles = evolve(record.roles, muted=before.muted, invited=before.invited)
        set_roles(self._control, room, roles)

    def remove(self, key: str) -> None:
        """Have a static room no more; who is in it is sent out."""
        registry = self._control.registry
        if self.records.pop(key, None) is None:
            return
        room = registry.rooms[key]
        for each in list(room.participants):
            self._control.expel(each, CLOSED)
        room.static = False
        registry.static_rooms -= 1
        if not room.participants:
            registry.end(room)
