"""A roster as people read it: in a list, in a panel beside the talk, in a sentence.

All that others have written is made visible here, and where people's names are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from prompt_toolkit.utils import get_cwidth

from msrpconf.client.message import Person, identity
from msrpconf.client.rendering import Fragments
from msrpconf.client.room_events import (
    Happening,
    RoomEvent,
    devices,
    inviter,
    is_expected,
    is_muted,
    is_on_hold,
    since,
)
from msrpconf.client.roster import Roster
from msrpconf.client.watching import Watch, WatchState
from msrpconf.protocols.conference_info import User
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Reason
from msrpconf.visible import visible

PANEL_WIDTH = 26
"""Columns of the panel."""

MAX_PANEL = 200
"""People who are listed in the panel."""

MAX_LISTED = 500
"""People who are listed by `/who`."""

MAX_WORD = 60
"""Characters of a role or a reason that are shown."""

MAX_TEXT = 200
"""Characters of a subject that are shown."""

_RANKS = {"owner": 0, "moderator": 1, "member": 2, "participant": 3, "visitor": 4}


def person(user: User) -> Person:
    """A user as one is shown: by the nickname, else by the name."""
    return Person(user.entity, user.nickname or user.display_text)


class RosterView:
    """The roster of one room, where people are called what `call` gives, which is fit to be shown.

    `me` is our own URI, `now` gives the local time.
    """

    def __init__(
        self,
        call: Callable[[Person], str],
        me: str,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._call = call
        self._me = identity(me)
        self._now = now

    # A list.

    def who(self, watch: Watch) -> str:
        """Who is in the room, and what is known of each, a line for each."""
        roster = watch.roster
        lines = [self._count(roster)]
        if roster.tells_users or roster.users:
            here, expected = _sorted(roster)
            lines += [f"  {self._described(user)}" for user in here[:MAX_LISTED]]
            lines += [f"  {self._awaited(user)}" for user in expected[:MAX_LISTED]]
            more = sum(max(0, len(each) - MAX_LISTED) for each in (here, expected))
            if more:
                lines.append(f"  and {more} more")
        if roster.description.subject:
            lines.append(f"The subject is: {_cut(roster.description.subject, MAX_TEXT)}")
        if roster.state.locked:
            lines.append("The room is locked.")
        if watch.state is not WatchState.ACTIVE or not roster.complete:
            lines.append(_reservation(watch))
        return "\n".join(lines)

    def _count(self, roster: Roster) -> str:
        here = len(roster.present)
        if not roster.tells_users and not here:
            count = roster.state.user_count
            if count is None:
                return "The room has not told yet who is here."
            return f"{count} here; the room does not tell who."
        expected = sum(map(is_expected, roster.users.values()))
        if not here and not expected:
            return "Nobody is here."
        return f"{here} here" + (f", {expected} invited" if expected else "") + ":"

    def _described(self, user: User) -> str:
        words = [str(person(user))]
        if user.nickname and user.display_text and user.nickname != user.display_text:
            words.append(f"by name {_cut(user.display_text)}")
        words += map(_cut, user.roles)
        words += _conditions(user)
        when = since(user)
        if when is not None and (time := self._time(when)):
            words.append(f"since {time}")
        if (by := inviter(user)) is not None:
            words.append(f"invited by {self._label(by)}")
        return ", ".join(words)

    def _awaited(self, user: User) -> str:
        statuses = {each.status for each in user.endpoints}
        asked = "pending" if "pending" in statuses else "being asked"
        by = inviter(user)
        who = "" if by is None else f" by {self._label(by)}"
        return f"{person(user)}, invited{who}, {asked}"

    def _time(self, seconds: float) -> str:
        now = self._now()
        try:
            then = datetime.fromtimestamp(seconds, now.tzinfo)
        except (OverflowError, ValueError, OSError):
            return ""
        return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"

    # A panel.

    def panel(self, roster: Roster) -> list[Fragments]:
        """The lines of the panel, each at most `PANEL_WIDTH` columns wide."""
        if not roster.tells_users:
            count = roster.state.user_count
            return [[("class:panel-title", "" if count is None else f"{count} here")]]
        here, expected = _sorted(roster)
        lines = [[("class:panel-title", f"{len(here)} here")]]
        lines += [self._row(user, "") for user in here[:MAX_PANEL]]
        if expected:
            lines.append([("class:panel-title", f"{len(expected)} invited")])
            lines += [self._row(user, "class:panel-away") for user in expected[:MAX_PANEL]]
        return lines

    def _row(self, user: User, style: str) -> Fragments:
        is_me = identity(user.entity) == self._me
        mark = _mark(user)
        marked = f" {mark}" if mark else ""
        name = fit(self.label(user), PANEL_WIDTH - 1 - get_cwidth(marked))
        if is_me:
            style = "class:me"
        elif is_on_hold(user):
            style = "class:panel-away"
        return [(style, f" {name}"), ("class:panel-mark", marked)]

    # A sentence.

    def sentence(self, event: RoomEvent) -> str:
        """What has happened; empty for what is nothing to tell."""
        text = _ROOM.get(event.what)
        if text is not None:
            return text
        if event.what in _TEXTS:
            some, none = _TEXTS[event.what]
            return f"{some}: {_cut(event.text, MAX_TEXT)}" if event.text else none
        if event.what is Happening.UNWATCHED:
            return f"Who is here is not told any more: {_cut(event.reason or '')}"
        if event.user is None:
            return ""
        name, by = self.label(event.user), event.by
        label = "" if by is None else self._label(by)
        if event.what is Happening.CAME:
            return f"{name} has joined" + (f", invited by {label}" if label else "")
        if event.what is Happening.LEFT:
            if event.how == "booted":
                return f"{name} was removed" + (f" by {label}" if label else "")
            return f"{name} has left" + _why(event)
        if event.what is Happening.INVITED:
            return f"{name} is invited" + (f" by {label}" if label else "")
        if event.what is Happening.NOT_COMING:
            return f"{name} does not come" + (" (busy)" if event.how == "busy" else _why(event))
        if event.what is Happening.NAMED:
            before = self._call(Person(event.user.entity, event.text or None))
            return f"{before} is now {name}"
        if event.what is Happening.ROLE:
            return f"{name} is now {', '.join(map(_cut, event.user.roles)) or 'without a role'}"
        return f"{name} {_PEOPLE[event.what]}"

    def label(self, user: User) -> str:
        """What somebody is called on the screen."""
        return self._call(person(user))

    def _label(self, uri: str) -> str:
        return "you" if identity(uri) == self._me else self._call(Person(uri))


_ROOM = {
    Happening.STATE: "",
    Happening.COUNT: "",
    Happening.ENDED: "The room has ended",
    Happening.LOCKED: "The room is locked",
    Happening.UNLOCKED: "The room is open again",
}
_TEXTS = {
    Happening.SUBJECT: ("The subject is", "There is no subject any more"),
    Happening.DISPLAY_TEXT: ("The room is called", "The room has no name any more"),
    Happening.FREE_TEXT: ("The room says of itself", "The room says nothing of itself any more"),
}
_PEOPLE = {
    Happening.MUTED: "has no voice any more",
    Happening.UNMUTED: "has a voice again",
    Happening.HELD: "does not listen now",
    Happening.RESUMED: "listens again",
    Happening.DEVICE_CAME: "is here from one more device",
    Happening.DEVICE_LEFT: "is here from one device less",
}


def fit(text: str, width: int) -> str:
    """`text` in at most `width` columns of a terminal."""
    if get_cwidth(text) <= width:
        return text
    taken, kept = 1, ""
    for char in text:
        taken += get_cwidth(char)
        if taken > width:
            break
        kept += char
    return kept + "…"


def _sorted(roster: Roster) -> tuple[list[User], list[User]]:
    """Who is in, by rank and name, and who is expected."""
    users = roster.users.values()
    return _by_rank(user for user in users if user.is_present), _by_rank(filter(is_expected, users))


def _by_rank(users: Iterable[User]) -> list[User]:
    def key(user: User) -> tuple[int, str]:
        rank = min((_RANKS.get(role, 3) for role in user.roles), default=3)
        return rank, (user.nickname or user.display_text or user.entity).casefold()

    return sorted(users, key=key)


def _mark(user: User) -> str:
    """What the panel says of somebody besides the name, in a word."""
    if is_expected(user):
        return ""
    if is_on_hold(user):
        return "on hold"
    known = [role for role in user.roles if role in _RANKS and role != "participant"]
    if is_muted(user) and "visitor" not in known:
        return "muted"
    return known[0] if known else ""


def _conditions(user: User) -> list[str]:
    words = []
    if is_muted(user) and "visitor" not in user.roles:
        words.append("muted")
    if is_on_hold(user):
        words.append("on hold")
    count = len(devices(user))
    if count > 1:
        words.append(f"{count} devices")
    return words


def _reservation(watch: Watch) -> str:
    if watch.state is WatchState.PENDING:
        return "An owner of the room has yet to let you see who is here."
    if watch.error is not None:
        return f"That is not kept up to date any more: {visible(str(watch.error))[:MAX_TEXT]}"
    return "That may not be true any more: the room is being asked again."


def _why(event: RoomEvent) -> str:
    """The reason in brackets, where the room gives one; servers write it as a Reason header."""
    text = (event.reason or "").strip()
    header, colon, value = text.partition(":")
    if colon and header.strip().lower() == "reason":
        try:
            text = Reason.parse(value.strip()).text or ""
        except SipSyntaxError:
            text = value
    return f" ({_cut(text)})" if text.strip() else ""


def _cut(text: str, characters: int = MAX_WORD) -> str:
    text = visible(" ".join(text.split()))
    return text if len(text) <= characters else f"{text[: characters - 3]}..."
