"""From a URI to the addresses that serve it (RFC 3263).

Numeric hosts, ports and transports are read from the URI. A name without a port leads by NAPTR and
SRV records to servers, and those by A and AAAA records to addresses; which records there are, a
`Dns` says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable
from itertools import groupby
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import (
    Deferred,
    DeferredList,
    TimeoutError,
    fail,
    inlineCallbacks,
    succeed,
)
from twisted.python.failure import Failure

from msrpconf.protocols.sip.dns import Dns, HostNames, LookupFailed, Naptr, Srv
from msrpconf.protocols.sip.flow import TRANSPORTS, Address, default_port, is_numeric, unbracket
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.uri import URI, SipURI

LOOKUP_TIMEOUT = 10.0
"""Seconds that a name may take to be looked up, with all records that it leads to."""

MAX_ADDRESSES = 8
"""Addresses of one URI that are tried at most."""

MAX_SERVERS = 8
"""Servers of one domain that are looked at, the best first."""

_SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
"""What NAPTR records call the transports that we have (RFC 3263 section 4.1)."""

_PREFIXES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
"""What the names of SRV records begin with."""

_PREFERRED = ("udp", "tcp", "tls")
"""The order in which transports are tried where the domain states no preference."""

Draw = Callable[[int], int]
"""Gives a random number from 0 to its argument."""


class LocateError(TransportError):
    """A URI leads to no address. The text says why."""


@frozen
class Destination:
    """What a URI says of its own of where it leads (RFC 3263 section 4.1).

    `host` is an address or a name, without brackets. `transport` and `port` are those that hold
    where nothing else says which; `transport_given` and `port_given` say whether the URI does.
    `secure` is whether it must be TLS.
    """

    transport: str
    host: str
    port: int
    transport_given: bool = False
    port_given: bool = False
    secure: bool = False

    @classmethod
    def of(cls, uri: URI) -> Destination:
        """Raises `LocateError` for what is no SIP URI or names a transport we have not."""
        if not isinstance(uri, SipURI):
            raise LocateError(f"{uri}: only sip and sips URIs lead to an address")
        named = (uri.parameter("transport") or "").lower()
        secure = uri.scheme == "sips"
        if secure:
            # transport=tcp then means TLS over TCP (RFC 3261 section 26.2.2).
            transport = "tls" if named in ("", "tcp", "tls") else named
        else:
            transport = named or "udp"
        if transport not in TRANSPORTS or (secure and transport != "tls"):
            raise LocateError(f"{uri}: the transport {named!r} cannot be used")
        return cls(
            transport,
            unbracket((uri.parameter("maddr") or uri.host).lower()),
            uri.port or default_port(transport),
            transport_given=bool(named),
            port_given=uri.port is not None,
            secure=secure,
        )

    def at(self, transport: str, host: str, port: int) -> Address:
        """An address that was found for it."""
        return Address(transport, host, port, self.host if transport == "tls" else "")


@frozen
class Server:
    """A host that serves a domain, and how it is spoken to."""

    transport: str
    host: str
    port: int


def locate(
    reactor: Any,
    uri: URI,
    *,
    usable: Callable[[Address], bool] | None = None,
    timeout: float = LOOKUP_TIMEOUT,
    dns: Dns | None = None,
    draw: Draw | None = None,
) -> Deferred[list[Address]]:
    """The addresses to try for a request to `uri`, the best first, at least one.

    `uri` is the first Route's or the Request-URI (RFC 3261 section 8.1.2; `Dialog.next_hop`).
    `reactor` is an `IReactorPluggableNameResolver` and `IReactorTime`. `usable`, most often
    `TransportLayer.can_reach`, tells which addresses are of any use to us. `dns` has the records;
    without it there are addresses alone, those that the system knows. `draw` chooses among servers
    that are equally good. Fails with `LocateError`; nothing is looked up for a numeric host.
    """
    try:
        destination = Destination.of(uri)
    except LocateError as error:
        return fail(error)
    host = destination.host
    if is_numeric(host):
        found = succeed([destination.at(destination.transport, host, destination.port)])
    elif not _can_be_asked_for(host):
        return fail(LocateError(f"{uri}: the labels of a name have 1 to 63 characters"))
    else:
        looking = _Lookup(destination, HostNames(reactor) if dns is None else dns, draw or _draw)
        found = looking.addresses()
        found.addTimeout(timeout, reactor)

    def choose(addresses: list[Address]) -> list[Address]:
        if usable is not None:
            addresses = [address for address in addresses if usable(address)]
        if not addresses:
            raise LocateError(f"{uri}: {host} has no address that we can reach")
        return addresses[:MAX_ADDRESSES]

    def failed(failure: Failure) -> list[Address]:
        if isinstance(failure.value, TimeoutError):
            raise LocateError(f"{uri}: {host} was not found within {timeout:g} s")
        if isinstance(failure.value, LookupFailed):
            raise LocateError(f"{uri}: {failure.value}")
        failure.raiseException()

    return found.addCallbacks(choose, failed)


class _Lookup:
    """From a name to addresses. What cannot be found out of NAPTR and SRV is as if not there."""

    def __init__(self, destination: Destination, dns: Dns, draw: Draw) -> None:
        self._destination = destination
        self._dns = dns
        self._draw = draw

    @inlineCallbacks
    def addresses(self) -> Generator[Deferred[Any], Any, list[Address]]:
        """The addresses in the order in which they are tried, each once."""
        servers = yield self._servers()
        looking = [self._dns.addresses(each.host) for each in servers]
        results = yield DeferredList(looking, consumeErrors=True)
        found: dict[Address, None] = {}
        for server, (succeeded, hosts) in zip(servers, results, strict=True):
            for host in hosts if succeeded else ():
                found[self._destination.at(server.transport, host, server.port)] = None
        if not found:
            for succeeded, failure in results:
                if not succeeded:
                    failure.raiseException()
        return list(found)

    @inlineCallbacks
    def _servers(self) -> Generator[Deferred[Any], Any, list[Server]]:
        """The hosts that serve the name (RFC 3263 sections 4.1 and 4.2)."""
        destination = self._destination
        name = destination.host
        own = Server(destination.transport, name, destination.port)
        if destination.port_given:
            return [own]
        if destination.transport_given or destination.secure:
            transports: tuple[str, ...] = (destination.transport,)
        else:
            transports = _PREFERRED
        services: list[tuple[str, str]] = []
        if not destination.transport_given:
            rules = yield _or_none(self._dns.naptr(name))
            services = _services(rules, secure=destination.secure)
        if not services:
            services = [(each, f"{_PREFIXES[each]}.{name}") for each in transports]
        looking = [_or_none(self._dns.srv(service)) for _, service in services]
        results = yield DeferredList(looking, consumeErrors=True)
        there = False
        servers: list[Server] = []
        for (transport, _), (succeeded, records) in zip(services, results, strict=True):
            if not succeeded:
                cast(Failure, records).raiseException()  # nobody waits any more
            there = there or bool(records)
            for record in by_preference(cast("list[Srv]", records), self._draw):
                host = record.target.rstrip(".")
                if host and record.port and _can_be_asked_for(host):
                    servers.append(Server(transport, host, record.port))
        if there and not servers:
            raise LookupFailed(f"{name} has no such service, as its SRV records say")
        return servers[:MAX_SERVERS] or [own]


def _or_none(looking: Deferred[Any]) -> Deferred[Any]:
    def failed(failure: Failure) -> list[Any]:
        failure.trap(LookupFailed)
        return []

    return looking.addErrback(failed)


def _services(rules: Iterable[Naptr], *, secure: bool) -> list[tuple[str, str]]:
    """Transports and the names of their SRV records, the best first (RFC 3263 section 4.1)."""
    found: list[tuple[str, str]] = []
    for rule in sorted(rules, key=lambda rule: (rule.order, rule.preference)):
        transport = _SERVICES.get(rule.service.upper())
        if transport is None or rule.flags.lower() != "s" or rule.regexp:
            continue
        if (transport == "tls" or not secure) and _can_be_asked_for(rule.replacement):
            found.append((transport, rule.replacement))
    return found[:MAX_SERVERS]


def by_preference(records: Iterable[Srv], draw: Draw) -> list[Srv]:
    """SRV records in the order in which they are tried: by priority, then by chance (RFC 2782).

    Of those of one priority the first is drawn by weight, then the next of those that are left.
    """
    ordered: list[Srv] = []
    by_priority = sorted(records, key=lambda record: record.priority)
    for _, group in groupby(by_priority, key=lambda record: record.priority):
        # Those without weight first: they are drawn by 0 alone.
        left = sorted(group, key=lambda record: record.weight)
        while left:
            drawn = draw(sum(record.weight for record in left))
            for record in left:
                drawn -= record.weight
                if drawn <= 0:
                    break
            left.remove(record)
            ordered.append(record)
    return ordered


def _draw(most: int) -> int:
    return secrets.randbelow(most + 1)


def _can_be_asked_for(name: str) -> bool:
    """Whether a name can be put to the resolver, which fails without a word where it cannot."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True
