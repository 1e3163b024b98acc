"""A server's side of the channel: it listens, and dispatchers connect (doc/channel.md).

`DispatcherLinks` is the channel of the server's `ConferenceControl`. It gives each dispatcher all
dialogs when it connects and each change afterwards, and sends what the server has to say by the
dispatcher that the dialog came by, by another while that is away, and keeps it for a while if
there is none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from msrpconf.conference.control import ConferenceControl
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_hello import DISPATCHER, SERVER, Hello, link_request
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.draining import MAX_DEADLINE, Draining
from msrpconf.services.link_server import LinkServer
from msrpconf.services.taking_over import take_over
from msrpconf.services.telling import Telling, not_told

DRAIN_CHECK = 1.0
"""Seconds until dispatchers know that the server is draining, or takes more or fewer rooms."""


class DispatcherLinks(LinkServer):
    """Listens for the dispatchers called `names`, and serves them from `control`.

    See `LinkServer` for the other arguments.
    """

    name = "msrpconf-control"
    role = SERVER
    peers, plural = DISPATCHER, "dispatchers"

    def __init__(
        self,
        reactor: Any,
        control: ConferenceControl,
        address: ChannelAddress,
        names: tuple[str, ...] = (),
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        super().__init__(reactor, address, names, tls, settings)
        self.on_up: Callable[[], None] = lambda: None
        """Told when a dispatcher has connected, after it was told all dialogs."""
        self.control = control
        self.telling = Telling(control, reactor, self.links.values)
        self._instance = secrets.token_hex(8)
        self.draining = Draining(control, reactor)
        self._takes = False, control.settings.max_rooms
        self._watch = LoopingCall(self.tell_draining)
        self._watch.clock = reactor

    def startService(self) -> None:
        """Listen, and be the way to the focus. Raises `CannotListenError`."""
        self.control.channel = self
        super().startService()
        self._watch.start(DRAIN_CHECK, now=True)

    def stopService(self) -> Deferred[None]:
        """Listen no more, close all links, and give up what waits."""
        if self._watch.running:
            self._watch.stop()
        self.telling.stop()
        return super().stopService()

    def hello(self) -> Hello:
        """What we say of ourselves."""
        settings = self.control.settings
        draining = self.control.registry.draining
        return Hello(settings.name, SERVER, settings.max_rooms, draining, instance=self._instance)

    def came(self, link: Link) -> None:
        """Tell a dispatcher all that there is."""
        link.on_read = self.telling.tell_touched
        self.telling.tell_all(link)
        self.on_up()

    def asked(self, link: Link, request: Request) -> Response | Deferred[Response]:
        """Answers a request of a dispatcher's."""
        if request.method == "SYNC":
            return request.response(501, "SYNC is what servers send")
        if request.method == "DRAIN":
            return self._drain(request)
        if request.method == "FOCUS":
            # What was published by way of the one before may be gone with it.
            self.on_up()
            return request.response(200)
        if request.method == "MOVE":
            # A room of another server's is to go on here.
            response, moved = take_over(self.control.arrivals, request, self.telling.expected)
            self.telling.moved(moved)
            return response
        self.mark(link, request)
        response = self.control.handle(request)
        ours = request.to.tag or response.to.tag
        touched = {(request.call_id, ours or "", request.from_.tag)}
        if request.method == "CANCEL":
            touched |= self.telling.of_call(request.call_id, request.from_.tag)
        # Told before the answers to all that has come at one time: see `Link.on_read`.
        self.telling.touched |= touched
        return response

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to a focus, now or when there is one. See `Channel`."""
        dialog_id = message.call_id, message.from_.tag or "", message.to.tag
        if message.method == "INVITE":
            # Who moved here: the dispatcher that it goes by may know the dialog elsewhere still.
            self.telling.changed({dialog_id})
        answer = super().request(message)
        if message.method == "BYE":
            self.telling.changed({dialog_id})
        return answer

    def _drain(self, request: Request) -> Response | Deferred[Response]:
        """An operator wants the server to take nobody new in, or to do so again."""
        draining, seconds = self.draining, request.headers.get("Deadline")
        if request.headers.get("Draining") == "no":
            kept = draining.end()
        elif seconds is None:
            kept = draining.begin()
        elif seconds.isascii() and seconds.isdigit() and int(seconds[:9]) <= MAX_DEADLINE:
            kept = draining.begin(int(seconds))
        else:
            return request.response(400, f"Deadline: expected seconds, {MAX_DEADLINE} at most")

        def answer(_: object) -> Response:
            headers = [("Kept", "yes" if draining.is_kept else "no")]
            return request.response(200, headers=headers)

        return kept.addCallback(answer)

    def tell_draining(self) -> None:
        """Tell dispatchers whether, and how many, new rooms may come here, if that has changed."""
        hello = self.hello()
        takes = hello.draining, hello.capacity
        if takes == self._takes:
            return
        self._takes = takes
        headers = hello.takes
        for link in self.links.values():
            link.request(link_request("DRAIN", self.control.settings.name, headers)).addErrback(
                not_told
            )
