from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.local import LocalAddresses
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.sender import TransportError


class LocalAddressesTests(SynchronousTestCase):
    def addresses(self, *texts: str, advertised_host: str | None = None) -> LocalAddresses:
        addresses = LocalAddresses(Clock(), advertised_host)
        for text in texts:
            addresses.add(Address.parse(text))
        return addresses

    def test_the_best_listener(self) -> None:
        for texts, remote, expected in (
            (("udp:127.0.0.2:1", "udp:127.0.0.1:2"), "127.0.0.9", "udp:127.0.0.1:2"),
            (("udp:127.0.0.2:1", "udp:0.0.0.0:2"), "127.0.0.9", "udp:0.0.0.0:2"),
            (("udp:192.0.2.1:1", "udp:127.0.0.2:2"), "127.0.0.9", "udp:127.0.0.2:2"),
            (("udp:[::1]:1", "udp:127.0.0.1:2"), "::1", "udp:[::1]:1"),
            (("tcp:127.0.0.1:1", "udp:127.0.0.1:2"), "127.0.0.9", "udp:127.0.0.1:2"),
            # On this machine, any address of ours is reached from any other.
            (("udp:192.0.2.1:1",), "127.0.0.1", "udp:192.0.2.1:1"),
            (("udp:192.0.2.1:1", "udp:127.0.0.1:2"), "192.0.2.9", "udp:192.0.2.1:1"),
        ):
            with self.subTest(f"{texts} {remote}"):
                listener = self.addresses(*texts).listener("udp", remote)
                self.assertEqual(str(listener), expected)

    def test_none(self) -> None:
        for texts, remote in (
            ((), "127.0.0.1"),
            (("tcp:127.0.0.1:1",), "127.0.0.1"),
            (("udp:0.0.0.0:1",), "::1"),
            (("udp:127.0.0.1:1",), "192.0.2.9"),
        ):
            with self.subTest(f"{texts} {remote}"), self.assertRaises(TransportError):
                self.addresses(*texts).listener("udp", remote)

    def test_a_wildcard_is_known_by_an_address(self) -> None:
        address = self.addresses("udp:0.0.0.0:5060").address_for("udp", "127.0.0.1")
        self.assertEqual(str(address), "udp:127.0.0.1:5060")

    def test_advertised(self) -> None:
        addresses = self.addresses("udp:0.0.0.0:5060", advertised_host="sip.example.com")
        self.assertEqual(
            addresses.address_for("udp", "192.0.2.9"), Address("udp", "sip.example.com", 5060)
        )

    def test_names_are_not_looked_up(self) -> None:
        with self.assertRaises(TransportError):
            self.addresses("udp:0.0.0.0:5060").address_for("udp", "proxy.example.com")

    def test_port(self) -> None:
        addresses = self.addresses("tcp:0.0.0.0:5060", "tls:127.0.0.1:5061")
        self.assertEqual(addresses.port("tcp", "192.0.2.1"), 5060)
        self.assertEqual(addresses.port("tls", "127.0.0.1"), 5061)
        self.assertIsNone(addresses.port("tls", "127.0.0.2"))


class ShortMemoryTests(SynchronousTestCase):
    def test_forgotten_after_its_time(self) -> None:
        clock = Clock()
        memory: ShortMemory[str, int] = ShortMemory(clock, 60.0)
        memory.put("a", 1)
        clock.advance(59)
        self.assertEqual((memory.get("a"), memory.get("b")), (1, None))
        clock.advance(1)
        self.assertIsNone(memory.get("a"))
        memory.put("a", 2)
        self.assertEqual(memory.get("a"), 2)

    def test_bounded(self) -> None:
        memory: ShortMemory[int, int] = ShortMemory(Clock(), 60.0, size=10)
        for number in range(100):
            memory.put(number, number)
        self.assertEqual(len(memory), 10)
        self.assertEqual((memory.get(89), memory.get(90)), (None, 90))
