"""`msrpconf server`: the servers of a dispatcher, and which of them has which room."""

from __future__ import annotations

import time
from typing import Any

import click

from msrpconf.commands.managing import Server, deadline_option, managed, row, table, yes_or_no

POLL = 1.0
"""Seconds from one look at what is left to the next."""

name_argument = click.argument("name", metavar="NAME")


@click.group(short_help="Conference servers apart, and their rooms.")
def server() -> None:
    """Conference servers apart: show them, and where rooms live.

    Asked is a focus with its dispatcher, at --url. A server's NAME is [server] name; one that was
    never connected is named by its address.
    """


@server.command("list")
@managed
def list_(server: Server) -> None:
    """List the servers."""
    found = server.ask("GET", "v1", "dispatcher", "servers")["servers"]
    names = ("server", "address", "state", "rooms", "of", "calls", "draining", "last error")
    shown = table(*names, numbers=("rooms", "of", "calls"))
    for each in found:
        row(
            shown,
            each["name"] or "",
            each["address"] or "",
            each["state"],
            each["rooms"],
            each["capacity"] or "",
            each["dialogs"],
            yes_or_no(each["draining"]),
            "" if each["state"] == "connected" else each["error"] or "",
        )
    server.show(found, shown if found else "no servers")


@server.command()
@name_argument
@managed
def show(server: Server, name: str) -> None:
    """Show one server, and the link to it."""
    found = server.ask("GET", "v1", "dispatcher", "servers", name)
    server.show(found, _lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    """A server for people."""
    took = "" if found["round_trip"] is None else f", within {found['round_trip'] * 1000:.0f} ms"
    facts = [
        ("server", found["name"] or "not known: never connected"),
        ("address", found["address"] or "another server is there now"),
        ("state", f"{found['state']}{_since(found)}"),
        ("draining", yes_or_no(found["draining"])),
        ("rooms", f"{found['rooms']} of {found['capacity']}"),
        ("calls", found["dialogs"]),
        ("answered PING", found["pinged"] and f"{found['pinged']}{took}"),
        ("waiting", f"{found['waiting']} requests to it, {found['handling']} of its own"),
        ("queued octets", found["queued_octets"] or ""),
        ("links so far", found["connects"]),
        ("octets", f"{found['octets_in']} in, {found['octets_out']} out"),
        ("last error", found["error"] and f"{found['error_at']}: {found['error']}"),
    ]
    return [f"{name:<15}{value}" for name, value in facts if value not in ("", None)]


def _since(found: dict[str, Any]) -> str:
    return "" if found["since"] is None else f" since {found['since']}"


@server.command()
@name_argument
@deadline_option
@click.option("--wait", is_flag=True, help="Come back when it has no rooms any more.")
@managed
def drain(server: Server, name: str, deadline: int | None, wait: bool) -> None:
    """Have a server take nobody new in; who is in a room there stays.

    With --wait the exit status is 0 once nobody is left. Ctrl-C ends the waiting, not the draining.
    """
    path = "v1", "dispatcher", "servers", name
    found = server.ask("PUT", *path, "drain", query={"deadline": deadline})
    told = None
    while wait and (found["rooms"] or found["dialogs"]):
        left = _left(found)
        if left != told and not server.as_json:
            click.echo(f"{name} takes nobody new in; {left}")
        told = left
        time.sleep(POLL)
        found = server.ask("GET", *path)
        if found["state"] != "connected":
            raise click.ClickException(f"{name} is not connected any more, but {found['state']}")
        if not found["draining"]:
            raise click.ClickException(f"{name} takes people in again: somebody has undone it")
    server.show(found, f"{name} takes nobody new in; {_left(found)}")


def _left(found: dict[str, Any]) -> str:
    if not (found["rooms"] or found["dialogs"]):
        return "nobody is left"
    return f"{found['dialogs']} calls in {found['rooms']} rooms are left"


@server.command()
@name_argument
@managed
def undrain(server: Server, name: str) -> None:
    """Have a server take people in again."""
    found = server.ask("DELETE", "v1", "dispatcher", "servers", name, "drain")
    server.show(found, f"{name} takes people in again")


@server.command()
@click.option("--server", "name", metavar="NAME", help="Only those of this server.")
@click.option("--match", metavar="TEXT", help="Only those with this in the URI.")
@managed
def rooms(server: Server, name: str | None, match: str | None) -> None:
    """List the rooms that live, each with its server."""
    found = list(server.pages("rooms", "v1", "dispatcher", "rooms", server=name, match=match))
    shown = table("room", "server", "calls", "connected", numbers=("calls",))
    for each in found:
        connected = "" if each["connected"] else "no"
        row(shown, each["uri"], each["server"], each["dialogs"], connected)
    server.show(found, shown if found else "no rooms")
