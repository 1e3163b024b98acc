"""A server's side of the channel: it listens, and dispatchers connect (doc/channel.md).

`DispatcherLinks` is the channel of the server's `ConferenceControl`. It gives each dispatcher all
dialogs when it connects and each change afterwards, and sends what the server has to say by the
dispatcher that the dialog came by, by another while that is away, and keeps it for a while if
there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from msrpconf.conference.bye import FLOW
from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.leg import Leg
from msrpconf.dispatch.records import Changes, DialogId, DialogRecord, batches, encode_changes
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_counters import LinkCounters
from msrpconf.protocols.channel_hello import DISPATCHER, SERVER, Hello, link_request
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls, is_for
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.visible import visible

MAX_LINKS = 64
"""Connections at one time, of dispatchers and of who has not said yet what it is."""

MAX_WAITING = 10_000
"""Requests that wait for a dispatcher; further ones fail."""

WAIT = 120.0
"""Seconds that one of them waits."""

MARK = "|"
"""Between a dispatcher's name and its flow, in `Flow` as the server keeps it."""

UNIX = "unix"
"""The label of all who connect by a Unix socket."""

DRAIN_CHECK = 1.0
"""Seconds until dispatchers know that the server is draining."""


@define(eq=False)
class _Waiting:
    """A request that waits for a dispatcher."""

    message: Request
    answer: Deferred[Response]
    timer: IDelayedCall | None = None


