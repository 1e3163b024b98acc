"""`msrpconf room watchers` and the decisions about them, from the operator's side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from msrpconf.commands.managing import (
    Server,
    managed,
    room_argument,
    row,
    table,
    user_argument,
)


@click.command()
@room_argument
@managed
def watchers(server: Server, room: str) -> None:
    """List who watches a room, or asks to.

    Who is pending waits for a decision; who is waiting has gone without one. See allow-watcher
    and block-watcher.
    """
    found = list(server.pages("watchers", "v1", "rooms", room, "watchers"))
    shown = table(
        "user", "name", "status", "by", "for", "expires in", numbers=("for", "expires in")
    )
    for each in found:
        name = each["display_name"] or ""
        if each["anonymous"]:
            name = f"{name} (anonymous)".strip()
        user = each["user"].partition(":")[2]
        times = _time(each["duration"]), _time(each["expires_in"])
        row(shown, user, name, each["status"], each["event"], *times)
    server.show(found, shown if found else "nobody watches it")


@click.command("allow-watcher")
@room_argument
@user_argument
@managed
def allow_watcher(server: Server, room: str, user: str) -> None:
    """Let somebody watch a room, from now on.

    It is written as a rule into the room's pres-rules document, of which all else stays as it is.
    """
    _decide(server, room, user, True)


@click.command("block-watcher")
@room_argument
@user_argument
@managed
def block_watcher(server: Server, room: str, user: str) -> None:
    """Let somebody not watch a room any more.

    They are excepted in the rules of the room's pres-rules documents, of which all else stays as
    it is. Rules for everybody do not hold for anonymous watchers then, as whom they could come.
    """
    _decide(server, room, user, False)


def _decide(server: Server, room: str, user: str, allowed: bool) -> None:
    done: dict[str, Any] = server.ask(
        "PATCH", "v1", "rooms", room, "watchers", user, body={"allowed": allowed}
    )
    shown = f"{done['user']}: {done['handling']}"
    if allowed and done["barred"]:
        shown += f"; the room itself does not let them: {done['barred']}"
    server.show(done, shown)


def _time(seconds: int | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=seconds))
