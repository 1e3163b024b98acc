"""What the commands that enter a room share: their options, and getting in."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import field, frozen
from cryptography import x509
from twisted.internet.defer import Deferred, TimeoutError, inlineCallbacks

from msrpconf.client import Chat, JoinError, UserAgent, Watch, WatchError
from msrpconf.client.invited import OnInvited
from msrpconf.client.registration import RegisterError
from msrpconf.client.sip_end import proxy_uri
from msrpconf.client.watchers import OnWatchers, WatchersWatch
from msrpconf.client.watching import OnEvents
from msrpconf.programs import program
from msrpconf.protocols.sip.dns import NameServers
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, is_ipv6, unbracket
from msrpconf.protocols.sip.locate import LocateError, locate
from msrpconf.protocols.sip.outgoing import as_secure
from msrpconf.protocols.sip.sockets import is_loopback
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.protocols.tls import Tls, TlsError, read_certificates
from msrpconf.trace import Tracer, parse_trace
from msrpconf.visible import visible

PATIENCE = 12.0
"""Seconds without MSRP, in which a room may go on at another server and call again."""

JOIN_TIMEOUT = 10.0
"""Seconds that a room has to let somebody in."""

LEAVE_TIMEOUT = 3.0
"""Seconds that a room has to answer who leaves."""

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


_ROOM = click.argument("room")
_USER = click.option(
    "--as",
    "user",
    metavar="USER",
    help="Who you are: alice, or sip:alice@example.com. Without a domain it is the "
    "room's; without this option you are who has logged in.",
)
_NAME = click.option("--name", metavar="NAME", help="The name that others see.")
_LISTEN = click.option(
    "--listen", metavar="udp:HOST:PORT", help="Where others reach you, to invite you."
)
_PASSWORD = click.option(
    "--password",
    envvar="MSRPCONF_PASSWORD",
    help="What the proxy or the room is told that asks for a password; better in the "
    "environment, as MSRPCONF_PASSWORD.",
)
_PROXY = click.option(
    "--proxy",
    metavar="udp:HOST:PORT",
    help="The SIP proxy to send requests to, also tcp: and tls:, or its URI, such as "
    "sip:example.com, whose servers the DNS has.",
)
_CA = click.option(
    "--ca",
    metavar="FILE",
    help="Who may sign the certificates of others, for TLS, in PEM; without it those whom "
    "the system trusts.",
)


def visit_options(command: F) -> F:
    """Adds the argument ROOM and the options that say who enters it, and how: see `Visit.of`."""
    for add in (
        click.option(
            "--trace", metavar="sip,msrp", default="", help="Show what goes over the wire."
        ),
        _PROXY,
        _CA,
        _PASSWORD,
        click.option(
            "--register", is_flag=True, help="Be registered with the proxy, to be invited by it."
        ),
        _LISTEN,
        click.option("--tls", is_flag=True, help="Have messages and files go over TLS."),
        click.option(
            "--plain", is_flag=True, help="Be a simple client: text/plain without message/cpim."
        ),
        _NAME,
        _USER,
        _ROOM,
    ):
        command = add(command)
    return command


def watch_options(command: F) -> F:
    """The same, for who does not enter the room, and only watches it."""
    trace = click.option("--trace", metavar="sip", default="", help="Show what goes over the wire.")
    for add in (trace, _PROXY, _CA, _PASSWORD, _NAME, _USER, _ROOM):
        command = add(command)
    return command


@frozen
class Visit:
    """Who goes to which room, and how. `room` and `user` are URIs."""

    room: SipURI
    user: SipURI
    name: str | None = None
    proxy: SipURI | None = None
    plain: bool = False
    trace: frozenset[str] = frozenset()
    tls: bool = False
    listen: Address | None = None
    password: str | None = field(default=None, repr=False)
    register: bool = False
    authorities: tuple[x509.Certificate, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        room: str,
        user: str | None,
        name: str | None = None,
        proxy: str | None = None,
        plain: bool = False,
        trace: str = "",
        tls: bool = False,
        listen: str | None = None,
        password: str | None = None,
        register: bool = False,
        ca: str | None = None,
    ) -> Visit:
        """Reads what was typed. Raises `ClickException`, which says what is wrong."""
        room_uri = _sip_uri(room, "a room", "sip:lobby@127.0.0.1")
        if user is None:
            user = getpass.getuser()
        user_uri = _user_uri(user, room_uri)
        if name is not None and not name.isprintable():
            raise click.ClickException(f"a name is one line of text, not {visible(name)}")
        try:
            return cls(
                room_uri,
                user_uri,
                name or None,
                None if proxy is None else _option("--proxy", proxy_uri, proxy),
                plain,
                parse_trace(trace),
                tls,
                None if listen is None else _option("--listen", Address.parse, listen),
                password,
                register,
                None if ca is None else _authorities(ca),
            )
        except ValueError as error:
            raise click.ClickException(visible(str(error))) from None

    def user_uri(self, user: str) -> SipURI:
        """Another user, written as with --as. Raises `ClickException`."""
        return _user_uri(user, self.room)


def _option(name: str, read: Callable[[str], T], text: str) -> T:
    """What was written with an option. Raises ValueError, which begins with its name."""
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _authorities(name: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a file. Raises ValueError."""
    try:
        return read_certificates(Path(name).read_bytes())
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror or error}") from None
    except TlsError as error:
        raise ValueError(f"{name} {error}") from None


