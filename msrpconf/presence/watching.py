"""Who may watch a room, and what there is to watch."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.policy import may_see_others, may_see_watchers, may_stay
from msrpconf.conference.registry import ConferenceRegistry

CONFERENCE_EVENT = "conference"
"""The event package of conference state (RFC 4575 §3.1)."""


class Decision(enum.Enum):
    """What a watcher is told (RFC 5025 §3.2)."""

    ALLOW = "allow"
    """Everything."""
    SUMMARY = "summary"
    """Everything but who is in the room."""
    POLITE_BLOCK = "polite-block"
    """Nothing, in a way that looks like an empty room."""
    CONFIRM = "confirm"
    """Nothing yet: an owner has to be asked."""
    BLOCK = "block"
    """Nothing: the subscription is refused, or ended."""


class WatchPolicy(Protocol):
    """Decides who may watch. Asked at each document, so it answers from memory."""

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        """What `watcher` may know of the room with that key."""

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        """Why `user` may not be told who watches the room; None where they may."""

    def on_change(self, hook: Callable[[str], None]) -> None:
        """Have `hook` called with a room's key when decisions about that may be others."""


class RoomWatchPolicy:
    """The room's own settings: `may_see_others`, and who is banned. Is a `WatchPolicy`.

    Who may come in and may not see who is there gets the summary.
    """

    def __init__(self, registry: ConferenceRegistry) -> None:
        self._registry = registry

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        """See `WatchPolicy`. What is no room of this process is for all to see."""
        room = self._registry.rooms.get(room_key)
        if room is None:
            return Decision.ALLOW
        if may_stay(room, watcher) is not None:
            return Decision.BLOCK
        return Decision.SUMMARY if may_see_others(room, watcher) else Decision.ALLOW

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        """See `WatchPolicy`."""
        room = self._registry.rooms.get(room_key)
        if room is None:
            return Denied(404, "There is no such room now")
        return may_see_watchers(room, user)

    def on_change(self, hook: Callable[[str], None]) -> None:
        """See `WatchPolicy`: here a decision takes effect with the next document."""


class Change(Protocol):
    """What is different in what is watched."""

    def then(self, later: Any) -> Any:
        """This change and a later one in one."""


class Source(Protocol):
    """What is watched: makes documents of its state at that moment.

    `version` counts the documents of one subscription.
    """

    @property
    def uri(self) -> str:
        """What the documents are about."""

    def full(self, version: int) -> bytes:
        """All of the state."""

    def partial(self, change: Any, version: int) -> bytes:
        """What has changed."""

    def summary(self, version: int) -> bytes:
        """The state without what makes it large, or is not for all to see."""


@frozen
class Package:
    """An event package (RFC 6665 §5): its name, its documents, and who may watch what.

    `find` gives what is watched by its key, None where that is not there; `empty` a document
    that tells nothing, `ended` that of what is there no more, both of a URI and a version.
    `nothing` is a change that is none; `refusal` says to whom it is blocked why that is.
    `ages` says whether documents tell how long something has been, so that they are true for a
    second; `always_partial` whether changes are told by partial documents alone, since a full one
    does not have what has ended.
    """

    name: str
    content_type: str
    find: Callable[[str], Source | None]
    decide: Callable[[str, Identity], Decision]
    empty: Callable[[str, int], bytes]
    nothing: Change
    ended: Callable[[str, int], bytes] | None = None
    refusal: Callable[[str, Identity], Denied | None] = lambda key, watcher: None
    ages: bool = False
    always_partial: bool = False
