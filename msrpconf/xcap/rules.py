"""Rules of who may see what (RFC 4745), and what they grant to watchers (RFC 5025).

A ruleset is a set of rules. Those whose conditions all hold for a watcher are combined: each
permission by itself, to the most that one of them grants. What no rule grants is not granted,
and a condition that we do not know does not hold, so that a document which we understand in part
shows less than it says and never more.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

from attrs import field, frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import SipURI, parse_uri


class SubHandling(enum.IntEnum):
    """What becomes of a subscription (RFC 5025 §3.2.1); what allows more is greater."""

    BLOCK = 0
    """Refused, or ended as rejected."""
    CONFIRM = 10
    """Pending, until somebody decides."""
    POLITE_BLOCK = 20
    """Active, and told that there is nothing to be seen."""
    ALLOW = 30
    """Active."""

    def __str__(self) -> str:
        """As documents write it: ``polite-block``."""
        return self.name.lower().replace("_", "-")


class UserInput(enum.IntEnum):
    """What is shown of <user-input> (RFC 5025 §3.3.2.12)."""

    FALSE = 0
    BARE = 10
    THRESHOLDS = 20
    FULL = 30


Permission = bool | int | frozenset[tuple[str, ...]]
"""The value of a permission, by the type of which it is combined: Boolean, Integer or Set."""

Permissions = Mapping[str, Permission]
"""What is granted, by the name of the element: ``sub-handling``; what is absent is not."""


@frozen
class Watcher:
    """Who asks, when (seconds of the epoch), and the sphere of who is watched, None for none.

    `keys` are the canonical forms of the authenticated URIs; none for who is anonymous.
    """

    keys: tuple[str, ...]
    now: float
    sphere: str | None = None
    domains: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        found = (domain_of(key) for key in self.keys)
        object.__setattr__(self, "domains", frozenset(each for each in found if each))


@frozen
class One:
    """<one>: this user (RFC 4745 §7.1.2). `key` is the canonical URI."""

    key: str

    def matches(self, watcher: Watcher) -> bool:
        """Whether it is one of the watcher's URIs (RFC 5025 §3.1.1.2)."""
        return self.key in watcher.keys


@frozen
class Many:
    """<many>: every authenticated user, or those of a domain, with exceptions (RFC 4745 §7.1.3).

    A watcher with several URIs is excepted if any of them is.
    """

    domain: str | None = None
    except_keys: frozenset[str] = frozenset()
    except_domains: frozenset[str] = frozenset()

    def matches(self, watcher: Watcher) -> bool:
        """Whether the watcher is one of them."""
        if not watcher.keys or (self.domain is not None and self.domain not in watcher.domains):
            return False
        return self.except_keys.isdisjoint(watcher.keys) and self.except_domains.isdisjoint(
            watcher.domains
        )


@frozen
class IdentityCondition:
    """<identity>: the watcher is one of these (RFC 4745 §7.1.1).

    An empty one, which the schema forbids, is nobody: who is anonymous is matched by rules
    that have no such condition.
    """

    members: tuple[One | Many, ...]

    def holds(self, watcher: Watcher) -> bool:
        """Whether the watcher is one of them."""
        return any(each.matches(watcher) for each in self.members)


@frozen
class SphereCondition:
    """<sphere>: who is watched is in one of these states, in lower case (RFC 4745 §7.3)."""

    values: frozenset[str]

    def holds(self, watcher: Watcher) -> bool:
        """Whether it is. Where the sphere is undefined, it is not."""
        return watcher.sphere is not None and watcher.sphere.lower() in self.values


@frozen
class ValidityCondition:
    """<validity>: now is in one of these periods, in seconds of the epoch (RFC 4745 §7.4)."""

    periods: tuple[tuple[float, float], ...]

    def holds(self, watcher: Watcher) -> bool:
        """Whether now is in one: its beginning belongs to it, its end does not."""
        return any(start <= watcher.now < end for start, end in self.periods)


@frozen
class UnknownCondition:
    """A condition that we do not know, or cannot read: it never holds (RFC 4745 §7)."""

    name: str

    def holds(self, watcher: Watcher) -> bool:
        """Never."""
        return False


Condition = IdentityCondition | SphereCondition | ValidityCondition | UnknownCondition


@frozen
class Rule:
    """What is granted to whom all conditions hold for: to all, if there are none."""

    id: str
    conditions: tuple[Condition, ...] = ()
    permissions: Permissions = field(factory=dict)

    def applies(self, watcher: Watcher) -> bool:
        """Whether all conditions hold (RFC 4745 §10.1)."""
        return all(each.holds(watcher) for each in self.conditions)


def permissions(rules: Iterable[Rule], watcher: Watcher) -> dict[str, Permission]:
    """What rules grant to a watcher together."""
    return combine([rule.permissions for rule in rules if rule.applies(watcher)])


def combine(granted: Sequence[Permissions]) -> dict[str, Permission]:
    """The union of permissions: TRUE, the greatest number, all of the sets (RFC 4745 §10.2)."""
    result: dict[str, Permission] = {}
    for each in granted:
        for name, value in each.items():
            known = result.get(name)
            if known is None:
                result[name] = value
            elif isinstance(known, frozenset) and isinstance(value, frozenset):
                result[name] = known | value
            elif not isinstance(known, frozenset) and not isinstance(value, frozenset):
                result[name] = max(known, value)
    return result


def sub_handling(rules: Iterable[Rule], watcher: Watcher) -> SubHandling:
    """What becomes of a watcher's subscription; by default it is blocked."""
    value = permissions(rules, watcher).get("sub-handling", SubHandling.BLOCK)
    return value if isinstance(value, SubHandling) else SubHandling.BLOCK


def next_change(rules: Iterable[Rule], now: float) -> float | None:
    """When next some rule begins to hold, or ends to, in seconds of the epoch; None for never."""
    times = (
        time
        for rule in rules
        for condition in rule.conditions
        if isinstance(condition, ValidityCondition)
        for period in condition.periods
        for time in period
    )
    return min((time for time in times if time > now), default=None)


def canonical_id(text: str) -> str | None:
    """The URI of an 'id' as it is compared, None for none."""
    try:
        return parse_uri(text.strip()).key
    except SipSyntaxError:
        return None


def canonical_domain(text: str) -> str | None:
    """A domain as it is compared: in the form of the DNS (RFC 4745 §7.1.3); None for none."""
    try:
        name = unquote(text.strip(), errors="strict").rstrip(".")
        return name.encode("idna").decode("ascii").lower() or None
    except UnicodeError:
        return None


@lru_cache(maxsize=4096)  # asked for each watcher, at each document
def domain_of(key: str) -> str | None:
    """The domain of a user by the canonical URI; a telephone number has none."""
    try:
        uri = parse_uri(key)
    except SipSyntaxError:
        return None
    if isinstance(uri, SipURI):
        return canonical_domain(uri.host)
    if uri.scheme in ("im", "pres", "mailto", "xmpp"):
        _, at, host = key.partition("?")[0].rpartition("@")
        return canonical_domain(host) if at else None
    return None
