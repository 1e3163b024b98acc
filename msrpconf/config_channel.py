"""`[dispatcher]` and `[channel]`, and what goes together in servers and dispatchers apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.config_values import UnexpectedValue
from msrpconf.protocols.channel_address import ChannelAddress, ChannelService
from msrpconf.protocols.channel_link import LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import is_numeric, unbracket
from msrpconf.protocols.sip.grammar import parse_host
from msrpconf.protocols.tls import TlsError
from msrpconf.protocols.tls_files import PemFiles

KEYS = ("certificate", "private_key", "authorities")


def address(value: object) -> ChannelAddress:
    """Where the other end of a link listens."""
    if isinstance(value, str):
        try:
            return ChannelAddress.parse(value)
        except ValueError:
            pass
    expected = 'an address such as "tls:10.0.0.5:4570" or "unix:/run/msrpconf/server.sock"'
    raise UnexpectedValue(expected, value)


def server(value: object) -> ChannelAddress | ChannelService:
    """Where a server is, or a service whose SRV records say where servers are."""
    if isinstance(value, str) and value.startswith("srv:"):
        try:
            return ChannelService.parse(value)
        except ValueError:
            pass
    try:
        return address(value)
    except UnexpectedValue as error:
        more = f'{error.expected}, or "srv:_msrpconf._tls.example.com"'
        raise UnexpectedValue(more, value) from None


def control(value: object) -> ChannelAddress:
    """Where we listen for links: an address is numeric."""
    found = address(value)
    if found.path is None and not is_numeric(found.host):
        expected = 'an address of this host with its port, such as "tls:10.0.0.5:4570"'
        raise UnexpectedValue(expected, value)
    return found


def peer_name(value: object) -> str:
    """What the end that connects is called, as its certificate says: a host's name or address."""
    if isinstance(value, str) and 0 < len(value) <= 255:
        try:
            return unbracket(parse_host(value)).lower()
        except SipSyntaxError:
            pass
    raise UnexpectedValue('names of hosts such as "focus-1.example.com"', value)


def ending(value: object) -> str:
    """What becomes of rooms whose server ends."""
    if value not in ("end", "move"):
        raise UnexpectedValue('"end" or "move"', value)
    return str(value)


@frozen
class DispatcherConfig:
    """`[dispatcher]`: which servers there are.

    - `name`: what this dispatcher is called, as its certificate says.
    - `servers`: where the servers are, or services that DNS knows; none for that of this process.
    - `grace`: seconds that a server may be away before it is given up.
    - `on_server_loss`: whether those in its rooms are told that these end, or move to others.
    - `listen`: where focuses connect, None for that of this process.
    - `focuses`: the names that the certificates of focuses may be for.
    """

    name: str = key("dispatcher", peer_name)
    servers: tuple[ChannelAddress | ChannelService, ...] = key(
        (), values.list_of(server, "addresses of servers", empty=True)
    )
    grace: float = key(5.0, values.seconds)
    on_server_loss: str = key("end", ending)
    listen: ChannelAddress | None = key(None, control)  # noqa: RUF009
    focuses: tuple[str, ...] = key((), values.list_of(peer_name, "names of focuses", empty=True))


@frozen
class ChannelConfig:
    """`[channel]`: the links between servers, dispatchers and focuses.

    - `certificate`, `private_key`, `authorities`: PEM files as in `[tls]`, which counts where
      none of them is written.
    - `silence`: seconds that the other end may say nothing before a link is given up.
    """

    certificate: str | None = key(None, values.file)
    private_key: str | None = key(None, values.file)
    authorities: str | None = key(None, values.file)
    silence: float = key(15.0, values.seconds)

    @property
    def has_files(self) -> bool:
        """Whether one of the files is written."""
        return any(getattr(self, each) is not None for each in KEYS)

    @property
    def link_settings(self) -> LinkSettings:
        """The times of links: there are three PINGs before one is given up."""
        return LinkSettings(ping=self.silence / 3, silence=self.silence)


