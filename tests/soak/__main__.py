"""Has people talk while parts are killed, and says what became of each message.

    python -m tests.soak --seconds 600 --seed 7

The exit status is 0 where a rule explains all that was lost. With MSRPCONF_TEST_POSTGRESQL the
focuses share that server, by a process that is killed, too (`bash .ci/postgresql make soak`), else
a file of SQLite.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import click
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater, react

from msrpconf.storage.url import read_url
from tests.soak.chaos import Chaos
from tests.soak.ledger import Ledger, Verdict
from tests.soak.parts import LOOPBACK, Parts, free_port
from tests.soak.people import Person

POSTGRESQL = "MSRPCONF_TEST_POSTGRESQL"

MAX_LINES = 50
"""Lines of what is unexplained that are printed."""

PATIENCE = 40.0
"""Seconds that people wait for their room to go on elsewhere."""

SETTLE = 90.0
"""Seconds until everybody is in again, and all has come, once nobody is killed any more."""


def tell(line: str) -> None:
    """Print a line at once: who waits for ten minutes wants to see it."""
    print(line, flush=True)


class Soak:
    """One run, of so many `seconds`, with kills by `seed`, and files in `directory`.

    `moves` is whether the rooms of a server that is lost go on at another.
    """

    def __init__(
        self, reactor: Any, directory: Path, seconds: float, seed: int, moves: bool
    ) -> None:
        self.reactor = reactor
        self.directory = directory
        self.seconds = seconds
        self.ledger = Ledger(moves)
        self.parts = Parts(reactor, directory, servers=3, focuses=2, moves=moves)
        self._begun = reactor.seconds()
        self.people = [
            Person(
                reactor,
                f"{name}{room}",
                f"room{room}",
                self.parts.ways,
                self.ledger,
                Random(f"{seed} {room} {name}"),
                self.now,
                PATIENCE if moves else 1.0,
            )
            for room in range(4)
            for name in ("alice", "bob", "carol")
        ]
        self.chaos = Chaos(
            reactor, self.parts, self.ledger, Random(f"{seed} chaos"), self.now, tell, moves
        )

    def now(self) -> float:
        """Seconds since the beginning."""
        return float(self.reactor.seconds() - self._begun)

    @inlineCallbacks
    def run(self) -> Generator[Deferred[Any], Any, Verdict]:
        """Do all of it."""
        self._use_database()
        if self.parts.relay is not None:
            yield self.parts.relay.start()
        yield gatherResults([each.start() for each in self.parts.servers])
        # One after the other: the first one makes the tables.
        for focus in self.parts.focuses:
            yield focus.start()
        tell(f"{self.now():6.1f} s  all parts are there; files in {self.directory}")
        living = [person.live() for person in self.people]
        reigning = self.chaos.reign()
        yield deferLater(self.reactor, self.seconds)
        self.chaos.is_over = True
        yield reigning
        tell(f"{self.now():6.1f} s  nobody is killed any more")
        problems = yield self._settle()
        verdict = self.ledger.judge()
        for person in self.people:
            person.is_over = True
        yield gatherResults([*living, *(person.end() for person in self.people)])
        for part in self.parts.all:
            yield part.end("KILL")
            if "Traceback" in part.output:
                problems.append(f"{part.name} has written a traceback: see {part.name}.log")
        return evolve(verdict, unexplained=(*verdict.unexplained, *problems))

    def _use_database(self) -> None:
        url = os.environ.get(POSTGRESQL)
        if not url:
            self.parts.use_database("sqlite:///shared.sqlite")
            return
        server, port = read_url(url), free_port(socket.SOCK_STREAM)
        self.parts.use_relay(port, str(server.query["host"]))
        there = server.set(host=LOOPBACK, port=port).difference_update_query(["host"])
        self.parts.use_database(there.render_as_string(hide_password=False))

    @inlineCallbacks
    def _settle(self) -> Generator[Deferred[Any], Any, list[str]]:
        """Wait until all are in, and have heard all; lines for what does not come to be."""
        problems = list(self.chaos.problems)
        is_together = yield self._until(lambda: not self._apart())
        if not is_together:
            problems += self._apart()
        for person in self.people:
            person.talks = False
        yield self._until(lambda: not any(person.unanswered for person in self.people))
        # The last ones show that all who are in are heard.
        for person in self.people:
            person.say()
        arrived = yield self._until(self._has_arrived)
        if not arrived:
            problems.append(f"not everything had come after {SETTLE:g} s")
        return problems

    def _apart(self) -> list[str]:
        """Who is not where the others of the room are."""
        found = [f"{each.name} is not in" for each in self.people if each.stay is None]
        places: dict[str, set[str]] = {}
        for person in self.people:
            if person.stay is not None:
                places.setdefault(person.stay.room, set()).add(person.stay.server)
        return found + [f"{room} is on {where}" for room, where in places.items() if len(where) > 1]

    def _has_arrived(self) -> bool:
        if any(person.unanswered for person in self.people):
            return False
        verdict = self.ledger.judge()
        return verdict.due == verdict.arrived + verdict.lost.total()

    @inlineCallbacks
    def _until(self, condition: Callable[[], bool]) -> Generator[Deferred[Any], Any, bool]:
        latest = self.reactor.seconds() + SETTLE
        while not condition():
            if self.reactor.seconds() > latest:
                return False
            yield deferLater(self.reactor, 0.5)
        return True

    def report(self, verdict: Verdict) -> list[str]:
        """What came of it, in lines."""
        stays = self.ledger.stays.values()
        told = Counter(each.why for each in stays if each.why and not each.left)
        return [
            f"{sum(self.chaos.done.values())} times something was done to a part:",
            *(f"    {count:6}  SIG{what}" for what, count in sorted(self.chaos.done.items())),
            f"{len(self.ledger.stays)} stays of {len(self.people)} people; "
            f"{sum(person.moves for person in self.people)} times one moved, "
            f"{sum(person.refused for person in self.people)} times one was not let in:",
            *(f"    {count:6}  ended: {rule}" for rule, count in sorted(verdict.ended.items())),
            *(f"            {count:6}  were told: {why}" for why, count in sorted(told.items())),
            f"{verdict.answered} messages were answered 200; of their {verdict.due} copies",
            f"    {verdict.arrived:6}  came, once and in order",
            *(f"    {count:6}  lost: {rule}" for rule, count in sorted(verdict.lost.items())),
            f"    {len(verdict.unexplained):6}  unexplained",
            *(f"            {line}" for line in verdict.unexplained[:MAX_LINES]),
        ]


@click.command()
@click.option("--seconds", default=600.0, help="How long parts are killed.")
@click.option("--seed", default=0, help="What the kills are drawn by; 0 for another each time.")
@click.option("--move", is_flag=True, help='With on_server_loss = "move".')
@click.option("--directory", type=click.Path(path_type=Path), help="Where files are, and stay.")
def main(seconds: float, seed: int, move: bool, directory: Path | None) -> None:
    """Have people talk while parts are killed, and say what became of each message."""
    seed = seed or 1 + secrets.randbelow(1_000_000)
    tell(f"seed {seed}, {seconds:g} s")
    where = directory or Path(mkdtemp(prefix="msrpconf-soak-"))
    where.mkdir(exist_ok=True)

    @inlineCallbacks
    def run(reactor: Any) -> Generator[Deferred[Any], Any, None]:
        soak = Soak(reactor, where.resolve(), seconds, seed, move)
        verdict = yield soak.run()
        for line in soak.report(verdict):
            tell(line)
        if verdict.unexplained:
            tell(
                f"again: python -m tests.soak --seconds {seconds:g} --seed {seed}{' --move' * move}"
            )
            raise SystemExit(1)
        if directory is None:
            rmtree(where)

    react(run)


if __name__ == "__main__":
    main()
