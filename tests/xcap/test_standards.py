"""The examples of RFC 4745 and the tables of RFC 5025, and where Kamailio reads them otherwise."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap.rules import SubHandling, UserInput, permissions, sub_handling
from msrpconf.xcap.ruleset import Ruleset, parse_ruleset
from msrpconf.xcap.usages import validate
from tests.xcap.support import NOW, document, rule, watcher

RULE = """
   <rule id="{name}">
     <conditions>{conditions}</conditions>
     <actions/>
     <transformations/>
   </rule>
"""


def example(**rules: str) -> bytes:
    """A document as RFC 4745 writes it, of conditions by the id of their rule."""
    inner = "".join(RULE.format(name=name, conditions=each) for name, each in rules.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">{inner}</ruleset>'
    ).encode()


class CommonPolicyTests(SynchronousTestCase):
    """Whole documents of RFC 4745: they are valid, read without a problem, and say who may."""

    def read(self, octets: bytes) -> Ruleset:
        validate(octets)
        return parse_ruleset(octets)

    def who(self, octets: bytes, *names: str, sphere: str | None = None, now: float = NOW) -> str:
        """Those of `names`, as in sip:name, to whom one of the rules applies."""
        rules = self.read(octets).rules
        return " ".join(
            name
            for name in names
            if any(each.applies(watcher(f"sip:{name}", sphere=sphere, now=now)) for each in rules)
        )

    def test_section_7_1_2(self) -> None:
        octets = example(
            f3g44r1='<identity><one id="sip:alice@example.com"/><one id="tel:+1-212-555-1234"/>'
            '<one id="mailto:bob@example.net" /></identity>'
        )
        self.assertEqual(self.read(octets).problems, ())
        found = self.who(octets, "alice@example.com", "bob@example.net", "+12125551234@example.com")
        self.assertEqual(found, "alice@example.com")

    def test_section_7_1_3_1(self) -> None:
        octets = example(f3g44r5="<identity><many/></identity>")
        self.assertEqual(self.who(octets, "alice@example.com", "b@c"), "alice@example.com b@c")
        (found,) = self.read(octets).rules
        self.assertFalse(found.applies(watcher()))

    def test_section_7_3(self) -> None:
        """Of whom a rule tells depends on where the one is who is watched."""
        octets = example(
            f3g44r2='<sphere value="work"/><identity><one id="sip:andrew@example.com"/></identity>',
            y6y55r2='<sphere value="home"/>'
            '<identity><one id="sip:allison@example.com"/></identity>',
            z6y55r2='<identity><one id="sip:john@doe.example.com"/></identity>'
            '<sphere value="home work"/>',
        )
        everybody = "andrew@example.com", "allison@example.com", "john@doe.example.com"
        for sphere, expected in (
            ("work", "andrew@example.com john@doe.example.com"),
            ("HOME", "allison@example.com john@doe.example.com"),
            ("travel", ""),
            (None, ""),
        ):
            self.assertEqual(self.who(octets, *everybody, sphere=sphere), expected, sphere)
        self.assertEqual(len(self.read(octets).problems), 3)

    def test_section_7_4(self) -> None:
        octets = example(
            f3g44r3="<validity><from>2003-08-15T10:20:00.000-05:00</from>"
            "<until>2003-09-15T10:20:00.000-05:00</until></validity>"
        )
        start, end = 1060960800.0, 1063639200.0
        for now, expected in ((start - 1, ""), (start, "a@b"), (end - 1, "a@b"), (end, "")):
            self.assertEqual(self.who(octets, "a@b", now=now), expected, now)
        self.assertEqual(self.read(octets).problems, ())

    def test_section_12(self) -> None:
        octets = example(
            f3g44r1='<identity><one id="sip:bob@example.com"/></identity><sphere value="work"/>'
            "<validity><from>2003-12-24T17:00:00+01:00</from>"
            "<until>2003-12-24T19:00:00+01:00</until></validity>"
        )
        bob = "bob@example.com"
        self.assertEqual(self.who(octets, bob, "alice@example.com", sphere="work"), bob)
        self.assertEqual(self.who(octets, bob, sphere="home"), "")
        self.assertEqual(self.who(octets, bob, sphere="work", now=NOW + 7200), "")


class PresenceRuleTests(SynchronousTestCase):
    """What can be granted (RFC 5025 §3.2, §3.3)."""

    def granted(self, inner: str, part: str = "transformations") -> dict[str, object]:
        octets = document(f'<rule id="a"><conditions/><actions/><{part}>{inner}</{part}></rule>')
        if part != "actions":
            validate(octets)
        ruleset = parse_ruleset(octets)
        self.assertEqual(ruleset.problems, (), inner)
        return dict(permissions(ruleset.rules, watcher()))

    def test_sub_handling(self) -> None:
        for text, value in (("block", 0), ("confirm", 10), ("polite-block", 20), ("allow", 30)):
            validate(document(rule("", text)))
            (found,) = parse_ruleset(document(rule("", text))).rules
            self.assertEqual(found.permissions["sub-handling"], value)
            self.assertIs(found.permissions["sub-handling"], SubHandling(value))

    def test_data_components(self) -> None:
        """§3.3.1.1 to §3.3.1.3: one element for each way to select."""
        for name, members in (
            ("provide-devices", ("deviceID", "occurrence-id", "class")),
            ("provide-persons", ("occurrence-id", "class")),
            ("provide-services", ("service-uri", "service-uri-scheme", "occurrence-id", "class")),
        ):
            every = f"all-{name.removeprefix('provide-')}"
            self.assertEqual(
                self.granted(f"<pr:{name}><pr:{every}/></pr:{name}>"), {name: {(every,)}}
            )
            inner = "".join(f"<pr:{each}>x</pr:{each}>" for each in members)
            self.assertEqual(
                self.granted(f"<pr:{name}>{inner}</pr:{name}>"),
                {name: {(each, "x") for each in members}},
            )

    def test_attributes_that_are_shown_or_not(self) -> None:
        """§3.3.2.1 to §3.3.2.11, §3.3.2.13."""
        for name in (
            *("activities", "class", "deviceID", "mood", "place-is", "place-type", "privacy"),
            *("relationship", "sphere", "status-icon", "time-offset", "note"),
        ):
            for text, value in (("true", True), ("false", False)):
                tag = f"pr:provide-{name}"
                self.assertEqual(self.granted(f"<{tag}>{text}</{tag}>"), {f"provide-{name}": value})

    def test_user_input(self) -> None:
        """§3.3.2.12."""
        for text, value in (("false", 0), ("bare", 10), ("thresholds", 20), ("full", 30)):
            found = self.granted(f"<pr:provide-user-input>{text}</pr:provide-user-input>")
            self.assertEqual(found, {"provide-user-input": UserInput(value)})

    def test_what_we_do_not_know(self) -> None:
        """§3.3.2.14, §3.3.2.15."""
        tag = "pr:provide-unknown-attribute"
        self.assertEqual(
            self.granted(f'<{tag} ns="urn:a" name="b">true</{tag}>'),
            {"provide-unknown-attribute": {("urn:a", "b")}},
        )
        self.assertEqual(self.granted(f'<{tag} ns="urn:a" name="b">false</{tag}>'), {})
        self.assertEqual(
            self.granted("<pr:provide-all-attributes/>"), {"provide-all-attributes": True}
        )


class UnlikeKamailioTests(SynchronousTestCase):
    """Where Kamailio 5.6 evaluates the same rows in another way, RFC 4745 counts here."""

    def said(self, *rules: str, key: str = "sip:alice@example.com") -> SubHandling:
        return sub_handling(parse_ruleset(document(*rules)).rules, watcher(key))

    def test_a_domain_of_the_same_length_is_another(self) -> None:
        self.assertIs(
            self.said(rule('<identity><many domain="example.org"/></identity>')), SubHandling.BLOCK
        )

    def test_who_is_excepted_is_excepted(self) -> None:
        for exception in ('id="sip:alice@example.com"', 'domain="example.com"'):
            rules = rule(f"<identity><many><except {exception}/></many></identity>")
            self.assertIs(self.said(rules), SubHandling.BLOCK)
            self.assertIs(self.said(rules, key="sip:bob@example.net"), SubHandling.ALLOW)

    def test_empty_conditions_are_for_everybody(self) -> None:
        self.assertIs(self.said(rule("")), SubHandling.ALLOW)

    def test_not_the_first_rule_but_all_that_apply(self) -> None:
        everybody = "<identity><many/></identity>"
        two = rule(everybody, "confirm", "a"), rule(everybody, "allow", "b")
        self.assertIs(self.said(*two), SubHandling.ALLOW)
        self.assertIs(self.said(*two[::-1]), SubHandling.ALLOW)
