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
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, field, fields, frozen
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from msrpconf import config_channel, config_management, config_xcap
from msrpconf import config_values as values
from msrpconf.conference.roles import Role
from msrpconf.conference.settings import RESERVED_NICKNAMES, RoomSettings
from msrpconf.config_channel import ChannelConfig, ChannelKeys, DispatcherConfig
from msrpconf.config_management import read_token
from msrpconf.config_presence import PresenceConfig
from msrpconf.config_tls import TlsFiles
from msrpconf.config_values import Network, UnexpectedValue, found, instead
from msrpconf.listen import ListenAddress
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.protocols.tls import Tls, TlsError
from msrpconf.storage.url import in_directory

T = TypeVar("T")

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


def _key(default: T, read: Callable[[object], T]) -> T:
    """A key of a table: its default, and what reads its value."""
    return field(default=default, metadata={"read": read})


@frozen
class SipConfig:
    """`[sip]`: the SIP endpoint of the focus.

    - `listen`: addresses to listen at, numeric.
    - `domains`: the conference domains served, in lower case; ("*",) for all.
    - `trusted`: the networks of the proxies whose word is taken for who a user is.
    - `authenticate`: whether others are asked for a password; else they are refused.
    - `realm`: the domain of the users who have one.
    - `contact`: which URI our Contact has: the conference's, our address's, or "auto".
    - `address`: the host to advertise in Via and Contact, None for the one listened at.
    - `require`: the option tags that every INVITE must support.
    - `max_transactions`: server transactions at one time.
    """

    listen: tuple[Address, ...] = _key(
        (Address("udp", "127.0.0.1", 5060), Address("tcp", "127.0.0.1", 5060)),
        values.list_of(values.address("udp", "tcp"), "addresses to listen at", empty=False),
    )
    domains: tuple[str, ...] = _key(("*",), values.domains)
    trusted: tuple[Network, ...] = _key(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        values.list_of(values.network, "networks", empty=True),
    )
    authenticate: bool = _key(False, values.boolean)
    realm: str | None = _key(None, values.domain)
    contact: str = _key("auto", values.contact)
    address: str | None = _key(None, values.host)
    require: tuple[str, ...] = _key(
        (), values.list_of(values.option_tag, "option tags", empty=True)
    )
    max_transactions: int = _key(100_000, values.count)


@frozen
class FocusConfig:
    """`[focus]`: the user agent of the rooms.

    - `ack_timeout`: seconds that an answered INVITE may wait for its ACK.
    - `outbound_proxy`: the proxy that invitations are sent by, None for the invitee's own host.
    - `presence`: the presence agent elsewhere that is told of the rooms, None for none.
    - `publish_expires`: seconds for which what it was told holds, unless it is told again.
    """

    ack_timeout: float = _key(5.0, values.seconds)
    outbound_proxy: SipURI | None = _key(None, values.proxy)  # noqa: RUF009
    presence: SipURI | None = _key(None, values.proxy)  # noqa: RUF009
    publish_expires: int = _key(600, values.count)


@frozen
class ServerConfig:
    """`[server]`: the MSRP switch.

    - `name`: what names this server in the tags of its dialogs.
    - `listen`: addresses to listen at for MSRP, numeric.
    - `address`: the host to advertise in `a=path`, None for the one listened at.
    - `control`: where dispatchers connect, None where the focus is in this process.
    - `dispatchers`: the names that the certificates of dispatchers may be for.
    - `keepalive`: seconds after which an idle connection is asked whether it still is; 0: never.
    - `keepalive_timeout`: seconds that such a connection may not answer.
    - `msrp_timeout`: seconds that who has joined may be without an MSRP connection.
    - `session_expires`: seconds that a dialog is good for which nobody refreshes; 0: for ever.
    - `grace`: seconds that a broken MSRP connection may stay away.
    - `chunk_timeout`: seconds that a message may wait for its next chunk.
    - `queue_octets`: octets that may wait to be sent to one participant.
    - `congested_timeout`: seconds that a participant may be congested before it is sent out.
    - `max_rooms`: rooms at one time.
    - `files`: the directory of the rooms' files, relative to that of the configuration file; None
      for a temporary one.
    - `spool_octets`: octets on disk for what slow readers of long messages have not read.
    - `max_files_octets`: octets of the files of all rooms together.
    """

    name: str = _key("local", values.server_name)
    listen: tuple[Address, ...] = _key(
        (Address("tcp", "127.0.0.1", 2855),),
        values.list_of(values.address("tcp", "tls"), "addresses to listen at", empty=False),
    )
    address: str | None = _key(None, values.host)
    control: ChannelAddress | None = _key(None, config_channel.control)  # noqa: RUF009
    dispatchers: tuple[str, ...] = _key(
        (), values.list_of(config_channel.peer_name, "names of dispatchers", empty=True)
    )
    keepalive: float = _key(60.0, values.seconds_or_never)
    keepalive_timeout: float = _key(30.0, values.seconds)
    msrp_timeout: float = _key(15.0, values.seconds)
    session_expires: float = _key(1800.0, values.session_expires)
    grace: float = _key(15.0, values.seconds)
    chunk_timeout: float = _key(540.0, values.seconds)
    queue_octets: int = _key(1_048_576, values.count)
    congested_timeout: float = _key(120.0, values.seconds)
    max_rooms: int = _key(10_000, values.count)
    files: str | None = _key(None, values.directory)
    spool_octets: int = _key(1_073_741_824, values.count_or_none)
    max_files_octets: int = _key(10_737_418_240, values.count)

    @property
    def advertised_host(self) -> str:
        """The host for `a=path`, IPv6 without brackets."""
        return self.listen[0].host if self.address is None else self.address


