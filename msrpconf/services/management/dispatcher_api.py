"""What a dispatcher answers about its servers, and about which of them has which room."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from msrpconf import __version__
from msrpconf.conference.operating import NotThere
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.sip.message import Response
from msrpconf.services.management import views
from msrpconf.services.management.common_api import CommonApi
from msrpconf.services.management.dispatcher_metrics import DispatcherCollector
from msrpconf.services.management.dispatcher_operations import DISPATCHER
from msrpconf.services.management.http import Answer
from msrpconf.services.management.metrics import Metrics
from msrpconf.services.management.parts import DispatcherParts
from msrpconf.services.management.problem import Problem
from msrpconf.services.management.router import Asked, Function
from msrpconf.services.servers_seen import CONNECTED, SeenServer, seen


class DispatcherApi(CommonApi):
    """The operations on a dispatcher; `secured` says whether a token is needed."""

    links = ("/v1/dispatcher/servers", "/v1/dispatcher/rooms")

    def __init__(self, parts: DispatcherParts, secured: bool) -> None:
        super().__init__(parts, Metrics(DispatcherCollector(parts)), DISPATCHER, secured)
        self._parts = parts

    def _reasons(self) -> list[str]:
        found = super()._reasons()
        servers = list(seen(self._parts.dispatcher))
        taking = [each for each in servers if each.entry is not None and each.entry.takes_rooms]
        if not taking:
            connected = sum(each.state == CONNECTED for each in servers)
            found.append(f"no server takes new rooms: of {len(servers)}, {connected} are connected")
        if self._parts.focuses is not None and not self._parts.focuses.links:
            found.append("no focus is connected")
        return found

    def _seen(self) -> list[SeenServer]:
        return sorted(
            seen(self._parts.dispatcher), key=lambda each: (each.name or "~", each.address or "")
        )

    def _find(self, text: str) -> SeenServer:
        for each in self._seen():
            if text in (each.name, each.address):
                return each
        raise NotThere(f"there is no server {text}: /v1/dispatcher/servers says which there are")

    def status(self, asked: Asked) -> Answer:
        """The dispatcher at a glance."""
        parts, servers, reasons = self._parts, self._seen(), self._reasons()
        entries = [each.entry for each in servers if each.entry is not None]
        return Answer(
            {
                "version": __version__,
                "dispatcher": parts.dispatcher.own_name,
                "ready": not reasons,
                "reasons": reasons,
                "since": views.time(parts.since),
                "uptime": round(max(0.0, parts.reactor.seconds() - parts.since), 1),
                "listening": parts.listening(),
                "servers": {
                    "total": len(servers),
                    "connected": sum(each.state == CONNECTED for each in servers),
                    "draining": sum(
                        each.state == CONNECTED and each.entry is not None and each.entry.draining
                        for each in servers
                    ),
                },
                "rooms": sum(len(each.rooms) for each in entries),
                "dialogs": sum(len(each.dialogs) for each in entries),
                "focuses": None if parts.focuses is None else sorted(parts.focuses.links),
                "given_up": parts.dispatcher.given_up,
            }
        )

    def servers(self, asked: Asked) -> Answer:
        """The servers."""
        return Answer({"servers": [views.server(each) for each in self._seen()]})

    def server(self, asked: Asked) -> Answer:
        """One server."""
        return Answer(views.server(self._find(asked.path["server"])))

    def drain_server(self, asked: Asked) -> Deferred[Answer]:
        """Have a server take nobody new in."""
        return self._drain(asked, True, asked.query["deadline"])

    def undrain_server(self, asked: Asked) -> Deferred[Answer]:
        """Have it take people in again."""
        return self._drain(asked, False)

    def _drain(self, asked: Asked, draining: bool, seconds: int | None = None) -> Deferred[Answer]:
        found = self._find(asked.path["server"])
        if found.state != CONNECTED or found.name is None:
            raise Problem(409, f"server {asked.path['server']} is not connected, but {found.state}")

        def answered(response: Response) -> Answer:
            if response.status != 200:
                why = f"{response.status} {response.reason}"
                raise Problem(503, f"server {found.name} does not do that: {why}")
            return self.server(asked)

        def lost(failure: Failure) -> Answer:
            failure.trap(ChannelClosed)
            raise Problem(503, failure.getErrorMessage())

        asking = self._parts.dispatcher.drain(found.name, draining, seconds)
        return asking.addCallbacks(answered, lost)

    def placed_rooms(self, asked: Asked) -> Answer:
        """The rooms that live, each with its server."""
        query = asked.query
        wanted = self._seen() if query["server"] is None else [self._find(query["server"])]
        part = (query["match"] or "").casefold()
        rooms = sorted(
            (room, each.name or "", each)
            for each in wanted
            if each.entry is not None
            for room in each.entry.rooms
            if part in room.casefold()
        )
        after, limit = query["after"], query["limit"]
        rest = [each for each in rooms if after is None or each[0] > after]
        page = rest[:limit]
        return Answer(
            {
                "rooms": [views.placed_room(room, each) for room, _, each in page],
                "total": len(rooms),
                "next": page[-1][0] if len(rest) > limit else None,
            }
        )


def dispatcher_functions(parts: DispatcherParts, secured: bool) -> Mapping[str, Function]:
    """All functions, by the ids of their operations."""
    api = DispatcherApi(parts, secured)
    return {each.id: getattr(api, each.id) for each in DISPATCHER.operations}
