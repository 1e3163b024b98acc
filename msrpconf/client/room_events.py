"""What happens in a room, as the documents of a subscription tell it: who came, left, was invited.

A document tells what is so. What has happened is the difference to what was known before: if a
document was missed, what came of it all, and not each step.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from attrs import frozen

from msrpconf.client.roster import Roster
from msrpconf.protocols.conference_info import (
    PRESENT,
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    User,
)

ON_THE_WAY = frozenset(("pending", "alerting", "dialing-in", "dialing-out"))
"""The statuses of an endpoint that is expected (RFC 4575 §5.7.3)."""


class Happening(enum.Enum):
    """What has happened in a room."""

    STATE = "state"
    """The first word: who is in the room, and what it is about, is known now."""
    CAME = "came"
    LEFT = "left"
    INVITED = "invited"
    NOT_COMING = "not-coming"
    """Somebody who was invited has declined, or cannot be reached."""
    NAMED = "named"
    """Somebody has another nickname, or name."""
    ROLE = "role"
    MUTED = "muted"
    UNMUTED = "unmuted"
    HELD = "on-hold"
    RESUMED = "resumed"
    DEVICE_CAME = "device-came"
    """Somebody who is in came with one more device."""
    DEVICE_LEFT = "device-left"
    SUBJECT = "subject"
    DISPLAY_TEXT = "display-text"
    FREE_TEXT = "free-text"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    COUNT = "count"
    """Another number of users is in, of a room that does not tell who."""
    ENDED = "ended"
    UNWATCHED = "unwatched"
    """The last word: nothing more is told, for the `reason` that there is."""


@frozen
class RoomEvent:
    """Something that has happened in a room.

    `user` is whom it is about, as known now, or for who has left as known last. `by` is the URI of
    who invited or removed somebody, `how` a word of RFC 4575 for how somebody left (``departed``,
    ``booted``, ``failed``, ``busy``), `reason` what the room says of that; `text` is a subject or
    text. What is not known is None.
    """

    what: Happening
    user: User | None = None
    by: str | None = None
    how: str | None = None
    reason: str | None = None
    text: str | None = None


@frozen
class Before:
    """What was known of a room before a document, besides its users."""

    description: Description
    state: ConferenceState

    @classmethod
    def of(cls, roster: Roster) -> Before:
        return cls(roster.description, roster.state)


def room_events(before: Before | None, roster: Roster) -> list[RoomEvent]:
    """What the document has brought that `roster` has applied last.

    `before` is None for the first one.
    """
    if roster.ended:
        return [RoomEvent(Happening.ENDED)]
    if before is None:
        return [RoomEvent(Happening.STATE)]
    found = list(_of_room(before, roster))
    for entity, known in roster.touched.items():
        now = roster.users.get(entity)
        if known != now:
            found += _of_user(known, now)
    return found


def is_expected(user: User) -> bool:
    """Whether somebody is not in, but on the way: invited, and has not answered."""
    return not user.is_present and any(each.status in ON_THE_WAY for each in user.endpoints)


def devices(user: User) -> list[Endpoint]:
    """The devices of a user that are in the room."""
    return [each for each in user.endpoints if each.status in PRESENT]


def is_muted(user: User) -> bool:
    """Whether a user who is in has no voice."""
    return any(each.status == "muted-via-focus" for each in user.endpoints)


def is_on_hold(user: User) -> bool:
    """Whether no device of a user takes messages now."""
    present = devices(user)
    return bool(present) and all(each.status == "on-hold" for each in present)


def since(user: User) -> float | None:
    """When the first of the devices came that are in, in seconds of the epoch."""
    infos = [each.joining_info for each in devices(user)]
    return min((each.when for each in infos if each and each.when is not None), default=None)


def inviter(user: User) -> str | None:
    """The URI of who invited a user, where that is told."""
    executions = [each.referred or each.joining_info for each in user.endpoints]
    return next((each.by for each in executions if each and each.by), None)


def _of_room(before: Before, roster: Roster) -> Iterator[RoomEvent]:
    was, now = before.description, roster.description
    for what, old, new in (
        (Happening.SUBJECT, was.subject, now.subject),
        (Happening.DISPLAY_TEXT, was.display_text, now.display_text),
        (Happening.FREE_TEXT, was.free_text, now.free_text),
    ):
        if (old or None) != (new or None):
            yield RoomEvent(what, text=new or "")
    state = roster.state
    if state.locked is not None and bool(before.state.locked) != state.locked:
        yield RoomEvent(Happening.LOCKED if state.locked else Happening.UNLOCKED)
    if not roster.tells_users and before.state.user_count != state.user_count:
        yield RoomEvent(Happening.COUNT)


def _of_user(was: User | None, now: User | None) -> Iterator[RoomEvent]:
    was_in = was is not None and was.is_present
    is_in = now is not None and now.is_present
    if now is not None and is_in:
        if was is None or not was_in:
            yield RoomEvent(Happening.CAME, now, inviter(now))
        else:
            yield from _of_present(was, now)
        return
    was_expected = was is not None and is_expected(was)
    expected = now is not None and is_expected(now)
    if expected and not was_expected and not was_in:
        assert now is not None
        yield RoomEvent(Happening.INVITED, now, inviter(now))
    elif was is not None and (was_in or (was_expected and not expected)):
        what = Happening.LEFT if was_in else Happening.NOT_COMING
        how, why = _parting(now)
        yield RoomEvent(what, now or was, why.by, how, why.reason)


def _of_present(was: User, now: User) -> Iterator[RoomEvent]:
    """What is another with somebody who is still in."""
    if (was.nickname, was.display_text) != (now.nickname, now.display_text):
        yield RoomEvent(Happening.NAMED, now, text=was.nickname or was.display_text or "")
    if was.roles != now.roles:
        yield RoomEvent(Happening.ROLE, now)
    for told, yes, no in (
        (is_muted, Happening.MUTED, Happening.UNMUTED),
        (is_on_hold, Happening.HELD, Happening.RESUMED),
    ):
        if told(was) != told(now):
            yield RoomEvent(yes if told(now) else no, now)
    before, after = ({each.entity for each in devices(user)} for user in (was, now))
    if after - before:
        yield RoomEvent(Happening.DEVICE_CAME, now)
    if before - after:
        yield RoomEvent(Happening.DEVICE_LEFT, now)


def _parting(user: User | None) -> tuple[str | None, Execution]:
    """How somebody went, as the last of the devices tells, and who did it, for what reason."""
    if user is not None:
        for each in reversed(user.endpoints):
            if each.disconnection_method is not None or each.disconnection_info is not None:
                return each.disconnection_method, each.disconnection_info or Execution()
    return None, Execution()
