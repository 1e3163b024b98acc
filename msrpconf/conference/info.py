"""The conference-info of a room: what watchers are told of it (RFC 4575).

The room says what happens; who watches asks for documents. Between the two is one element
for each user, which is made when a document needs it and kept until something of that user
changes: somebody's coming costs one element, however many are in the room.

    joined, left, changed, invited --> Change --> on_change
                                  `--> elements --> full, partial, summary

Who has left, or could not be invited, is shown as disconnected for `LINGER` seconds, so that
watchers learn how it came; then the element is deleted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.departure import LEFT
from msrpconf.conference.info_values import (
    JoinedDevice,
    cut,
    description_of,
    device_endpoint,
    host_of,
    invitation_endpoint,
    roles_of,
    user_uri,
)
from msrpconf.conference.invitation import Invitation, InvitationState
from msrpconf.conference.participant import State
from msrpconf.conference.roles import Role
from msrpconf.conference.states import Change
from msrpconf.protocols import conference_info as xml
from msrpconf.protocols.conference_info import ConferenceState, Endpoint, Execution, User

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

LINGER = 5.0
"""Seconds for which who is out is shown as disconnected."""

MAX_GONE = 100
"""Endpoints of one room that are shown as disconnected at a time; the oldest go first."""

CAME_WITHIN = 30.0
"""Seconds after an invitee's accepting for which their coming is put down to the invitation."""


@define(eq=False)
class _Entry:
    """One user: who of them is in, who is invited, and who has just gone."""

    key: str
    entity: str
    display_text: str | None = None
    nickname: str | None = None
    devices: dict[Participant, JoinedDevice] = field(factory=dict)
    invitation: Invitation | None = None
    gone: list[Endpoint] = field(factory=list)
    octets: bytes | None = None
    """The element, as it was last told or would be; None while it has to be made."""


