"""Who may watch what was published elsewhere, where the rooms' own settings are not known."""

from __future__ import annotations

from collections.abc import Callable

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.states import ConferenceStates
from msrpconf.presence.watching import Decision


class PublishedWatchPolicy:
    """Who is in a conference sees who is in it (RFC 4575 §3.5); others see what it is about.

    Is a `WatchPolicy`.
    """

    def __init__(self, states: ConferenceStates) -> None:
        self._states = states

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        """See `WatchPolicy`."""
        conference = self._states.find(room_key)
        inside = conference is not None and any(map(conference.has_user, watcher.proven))
        return Decision.ALLOW if inside else Decision.SUMMARY

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        """See `WatchPolicy`: owners are those whom the conference's own documents call so."""
        conference = self._states.find(room_key)
        if conference is not None and any(map(conference.has_owner, user.proven)):
            return None
        return Denied(403, "Only owners who are in the room may see who watches it")

    def on_change(self, hook: Callable[[str], None]) -> None:
        """See `WatchPolicy`: here a decision takes effect with the next document."""
