"""What an operator does with rooms in which people are: no role is asked for, all is allowed.

What cannot be done raises `CannotBeDone`, whose text is for the operator to act on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import evolve
from twisted.internet.defer import Deferred

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.invitation import Guest
from msrpconf.conference.moderation import Expeller, set_roles
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.refer import Referrals
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.roles import MAX_ASSIGNED, Role, Roles, is_whole_domain, user_key
from msrpconf.conference.room import Room
from msrpconf.conference.settings import ServerSettings
from msrpconf.conference.static import StaticRoom
from msrpconf.conference.voice import announce as tell_all
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr, Reason
from msrpconf.protocols.sip.refer import ReferTo
from msrpconf.protocols.sip.uri import SipURI, parse_uri

__all__ = [
    "CannotBeDone",
    "NotThere",
    "announce",
    "close",
    "find_room",
    "invite",
    "mute",
    "participants_named",
    "remove",
]

REMOVED = Reason("SIP", 200, "Removed by the operator")
CLOSED = Reason("SIP", 200, "The room was closed by the operator")

MAX_ANNOUNCEMENT = 4000
"""Characters of what is said in a room's name at once."""


class CannotBeDone(Exception):
    """What an operator has asked for cannot be; the text says why, and what could."""


class NotThere(CannotBeDone):
    """There is no such room, or nobody of that name in it."""


class Control(Expeller, Protocol):
    """What has the rooms, and sends people out of them: `ConferenceControl`."""

    settings: ServerSettings

    @property
    def registry(self) -> ConferenceRegistry: ...

    @property
    def referrals(self) -> Referrals: ...

    def close_room(self, key: str, reason: Reason) -> Deferred[list[tuple[bool, None]]]: ...


# Finding.


def with_scheme(text: str) -> str:
    """A URI whose ``sip:`` may be left out."""
    return text if ":" in text.partition("@")[0] else f"sip:{text}"


def room_key(text: str) -> str:
    """The key of the room that `text` names: its URI, with or without ``sip:``.

    Raises `NotThere` for what no room can have as its URI.
    """
    try:
        uri = parse_uri(with_scheme(text))
    except SipSyntaxError as error:
        raise NotThere(f"not the URI of a room, such as sip:lobby@example.com: {error}") from None
    if not isinstance(uri, SipURI) or uri.user is None:
        raise NotThere("not the URI of a room, such as sip:lobby@example.com")
    return uri.key


def find_room(registry: ConferenceRegistry, text: str) -> Room:
    """The room that `text` names. Raises `NotThere`."""
    key = room_key(text)
    room = registry.rooms.get(key)
    if room is None:
        raise NotThere(f"there is no room {key}: nobody is in it, and it is not set up")
    return room


def participants_named(room: Room, who: str) -> list[Participant]:
    """The participants that `who` names: all devices of a user's URI, or the one of a To tag.

    Of who is anonymous, the URI is that which the room shows, or the real one. Raises
    `NotThere` where it is nobody.
    """
    found = [each for each in room.participants if each.dialog.local_tag == who]
    if not found:
        try:
            key = _user(who)
        except SipSyntaxError:
            key = who
        found = [each for each in room.participants if key in each.identity.keys]
    if not found:
        raise NotThere(f"{who} is not in {room.uri}")
    return found


def keys_of(room: Room, text: str) -> tuple[str, ...]:
    """The canonical URIs of a user, of whom `text` is one: more than it of who is in the room.

    Raises `CannotBeDone` for what is no user's URI.
    """
    try:
        key = _user(text)
    except SipSyntaxError as error:
        raise CannotBeDone(
            f"not a user's URI, such as sip:alice@example.com or *@example.com: {error}"
        ) from None
    for each in room.participants:
        identity = each.identity
        if key in identity.keys:
            keys = identity.proven or identity.keys
            return (key, *(each for each in keys if each != key)) if key in keys else keys
    return (key,)


def one_user(text: str) -> str:
    """The canonical URI of a user, who need not be in a room; `CannotBeDone` for a domain."""
    try:
        key = _user(text)
    except SipSyntaxError as error:
        raise CannotBeDone(f"not a user's URI, such as sip:alice@example.com: {error}") from None
    if is_whole_domain(key):
        raise CannotBeDone(f"{key} is a whole domain: name one user, or write a rule by XCAP")
    return key