@frozen
class TlsConfig:
    """`[tls]`: PEM files, relative to the directory of the configuration file.

    - `certificate`: ours, and after it those of who signed it, if clients may not have them.
    - `private_key`: that of our certificate, without a passphrase.
    - `authorities`: who may sign the certificates of others; None for whom the system trusts.
    """

    certificate: str | None = _key(None, values.file)
    private_key: str | None = _key(None, values.file)
    authorities: str | None = _key(None, values.file)


@frozen
class ConferenceConfig:
    """`[conference]`: what holds for rooms that nobody has configured.

    - `ad_hoc`: whether a room comes into being with its first participant.

    The others are those of `RoomSettings`, and mean what is said there.
    """

    ad_hoc: bool = _key(True, values.boolean)
    max_participants: int = _key(1000, values.count)
    plain_text: bool = _key(True, values.boolean)
    tls_only: bool = _key(False, values.boolean)
    types: tuple[str, ...] = _key(
        ("*",), values.list_of(values.media_type, "media types", empty=False)
    )
    max_message_octets: int = _key(104_857_600, values.count)
    private_messages: bool = _key(True, values.boolean)
    private_copies: bool = _key(True, values.boolean)
    nicknames: bool = _key(True, values.boolean)
    reserved_nicknames: tuple[str, ...] = _key(
        RESERVED_NICKNAMES, values.list_of(values.nickname, "nicknames", empty=True)
    )
    quarantine: float = _key(300.0, values.seconds)
    history_messages: int = _key(0, values.count_or_none)
    history_age: float = _key(86400.0, values.seconds)
    notices: bool = _key(True, values.boolean)
    notices_up_to: int = _key(50, values.count)
    rate: float = _key(20.0, values.rate)
    burst: int = _key(100, values.count)
    close_on_flood: bool = _key(False, values.boolean)
    ad_hoc_owner: bool = _key(True, values.boolean)
    may_invite: Role = _key(Role.PARTICIPANT, values.role)  # noqa: RUF009
    may_change_subject: Role = _key(Role.MODERATOR, values.role)  # noqa: RUF009
    may_see_others: Role = _key(Role.VISITOR, values.role)  # noqa: RUF009
    host: str = _key("", values.line)
    host_page: str = _key("", values.page)
    files: bool = _key(True, values.boolean)
    max_file_octets: int = _key(104_857_600, values.count)
    max_files: int = _key(100, values.count)
    max_files_octets: int = _key(1_073_741_824, values.count)
    max_invitations: int = _key(100, values.count)

    @property
    def room(self) -> RoomSettings:
        """The settings of a room that nobody has configured."""
        values = {each.name: getattr(self, each.name) for each in fields(RoomSettings)}
        return RoomSettings(**values)


@frozen
class DatabaseConfig:
    """`[database]`: where static rooms are kept; without the table there are none.

    - `url`: of SQLite, PostgreSQL or MySQL. A file of SQLite is relative to the configuration's.
    - `refresh`: seconds until a change by another process takes effect.
    """

    # Not shown: it may have a password.
    url: str = field(
        default="sqlite:///msrpconf.sqlite", repr=False, metadata={"read": values.database_url}
    )
    refresh: float = _key(5.0, values.seconds)


_MANAGEMENT = ListenAddress("127.0.0.1", 8080)


@frozen
class ManagementConfig:
    """`[management]`: the HTTP interface for operators, programs and Prometheus.

    - `listen`: where; an address is numeric.
    - `token`: what whoever asks must have; needed where other hosts can ask.
    - `token_file`: a file with it, relative to the configuration's.
    """

    listen: ListenAddress = _key(_MANAGEMENT, values.management_address)  # noqa: RUF009
    token: str | None = field(default=None, repr=False, metadata={"read": values.token})
    token_file: str | None = _key(None, values.file)


