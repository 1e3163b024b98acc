"""Where a user agent's end of SIP is, and by what Contact others reach it."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.error import CannotListenError

from msrpconf.protocols.sip.flow import Address, bracket, is_ipv6
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.sockets import bound_socket, is_loopback
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import SipURI

ATTEMPTS = 20
"""Ports that are tried for one that is free for UDP and for TCP."""


class Listening:
    """The addresses at which the user agent of `user`, a URI, listens.

    Where it listens for UDP it does so for TCP at the same port (RFC 3261 §18.2.1): what is too
    large for a datagram, as the roster of a room may be, comes by TCP.
    """

    def __init__(self, transport: TransportLayer, user: str) -> None:
        self.addresses: list[Address] = []
        """With real ports; those for TCP that go with UDP are not named again."""
        self._transport = transport
        self._user = SipURI.parse(user).user

    @inlineCallbacks
    def at(self, address: Address) -> Generator[Deferred[Any], Any, None]:
        """Listen at an address. Fails with `CannotListenError`."""
        if address.transport == "udp" and address.port == 0:
            address = evolve(address, port=_free_port(address))
        found = yield self._transport.listen(address)
        self.addresses.append(found)
        if address.transport == "udp":
            with suppress(CannotListenError):
                # A program of somebody else's may have it: large messages do not come then.
                yield self._transport.listen(evolve(found, transport="tcp"))

    def towards(self, peer: Address) -> Deferred[None]:
        """Have an end of our own that `peer` can reach. Fails with `CannotListenError`."""
        try:
            self._transport.local_address(peer.transport, peer.host)
        except TransportError:
            if is_ipv6(peer.host):
                host = "::1" if is_loopback(peer.host) else "::"
            else:
                host = "127.0.0.1" if is_loopback(peer.host) else "0.0.0.0"
            return self.at(Address(peer.transport, host, 0))
        return succeed(None)

    def contact(self, transport: str, host: str) -> str:
        """The value of our Contact for who is at `host`. Raises `TransportError`."""
        local = self._transport.local_address(transport, host)
        uri = SipURI("sip", self._user, None, bracket(local.host), local.port)
        if transport != "udp":
            uri = uri.with_parameters(("transport", transport))
        return f"<{uri}>"


def _free_port(address: Address) -> int:
    """A port that is free for UDP and TCP; 0, which is any for UDP alone, where none is found."""
    for _ in range(ATTEMPTS):
        with suppress(OSError), bound_socket(socket.SOCK_DGRAM, address.endpoint) as datagrams:
            port: int = datagrams.getsockname()[1]
            with bound_socket(socket.SOCK_STREAM, (address.host, port)):
                return port
    return 0
