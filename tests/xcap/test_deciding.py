"""Decisions about one watcher, written into a document that somebody else has made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.xcap import deciding
from msrpconf.xcap.deciding import EMPTY, CannotDecide, allow, block
from msrpconf.xcap.rules import SubHandling, Watcher, sub_handling
from msrpconf.xcap.ruleset import MAX_RULES, parse_ruleset
from msrpconf.xcap.store import ALLOW_ALL
from msrpconf.xcap.usages import validate
from tests.xcap.support import NOW, document, rule, validity

WENDY, BOB, OTHER = "sip:wendy@home.com", "sip:bob@home.com", "sip:other@example.net"
IDS = {"everybody": "<identity><many/></identity>", "nobody": "<identity/>"}

LAID_OUT = b"""<?xml version="1.0"?>
<!-- Alice's. -->
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:p="urn:ietf:params:xml:ns:pres-rules">
  <rule id="friends">
    <conditions>
      <identity>
        <one id="sip:wendy@HOME.com"/>
        <one id="sip:bob@home.com"/>
      </identity>
    </conditions>
    <actions><p:sub-handling>allow</p:sub-handling></actions>
  </rule>
  <rule id="others">
    <conditions><identity><many domain="home.com"/></identity></conditions>
    <actions><p:sub-handling>confirm</p:sub-handling></actions>
  </rule>
  <rule id="foes">
    <conditions><identity><one id="sip:wendy@home.com"/></identity></conditions>
    <actions><p:sub-handling>block</p:sub-handling></actions>
  </rule>
