"""From a domain to its servers, by NAPTR, SRV and addresses: RFC 3263 sections 4.1 and 4.2."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.dns import LookupFailed, Naptr, Srv
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import (
    MAX_ADDRESSES,
    MAX_SERVERS,
    Draw,
    LocateError,
    by_preference,
    locate,
)
from msrpconf.protocols.sip.uri import parse_uri

SILENT = "silent"
BROKEN = "broken"


@define
class Zone:
    """A `Dns` with these records; what is SILENT is never answered, what is BROKEN fails."""

    records: dict[str, Any] = field(factory=dict)
    asked: list[str] = field(factory=list)

    def naptr(self, name: str) -> Deferred[list[Naptr]]:
        return self._look(f"naptr {name}")

    def srv(self, name: str) -> Deferred[list[Srv]]:
        return self._look(f"srv {name}")

    def addresses(self, name: str) -> Deferred[list[str]]:
        return self._look(name)

    def _look(self, what: str) -> Deferred[Any]:
        self.asked.append(what)
        found = self.records.get(what, [])
        if found == SILENT:
            return Deferred()
        if found == BROKEN:
            return fail(LookupFailed(f"{what}: the nameserver does not answer"))
        return succeed(found)


def naptr(order: int, preference: int, service: str, replacement: str, **other: str) -> Naptr:
    return Naptr(
        order,
        preference,
        other.get("flags", "s"),
        service,
        other.get("regexp", ""),
        replacement,
    )


def srv(target: str, port: int = 5060, priority: int = 0, weight: int = 0) -> Srv:
    return Srv(priority, weight, port, target)


ALL_THREE = [
    naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
    naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
    naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
]
"""The example of section 4.1."""

SERVERS = {
    "srv _sips._tcp.example.com": [srv("s1.example.com", 5061)],
    "srv _sip._tcp.example.com": [
        srv("s1.example.com", priority=0, weight=1),
        srv("s2.example.com", priority=0, weight=2),
    ],
    "srv _sip._udp.example.com": [srv("s2.example.com", 5070)],
    "s1.example.com": ["192.0.2.1"],
    "s2.example.com": ["2001:db8::2", "192.0.2.2"],
    "example.com": ["192.0.2.9"],
}


class LocatingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.zone = Zone(dict(SERVERS))
        self.clock = Clock()

    def look(self, uri: str, **options: Any) -> Deferred[list[Address]]:
        options.setdefault("draw", lambda most: most)
        return locate(self.clock, parse_uri(uri), dns=self.zone, **options)

    def found(self, uri: str, **options: Any) -> list[str]:
        return [str(each) for each in self.successResultOf(self.look(uri, **options))]

    def not_found(self, uri: str) -> str:
        return str(self.failureResultOf(self.look(uri), LocateError).value)

    def test_by_naptr_in_the_order_of_the_domain(self) -> None:
        self.zone.records["naptr example.com"] = ALL_THREE[::-1]
        self.assertEqual(
            self.found("sip:alice@example.com"),
            [
                "tls:192.0.2.1:5061",
                "tcp:[2001:db8::2]:5060",
                "tcp:192.0.2.2:5060",
                "tcp:192.0.2.1:5060",
                "udp:[2001:db8::2]:5070",
                "udp:192.0.2.2:5070",
            ],
        )

    def test_by_preference_where_the_order_is_the_same(self) -> None:
        self.zone.records["naptr example.com"] = [
            naptr(10, 20, "SIP+D2U", "_sip._udp.example.com"),
            naptr(10, 10, "sip+d2t", "_sip._tcp.example.com", flags="S"),
        ]
        self.assertEqual(self.found("sip:example.com")[0], "tcp:[2001:db8::2]:5060")

    def test_sips_is_for_tls_alone(self) -> None:
        self.zone.records["naptr example.com"] = ALL_THREE
        for uri in ("sips:example.com", "sips:example.com;transport=tcp"):
            self.assertEqual(self.found(uri), ["tls:192.0.2.1:5061"])
        self.zone.records["naptr example.com"] = ALL_THREE[1:]
        self.assertEqual(self.found("sips:example.com"), ["tls:192.0.2.1:5061"])
        self.assertFalse([each for each in self.zone.asked if "_sip._" in each])

    def test_rules_that_are_not_ours(self) -> None:
        for rule in (
            naptr(1, 1, "SIP+D2S", "_sip._sctp.example.com"),
            naptr(1, 1, "E2U+sip", "", regexp="!^.*$!sip:evil@example.net!", flags="u"),
            naptr(1, 1, "SIP+D2U", "other.example.com", flags=""),
            naptr(1, 1, "SIP+D2U", "s1.example.com", flags="a"),
            naptr(1, 1, "SIP+D2U", "", regexp="!.*!_sip._udp.example.net!"),
            naptr(1, 1, "SIP+D2U", f"{64 * 'a'}.example.com"),
        ):
            with self.subTest(rule):
                self.zone.records["naptr example.com"] = [rule]
                self.assertEqual(self.found("sip:example.com")[0], "udp:[2001:db8::2]:5070")

    def test_without_naptr_by_the_transports_that_are_there(self) -> None:
        self.assertEqual(
            self.found("sip:example.com"),
            [
                "udp:[2001:db8::2]:5070",
                "udp:192.0.2.2:5070",
                "tcp:[2001:db8::2]:5060",
                "tcp:192.0.2.2:5060",
                "tcp:192.0.2.1:5060",
                "tls:192.0.2.1:5061",
            ],
        )

    def test_a_transport_that_is_given(self) -> None:
        for uri, expected, asked in (
            ("sip:example.com;transport=udp", "udp:[2001:db8::2]:5070", "_sip._udp"),
            ("sip:example.com;transport=tcp", "tcp:[2001:db8::2]:5060", "_sip._tcp"),
            ("sip:example.com;transport=tls", "tls:192.0.2.1:5061", "_sips._tcp"),
        ):
            with self.subTest(uri):
                self.zone.asked.clear()
                self.assertEqual(self.found(uri)[0], expected)
                self.assertEqual(self.zone.asked[0], f"srv {asked}.example.com")
                self.assertFalse([each for each in self.zone.asked if "naptr" in each])

    def test_a_port_that_is_given(self) -> None:
        for uri, expected in (
            ("sip:example.com:5070", "udp:192.0.2.9:5070"),
            ("sip:example.com:5070;transport=tcp", "tcp:192.0.2.9:5070"),
            ("sips:example.com:5071", "tls:192.0.2.9:5071"),
        ):
            with self.subTest(uri):
                self.assertEqual(self.found(uri), [expected])
        self.assertEqual(set(self.zone.asked), {"example.com"})

    def test_an_address_asks_nobody(self) -> None:
        self.assertEqual(self.found("sip:192.0.2.7"), ["udp:192.0.2.7:5060"])
        self.assertEqual(self.found("sip:example.com;maddr=192.0.2.7"), ["udp:192.0.2.7:5060"])
        self.assertEqual(self.zone.asked, [])

    def test_a_name_without_any_record_but_addresses(self) -> None:
        self.zone.records = {"host.example.com": ["192.0.2.3"]}
        for uri, expected in (
            ("sip:host.example.com", "udp:192.0.2.3:5060"),
            ("sip:host.example.com;transport=tcp", "tcp:192.0.2.3:5060"),
            ("sips:host.example.com", "tls:192.0.2.3:5061"),
            ("sip:a@nothing.example;maddr=host.example.com", "udp:192.0.2.3:5060"),
        ):
            with self.subTest(uri):
                self.assertEqual(self.found(uri), [expected])

    def test_whose_certificate_it_must_be(self) -> None:
        # RFC 5922 section 7.3: the domain's that was asked for, whatever records say.
        self.zone.records["naptr example.com"] = ALL_THREE
        [address] = self.successResultOf(self.look("sips:example.com"))
        self.assertEqual((address.host, address.tls_name), ("192.0.2.1", "example.com"))
        [numeric] = self.successResultOf(self.look("sips:192.0.2.1"))
        self.assertEqual(numeric.tls_name, "192.0.2.1")

    def test_a_service_that_is_said_not_to_be_there(self) -> None:
        self.zone.records["srv _sip._tcp.example.com"] = [srv(".")]
        self.assertIn("no such service", self.not_found("sip:example.com;transport=tcp"))
        self.assertNotIn("tcp:192.0.2.1:5060", self.found("sip:example.com"))

    def test_servers_that_cannot_be(self) -> None:
        for wrong in (
            srv(f"{64 * 'a'}.example.com"),
            srv("\N{REPLACEMENT CHARACTER}..example.com"),
            srv("s1.example.com", 0),
            srv(""),
        ):
            self.zone.records["srv _sip._tcp.example.com"] = [wrong]
            self.assertIn("no such service", self.not_found("sip:example.com;transport=tcp"))
            self.zone.records["srv _sip._tcp.example.com"].append(srv("s1.example.com", 5070))
            found = self.found("sip:example.com;transport=tcp")
            self.assertEqual(found, ["tcp:192.0.2.1:5070"])

    def test_what_cannot_be_asked_is_as_if_not_there(self) -> None:
        self.zone.records["naptr example.com"] = BROKEN
        self.zone.records["srv _sip._udp.example.com"] = BROKEN
        self.assertEqual(self.found("sip:example.com")[0], "tcp:[2001:db8::2]:5060")
        self.zone.records["s2.example.com"] = BROKEN
        self.assertEqual(
            self.found("sip:example.com"), ["tcp:192.0.2.1:5060", "tls:192.0.2.1:5061"]
        )

    def test_no_address_at_all(self) -> None:
        self.zone.records = {}
        self.assertIn("no address", self.not_found("sip:example.com"))
        self.zone.records = {"example.com": BROKEN}
        self.assertIn("example.com: the nameserver does not", self.not_found("sip:example.com"))

    def test_only_the_usable_ones(self) -> None:
        found = self.found("sip:example.com", usable=lambda each: each.transport == "tls")
        self.assertEqual(found, ["tls:192.0.2.1:5061"])

    def test_bounded_in_number(self) -> None:
        self.zone.records["srv _sip._udp.example.com"] = [
            srv(f"many{number}.example.com") for number in range(50)
        ]
        for number in range(50):
            hosts = [f"192.0.2.{number}", f"198.51.100.{number}"]
            self.zone.records[f"many{number}.example.com"] = hosts
        self.assertEqual(len(self.found("sip:example.com")), MAX_ADDRESSES)
        asked = [each for each in self.zone.asked if each.startswith("many")]
        self.assertEqual(len(asked), MAX_SERVERS)

    def test_bounded_in_time(self) -> None:
        for silent in ("naptr example.com", "srv _sip._udp.example.com"):
            with self.subTest(silent):
                self.zone.records = {**SERVERS, silent: SILENT}
                looking = self.look("sip:example.com", timeout=5)
                self.assertNoResult(looking)
                self.clock.advance(5)
                failure = self.failureResultOf(looking, LocateError)
                self.assertIn("within 5 s", str(failure.value))

    def test_what_was_found_in_time_is_used(self) -> None:
        self.zone.records["s2.example.com"] = SILENT
        looking = self.look("sip:example.com", timeout=5)
        self.assertNoResult(looking)
        self.clock.advance(5)
        self.assertEqual(
            [str(each) for each in self.successResultOf(looking)],
            ["tcp:192.0.2.1:5060", "tls:192.0.2.1:5061"],
        )


def drawing(number: int) -> Draw:
    return lambda most: min(most, number)


LABELS = st.text("abc-_*\N{REPLACEMENT CHARACTER}\xff. ", max_size=8)
NUMBERS = st.integers(0, 65535)
NAPTRS = st.builds(
    Naptr,
    NUMBERS,
    NUMBERS,
    st.sampled_from(["s", "S", "a", "u", ""]),
    st.sampled_from(["SIP+D2U", "sip+d2t", "SIPS+D2T", "SIPS+D2U", "E2U+sip", ""]),
    st.sampled_from(["", "!.*!x!"]),
    LABELS,
)
SRVS = st.builds(Srv, NUMBERS, NUMBERS, NUMBERS, LABELS)


@define
class AnyZone:
    """A `Dns` that says to every name whatever comes to hypothesis's mind."""

    data: st.DataObject

    def naptr(self, name: str) -> Deferred[list[Naptr]]:
        return succeed(self.data.draw(st.lists(NAPTRS, max_size=12)))

    def srv(self, name: str) -> Deferred[list[Srv]]:
        if self.data.draw(st.booleans()):
            return fail(LookupFailed(name))
        return succeed(self.data.draw(st.lists(SRVS, max_size=12)))

    def addresses(self, name: str) -> Deferred[list[str]]:
        name.encode("idna")
        return succeed(self.data.draw(st.lists(st.sampled_from(["192.0.2.1", "::1"]), max_size=3)))


