"""Who may watch which room, by the documents of the rooms (RFC 5025 §3.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from msrpconf.conference.identity import Identity
from msrpconf.xcap.rules import Rule, SubHandling, Watcher, next_change, sub_handling
from msrpconf.xcap.ruleset import RulesetError, parse_ruleset

MAX_DELAY = 86400.0
"""Seconds that one timer may run; a change that is later waits for another."""

# Nearly all rooms have the same document, and then the same rules in memory.
_parsed = lru_cache(maxsize=64)(parse_ruleset)


class RoomRules:
    """Answers from the documents of rooms, which it was given, without waiting for anything.

    `clock` keeps time, in seconds of the epoch. A room of which nothing was said yet has its
    subscriptions pending, because its documents may forbid them. A room without documents
    allows everybody; what its roles forbid is forbidden besides.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._hooks: list[Callable[[str], None]] = []
        self._clock = clock
        self._rules: dict[str, tuple[Rule, ...] | None] = {}
        self._documents: dict[str, tuple[bytes, ...]] = {}
        self._timers: dict[str, IDelayedCall] = {}

    def decide(self, room: str, watcher: Identity) -> SubHandling:
        """What becomes of `watcher`'s subscription to the room of that key, now."""
        if room not in self._rules:
            return SubHandling.CONFIRM
        rules = self._rules[room]
        if rules is None:
            return SubHandling.ALLOW
        return sub_handling(rules, Watcher(watcher.proven, self._clock.seconds()))

    def knows(self, room: str) -> bool:
        """Whether something was said of a room."""
        return room in self._rules

    def on_change(self, hook: Callable[[str], None]) -> None:
        """Have `hook` called with a room's key when decisions about it may be others."""
        self._hooks.append(hook)

    def put(self, room: str, documents: Iterable[bytes]) -> None:
        """Have these documents for a room, of whose rules all count (RFC 5025 §9.7).

        One that cannot be read grants nothing.
        """
        documents = tuple(documents)
        if self._documents.get(room) == documents:
            return
        self._documents[room] = documents
        self._rules[room] = self._read(room, documents) if documents else None
        self._changed(room)

    def forget(self, room: str) -> None:
        """Know nothing any more of a room that has ended."""
        self._documents.pop(room, None)
        self._rules.pop(room, None)
        self._stop(room)

    def stop(self) -> None:
        """Tell of nothing any more."""
        self._hooks.clear()
        for room in list(self._timers):
            self._stop(room)

    def _read(self, room: str, documents: tuple[bytes, ...]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for document in documents:
            try:
                ruleset = _parsed(document)
            except RulesetError as error:
                self.log.warn(
                    "pres-rules of {room}: {error}; it grants nothing", room=room, error=str(error)
                )
                continue
            for problem in ruleset.problems:
                self.log.warn("pres-rules of {room}: {problem}", room=room, problem=problem)
            rules += ruleset.rules
        return tuple(rules)

    def _changed(self, room: str) -> None:
        self._stop(room)
        self._wait(room)
        self._tell(room)

    def _tell(self, room: str) -> None:
        for hook in self._hooks:
            hook(room)

    def _wait(self, room: str) -> None:
        """Wait for when the passing of time changes what rules say."""
        now = self._clock.seconds()
        at = next_change(self._rules.get(room) or (), now)
        if at is not None:
            delay = min(at - now, MAX_DELAY)
            self._timers[room] = self._clock.callLater(delay, self._time_has_come, room, at)

    def _time_has_come(self, room: str, at: float) -> None:
        del self._timers[room]
        self._wait(room)
        if self._clock.seconds() >= at:
            self._tell(room)

    def _stop(self, room: str) -> None:
        timer = self._timers.pop(room, None)
        if timer is not None:
            timer.cancel()