def _user(text: str) -> str:
    return user_key(with_scheme(text))


# Doing.


def remove(control: Control, participants: Iterable[Participant], reason: Reason = REMOVED) -> int:
    """Send some out of a room; how many that are."""
    leaving = [each for each in participants if each.state is not State.DROPPED]
    for each in leaving:
        control.expel(each, reason)
    return len(leaving)


def close(control: Control, room: Room, reason: Reason = CLOSED) -> int:
    """Send everybody out of a room; how many that are. A static room remains."""
    count = len(room.participants)
    if count:
        control.close_room(room.key, reason)
    return count


def announce(room: Room, text: str) -> int:
    """Say something in the room's name; how many it is sent to. Raises `CannotBeDone`."""
    if not text.strip():
        raise CannotBeDone("there is nothing to say: the text is empty")
    if len(text) > MAX_ANNOUNCEMENT:
        raise CannotBeDone(f"{len(text)} characters; {MAX_ANNOUNCEMENT} at most")
    if not all(each.isprintable() or each in "\n\t" for each in text):
        raise CannotBeDone("must be text, without control characters")
    tell_all(room, text)
    return sum(map(len, room.audiences.values()))


def invite(control: Control, room: Room, users: Iterable[str]) -> list[str]:
    """Ask people into a room, in its name (RFC 4579 §5.2); the canonical URIs of those asked.

    Who is in it, or is being asked, is not asked again. Raises `CannotBeDone`.
    """
    guests = []
    for text in users:
        try:
            uri = parse_uri(with_scheme(text))
            guest = Guest.of(ReferTo.of(NameAddr(uri)))
        except SipSyntaxError as error:
            raise CannotBeDone(f"{text} cannot be invited: {error}") from None
        if guest is None or (isinstance(guest.uri, SipURI) and guest.uri.user is None):
            raise CannotBeDone(f"{text} cannot be invited: not a user's URI")
        guests.append(guest)
    asker = Identity(room.uri, room.display_text, (room.key,))
    inviter = control.referrals.inviter
    admitted = inviter.admit(room, guests, asker)
    if isinstance(admitted, Denied):
        raise CannotBeDone(admitted.reason)
    for each in admitted:
        inviter.invite(room, each, asker)
    return [each.key for each in admitted]


def mute(control: Control, room: Room, keys: tuple[str, ...], muted: bool = True) -> None:
    """Take a user's voice, or give it back; it holds while the room is there. `CannotBeDone`."""
    if muted and is_whole_domain(keys[0]):
        raise CannotBeDone(f"{keys[0]}: a whole domain is made visitors, not muted")
    if muted and len(room.roles.muted) >= MAX_ASSIGNED:
        raise CannotBeDone(f"the room has muted {MAX_ASSIGNED} users already")
    set_roles(control, room, room.roles.mute(keys, muted))


def with_role(roles: Roles, keys: tuple[str, ...], role: Role | None) -> Roles:
    """Roles in which a user has `role`; None takes theirs away. Raises `CannotBeDone`."""
    if role is not None and role >= Role.MODERATOR and is_whole_domain(keys[0]):
        raise CannotBeDone(f"{keys[0]}: a whole domain cannot be {role.text}")
    changed = roles.assign(keys, role)
    if len(changed.assigned) > max(MAX_ASSIGNED, len(roles.assigned)):
        raise CannotBeDone(f"the room knows the roles of {MAX_ASSIGNED} users already")
    return changed


# What a room is, as a record.


def record_of(room: Room) -> StaticRoom:
    """A room as the record of a static room that would be like it.

    Raises `StaticRoomError` for one that no static room can be like.
    """
    roles = evolve(room.roles, muted=frozenset(), invited=frozenset())
    texts = (room.subject or "", room.display_text or "", room.free_text or "")
    return StaticRoom(room.uri, *texts, roles)


def apply(control: Control, room: Room, record: StaticRoom) -> None:
    """Have an ad-hoc room be like a record, while it is there."""
    room.subject = record.subject or None
    room.display_text = record.display_text or None
    room.free_text = record.free_text or None
    if record.settings:
        room.configure(record.settings_over(room.settings))
    before = room.roles
    set_roles(control, room, evolve(record.roles, muted=before.muted, invited=before.invited))
