"""Connecting for links of the channel, again and again (doc/channel.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_counters import LinkCounters
from msrpconf.protocols.channel_hello import Hello
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.channel_tls import ChannelTls, is_for
from msrpconf.protocols.connect_errors import why_not_connected
from msrpconf.visible import visible


class _QuietClient(ClientService):
    """Says nothing of each attempt: `LinkClient` says what is wrong, once."""

    _log = Logger(observer=LogPublisher())


class LinkClient:
    """Our end of the links to one address, whose kinds differ in what they override.

    `reactor` connects and keeps time; `tls` is needed for an address of TLS. The peer's certificate
    must be for the host of the address.
    """

    log = Logger()

    def __init__(self, reactor: Any, address: ChannelAddress, tls: ChannelTls | None) -> None:
        self.address = address
        self.current: Link | None = None
        self.name: str | None = None
        """What the peer that was here last is called; None before the first link."""
        self.since = 0.0
        """When the link came up, or was lost, or was first wanted, in seconds of the epoch."""
        self.error: str | None = None
        """Why there was no link the last time, and when that was."""
        self.error_at = 0.0
        self._before = LinkCounters()
        self._reactor = reactor
        self._tls = tls
        self._client: ClientService | None = None
        self._said: str | None = None
        self._attempts = 0
        # On one host it costs next to nothing to try.
        self._backoff = backoffPolicy(0.2, 5.0 if address.path is None else 1.0)

    # What kinds of it differ in.

    @property
    def wanted(self) -> bool:
        """Whether there is to be a link at all."""
        return self._client is not None

    def build(self) -> Link:
        """A link for a new connection."""
        raise NotImplementedError

    def hello(self) -> Hello:
        """What we say of ourselves."""
        raise NotImplementedError

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Why not to have a link to who says this; None to have it."""
        raise NotImplementedError

    def came(self, link: Link) -> None:
        """There is a link."""

    def went(self, link: Link, why: str) -> None:
        """There is none any more."""

    # Connecting.

    @property
    def counters(self) -> LinkCounters:
        """Of the link that there is, and of all before it."""
        return self._before if self.current is None else self.current.counters

    def _delay(self) -> float:
        """Seconds until the next attempt: more and more until there is a link."""
        self._attempts += 1
        return self._backoff(self._attempts - 1)

    def _endpoint(self) -> IStreamClientEndpoint:
        address = self.address
        if address.path is not None:
            return UNIXClientEndpoint(self._reactor, address.path)
        if self._tls is None:
            raise ValueError(f"{address}: there is no certificate to connect by TLS with")
        plain = HostnameEndpoint(self._reactor, address.host, address.port)
        return wrapClientTLS(self._tls.client(address.host), plain)

    def start(self) -> None:
        """Connect."""
        self.since = self._reactor.seconds()
        self._client = _QuietClient(
            self._endpoint(),
            _Links(self.build),
            retryPolicy=lambda _: self._delay(),
            clock=self._reactor,
        )
        self._client.startService()
        self._client.whenConnected(failAfterFailures=1).addErrback(self._no_way)

    def _no_way(self, failure: Failure) -> None:
        if self.wanted:
            self._not_connected(why_not_connected(failure))

    def _not_connected(self, why: str) -> None:
        self._note(why)
        self._say("error", f"no link to {self.address}: {why}")

    def _note(self, why: str) -> None:
        self.error, self.error_at = visible(why), self._reactor.seconds()

    def _say(self, level: str, text: str) -> None:
        """A line, unless it is the one before."""
        if text != self._said:
            self._said = text
            getattr(self.log, level)("{text}; trying again", text=visible(text))

    def stop(self, why: str) -> Deferred[None]:
        """Connect no more; `why` is what the log says of the link that there is."""
        client, self._client = self._client, None
        if self.current is not None:
            self.current.close(why)
        if client is None:
            return succeed(None)
        return client.stopService()

    # Links: see `LinkOwner`.

    def trusts(self, link: Link) -> str | None:
        """Whether the peer's certificate is for the host that we wanted."""
        if is_for(link.transport, self.address.host):
            return None
        return f"its certificate is not for {self.address.host}"

    def link_up(self, link: Link) -> None:
        """Connected."""
        self.current, self._said, self._attempts = link, None, 0
        self.since = self._reactor.seconds()
        link.counters.take_over(self._before)
        self.came(link)

    def link_down(self, link: Link, why: str) -> None:
        """Not any more, or not at all."""
        if self.current is link:
            self.current = None
            self._before = link.counters
            self.since = self._reactor.seconds()
            self._note(why)
            self.went(link, why)
        elif self.wanted:
            self._not_connected(why)


class _Links(Factory):
    noisy = False

    def __init__(self, build: Callable[[], Link]) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> Link:
        return self._build()
