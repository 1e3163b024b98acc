"""Who may watch: what the room says, and what its pres-rules documents say (RFC 5025)."""

from __future__ import annotations

from collections.abc import Callable

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.presence.watching import Decision, WatchPolicy
from msrpconf.xcap.watching import RoomRules


class RuledWatchPolicy:
    """A `WatchPolicy`: nobody may more than `room` allows, nor more than `rules` do."""

    def __init__(self, room: WatchPolicy, rules: RoomRules) -> None:
        self._room = room
        self._rules = rules

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        """See `WatchPolicy`."""
        decision = self._room.decide(room_key, watcher)
        if decision is Decision.BLOCK:
            return decision
        ruled = Decision[self._rules.decide(room_key, watcher).name]
        return decision if ruled is Decision.ALLOW else ruled

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        """See `WatchPolicy`: that is for the room to say."""
        return self._room.refuses_watchers(room_key, user)

    def on_change(self, hook: Callable[[str], None]) -> None:
        """See `WatchPolicy`."""
        self._room.on_change(hook)
        self._rules.on_change(hook)
