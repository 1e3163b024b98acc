"""`msrpconf room`: rooms, from the operator's side."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click
from attrs import fields

from msrpconf.commands.managing import (
    Server,
    confirm,
    managed,
    people,
    room_argument,
    row,
    table,
    yes_or_no,
)
from msrpconf.conference.settings import RoomSettings
from msrpconf.visible import visible, visible_lines

F = TypeVar("F", bound=Callable[..., Any])

_LISTS = frozenset(each.name for each in fields(RoomSettings) if isinstance(each.default, tuple))
_ROLES = ("owner", "moderator", "member", "visitor", "banned")


@click.group()
def room() -> None:
    """Rooms: show them, set them up, change and end them.

    A ROOM is written as sip:lobby@example.com, or lobby@example.com.
    """


@room.command("list")
@click.option("--match", metavar="TEXT", help="Only those with this in the URI or the subject.")
@click.option(
    "--kind",
    type=click.Choice(["all", "static", "ad-hoc", "occupied"]),
    default="all",
    help="Which rooms: static ones were set up, ad-hoc ones came with their first participant.",
)
@managed
def list_(server: Server, match: str | None, kind: str) -> None:
    """List the rooms."""
    rooms = list(server.pages("rooms", "v1", "rooms", match=match, kind=kind))
    names = ("room", "people", "messages", "lost", "kind", "closed to", "subject")
    shown = table(*names, numbers=("people", "messages", "lost"))
    for each in rooms:
        closed = "all" if each["locked"] else "others" if each["members_only"] else ""
        kind = "static" if each["static"] else "ad-hoc"
        counts = each["participants"], each["messages"], each["undelivered"]
        row(shown, each["uri"], *counts, kind, closed, each["subject"])
    server.show(rooms, shown if rooms else "no rooms")


@room.command()
@room_argument
@managed
def show(server: Server, room: str) -> None:
    """Show one room: who may do what there, and its settings."""
    found = server.ask("GET", "v1", "rooms", room)
    server.show(found, _lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    """A room for people."""
    kind = f"static, revision {found['revision']}" if found["static"] else "ad-hoc"
    facts = [
        ("room", found["uri"]),
        ("kind", kind),
        ("subject", found["subject"]),
        ("display text", found["display_text"]),
        *(("free text", line) for line in visible_lines(found["free_text"])),
        ("people in it", found["participants"]),
        ("messages", f"{found['messages']}, and {found['private_messages']} private"),
        ("lost copies", found["undelivered"] or ""),
        ("history", f"{found['history']} messages" if found["history"] else ""),
        ("invitations", f"{found['invitations']} open" if found["invitations"] else ""),
        ("members only", yes_or_no(found["members_only"])),
        ("locked", yes_or_no(found["locked"])),
        ("others are", "visitors, without a voice" if found["others"] == "visitor" else ""),
        *((role, user) for user, role in found["users"].items()),
        *(("muted", user) for user in found["muted"]),
        ("created", found["created"] or ""),
        ("changed", found["changed"] or ""),
    ]
    lines = [f"{name:<14}{value}" for name, value in facts if value != ""]
    lines.append("settings" + ("   (* this room's own)" if found["overrides"] else ""))
    for name, value in found["settings"].items():
        mark = "*" if name in found["overrides"] else " "
        lines.append(f"  {mark} {name} = {json.dumps(value, ensure_ascii=False)}")
    return lines


def _record_options(command: F) -> F:
    """What a room can be given: see `_change`."""
    options: list[Callable[[F], F]] = [
        click.option("--subject", metavar="TEXT", help="What is talked about."),
        click.option("--display-text", metavar="TEXT", help="What the room is called."),
        click.option("--free-text", metavar="TEXT", help="What the room is for."),
    ]
    options += [
        click.option(
            f"--{role}",
            metavar="USER",
            multiple=True,
            help=f"Make a user {role}; *@example.com is everybody of a domain."
            if role in {"member", "visitor", "banned"}
            else f"Make a user {role}.",
        )
        for role in _ROLES
    ]
    options += [
        click.option("--no-role", metavar="USER", multiple=True, help="Take a user's role away."),
        click.option("--members-only/--open", default=None, help="Let in only users with a role."),
        click.option(
            "--locked/--unlocked", default=None, help="Let in nobody new but moderators and owners."
        ),
        click.option(
            "--others",
            type=click.Choice(["participant", "visitor"]),
            help="What users without a role are; visitors have no voice.",
        ),
        click.option(
            "--set",
            "settings",
            metavar="KEY=VALUE",
            multiple=True,
            help="A setting of [conference] for this room; KEY= takes it back.",
        ),
    ]
    for add in reversed(options):
        command = add(command)
    return command


def _change(
    settings: tuple[str, ...], no_role: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """The JSON of what was typed."""
    users: dict[str, str | None] = dict.fromkeys(no_role)
    for role in _ROLES:
        users.update(dict.fromkeys(options.pop(role), role))
    change = {name: value for name, value in options.items() if value is not None}
    if users:
        change["users"] = users
    if settings:
        change["settings"] = dict(map(_setting, settings))
    return change


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.ClickException(f"--set is written as KEY=VALUE, not {visible(text)}")
    name = name.strip().replace("-", "_")
    if not value:
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value.split(",") if name in _LISTS else value


@room.command()
@room_argument
@_record_options
@managed
def create(
    server: Server,
    room: str,
    settings: tuple[str, ...],
    no_role: tuple[str, ...],
    **options: Any,
) -> None:
    """Set up a static room, which is there without participants and over restarts.

    \b
    msrpconf room create lobby@example.com --subject Tea --owner alice@example.com
    msrpconf room create board@example.com --members-only --member '*@example.com' \\
        --set history_messages=20 --set tls_only=true
    """
    made = server.ask(
        "POST", "v1", "rooms", body={"uri": room, **_change(settings, no_role, options)}
    )
    server.show(made, f"{made['uri']} is set up")


@room.command("set")
@room_argument
@_record_options
@managed
def set_(
    server: Server,
    room: str,
    settings: tuple[str, ...],
    no_role: tuple[str, ...],
    **options: Any,
) -> None:
    """Change a room, at once; an ad-hoc one for as long as it is there.

    \b
    msrpconf room set lobby@example.com --locked
    msrpconf room set lobby@example.com --moderator bob@example.com --set rate=5
    """
    change = _change(settings, no_role, options)
    if not change:
        raise click.ClickException("nothing to change: say what, such as --subject; --help has all")
    changed = server.ask("PATCH", "v1", "rooms", room, body=change)
    server.show(changed, f"{changed['uri']} is changed")


@room.command()
@room_argument
@click.option("--yes", is_flag=True, help="Do not ask, also with people in it.")
@managed
def delete(server: Server, room: str, yes: bool) -> None:
    """End a room: who is in it is sent out, a static room is forgotten with its history."""
    found = server.ask("GET", "v1", "rooms", room)
    if found["static"] or found["participants"]:
        inside = people(found["participants"])
        confirm(yes, f"{found['uri']}, with {inside} in it, will be no more")
    gone = server.ask("DELETE", "v1", "rooms", room)
    server.show(gone, f"{found['uri']} has ended; {people(gone['removed'])} sent out")


@room.command()
@room_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@managed
def close(server: Server, room: str, yes: bool) -> None:
    """Send everybody out of a room; a static room remains, and can be joined again."""
    found = server.ask("GET", "v1", "rooms", room)
    if found["participants"]:
        confirm(yes, f"{people(found['participants'])} in {found['uri']} will be sent out")
    gone = server.ask("DELETE", "v1", "rooms", room, "participants")
    server.show(gone, f"{people(gone['removed'])} sent out of {found['uri']}")


@room.command()
@room_argument
@click.argument("text", nargs=-1, required=True)
@managed
def announce(server: Server, room: str, text: tuple[str, ...]) -> None:
    """Say TEXT in the room's name to everybody in it."""
    told = server.ask("POST", "v1", "rooms", room, "announcements", body={"text": " ".join(text)})
    server.show(told, f"told {told['recipients']} devices")


