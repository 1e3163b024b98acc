"""Documents of rules as they are read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap.rules import SubHandling, UserInput, permissions
from msrpconf.xcap.ruleset import MAX_OCTETS, MAX_PROBLEMS, MAX_RULES, RulesetError, parse_ruleset
from tests.xcap.support import HEAD, document, rule, watcher

RFC5025 = b"""<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"
 xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
 xmlns:cr="urn:ietf:params:xml:ns:common-policy">
 <cr:rule id="a">
  <cr:conditions>
   <cr:identity>
    <cr:one id="sip:user@example.com"/>
   </cr:identity>
  </cr:conditions>
  <cr:actions>
   <pr:sub-handling>allow</pr:sub-handling>
  </cr:actions>
  <cr:transformations>
   <pr:provide-services>
     <pr:service-uri-scheme>sip</pr:service-uri-scheme>
     <pr:service-uri-scheme>mailto</pr:service-uri-scheme>
   </pr:provide-services>
   <pr:provide-persons>
     <pr:all-persons/>
   </pr:provide-persons>
   <pr:provide-activities>true</pr:provide-activities>
   <pr:provide-user-input>bare</pr:provide-user-input>
    <pr:provide-unknown-attribute
     ns="urn:vendor-specific:foo-namespace"
     name="foo">true</pr:provide-unknown-attribute>
  </cr:transformations>
 </cr:rule>
