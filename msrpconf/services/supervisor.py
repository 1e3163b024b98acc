"""Telling the service manager how we are (sd_notify(3)): that we are ready, end, and still live.

    READY=1        what is to listen listens
    RELOADING=1    the configuration is being read again; READY=1 follows
    STOPPING=1     everybody is being told, then the process ends
    WATCHDOG=1     the reactor runs, twice in each interval that the manager wants to hear of it

They are datagrams to the socket that NOTIFY_SOCKET names. Without that variable nobody is told.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from msrpconf.visible import visible

log = Logger()


class Supervisor:
    """Whoever has started this process and wants to hear of it; may be nobody.

    `environment` is the process's own, `clock` keeps time, `pid` is whom the watchdog is for.
    """

    def __init__(self, environment: Mapping[str, str], clock: Any, pid: int) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._interval = _watchdog(environment, pid) if self._address else None
        self._clock = clock
        self._beating = LoopingCall(self._tell, "WATCHDOG=1")
        self._beating.clock = clock

    def ready(self, status: str) -> None:
        """What is to listen listens; `status` is a line for people."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")
        if self._interval is not None and not self._beating.running:
            self._beating.start(self._interval / 2)

    def reloading(self) -> None:
        """The configuration is being read again; `ready` says that it was."""
        # By the clock that tells the manager which of its requests this is about.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun. The watchdog goes on until `stopped`: the end may hang, too."""
        self._tell("STOPPING=1\nSTATUS=everybody is told")

    def stopped(self) -> None:
        """There is nothing left to tell of."""
        if self._beating.running:
            self._beating.stop()

    def _tell(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
                # Whoever does not read is not waited for.
                telling.setblocking(False)
                telling.sendto(text.encode("utf-8"), self._address)
        except OSError as error:
            # The watchdog ends us if that goes on; to say it at each beat is of no use.
            if not text.startswith("WATCHDOG"):
                log.warn(
                    "NOTIFY_SOCKET cannot be written: {error}", error=error.strerror or str(error)
                )


def process_supervisor(clock: Any) -> Supervisor:
    """Who supervises this process."""
    return Supervisor(os.environ, clock, os.getpid())


def _address(name: str) -> str | None:
    """The socket of a NOTIFY_SOCKET: a path, or an abstract name after @; None for no such."""
    if name.startswith("@") and len(name) > 1:
        return f"\0{name[1:]}"
    if name.startswith("/"):
        return name
    if name:
        log.warn("NOTIFY_SOCKET: expected a path or @ and a name, found {name}", name=visible(name))
    return None


def _watchdog(environment: Mapping[str, str], pid: int) -> float | None:
    """The seconds within which the manager wants a sign of life from us, None for never."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        log.warn(
            "WATCHDOG_USEC: expected a number of microseconds, found {text}", text=visible(text)
        )
        return None
    return int(text) / 1e6


def _line(text: str) -> str:
    return " ".join(text.split())
