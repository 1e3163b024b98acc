"""Servers that DNS knows of, as its records change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.channel_address import ChannelAddress, ChannelService
from msrpconf.protocols.sip.dns import LookupFailed, Srv
from msrpconf.services.server_ends import Wanted
from msrpconf.services.server_list import ASK, ServerList

SERVICE = ChannelService.parse("srv:_msrpconf._tls.example.com")
FIXED = ChannelAddress.parse("tls:10.0.0.5:4570")


def at(host: str, priority: int = 0, weight: float = 1.0) -> Wanted:
    return Wanted(ChannelAddress.parse(f"tls:{host}:4570"), priority, weight)


def record(target: str, priority: int = 0, weight: int = 10) -> Srv:
    return Srv(priority, weight, 4570, target)


class ListTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []
        observer: Any = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()
        self.records: list[Srv] | Deferred[list[Srv]] | None = []
        self.asked = 0
        self.told: list[tuple[Sequence[Wanted], bool]] = []

    def srv(self, name: str) -> Deferred[list[Srv]]:
        self.assertEqual(name, SERVICE.name)
        self.asked += 1
        if self.records is None:
            return fail(LookupFailed(f"{name}: the nameserver does not answer"))
        return self.records if isinstance(self.records, Deferred) else succeed(self.records)

    def start(self, *servers: ChannelAddress | ChannelService) -> ServerList:
        found = ServerList(
            self.clock, self, lambda wanted, known: self.told.append((wanted, known)), servers
        )
        found.startService()
        self.addCleanup(found.stopService)
        return found

    def again(self) -> None:
        self.clock.advance(ASK)

    @property
    def now(self) -> Sequence[Wanted]:
        return self.told[-1][0]


class ServiceTests(ListTestCase):
    def test_addresses_alone_are_known_at_once(self) -> None:
        self.start(FIXED)
        self.assertEqual(self.told, [([Wanted(FIXED)], True)])
        self.again()
        self.assertEqual((self.asked, len(self.told)), (0, 1))

    def test_it_is_said_when_all_are_known(self) -> None:
        answer: Deferred[list[Srv]] = Deferred()
        self.records = answer
        self.start(FIXED, SERVICE)
        self.assertEqual(self.told, [([Wanted(FIXED)], False)])
        answer.callback([record("chat-2.example.com"), record("chat-1.example.com")])
        servers = [Wanted(FIXED), at("chat-1.example.com"), at("chat-2.example.com")]
        self.assertEqual(self.told[1:], [(servers, True)])

    def test_they_come_and_go(self) -> None:
        self.records = [record("chat-1.example.com")]
        self.start(SERVICE)
        self.records = [record("chat-1.example.com"), record("chat-2.example.com.")]
        self.again()
        self.assertEqual(self.now, [at("chat-1.example.com"), at("chat-2.example.com")])
        self.records = [record("CHAT-2.example.com")]
        self.again()
        self.assertEqual(self.now, [at("chat-2.example.com")])
        count = len(self.told)
        self.again()
        self.assertEqual(len(self.told), count)
        self.records = [record(".")]
        self.again()
        self.assertEqual(self.now, [])

    def test_while_nobody_answers_they_stay(self) -> None:
        self.records = [record("chat-1.example.com")]
        self.start(SERVICE)
        for self.records in (None, None, []):
            self.again()
        self.assertEqual(self.now, [at("chat-1.example.com")])
        why = f"[dispatcher] servers: {SERVICE}: {SERVICE.name}"
        said = [line for line in self.lines if line.startswith(why)]
        self.assertEqual(
            said, [f"{why}: the nameserver does not answer", f"{why} has no SRV records"]
        )
        self.records = [record("chat-2.example.com")]
        self.again()
        self.assertEqual(self.now, [at("chat-2.example.com")])

    def test_a_target_elsewhere_is_none_of_ours(self) -> None:
        """Who can write DNS must not have our calls."""
        names = ("chat-1.example.com", "evil.test", "evilexample.com", "com", "a b.example.com")
        self.records = [record(name) for name in names]
        self.start(SERVICE)
        self.assertEqual(self.now, [at("chat-1.example.com")])
        wrong = "a b.example.com, com, evil.test, evilexample.com"
        self.assertIn(
            f"[dispatcher] servers: {SERVICE}: {wrong}: not in the domain example.com", self.lines
        )

    def test_weights_are_shares_of_the_average_of_a_priority(self) -> None:
        self.records = [
            record("a.example.com", 1, 30),
            record("b.example.com", 1, 10),
            record("c.example.com", 1, 0),
            record("d.example.com", 2, 0),
        ]
        self.start(SERVICE)
        self.assertEqual(
            self.now,
            [
                at("a.example.com", 1, 2.25),
                at("b.example.com", 1, 0.75),
                at("c.example.com", 1, 0.01),
                at("d.example.com", 2, 1.0),
            ],
        )

    def test_other_servers_without_a_restart(self) -> None:
        self.records = [record("chat-1.example.com")]
        found = self.start(SERVICE)
        found.change([FIXED])
        self.assertEqual(self.told[-1], ([Wanted(FIXED)], True))
        self.again()
        self.assertEqual(self.asked, 1)
        found.change([FIXED, SERVICE])
        self.assertEqual(self.now, [Wanted(FIXED), at("chat-1.example.com")])

    def test_an_answer_that_comes_too_late(self) -> None:
        answer: Deferred[list[Srv]] = Deferred()
        self.records = answer
        found = self.start(SERVICE)
        found.change([FIXED])
        answer.callback([record("chat-1.example.com")])
        self.assertEqual(self.told[-1], ([Wanted(FIXED)], True))
