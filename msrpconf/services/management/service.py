"""The management interface as a service: where it listens, and who may ask."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from msrpconf.listen import ListenAddress
from msrpconf.services.management.api import functions
from msrpconf.services.management.dispatcher_api import dispatcher_functions
from msrpconf.services.management.dispatcher_operations import DISPATCHER
from msrpconf.services.management.focus_api import FOCUS, focus_functions
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.management.parts import AnyParts, DispatcherParts, Parts
from msrpconf.services.management.router import Router


class ManagementService(Service):
    """Serves HTTP about `parts` at `listen`.

    With a `token`, whoever asks must have it; it is needed at an address that other hosts can
    reach. A Unix socket is for its owner and its group.
    """

    name = "msrpconf-management"

    def __init__(self, parts: AnyParts, listen: ListenAddress, token: str | None = None) -> None:
        if token is None and not listen.local:
            raise ValueError(f"{listen}: a token is needed where other hosts can ask")
        self._reactor = parts.reactor
        self._listen = listen
        guard = Guard(token, listen.path is None and listen.local)
        secured = token is not None
        if isinstance(parts, Parts):
            router = Router(guard, functions(parts, secured))
        elif isinstance(parts, DispatcherParts):
            router = Router(guard, dispatcher_functions(parts, secured), DISPATCHER)
        else:
            router = Router(guard, focus_functions(parts, secured), FOCUS)
        self.factory = ManagementFactory(router, parts.reactor)
        self._port: Any = None

    def startService(self) -> None:
        """Listen. Raises `CannotListenError` for an address that is taken."""
        Service.startService(self)
        listen = self._listen
        if listen.path is None:
            self._port = self._reactor.listenTCP(listen.port, self.factory, interface=listen.host)
            return
        _remove_stale(listen.path)
        self._port = self._reactor.listenUNIX(listen.path, self.factory, mode=0o660)

    @property
    def listening(self) -> list[str]:
        """Where: ``http://127.0.0.1:8080``, or ``unix:/run/msrpconf.sock``."""
        if self._port is None:
            return []
        if self._listen.path is not None:
            return [str(self._listen)]
        return [self._listen.url(self._port.getHost().port)]

    def stopService(self) -> Deferred[Any]:
        """Listen no more, and close what is open."""
        Service.stopService(self)
        port, self._port = self._port, None
        for channel in list(self.factory.channels):
            channel.transport.loseConnection()
        if port is None:
            return succeed(None)
        # Of a socket that somebody has removed, nothing is left to remove.
        return maybeDeferred(port.stopListening).addErrback(_trap_missing)


def _trap_missing(failure: Failure) -> None:
    failure.trap(FileNotFoundError)


def _remove_stale(path: str) -> None:
    """Take away the socket of a process that has died: nobody listens there."""
    with suppress(OSError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
