"""Who may watch what was published elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.published import PublishedStates
from msrpconf.conference.roles import Role, Roles
from msrpconf.presence.watching import Decision


@frozen
class RoomRights:
    """What is known of a room besides what was published of it.

    `roles` are those that an operator has given; `may_see_others` is what a user must be at
    least to be told who is in it.
    """

    roles: Roles = field(factory=Roles)
    may_see_others: Role = Role.VISITOR


class PublishedWatchPolicy:
    """Who is in a conference sees who is in it (RFC 4575 §3.5); others see what it is about.

    Where `rights` gives what else is known of a room, by its key, that decides, as it does where
    the rooms are. Is a `WatchPolicy`.
    """

    def __init__(
        self, states: PublishedStates, rights: Callable[[str], RoomRights] | None = None
    ) -> None:
        self._states = states
        self._rights = rights

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        """See `WatchPolicy`."""
        inside = self._states.role(room_key, watcher.proven)
        if self._rights is None:
            return Decision.SUMMARY if inside is None else Decision.ALLOW
        rights = self._rights(room_key)
        roles = rights.roles
        given = roles.of(watcher)
        if given is Role.BANNED:
            return Decision.BLOCK
        if inside is None and roles.members_only and not roles.has_member(watcher):
            return Decision.BLOCK
        role = given if inside is None else inside
        return Decision.ALLOW if role >= rights.may_see_others else Decision.SUMMARY

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        """See `WatchPolicy`: the owners of the record, and whom the published documents call so."""
        if self._states.role(room_key, user.proven) is Role.OWNER:
            return None
        if self._rights is None:
            return Denied(403, "Only owners who are in the room may see who watches it")
        if self._rights(room_key).roles.of(user) is Role.OWNER:
            return None
        return Denied(403, "Only owners may see who watches the room")

    def on_change(self, hook: Callable[[str], None]) -> None:
        """See `WatchPolicy`: here a decision takes effect with the next document."""
