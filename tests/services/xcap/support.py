"""An XCAP server without sockets, with documents in memory."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote

from attrs import evolve
from lxml import etree
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.sip.digest import Challenge, respond
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.xcap.auth import Authenticator
from msrpconf.services.xcap.handler import XcapHandler
from msrpconf.xcap.resource import XcapResource
from msrpconf.xcap.store import Change, Stored
from tests.services.management.support import Reply, read_reply

ROOM = "sip:room@conf.example.com"
INDEX = f"/xcap-root/pres-rules/users/{ROOM}/index"
AUTH_POLICY = "application/auth-policy+xml"
ELEMENT = "application/xcap-el+xml"
ATTRIBUTE = "application/xcap-att+xml"
TOKEN = "0123456789abcdef"
CP = "xmlns(cp=urn:ietf:params:xml:ns:common-policy)"


class Memory:
    """Documents as a table has them, without one."""

    def __init__(self) -> None:
        self.stored: dict[str, Stored] = {}
        self._count = 0

    def get(self, uri: str) -> Deferred[Stored | None]:
        return succeed(self.stored.get(uri))

    def change(self, room: Room, uri: str, change: Change) -> Deferred[Stored | None]:
        return maybeDeferred(self._change, uri, change)

    def _change(self, uri: str, change: Change) -> Stored | None:
        octets = change(self.stored.get(uri))
        if octets is None:
            self.stored.pop(uri, None)
            return None
        self._count += 1
        self.stored[uri] = Stored(uri, f"tag{self._count}", octets)
        return self.stored[uri]


def at(selector: str, query: str = CP, document: str = INDEX) -> str:
    """The target of a node, percent-encoded as it has to be."""
    target = f"{document}/~~/{quote(selector, safe='/@=:*')}"
    return f"{target}?{quote(query, safe='=:()')}" if query else target


def basic(user: str = "alice@example.com", password: str = "secret") -> str:
    return "Authorization: Basic " + b64encode(f"{user}:{password}".encode()).decode()


def digest(
    challenge: str, method: str, uri: str, user: str, password: str = "secret", **changed: Any
) -> str:
    """What a client answers to a challenge; `changed` afterwards."""
    right = respond(Challenge.parse(challenge), user, password, method, uri)
    return f"Authorization: {evolve(right, **changed)}"


class XcapTestCase(SynchronousTestCase):
    """A room of Alice's, and a server of its documents."""

    basic = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = ConferenceRegistry(self.clock)
        self.room = self.registry.room(ROOM, ROOM, RoomSettings())
        self.room.roles = Roles(
            {"sip:alice@example.com": Role.OWNER, "sip:bob@example.com": Role.MODERATOR}
        )
        self.documents = Memory()
        users = {f"sip:{name}@example.com": "secret" for name in ("alice", "bob")}
        authenticator = Authenticator(users, TOKEN, self.basic, self.clock)
        resource = XcapResource(self.registry.rooms.get, self.documents)
        handler = XcapHandler(resource, authenticator)
        self.factory = ManagementFactory(handler, self.clock, "xcap")
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def lines(self) -> list[str]:
        return [formatEvent(each) or "" for each in self.events]

    def ask(
        self,
        method: str,
        target: str = INDEX,
        body: bytes = b"",
        content_type: str | None = None,
        headers: tuple[str, ...] = (),
        who: str | None = None,
    ) -> Reply:
        """Send a request of Alice's, unless `who` has another Authorization, or none."""
        lines = [f"{method} {target} HTTP/1.1", "Host: xcap.example.com", *headers]
        authorization = basic() if who is None else who
        if authorization:
            lines.append(authorization)
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if body or method == "PUT":
            lines.append(f"Content-Length: {len(body)}")
        sent = self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return read_reply(sent) if method != "HEAD" else _head(sent)

    def send(self, octets: bytes) -> bytes:
        """Send octets on a connection; all that comes back."""
        channel = self.factory.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(octets)
        sent: bytes = transport.value()
        channel.connectionLost(Failure(ConnectionError()))
        return sent

    def put(self, body: bytes, target: str = INDEX, kind: str = AUTH_POLICY, *more: str) -> Reply:
        return self.ask("PUT", target, body, kind, more)

    def conflict(self, reply: Reply, condition: str) -> Any:
        """`reply` is a detailed conflict report of that condition; the element of it."""
        self.assertEqual(reply.status, 409, reply.body)
        self.assertEqual(reply.headers["content-type"], "application/xcap-error+xml")
        root = etree.fromstring(reply.body)
        (error,) = root
        self.assertEqual(etree.QName(error).localname, condition)
        self.assertTrue(error.get("phrase"))
        return error

    def refused(self, reply: Reply, status: int, detail: str = "") -> None:
        self.assertEqual(reply.status, status, reply.body)
        self.assertIn(detail, reply.detail)


def _head(octets: bytes) -> Reply:
    head, _, body = octets.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    return Reply(int(status.split()[1]), headers, body)
