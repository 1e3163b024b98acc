"""`msrpconf watch`: what happens in a room, as it happens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import Happening, RoomEvent, Watch, WatchState
from msrpconf.client.consoles import silence
from msrpconf.client.roster_view import RosterView
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, watch_options
from msrpconf.protocols.conference_info import Endpoint, Execution, User, date_time
from msrpconf.visible import visible, visible_lines


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@watch_options
def watch(as_json: bool, **options: Any) -> None:
    """Print what happens in the room at the address ROOM, without being in it.

    First who is in it; then who comes and goes, is invited, is muted, and whether
    the room is locked or about something else. It ends when the room ends, with
    exit status 0, and with 1 and the reason if you may not watch, or not any more.
    """
    visit = Visit.of(**options)
    run(lambda reactor: follow(reactor, visit, as_json_line if as_json else Lines(visit)))


ENDED = 410
"""The status of a `WatchError` that says that there is nothing to watch any more."""

Show = Callable[[Watch, RoomEvent], str]
"""An event as it is printed; an empty text for what is not."""


@inlineCallbacks
def follow(reactor: Any, visit: Visit, show: Show) -> Generator[Deferred[Any], Any, None]:
    """Watches a room until it ends. Fails with a `ClickException` if it may not be watched."""
    visitor = Visitor(reactor, visit, lambda text: print(text, file=sys.stderr, flush=True))
    over: Deferred[None] = Deferred()

    def happened(watch: Watch, events: list[RoomEvent]) -> None:
        for event in events:
            if not over.called and not _printed(show(watch, event)):
                # Nobody reads that any more.
                over.callback(None)
        if watch.error is not None and not over.called:
            over.callback(None)

    try:
        watch: Watch = yield visitor.watch(happened)
        if watch.state is WatchState.PENDING:
            print("an owner of the room has yet to allow that", file=sys.stderr, flush=True)
        yield over
    finally:
        yield visitor.leave()
    if watch.error is not None and watch.error.status != ENDED:
        raise click.ClickException(visible(f"{visitor.room}: {watch.error}"))


def _printed(text: str) -> bool:
    try:
        if text:
            print(text, flush=True)
    except OSError:
        silence(sys.stdout)
        return False
    return True


class Lines:
    """Events as people read them: the local time, and a sentence."""

    def __init__(
        self,
        visit: Visit,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._now = now
        self._view = RosterView(str, str(visit.user), now)

    def __call__(self, watch: Watch, event: RoomEvent) -> str:
        if event.what is Happening.UNWATCHED:
            ended = watch.error is not None and watch.error.status == ENDED
            return self._line(event.reason or "") if ended and not watch.roster.ended else ""
        if event.what is Happening.STATE:
            text = self._view.who(watch)
        elif event.what is Happening.COUNT:
            text = f"{watch.roster.state.user_count} here"
        else:
            text = self._view.sentence(event)
        return self._line(text) if text else ""

    def _line(self, text: str) -> str:
        return f"{self._now():%H:%M:%S} " + "\n         ".join(visible_lines(text))


def as_json_line(watch: Watch, event: RoomEvent) -> str:
    """An event as a JSON object on one line, in which is what is known."""
    roster = watch.roster
    told: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "room": str(watch.room.aor),
        "event": event.what.value,
    }
    if event.what is Happening.STATE:
        description, state = roster.description, roster.state
        told |= _known(
            display_text=description.display_text,
            subject=description.subject,
            free_text=description.free_text,
            user_count=state.user_count,
            locked=state.locked,
        )
        told["users"] = [_user(user) for user in roster.users.values()]
    elif event.what is Happening.COUNT:
        told["user_count"] = roster.state.user_count
    elif event.what is Happening.UNWATCHED and watch.error is not None:
        told["status"] = watch.error.status
    if event.user is not None:
        told["user"] = _user(event.user)
    told |= _known(by=event.by, how=event.how, reason=event.reason, text=event.text)
    # What is no ASCII is escaped: it is fit for any terminal and log.
    return json.dumps(told)


def _user(user: User) -> dict[str, Any]:
    return {
        "uri": user.entity,
        **_known(name=user.display_text, nickname=user.nickname),
        "roles": list(user.roles),
        "devices": [_device(each) for each in user.endpoints],
    }


def _device(endpoint: Endpoint) -> dict[str, Any]:
    joined, referred = endpoint.joining_info or Execution(), endpoint.referred or Execution()
    gone = endpoint.disconnection_info or Execution()
    return _known(
        uri=endpoint.entity,
        status=endpoint.status,
        since=_date_time(joined.when),
        invited_by=referred.by or joined.by,
        how=endpoint.disconnection_method,
        until=_date_time(gone.when),
        reason=gone.reason,
    )


def _date_time(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else date_time(seconds)
    except (OverflowError, ValueError, OSError):
        return None


def _known(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
