"""Which TLS connections serve for whom: RFC 5923 sections 8 and 9."""

from __future__ import annotations

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.aliases import MAX_ALIASES, Aliases
from msrpconf.protocols.sip.flow import Address

HERE = ("192.0.2.1", 5061)


@define(eq=False)
class Connection:
    identities: frozenset[str]
    dialled: Address | None = None


def to(domain: str, host: str = "192.0.2.1", port: int = 5061) -> Address:
    return Address("tls", host, port, domain)


class AliasTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.aliases: Aliases[Connection] = Aliases()

    def accepted(self, *identities: str) -> Connection:
        """A connection that its peer wants to serve for `HERE`."""
        connection = Connection(frozenset(identities))
        self.aliases.add(HERE, connection)
        return connection

    def test_for_what_its_peer_has_proved_to_be(self) -> None:
        proxy = self.accepted("example.com", "proxy.example.com")
        self.assertIs(self.aliases.find(to("example.com")), proxy)
        self.assertIs(self.aliases.find(to("Proxy.Example.com")), proxy)

    def test_for_nothing_else(self) -> None:
        # Section 9.3: two domains may have one address.
        self.accepted("example.com")
        for other in (
            to("example.net"),
            to("foo.example.com"),
            to(""),
            to("example.com", host="192.0.2.2"),
            to("example.com", port=5071),
        ):
            self.assertIsNone(self.aliases.find(other))

    def test_a_forged_alias_is_none(self) -> None:
        self.accepted()
        self.assertEqual(len(self.aliases), 0)
        self.assertIsNone(self.aliases.find(to("")))

    def test_what_we_have_connected_to(self) -> None:
        target = to("example.com")
        ours = Connection(frozenset({"example.com"}), target)
        self.aliases.add(HERE, ours)
        self.assertIs(self.aliases.find(target), ours)
        self.assertIsNone(self.aliases.find(to("example.net")))

    def test_the_newest(self) -> None:
        self.accepted("example.com")
        newer = self.accepted("example.com")
        other = self.accepted("example.net")
        self.assertIs(self.aliases.find(to("example.com")), newer)
        self.assertIs(self.aliases.find(to("example.net")), other)

    def test_what_is_gone(self) -> None:
        older, newer = self.accepted("example.com"), self.accepted("example.com")
        self.aliases.discard(newer)
        self.assertIs(self.aliases.find(to("example.com")), older)
        self.aliases.discard(older)
        self.aliases.discard(older)
        self.assertIsNone(self.aliases.find(to("example.com")))
        self.assertEqual(len(self.aliases), 0)

    def test_bounded(self) -> None:
        connection = self.accepted("example.com")
        for port in range(6000, 6100):
            self.aliases.add(("192.0.2.1", port), connection)
            self.aliases.add(("192.0.2.1", port), connection)
        self.assertEqual(len(self.aliases), MAX_ALIASES)
        self.aliases.discard(connection)
        self.assertEqual(len(self.aliases), 0)
