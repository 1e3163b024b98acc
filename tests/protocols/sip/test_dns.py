"""Records as nameservers give them: twisted.names on both sides, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.protocols.sip import dns as sip_dns
from msrpconf.protocols.sip.dns import (
    LookupFailed,
    NameServers,
    Naptr,
    Srv,
    system_nameservers,
)
from tests.dns_server import BrokenZone, DnsServer

reactor: Any = _reactor

RECORDS: dict[str, list[Any]] = {
    "example.com": [
        dns.Record_NAPTR(10, 20, b"s", b"SIP+D2T", b"", b"_sip._tcp.example.com", ttl=60),
    ],
    "_sip._tcp.example.com": [dns.Record_SRV(1, 2, 5070, b"s1.example.com", ttl=60)],
    "_sip._udp.example.com": [dns.Record_SRV(0, 0, 0, b"", ttl=60)],
    "s1.example.com": [
        dns.Record_A("192.0.2.1", ttl=60),
        dns.Record_A("192.0.2.2", ttl=60),
        dns.Record_AAAA("2001:db8::1", ttl=60),
    ],
    "now.example.com": [dns.Record_A("192.0.2.3", ttl=0)],
    "alias.example.com": [dns.Record_CNAME(b"s1.example.com", ttl=60)],
}


class NameServerTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.server = DnsServer(RECORDS)
        self.addCleanup(self.server.stop)
        self.dns = NameServers(reactor, [self.server.endpoint])

    async def test_records(self) -> None:
        self.assertEqual(
            await self.dns.naptr("example.com"),
            [Naptr(10, 20, "s", "SIP+D2T", "", "_sip._tcp.example.com")],
        )
        self.assertEqual(
            await self.dns.srv("_sip._tcp.example.com"), [Srv(1, 2, 5070, "s1.example.com")]
        )
        self.assertEqual(await self.dns.srv("_sip._udp.example.com"), [Srv(0, 0, 0, ".")])
        addresses = await self.dns.addresses("s1.example.com")
        self.assertEqual(addresses[0], "2001:db8::1")
        self.assertCountEqual(addresses, ["2001:db8::1", "192.0.2.1", "192.0.2.2"])

    async def test_none(self) -> None:
        for looking in (
            self.dns.naptr("s1.example.com"),
            self.dns.srv("_sips._tcp.example.com"),
            self.dns.addresses("nobody.example.com"),
        ):
            self.assertEqual(await looking, [])

    async def test_an_answer_is_kept_as_long_as_it_holds(self) -> None:
        for _ in range(3):
            await self.dns.srv("_SIP._tcp.example.com")
            await self.dns.srv("_sip._tcp.example.com")
        self.assertEqual(len(self.server.asked), 1)
        self.server.asked.clear()
        for _ in range(3):
            await self.dns.srv("_sips._tcp.example.com")
        self.assertEqual(len(self.server.asked), 1, "what is not there, too")
        self.server.asked.clear()
        for _ in range(3):
            self.assertEqual(await self.dns.addresses("now.example.com"), ["192.0.2.3"])
        self.assertEqual(self.server.asked.count("A now.example.com"), 3)

    async def test_many_who_ask_the_same_at_once(self) -> None:
        looking = [self.dns.naptr("example.com") for _ in range(20)]
        for each in looking:
            self.assertEqual(len(await each), 1)
        self.assertEqual(len(self.server.asked), 1)

    async def test_nobody_is_asked_for_this_machine(self) -> None:
        for name in ("localhost", "LOCALHOST.", "chat.localhost"):
            self.assertEqual(await self.dns.naptr(name), [])
            self.assertEqual(await self.dns.srv(f"_sip._udp.{name}"), [])
        self.assertIn("127.0.0.1", await self.dns.addresses("localhost"))
        self.assertEqual(self.server.asked, [])

    async def test_nobody_is_asked_for_what_the_system_has_itself(self) -> None:
        hosts = Path(self.mktemp())
        hosts.write_text("192.0.2.7 proxy.example.com proxy # ours\n")
        self.patch(sip_dns, "system_nameservers", lambda: (self.server.endpoint,))
        system = NameServers(reactor, hosts=hosts)
        for name in ("proxy", "Proxy.example.com", "proxy.example.com."):
            self.assertEqual(await system.naptr(name), [])
            self.assertEqual(await system.srv(f"_sip._tcp.{name}"), [])
        self.assertEqual(self.server.asked, [])
        self.assertEqual(len(await system.naptr("example.com")), 1)
        hosts.unlink()
        self.assertEqual(len(await system.srv("_sip._tcp.example.com")), 1)
        # Nameservers that an operator has named know better.
        hosts.write_text("192.0.2.7 example.com\n")
        ours = NameServers(reactor, [self.server.endpoint], hosts)
        self.assertEqual(len(await ours.naptr("example.com")), 1)

    async def test_a_nameserver_that_refuses(self) -> None:
        error = await self.assertFailure(self.dns.srv("broken.example.com"), LookupFailed)
        self.assertIn("broken.example.com: the nameserver cannot be asked", str(error))
        looking = self.dns.addresses("broken.example.com")
        await self.assertFailure(looking, LookupFailed)
        self.assertEqual(len(self.flushLoggedErrors(BrokenZone)), 3)
        self.assertEqual(await self.dns.srv("_sip._udp.example.net"), [])

    async def test_the_next_one_where_one_does_not_answer(self) -> None:
        self.patch(sip_dns, "TIMEOUTS", (0.05, 5))
        silent = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        nowhere = "127.0.0.1", silent.getHost().port
        two = NameServers(reactor, [nowhere, self.server.endpoint])
        self.assertEqual(len(await two.naptr("example.com")), 1)
        self.patch(sip_dns, "TIMEOUTS", (0.05, 0.05))
        error = await self.assertFailure(
            NameServers(reactor, [nowhere]).addresses("s1.example.com"), LookupFailed
        )
        self.assertIn("s1.example.com: the nameserver does not answer", str(error))


class SystemTests(SynchronousTestCase):
    def read(self, text: str) -> list[str]:
        path = Path(self.mktemp())
        path.write_text(text)
        return [f"{host} {port}" for host, port in system_nameservers(path)]

    def test_resolv_conf(self) -> None:
        for text, expected in (
            (
                "nameserver 192.0.2.53\nnameserver 2001:db8::53\n",
                ["192.0.2.53 53", "2001:db8::53 53"],
            ),
            ("# none\nsearch example.com\n", ["127.0.0.1 53"]),
            ("nameserver\nnameserver not.an.address\n", ["127.0.0.1 53"]),
            ("", ["127.0.0.1 53"]),
        ):
            with self.subTest(text):
                self.assertEqual(self.read(text), expected)
        self.assertEqual(system_nameservers(Path("/nowhere/at/all")), (("127.0.0.1", 53),))
