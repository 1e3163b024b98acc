"""Reading the configuration again while the server runs: which keys can change, and how they do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from attrs import evolve, fields

from msrpconf.config import Config, ConfigError
from msrpconf.services.management.parts import Reloaded, ReloadError

_SIP = frozenset({"sip.domains", "sip.trusted", "sip.contact", "sip.require"})
_SERVER = frozenset(
    {
        "focus.ack_timeout",
        "server.msrp_timeout",
        "server.grace",
        "server.session_expires",
        "server.chunk_timeout",
        "server.queue_octets",
        "server.congested_timeout",
        "server.max_rooms",
        "conference.*",
    }
)

LIVE = _SIP | _SERVER | {"focus.outbound_proxy", "presence.*"}
"""The keys whose new values hold without a restart, for who comes from then on."""

SERVER_LIVE = _SERVER | {"server.dispatchers"}
"""Those of a server apart."""

FOCUS_LIVE = _SIP | {"focus.outbound_proxy", "presence.*"}
"""Those of a focus apart."""

DISPATCHER_LIVE = frozenset({"dispatcher.servers", "dispatcher.focuses"})
"""Those of a dispatcher."""


class Reloading:
    """Reads the file of a process's configuration again, and has `apply` take what can change.

    `live` are the keys that can, `tables` those that are of any concern to the process, None for
    all of them.
    """

    def __init__(
        self,
        config: Config,
        apply: Callable[[Config], None],
        live: Collection[str] = LIVE,
        tables: Collection[str] | None = None,
    ) -> None:
        self.in_force = config
        """What holds now."""
        self._apply = apply
        self._live = live
        self._tables = tables

    def read(self) -> Reloaded:
        """Read it; which keys have changed. Raises `ReloadError`, and then none has."""
        old = self.in_force
        try:
            new = old.read_again()
        except ConfigError as error:
            raise ReloadError(str(error)) from None
        keys = [key for key in differences(old, new) if self._concerns(key)]
        changed = [key for key in keys if is_live(key, self._live)]
        self.in_force = with_keys(old, new, changed)
        self._apply(self.in_force)
        return Reloaded(tuple(changed), tuple(key for key in keys if key not in changed))

    def _concerns(self, key: str) -> bool:
        return self._tables is None or key.partition(".")[0] in self._tables


def differences(old: Config, new: Config) -> list[str]:
    """The keys whose values are not the same, as ``sip.trusted``."""
    found = []
    for table in fields(Config):
        before, after = getattr(old, table.name), getattr(new, table.name)
        if table.name in {"source", "written", "changes"} or before == after:
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


def is_live(key: str, live: Collection[str] = LIVE) -> bool:
    """Whether a key's new value holds without a restart."""
    return key in live or f"{key.partition('.')[0]}.*" in live


def with_keys(old: Config, new: Config, keys: Iterable[str]) -> Config:
    """The `old` configuration, but for these keys, which are as in the `new` one."""
    tables: dict[str, Any] = {}
    for key in keys:
        table, _, name = key.partition(".")
        before = tables.get(table, getattr(old, table))
        tables[table] = evolve(before, **{name: getattr(getattr(new, table), name)})
    return evolve(old, **tables)