class DispatcherLinks(Service):
    """Listens at `address` for the dispatchers called `names`, and serves them from `control`.

    `tls` is needed for an address of TLS. For port 0 the system chooses one; `listening` says
    which. At a Unix socket nobody's name is asked: who may open it is trusted.
    """

    name = "msrpconf-control"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        control: ConferenceControl,
        address: ChannelAddress,
        names: tuple[str, ...] = (),
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        self.links: dict[str, Link] = {}
        """Those that are up, by the name of the dispatcher."""
        self.counters: dict[str, LinkCounters] = {each: LinkCounters() for each in names}
        """What has passed, by `label`."""
        self.on_up: Callable[[], None] = lambda: None
        """Told when a dispatcher has connected, after it was told all dialogs."""
        self.control = control
        self._reactor = reactor
        self._address = address
        self._names = names
        self._tls = tls
        self._settings = settings or LinkSettings()
        self._budget = LineBudget(reactor)
        self._open: set[Link] = set()
        self._port: Any = None
        self._told: dict[DialogId, DialogRecord] = {}
        self._by_call: dict[tuple[str, str | None], set[DialogId]] = {}
        self._waiting: deque[_Waiting] = deque()
        self._draining = False
        self._watch = LoopingCall(self._look_at_draining)
        self._watch.clock = reactor

    # Listening.

    def startService(self) -> None:
        """Listen, and be the way to the focus. Raises `CannotListenError`."""
        Service.startService(self)
        self.control.channel = self
        address, factory = self._address, _LinkFactory(self)
        if address.path is not None:
            # With the lock, a socket that a killed process has left is replaced.
            self._port = self._reactor.listenUNIX(address.path, factory, mode=0o660, wantPID=True)
        else:
            if self._tls is None:
                raise ValueError(f"{address}: there is no certificate to listen for TLS with")
            secure = TLSMemoryBIOFactory(self._tls.server(), False, factory, self._reactor)
            self._port = self._reactor.listenTCP(address.port, secure, interface=address.host)
        self._watch.start(DRAIN_CHECK, now=True)

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
        if self._watch.running:
            self._watch.stop()
        port, self._port = self._port, None
        for link in list(self._open):
            link.close("the server ends")
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            self._give_up(each, "the server ends")
        if port is not None:
            yield maybeDeferred(port.stopListening)

    def build(self, address: IAddress) -> Link | None:
        """A link for a connection that has come; None where there are too many."""
        text = str(self._address) if self._address.path else getattr(address, "host", "")
        if len(self._open) >= MAX_LINKS:
            self._log_refusal(text, f"there are {MAX_LINKS} connections")
            return None
        secure = self._address.path is None
        link: Link
        link = Link(
            self._reactor,
            self,
            lambda request: self._asked(link, request),
            text,
            secure=secure,
            settings=self._settings,
        )
        self._open.add(link)
        return link

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
        """Requests that wait for a dispatcher."""
        return len(self._waiting)

    # Links: see `LinkOwner`.

    def hello(self) -> Hello:
        """What we say of ourselves."""
        settings = self.control.settings
        return Hello(settings.name, SERVER, settings.max_rooms, self.control.registry.draining)

    def trusts(self, link: Link) -> str | None:
        """Whether the peer's certificate is for one of the dispatchers."""
        if any(is_for(link.transport, name) for name in self._names):
            return None
        return f"its certificate is for none of the dispatchers, {', '.join(self._names)}"

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Whether it is a dispatcher, and who it says it is."""
        if hello.role != DISPATCHER:
            return f"a server has no links to a {visible(hello.role)}"
        if link.secure and not (hello.name in self._names and is_for(link.transport, hello.name)):
            return f"its certificate is not for {visible(hello.name)}, or that is no dispatcher"
        return None

    def link_up(self, link: Link) -> None:
        """A dispatcher is connected: tell it all, and have it say what waits."""
        assert link.peer is not None
        name = link.peer.name
        before = self.links.get(name)
        self.links[name] = link
        counted = self.counters.setdefault(self.label(link), LinkCounters())
        counted.take_over(link.counters)
        link.counters = counted
        if before is not None:
            before.close("it has connected anew")
        self.log.info("dispatcher {name} at {host} connected", name=name, host=link.address)
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            self._send(each, link)
        self._tell_all(link)
        self.on_up()

    def link_down(self, link: Link, why: str) -> None:
        """A dispatcher is gone, or somebody was refused."""
        self._open.discard(link)
        name = "" if link.peer is None else link.peer.name
        if self.links.get(name) is link:
            del self.links[name]
            if self.running:
                text = "dispatcher {name} at {host} lost: {why}; its calls go on"
                self.log.warn(text, name=name, host=link.address, why=visible(why))
        elif self.running and link.peer is None:
            self._log_refusal(link.address, why)

    # What dispatchers ask.

    def _asked(self, link: Link, request: Request) -> Response:
        if request.method in {"SYNC", "DRAIN"}:
            return request.response(501, f"{request.method} is what servers send")
        if link.peer is None:
            return request.response(403, "HELLO comes first")
        flow = request.headers.get(FLOW) or ""
        request.headers.set(FLOW, f"{link.peer.name}{MARK}{flow}")
        response = self.control.handle(request)
        ours = request.to.tag or response.to.tag
        touched = {(request.call_id, ours or "", request.from_.tag)}
        if request.method == "CANCEL":
            touched |= self._by_call.get((request.call_id, request.from_.tag), set())
        self._tell_changes(touched)
        return response

    # What the server asks: it is a `Channel`.

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to a focus, now or when there is one. See `Channel`."""
        waiting = _Waiting(message.copy(), Deferred(self._forget))
        flow = message.headers.get(FLOW) or ""
        link = self.links.get(flow.partition(MARK)[0])
        if link is None:
            link = next(iter(self.links.values()), None)
        if link is not None:
            self._send(waiting, link)
        elif len(self._waiting) >= MAX_WAITING or not self.running:
            return fail(ChannelClosed("no dispatcher is connected to this server"))
        else:
            waiting.timer = self._reactor.callLater(
                WAIT, self._give_up, waiting, f"no dispatcher was connected for {WAIT:g} s"
            )
            self._waiting.append(waiting)
        if message.method == "BYE":
            self._tell_changes({(message.call_id, message.from_.tag or "", message.to.tag)})
        return waiting.answer

    def _forget(self, answer: Deferred[Response]) -> None:
        for each in self._waiting:
            if each.answer is answer:
                self._waiting.remove(each)
                self._stop(each)
                return

    def _give_up(self, waiting: _Waiting, why: str) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        self._stop(waiting)
        waiting.answer.errback(ChannelClosed(why))

    def _stop(self, waiting: _Waiting) -> None:
        timer, waiting.timer = waiting.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _send(self, waiting: _Waiting, link: Link) -> None:
        self._stop(waiting)
        message = waiting.message
        name, mark, flow = (message.headers.get(FLOW) or "").partition(MARK)
        message.headers.remove(FLOW)
        # A flow means something to the focus that named it, and to no other.
        if mark and flow and link.peer is not None and link.peer.name == name:
            message.headers.set(FLOW, flow)
        link.request(message).addCallbacks(
            _pass_on, _pass_on, callbackArgs=(waiting.answer,), errbackArgs=(waiting.answer,)
        )

    # Telling dispatchers what there is.

    def _legs(self) -> Iterator[tuple[str, Leg]]:
        for participant in self.control.registry.participants():
            yield participant.room.key, participant
        for session in list(self.control.files.sessions.values()):
            yield session.room.key, session

    def _leg(self, dialog_id: DialogId) -> DialogRecord | None:
        found: Any = self.control.registry.dialogs.get(dialog_id)
        found = found or self.control.files.sessions.get(dialog_id)
        return None if found is None else _record(found.room.key, found)

    @inlineCallbacks
    def _tell_all(self, link: Link) -> Generator[Deferred[Any], Any, None]:
        """Tell a dispatcher all dialogs, so many at a time, and that these are all."""
        records = [_record(room, leg) for room, leg in self._legs()]
        for record in records:
            self._note(record)
        try:
            for batch in batches(records):
                # What has changed since is told as a change, or comes with a later batch.
                now = tuple(each for each in map(self._leg, (one.id for one in batch)) if each)
                yield link.request(self._sync("more", Changes(now)))
            yield link.request(self._sync("done", Changes()))
        except ChannelClosed:
            return  # `link_down` tells

    def _sync(self, part: str, changes: Changes) -> Request:
        headers = [("Sync", part), ("Content-Type", "application/json")]
        return link_request("SYNC", self.control.settings.name, headers, encode_changes(changes))

    def _tell_changes(self, touched: set[DialogId]) -> None:
        """Tell all dispatchers what has become of some dialogs, if they know it differently."""
        changed, ended = [], []
        for dialog_id in touched:
            record, told = self._leg(dialog_id), self._told.get(dialog_id)
            if record is None:
                if told is not None:
                    self._unnote(told)
                    ended.append(dialog_id)
            elif told is None or _differs(told, record):
                self._note(record)
                changed.append(record)
        if not (changed or ended):
            return
        for link in self.links.values():
            sync = self._sync("change", Changes(tuple(changed), tuple(ended)))
            link.request(sync).addErrback(_not_told)

    def _note(self, record: DialogRecord) -> None:
        self._told[record.id] = record
        self._by_call.setdefault((record.call_id, record.remote_tag), set()).add(record.id)

    def _unnote(self, record: DialogRecord) -> None:
        del self._told[record.id]
        call = record.call_id, record.remote_tag
        known = self._by_call.get(call, set())
        known.discard(record.id)
        if not known:
            self._by_call.pop(call, None)

    def _look_at_draining(self) -> None:
        draining = self.control.registry.draining
        if draining == self._draining:
            return
        self._draining = draining
        headers = [("Draining", "yes" if draining else "no")]
        for link in self.links.values():
            link.request(link_request("DRAIN", self.control.settings.name, headers)).addErrback(
                _not_told
            )


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, owner: DispatcherLinks) -> None:
        self._owner = owner

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        assert addr is not None
        return self._owner.build(addr)


def _record(room: str, leg: Leg) -> DialogRecord:
    return DialogRecord.of(leg.dialog, room, leg.flow)


def _differs(told: DialogRecord, now: DialogRecord) -> bool:
    """Whether a dispatcher must know: the numbers of requests have a gap of their own."""
    return (told.room, told.target, told.way) != (now.room, now.target, now.way)


def _pass_on(result: Response | Failure, answer: Deferred[Response]) -> None:
    if answer.called:
        return
    if isinstance(result, Failure):
        answer.errback(result)
    else:
        answer.callback(result)


def _not_told(failure: Failure) -> None:
    failure.trap(ChannelClosed)  # the link is lost: the next one is told all
