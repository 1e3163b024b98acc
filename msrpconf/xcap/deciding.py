"""Writes into a document what somebody has decided about one watcher (RFC 5025 §3.2.1).

All else in the document stays as it is, octet by octet. Rules add up, and none takes away what
another one grants (RFC 4745 §10.2): to let somebody in is one more rule, but to keep somebody out
each rule that grants them something has to except them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import quoteattr

from msrpconf.xcap.rules import (
    Many,
    Rule,
    SubHandling,
    Watcher,
    canonical_domain,
    canonical_id,
)
from msrpconf.xcap.ruleset import COMMON_POLICY, MAX_OCTETS, PRES_RULES, RulesetError, parse_ruleset
from msrpconf.xcap.tree import Element, TreeError, parse_tree

EMPTY = f'<cr:ruleset xmlns:cr="{COMMON_POLICY}"></cr:ruleset>'.encode()
"""A document that grants nothing to anybody."""

RULE_ID = "allowed-watchers"
"""What our rule is called, unless another has that name."""

Edit = tuple[int, int, bytes]
"""From, to, and what is to be there instead."""


class CannotDecide(ValueError):
    """A document into which it cannot be written. The text says why."""


def allow(document: bytes, key: str) -> bytes:
    """The document with a rule that lets the user of that canonical URI watch.

    Raises `CannotDecide`.
    """
    root = _root(document)
    ours = next((rule for rule, read in _rules(document, root) if _is_ours(rule, read)), None)
    if ours is None:
        return _checked(_apply(document, [_new_rule(document, root, key)]), document)
    (identity,) = _identities(ours)
    if any(_names(each, key) for each in _children(identity, "one")):
        return document
    return _checked(_apply(document, [_one_more(document, identity, "one", key)]), document)


def block(document: bytes, key: str) -> bytes:
    """The document in which no rule grants anything to the user of that canonical URI.

    A rule that applied to everybody, known or not, applies to all whom somebody vouches for but
    this user. Raises `CannotDecide`.
    """
    root = _root(document)
    edits: list[Edit] = []
    for rule, read in _rules(document, root):
        if read.permissions.get("sub-handling", SubHandling.BLOCK):
            edits += _without(document, rule, key)
    return _checked(_apply(document, edits), document)


# What is there.


def _root(document: bytes) -> Element:
    try:
        parse_ruleset(document)
        (root,) = parse_tree(document).children
    except (RulesetError, TreeError) as error:
        raise CannotDecide(f"the document cannot be read: {error}") from None
    return root


def _rules(document: bytes, root: Element) -> Iterator[tuple[Element, Rule]]:
    """Each rule as it is written, and what it means."""
    return zip(_children(root, "rule"), parse_ruleset(document).rules, strict=True)


def _children(parent: Element, name: str) -> list[Element]:
    return [each for each in parent.children if each.name == (COMMON_POLICY, name)]


def _identities(rule: Element) -> list[Element]:
    return [
        each
        for conditions in _children(rule, "conditions")
        for each in _children(conditions, "identity")
    ]


def _names(element: Element, key: str) -> bool:
    """Whether the id of a <one> or an <except> is that user's."""
    attribute = element.attributes.get(("", "id"))
    return attribute is not None and canonical_id(attribute.value) == key


def _matches(many: Element, key: str) -> bool:
    """Whether <many> has the user among its."""
    domain = many.attributes.get(("", "domain"))
    excepted = _children(many, "except")
    domains = (each.attributes.get(("", "domain")) for each in excepted)
    found = Many(
        None if domain is None else canonical_domain(domain.value),
        frozenset((key,) if any(_names(each, key) for each in excepted) else ()),
        frozenset(
            name for each in domains if each and (name := canonical_domain(each.value)) is not None
        ),
    )
    if domain is not None and found.domain is None:
        return False
    return found.matches(Watcher((key,), 0.0))


