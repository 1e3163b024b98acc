"""Conditions and the combining of permissions (RFC 4745), and whom they match (RFC 5025)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap.rules import (
    IdentityCondition,
    One,
    Rule,
    SphereCondition,
    SubHandling,
    ValidityCondition,
    combine,
    next_change,
    permissions,
    sub_handling,
)
from msrpconf.xcap.ruleset import parse_ruleset
from tests.xcap.support import NOW, applies, document, rule, validity, watcher

ALICE = watcher("sip:alice@example.com")
BOB = watcher("sip:bob@example.org")
ANONYMOUS = watcher()


def identity(text: str) -> str:
    return f"<identity>{text}</identity>"


class IdentityTests(SynchronousTestCase):
    def test_one_is_compared_as_a_uri(self) -> None:
        for uri, key, same in (
            ("sip:alice@example.com", "sip:alice@example.com", True),
            ("SIP:alice@EXAMPLE.com", "sip:alice@example.com", True),
            ("sips:alice@example.com:5061;transport=tcp", "sip:alice@example.com", True),
            ("sip:%61lice@example.com", "sip:alice@example.com", True),
            ("sip:Alice@example.com", "sip:alice@example.com", False),
            ("tel:+1-212-555-1234", "tel:+12125551234", True),
            ("tel:+1-212-555-1234", "sip:+12125551234@example.com", False),
            ("sip:+12125551234@example.com", "tel:+12125551234", False),
            ("sip:+12125551234@example.com;user=phone", "tel:+12125551234", False),
            ("mailto:bob@example.net", "mailto:bob@example.net", True),
            ("not a uri", "sip:alice@example.com", False),
            ("", "sip:alice@example.com", False),
        ):
            self.assertIs(applies(identity(f'<one id="{uri}"/>'), watcher(key)), same, uri)

    def test_the_example_of_section_7_1_2(self) -> None:
        text = identity(
            '<one id="sip:alice@example.com"/><one id="tel:+1-212-555-1234"/>'
            '<one id="mailto:bob@example.net"/>'
        )
        for key in ("sip:alice@example.com", "tel:+12125551234", "mailto:bob@example.net"):
            self.assertTrue(applies(text, watcher(key)))
        self.assertFalse(applies(text, BOB))

    def test_many_is_who_is_authenticated(self) -> None:
        self.assertTrue(applies(identity("<many/>"), ALICE))
        self.assertTrue(applies(identity("<many/>"), watcher("tel:+12125551234")))
        self.assertFalse(applies(identity("<many/>"), ANONYMOUS))

    def test_many_of_a_domain(self) -> None:
        for domain, key, same in (
            ("example.com", "sip:alice@example.com", True),
            ("EXAMPLE.Com.", "sip:alice@example.com", True),
            ("exam%70le.com", "sip:alice@example.com", True),
            # As long as the other, which is not enough.
            ("example.org", "sip:alice@example.com", False),
            ("ample.com", "sip:alice@example.com", False),
            ("example.com", "sip:alice@sub.example.com", False),
            ("sub.example.com", "sip:alice@example.com", False),
            ("bücher.example", "sip:alice@xn--bcher-kva.example", True),
            ("xn--bcher-kva.example", "im:alice@xn--bcher-kva.example", True),
            ("example.com", "tel:+12125551234", False),
            ("example.com", "mailto:alice@example.com", True),
            ("a..b", "sip:alice@a.b", False),
            ("", "sip:alice@example.com", False),
        ):
            text = identity(f'<many domain="{domain}"/>')
            self.assertIs(applies(text, watcher(key)), same, (domain, key))
        self.assertFalse(applies(identity('<many domain="example.com"/>'), ANONYMOUS))

    def test_the_exceptions_of_section_7_1_3_2(self) -> None:
        text = identity(
            '<many><except domain="example.com"/><except domain="example.org"/>'
            '<except id="sip:alice@bad.example.net"/><except id="sip:bob@good.example.net"/>'
            '<except id="tel:+1-212-555-1234"/><except id="sip:alice@example.com"/></many>'
        )
        for key, expected in (
            ("sip:alice@example.com", False),
            ("sip:carol@example.com", False),
            ("sip:carol@example.org", False),
            ("sip:alice@bad.example.net", False),
            ("sip:carol@bad.example.net", True),
            ("sip:bob@good.example.net", False),
            ("sip:carol@good.example.net", True),
            ("tel:+12125551234", False),
            ("tel:+12125551235", True),
        ):
            self.assertIs(applies(text, watcher(key)), expected, key)

    def test_the_exceptions_of_section_7_1_3_3(self) -> None:
        text = identity(
            '<many domain="example.com"><except id="sip:alice@example.com"/>'
            '<except id="sip:bob@example.com"/></many>'
        )
        self.assertTrue(applies(text, watcher("sip:carol@example.com")))
        self.assertFalse(applies(text, ALICE))
        self.assertFalse(applies(text, watcher("sip:bob@example.com")))
        self.assertFalse(applies(text, watcher("sip:carol@example.net")))

    def test_each_uri_of_a_watcher_counts(self) -> None:
        both = watcher("sip:alice@example.com", "tel:+12125551234")
        self.assertTrue(applies(identity('<one id="tel:+12125551234"/>'), both))
        self.assertTrue(applies(identity('<many domain="example.com"/>'), both))
        excepted = '<many domain="example.com"><except id="tel:+1-212-555-1234"/></many>'
        self.assertFalse(applies(identity(excepted), both))

    def test_an_exception_excludes_from_its_many_alone(self) -> None:
        text = identity(
            '<many><except domain="example.com"/></many><one id="sip:alice@example.com"/>'
        )
        self.assertTrue(applies(text, ALICE))

    def test_what_is_not_known_matches_nobody(self) -> None:
        for text in (
            '<other xmlns="urn:x"/>',
            '<one id="sip:alice@example.com"><only xmlns="urn:x"/></one>',
            '<one id="sip:alice@example.com" domain="example.com"/>',
            '<many><except id="not a uri"/></many>',
            '<many><except domain="a..b"/></many>',
            "<many><except/></many>",
            '<many><only xmlns="urn:x"/></many>',
            "",
        ):
            self.assertFalse(applies(identity(text), ALICE), text)
            self.assertFalse(applies(identity(text), ANONYMOUS), text)
        known = '<other xmlns="urn:x"/><one id="sip:alice@example.com"/>'
        self.assertTrue(applies(identity(known), ALICE))


class ConditionTests(SynchronousTestCase):
    def test_no_conditions_are_for_everybody(self) -> None:
        for text in (None, ""):
            for who in (ALICE, ANONYMOUS):
                self.assertTrue(applies(text, who))

    def test_all_of_them_have_to_hold(self) -> None:
        now = validity("2003-12-24T17:00:00+01:00", "2003-12-24T19:00:00+01:00")
        alice = identity('<one id="sip:alice@example.com"/>')
        self.assertTrue(applies(now + alice, ALICE))
        self.assertFalse(applies(now + alice, BOB))
        self.assertFalse(applies(now + alice, watcher("sip:alice@example.com", now=NOW + 7200)))
        self.assertFalse(applies(alice + identity('<one id="sip:bob@example.org"/>'), ALICE))

    def test_one_that_is_not_known_never_holds(self) -> None:
        self.assertFalse(applies('<mood xmlns="urn:x">good</mood>', ALICE))
        self.assertFalse(applies("<mood/>", ALICE))
        self.assertFalse(applies(identity("<many/>") + '<mood xmlns="urn:x"/>', ALICE))

    def test_validity(self) -> None:
        def valid(text: str, now: float) -> bool:
            return applies(f"<validity>{text}</validity>", watcher(now=now))

        period = "<from>1970-01-01T00:00:10Z</from><until>1970-01-01T00:00:20.5Z</until>"
        later = "<from>1970-01-01T01:00:30+01:00</from><until>1969-12-31T19:00:40-05:00</until>"
        for now, expected in ((9.9, False), (10, True), (20.4, True), (20.5, False)):
            self.assertIs(valid(period, now), expected, now)
        for now, expected in ((15, True), (25, False), (30, True), (39, True), (40, False)):
            self.assertIs(valid(period + later, now), expected, now)

    def test_a_time_without_a_zone_is_that_time_everywhere(self) -> None:
        text = validity("1970-01-02T00:00:00", "1970-01-05T00:00:00")
        day, hour = 86400, 3600
        for now, expected in (
            (day, False),
            (day + 14 * hour, True),
            (4 * day - 14 * hour - 1, True),
            (4 * day - 14 * hour, False),
        ):
            self.assertIs(applies(text, watcher(now=now)), expected, now)

    def test_what_is_no_period_never_holds(self) -> None:
        start, end = "<from>1970-01-01T00:00:10Z</from>", "<until>2970-01-01T00:00:10Z</until>"
        for text in (
            "",
            start,
            end,
            end + start,
            start + start,
            start + end + start,
            f"{start}{end}<x xmlns='urn:x'/>",
            "<from>yesterday</from>" + end,
            "<from>1970-01-01</from>" + end,
            "<from>1970-13-01T00:00:00Z</from>" + end,
            "<from>19700101T000000Z</from>" + end,
            start + "<until>99999-01-01T00:00:00Z</until>",
        ):
            self.assertFalse(applies(f"<validity>{text}</validity>", ALICE), text)

    def test_sphere(self) -> None:
        for value, sphere, expected in (
            ("work", "work", True),
            ("home work", "WORK", True),
            ("home", "work", False),
            ("home", None, False),
            ("", "work", False),
        ):
            who = watcher(sphere=sphere)
            self.assertIs(applies(f'<sphere value="{value}"/>', who), expected, (value, sphere))


class CombiningTests(SynchronousTestCase):
    def test_the_table_of_section_10_3(self) -> None:
        a1, a2, a3 = NOW - 900, NOW + 13500, NOW + 22500
        b1, b2 = NOW - 173700, NOW - 87300

        def row(
            number: int, name: str, sphere: str, start: float, end: float, **given: int
        ) -> Rule:
            conditions = (
                IdentityCondition((One(f"sip:{name}@example.com"),)),
                SphereCondition(frozenset({sphere})),
                ValidityCondition(((start, end),)),
            )
            return Rule(str(number), conditions, given)

        rules = [
            row(1, "bob", "home", a1, a2, X=True, Y=10, Z=2),
            row(2, "alice", "work", a1, a2, X=False, Y=5, Z=3),
            row(3, "bob", "work", a1, a2, X=True, Y=3, Z=1),
            row(4, "tom", "work", a1, a2, X=True, Y=5, Z=3),
            row(5, "bob", "work", a1, a3, Y=12, Z=2),
            row(6, "bob", "work", b1, b2, X=False, Y=10, Z=1),
        ]
        bob = watcher("sip:bob@example.com", sphere="work")
        self.assertEqual([rule.id for rule in rules if rule.applies(bob)], ["3", "5"])
        for each in (rules, rules[::-1]):
            self.assertEqual(permissions(each, bob), {"X": True, "Y": 12, "Z": 2})

    def test_by_type(self) -> None:
        one, two = frozenset({("class", "a")}), frozenset({("class", "b")})
        self.assertEqual(
            combine(({"b": False, "i": 3, "s": one}, {"b": True, "i": 2, "s": two}, {})),
            {"b": True, "i": 3, "s": one | two},
        )
        self.assertEqual(combine(({"b": False}, {"b": False})), {"b": False})
        self.assertEqual(combine(()), {})


class SubHandlingTests(SynchronousTestCase):
    def handling(self, *rules: str) -> SubHandling:
        return sub_handling(parse_ruleset(document(*rules)).rules, ALICE)

    def test_the_most_that_a_rule_grants(self) -> None:
        everybody = [rule("", name, name) for name in ("block", "confirm", "polite-block", "allow")]
        for count, expected in enumerate(SubHandling, 1):
            self.assertIs(self.handling(*everybody[:count]), expected)
            self.assertIs(self.handling(*everybody[:count][::-1]), expected)

    def test_block_is_the_default(self) -> None:
        nobody = identity('<one id="sip:bob@example.org"/>')
        for rules in ((), (rule(nobody),), ('<rule id="a"/>',), (rule("", "permit"),)):
            self.assertIs(self.handling(*rules), SubHandling.BLOCK)

    def test_block_denies_nobody(self) -> None:
        """RFC 5025 §10: who is blocked by one rule and allowed by another is allowed."""
        alice = identity('<one id="sip:alice@example.com"/>')
        everybody = identity('<many domain="example.com"/>')
        self.assertIs(
            self.handling(rule(alice, "block", "a"), rule(everybody, "allow", "b")),
            SubHandling.ALLOW,
        )


class NextChangeTests(SynchronousTestCase):
    def test_the_first_that_is_not_over(self) -> None:
        rules = [
            Rule("a", (ValidityCondition(((10, 20), (30, 40))),)),
            Rule("b", (ValidityCondition(((15, 50),)),)),
            Rule("c"),
        ]
        for now, expected in ((0, 10), (10, 15), (15, 20), (40, 50), (50, None)):
            self.assertEqual(next_change(rules, now), expected)
