"""A dispatcher's end of the links to one server: it connects, and goes on trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msrpconf.protocols.channel_hello import DISPATCHER, SERVER, Hello
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.services.link_client import LinkClient
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.services.dispatcher import DispatcherService
    from msrpconf.services.server_ends import Wanted


class ServerEnd(LinkClient):
    """Our end of the links to one address: see `LinkClient`."""

    def __init__(
        self,
        dispatcher: DispatcherService,
        reactor: Any,
        wanted: Wanted,
        tls: ChannelTls | None,
    ) -> None:
        super().__init__(reactor, wanted.address, tls)
        self.wanted_as: Wanted | None = wanted
        """How it counts; None for one that leaves."""
        self._dispatcher = dispatcher

    @property
    def wanted(self) -> bool:
        """Whether there is to be a link at all."""
        return bool(self._dispatcher.running) and self in self._dispatcher.ends

    def build(self) -> Link:
        """A link for a new connection."""
        return self._dispatcher.link(self)

    def hello(self) -> Hello:
        """What we say of ourselves."""
        dispatcher = self._dispatcher
        return Hello(dispatcher.own_name, DISPATCHER, moves=dispatcher.moves_rooms)

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Whether it is a server, of a name that no other has."""
        if hello.role != SERVER:
            return f"a dispatcher has no links to a {visible(hello.role)}"
        if self._dispatcher.taken(hello.name):
            return f"another server is called {visible(hello.name)}: [server] name must differ"
        return None

    def came(self, link: Link) -> None:
        """Connected."""
        assert link.peer is not None
        before, self.name = self.name, link.peer.name
        self._dispatcher.link_up(link)
        self._dispatcher.server_ends.rate(self)
        if before is not None and before != self.name:
            self._dispatcher.replaced(before)

    def went(self, link: Link, why: str) -> None:
        """Not any more."""
        self._dispatcher.link_down(link, why)
