"""Where a user agent's end of SIP is, and by what Contact others reach it."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError

from msrpconf.protocols.sip.flow import Address, Flow, bracket, is_ipv6
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.sockets import bound_socket, is_loopback
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import SipURI

ATTEMPTS = 20
"""Ports that are tried for one that is free for UDP and for TCP."""


class Listening:
    """The addresses at which the user agent of `user`, a URI, listens.

    `certified` is whether we have a certificate: without one nobody can connect to us by TLS, and
    we are reached by the connections that we make.

    Where it listens for UDP it does so for TCP at the same port (RFC 3261 §18.2.1): what is too
    large for a datagram, as the roster of a room may be, comes by TCP.
    """

    def __init__(self, transport: TransportLayer, user: str, *, certified: bool = False) -> None:
        self.addresses: list[Address] = []
        """With real ports; those for TCP that go with UDP are not named again."""
        self._transport = transport
        self._certified = certified
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

    @inlineCallbacks
    def towards(self, peer: Address) -> Generator[Deferred[Any], Any, Address]:
        """Where `peer` reaches us: an end of our own, which is made if need be.

        By TLS it is that of a connection, if we have no certificate. Fails with
        `CannotListenError` or `TransportError`.
        """
        if peer.transport == "tls" and not self._certified:
            flow = yield self._transport.connect(peer)
            return Address("tls", *flow.local)
        try:
            return self._transport.local_address(peer.transport, peer.host)
        except TransportError:
            if is_ipv6(peer.host):
                host = "::1" if is_loopback(peer.host) else "::"
            else:
                host = "127.0.0.1" if is_loopback(peer.host) else "0.0.0.0"
        yield self.at(Address(peer.transport, host, 0))
        return self._transport.local_address(peer.transport, peer.host)

    def of(self, flow: Flow) -> Address:
        """Where the peer of a flow reaches us. Raises `TransportError`."""
        if flow.transport == "tls" and not self._certified:
            return Address("tls", *flow.local)
        return self._transport.local_address(flow.transport, flow.remote[0])

    def contact(self, local: Address, *, sips: bool = False) -> str:
        """The value of our Contact for who reaches us at `local`; with `sips`, by TLS alone."""
        uri = SipURI("sips" if sips else "sip", self._user, None, bracket(local.host), local.port)
        if local.transport != "udp" and not sips:
            uri = uri.with_parameters(("transport", local.transport))
        return f"<{uri}>"


def _free_port(address: Address) -> int:
    """A port that is free for UDP and TCP; 0, which is any for UDP alone, where none is found."""
    for _ in range(ATTEMPTS):
        with suppress(OSError), bound_socket(socket.SOCK_DGRAM, address.endpoint) as datagrams:
            port: int = datagrams.getsockname()[1]
            with bound_socket(socket.SOCK_STREAM, (address.host, port)):
                return port
    return 0