class RoomInfo:
    """The state of one room as a `ConferenceInfo`.

    `on_change` is told of every change, at once; it is set by who has the rooms. `clock` ends
    what is shown of who is out.
    """

    __slots__ = (
        "_body",
        "_by_entity",
        "_clock",
        "_description",
        "_devices",
        "_entries",
        "_gone",
        "_partial",
        "_present",
        "_room",
        "_timer",
        "on_change",
    )

    def __init__(self, room: Room, clock: IReactorTime) -> None:
        self.on_change: Callable[[Change], None] = lambda change: None
        self._room = room
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._by_entity: dict[str, _Entry] = {}
        self._present = 0
        self._devices = 0
        self._gone: deque[tuple[float, _Entry, Endpoint]] = deque()
        self._timer: IDelayedCall | None = None
        self._description: bytes | None = None
        # What was made last: every watcher of a change gets the same but for the version.
        self._body: bytes | None = None
        self._partial: tuple[Change, bytes] | None = None

    # What watchers get: see `ConferenceInfo`.

    @property
    def uri(self) -> str:
        return self._room.uri

    def full(self, version: int) -> bytes:
        if self._body is None:
            elements = (self._element(each) for each in self._entries.values())
            self._body = b"".join((*self._about(), xml.users_element(elements)))
        return xml.document(self.uri, "full", version, (self._body,))

    def partial(self, change: Change, version: int) -> bytes:
        if self._partial is None or self._partial[0] != change:
            self._partial = change, b"".join(self._changed_parts(change))
        return xml.document(self.uri, "partial", version, (self._partial[1],))

    def summary(self, version: int) -> bytes:
        return xml.document(self.uri, "full", version, (*self._about(), xml.users_element(())))

    def has_user(self, key: str) -> bool:
        room = self._room
        # Also by another of their URIs, but only one that somebody vouches for.
        return any(
            each.state is State.JOINED and key in each.identity.proven
            for each in (*room.devices_of(key), *room.addressed(key))
        )

    def has_owner(self, key: str) -> bool:
        room = self._room
        return any(
            each.state is State.JOINED and key in each.identity.proven and each.role is Role.OWNER
            for each in (*room.devices_of(key), *room.addressed(key))
        )

    @property
    def user_count(self) -> int:
        """How many users are in the room, on whatever devices."""
        return self._present

    def _about(self) -> tuple[bytes, ...]:
        return (self._describe(), self._state())

    def _describe(self) -> bytes:
        """What the room is, and who hosts it: two elements, one beside the other."""
        if self._description is None:
            room = self._room
            self._description = b"".join(
                (xml.description_element(description_of(room)), xml.host_element(host_of(room)))
            )
        return self._description

    def _state(self) -> bytes:
        locked = self._room.roles.locked
        return xml.state_element(ConferenceState(self._present, True, locked))

    def _changed_parts(self, change: Change) -> Iterator[bytes]:
        if change.description_changed:
            yield self._describe()
        if change.state_changed:
            yield self._state()
        # In one order, so that one change is one document.
        entities = sorted(change.users_changed | change.users_deleted)
        if entities:
            yield xml.users_element(map(self._element_now, entities), "partial")

    def _element_now(self, entity: str) -> bytes:
        entry = self._by_entity.get(entity)
        return xml.deleted_user_element(entity) if entry is None else self._element(entry)

    def _element(self, entry: _Entry) -> bytes:
        if entry.octets is None:
            entry.octets = self._made(entry)
        return entry.octets

    # What happens in the room.

    def joined(self, participant: Participant) -> None:
        """Somebody is in."""
        entry = self._entry_of(participant)
        first = not entry.devices
        self._devices += 1
        referred = self._invitation_of(participant)
        entry.devices[participant] = JoinedDevice(self._devices, self._room.now(), referred)
        self._present += first
        self._tell(entry, state=first)

    def came_by(self, participant: Participant, invitation: Invitation) -> None:
        """Somebody who is in was invited."""
        entry = self._entry_of(participant)
        device = entry.devices.get(participant)
        if device is not None and device.invitation is None:
            entry.devices[participant] = evolve(device, invitation=invitation)
            self._tell(entry)

    def left(self, participant: Participant) -> None:
        """Somebody who was in is out; their `departure` says how."""
        entry = self._entries[self._key(participant)]
        self._name(entry)
        device = entry.devices.pop(participant)
        departure = participant.departure or LEFT
        endpoint = device_endpoint(participant, device, entry.entity)
        gone = evolve(
            endpoint,
            status="disconnected",
            disconnection_method=departure.method,
            disconnection_info=Execution(self._room.now(), cut(departure.reason), departure.by),
            media=(),
        )
        last = not entry.devices
        self._present -= last
        self._go(entry, gone, state=last)

    def changed(self, participant: Participant) -> None:
        """Something of a participant may be different: nickname, role, hold, Contact."""
        entry = self._entries.get(self._key(participant))
        if entry is None or participant not in entry.devices:
            return
        before = entry.octets
        if before is not None:
            entry.octets = self._made(entry)
            if entry.octets != before:
                self._tell(entry, made=True)

    def invited(self, invitation: Invitation) -> None:
        """There is an invitation, or it has come to something."""
        guest = invitation.guest
        entry = self._entries.get(guest.key)
        if invitation.open:
            if entry is None:
                entry = self._enter(guest.key, user_uri(guest.uri))
            entry.invitation = invitation
            if not entry.devices:
                entry.display_text = cut(guest.display_name)
            self._tell(entry)
            return
        if entry is None or entry.invitation is None:
            return
        entry.invitation = None
        if invitation.state is InvitationState.FAILED:
            self._go(entry, invitation_endpoint(invitation), state=False)
        else:
            self._tell_or_drop(entry)

    def described(self) -> None:
        """Something that the description has may be different."""
        before = self._description
        self._description = None
        if self._describe() != before:
            self._announce(Change(description_changed=True))

    def locked(self) -> None:
        """The room was locked, or is open again."""
        self._announce(Change(state_changed=True))

    def forget_gone(self) -> None:
        """Show nobody as disconnected any more; the room ends, or the server stops."""
        self._expire(float("inf"))

    # Keeping the entries.

    def _key(self, participant: Participant) -> str:
        # Of who is anonymous, the anonymous URI: what they do under another name is not told.
        return participant.identity.public_keys[0]

    def _entry_of(self, participant: Participant) -> _Entry:
        key = self._key(participant)
        entry = self._entries.get(key)
        return self._enter(key, participant.identity.uri) if entry is None else entry

    def _enter(self, key: str, uri: str) -> _Entry:
        entity = user_uri(uri)
        number = 1
        while entity in self._by_entity:  # two that differ only in what no URI can have
            number += 1
            entity = f"{user_uri(uri)};user={number}"
        entry = self._entries[key] = self._by_entity[entity] = _Entry(key, entity)
        return entry

    def _invitation_of(self, participant: Participant) -> Invitation | None:
        identity = participant.identity
        if identity.anonymous:
            return None
        now = self._room.now()
        for key in identity.keys:
            found = self._room.invitations.get(key)
            if found is not None and (
                found.open
                or (found.state is InvitationState.JOINED and now - found.changed < CAME_WITHIN)
            ):
                return found
        return None

    def _name(self, entry: _Entry) -> None:
        """Note what the user is called, while somebody is there to ask."""
        device = next(iter(entry.devices), None)
        if device is not None:
            entry.display_text = cut(device.identity.display_name)
            nicknames = self._room.nicknames
            names = (nicknames.of(each) for each in entry.devices)
            entry.nickname = next((each for each in names if each), None)

    def _made(self, entry: _Entry) -> bytes:
        self._name(entry)
        endpoints: dict[str, Endpoint] = {}
        for participant, device in entry.devices.items():
            endpoint = device_endpoint(participant, device, entry.entity)
            if endpoint.entity in endpoints:
                endpoint = evolve(endpoint, entity=f"{endpoint.entity};device={device.number}")
            endpoints[endpoint.entity] = endpoint
        if entry.invitation is not None:
            endpoint = invitation_endpoint(entry.invitation)
            endpoints.setdefault(endpoint.entity, endpoint)
        for endpoint in reversed(entry.gone):
            endpoints.setdefault(endpoint.entity, endpoint)
        first = next(iter(entry.devices), None)
        roles = () if first is None else roles_of(first)
        values = tuple(endpoints.values())
        return xml.user_element(
            User(entry.entity, entry.display_text, entry.nickname, roles, values)
        )

    # Who is out.

    def _go(self, entry: _Entry, endpoint: Endpoint, state: bool) -> None:
        """Show an endpoint as disconnected for a while."""
        if self._room.silent:
            self._tell_or_drop(entry, state)
            return
        entry.gone.append(endpoint)
        self._gone.append((self._clock.seconds() + LINGER, entry, endpoint))
        self._tell(entry, state)
        if len(self._gone) > MAX_GONE:
            self._tell_or_drop(self._no_longer_gone())
        self._wait()

    def _wait(self) -> None:
        if self._gone and self._timer is None:
            delay = max(0.0, self._gone[0][0] - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._expire(self._clock.seconds())
        self._wait()

    def _expire(self, now: float) -> None:
        expired: dict[_Entry, None] = {}
        while self._gone and self._gone[0][0] <= now:
            expired[self._no_longer_gone()] = None
        for entry in expired:
            self._tell_or_drop(entry)
        if not self._gone and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _no_longer_gone(self) -> _Entry:
        _, entry, endpoint = self._gone.popleft()
        entry.gone.remove(endpoint)
        return entry

    # Telling.

    def _tell_or_drop(self, entry: _Entry, state: bool = False) -> None:
        if entry.devices or entry.invitation is not None or entry.gone:
            self._tell(entry, state)
            return
        del self._entries[entry.key]
        del self._by_entity[entry.entity]
        self._announce(Change(users_deleted=frozenset((entry.entity,)), state_changed=state))

    def _tell(self, entry: _Entry, state: bool = False, made: bool = False) -> None:
        if not made:
            entry.octets = None
        self._announce(Change(frozenset((entry.entity,)), state_changed=state))

    def _announce(self, change: Change) -> None:
        self._body = self._partial = None
        self.on_change(change)