</ruleset>
"""


def said(octets: bytes, *keys: str) -> SubHandling:
    """What becomes of a subscription by a document."""
    return sub_handling(parse_ruleset(octets).rules, Watcher(keys, NOW))


class AllowTests(SynchronousTestCase):
    def test_where_nothing_is_granted(self) -> None:
        made = allow(EMPTY, WENDY)
        self.assertEqual((said(made, WENDY), said(made, BOB)), (SubHandling.ALLOW, 0))
        validate(made)

    def test_one_more(self) -> None:
        made = allow(allow(LAID_OUT, OTHER), "tel:+12015550123")
        for key in (OTHER, "tel:+12015550123"):
            self.assertEqual(said(made, key), SubHandling.ALLOW)
        self.assertEqual(len(parse_ruleset(made).rules), 4)
        validate(made)
        # Nothing else has changed, and what is new has a line of its own.
        ours = b'\n  <rule id="allowed-watchers">'
        self.assertEqual(made.partition(ours)[0] + b"\n</ruleset>\n", LAID_OUT)

    def test_again_is_nothing_new(self) -> None:
        made = allow(LAID_OUT, OTHER)
        self.assertEqual(allow(made, OTHER), made)

    def test_who_has_to_wait_and_who_is_blocked(self) -> None:
        made = allow(document(rule(IDS["everybody"], "confirm")), WENDY)
        self.assertEqual((said(made, WENDY), said(made, BOB)), (30, SubHandling.CONFIRM))
        self.assertEqual(said(allow(block(ALLOW_ALL, WENDY), WENDY), WENDY), 30)

    def test_a_rule_of_that_name_that_does_not_allow(self) -> None:
        for handling in ("block", "confirm", "polite-block", "other"):
            theirs = document(rule(f"<identity><one id='{BOB}'/></identity>", handling, "a"))
            theirs = theirs.replace(b'id="a"', b'id="allowed-watchers"')
            made = allow(theirs, WENDY)
            self.assertEqual(len(parse_ruleset(made).rules), 2)
            self.assertEqual(said(made, WENDY), SubHandling.ALLOW)

    def test_a_rule_of_that_name_that_is_another(self) -> None:
        for conditions in (
            "<sphere value='home'/>",
            f"{IDS['everybody']}",
            f"<identity><one id='{BOB}'/></identity><sphere value='home'/>",
            "<identity/>",
        ):
            theirs = document(rule(conditions, name=deciding.RULE_ID))
            made = allow(theirs, WENDY)
            self.assertEqual(
                [each.id for each in parse_ruleset(made).rules],
                ["allowed-watchers", "allowed-watchers-2"],
            )
            self.assertEqual(said(made, WENDY), SubHandling.ALLOW)
            self.assertEqual(allow(made, WENDY), made)

    def test_whatever_they_are_called(self) -> None:
        for key in ('sip:"a&b"<c>@home.com', "sip:%22%3c@home.com", "sip:'\"@home.com"):
            made = block(allow(ALLOW_ALL, key), key)
            made = allow(made, key)
            parse_ruleset(made)

    def test_what_cannot_be_written(self) -> None:
        for octets, why in (
            (b"<nothing", "cannot be read"),
            (b"<!DOCTYPE a><a/>", "DOCTYPE"),
            (b"<other/>", "expected <ruleset"),
            (document(*(f"<rule id='r{n}'/>" for n in range(MAX_RULES))), "rules at most"),
            (ALLOW_ALL + b" " * 65000, "octets"),
        ):
            with self.assertRaisesRegex(CannotDecide, why):
                allow(octets, WENDY)


class BlockTests(SynchronousTestCase):
    def test_all_rules_except_them(self) -> None:
        made = block(LAID_OUT, WENDY)
        self.assertEqual(said(made, WENDY), SubHandling.BLOCK)
        self.assertEqual(said(made, BOB), SubHandling.ALLOW)
        self.assertEqual(said(made, "sip:carol@home.com"), SubHandling.CONFIRM)
        validate(made)
        expected = LAID_OUT.replace(b'        <one id="sip:wendy@HOME.com"/>\n', b"").replace(
            b'<many domain="home.com"/>',
            b'<many domain="home.com"><except id="sip:wendy@home.com"/></many>',
        )
        self.assertEqual(made, expected)
        self.assertEqual(block(made, WENDY), made)

    def test_a_rule_for_them_alone_is_none_any_more(self) -> None:
        made = block(block(LAID_OUT, WENDY), BOB)
        self.assertEqual([each.id for each in parse_ruleset(made).rules], ["others", "foes"])

    def test_the_document_of_a_new_room(self) -> None:
        made = block(ALLOW_ALL, WENDY)
        self.assertEqual((said(made, WENDY), said(made, BOB)), (SubHandling.BLOCK, 30))
        # As nobody they could come back.
        self.assertEqual(said(made), SubHandling.BLOCK)
        validate(made)

    def test_a_rule_without_conditions(self) -> None:
        for octets in (document(rule(None)), document(rule("")), EMPTY):
            made = block(octets, WENDY)
            self.assertEqual(said(made, WENDY), SubHandling.BLOCK)
            self.assertEqual(said(made, BOB), said(octets, BOB))

    def test_a_domain_that_is_excepted_or_another(self) -> None:
        for member in ('<many domain="example.net"/>', '<many><except domain="HOME.com"/></many>'):
            octets = document(rule(f"<identity>{member}</identity>"))
            self.assertEqual(block(octets, WENDY), octets)

    def test_also_for_times_to_come(self) -> None:
        later = validity("2040-01-01T00:00:00Z", "2041-01-01T00:00:00Z")
        made = block(document(rule(IDS["everybody"] + later)), WENDY)
        (condition, *_) = parse_ruleset(made).rules[0].conditions
        self.assertFalse(condition.holds(Watcher((WENDY,), NOW)))
        self.assertTrue(condition.holds(Watcher((BOB,), NOW)))


_MEMBERS = st.sampled_from(
    [
        *(f'<one id="{key}"/>' for key in (WENDY, BOB, OTHER)),
        *("<many/>", '<many domain="home.com"/>', '<many domain="example.net"></many>'),
        f'<many><except id="{WENDY}"/></many>',
        f'<many><except id="{BOB}"/><except domain="example.net"/></many>',
        '<many domain="home.com"><except id="sip:wendy@home.com"/></many>',
    ]
)
_IDENTITIES = st.one_of(
    st.none(),
    st.just(""),
    st.lists(_MEMBERS, max_size=3).map(lambda some: f"<identity>{''.join(some)}</identity>"),
    st.just(IDS["everybody"] + validity("2003-12-24T00:00:00Z", "2003-12-25T00:00:00Z")),
    st.just("<sphere value='home'/>"),
)
_RULES = st.lists(
    st.tuples(_IDENTITIES, st.sampled_from(["block", "confirm", "polite-block", "allow"])),
    max_size=4,
)
_DOCUMENTS = _RULES.map(
    lambda some: document(
        *(rule(conditions, handling, f"r{n}") for n, (conditions, handling) in enumerate(some))
    )
)


class AnyDocumentTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(_DOCUMENTS, st.sampled_from([WENDY, BOB, OTHER]))
    def test_it_holds_for_them_and_for_nobody_else(self, octets: bytes, key: str) -> None:
        for change, expected in ((block, SubHandling.BLOCK), (allow, SubHandling.ALLOW)):
            made = change(octets, key)
            self.assertEqual(said(made, key), expected)
            for other in {WENDY, BOB, OTHER, "sip:dave@home.com"} - {key}:
                self.assertEqual(said(made, other), said(octets, other))
            self.assertEqual(change(made, key), made)
            both = (allow if change is block else block)(made, key)
            self.assertNotEqual(said(both, key), expected)
