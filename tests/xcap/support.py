"""Documents of rules for tests."""

from __future__ import annotations

from typing import Any

from msrpconf.xcap.rules import Watcher
from msrpconf.xcap.ruleset import parse_ruleset

NOW = 1072282500.0
"""2003-12-24T17:15:00+01:00, at which RFC 4745 §10.3 asks."""

HEAD = (
    '<cr:ruleset xmlns="urn:ietf:params:xml:ns:common-policy"'
    ' xmlns:pr="urn:ietf:params:xml:ns:pres-rules"'
    ' xmlns:cr="urn:ietf:params:xml:ns:common-policy">'
)


def validity(start: str, end: str) -> str:
    """A condition of one period."""
    return f"<validity><from>{start}</from><until>{end}</until></validity>"


def document(*rules: str) -> bytes:
    """A document of whole rules."""
    return f"{HEAD}{''.join(rules)}</cr:ruleset>".encode()


def rule(conditions: str | None, handling: str = "allow", name: str = "a") -> str:
    """A rule with what is in <conditions>, None for no such element."""
    part = "" if conditions is None else f"<conditions>{conditions}</conditions>"
    action = f"<pr:sub-handling>{handling}</pr:sub-handling>"
    return f'<rule id="{name}">{part}<actions>{action}</actions></rule>'


def watcher(*keys: str, **others: Any) -> Watcher:
    """Who asks at `NOW`."""
    return Watcher(keys, others.pop("now", NOW), **others)


def applies(conditions: str | None, who: Watcher) -> bool:
    """Whether a rule with these conditions applies to a watcher."""
    (found,) = parse_ruleset(document(rule(conditions))).rules
    return found.applies(who)