</cr:ruleset>
"""


def _element(tag: str, attributes: str, children: list[str], text: str) -> str:
    return f"<{tag}{attributes}>{text}{''.join(children)}</{tag}>"


_TAGS = [
    "rule",
    "conditions",
    "identity",
    "one",
    "many",
    "except",
    "validity",
    "from",
    "until",
    "actions",
    "transformations",
    "pr:sub-handling",
    "pr:provide-devices",
    "pr:class",
]
_ATTRIBUTES = ("", ' id="sip:a@b"', ' id="%"', ' domain="b"', ' domain="\u00df..x"')
_TEXTS = ("", "allow", "2003-12-24T17:00:00+01:00", "true")
_BODIES = st.recursive(
    st.just(""),
    lambda inner: st.builds(
        _element,
        st.sampled_from(_TAGS),
        st.sampled_from(_ATTRIBUTES),
        st.lists(inner, max_size=4),
        st.sampled_from(_TEXTS),
    ),
    max_leaves=30,
)


def granted(*parts: str) -> dict[str, object]:
    """What everybody is granted by a rule with each of these transformations."""
    rules = (
        f'<rule id="r{n}"><transformations>{part}</transformations></rule>'
        for n, part in enumerate(parts)
    )
    return dict(permissions(parse_ruleset(document(*rules)).rules, watcher()))


class DocumentTests(SynchronousTestCase):
    def test_the_example_of_rfc_5025(self) -> None:
        ruleset = parse_ruleset(RFC5025)
        self.assertEqual(ruleset.problems, ())
        self.assertEqual(
            permissions(ruleset.rules, watcher("sip:user@example.com")),
            {
                "sub-handling": SubHandling.ALLOW,
                "provide-services": {
                    ("service-uri-scheme", "sip"),
                    ("service-uri-scheme", "mailto"),
                },
                "provide-persons": {("all-persons",)},
                "provide-activities": True,
                "provide-user-input": UserInput.BARE,
                "provide-unknown-attribute": {("urn:vendor-specific:foo-namespace", "foo")},
            },
        )
        self.assertEqual(permissions(ruleset.rules, watcher("sip:other@example.com")), {})

    def test_sets_are_united(self) -> None:
        """The example of RFC 5025 §3.3.1.1."""
        one = (
            "<pr:provide-devices><pr:deviceID>urn:uuid:f81d</pr:deviceID>"
            "<pr:class>biz</pr:class></pr:provide-devices>"
        )
        two = (
            "<pr:provide-devices><pr:class>home</pr:class><pr:class>biz</pr:class>"
            "</pr:provide-devices>"
        )
        all_of_it = {("deviceID", "urn:uuid:f81d"), ("class", "biz"), ("class", "home")}
        self.assertEqual(granted(one, two), {"provide-devices": all_of_it})
        self.assertEqual(granted(one + two), {"provide-devices": all_of_it})

    def test_what_is_not_known_is_not_granted(self) -> None:
        for part in (
            "<pr:provide-everything>true</pr:provide-everything>",
            "<pr:provide-note>yes</pr:provide-note>",
            "<pr:provide-note/>",
            "<pr:provide-note><x/>true</pr:provide-note>",
            "<provide-note>true</provide-note>",
            '<provide-note xmlns="urn:x">true</provide-note>',
            "<pr:provide-user-input>some</pr:provide-user-input>",
            '<pr:provide-unknown-attribute name="a">true</pr:provide-unknown-attribute>',
        ):
            self.assertEqual(granted(part), {}, part)
        self.assertEqual(
            granted("<pr:provide-persons><pr:deviceID>x</pr:deviceID></pr:provide-persons>"),
            {"provide-persons": frozenset()},
        )

    def test_values(self) -> None:
        for part, expected in (
            ("<pr:provide-note> 1 </pr:provide-note>", {"provide-note": True}),
            ("<pr:provide-note>0</pr:provide-note>", {"provide-note": False}),
            ("<pr:provide-all-attributes/>", {"provide-all-attributes": True}),
            (
                "<pr:provide-user-input>full</pr:provide-user-input>",
                {"provide-user-input": UserInput.FULL},
            ),
        ):
            self.assertEqual(granted(part), expected)
        low, high = (
            f"<pr:provide-user-input>{value}</pr:provide-user-input>"
            for value in ("thresholds", "full")
        )
        for parts in ((low, high), (high, low), (low + high,), (high + low,)):
            self.assertEqual(granted(*parts), {"provide-user-input": UserInput.FULL})

    def test_comments_are_passed_over(self) -> None:
        text = rule("<!-- c --><identity><!-- c --><many/></identity>").replace(
            "<actions>", "<?pi?><actions><!-- c -->"
        )
        (found,) = parse_ruleset(document(text)).rules
        self.assertTrue(found.applies(watcher("sip:alice@example.com")))

    def test_problems_name_the_rule(self) -> None:
        ruleset = parse_ruleset(
            document(
                rule('<mood xmlns="urn:x"/>', name="odd"), rule('<sphere value="w"/>', name="s")
            )
        )
        self.assertEqual(
            ruleset.problems,
            (
                "rule 'odd': '<mood xmlns=urn:x>': a condition that is not known never holds,"
                " so that the rule does not apply",
                "rule 's': <sphere>: a room has no sphere, so that the rule does not apply",
            ),
        )

    def test_problems_are_not_without_end(self) -> None:
        ruleset = parse_ruleset(document(rule("<mood/>" * 1000)))
        self.assertEqual(len(ruleset.problems), MAX_PROBLEMS)


class HostileTests(SynchronousTestCase):
    def refused(self, octets: bytes, why: str) -> None:
        error = self.assertRaises(RulesetError, parse_ruleset, octets)
        self.assertIn(why, str(error))

    def test_what_is_no_document(self) -> None:
        self.refused(b"", "not well-formed")
        self.refused(b"<ruleset", "not well-formed")
        self.refused(b"<ruleset/>", "expected <ruleset xmlns=")
        self.refused(b'<rule xmlns="urn:ietf:params:xml:ns:common-policy"/>', "expected <ruleset")
        self.refused(
            b'<!DOCTYPE a [<!ENTITY b "c">]>' + document(),
            "DOCTYPE",
        )

    def test_what_is_too_much(self) -> None:
        self.refused(document("<!--" + "x" * MAX_OCTETS + "-->"), f"{MAX_OCTETS} octets at most")
        self.refused(document('<rule id="a"/>' * (MAX_RULES + 1)), f"{MAX_RULES} rules at most")
        parse_ruleset(document('<rule id="a"/>' * MAX_RULES))

    @given(_BODIES)
    @settings(max_examples=200, deadline=None)
    def test_whatever_is_in_it(self, inner: str) -> None:
        ruleset = parse_ruleset(f"{HEAD}{inner}</cr:ruleset>".encode())
        for who in (watcher(), watcher("sip:a@b")):
            permissions(ruleset.rules, who)
