"""The configuration: a TOML file whose every key has a default.

A component runs if its table is in the file, and all of them run if none is. With no file at all
everything runs on loopback. What is wrong is said before any port opens, with the file, the
table, the key, what was found and what would be right::

    config = Config.load("msrpconf.toml")
    config.check()
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, fields, frozen
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from msrpconf import config_management, config_processes, config_xcap
from msrpconf.config_channel import ChannelConfig, ChannelKeys, DispatcherConfig
from msrpconf.config_conference import ConferenceConfig
from msrpconf.config_database import DatabaseConfig
from msrpconf.config_focus import FocusConfig
from msrpconf.config_management import ManagementConfig, read_token
from msrpconf.config_presence import PresenceConfig
from msrpconf.config_server import ServerConfig
from msrpconf.config_sip import SipConfig
from msrpconf.config_tls import TlsConfig, TlsFiles
from msrpconf.config_values import UnexpectedValue, found, instead
from msrpconf.config_xcap import XcapConfig
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.tls import Tls, TlsError
from msrpconf.protocols.tls_files import PemFiles
from msrpconf.storage.url import in_directory

__all__ = [
    "COMPONENTS",
    "ChannelConfig",
    "ConferenceConfig",
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "DispatcherConfig",
    "FocusConfig",
    "ManagementConfig",
    "PresenceConfig",
    "ServerConfig",
    "SipConfig",
    "TlsConfig",
    "XcapConfig",
]

#: The tables that start a component, and the component that each starts.
COMPONENTS = {
    "focus": "msrp-conference-focus",
    "server": "msrp-conference-server",
    "presence": "the presence agent",
    "management": "the management interface",
}

# A table that starts one, too, and is not among those that run where none is written.
_APART = frozenset({"dispatcher"})


class ConfigError(ValueError):
    """A configuration that cannot be used.

    The text has a line for each thing that is wrong: where it is, what was found, and what would
    be right.
    """


@frozen
class Config:
    """A whole configuration; `Config()` is the default.

    `source` is the file that it is from, for messages. `written` are the tables and keys that the
    file has, as "sip" and "sip.trusted". Two configurations are equal if their values are.
    """

    sip: SipConfig = field(factory=SipConfig)
    focus: FocusConfig = field(factory=FocusConfig)
    server: ServerConfig = field(factory=ServerConfig)
    conference: ConferenceConfig = field(factory=ConferenceConfig)
    tls: TlsConfig = field(factory=TlsConfig)
    database: DatabaseConfig = field(factory=DatabaseConfig)
    management: ManagementConfig = field(factory=ManagementConfig)
    presence: PresenceConfig = field(factory=PresenceConfig)
    dispatcher: DispatcherConfig = field(factory=DispatcherConfig)
    channel: ChannelConfig = field(factory=ChannelConfig)
    xcap: XcapConfig = field(factory=XcapConfig)
    source: str = field(default="the default configuration", eq=False)
    written: frozenset[str] = field(default=frozenset(), eq=False)
    changes: tuple[Callable[[Config], Config], ...] = field(default=(), eq=False)
    """What has become of the file's configuration since it was read: see `made`."""

    @classmethod
    def load(cls, path: str | Path | None) -> Config:
        """Read a file; None gives the default configuration.

        Raises ConfigError. `check` is still to be called.
        """
        if path is None:
            return cls()
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: must be UTF-8, as TOML is") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> Config:
        """Read the text of a file; `source` is its name. Raises ConfigError."""
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{source}: not TOML: {error}") from None
        errors: list[str] = []
        tables: dict[str, Any] = {}
        for name, table in document.items():
            if name not in _TABLES:
                errors.append(_unknown_table(name))
            elif not isinstance(table, dict):
                errors.append(f"{name}: expected a table, [{name}]; found {found(table)}")
            else:
                tables[name] = _structure(name, table, errors)
        if errors:
            raise ConfigError("\n".join(f"{source}: {error}" for error in errors))
        keys = (f"{name}.{key}" for name in tables for key in document[name])
        return cls(**tables, source=source, written=frozenset((*tables, *keys)))

    @property
    def from_file(self) -> bool:
        """Whether there is a file that can be read again."""
        return Path(self.source).is_absolute() or Path(self.source).is_file()

    @property
    def components(self) -> frozenset[str]:
        """The tables of the components to run: those that are written, all if none is."""
        return (_APART | frozenset(COMPONENTS)) & self.written or frozenset(COMPONENTS)

    def only(self, *components: str) -> Config:
        """The configuration for a process that runs these of the components that are written."""
        return self.made(lambda found: found._only(components))

    def _only(self, components: tuple[str, ...]) -> Config:
        kept = set(components)
        if "focus" in kept and self.focus.dispatcher is not None:
            # The dispatcher that this file may have a table for is a process by itself.
            kept.discard("dispatcher")
        others = (_APART | frozenset(COMPONENTS)) - kept
        return evolve(self, written=(self.written - others) | {components[0]})

    def made(self, change: Callable[[Config], Config]) -> Config:
        """What `change` makes of it, which is made of it again when the file is read again."""
        return evolve(change(self), changes=(*self.changes, change))

    def read_again(self) -> Config:
        """What the same file says now, for the same process; this, where there is no file.

        It is checked. Raises ConfigError.
        """
        if not self.from_file:
            return self
        found = type(self).load(self.source)
        for change in self.changes:
            found = found.made(change)
        found.check()
        return found

    def check(self) -> None:
        """Refuse what each key allows and all of them together do not.

        To be called before any port opens. Raises ConfigError.
        """
        errors = [
            *self._channel_keys().problems(),
            *self._check_sip(),
            *(self.server.problems(self.sip.listen) if "server" in self.components else ()),
            *self._check_tls(),
            *self._check_management(),
            *(f"[presence] {problem}" for problem in self.presence.problems),
            *self._check_xcap(),
            *config_processes.problems(self),
        ]
        if errors:
            raise ConfigError("\n".join(f"{self.source}: {error}" for error in errors))

    def _check_sip(self) -> Iterable[str]:
        if {"focus", "presence"} & self.components:
            yield from self.sip.problems(
                trusted_written="sip.trusted" in self.written,
                database="database" in self.written,
                certificate=self.tls.certificate is not None or self.tls.private_key is not None,
            )

    @property
    def database_url(self) -> str | None:
        """The URL of the database to use; None without the table."""
        if "database" not in self.written:
            return None
        return in_directory(self.database.url, Path(self.source).parent)

    @property
    def files_directory(self) -> str | None:
        """The directory of the rooms' files; None for a temporary one."""
        if self.server.files is None:
            return None
        return str(Path(self.source).parent / self.server.files)

    @property
    def management_token(self) -> str | None:
        """The token for the management interface, None for none; of a checked configuration."""
        management = self.management
        return read_token(Path(self.source).parent, management.token, management.token_file)

    def _check_management(self) -> Iterable[str]:
        if "management" not in self.components:
            return
        management = self.management
        for each in config_management.problems(
            Path(self.source).parent, management.listen, management.token, management.token_file
        ):
            yield f"[management] {each}"

    @property
    def xcap_token(self) -> str | None:
        """The operator's token for XCAP, None for none; of a checked configuration."""
        return read_token(Path(self.source).parent, self.xcap.token, self.xcap.token_file)

    def _check_xcap(self) -> Iterable[str]:
        if "xcap" in self.written:
            directory, tls = Path(self.source).parent, self.tls.certificate is not None
            database = "database" in self.written
            if "server" not in self.components:
                yield "[xcap]: it runs beside the server, whose rooms it is about; write [server]"
            yield from config_xcap.problems(self.xcap, directory, database=database, tls=tls)

    def load_tls(self) -> Tls | None:
        """What `[tls]` gives; None without the table, or where a file of it cannot be used."""
        files = self._tls_files()
        return None if files is None or files.problems else files.tls

    def load_sip_tls(self) -> SipTls:
        """The TLS of SIP, of a checked configuration; its files are read again when they change.

        Raises `TlsError` where they have changed meanwhile, and cannot be used.
        """
        directory = Path(self.source).parent
        tls = self.tls
        names = (tls.certificate, tls.private_key, tls.authorities)
        paths = (None if name is None else directory / name for name in names)
        return SipTls.of_files(PemFiles(*paths), required=self.sip.require_certificate)

    def _tls_files(self) -> TlsFiles | None:
        if "tls" not in self.written:
            return None
        tls = self.tls
        directory = Path(self.source).parent
        return TlsFiles(directory, tls.certificate, tls.private_key, tls.authorities)

    def _check_tls(self) -> Iterable[str]:
        files = self._tls_files()
        if files is not None:
            yield from (f"[tls] {problem}" for problem in files.problems)
        listens = next((each for each in self.server.listen if each.transport == "tls"), None)
        if listens is not None and self.tls.certificate is None and self.tls.private_key is None:
            yield (
                f'[server] listen: "{listens}" needs a certificate; write the table [tls] with '
                'certificate = "server.pem" and private_key = "server.key"'
            )
        if self.conference.tls_only and listens is None:
            yield (
                "[conference] tls_only: [server] listen has no address with TLS; add one, such as "
                'listen = ["tls:192.0.2.1:2856"]'
            )

    def load_channel_tls(self) -> ChannelTls | None:
        """The TLS of the links between servers and dispatchers; None where there is none.

        Of a checked configuration.
        """
        try:
            return self._channel_keys().tls()
        except TlsError:
            return None

    def _channel_keys(self) -> ChannelKeys:
        ours = "channel" in self.written and "tls" not in self.written
        ours = ours or self.channel.has_files
        files = self.channel if ours else self.tls
        server, dispatcher = "server" in self.components, "dispatcher" in self.components
        return ChannelKeys(
            components=self.components,
            control=self.server.control if server else None,
            dispatchers=self.server.dispatchers,
            servers=self.dispatcher.servers if dispatcher else (),
            listen=self.dispatcher.listen if dispatcher else None,
            focuses=self.dispatcher.focuses,
            dispatcher=self.focus.dispatcher if "focus" in self.components else None,
            table="channel" if ours else "tls",
            files=(files.certificate, files.private_key, files.authorities),
            directory=Path(self.source).parent,
        )


