"""Reading the configuration again while the server runs: which keys can change, and how they do."""

from __future__ import annotations

from typing import Any

from attrs import evolve, fields

from msrpconf.config import Config

LIVE = frozenset(
    {
        "sip.domains",
        "sip.trusted",
        "sip.contact",
        "sip.require",
        "focus.ack_timeout",
        "focus.outbound_proxy",
        "server.msrp_timeout",
        "server.grace",
        "server.session_expires",
        "server.chunk_timeout",
        "server.queue_octets",
        "server.congested_timeout",
        "server.max_rooms",
        "conference.*",
        "presence.*",
    }
)
"""The keys whose new values hold without a restart, for who comes from then on."""


def differences(old: Config, new: Config) -> list[str]:
    """The keys whose values are not the same, as ``sip.trusted``."""
    found = []
    for table in fields(Config):
        before, after = getattr(old, table.name), getattr(new, table.name)
        if table.name in {"source", "written"} or before == after:
            continue
        for key in fields(type(before)):
            if getattr(before, key.name) != getattr(after, key.name):
                found.append(f"{table.name}.{key.name}")
    for name in sorted(old.components ^ new.components):
        found.append(name)
    if ("database" in old.written) != ("database" in new.written):
        found.append("database")
    if ("tls" in old.written) != ("tls" in new.written):
        found.append("tls")
    if ("xcap" in old.written) != ("xcap" in new.written):
        found.append("xcap")
    return found


def is_live(key: str) -> bool:
    """Whether a key's new value holds without a restart."""
    return key in LIVE or f"{key.partition('.')[0]}.*" in LIVE


def with_live_keys(old: Config, new: Config) -> Config:
    """What holds now: of the `new` configuration what can, of the `old` the rest."""
    tables: dict[str, Any] = {}
    for key in filter(is_live, differences(old, new)):
        table, _, name = key.partition(".")
        before = tables.get(table, getattr(old, table))
        tables[table] = evolve(before, **{name: getattr(getattr(new, table), name)})
    return evolve(old, **tables)
