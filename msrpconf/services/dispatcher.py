"""msrp-conference-dispatcher: brings each request of a focus to the server that has its room.

It connects to all servers and learns from each which dialogs, and so which rooms, it has. A room
that lives stays where it is; a new one goes to a server by the hash of its URI; a request in a
dialog goes to the server that our tag names. A server whose link is broken may come back within
the grace time with all its rooms, and nobody notices. If it does not, the dispatcher has the
focus send a BYE to everybody in them, and the rooms may begin anew elsewhere; or it has another
server go on with them (`services.moving`).

    up --link lost--> away --back, and has told its dialogs--> up
                        `--grace time over, or back without them: BYEs, or moves
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.dispatch.records import (
    Changes,
    DialogRecord,
    RecordError,
    decode_changes,
)
from msrpconf.dispatch.tables import DispatchTables, ServerEntry
from msrpconf.protocols.channel import ChannelClosed, Handler
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_codec import ChannelSyntaxError
from msrpconf.protocols.channel_hello import link_request
from msrpconf.protocols.channel_link import Link, LinkSettings
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.claims import RoomClaims
from msrpconf.services.goodbyes import FAILED, Goodbyes
from msrpconf.services.moving import Moves
from msrpconf.services.publications import Publications
from msrpconf.services.routing import Routing
from msrpconf.services.server_end import ServerEnd
from msrpconf.services.server_ends import ServerEnds, Wanted
from msrpconf.services.server_list import ServerList
from msrpconf.visible import visible


class DispatcherService(Service):
    """Connects to `servers`, and is the channel of a focus to all of them.

    `name` is what the dispatcher is called, as its certificate says, `grace` the seconds that a
    server may be away, `moves` whether its rooms then go on at others; `to_focus` serves what
    servers ask; `tls` is needed for addresses of TLS.
    """

    name = "msrpconf-dispatcher"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        servers: Iterable[ChannelAddress],
        to_focus: Handler,
        *,
        grace: float = 5.0,
        moves: bool = False,
        tls: ChannelTls | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        self.claims: RoomClaims | None = None
        """Set by `share`; None for the only dispatcher."""
        self.server_list: ServerList | None = None
        """Says which servers there are, where that may change; None where `servers` does."""
        self.tables = DispatchTables()
        self.links: dict[str, Link] = {}
        """Those that are up, by the name of the server."""
        self.given_up = 0
        """Servers that have not come back within the grace time, so far."""
        self.own_name = name
        self._reactor = reactor
        self._to_focus = to_focus
        self._grace = grace
        self._settings = settings or LinkSettings()
        self.server_ends = ServerEnds(self, reactor, tls)
        self.server_ends.use([Wanted(address) for address in servers])
        self._away: dict[str, IDelayedCall] = {}
        self._all_known = True
        self._unsettled: set[ChannelAddress] = {end.address for end in self.ends}
        self._settling: IDelayedCall | None = None
        self._farewells: dict[str, dict[tuple[str, str, str | None], DialogRecord]] = {}
        self._goodbyes = Goodbyes(reactor, name, to_focus)
        self._publications = Publications(reactor, to_focus, self._is_expected)
        self.moves_rooms = moves
        """Whether rooms of a server that is given up go on at others."""
        self.moves = Moves(self, self._goodbyes)
        """Moves them."""
        self._routing = Routing(self)

    def share(self, claims: RoomClaims) -> None:
        """Agree with other dispatchers that connect to the same servers, before the start."""
        self.claims = self._goodbyes.claims = claims

    # Connecting.

    def startService(self) -> None:
        """Connect to all servers, and go on trying."""
        Service.startService(self)
        self._settling = self._reactor.callLater(self._grace, self._settled)
        self.server_ends.start()

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Close the links. Calls and rooms go on without us."""
        Service.stopService(self)
        self._settled()
        for timer in self._away.values():
            timer.cancel()
        self._away.clear()
        self._goodbyes.stop()
        self._publications.stop()
        yield self.server_ends.stop()

    @property
    def ends(self) -> list[ServerEnd]:
        """Our ends of the links to all servers, connected or not."""
        return self.server_ends.all

    def use(self, wanted: Sequence[Wanted], all_known: bool = True) -> None:
        """Connect to these servers from now on; others leave when their dialogs have ended.

        `all_known` says whether there may be more that are not known yet.
        """
        before = {end.address for end in self.ends}
        self.server_ends.use(wanted)
        self._all_known = all_known
        now = {end.address for end in self.ends}
        self._unsettled = (self._unsettled | (now - before)) & now
        self._settle_if_told()

    def let_go(self, end: ServerEnd) -> None:
        """A server has left: there will be no link to it."""
        name = end.name
        if name is None or (end.current is None and name in self.links):
            return
        self._stop_waiting_for(name)
        self.links.pop(name, None)
        self.tables.drop(name)

    def link(self, end: ServerEnd) -> Link:
        """A link for a new connection to a server."""
        link: Link
        link = Link(
            self._reactor,
            end,
            lambda request: self._asked(link, request),
            str(end.address),
            secure=end.address.path is None,
            settings=self._settings,
        )
        return link

    def focus_came(self) -> None:
        """A focus has connected to this dispatcher by itself: servers may have to publish anew."""
        for link in self.links.values():
            request = link_request("FOCUS", self.own_name)
            link.request(request).addErrback(lambda failure: failure.trap(ChannelClosed))

    @property
    def rooms(self) -> dict[str, Collection[str] | None]:
        """The rooms of the servers that are connected; None for one that has not told yet."""
        servers = self.tables.servers
        return {
            name: servers[name].rooms if servers[name].has_told else None for name in self.links
        }

    def taken(self, name: str) -> bool:
        """Whether a server of that name is connected."""
        return name in self.links

    def awaits(self, name: str) -> bool:
        """Whether a server is away, and may come back with its rooms."""
        return name in self._away

    @property
    def held(self) -> int:
        """Requests that wait, after the start, until it is known where rooms live."""
        return self._routing.held

    def replaced(self, name: str) -> None:
        """Where a server was there is another."""
        if name not in self.links and name not in self._away:
            self.tables.drop(name)

    def link_up(self, link: Link) -> None:
        """A server is connected; it will tell what it has."""
        peer = link.peer
        assert peer is not None
        self.links[peer.name] = link
        self.tables.came(peer.name, peer.capacity, peer.draining, peer.instance)
        self._stop_waiting_for(peer.name)
        self.log.info(
            "server {name} at {address} connected{note}",
            name=peer.name,
            address=link.address,
            note=", and is draining" if peer.draining else "",
        )

    def link_down(self, link: Link, why: str) -> None:
        """A server is gone, for a while or for ever."""
        name = "" if link.peer is None else link.peer.name
        if self.links.get(name) is not link:
            return
        del self.links[name]
        entry = self.tables.went(name)
        if entry is None or not self.running:
            return
        self.log.warn(
            "server {name} at {address} lost: {why}; {rooms} rooms, {grace:g} s to come back",
            name=name,
            address=link.address,
            why=visible(why),
            rooms=len(entry.rooms),
            grace=self._grace,
        )
        self._stop_waiting_for(name)
        self._away[name] = self._reactor.callLater(self._grace, self._gone, name)

    def _is_expected(self, name: str) -> bool:
        return name in self.links or name in self._away

    def _stop_waiting_for(self, name: str) -> None:
        timer = self._away.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _gone(self, name: str) -> None:
        """The grace time is over."""
        if self.claims is not None and not self.claims.server_gone(name):
            # Another dispatcher has a link to it, so it is the link that is broken.
            self._away[name] = self._reactor.callLater(self._grace, self._gone, name)
            return
        self._away.pop(name, None)
        left = self._farewells.pop(name, {})
        entry = self.tables.servers.get(name)
        states = {} if entry is None else dict(entry.states)
        lost = [each for each in self.tables.forget(name) if each.id not in left]
        self.log.error(
            "server {name} has not come back for {grace:g} s: {what} {count} calls",
            name=name,
            grace=self._grace,
            what="moving its" if self.moves_rooms else "BYE to",
            count=len(lost),
        )
        self.given_up += 1
        self._lost(name, lost, states)
        self._publications.server_gone(name, self.moves_rooms)
        if all(end.name != name for end in self.ends):
            self.tables.drop(name)

    def _lost(self, name: str, lost: list[DialogRecord], states: dict[str, str]) -> None:
        """Calls of a server are nowhere any more: move them, or tell their clients."""
        if self.moves_rooms:
            self.moves.move(name, lost, states)
        else:
            self._goodbyes.say(lost)

    def handed_over(self, name: str, room: str) -> None:
        """A room of a server that lives goes on at another."""
        self._publications.room_handed_over(name, room)

    # What is known after the start.

    def _synced(self, address: ChannelAddress) -> None:
        self._unsettled.discard(address)
        self._settle_if_told()

    def _settle_if_told(self) -> None:
        if not self._unsettled and self._all_known:
            self._settled()

    def _settled(self) -> None:
        """All servers have told what they have, or had the time to."""
        if self._settling is None:
            return
        if self._settling.active():
            self._settling.cancel()
        self._settling = None
        self._routing.settled()

    @property
    def settled(self) -> bool:
        """Whether it is known where rooms live."""
        return self._settling is None

    # What servers ask.

    def _asked(self, link: Link, request: Request) -> Response | Deferred[Response]:
        name = "" if link.peer is None else link.peer.name
        entry = self.tables.servers.get(name)
        if entry is None or self.links.get(name) is not link:
            return request.response(403, "This link is no longer in use")
        if request.method == "SYNC":
            return self._sync(link, entry, request)
        if request.method == "DRAIN":
            return self._takes(link, entry, request)
        if request.method == "MOVE":
            if not self.moves_rooms:
                return request.response(403, "This dispatcher moves no rooms")
            return self.moves.hand_over(entry, request)
        dialog_id = request.call_id, request.from_.tag or "", request.to.tag
        if self.tables.is_taken(entry, dialog_id):
            self.tables.learn(entry, Changes(ended=(dialog_id,)))
            return request.response(481, "This dialog was taken over by another server")
        if request.method == "BYE":
            # The server need not have had the time to say that it has ended the dialog.
            self.tables.learn(entry, Changes(ended=(dialog_id,)))
        if request.method == "PUBLISH":
            return self._publications.publish(name, link, request)
        return self._to_focus(request)

    def _takes(self, link: Link, entry: ServerEntry, request: Request) -> Response:
        """A server says whether, and how many, rooms it takes."""
        assert link.peer is not None
        try:
            link.peer = link.peer.taking(request.headers)
        except ChannelSyntaxError as error:
            return request.response(400, str(error))
        if entry.draining != link.peer.draining:
            drains = link.peer.draining
            what = "drains: it gets no new rooms" if drains else "takes new rooms again"
            self.log.info("server {name} {what}", name=entry.name, what=what)
        entry.draining, entry.capacity = link.peer.draining, max(link.peer.capacity, 1)
        return request.response(200)

    def _sync(self, link: Link, entry: ServerEntry, request: Request) -> Response:
        try:
            changes = decode_changes(request.body)
        except RecordError as error:
            text = "server {name} told what cannot be read: {error}"
            self.log.error(text, name=entry.name, error=visible(str(error)))
            return request.response(400, str(error))
        for at, record in self.tables.learn(entry, changes):
            self._let_go(at, record)
        if request.headers.get("Sync") != "done":
            return request.response(200)
        left = self._farewells.pop(entry.name, {})
        states = dict(entry.states)
        missing = self.tables.told_all(entry)
        lost = [each for each in missing if each.id not in left]
        entry.buried.clear()
        self.log.info(
            "server {name} has {rooms} rooms and {dialogs} calls; lost: {lost}",
            name=entry.name,
            rooms=len(entry.rooms),
            dialogs=len(entry.dialogs),
            lost=len(lost),
        )
        if entry.is_anew:
            self._lost(entry.name, lost, states)
        else:
            self._goodbyes.say(lost)  # it has ended them
        ended = {each.room for each in missing} - entry.rooms.keys()
        self._publications.rooms_lost(entry.name, ended, link, self.moves_rooms)
        for dialog_id, record in left.items():
            if dialog_id in entry.dialogs:
                self._farewell(link, record)
        for end in self.ends:
            if end.current is link:
                self._synced(end.address)
        return request.response(200)

    def _let_go(self, entry: ServerEntry, record: DialogRecord) -> None:
        """Have a server forget a dialog that was taken from it."""
        link = self.links.get(entry.name)
        if link is not None and not entry.draining:
            self._farewell(link, record)

    def _farewell(self, link: Link, record: DialogRecord) -> None:
        """Tell a server that one of its clients is out, or was told that it is."""
        bye = record.farewell(FAILED)
        link.request(bye).addErrback(lambda failure: failure.trap(ChannelClosed))

    def drain(self, name: str, draining: bool, seconds: int | None = None) -> Deferred[Response]:
        """Have a server that is connected take nobody new in, or do so again.

        After so many `seconds` its rooms move, or end. Fails with `ChannelClosed`.
        """
        headers = [("Draining", "yes" if draining else "no")]
        if seconds is not None:
            headers.append(("Deadline", str(seconds)))
        return self.links[name].request(link_request("DRAIN", self.own_name, headers))

    # What the focus asks: it is a `Channel`.

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a client's request to the server that has its room or dialog. See `Channel`."""
        link = self._routing.straight(message)
        if link is not None:
            return link.request(message)
        return Deferred.fromCoroutine(self._routing.route(message))

    def hung_up(self, entry: ServerEntry, record: DialogRecord) -> None:
        """A client has said BYE in a dialog of a server that is away: tell it when it is back."""
        self._farewells.setdefault(entry.name, {})[record.id] = record