@room.command()
@room_argument
@click.argument("text", nargs=-1)
@managed
def subject(server: Server, room: str, text: tuple[str, ...]) -> None:
    """Make TEXT the room's subject; without TEXT it has none."""
    changed = server.ask("PATCH", "v1", "rooms", room, body={"subject": " ".join(text)})
    server.show(
        changed, f"the subject of {changed['uri']} is now: {changed['subject'] or '(none)'}"
    )


@room.command()
@room_argument
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="The last so many.")
@click.option("--clear", is_flag=True, help="Forget what was said.")
@managed
def history(server: Server, room: str, limit: int, clear: bool) -> None:
    """Show what was said in a room, as far as it keeps that (the setting history_messages)."""
    if clear:
        server.ask("DELETE", "v1", "rooms", room, "history")
        server.show({}, "forgotten")
        return
    found = server.ask("GET", "v1", "rooms", room, "history", query={"limit": limit})
    shown = table("at", "from", "what")
    for each in found["messages"]:
        what = each["text"]
        if what is None:
            what = f"({each['content_type']}, {each['octets']} octets)"
        who = each["name"] or each["from"].partition(":")[2]
        for index, line in enumerate(visible_lines(what)):
            row(shown, *((each["at"], who) if index == 0 else ("", "")), line)
    server.show(found, shown if found["messages"] else "nothing is kept of what was said")