_TABLES: Mapping[str, type] = {
    "sip": SipConfig,
    "focus": FocusConfig,
    "server": ServerConfig,
    "conference": ConferenceConfig,
    "database": DatabaseConfig,
    "tls": TlsConfig,
    "management": ManagementConfig,
    "presence": PresenceConfig,
    "dispatcher": DispatcherConfig,
    "channel": ChannelConfig,
    "xcap": XcapConfig,
}


def _converter() -> Converter:
    """Structures each table by the readers of its keys, and refuses keys that it has not."""
    converter = Converter()
    for table in _TABLES.values():
        readers: dict[str, Any] = {
            attribute.name: override(struct_hook=_hook(attribute.metadata["read"]))
            for attribute in fields(table)
        }
        hook: Callable[[Mapping[str, Any], Any], Any]
        hook = make_dict_structure_fn(table, converter, _cattrs_forbid_extra_keys=True, **readers)
        converter.register_structure_hook(table, hook)
    return converter


def _hook(read: Callable[[object], object]) -> Callable[[object, object], object]:
    return lambda value, _: read(value)


_CONVERTER = _converter()


def _structure(name: str, table: Mapping[str, object], errors: list[str]) -> object:
    """Read one table; what is wrong with it is added to `errors`."""
    try:
        return _CONVERTER.structure(table, _TABLES[name])
    except ClassValidationError as group:
        wrong, others = group.group_exceptions()
        for error, note in wrong:
            if not isinstance(error, UnexpectedValue):
                raise
            errors.append(
                f"[{name}] {note.name}: expected {error.expected}; found {found(error.found)}"
            )
        for other in others:
            if not isinstance(other, ForbiddenExtraKeysError):
                raise
            keys = [attribute.name for attribute in fields(_TABLES[name])]
            for key in sorted(other.extra_fields):
                errors.append(f"[{name}] {key}: unknown key{instead(key, keys, 'keys')}")
    return None


def _unknown_table(name: str) -> str:
    tables = [f"[{table}]" for table in _TABLES]
    return f"[{name}]: unknown table{instead(f'[{name}]', tables, 'tables')}"
