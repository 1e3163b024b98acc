"""Reads documents of rules: application/auth-policy+xml (RFC 4745, RFC 5025).

What is not understood grants nothing, and is told in `Ruleset.problems`: a condition that we do
not know, or cannot read, never holds, and a permission of that kind is not given. An exception
that cannot be read makes its <many> match nobody, because it was to keep somebody out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from attrs import frozen
from lxml import etree

from msrpconf.protocols.text import shown
from msrpconf.protocols.xml import XmlError, parse_xml
from msrpconf.xcap.rules import (
    Condition,
    IdentityCondition,
    Many,
    One,
    Permission,
    Rule,
    SphereCondition,
    SubHandling,
    UnknownCondition,
    UserInput,
    ValidityCondition,
    canonical_domain,
    canonical_id,
    combine,
)

MAX_OCTETS = 65535
"""Octets of a document: what the table holds everywhere."""

MAX_RULES = 1000
"""Rules of a document."""

MAX_PROBLEMS = 20
"""What is told of a document that is not understood."""

COMMON_POLICY = "urn:ietf:params:xml:ns:common-policy"
PRES_RULES = "urn:ietf:params:xml:ns:pres-rules"

BOOLEANS = (
    "provide-activities",
    "provide-class",
    "provide-deviceID",
    "provide-mood",
    "provide-place-is",
    "provide-place-type",
    "provide-privacy",
    "provide-relationship",
    "provide-sphere",
    "provide-status-icon",
    "provide-time-offset",
    "provide-note",
)
"""Permissions that are true or false (RFC 5025 §3.3.2)."""

SETS = {
    "provide-devices": ("all-devices", "class", "deviceID", "occurrence-id"),
    "provide-persons": ("all-persons", "class", "occurrence-id"),
    "provide-services": (
        "all-services",
        "class",
        "occurrence-id",
        "service-uri",
        "service-uri-scheme",
    ),
}
"""Permissions that are sets, and what can be in them (RFC 5025 §3.3.1)."""

_CP = f"{{{COMMON_POLICY}}}"
_PR = f"{{{PRES_RULES}}}"
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
# A time without a zone is 14 hours earlier somewhere, and later elsewhere (XML Schema §3.2.7.4).
_ANYWHERE = timedelta(hours=14)

Problems = list[str]


class RulesetError(ValueError):
    """A document that has no rules which could be read. The text says why."""


@frozen
class Ruleset:
    """The rules of a document. `problems` has a line for each thing that was not understood."""

    rules: tuple[Rule, ...]
    problems: tuple[str, ...] = ()


def parse_ruleset(document: bytes) -> Ruleset:
    """The rules of a document. Raises `RulesetError`."""
    try:
        root = parse_xml(document, "pres-rules document", MAX_OCTETS)
    except XmlError as error:
        raise RulesetError(str(error)) from None
    if root.tag != f"{_CP}ruleset":
        raise RulesetError(
            f"expected <ruleset xmlns='{COMMON_POLICY}'>, got {shown(str(root.tag))}"
        )
    elements = list(root.iterchildren(f"{_CP}rule"))
    if len(elements) > MAX_RULES:
        raise RulesetError(f"a document has {MAX_RULES} rules at most, and this {len(elements)}")
    problems: Problems = []
    rules = tuple(_rule(each, problems) for each in elements)
    return Ruleset(rules, tuple(problems[:MAX_PROBLEMS]))


def _rule(element: etree._Element, problems: Problems) -> Rule:
    rule_id = element.get("id", "")
    found: Problems = []
    conditions = [
        _condition(each, found)
        for parent in element.iterchildren(f"{_CP}conditions")
        for each in _elements(parent)
    ]
    permissions: dict[str, Permission] = {}
    for part in ("actions", "transformations"):
        for parent in element.iterchildren(f"{_CP}{part}"):
            for each in _elements(parent):
                _permission(each, permissions, found)
    problems += (f"rule {shown(rule_id)}: {each}" for each in found)
    return Rule(rule_id, tuple(conditions), permissions)


# Conditions.


def _condition(element: etree._Element, problems: Problems) -> Condition:
    read = _CONDITIONS.get(str(element.tag))
    if read is None:
        return _unknown(element, "a condition that is not known never holds", problems)
    return read(element, problems)


def _identity(element: etree._Element, problems: Problems) -> Condition:
    members: list[One | Many] = []
    for each in _elements(element):
        member: One | Many | None = None
        if each.tag == f"{_CP}one":
            member = _one(each)
        elif each.tag == f"{_CP}many":
            member = _many(each)
        if member is None:
            problems.append(f"{_shown(each)} cannot be read, and matches nobody")
        else:
            members.append(member)
    return IdentityCondition(tuple(members))


def _one(element: etree._Element) -> One | None:
    # What is in it restricts it in a way that we do not know.
    if _has_elements(element) or element.get("domain") is not None:
        return None
    key = canonical_id(element.get("id", ""))
    return None if key is None else One(key)


def _many(element: etree._Element) -> Many | None:
    keys: set[str] = set()
    domains: set[str] = set()
    for each in _elements(element):
        if each.tag != f"{_CP}except" or not {"id", "domain"} & set(map(str, each.keys())):
            return None
        for name, read, known in (
            ("id", canonical_id, keys),
            ("domain", canonical_domain, domains),
        ):
            text = each.get(name)
            if text is None:
                continue
            value = read(text)
            if value is None:
                return None
            known.add(value)
    text = element.get("domain")
    domain = None if text is None else canonical_domain(text)
    if text is not None and domain is None:
        return None
    return Many(domain, frozenset(keys), frozenset(domains))


def _sphere(element: etree._Element, problems: Problems) -> Condition:
    problems.append("<sphere>: a room has no sphere, so that the rule does not apply")
    return SphereCondition(frozenset(element.get("value", "").lower().split()))


def _validity(element: etree._Element, problems: Problems) -> Condition:
    periods = []
    children = list(_elements(element))
    for start, end in zip(children[::2], children[1::2], strict=False):
        if start.tag != f"{_CP}from" or end.tag != f"{_CP}until":
            break
        begins, ends = _time(start, _ANYWHERE), _time(end, -_ANYWHERE)
        if begins is None or ends is None:
            break
        periods.append((begins, ends))
    if not periods or 2 * len(periods) != len(children):
        return _unknown(element, "expected pairs of <from> and <until> with dateTimes", problems)
    return ValidityCondition(tuple(periods))


def _time(element: etree._Element, uncertainty: timedelta) -> float | None:
    text = (element.text or "").strip()
    if _has_elements(element) or not _DATE_TIME.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC) + uncertainty
        return time.timestamp()
    except (ValueError, OverflowError):
        return None


def _unknown(element: etree._Element, why: str, problems: Problems) -> UnknownCondition:
    name = _shown(element)
    problems.append(f"{name}: {why}, so that the rule does not apply")
    return UnknownCondition(name)


_CONDITIONS: dict[str, Callable[[etree._Element, Problems], Condition]] = {
    f"{_CP}identity": _identity,
    f"{_CP}sphere": _sphere,
    f"{_CP}validity": _validity,
}


# Permissions.


def _permission(
    element: etree._Element, granted: dict[str, Permission], problems: Problems
) -> None:
    tag = str(element.tag)
    name = tag.removeprefix(_PR)
    value: Permission | None
    if tag == name:
        value = None
    elif name == "sub-handling":
        value = _SUB_HANDLING.get(_token(element))
    elif name == "provide-user-input":
        value = _USER_INPUT.get(_token(element))
    elif name in BOOLEANS:
        value = _BOOLEAN.get(_token(element))
    elif name in SETS:
        value = _set(element, SETS[name], problems)
    elif name == "provide-all-attributes":
        value = True
    elif name == "provide-unknown-attribute":
        _unknown_attribute(element, granted, problems)
        return
    else:
        value = None
    if value is None:
        problems.append(f"{_shown(element)} {shown(_token(element))} is not known, and not granted")
    else:
        _grant(granted, name, value)


def _grant(granted: dict[str, Permission], name: str, value: Permission) -> None:
    """Add a permission; one that a rule gives twice counts as if two rules gave it."""
    granted.update(combine(({name: value}, {name: granted.get(name, value)})))


def _unknown_attribute(
    element: etree._Element, granted: dict[str, Permission], problems: Problems
) -> None:
    name, namespace = element.get("name"), element.get("ns")
    value = _BOOLEAN.get(_token(element))
    if not name or namespace is None or value is None:
        problems.append(f"{_shown(element)} needs name, ns and a Boolean; it is not granted")
    elif value:
        _grant(granted, "provide-unknown-attribute", frozenset({(namespace, name)}))


def _set(
    element: etree._Element, names: tuple[str, ...], problems: Problems
) -> frozenset[tuple[str, ...]]:
    members: set[tuple[str, ...]] = set()
    for each in _elements(element):
        name = str(each.tag).removeprefix(_PR)
        if name not in names:
            problems.append(f"{_shown(each)} is not known, and not granted")
        elif name.startswith("all-"):
            members.add((name,))
        else:
            members.add((name, _token(each)))
    return frozenset(members)


_SUB_HANDLING = {str(each): each for each in SubHandling}
_USER_INPUT = {each.name.lower(): each for each in UserInput}
_BOOLEAN = {"true": True, "1": True, "false": False, "0": False}


def _elements(parent: etree._Element) -> Iterator[etree._Element]:
    """The children that are elements, and not comments."""
    return parent.iterchildren("*")


def _has_elements(parent: etree._Element) -> bool:
    return next(_elements(parent), None) is not None


def _token(element: etree._Element) -> str:
    """The text of an element as xs:token has it; of one with children in it, none."""
    return "" if len(element) else " ".join((element.text or "").split())


def _shown(element: etree._Element) -> str:
    name = etree.QName(element)
    known = name.namespace in (COMMON_POLICY, PRES_RULES)
    return shown(f"<{name.localname}>" if known else f"<{name.localname} xmlns={name.namespace}>")
