"""When a server process looks for garbage that reference counting leaves.

Who has left is freed at once: nothing of a participant, a session, a subscription or a transaction
is in a circle of references (tests/conference/test_memory.py); of a room some twenty small objects
are. So Python's collector has next to nothing to do, and in a room of a thousand takes a fifth of a
second to find that out, at a moment when everybody is told of something. Here it looks through
young objects as usual, which takes a millisecond or two, and through all of them when the process
has little else to do, or when its memory has grown so much that there may be something after all.

This is of the whole process, so only the programs do it that are nothing but a server
(`ServerProcess`): an application that embeds one decides for itself.
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Collector"]

YOUNG = 2000
"""Objects made, less those freed, after which the youngest are looked through."""

MIDDLE = 10
"""How often the youngest are, until those are that have survived it."""

NEVER = 2**30
"""What keeps Python from looking through all by itself."""

INTERVAL = 10.0
"""Seconds between two looks at how busy the process is."""

QUIET = 0.1
"""What part of the time the process computes that has little to do."""

AGAIN = 300.0
"""Seconds between two full collections, at least, of a process that has little to do."""

GROWTH = 2.0
"""How many times the memory of before the process has when it does not wait for that."""

LEAST_GROWTH = 256 * 1024 * 1024
"""Octets that it must have grown by then."""

LONG = 0.05
"""Seconds that a collection takes to be worth a line in the log."""


class Collector:
    """Has the process look for garbage when it suits, from `start` on."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._computed = 0.0
        self._collected_at = 0.0
        self._octets = 0

    def start(self) -> None:
        """All is loaded that the process needs: it is not looked through again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)
        self._computed = time.process_time()
        self._collected_at = self._clock.seconds()
        self._octets = resident_octets()
        self._looking.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        computed = time.process_time()
        share = (computed - self._computed) / INTERVAL
        self._computed = computed
        waited = self._clock.seconds() - self._collected_at >= AGAIN
        octets = resident_octets()
        grown = octets > max(GROWTH * self._octets, self._octets + LEAST_GROWTH)
        if grown or (waited and share < QUIET):
            self._collect(octets)

    def _collect(self, octets: int) -> None:
        begun = time.perf_counter()
        found = gc.collect()
        took = time.perf_counter() - begun
        self._computed = time.process_time()
        self._collected_at = self._clock.seconds()
        self._octets = resident_octets()
        if took > LONG:
            self.log.info(
                "looked for garbage in {took:.0f} ms: {found} objects; {before} MB, now {octets}",
                took=took * 1000,
                found=found,
                octets=self._octets // 1000000,
                before=octets // 1000000,
            )


def resident_octets() -> int:
    """Octets of memory that the process has; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
