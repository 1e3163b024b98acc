from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import MAX_ADDRESSES, LocateError, locate
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.uri import parse_uri


class Resolver:
    """Names with their addresses; a name that is not here is never answered."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked: list[str] = []

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, **options: Any
    ) -> Any:
        self.asked.append(hostName)
        receiver.resolutionBegan(self)
        if hostName in self.names:
            for host in self.names[hostName]:
                kind = IPv6Address if ":" in host else IPv4Address
                receiver.addressResolved(kind("UDP", host, portNumber))
            receiver.resolutionComplete()
        return self


class Reactor(Clock):
    """A clock and names."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Resolver(
            proxy=["192.0.2.5", "2001:db8::5", "192.0.2.5"],
            empty=[],
            many=[f"192.0.2.{number}" for number in range(100)],
        )


class LocateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.resolver = self.reactor.nameResolver

    def found(self, uri: str, **options: Any) -> list[str]:
        result = self.successResultOf(locate(self.reactor, parse_uri(uri), **options))
        return [str(address) for address in result]

    def not_found(self, uri: str, **options: Any) -> str:
        failure = self.failureResultOf(locate(self.reactor, parse_uri(uri), **options), LocateError)
        return str(failure.value)

    def test_numeric_hosts(self) -> None:
        for uri, expected in (
            ("sip:a@192.0.2.1", "udp:192.0.2.1:5060"),
            ("sip:192.0.2.1:5070", "udp:192.0.2.1:5070"),
            ("sip:a@[2001:db8::1]", "udp:[2001:db8::1]:5060"),
            ("sip:a@192.0.2.1;transport=tcp", "tcp:192.0.2.1:5060"),
            ("sip:a@192.0.2.1;transport=TCP;lr", "tcp:192.0.2.1:5060"),
            ("sip:a@192.0.2.1;transport=tls", "tls:192.0.2.1:5061"),
            ("sips:a@192.0.2.1", "tls:192.0.2.1:5061"),
            ("sips:a@192.0.2.1:5070;transport=tcp", "tls:192.0.2.1:5070"),
            ("sip:a@example.com;maddr=192.0.2.1", "udp:192.0.2.1:5060"),
            ("sip:a@example.com:5070;maddr=[2001:db8::1]", "udp:[2001:db8::1]:5070"),
        ):
            with self.subTest(uri):
                self.assertEqual(self.found(uri), [expected])
        self.assertEqual(self.resolver.asked, [])

    def test_names_have_all_their_addresses(self) -> None:
        self.assertEqual(
            self.found("sip:a@proxy:5070;transport=tcp"),
            ["tcp:192.0.2.5:5070", "tcp:[2001:db8::5]:5070"],
        )
        self.assertEqual(self.resolver.asked, ["proxy"])

    def test_only_the_usable_ones(self) -> None:
        def ipv6(address: Address) -> bool:
            return ":" in address.host

        self.assertEqual(self.found("sip:proxy", usable=ipv6), ["udp:[2001:db8::5]:5060"])
        self.assertIn("no address", self.not_found("sip:192.0.2.1", usable=ipv6))

    def test_bounded(self) -> None:
        self.assertEqual(len(self.found("sip:many")), MAX_ADDRESSES)

    def test_what_leads_nowhere(self) -> None:
        for uri, why in (
            ("tel:+12015550123", "only sip"),
            ("im:alice@example.com", "only sip"),
            ("sip:192.0.2.1;transport=sctp", "'sctp'"),
            ("sip:192.0.2.1;transport=ws", "'ws'"),
            ("sips:192.0.2.1;transport=udp", "'udp'"),
            ("sip:empty", "no address"),
            (f"sip:{64 * 'a'}.example.com", "1 to 63"),
        ):
            with self.subTest(uri):
                self.assertIn(why, self.not_found(uri))
        self.assertTrue(issubclass(LocateError, TransportError))

    def test_a_resolver_that_does_not_answer(self) -> None:
        result = locate(self.reactor, parse_uri("sip:silent"), timeout=3)
        self.assertNoResult(result)
        self.reactor.advance(3)
        self.assertIn("within 3 s", str(self.failureResultOf(result, LocateError).value))


class RealResolverTests(TestCase):
    """Twisted's own, which knows more of its arguments than ours does."""

    @inlineCallbacks
    def test_localhost(self) -> Generator[Deferred[Any], Any, None]:
        for uri, transport in (("sip:a@localhost", "udp"), ("sip:localhost;transport=tcp", "tcp")):
            addresses = yield locate(reactor, parse_uri(uri))
            self.assertIn(addresses[0].host, ("127.0.0.1", "::1"))
            self.assertEqual((addresses[0].transport, addresses[0].port), (transport, 5060))