class HostileTests(SynchronousTestCase):
    @given(st.data(), st.sampled_from(["sip", "sips"]))
    @settings(max_examples=100, deadline=None)
    def test_whatever_nameservers_say(self, data: st.DataObject, scheme: str) -> None:
        zone = AnyZone(data)
        looking = locate(Clock(), parse_uri(f"{scheme}:example.com"), dns=zone)
        found: list[Any] = []
        looking.addBoth(found.append)
        [result] = found
        if isinstance(result, Failure):
            self.assertIsInstance(result.value, LocateError)
            return
        self.assertLessEqual(len(result), MAX_ADDRESSES)
        self.assertEqual(len(set(result)), len(result))
        for address in result:
            self.assertTrue(0 < address.port < 65536)
            self.assertTrue(scheme == "sip" or address.transport == "tls")
            self.assertEqual(address.domain, "example.com" if address.transport == "tls" else "")


class PreferenceTests(SynchronousTestCase):
    """RFC 2782: by priority, then by weighted chance."""

    def test_priority_first(self) -> None:
        records = [srv("b", priority=2, weight=100), srv("a", priority=1, weight=0)]
        for draw in (lambda most: 0, lambda most: most):
            self.assertEqual([each.target for each in by_preference(records, draw)], ["a", "b"])

    def test_each_once_and_all(self) -> None:
        records = [srv(name, weight=weight) for name, weight in (("a", 0), ("b", 5), ("c", 1))]
        for drawn in range(7):
            ordered = by_preference(records, drawing(drawn))
            self.assertCountEqual(ordered, records)

    def test_as_often_as_the_weight_says(self) -> None:
        records = [srv("a", weight=1), srv("b", weight=3), srv("none", weight=0)]
        first = Counter(by_preference(records, drawing(drawn))[0].target for drawn in range(5))
        self.assertEqual(first, {"none": 1, "a": 1, "b": 3})

    def test_nothing(self) -> None:
        self.assertEqual(by_preference([], lambda most: 0), [])
