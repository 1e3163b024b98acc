"""A nameserver for tests: twisted.names on loopback, with records that a test gives."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.common import ResolverBase
from twisted.names.server import DNSServerFactory

from msrpconf.protocols.sip.flow import Endpoint

reactor: Any = _reactor


class BrokenZone(Exception):
    """What the server logs where a name begins with ``broken.``, and answers SERVFAIL."""


class _Zone(FileAuthority):
    """An authority without a file."""

    def __init__(self, zone: str, start: dns.Record_SOA, records: dict[str, list[Any]]) -> None:
        ResolverBase.__init__(self)
        own: Any = self
        own.soa = zone.encode(), start
        own.records = {name.lower().encode(): those for name, those in records.items()}

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any = None) -> Any:
        if name.startswith(b"broken."):
            return fail(BrokenZone())
        return super()._lookup(name, cls, type, timeout)


class DnsServer:
    """Knows `records`, by name, of the zone example.com; counts what it is asked."""

    def __init__(self, records: dict[str, list[Any]], zone: str = "example.com") -> None:
        start = dns.Record_SOA(zone, f"hostmaster.{zone}", 1, 60, 60, 60, 60)
        known: dict[str, list[Any]] = {zone: [start]}
        for name, those in records.items():
            known.setdefault(name, []).extend(those)
        factory = DNSServerFactory(authorities=[_Zone(zone, start, known)])
        factory.noisy = False
        self.asked: list[str] = []
        handle = factory.handleQuery

        def note(message: dns.Message, protocol: Any, address: Any) -> Any:
            kinds = dns.QUERY_TYPES
            self.asked += [f"{kinds[each.type]} {each.name}" for each in message.queries]
            return handle(message, protocol, address)

        factory.handleQuery = note  # type: ignore[method-assign]
        protocol = dns.DNSDatagramProtocol(factory)
        protocol.noisy = False
        self._port: Any = reactor.listenUDP(0, protocol, interface="127.0.0.1")
        self.endpoint: Endpoint = ("127.0.0.1", self._port.getHost().port)

    def stop(self) -> Deferred[Any]:
        """Answer no more."""
        return maybeDeferred(self._port.stopListening)
