"""SIP over UDP: one bound socket."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from msrpconf.protocols.sip.flow import Endpoint, format_endpoint
from msrpconf.protocols.sip.sender import TransportError

MAX_DATAGRAM = 65535
"""Octets that one datagram may have (RFC 3261 section 18.1.1)."""

# The way is full: as good as lost on the way, and made good by the same repetitions.
_CONGESTION = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


class DatagramSocket(DatagramProtocol):
    """Sends and receives the datagrams of one local address.

    `on_datagram(data, source, local)` gets what comes and may be a message.
    """

    def __init__(self, on_datagram: Callable[[bytes, Endpoint, Endpoint], None]) -> None:
        self._on_datagram = on_datagram
        self._socket: socket.socket | None = None
        self.local: Endpoint = ("", 0)
        self.port: Any = None
        """Twisted's port, for `stopListening`."""

    def startProtocol(self) -> None:
        """Twisted has the socket."""
        transport: Any = self.transport
        handle: socket.socket = transport.getHandle()
        self._socket = handle
        host, port, *_ = handle.getsockname()
        self.local = (host, port)

    def stopProtocol(self) -> None:
        """Twisted has closed the socket."""
        self._socket = None

    def datagramReceived(self, datagram: bytes, addr: Endpoint) -> None:
        """From Twisted. What keeps a NAT open (CR LF, zeros, STUN) is no message and is dropped."""
        if datagram[:1] > b" " or (datagram[:2] == b"\r\n" and datagram.strip()):
            self._on_datagram(datagram, addr, self.local)

    def send(self, octets: bytes, remote: Endpoint) -> None:
        """Sends one datagram to a numeric host. Raises `TransportError`.

        Straight by the socket: Twisted's `write` reads the address anew for every datagram.
        """
        try:
            if self._socket is None:
                raise OSError(errno.EBADF, "no longer listening")
            self._socket.sendto(octets, remote)
        except OSError as error:
            if error.errno in _CONGESTION:
                return
            where = f"udp:{format_endpoint(remote)}"
            raise TransportError(f"{where}: {error.strerror or error}") from None
