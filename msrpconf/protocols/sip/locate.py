"""From a URI to the addresses that serve it (RFC 3263).

Numeric hosts, ports and transports are read from the URI, names are looked up for IPv4 and IPv6
addresses. NAPTR and SRV records belong in `locate`, before `_addresses`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.protocols.sip.flow import TRANSPORTS, Address, default_port, is_numeric, unbracket
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.uri import URI, SipURI

LOOKUP_TIMEOUT = 10.0
"""Seconds that a name may take to be looked up."""

MAX_ADDRESSES = 8
"""Addresses of one name that are tried at most."""


class LocateError(TransportError):
    """A URI leads to no address. The text says why."""


@frozen
class Destination:
    """What a URI says of its own of where it leads (RFC 3263 section 4.1).

    `host` is an address or a name, without brackets.
    """

    transport: str
    host: str
    port: int

    @classmethod
    def of(cls, uri: URI) -> Destination:
        """Raises `LocateError` for what is no SIP URI or names a transport we have not."""
        if not isinstance(uri, SipURI):
            raise LocateError(f"{uri}: only sip and sips URIs lead to an address")
        named = (uri.parameter("transport") or "").lower()
        if uri.scheme == "sips":
            # transport=tcp then means TLS over TCP (RFC 3261 section 26.2.2).
            transport = "tls" if named in ("", "tcp", "tls") else named
        else:
            transport = named or "udp"
        if transport not in TRANSPORTS or (uri.scheme == "sips" and transport != "tls"):
            raise LocateError(f"{uri}: the transport {named!r} cannot be used")
        host = unbracket((uri.parameter("maddr") or uri.host).lower())
        return cls(transport, host, uri.port or default_port(transport))


def locate(
    reactor: Any,
    uri: URI,
    *,
    usable: Callable[[Address], bool] | None = None,
    timeout: float = LOOKUP_TIMEOUT,
) -> Deferred[list[Address]]:
    """The addresses to try for a request to `uri`, the best first, at least one.

    `uri` is the first Route's or the Request-URI (RFC 3261 section 8.1.2; `Dialog.next_hop`).
    `reactor` is an `IReactorPluggableNameResolver` and `IReactorTime`. `usable`, most often
    `TransportLayer.can_reach`, tells which addresses are of any use to us. Fails with
    `LocateError`; nothing is looked up for a numeric host.
    """
    try:
        destination = Destination.of(uri)
    except LocateError as error:
        return fail(error)
    if is_numeric(destination.host):
        found = succeed([destination.host])
    elif not _can_be_asked_for(destination.host):
        return fail(LocateError(f"{uri}: the labels of a name have 1 to 63 characters"))
    else:
        found = _addresses(reactor, destination.host, destination.port)
        found.addTimeout(timeout, reactor)

    def choose(hosts: list[str]) -> list[Address]:
        addresses = [Address(destination.transport, host, destination.port) for host in hosts]
        if usable is not None:
            addresses = [address for address in addresses if usable(address)]
        if not addresses:
            raise LocateError(f"{uri}: {destination.host} has no address that we can reach")
        return addresses

    def failed(failure: Failure) -> list[Address]:
        if isinstance(failure.value, TimeoutError):
            raise LocateError(f"{uri}: {destination.host} was not found within {timeout:g} s")
        failure.raiseException()

    return found.addCallbacks(choose, failed)


def _addresses(reactor: Any, name: str, port: int) -> Deferred[list[str]]:
    """The numeric hosts of a name, in the resolver's order; empty where there are none."""
    result: Deferred[list[str]] = Deferred()
    receiver = _Receiver(result)
    # UDP for all transports: the addresses are the same, and each comes once.
    reactor.nameResolver.resolveHostName(
        receiver, name, port, addressTypes=_FAMILIES, transportSemantics="UDP"
    )
    return result


def _can_be_asked_for(name: str) -> bool:
    """Whether a name can be put to the resolver, which fails without a word where it cannot."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


_FAMILIES: Sequence[type[IPv4Address | IPv6Address]] = (IPv6Address, IPv4Address)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, result: Deferred[list[str]]) -> None:
        self._result = result
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """From Twisted."""

    def addressResolved(self, address: IAddress) -> None:
        """From Twisted."""
        host = getattr(address, "host", None)
        if host is not None and host not in self._hosts and len(self._hosts) < MAX_ADDRESSES:
            self._hosts.append(host)

    def resolutionComplete(self) -> None:
        """From Twisted."""
        if not self._result.called:
            self._result.callback(self._hosts)