def _user_uri(user: str, room: SipURI) -> SipURI:
    """A user as people write one; without a domain it is the room's."""
    if "@" in user:
        return _sip_uri(user, "a user", "sip:alice@127.0.0.1").aor
    return SipURI("sip", user.removeprefix("sip:"), None, room.host)


def _sip_uri(text: str, what: str, example: str) -> SipURI:
    try:
        uri = parse_uri(text if ":" in text.partition("@")[0] else f"sip:{text}")
    except SipSyntaxError as error:
        raise click.ClickException(f"{what} is written as {example}: {error.reason}") from None
    if not isinstance(uri, SipURI) or not uri.user:
        raise click.ClickException(f"{what} is written as {example}, not {visible(text)}")
    return uri


class Visitor:
    """A user agent for one visit: it is told plainly why it does not get in.

    `write` takes the texts of a trace. What it fails with is a `ClickException`.
    """

    def __init__(self, reactor: Any, visit: Visit, write: Callable[[str], None]) -> None:
        self.visit = visit
        self.room = str(visit.room)
        self.user = str(visit.user)
        self.display_name = visit.name
        self.tls = visit.tls
        self.on_invited: OnInvited | None = None
        self._reactor = reactor
        self._trace = Tracer(visit.trace, write) if visit.trace else None
        self._agent: UserAgent | None = None

    @inlineCallbacks
    def join(self, room: str, **listening: Any) -> Generator[Deferred[Any], Any, Chat]:
        """See `UserAgent.join`."""
        addresses = yield self._begin()
        assert self._agent is not None
        joining = self._agent.join(room, tls=self.tls, via=addresses, **listening)
        chat: Chat = yield self._answered(joining, room, addresses)
        return chat

    @inlineCallbacks
    def watch(self, on_events: OnEvents) -> Generator[Deferred[Any], Any, Watch]:
        """See `UserAgent.watch`."""
        addresses = yield self._begin()
        assert self._agent is not None
        watching = self._agent.watch(self.room, via=addresses[0], on_events=on_events)
        watch: Watch = yield self._answered(watching, self.room, addresses)
        return watch

    @inlineCallbacks
    def watch_watchers(self, on_events: OnWatchers) -> Generator[Deferred[Any], Any, WatchersWatch]:
        """See `UserAgent.watch_watchers`."""
        addresses = yield self._begin()
        assert self._agent is not None
        watching = self._agent.watch_watchers(self.room, via=addresses[0], on_events=on_events)
        watch: WatchersWatch = yield self._answered(watching, self.room, addresses)
        return watch

    @inlineCallbacks
    def _begin(self) -> Generator[Deferred[Any], Any, list[Address]]:
        """Make the user agent; give where its requests go, one after another."""
        addresses: list[Address] = yield self._find()
        visit = self.visit
        self._agent = UserAgent(
            self._reactor,
            self.user,
            display_name=self.display_name,
            listen=None if visit.listen is None else str(visit.listen),
            proxy=None if visit.proxy is None else str(visit.proxy),
            plain=visit.plain,
            trace=self._trace,
            on_invited=self.on_invited,
            password=visit.password,
            patience=PATIENCE,
            tls=Tls(None, visit.authorities),
        )
        if visit.register:
            yield self._register(self._agent)
        return addresses

    @inlineCallbacks
    def _answered(
        self, asking: Deferred[Any], room: str, addresses: list[Address]
    ) -> Generator[Deferred[Any], Any, Any]:
        """What the room has answered; a `ClickException` says why it did not, or not that."""
        asking.addTimeout(JOIN_TIMEOUT, self._reactor)
        try:
            answer = yield asking
        except (JoinError, WatchError) as error:
            text = f"{room}: {error}"
            if error.reason.startswith(tuple(map(str, addresses))):
                # There was no answer, as an address in front says: what a server has to say of
                # itself has none.
                text += f". If no server is running there, {_start_a_server()}"
            if error.status in (401, 407) and self.visit.password is None:
                text += "; give it as MSRPCONF_PASSWORD"
            raise click.ClickException(visible(text)) from None
        except TimeoutError:
            where = " or ".join(map(str, addresses))
            raise click.ClickException(
                f"{where} has not answered for {JOIN_TIMEOUT:.0f} seconds. "
                f"If no server is running there, {_start_a_server()}"
            ) from None
        return answer

    @inlineCallbacks
    def _register(self, agent: UserAgent) -> Generator[Deferred[Any], Any, None]:
        registering = agent.register().addTimeout(JOIN_TIMEOUT, self._reactor)
        try:
            yield registering
        except (RegisterError, TimeoutError) as error:
            why = str(error) if isinstance(error, RegisterError) else "no answer"
            raise click.ClickException(visible(f"{self.user} is not registered: {why}")) from None

    @inlineCallbacks
    def _find(self) -> Generator[Deferred[Any], Any, list[Address]]:
        """Where the INVITE goes, once it is sure that it is not for nothing."""
        room = self.visit.room
        uri = as_secure(self.visit.proxy or room, room)
        try:
            addresses = yield locate(self._reactor, uri, dns=NameServers(self._reactor))
        except LocateError as error:
            raise click.ClickException(visible(str(error))) from None
        # The name localhost has two addresses, and a server need not listen at both.
        if found := [address for address in addresses if not nobody_listens(address)]:
            return found
        raise click.ClickException(
            f"no server is listening at {' or '.join(map(str, addresses))}; {_start_a_server()}"
        )

    @inlineCallbacks
    def leave(self) -> Generator[Deferred[Any], Any, None]:
        """Leaves the room, if it was entered; done when it knows, or does not answer."""
        if self._agent is None:
            return
        leaving = self._agent.stop()
        leaving.addTimeout(LEAVE_TIMEOUT, self._reactor)
        with suppress(TimeoutError):
            yield leaving


def _start_a_server() -> str:
    return f"start one with: {program('twistd')} -n msrpconf"


def nobody_listens(address: Address) -> bool:
    """Whether this machine has refused what was sent to `address`.

    UDP does not say so to a transaction, which would wait for half a minute. What is sent are
    the empty lines that keep a way through a NAT open: no SIP element minds them. Only our own
    machine refuses at once, so others are not asked.
    """
    if address.transport != "udp" or not is_loopback(address.host):
        return False
    family = socket.AF_INET6 if is_ipv6(address.host) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((unbracket(address.host), address.port))
            probe.send(b"\r\n\r\n")
            return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            return True
