"""Connections to a PostgreSQL server that has stopped answering, without saying so.

Its own timeouts are of no use where the server hangs, or its host is cut off, and the driver
waits for ever. So it is noted which thread waits for what since when, and who waits for too long
has its connection ended: then the driver raises.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from threading import Lock, get_ident
from typing import Any

from attrs import define
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError


@define(eq=False)
class _Use:
    connection: Any
    until: float


class AnswerWatch:
    """Watches the connections of `engine`, each used by one thread at a time.

    A statement may take `patience` seconds, the question whether there is somebody still, before
    a connection is used again, `ping`.
    """

    def __init__(self, engine: Engine, patience: float, ping: float) -> None:
        self._dialect: Any = engine.dialect
        self._errors: type[Exception] = self._dialect.loaded_dbapi.Error
        self._patience = patience
        self._ping = ping
        self._uses: dict[int, _Use] = {}
        # Held while a connection is ended: no other thread can have it by then.
        self._lock = Lock()
        event.listen(engine, "checkout", self._checked_out)
        event.listen(engine, "before_cursor_execute", lambda *_: self._goes_on())
        event.listen(engine, "commit", lambda _: self._goes_on())
        event.listen(engine, "checkin", lambda *_: self.done())

    def end_if_silent(self, thread: int) -> bool:
        """End the connection of a thread that waits for too long; whether it did."""
        with self._lock:
            use = self._uses.get(thread)
            if use is None or time.monotonic() < use.until:
                return False
            del self._uses[thread]
            with suppress(OSError, self._errors):
                _end(use.connection)
            return True

    def done(self) -> None:
        """The calling thread uses none any more."""
        with self._lock:
            self._uses.pop(get_ident(), None)

    def _goes_on(self) -> None:
        use = self._uses.get(get_ident())
        if use is not None:
            use.until = time.monotonic() + self._patience

    def _checked_out(self, connection: Any, *_: object) -> None:
        with self._lock:
            self._uses[get_ident()] = _Use(connection, time.monotonic() + self._ping)
        try:
            self._dialect.do_ping(connection)
        except self._errors as error:
            # The others of the pool are no better.
            raise InvalidatePoolError from error
        self._goes_on()


def _end(connection: Any) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)
