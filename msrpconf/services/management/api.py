"""What the operations do that are about the server; those about rooms are in `rooms_api`."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from msrpconf import __version__
from msrpconf.conference.participant import State
from msrpconf.services.management import views
from msrpconf.services.management.common_api import CommonApi
from msrpconf.services.management.http import Answer
from msrpconf.services.management.metrics import Metrics, ServerCollector
from msrpconf.services.management.operations import SERVER
from msrpconf.services.management.parts import Parts
from msrpconf.services.management.people_api import PeopleApi
from msrpconf.services.management.rooms_api import RoomsApi
from msrpconf.services.management.router import Asked, Function
from msrpconf.services.management.watchers_api import WatchersApi


class ServerApi(CommonApi):
    """The operations on the server as a whole; `secured` says whether a token is needed."""

    links = ("/v1/rooms",)

    def __init__(self, parts: Parts, secured: bool) -> None:
        super().__init__(parts, Metrics(ServerCollector(parts)), SERVER, secured)
        self._parts = parts

    def _reasons(self) -> list[str]:
        found, parts = super()._reasons(), self._parts
        if parts.registry.draining:
            found.append("the server is draining: it takes nobody new in until that is undone")
        static = parts.static_rooms
        if static is not None and static.away is not None:
            found.append(static.away)
        return found

    def status(self, asked: Asked) -> Answer:
        """The server at a glance."""
        parts = self._parts
        registry, static = parts.registry, parts.static_rooms
        people = registry.participants()
        rooms = registry.rooms.values()
        tally, traffic = registry.totals(), parts.msrp.traffic
        reasons = self._reasons()
        now = parts.reactor.seconds()
        return Answer(
            {
                "version": __version__,
                "server": parts.control.settings.name,
                "ready": not reasons,
                "reasons": reasons,
                "draining": registry.draining,
                "since": views.time(parts.since),
                "uptime": round(max(0.0, now - parts.since), 1),
                "listening": parts.listening(),
                "database": None if static is None else static.database.name,
                "rooms": {
                    "total": len(rooms),
                    "static": registry.static_rooms,
                    "occupied": sum(1 for each in rooms if each.participants),
                },
                "participants": {
                    "total": len(people),
                    "joined": sum(each.state is State.JOINED for each in people),
                    "congested": sum(each.session.congested for each in people),
                },
                "messages": tally.messages,
                "private_messages": tally.private_messages,
                "undelivered": tally.undelivered,
                "octets_in": traffic.octets_in,
                "octets_out": traffic.octets_out,
            }
        )

    def drain(self, asked: Asked) -> Deferred[Answer]:
        """Take nobody new in."""
        kept = self._parts.draining.begin(asked.query["deadline"])
        return kept.addCallback(lambda _: self.drained(asked))

    def undrain(self, asked: Asked) -> Deferred[Answer]:
        """Take people in again."""
        return self._parts.draining.end().addCallback(lambda _: self.drained(asked))

    def drained(self, asked: Asked) -> Answer:
        """How many are still in."""
        registry, draining = self._parts.registry, self._parts.draining
        occupied = sum(1 for each in registry.rooms.values() if each.participants)
        return Answer(
            {
                "draining": registry.draining,
                "deadline": None if draining.deadline is None else views.time(draining.deadline),
                "kept": draining.is_kept,
                "rooms": occupied,
                "participants": len(registry.dialogs),
            }
        )


def functions(parts: Parts, secured: bool) -> Mapping[str, Function]:
    """All functions, by the ids of their operations."""
    found: dict[str, Function] = {}
    for api in (ServerApi(parts, secured), RoomsApi(parts), PeopleApi(parts), WatchersApi(parts)):
        found |= {name: getattr(api, name) for name in _IDS if hasattr(api, name)}
    return found


_IDS = [each.id for each in SERVER.operations]
