"""`msrpconf watch`: what happens in a room, as it happens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import Happening, RoomEvent, Watch, WatchersEvent, WatchersWatch, WatchState
from msrpconf.client.consoles import silence
from msrpconf.client.message import Person
from msrpconf.client.roster_view import RosterView
from msrpconf.client.watching import Following
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, watch_options
from msrpconf.protocols.conference_info import Endpoint, Execution, User, date_time
from msrpconf.protocols.watcher_info import Watcher
from msrpconf.visible import visible, visible_lines


@click.command(short_help="Print what happens in a room.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option(
    "--watchers", is_flag=True, help="Print who watches your room instead, and who asks to."
)
@watch_options
def watch(as_json: bool, watchers: bool, **options: Any) -> None:
    """Print what happens in the room at the address ROOM, without being in it.

    First who is in it; then who comes and goes, is invited, is muted, and whether
    the room is locked or about something else. It ends when the room ends, with
    exit status 0, and with 1 and the reason if you may not watch, or not any more.
    """
    visit = Visit.of(**options)
    if watchers:
        show = watcher_json if as_json else WatcherLines()
        run(lambda reactor: follow(reactor, visit, show, Visitor.watch_watchers))
    else:
        lines = as_json_line if as_json else Lines(visit)
        run(lambda reactor: follow(reactor, visit, lines, Visitor.watch))


ENDED = 410
"""The status of a `WatchError` that says that there is nothing to watch any more."""

Show = Callable[[Any, Any], str]
"""An event of a `Watch` or a `WatchersWatch` as it is printed; an empty text for what is not."""


@inlineCallbacks
def follow(
    reactor: Any,
    visit: Visit,
    show: Show,
    begin: Callable[..., Deferred[Any]],
) -> Generator[Deferred[Any], Any, None]:
    """Watches a room until it ends, as `begin` does, a method of `Visitor`.

    Fails with a `ClickException` if it may not be watched.
    """
    visitor = Visitor(reactor, visit, lambda text: print(text, file=sys.stderr, flush=True))
    over: Deferred[None] = Deferred()

    def happened(watch: Following[Any], events: list[Any]) -> None:
        for event in events:
            if not over.called and not _printed(show(watch, event)):
                # Nobody reads that any more.
                over.callback(None)
        if watch.error is not None and not over.called:
            over.callback(None)

    try:
        watch: Following[Any] = yield begin(visitor, happened)
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
        return _timed(self._now(), text)


class WatcherLines:
    """Who watches, as people read it."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._now = now

    def __call__(self, watch: WatchersWatch, event: WatchersEvent) -> str:
        if event.reason is not None:
            return ""
        told = [f"{_called(each)} {_IS[each.status]}{_why(each)}" for each in event.watchers]
        if not told and not watch.list.watchers:
            told = ["nobody watches the room"]
        return _timed(self._now(), "\n".join(told)) if told else ""


_IS = {
    "pending": "asks to watch",
    "active": "watches",
    "waiting": "has asked to watch, and waits for an answer",
    "terminated": "watches no more",
}


def _called(watcher: Watcher) -> str:
    return str(Person(watcher.uri, watcher.display_name))


def _why(watcher: Watcher) -> str:
    return f" ({watcher.event})" if watcher.status == "terminated" and watcher.event else ""


def _timed(now: datetime, text: str) -> str:
    return f"{now:%H:%M:%S} " + "\n         ".join(visible_lines(text))


def watcher_json(watch: WatchersWatch, event: WatchersEvent) -> str:
    """What is told of watchers, as JSON objects: a line for each."""
    head = {"time": _time(), "room": str(watch.room.aor)}
    if event.reason is not None:
        status = None if watch.error is None else watch.error.status
        told = {"event": "unwatched", **_known(status=status), "reason": event.reason}
        return json.dumps({**head, **told})
    lines = (
        {
            **head,
            "event": "watcher",
            "id": each.id,
            "uri": each.uri,
            "status": each.status,
            **_known(
                name=each.display_name,
                because=each.event or None,
                since_seconds=each.duration,
                expires_seconds=each.expiration,
            ),
        }
        for each in event.watchers
    )
    return "\n".join(map(json.dumps, lines))


def as_json_line(watch: Watch, event: RoomEvent) -> str:
    """An event as a JSON object on one line, in which is what is known."""
    roster = watch.roster
    told: dict[str, Any] = {
        "time": _time(),
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


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
