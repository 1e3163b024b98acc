"""A dispatcher's side of the channel to focuses: it listens, and they connect (doc/channel.md).

`FocusLinks` is what a dispatcher by itself has in place of the focus. What servers have to say goes
to the focus that a dialog came by, to another while that is away, and is kept for a while if
there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from msrpconf.protocols.channel import Channel, ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_hello import DISPATCHER, FOCUS, Hello
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.link_server import LinkServer
from msrpconf.visible import visible

RETRY_AFTER = (("Retry-After", "5"),)


class FocusLinks(LinkServer):
    """Listens for the focuses called `names`; `own_name` is what the dispatcher is called.

    `channel` is the dispatcher, which is to be set before the start. See `LinkServer` for the
    other arguments.
    """

    name = "msrpconf-focuses"
    role = DISPATCHER
    peers, plural = FOCUS, "focuses"

    channel: Channel

    def __init__(
        self,
        reactor: Any,
        own_name: str,
        address: ChannelAddress,
        names: tuple[str, ...] = (),
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        super().__init__(reactor, address, names, tls, settings)
        self.on_up: Callable[[], None] = lambda: None
        """Told when a focus has connected."""
        self._own_name = own_name

    def hello(self) -> Hello:
        """What we say of ourselves."""
        return Hello(self._own_name, DISPATCHER)

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Whether it is a focus, and who it says it is."""
        why = super().admit(link, hello)
        if why is None and not link.secure and hello.name in self.links:
            # On one host a link is lost with its process: this is no process started again.
            return f"another focus is called {visible(hello.name)}: [focus] name must differ"
        return why

    def came(self, link: Link) -> None:
        """A focus is connected."""
        self.on_up()

    def asked(self, link: Link, request: Request) -> Deferred[Response]:
        """Brings a request of a focus's to the server that has its room."""
        self.mark(link, request)

        def failed(failure: Failure) -> Response:
            failure.trap(ChannelClosed)
            reason = "The conference server does not answer: try again"
            return request.response(503, reason, headers=RETRY_AFTER)

        return self.channel.request(request).addErrback(failed)

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to a focus, now or when there is one. See `Channel`.

        A PUBLISH does not wait: servers publish everything when a focus connects.
        """
        if message.method == "PUBLISH" and not self.links:
            return fail(ChannelClosed("no focus is connected to this dispatcher"))
        return super().request(message)
