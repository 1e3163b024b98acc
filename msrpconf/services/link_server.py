"""Listening for links of the channel, and a way to those who have connected (doc/channel.md)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_counters import LinkCounters
from msrpconf.protocols.channel_hello import Hello
from msrpconf.protocols.channel_link import ChannelTimeout, Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls, is_for
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.waiting import Waiting, WaitingRequests
from msrpconf.visible import visible

MAX_LINKS = 64
"""Connections at one time, of peers and of who has not said yet what it is."""

UNIX = "unix"
"""The label of all who connect by a Unix socket."""

MARK = "|"
"""Between a peer's name and its flow, in `Flow` as we keep it."""


class LinkServer(Service):
    """Listens at `address` for peers of one role that are called `names`, and is a way to them.

    `tls` is needed for an address of TLS. For port 0 the system chooses one; `listening` says
    which. At a Unix socket nobody's name is asked: who may open it is trusted. `reactor` listens
    and keeps time. Of those that connect, the one that a request's `Flow` names gets it.
    """

    log = Logger()
    role = ""
    """What our own end is."""
    peers, plural = "", ""
    """What the other end is, one and many."""

    def __init__(
        self,
        reactor: Any,
        address: ChannelAddress,
        names: tuple[str, ...] = (),
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        self.links: dict[str, Link] = {}
        """Those that are up, by the name of the peer."""
        self.counters: dict[str, LinkCounters] = {each: LinkCounters() for each in names}
        """What has passed, by `label`."""
        self._reactor = reactor
        self._address = address
        self._names = names
        self._tls = tls
        self._settings = settings or LinkSettings()
        self._budget = LineBudget(reactor)
        self._open: set[Link] = set()
        self._port: Any = None
        self._waiting = WaitingRequests(reactor, self.peers)

    # What kinds of it differ in.

    def hello(self) -> Hello:
        """What we say of ourselves."""
        raise NotImplementedError

    def asked(self, link: Link, request: Request) -> Response | Deferred[Response]:
        """Answers a request of a peer's."""
        raise NotImplementedError

    def came(self, link: Link) -> None:
        """A peer is connected, and has been sent what waited."""

    # Listening.

    def startService(self) -> None:
        """Listen. Raises `CannotListenError`."""
        Service.startService(self)
        address, factory = self._address, _LinkFactory(self)
        if address.path is not None:
            # With the lock, a socket that a killed process has left is replaced.
            self._port = self._reactor.listenUNIX(address.path, factory, mode=0o660, wantPID=True)
        else:
            if self._tls is None:
                raise ValueError(f"{address}: there is no certificate to listen for TLS with")
            secure = TLSMemoryBIOFactory(self._tls.server(), False, factory, self._reactor)
            self._port = self._reactor.listenTCP(address.port, secure, interface=address.host)

    @property
    def listening(self) -> str:
        """Where, as ``tls:127.0.0.1:4570``."""
        if self._port is None or self._address.path is not None:
            return str(self._address)
        host = self._port.getHost()
        return str(ChannelAddress(host.host, host.port))

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Listen no more, close all links, and give up what waits."""
        Service.stopService(self)
        port, self._port = self._port, None
        for link in list(self._open):
            link.close(f"the {self.role} ends")
        self._waiting.give_up_all(f"the {self.role} ends")
        if port is not None:
            yield maybeDeferred(port.stopListening)

    def build(self, address: IAddress) -> Link | None:
        """A link for a connection that has come; None where there are too many."""
        text = str(self._address) if self._address.path else getattr(address, "host", "")
        if len(self._open) >= MAX_LINKS:
            self._log_refusal(text, f"there are {MAX_LINKS} connections")
            return None
        link: Link
        link = Link(
            self._reactor,
            self,
            lambda request: self._asked(link, request),
            text,
            secure=self._address.path is None,
            settings=self._settings,
        )
        self._open.add(link)
        return link

    def rename(self, names: tuple[str, ...]) -> None:
        """Have others connect; who may not any more is cut off."""
        self._names = names
        for name in names:
            self.counters.setdefault(name, LinkCounters())
        for name, link in list(self.links.items()):
            if link.secure and name not in names:
                link.close(f"{name} may not connect any more")

    def _asked(self, link: Link, request: Request) -> Response | Deferred[Response]:
        if link.peer is None:
            return request.response(403, "HELLO comes first")
        return self.asked(link, request)

    def _log_refusal(self, host: str, why: str) -> None:
        note = self._budget.take(host)
        if note is not None:
            text = "refused: a channel from {host}: {why}{note}"
            self.log.warn(text, host=host, why=visible(why), note=note)

    def label(self, link: Link) -> str:
        """What the counters call the other side of a link: at a Unix socket names are made up."""
        return link.peer.name if link.secure and link.peer is not None else UNIX

    @property
    def waiting(self) -> int:
        """Requests that wait for a peer."""
        return len(self._waiting)

    # Links: see `LinkOwner`.

    def trusts(self, link: Link) -> str | None:
        """Whether the peer's certificate is for one of those that may connect."""
        if any(is_for(link.transport, name) for name in self._names):
            return None
        names = ", ".join(self._names)
        return f"its certificate is for none of the {self.plural}, {names}"

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Whether it is a peer, and who it says it is."""
        if hello.role != self.peers:
            return f"a {self.role} has no links to a {visible(hello.role)}"
        if link.secure and not (hello.name in self._names and is_for(link.transport, hello.name)):
            return f"its certificate is not for {visible(hello.name)}, or that is no {self.peers}"
        return None

    def link_up(self, link: Link) -> None:
        """A peer is connected: it gets what waits."""
        assert link.peer is not None
        name = link.peer.name
        before = self.links.get(name)
        self.links[name] = link
        counted = self.counters.setdefault(self.label(link), LinkCounters())
        counted.take_over(link.counters)
        link.counters = counted
        if before is not None:
            before.close("it has connected anew")
        self.log.info(
            "{role} {name} at {host} connected", role=self.peers, name=name, host=link.address
        )
        for each in self._waiting.take_all():
            self._send(each, link)
        self.came(link)

    def link_down(self, link: Link, why: str) -> None:
        """A peer is gone, or somebody was refused."""
        self._open.discard(link)
        name = "" if link.peer is None else link.peer.name
        if self.links.get(name) is link:
            del self.links[name]
            if self.running:
                text = "{role} {name} at {host} lost: {why}; its calls go on"
                self.log.warn(text, role=self.peers, name=name, host=link.address, why=visible(why))
        elif self.running and link.peer is None:
            self._log_refusal(link.address, why)

    # What we ask: it is a `Channel`.

    def mark(self, link: Link, request: Request) -> None:
        """Have a request's `Flow` say by whom it came."""
        assert link.peer is not None
        flow = request.headers.get(FLOW) or ""
        request.headers.set(FLOW, f"{link.peer.name}{MARK}{flow}")

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to a peer, now or when there is one. See `Channel`."""
        flow = message.headers.get(FLOW) or ""
        link = self.links.get(flow.partition(MARK)[0])
        if link is None:
            link = next(iter(self.links.values()), None)
        if link is None and not self.running:
            return fail(ChannelClosed(f"no {self.peers} is connected to this {self.role}"))
        waiting = self._waiting.new(message)
        if link is not None:
            self._send(waiting, link)
        else:
            self._waiting.put(waiting)
        return waiting.answer

    def _send(self, waiting: Waiting, link: Link) -> None:
        message = waiting.message.copy()
        name, mark, flow = (message.headers.get(FLOW) or "").partition(MARK)
        message.headers.remove(FLOW)
        # A flow means something to who named it, and to no other.
        if mark and flow and link.peer is not None and link.peer.name == name:
            message.headers.set(FLOW, flow)
        link.request(message).addCallbacks(waiting.pass_on, self._unsent, errbackArgs=(waiting,))

    def _unsent(self, failure: Failure, waiting: Waiting) -> None:
        lost = failure.check(ChannelClosed) and not failure.check(ChannelTimeout)
        if not lost or waiting.message.method != "BYE" or waiting.again or not self.running:
            waiting.pass_on(failure)
            return
        # Its peer may have died with it: a client that gets it twice refuses the second.
        waiting.again = True
        link = next((each for each in self.links.values() if each.up), None)
        if link is not None:
            self._send(waiting, link)
        elif not waiting.answer.called:
            self._waiting.put(waiting)


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, owner: LinkServer) -> None:
        self._owner = owner

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        assert addr is not None
        return self._owner.build(addr)
