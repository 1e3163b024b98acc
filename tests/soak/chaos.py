"""Who kills: one part after another, and starts it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.soak.ledger import Death, Ledger
from tests.soak.parts import Part, Parts, Server

SHORT = 2.0
"""Seconds that a process may be stopped without being given up by others."""

AWAY = 6.0
"""Seconds that a part may be dead."""


class Chaos:
    """Kills, ends, and stops `parts` at times and in an order that `random` says.

    `now` is the ledger's time; `tell` gets a line for each thing done. `moves` is whether rooms go
    on at another server.
    """

    def __init__(
        self,
        reactor: Any,
        parts: Parts,
        ledger: Ledger,
        random: Random,
        now: Callable[[], float],
        tell: Callable[[str], None],
        moves: bool,
    ) -> None:
        self.is_over = False
        self.done: Counter[str] = Counter()
        """How often each was done."""
        self.problems: list[str] = []
        """Parts that did not come back."""
        self._reactor = reactor
        self._parts = parts
        self._ledger = ledger
        self._random = random
        self._now = now
        self._tell = tell
        self._moves = moves
        self._doing: set[Deferred[None]] = set()

    @inlineCallbacks
    def reign(self) -> Generator[Deferred[Any], Any, None]:
        """Go on until it is over, then wait until all parts are there."""
        while not self.is_over:
            yield deferLater(self._reactor, self._random.uniform(1.0, 5.0))
            part = self._random.choice(self._parts.all)
            what = self._random.choices(("KILL", "TERM", "STOP"), (6, 4, 3))[0]
            span = self._random.uniform(0.1, SHORT if what == "STOP" else AWAY)
            if part.is_busy or self.is_over:
                continue
            doing = self._do(part, what, span)
            self._doing.add(doing)
            doing.addBoth(self._done, doing)
        while self._doing:
            yield next(iter(self._doing))

    def _done(self, result: object, doing: Deferred[None]) -> None:
        self._doing.discard(doing)
        if isinstance(result, Failure):
            self.problems.append(result.getErrorMessage())

    @inlineCallbacks
    def _do(self, part: Part, what: str, span: float) -> Generator[Deferred[Any], Any, None]:
        part.is_busy = True
        self.done[f"{what} of {part.name}"] += 1
        self._tell(f"{self._now():6.1f} s  SIG{what} to {part.name} for {span:.1f} s")
        if what == "STOP":
            part.program.signals("STOP")
            yield deferLater(self._reactor, span)
            part.program.signals("CONT")
        else:
            address = part.msrp if isinstance(part, Server) else None
            hands_over = self._moves and what == "TERM"
            self._ledger.deaths.append(Death(part.name, self._now(), address, hands_over))
            yield part.end(what)
            yield deferLater(self._reactor, span)
            yield part.start()
        part.is_busy = False