@frozen
class XcapConfig:
    """`[xcap]`: the XCAP server, which runs where the table is written.

    - `listen`: addresses to listen at, numeric.
    - `users`: the passwords of the users who may ask, by their canonical URIs.
    - `token`, `token_file`: what the operator has instead, as of `[management]`.
    """

    listen: tuple[Address, ...] = _key(
        (Address("tcp", "127.0.0.1", 8090),),
        values.list_of(values.address("tcp", "tls"), "addresses to listen at", empty=False),
    )
    users: dict[str, str] = field(factory=dict, repr=False, metadata={"read": values.passwords})
    token: str | None = field(default=None, repr=False, metadata={"read": values.token})
    token_file: str | None = _key(None, values.file)


@frozen
class Config:
    """A whole configuration; `Config()` is the default.

    `source` is the file that it is from, for messages. `written` are the tables and keys that the
    file has, as "sip" and "sip.trusted". Two configurations are equal if their values are.
    """

    sip: SipConfig = SipConfig()
    focus: FocusConfig = FocusConfig()
    server: ServerConfig = ServerConfig()
    conference: ConferenceConfig = ConferenceConfig()
    tls: TlsConfig = TlsConfig()
    database: DatabaseConfig = DatabaseConfig()
    management: ManagementConfig = ManagementConfig()
    presence: PresenceConfig = PresenceConfig()  # noqa: RUF009
    dispatcher: DispatcherConfig = DispatcherConfig()  # noqa: RUF009
    channel: ChannelConfig = ChannelConfig()  # noqa: RUF009
    xcap: XcapConfig = field(factory=XcapConfig)
    source: str = field(default="the default configuration", eq=False)
    written: frozenset[str] = field(default=frozenset(), eq=False)

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
        others = (_APART | frozenset(COMPONENTS)) - set(components)
        return evolve(self, written=(self.written - others) | {components[0]})

    def check(self) -> None:
        """Refuse what each key allows and all of them together do not.

        To be called before any port opens. Raises ConfigError.
        """
        errors = [
            *self._channel_keys().problems(),
            *(self._check_trust() if "focus" in self.components else ()),
            *(self._check_server_address() if "server" in self.components else ()),
            *self._check_tls(),
            *self._check_management(),
            *(f"[presence] {problem}" for problem in self.presence.problems),
            *self._check_xcap(),
        ]
        if errors:
            raise ConfigError("\n".join(f"{self.source}: {error}" for error in errors))

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
        table = "channel" if "channel" in self.written else "tls"
        files = self.channel if table == "channel" else self.tls
        server = "server" in self.components
        return ChannelKeys(
            components=self.components,
            control=self.server.control if server else None,
            dispatchers=self.server.dispatchers,
            servers=self.dispatcher.servers if "dispatcher" in self.components else (),
            table=table,
            files=(files.certificate, files.private_key, files.authorities),
            directory=Path(self.source).parent,
        )

    def _check_trust(self) -> Iterable[str]:
        sip = self.sip
        if sip.authenticate:
            if sip.realm is None:
                yield (
                    "[sip] authenticate: there is no realm; write the domain of the users, such"
                    ' as realm = "example.com" for sip:alice@example.com'
                )
            if "database" not in self.written:
                yield (
                    "[sip] authenticate: there is no table of users; write the table [database],"
                    " and add them with: msrpconf user add alice@example.com"
                )
            return
        if not sip.trusted:
            yield (
                "[sip] trusted: nobody is, so every request would be refused; write the addresses"
                " of your SIP proxies, or authenticate = true to ask for passwords"
            )
        if "sip.trusted" in self.written:
            return
        for address in sip.listen:
            if not _is_loopback(address):
                yield (
                    f'[sip] listen: "{address}" is open to other hosts, and [sip] trusted does '
                    "not say which of them are believed; write the addresses of your SIP proxies, "
                    'such as trusted = ["127.0.0.0/8", "::1/128", "192.0.2.10"], or authenticate = '
                    "true to ask users for their passwords"
                )
                return

    def _check_server_address(self) -> Iterable[str]:
        if self.server.address is not None:
            return
        for address in self.server.listen:
            if values.is_wildcard(address.host):
                yield (
                    f'[server] listen: "{address}" is every address of this host, and [server] '
                    "address does not say which one clients are to connect to; write it, such as "
                    'address = "chat.example.com"'
                )
                return
        told, *_ = self.server.listen
        if _is_loopback(told) and not all(map(_is_loopback, self.sip.listen)):
            yield (
                f'[server] listen: clients are told to connect to the first address, "{told}", '
                "which leads nowhere on other hosts, and [sip] listen is open to those; write an "
                'address that they can reach, or say it in address = "chat.example.com"'
            )


def _is_loopback(address: Address) -> bool:
    return ip_address(address.host).is_loopback


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
