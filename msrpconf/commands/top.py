"""`msrpconf top`: the rooms in which something is going on, and how much."""

from __future__ import annotations

import time
from typing import Any

import click
from attrs import frozen
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from msrpconf.commands.managing import Server, console, managed, row, table
from msrpconf.visible import visible


@frozen
class Sample:
    """What the server said at a time, in seconds of a clock that goes forward only."""

    at: float
    status: dict[str, Any]
    rooms: dict[str, dict[str, Any]]

    @classmethod
    def take(cls, server: Server) -> Sample:
        """Ask the server."""
        status = server.ask("GET", "v1", "status")
        rooms = server.pages("rooms", "v1", "rooms", kind="occupied")
        return cls(time.monotonic(), status, {each["uri"]: each for each in rooms})


@frozen
class Rates:
    """What has happened between two samples, for each second."""

    before: Sample
    after: Sample

    def of_server(self, name: str) -> float:
        """The rate of a counter of the server's."""
        return self._rate(self.before.status[name], self.after.status[name])

    def of_room(self, uri: str, name: str) -> float:
        """The rate of a counter of a room's; of one that is new, since it is there."""
        before = self.before.rooms.get(uri)
        return self._rate(0 if before is None else before[name], self.after.rooms[uri][name])

    def _rate(self, before: int, after: int) -> float:
        # A counter that goes back is another server's, which was started meanwhile.
        seconds = max(self.after.at - self.before.at, 0.001)
        return max(0, after - before) / seconds


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    help="Seconds between two looks.",
)
@click.option("--rooms", type=click.IntRange(1, 1000), default=20, help="How many to show.")
@click.option("--once", is_flag=True, help="Look twice, show it once, and end.")
@managed
def top(server: Server, interval: float, rooms: int, once: bool) -> None:
    """Watch the rooms in which most is said. Ctrl-C ends it."""
    before = Sample.take(server)
    time.sleep(min(interval, 1.0))
    rates = Rates(before, Sample.take(server))
    if once:
        server.show(_document(rates), _table(rates, rooms))
        if not server.as_json:
            console().print(_summary(rates))
        return
    if server.as_json:
        raise click.ClickException("--json goes with --once")
    try:
        with Live(
            _screen(rates, rooms), console=console(), screen=True, auto_refresh=False
        ) as live:
            while True:
                live.update(_screen(rates, rooms), refresh=True)
                time.sleep(interval)
                rates = Rates(rates.after, Sample.take(server))
    except KeyboardInterrupt:
        return


def _document(rates: Rates) -> dict[str, Any]:
    """What is shown, for programs."""
    counters = ("messages", "private_messages", "undelivered")
    return {
        "status": rates.after.status,
        "per_second": {
            name: round(rates.of_server(name), 3) for name in (*counters, "octets_in", "octets_out")
        },
        "rooms": [
            {
                **rates.after.rooms[uri],
                "per_second": {name: round(rates.of_room(uri, name), 3) for name in counters},
            }
            for uri in _busiest(rates)
        ],
    }


def _busiest(rates: Rates) -> list[str]:
    """The rooms, those in which most is said first, then the largest."""
    rooms = rates.after.rooms
    return sorted(
        rooms,
        key=lambda uri: (-rates.of_room(uri, "messages"), -rooms[uri]["participants"], uri),
    )


def _screen(rates: Rates, rooms: int) -> Group:
    return Group(_summary(rates), Text(), _table(rates, rooms))


def _summary(rates: Rates) -> Text:
    status = rates.after.status
    ready = "ready" if status["ready"] else f"NOT READY: {'; '.join(status['reasons'])}"
    people, rooms = status["participants"], status["rooms"]
    rate = rates.of_server
    lines = (
        f"{status['server']}  msrpconf {status['version']}  {ready}",
        f"{people['total']} devices, {people['congested']} congested, in {rooms['occupied']} of"
        f" {rooms['total']} rooms",
        f"{rate('messages'):.1f} messages/s, {rate('private_messages'):.1f} private/s,"
        f" {rate('undelivered'):.1f} lost copies/s,"
        f" {_octets(rate('octets_in'))} in, {_octets(rate('octets_out'))} out",
    )
    return Text(visible(lines[0]) + "\n" + "\n".join(lines[1:]))


def _octets(rate: float) -> str:
    """``1.5 MB/s``."""
    for unit in ("B", "kB", "MB"):
        if rate < 1000:
            return f"{rate:.0f} {unit}/s" if unit == "B" else f"{rate:.1f} {unit}/s"
        rate /= 1000
    return f"{rate:.1f} GB/s"


def _table(rates: Rates, rooms: int) -> Table:
    names = ("room", "people", "messages/s", "messages", "private", "lost", "subject")
    shown = table(*names, numbers=names[1:6])
    for uri in _busiest(rates)[:rooms]:
        each = rates.after.rooms[uri]
        row(
            shown,
            uri,
            each["participants"],
            f"{rates.of_room(uri, 'messages'):.1f}",
            each["messages"],
            each["private_messages"],
            each["undelivered"],
            each["subject"],
        )
    return shown
