"""`msrpconf status`, `drain`, `undrain` and `reload`: the server as a whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from msrpconf.commands.managing import Server, deadline_option, managed


@click.command(short_help="Show a server at a glance.")
@managed
def status(server: Server) -> None:
    """Show a server, or a dispatcher, at a glance: whether it is ready, and how much goes on.

    The exit status is 0 where it takes people in, else 2.
    """
    found = server.ask("GET", "v1", "status")
    which = next(each for each in _SHOWN if each in found)
    uptime = timedelta(seconds=int(found["uptime"]))
    facts = [
        (which, f"{found[which]}, msrpconf {found['version']}"),
        ("ready", "yes" if found["ready"] else "no"),
        *(("", f"  {reason}") for reason in found["reasons"]),
        ("up", f"{uptime}, since {found['since']}"),
        *(("listening", address) for address in found["listening"]),
        *_SHOWN[which](found),
    ]
    server.show(found, [f"{name:<13}{value}" for name, value in facts])
    if not found["ready"]:
        raise click.exceptions.Exit(2)


def _of_dispatcher(found: dict[str, Any]) -> list[tuple[str, str]]:
    servers = found["servers"]
    counts = f"{servers['connected']} connected, {servers['draining']} draining"
    focuses = found["focuses"]
    return [
        *(() if focuses is None else [("focuses", ", ".join(focuses) or "none")]),
        ("servers", f"{servers['total']}: {counts}; {found['given_up']} given up so far"),
        ("rooms", f"{found['rooms']}"),
        ("calls", f"{found['dialogs']}"),
    ]


def _of_server(found: dict[str, Any]) -> list[tuple[str, str]]:
    rooms, people = found["rooms"], found["participants"]
    return [
        ("database", (found["database"] or "none").removeprefix("database ")),
        ("rooms", f"{rooms['total']}: {rooms['static']} static, {rooms['occupied']} occupied"),
        ("people", f"{people['total']} devices, {people['congested']} congested"),
        ("messages", f"{found['messages']}, and {found['private_messages']} private"),
        ("lost copies", f"{found['undelivered']}"),
        ("MSRP octets", f"{found['octets_in']} in, {found['octets_out']} out"),
    ]


def _of_focus(found: dict[str, Any]) -> list[tuple[str, str]]:
    dispatcher = found["dispatcher"]
    state = "connected" if dispatcher["connected"] else "not connected"
    name = dispatcher["name"] or "dispatcher"
    return [("dispatcher", f"{name} at {dispatcher['address']}, {state} {dispatcher['since']}")]


_SHOWN = {"focus": _of_focus, "dispatcher": _of_dispatcher, "server": _of_server}
"""What is shown of each kind of process, by the key that names it."""


@click.command(short_help="Take nobody new in, before a stop.")
@deadline_option
@managed
def drain(server: Server, deadline: int | None) -> None:
    """Take nobody new in, before the server is stopped; who is in a room stays.

    Repeat it to see how many are left, or watch `msrpconf top`.
    """
    found = server.ask("PUT", "v1", "drain", query={"deadline": deadline})
    left = f"{found['participants']} devices in {found['rooms']} rooms are left"
    lines = [f"nobody new is taken in; {left}"]
    if found["deadline"] is not None:
        lines.append(f"at {found['deadline']} they are moved, or sent out")
    if not found["kept"]:
        lines.append("a restart ends it: there is no [database], and no [server] state")
    server.show(found, lines)


@click.command()
@managed
def undrain(server: Server) -> None:
    """Take people in again, after drain."""
    server.show(server.ask("DELETE", "v1", "drain"), "people are taken in again")


@click.command(short_help="Read the configuration again.")
@managed
def reload(server: Server) -> None:
    """Read the configuration and the static rooms again, without a restart.

    It says which keys hold now, and which ones wait for a restart.
    """
    found = server.ask("POST", "v1", "reload")
    lines = [f"changed: {', '.join(found['changed']) or 'nothing'}"]
    if found["restart"]:
        lines.append(f"these wait for a restart: {', '.join(found['restart'])}")
    lines.append(f"static rooms: {found['static_rooms']}")
    server.show(found, lines)
