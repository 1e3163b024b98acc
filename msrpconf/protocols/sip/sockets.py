"""Sockets made as SIP wants them, and which of our addresses a peer sees."""

from __future__ import annotations

import socket

from msrpconf.protocols.sip.flow import Endpoint, is_ipv6

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Octets of datagrams that the system may hold for us, as far as it allows that."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""

WILDCARDS = frozenset({"", "0.0.0.0", "::"})
"""The hosts that mean all addresses of this machine."""


def bound_socket(kind: socket.SocketKind, endpoint: Endpoint) -> socket.socket:
    """A non-blocking socket bound to a numeric host and a port. Raises OSError.

    An IPv6 socket takes IPv6 alone, so that `0.0.0.0` and `[::]` can both be listened at on one
    port, and no peer appears under an IPv4-mapped address. A stream socket listens.
    """
    host, port = endpoint
    family = socket.AF_INET6 if is_ipv6(host) else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        made.bind((host, port))
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def source_host(remote: str) -> str:
    """The address of ours that the system would send from to the numeric host `remote`.

    Nothing is sent. Raises OSError where there is no way to it.
    """
    family = socket.AF_INET6 if is_ipv6(remote) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((remote, 9))
        host: str = probe.getsockname()[0]
        return host


def is_loopback(host: str) -> bool:
    """Whether a numeric host is this machine to itself alone."""
    return host == "::1" or host.startswith("127.")
