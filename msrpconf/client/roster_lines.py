"""What a roster tells that the talk does not: a line when somebody comes, goes, is invited, …

A room may say the same with its own voice, sooner or later than the roster. Who says it first is
shown. In a crowd nobody is told line by line.
"""

from __future__ import annotations

from collections.abc import Callable

from msrpconf.client.message import identity
from msrpconf.client.room_events import Happening, RoomEvent, inviter
from msrpconf.client.roster_view import RosterView
from msrpconf.client.watching import Watch

CROWD = 50
"""People in a room from which on comings and goings are not shown line by line."""

SAME = 30.0
"""Seconds within which the room's word and the roster's are about the same event."""

MAX_TOLD = 1000
"""Events that are remembered for that."""

FIRST = 8
"""People who are named when one comes in."""

_NOTICED = {
    "joined": Happening.CAME,
    "left": Happening.LEFT,
    "named": Happening.NAMED,
    "muted": Happening.MUTED,
    "unmuted": Happening.UNMUTED,
}
_SILENT = frozenset(
    (Happening.COUNT, Happening.ENDED, Happening.DEVICE_CAME, Happening.DEVICE_LEFT)
)
_COMINGS = frozenset((Happening.CAME, Happening.LEFT))
_VOICE = frozenset((Happening.MUTED, Happening.UNMUTED))
_OPPOSITE = {
    one.value: other.value
    for pair in ((Happening.CAME, Happening.LEFT), (Happening.MUTED, Happening.UNMUTED))
    for one, other in (pair, pair[::-1])
}
_ASKED = frozenset((Happening.INVITED, Happening.NOT_COMING))


class RosterLines:
    """The lines for one room; `me` is our own URI, `seconds` gives the time."""

    def __init__(self, view: RosterView, me: str, seconds: Callable[[], float]) -> None:
        self._view = view
        self._me = identity(me)
        self._seconds = seconds
        self._told: dict[tuple[str, str], float] = {}
        self._begun = False

    def noticed(self, what: str, uri: str) -> bool:
        """The room says of the user at `uri` one of the words in `_NOTICED`.

        Gives whether that is new.
        """
        return self._is_new(identity(uri), _NOTICED[what].value)

    def lines(self, watch: Watch, events: list[RoomEvent], with_panel: bool) -> list[str]:
        """What is to be shown; beside a panel, comings and goings are not."""
        # Who has no voice is a visitor for as long: that is one event, and one line.
        voices = {_key(each.user.entity) for each in events if each.user and each.what in _VOICE}
        return [
            line
            for each in events
            if not (each.what is Happening.ROLE and each.user and _key(each.user.entity) in voices)
            and (line := self._line(watch, each, with_panel))
        ]

    def _line(self, watch: Watch, event: RoomEvent, with_panel: bool) -> str:
        what, user = event.what, event.user
        if what is Happening.STATE:
            self._begun = True
            return "" if with_panel else self._first(watch)
        if what is Happening.UNWATCHED:
            # Where nobody was ever told, /who says so; where the room has ended, the chat does.
            is_news = self._begun and not watch.roster.ended
            return self._view.sentence(event) if is_news else ""
        if what in _SILENT:
            return ""
        if user is None:
            # The room has a notice for the subject, with the name of who has changed it.
            return "" if what is Happening.SUBJECT else self._view.sentence(event)
        mine = identity(user.entity) == self._me
        if mine and what in _COMINGS | {Happening.NAMED}:
            return ""
        if what in _ASKED and self._me in (_key(event.by), _key(inviter(user))):
            # Whoever has asked somebody in is told by the answer to that.
            return ""
        if len(watch.roster.present) > CROWD or (with_panel and what in _COMINGS):
            return ""
        # No room says it of a role: who is given one after another is told of each.
        is_new = what is Happening.ROLE or self._is_new(identity(user.entity), what.value)
        return self._view.sentence(event) if is_new else ""

    def _first(self, watch: Watch) -> str:
        others = [each for each in watch.roster.present if identity(each.entity) != self._me]
        if not others:
            return ""
        names = [self._view.label(each) for each in others[:FIRST]]
        more = len(others) - len(names)
        return f"Here already: {', '.join(names)}" + (f" and {more} more" if more else "")

    def _is_new(self, key: str, what: str) -> bool:
        """Whether nobody has told that a moment ago."""
        now, told = self._seconds(), self._told
        before = told.pop((key, what), None)
        if before is not None and now - before < SAME:
            return False
        # Who has left and comes again does so anew.
        told.pop((key, _OPPOSITE.get(what, "")), None)
        told[key, what] = now
        if len(told) > MAX_TOLD:
            del told[next(iter(told))]
        return True


def _key(uri: str | None) -> str:
    return "" if uri is None else identity(uri)
