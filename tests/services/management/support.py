"""A management interface without sockets, on a server without sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from msrpconf.protocols.msrp.connection import MsrpFactory
from msrpconf.services.management.api import functions
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.management.parts import Parts, Reloaded
from msrpconf.services.management.router import Router
from msrpconf.services.static_rooms import StaticRoomService
from tests.conference.support import ROOM, ControlTestCase

PATH = f"/v1/rooms/{ROOM}"


@frozen
class Reply:
    """An answer: its status, its headers in lower case, its body, and the JSON of that."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """What a problem says."""
        return str(self.json["detail"])


def read_reply(octets: bytes) -> Reply:
    """The one answer in some octets."""
    head, _, body = octets.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    if "content-length" in headers:
        assert int(headers["content-length"]) == len(body), octets
    return Reply(int(status.split()[1]), headers, body)


class Operator:
    """Sends HTTP to what `factory` serves; `meanwhile` is done before the answer is read."""

    factory: ManagementFactory
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def send(self, octets: bytes) -> bytes:
        """Send octets on a connection; all that comes back."""
        channel = self.factory.buildProtocol(None)
        assert channel is not None
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(octets)
        self.meanwhile()
        sent: bytes = transport.value()
        channel.connectionLost(Failure(ConnectionError()))
        return sent

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: tuple[str, ...] = (),
        content_type: str | None = "application/json",
        host: str = "127.0.0.1:8080",
        octets: bytes | None = None,
    ) -> Reply:
        """Send a request; `body` is JSON, `octets` are something else."""
        content = (
            octets if octets is not None else b"" if body is None else json.dumps(body).encode()
        )
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        changes = method in {"POST", "PUT", "PATCH"}
        if content_type is not None and changes:
            lines.append(f"Content-Type: {content_type}")
        if content or changes:
            lines.append(f"Content-Length: {len(content)}")
        return read_reply(self.send("\r\n".join([*lines, "", ""]).encode() + content))

    def get(self, path: str) -> Any:
        """The JSON of what is there."""
        reply = self.ask("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    def refused(self, reply: Reply, status: int, detail: str) -> None:
        """`reply` is a problem that says so."""
        assert reply.status == status, reply.body
        assert reply.headers["content-type"] == "application/problem+json", reply.headers
        assert reply.json["status"] == status, reply.body
        assert detail in reply.detail, reply.detail


class ManagementTestCase(Operator, ControlTestCase):
    """A server, its people, and an operator who sends HTTP to it."""

    token: str | None = None
    local = True

    def setUp(self) -> None:
        super().setUp()
        self.msrp = MsrpFactory(self.registry.sessions, self.clock)
        self.started = True
        self.reloaded: Deferred[Reloaded] = succeed(Reloaded())
        self.static_rooms: StaticRoomService | None = None
        self.serve()

    def serve(self) -> None:
        """Make the interface, anew."""
        self.parts = Parts(
            reactor=self.clock,
            control=self.control,
            msrp=self.msrp,
            focus=None,
            static_rooms=self.static_rooms,
            listening=lambda: ["sip udp:192.0.2.1:5060"],
            started=lambda: self.started,
            reload=lambda: self.reloaded,
        )
        guard = Guard(self.token, self.local)
        router = Router(guard, functions(self.parts, self.token is not None))
        self.factory = ManagementFactory(router, self.clock)
