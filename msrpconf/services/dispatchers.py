"""A server's side of the channel: it listens, and dispatchers connect (doc/channel.md).

`DispatcherLinks` is the channel of the server's `ConferenceControl`. It gives each dispatcher all
dialogs when it connects and each change afterwards, and sends what the server has to say by the
dispatcher that the dialog came by, by another while that is away, and keeps it for a while if
there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.leg import Leg
from msrpconf.dispatch.records import Changes, DialogId, DialogRecord, batches, encode_changes
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_hello import DISPATCHER, SERVER, Hello, link_request
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.link_server import LinkServer

DRAIN_CHECK = 1.0
"""Seconds until dispatchers know that the server is draining."""


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
        self._told: dict[DialogId, DialogRecord] = {}
        self._by_call: dict[tuple[str, str | None], set[DialogId]] = {}
        self._draining = False
        self._watch = LoopingCall(self._look_at_draining)
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
        return super().stopService()

    def hello(self) -> Hello:
        """What we say of ourselves."""
        settings = self.control.settings
        return Hello(settings.name, SERVER, settings.max_rooms, self.control.registry.draining)

    def came(self, link: Link) -> None:
        """Tell a dispatcher all that there is."""
        self._tell_all(link)
        self.on_up()

    def asked(self, link: Link, request: Request) -> Response:
        """Answers a request of a dispatcher's."""
        if request.method in {"SYNC", "DRAIN"}:
            return request.response(501, f"{request.method} is what servers send")
        self.mark(link, request)
        response = self.control.handle(request)
        ours = request.to.tag or response.to.tag
        touched = {(request.call_id, ours or "", request.from_.tag)}
        if request.method == "CANCEL":
            touched |= self._by_call.get((request.call_id, request.from_.tag), set())
        self._tell_changes(touched)
        return response

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to a focus, now or when there is one. See `Channel`."""
        answer = super().request(message)
        if message.method == "BYE":
            self._tell_changes({(message.call_id, message.from_.tag or "", message.to.tag)})
        return answer

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


def _record(room: str, leg: Leg) -> DialogRecord:
    return DialogRecord.of(leg.dialog, room, leg.flow)


def _differs(told: DialogRecord, now: DialogRecord) -> bool:
    """Whether a dispatcher must know: the numbers of requests have a gap of their own."""
    return (told.room, told.target, told.way) != (now.room, now.target, now.way)


def _not_told(failure: Failure) -> None:
    failure.trap(ChannelClosed)  # the link is lost: the next one is told all
