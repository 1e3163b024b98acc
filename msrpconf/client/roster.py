"""Who is in a conference, as its conference-info documents tell (RFC 4575 §4.6).

    full         all of it, in place of what was known
    partial      what has changed; only if it is the next one after the last
    deleted      the conference has ended

A document that is missing between two is a gap: what is known is then not the truth, until a
refresh of the subscription brings a full document.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import evolve

from msrpconf.protocols.conference_info import (
    ConferenceState,
    Description,
    Endpoint,
    Host,
    User,
)
from msrpconf.protocols.conference_info_reading import (
    Document,
    UserPart,
    UsersPart,
    read_document,
)
from msrpconf.protocols.xml import XmlError

MAX_USERS = 100000
"""Users that a roster has at most, whatever a server says."""

MAX_OCTETS = 64 * 1024 * 1024
"""Octets of partial documents that are put together before all is wanted again, in full.

It bounds what a server can have us keep in pieces; one that tells what is so is not asked often.
"""


class Outcome(enum.Enum):
    """What became of a document."""

    APPLIED = "applied"
    OLD = "old"
    """It is not newer than what is known, and was not used."""
    GAP = "gap"
    """One before it did not come: refresh the subscription, to be sent all of it."""
    ENDED = "ended"
    """The conference has ended: end the subscription."""


class Roster:
    """What one subscription has told of a conference.

    `users` are by the URI that is their `entity`, `version` is that of the last document,
    None before the first one.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Know nothing."""
        self.uri: str | None = None
        self.version: int | None = None
        self.description = Description()
        self.host = Host()
        self.state = ConferenceState()
        self.ended = False
        self._users: dict[str, User] = {}
        self._broken = False
        self._octets = 0
        self._touched: dict[str, User | None] = {}

    def begin_again(self) -> None:
        """A new subscription counts its documents anew (§5.2); until the first one, which tells
        everything, what was known before is there, and not `complete`."""
        self.version = None
        self._broken = False

    @property
    def users(self) -> Mapping[str, User]:
        """Who is in it, on the way there, or just gone."""
        return self._users

    @property
    def complete(self) -> bool:
        """Whether what is known is all of it: there was a full document, and no gap since."""
        return self.version is not None and not self._broken

    @property
    def told(self) -> bool:
        """Whether there was a full document, ever."""
        return self.uri is not None

    @property
    def touched(self) -> Mapping[str, User | None]:
        """The users whom the last document that was applied was about, as they were before it."""
        return self._touched

    @property
    def tells_users(self) -> bool:
        """Whether it is told who is in, and not only how many.

        Some may know only that; and where a document is too large for the way, it comes without.
        """
        return self.complete and (bool(self._users) or not self.state.user_count)

    @property
    def present(self) -> list[User]:
        """The users of whom a device is in the conference."""
        return [user for user in self._users.values() if user.is_present]

    def apply(self, octets: bytes) -> Outcome:
        """Take in a document of the subscription. Raises `XmlError`, and is then as before."""
        document = read_document(octets)
        if self.uri is not None and document.uri != self.uri and document.state == "partial":
            raise XmlError(f"the document is of another conference: {document.uri!r:.100}")
        if self._is_old(document):
            return Outcome.OLD
        if document.state == "partial":
            self._octets += len(octets)
            missing = self.version is None or document.version != self.version + 1
            if self._broken or missing or self._octets > MAX_OCTETS:
                self._broken = True
                return Outcome.GAP
            users = self._updated(document.users)
        else:
            users = self._replaced(_all_of(document))
            self._octets = 0
        self._users = users
        self._broken = False
        self.uri, self.version = document.uri, document.version
        if document.state != "partial" or document.description is not None:
            self.description = document.description or Description()
        if document.state != "partial" or document.host is not None:
            self.host = document.host or Host()
        if document.state != "partial" or document.conference_state is not None:
            self.state = document.conference_state or ConferenceState()
        self.ended = document.state == "deleted"
        return Outcome.ENDED if self.ended else Outcome.APPLIED

    def _is_old(self, document: Document) -> bool:
        if self.version is None or document.version > self.version:
            return False
        # Where something is missing, a refresh may bring the same version (§5.2).
        again = document.version == self.version and document.state == "full"
        return not (again and self._broken)

    def _updated(self, part: UsersPart | None) -> dict[str, User]:
        if part is None:
            self._touched = {}
            return self._users
        if part.state != "partial":
            return self._replaced(_users_of(part))
        users = self._users  # one user's change costs one user
        _check_bound(len(users) + len(part.users))
        self._touched = {}
        for each in part.users:
            entity = each.user.entity
            self._touched.setdefault(entity, users.get(entity))
            if each.state == "deleted":
                users.pop(entity, None)
            elif each.state == "partial" and entity in users:
                users[entity] = _merged_user(users[entity], each)
            else:
                users[entity] = _without_deleted(each)
        return users

    def _replaced(self, users: dict[str, User]) -> dict[str, User]:
        """The users, all of them told anew."""
        known = self._users
        self._touched = dict(known)
        self._touched.update((entity, None) for entity in users if entity not in known)
        return users


def _all_of(document: Document) -> dict[str, User]:
    if document.state == "deleted" or document.users is None:
        return {}
    return _users_of(document.users)


def _users_of(part: UsersPart) -> dict[str, User]:
    if part.state == "deleted":
        return {}
    _check_bound(len(part.users))
    return {
        each.user.entity: _without_deleted(each) for each in part.users if each.state != "deleted"
    }


def _check_bound(users: int) -> None:
    if users > MAX_USERS:
        raise XmlError(f"more than {MAX_USERS} users")


def _without_deleted(part: UserPart) -> User:
    if "deleted" not in part.endpoint_states:
        return part.user
    pairs = zip(part.user.endpoints, part.endpoint_states, strict=True)
    return evolve(part.user, endpoints=tuple(each for each, state in pairs if state != "deleted"))


def _merged_user(known: User, part: UserPart) -> User:
    """A user of whom only what has changed is told."""
    told = part.user
    endpoints = {each.entity: each for each in known.endpoints}
    for each, state in zip(told.endpoints, part.endpoint_states, strict=True):
        if state == "deleted":
            endpoints.pop(each.entity, None)
        elif state == "partial" and each.entity in endpoints:
            endpoints[each.entity] = _merged_endpoint(endpoints[each.entity], each)
        else:
            endpoints[each.entity] = each
    return User(
        known.entity,
        known.display_text if told.display_text is None else told.display_text,
        known.nickname if told.nickname is None else told.nickname,
        told.roles or known.roles,
        tuple(endpoints.values()),
    )


def _merged_endpoint(known: Endpoint, told: Endpoint) -> Endpoint:
    media = {each.id: each for each in known.media} | {each.id: each for each in told.media}
    return Endpoint(
        known.entity,
        status=told.status or known.status,
        display_text=known.display_text if told.display_text is None else told.display_text,
        referred=told.referred or known.referred,
        joining_method=told.joining_method or known.joining_method,
        joining_info=told.joining_info or known.joining_info,
        disconnection_method=told.disconnection_method or known.disconnection_method,
        disconnection_info=told.disconnection_info or known.disconnection_info,
        media=tuple(media.values()),
    )
