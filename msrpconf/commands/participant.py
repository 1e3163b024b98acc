"""`msrpconf participant`: the people in a room, from the operator's side."""

from __future__ import annotations

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


@click.group()
def participant() -> None:
    """The people in a room: show, remove, mute, ban, invite them.

    A ROOM is written as sip:lobby@example.com, or lobby@example.com; a USER likewise. What is
    done to a user holds for all devices of theirs.
    """


@participant.command("list")
@room_argument
@managed
def list_(server: Server, room: str) -> None:
    """List who is in a room, in the order of coming."""
    found = list(server.pages("participants", "v1", "rooms", room, "participants"))
    shown = table("user", "name", "role", "voice", "state", "queued", "id", numbers=("queued",))
    for each in found:
        name = each["nickname"] or each["display_name"] or ""
        if each["anonymous"]:
            name = f"{name} (anonymous)".strip()
        user = each["user"].partition(":")[2]
        row(shown, user, name, each["role"], _voice(each), _state(each), _queued(each), each["id"])
    server.show(found, shown if found else "nobody is in it")


def _voice(each: dict[str, Any]) -> str:
    return "no" if each["muted"] else "yes"


def _state(each: dict[str, Any]) -> str:
    if each["congested"]:
        return "congested"
    if each["state"] == "joined" and not each["connected"]:
        return "no MSRP"
    return str(each["state"])


def _queued(each: dict[str, Any]) -> object:
    return each["queued_octets"] or ""


@participant.command()
@room_argument
@click.argument("who", metavar="USER|ID")
@managed
def remove(server: Server, room: str, who: str) -> None:
    """Send somebody out, who may come back; one device by its ID (see list)."""
    gone = server.ask("DELETE", "v1", "rooms", room, "participants", who)
    server.show(gone, f"{_devices(gone['removed'])} sent out")


def _change(server: Server, room: str, user: str, **change: object) -> dict[str, Any]:
    changed: dict[str, Any] = server.ask("PATCH", "v1", "rooms", room, "users", user, body=change)
    return changed


@participant.command()
@room_argument
@user_argument
@managed
def mute(server: Server, room: str, user: str) -> None:
    """Take somebody's voice, while the room is there."""
    changed = _change(server, room, user, muted=True)
    server.show(changed, f"{changed['user']} is muted")


@participant.command()
@room_argument
@user_argument
@managed
def unmute(server: Server, room: str, user: str) -> None:
    """Give somebody's voice back."""
    changed = _change(server, room, user, muted=False)
    server.show(changed, f"{changed['user']} is not muted")


@participant.command()
@room_argument
@user_argument
@click.option("--undo", is_flag=True, help="Take the role away.")
@managed
def moderator(server: Server, room: str, user: str, undo: bool) -> None:
    """Make somebody a moderator, who may remove, mute and ban others."""
    _give(server, room, user, None if undo else "moderator")


@participant.command()
@room_argument
@user_argument
@click.argument(
    "role",
    type=click.Choice(["owner", "moderator", "member", "participant", "visitor", "banned", "none"]),
)
@managed
def role(server: Server, room: str, user: str, role: str) -> None:
    """Give somebody a role, or take it away with none; in a static room it stays."""
    _give(server, room, user, None if role == "none" else role)


@participant.command()
@room_argument
@user_argument
@managed
def ban(server: Server, room: str, user: str) -> None:
    """Send somebody out, and let them in no more; *@example.com is a whole domain."""
    _give(server, room, user, "banned")


@participant.command()
@room_argument
@user_argument
@managed
def unban(server: Server, room: str, user: str) -> None:
    """Let in again who was banned."""
    _give(server, room, user, None)


def _give(server: Server, room: str, user: str, role: str | None) -> None:
    changed = _change(server, room, user, role=role)
    server.show(changed, f"{changed['user']}: {changed['role'] or 'no role of their own'}")


@participant.command()
@room_argument
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@managed
def invite(server: Server, room: str, users: tuple[str, ...]) -> None:
    """Ask people into a room, in its name; their clients ask them."""
    asked = server.ask("POST", "v1", "rooms", room, "invitations", body={"users": list(users)})
    names = ", ".join(asked["invited"])
    server.show(asked, f"asked: {names}" if names else "nobody new to ask: they are in, or asked")


@participant.command()
@room_argument
@managed
def invitations(server: Server, room: str) -> None:
    """Show who was asked into a room, and what came of it."""
    found = server.ask("GET", "v1", "rooms", room, "invitations")["invitations"]
    shown = table("user", "state", "outcome", "by", "since")
    for each in found:
        row(shown, *(each[name] for name in ("user", "state", "outcome", "by", "since")))
    server.show(found, shown if found else "nobody was asked")


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
