"""Finding out which connections are dead, and keeping the others alive (RFC 4975 §5.4, §7.1).

A device that loses its network says nothing. A connection on which nothing has come or gone for
a while is therefore asked: a SEND without a body, which is to be answered. Any octet is an answer,
also that of a client which does not like the question. Who says nothing is cut off.

Where octets wait to be read, no question would arrive; there TCP itself tells, later
(`TCP_USER_TIMEOUT`). For all connections there is one timer.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOProtocol

UNSENT = 131072
"""Octets that the kernel may hold of what it has not sent."""

PROBES = 3
"""TCP's own questions without an answer until it gives up."""


@frozen
class KeepAlive:
    """When a connection is asked, and when it is given up, in seconds.

    - `interval`: how long nothing comes and nothing goes before the peer is asked.
    - `timeout`: how long it may then say nothing.
    """

    interval: float = 60.0
    timeout: float = 30.0


class Watched(Protocol):
    """A connection, as far as this needs it."""

    heard: bool
    deaf: bool
    wrote: bool
    quiet: int
    asked: bool

    def ask(self) -> bool:
        """Have the peer say something; False where it cannot be asked now."""

    def give_up(self, why: str) -> None:
        """The peer is gone."""


class ConnectionKeeper:
    """Looks at all `connections` now and then."""

    def __init__(
        self, connections: Collection[Watched], clock: IReactorTime, times: KeepAlive
    ) -> None:
        self.times = times
        self._connections = connections
        self._clock = clock
        self._step = min(times.interval, times.timeout) / 4
        self._before = round(times.interval / self._step)
        self._patience = round(times.timeout / self._step)
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look, as long as there are connections."""
        if self._timer is None:
            self._timer = self._clock.callLater(self._step, self._look)

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        # Some go while we look.
        for connection in tuple(self._connections):
            # What the peer says while it is not read from is heard later.
            heard = connection.heard or connection.deaf
            if heard or (connection.wrote and not connection.asked):
                connection.quiet = 0
                connection.asked = False
            else:
                connection.quiet += 1
                if connection.asked:
                    if connection.quiet >= self._patience:
                        connection.give_up(
                            f"it did not answer a keep-alive within {self.times.timeout:g} s"
                        )
                elif connection.quiet >= self._before and connection.ask():
                    connection.asked = True
                    connection.quiet = 0
            connection.heard = connection.wrote = False
        if self._connections:
            self.start()


def set_tcp_options(transport: object, times: KeepAlive | None) -> None:
    """Have TCP notice a peer that is gone: while idle by probes, else by what it leaves unread.

    And have the kernel hold little that is not sent yet: what waits there cannot be overtaken by a
    short message. With None for the `times` it is the system that chooses them. Does nothing for
    what is not TCP, nor what the system does not have.
    """
    tcp = _tcp_socket(transport)
    if tcp is None:
        return
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    unsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if unsent is not None:
        tcp.setsockopt(socket.IPPROTO_TCP, unsent, UNSENT)
    if times is None:
        return
    for name, value, most in (
        ("TCP_KEEPIDLE", times.interval, 32767),
        ("TCP_KEEPINTVL", times.timeout / PROBES, 32767),
        ("TCP_KEEPCNT", PROBES, 127),
        # Who is there and does not read is congested (RFC 7701 §6.4), and is given the time for
        # that: this cannot tell one from who is gone.
        ("TCP_USER_TIMEOUT", 2000 * (times.interval + times.timeout), 2**31 - 1),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            tcp.setsockopt(socket.IPPROTO_TCP, option, max(1, min(int(value), most)))


def unacknowledged(transport: object) -> int:
    """How many segments TCP has sent that the peer has not acknowledged; 0 where none can tell."""
    tcp = _tcp_socket(transport)
    option = getattr(socket, "TCP_INFO", None)
    if tcp is None or option is None:
        return 0
    try:
        information = tcp.getsockopt(socket.IPPROTO_TCP, option, 28)
    except OSError:
        return 0
    # struct tcp_info: eight octets, then numbers of four, of which this is the fifth.
    return int.from_bytes(information[24:28], sys.byteorder)


def _tcp_socket(transport: object) -> socket.socket | None:
    """The socket below a transport; None for what is not TCP."""
    while isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    handle = getattr(transport, "getHandle", None)
    tcp = None if handle is None else handle()
    if isinstance(tcp, socket.socket) and tcp.family in {socket.AF_INET, socket.AF_INET6}:
        return tcp
    return None
