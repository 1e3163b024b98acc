"""Who is what in a room: owners, moderators, members, visitors, and who is banned.

A role is a user's, on whatever devices. A room has one `Roles` value; whoever changes
it gives the room another one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen
from twisted.logger import Logger

from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import SipURI, parse_uri

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

MAX_ASSIGNED = 10000
"""Users that one room knows a role of, users whom it has muted, and users whom it lets in."""

# Not the key of any URI: who is called "*" is not everybody.
_WHOLE_DOMAIN = "*@"

log = Logger()


class Role(enum.IntEnum):
    """What a user is in a room; who may do more is greater."""

    BANNED = 0
    """Does not get in."""
    VISITOR = 1
    """Hears, and has no voice."""
    PARTICIPANT = 2
    """Hears and speaks: who comes to an open room."""
    MEMBER = 3
    """Gets into a members-only room."""
    MODERATOR = 4
    """Removes and mutes participants; gets into a locked room."""
    OWNER = 5
    """Makes moderators and owners."""

    @property
    def text(self) -> str:
        """The role as configuration, database and people have it: ``moderator``."""
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Role:
        """Read `text`. Raises `ValueError` that says which roles there are."""
        try:
            return cls[text.upper()]
        except KeyError:
            names = ", ".join(role.text for role in cls)
            raise ValueError(f"not a role: {text!r}; the roles are {names}") from None


@frozen
class Roles:
    """The roles of a room's users, and to whom the room is open.

    `assigned` has users by the canonical form of a URI of theirs, and whole domains
    as ``*@example.com``, which can be members, visitors or banned. `others` is
    the role of everybody else. Who is `muted` is a visitor meanwhile, but for owners.
    A `members_only` room lets in who has been assigned a role; a `locked` room lets in
    nobody new but moderators and owners; both let in who was `invited` by these.
    """

    assigned: Mapping[str, Role] = {}
    others: Role = Role.PARTICIPANT
    muted: frozenset[str] = frozenset()
    members_only: bool = False
    locked: bool = False
    invited: frozenset[str] = frozenset()

    def of(self, user: Identity) -> Role:
        """The role of a user, now."""
        role = self._assigned(user)
        if role is None:
            role = self.others
        if self.muted and Role.VISITOR < role < Role.OWNER and not self.muted.isdisjoint(user.keys):
            return Role.VISITOR
        return role

    def has_member(self, user: Identity) -> bool:
        """Whether a members-only room lets in `user`: by a role, its domain's, or an invitation."""
        role = self._assigned(user)
        return self.has_invited(user) if role is None else role is not Role.BANNED

    def has_invited(self, user: Identity) -> bool:
        """Whether somebody who may has invited `user` to a room that is closed to others."""
        return not self.invited.isdisjoint(user.proven)

    def _assigned(self, user: Identity) -> Role | None:
        """What was assigned: to a user before its domain; banned before all but owner.

        A role that allows something is given only to a URI that somebody vouches for;
        nobody gets around being banned by showing another URI first.
        """
        assigned = self.assigned
        if not assigned:
            return None
        for banned, proven in (
            (user.keys, user.proven),
            (tuple(map(_domain_of, user.keys)), tuple(map(_domain_of, user.proven))),
        ):
            role = max((assigned[key] for key in proven if key in assigned), default=None)
            if role is Role.OWNER:
                return role
            if any(assigned.get(key) is Role.BANNED for key in banned):
                return Role.BANNED
            if role is not None:
                return role
        return None

    def changed_since(self, before: Roles) -> frozenset[str] | None:
        """The canonical URIs of users whose role may be another than it was; None for anybody's."""
        if self.others is not before.others:
            return None
        assigned = {key for key, _ in self.assigned.items() ^ before.assigned.items()}
        if any(map(is_whole_domain, assigned)):
            return None
        return frozenset(assigned | (self.muted ^ before.muted))

    @property
    def owners(self) -> tuple[str, ...]:
        """The canonical URIs of the owners."""
        return tuple(key for key, role in self.assigned.items() if role is Role.OWNER)

    def assign(self, keys: tuple[str, ...], role: Role | None) -> Roles:
        """The same with another role for the user of these `keys`; None takes theirs away."""
        assigned = {key: value for key, value in self.assigned.items() if key not in keys}
        if role is not None:
            assigned[keys[0]] = role
        return evolve(self, assigned=assigned)

    def mute(self, keys: tuple[str, ...], muted: bool = True) -> Roles:
        """The same with the user of these `keys` muted, or not any more."""
        rest = self.muted.difference(keys)
        return evolve(self, muted=rest | {keys[0]} if muted else rest)


def user_key(text: str) -> str:
    """The canonical form of who is written in a list of users: a URI, or a whole domain.

    That is ``*@example.com``, with ``sip:`` before it or not. Raises `SipSyntaxError`.
    """
    uri = parse_uri(f"sip:{text}" if text.startswith(_WHOLE_DOMAIN) else text)
    if isinstance(uri, SipURI):
        if uri.user is None:
            raise SipSyntaxError(f"no user in {text!r}: a whole domain is *@{uri.host}")
        if uri.user == "*":
            return _domain_of(uri.key)
    return uri.key


def is_whole_domain(key: str) -> bool:
    """Whether `key` stands for everybody of a domain."""
    return key.startswith(_WHOLE_DOMAIN)


def _domain_of(key: str) -> str:
    """What stands for everybody of the domain of a user."""
    _, at, domain = key.rpartition("@")
    return f"{_WHOLE_DOMAIN}{domain}" if at else ""


def welcome(room: Room, key: str) -> None:
    """Let in whom somebody who may has invited, also to a members-only or locked room."""
    roles = room.roles
    if (roles.members_only or roles.locked) and len(roles.invited) < MAX_ASSIGNED:
        room.roles = evolve(roles, invited=roles.invited | {key})


# The owner of an ad-hoc room.


def entered(room: Room, participant: Participant) -> None:
    """Who comes first to an ad-hoc room owns it, if somebody vouches for who that is."""
    if _wants_owner(room) and participant.identity.proven:
        _give(room, participant)
    else:
        participant.role = room.roles.of(participant.identity)


def left(room: Room, participant: Participant) -> None:
    """An ad-hoc room whose owner has left with the last device goes to somebody else.

    It goes to the moderator who has been in it longest, else to the one who has
    been in it longest with a voice, else without. The old owner is then as others
    are, also on coming back. The same where the owner was banned.
    """
    user = participant.identity
    if room.static or not room.participants:
        return
    if participant.role is Role.OWNER:
        if room.devices_of(user.key):
            return
        room.roles = room.roles.assign(user.proven, None)
    if _wants_owner(room):
        heirs = [each for each in room.participants if each.identity.proven and each.role]
        if heirs:
            # The first of the greatest, and they are in the order of coming.
            ranks = (Role.MODERATOR, Role.PARTICIPANT, Role.VISITOR)
            rank = next(rank for rank in ranks if any(each.role >= rank for each in heirs))
            heir = next(each for each in heirs if each.role >= rank)
            _give(room, heir)
            log.info("owner: {user} of {room} now", user=heir.identity, room=room.uri)


def _wants_owner(room: Room) -> bool:
    return not room.static and room.settings.ad_hoc_owner and not room.roles.owners


def _give(room: Room, participant: Participant) -> None:
    room.roles = room.roles.assign(participant.identity.proven, Role.OWNER)
