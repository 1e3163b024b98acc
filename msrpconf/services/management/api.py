"""What the operations do that are about the server; those about rooms are in `rooms_api`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf import __version__
from msrpconf.conference.participant import State
from msrpconf.services.management import views
from msrpconf.services.management.http import Answer
from msrpconf.services.management.metrics import Metrics
from msrpconf.services.management.openapi import describe
from msrpconf.services.management.parts import Parts
from msrpconf.services.management.people_api import PeopleApi
from msrpconf.services.management.rooms_api import RoomsApi
from msrpconf.services.management.router import Asked, Function


class ServerApi:
    """The operations on the server as a whole; `secured` says whether a token is needed."""

    def __init__(self, parts: Parts, secured: bool) -> None:
        self._parts = parts
        self._metrics = Metrics(parts)
        self._description = describe(secured)

    def index(self, asked: Asked) -> Answer:
        """What there is."""
        links = ("/v1/status", "/v1/rooms", "/metrics", "/healthz", "/readyz", "/openapi.json")
        return Answer({"name": "msrpconf", "version": __version__, "links": list(links)})

    def openapi(self, asked: Asked) -> Answer:
        """The description."""
        return Answer(self._description)

    def metrics(self, asked: Asked) -> Answer:
        """Prometheus's text."""
        return Answer(content=self._metrics.text(), content_type=self._metrics.content_type)

    def healthz(self, asked: Asked) -> Answer:
        """That we answer is all there is to say."""
        return Answer({"status": "ok", "reasons": []})

    def readyz(self, asked: Asked) -> Answer:
        """Whether people are taken in."""
        reasons = self.reasons()
        status = "not ready" if reasons else "ok"
        return Answer({"status": status, "reasons": reasons}, 503 if reasons else 200)

    def reasons(self) -> list[str]:
        """Why nobody new is taken in; empty where they are."""
        parts = self._parts
        found = []
        if not parts.started():
            found.append("not everything listens yet, or the server is stopping")
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
        reasons = self.reasons()
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

    def drain(self, asked: Asked) -> Answer:
        """Take nobody new in."""
        self._parts.registry.draining = True
        return self.drained(asked)

    def undrain(self, asked: Asked) -> Answer:
        """Take people in again."""
        self._parts.registry.draining = False
        return self.drained(asked)

    def drained(self, asked: Asked) -> Answer:
        """How many are still in."""
        registry = self._parts.registry
        occupied = sum(1 for each in registry.rooms.values() if each.participants)
        return Answer(
            {
                "draining": registry.draining,
                "rooms": occupied,
                "participants": len(registry.dialogs),
            }
        )

    @inlineCallbacks
    def reload(self, asked: Asked) -> Generator[Deferred[Any], Any, Answer]:
        """Read the configuration and the static rooms again."""
        done = yield self._parts.reload()
        return Answer(
            {
                "changed": list(done.changed),
                "restart": list(done.restart),
                "static_rooms": done.static_rooms,
            }
        )


def functions(parts: Parts, secured: bool) -> Mapping[str, Function]:
    """All functions, by the ids of their operations."""
    apis = (ServerApi(parts, secured), RoomsApi(parts), PeopleApi(parts))
    return {
        name: getattr(api, name) for api in apis for name in dir(api) if not name.startswith("_")
    }
