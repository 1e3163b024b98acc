"""A focus's end of the link to a dispatcher by itself: it connects, and goes on trying."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from msrpconf.protocols.channel import ChannelClosed, Handler
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_hello import DISPATCHER, FOCUS, Hello
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.link_client import LinkClient
from msrpconf.visible import visible


class DispatcherEnd(LinkClient):
    """The channel of a focus called `name` to its dispatcher at `address`: see `LinkClient`.

    `to_focus` serves what the dispatcher asks.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        address: ChannelAddress,
        to_focus: Handler,
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        super().__init__(reactor, address, tls)
        self.own_name = name
        self._to_focus = to_focus
        self._settings = settings or LinkSettings()

    def build(self) -> Link:
        """A link for a new connection."""
        return Link(
            self._reactor,
            self,
            self._to_focus,
            str(self.address),
            secure=self.address.path is None,
            settings=self._settings,
        )

    def hello(self) -> Hello:
        """What we say of ourselves."""
        return Hello(self.own_name, FOCUS)

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Whether it is a dispatcher."""
        if hello.role != DISPATCHER:
            return f"a focus has no links to a {visible(hello.role)}"
        return None

    def came(self, link: Link) -> None:
        """Connected."""
        assert link.peer is not None
        self.name = link.peer.name
        text = "dispatcher {name} at {address} connected"
        self.log.info(text, name=self.name, address=link.address)

    def went(self, link: Link, why: str) -> None:
        """Not any more."""
        if self.wanted:
            text = "dispatcher {name} at {address} lost: {why}; INVITEs get 503 until it is back"
            self.log.warn(text, name=self.name, address=link.address, why=visible(why))

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a client's request to the dispatcher. See `Channel`."""
        if self.current is None:
            return fail(ChannelClosed(f"there is no link to the dispatcher at {self.address}"))
        return self.current.request(message)