@frozen
class ChannelKeys:
    """What a configuration says of the channel; `files` are those of `[channel]`, else `[tls]`.

    `control` and `dispatchers` are those of `[server]`, `servers`, `listen` and `focuses` those of
    `[dispatcher]`, `dispatcher` is that of `[focus]`.
    """

    components: frozenset[str]
    control: ChannelAddress | None
    dispatchers: tuple[str, ...]
    servers: tuple[ChannelAddress | ChannelService, ...]
    listen: ChannelAddress | None
    focuses: tuple[str, ...]
    dispatcher: ChannelAddress | None
    table: str
    files: tuple[str | None, ...]
    directory: Path

    @property
    def needs_tls(self) -> bool:
        """Whether there is a link by TLS."""
        links = (self.control, self.listen, self.dispatcher, *self.servers)
        return any(
            isinstance(each, ChannelService) or (each is not None and each.path is None)
            for each in links
        )

    def tls(self) -> ChannelTls | None:
        """The TLS of the links; None where there is none. Raises `TlsError`."""
        if not self.needs_tls:
            return None
        missing = [key for key, name in zip(KEYS, self.files, strict=True) if name is None]
        if missing:
            raise TlsError(
                f"{missing[0]}: missing; links by TLS need {', '.join(KEYS)}, in [channel] or"
                " [tls]; msrpconf pki makes them"
            )
        paths = [self.directory / (name or "") for name in self.files]
        return ChannelTls(PemFiles(*paths))

    def problems(self) -> Iterable[str]:
        """What does not go together, each with its table and key."""
        yield from self._component_problems()
        if self.control is not None and self.control.path is None and not self.dispatchers:
            yield (
                "[server] dispatchers: missing; write the names in the certificates of the"
                ' dispatchers that may connect, such as dispatchers = ["focus-1.example.com"]'
            )
        if self.listen is not None and self.listen.path is None and not self.focuses:
            yield (
                "[dispatcher] focuses: missing; write the names in the certificates of the focuses"
                ' that may connect, such as focuses = ["focus-1.example.com"]'
            )
        try:
            self.tls()
        except TlsError as error:
            yield f"[{self.table}] {error}"

    def _component_problems(self) -> Iterable[str]:
        focus, server = "focus" in self.components, "server" in self.components
        if self.components == {"presence"}:
            return
        if not (focus or server):
            yield from self._dispatcher_problems()
        elif focus and self.dispatcher is not None:
            yield from self._linked_focus_problems()
        elif server and not focus and self.control is None:
            yield (
                "[server] alone runs no msrp-conference-focus, and none can reach it; write where"
                ' dispatchers connect, control = "tls:10.0.0.5:4570", or an empty table [focus]'
            )
        elif focus and not server and not self.servers:
            yield (
                "[focus] alone runs no msrp-conference-server; write where there are some,"
                ' [dispatcher] servers = ["tls:10.0.0.5:4570"], or an empty table [server]'
            )
        elif focus and self.listen is not None:
            yield (
                "[dispatcher] listen: focus and dispatcher of one process need no link; run them"
                " apart with twistd msrpconf-focus and twistd msrpconf-dispatcher, or leave it out"
            )
        elif focus and server and (self.control is not None or self.servers):
            key = "[dispatcher] servers" if self.servers else "[server] control"
            yield (
                f"{key}: focus and server of one process need no link; run them apart with"
                " twistd msrpconf-focus and twistd msrpconf-server, or leave the key out"
            )
        if server and not focus and "presence" in self.components:
            yield (
                "[presence] needs the SIP endpoint of a focus, or one of its own; leave it out,"
                " or run it apart with twistd msrpconf-presence"
            )

    def _dispatcher_problems(self) -> Iterable[str]:
        """Of a process without focus and server."""
        if "dispatcher" not in self.components or self.listen is None:
            names = " and ".join(f"[{name}]" for name in sorted(self.components))
            way_out = "write"
            if "dispatcher" in self.components:
                way_out = 'write where focuses connect, listen = "unix:/run/dispatcher.sock", or'
            yield (
                f"{names} alone runs neither focus nor server; {way_out} an empty table [focus] or"
                " [server] too, or none of them"
            )
        elif not self.servers:
            yield (
                "[dispatcher] servers: missing; write where the servers are, such as"
                ' servers = ["tls:10.0.0.5:4570"]'
            )

    def _linked_focus_problems(self) -> Iterable[str]:
        """Of a focus whose dispatcher is a process by itself."""
        others = self.components & {"server", "dispatcher"}
        if others:
            names = " and ".join(sorted(others))
            yield (
                f"[focus] dispatcher: focus and {names} of one process need no link; run them apart"
                " with twistd msrpconf-focus and the others, or leave the key out"
            )