def _is_ours(rule: Element, read: Rule) -> bool:
    """Whether it is a rule of `allow`: it allows some users, and has no other condition."""
    identities = _identities(rule)
    name = rule.attributes.get(("", "id"))
    conditions = _children(rule, "conditions")
    return (
        name is not None
        and read.permissions.get("sub-handling") is SubHandling.ALLOW
        and name.value.startswith(RULE_ID)
        and len(identities) == 1
        and len(conditions) == 1
        and conditions[0].children == identities
        and not identities[0].is_empty_tag
        and all(each.name == (COMMON_POLICY, "one") for each in identities[0].children)
        and [each.name[1] for each in rule.children] == ["conditions", "actions"]
    )


# What is to be there.


def _without(document: bytes, rule: Element, key: str) -> Iterator[Edit]:
    """A rule that does not apply to the user, whatever its other conditions say."""
    conditions = _children(rule, "conditions")
    identities = _identities(rule)
    if not identities:
        prefix = _prefix(rule)
        member = f"<{prefix}except id={quoteattr(key)}/>"
        identity = f"<{prefix}identity><{prefix}many>{member}</{prefix}many></{prefix}identity>"
        if conditions:
            yield _into(document, conditions[0], identity)
        else:
            yield (
                rule.content,
                rule.content,
                (f"<{prefix}conditions>{identity}</{prefix}conditions>".encode()),
            )
        return
    # One of the conditions that does not hold is enough.
    identity_element = identities[0]
    named = [each for each in _children(identity_element, "one") if _names(each, key)]
    if named and len(named) == len(identity_element.children):
        yield _from_line(document, rule), rule.end, b""
        return
    for each in named:
        yield _from_line(document, each), each.end, b""
    for each in _children(identity_element, "many"):
        if _matches(each, key):
            yield _one_more(document, each, "except", key)


def _one_more(document: bytes, parent: Element, name: str, key: str) -> Edit:
    return _into(document, parent, f"<{_prefix(parent)}{name} id={quoteattr(key)}/>")


def _new_rule(document: bytes, root: Element, key: str) -> Edit:
    names = {found.value for each in root.children if (found := each.attributes.get(("", "id")))}
    name, number = RULE_ID, 1
    while name in names:
        number += 1
        name = f"{RULE_ID}-{number}"
    p = _prefix(root)
    return _into(
        document,
        root,
        f'<{p}rule id="{name}">'
        f"<{p}conditions><{p}identity><{p}one id={quoteattr(key)}/></{p}identity></{p}conditions>"
        f'<{p}actions><sub-handling xmlns="{PRES_RULES}">allow</sub-handling></{p}actions>'
        f"</{p}rule>",
    )


def _prefix(element: Element) -> str:
    """That of an element of common policy, as it is in scope in it."""
    prefix, colon, _ = element.qname.rpartition(":")
    return prefix + colon


def _into(document: bytes, parent: Element, text: str) -> Edit:
    """One more child at the end, on a line of its own where the others are."""
    if parent.is_empty_tag:
        content = f">{text}</{parent.qname}>"
        return parent.end - 2, parent.end, content.encode()
    place = parent.children[-1].end if parent.children else parent.content
    return place, place, _indentation(document, parent) + text.encode()


def _indentation(document: bytes, parent: Element) -> bytes:
    if not parent.children:
        return b""
    last = parent.children[-1].start
    before = document[parent.content : last]
    space = before[len(before.rstrip()) :]
    return b"\n" + space.rpartition(b"\n")[2] if b"\n" in space else b""


def _from_line(document: bytes, element: Element) -> int:
    """Where an element begins, with the white space that is before it on its line."""
    before = document[: element.start]
    return len(before.rstrip()) if before.rstrip(b" \t").endswith(b"\n") else element.start


def _apply(document: bytes, edits: Iterable[Edit]) -> bytes:
    for start, end, octets in sorted(edits, reverse=True):
        document = document[:start] + octets + document[end:]
    return document


def _checked(result: bytes, before: bytes) -> bytes:
    if result != before and len(result) > MAX_OCTETS:
        raise CannotDecide(f"the document would have more than {MAX_OCTETS} octets: shorten it")
    _root(result)
    return result
