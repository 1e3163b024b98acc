"""A server apart from the focus publishes its rooms by way of it (design: section 4)."""

from __future__ import annotations

from collections.abc import Generator
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from msrpconf.client import UserAgent
from msrpconf.conference.static import StaticRoom, StaticRooms
from msrpconf.config import Config
from msrpconf.services.apart import FocusApart, ServerApart, make_apart
from msrpconf.services.presence_apart import PresenceApart
from tests.documents import read, text
from tests.scenarios.test_publishing import Agent
from tests.scenarios.watching import WatcherWire
from tests.scenarios.wire import SipWire, header

ROOM = "sip:lobby@conf.example.com"

SERVER = """
[server]
name = "one"
listen = ["tcp:127.0.0.1:0"]
control = "unix:{socket}"
"""

FOCUS = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
[focus]
presence = "sip:127.0.0.1:{port};transport=tcp"
[dispatcher]
name = "focus.example.com"
servers = ["unix:{socket}"]
"""


class ApartTests(TestCase):
    timeout = 30

    @inlineCallbacks
    def test_a_focus_that_starts_later_and_again(self) -> Generator[Deferred[Any], Any, None]:
        agent = Agent()
        yield agent.start()
        self.addCleanup(agent.stop)
        directory = mkdtemp(prefix="msrpconf")  # the name of a socket must be short
        self.addCleanup(rmtree, directory)
        socket = f"{directory}/one.sock"
        server = make_apart(Config.parse(SERVER.format(socket=socket), "s"), reactor)
        assert isinstance(server, ServerApart)
        yield server.startService()
        rooms = StaticRooms(server.server.control)
        rooms.put(StaticRoom(ROOM, subject="Fish"))
        keys = FOCUS.format(socket=socket, port=agent.port)
        focus = make_apart(Config.parse(keys, "f"), reactor)
        assert isinstance(focus, FocusApart)
        yield focus.startService()
        yield agent.when(lambda: agent.states.find(ROOM) is not None)
        found = agent.states.find(ROOM)
        assert found is not None
        self.assertEqual(text(read(found.full(1)), "conference-description/subject"), "Fish")
        yield focus.stopService()
        # The server has kept the entity-tag: the next focus goes on with the publication.
        again = make_apart(Config.parse(keys, "f"), reactor)
        yield again.startService()
        told = len(agent.requests)
        yield agent.when(lambda: len(agent.requests) > told)
        self.assertEqual({status for _, status in agent.requests}, {200})
        self.assertEqual((len(agent.states), agent.ended), (1, 0))
        yield server.stopService()
        self.assertEqual((len(agent.states), agent.ended), (0, 1))
        yield again.stopService()

    @inlineCallbacks
    def test_a_presence_agent_beside_the_focus(self) -> Generator[Deferred[Any], Any, None]:
        directory = mkdtemp(prefix="msrpconf")
        self.addCleanup(rmtree, directory)
        socket = f"{directory}/one.sock"
        server = make_apart(Config.parse(SERVER.format(socket=socket), "s"), reactor)
        yield server.startService()
        keys = FOCUS.format(socket=socket, port=9) + "[presence]\ninterval = 0.1\n"
        focus = make_apart(Config.parse(keys, "f"), reactor)
        assert isinstance(focus, FocusApart)
        yield focus.startService()
        assert focus.presence is not None
        told: Deferred[None] = Deferred()
        focus.presence.states.watch(lambda *each: None if told.called else told.callback(None))
        port = focus.focus.listening[0].port
        room = f"sip:lobby@127.0.0.1:{port}"
        alice = UserAgent(reactor, "sip:alice@home.com")
        yield alice.join(room, on_message=lambda message: None, on_ended=lambda why: None)
        yield told
        # Who is in sees who is in; who is not sees how many.
        for name, users in (("alice", ["sip:alice@home.com"]), ("wendy", [])):
            watcher = WatcherWire(("127.0.0.1", port), name, tcp=True)
            watcher.uri = room
            news = yield watcher.begin()
            self.assertEqual((news.kind, list(news.users)), ("full", users))
            count = text(read(news.body.encode()), "conference-state/user-count")
            self.assertEqual(count, "1")
            watcher.subscribe(expires=0)
            yield watcher.next()
            yield watcher.close()
        yield alice.stop()
        yield server.stopService()
        yield focus.stopService()


SUBJECT = """
<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="{uri}" state="partial"
  version="0"><conference-description><subject>Tea</subject></conference-description>
</conference-info>"""


class UsersPublishTests(TestCase):
    """What a user publishes of a room comes to the server that has it, and so to all."""

    timeout = 60

    @inlineCallbacks
    def start(self, presence: str, tables: str = "") -> Generator[Any, Any, None]:
        directory = mkdtemp(prefix="msrpconf")
        self.addCleanup(rmtree, directory)
        socket = f"{directory}/one.sock"
        server = make_apart(Config.parse(SERVER.format(socket=socket), "s"), reactor)
        assert isinstance(server, ServerApart)
        self.server = server
        yield server.startService()
        self.addCleanup(server.stopService)
        keys = FOCUS.format(socket=socket, port=9)
        keys = keys.replace('"sip:127.0.0.1:9;transport=tcp"', f'"{presence}"') + tables
        focus = make_apart(Config.parse(keys, "f"), reactor)
        assert isinstance(focus, FocusApart)
        yield focus.startService()
        self.addCleanup(focus.stopService)
        self.port = focus.focus.listening[0].port
        self.alice = UserAgent(reactor, "sip:alice@home.com")
        self.addCleanup(self.alice.stop)
        yield self.alice.join(
            f"sip:lobby@127.0.0.1:{self.port}",
            on_message=lambda message: None,
            on_ended=lambda why: None,
        )

    def subject(self) -> str | None:
        return self.server.server.registry.rooms["sip:lobby@127.0.0.1"].subject

    @inlineCallbacks
    def publish(
        self, wire: SipWire, port: int, *more: str, user: str = "alice", hops: int = 70
    ) -> Generator[Any, Any, str]:
        self.cseq = getattr(self, "cseq", 0) + 1
        uri = f"sip:lobby@127.0.0.1:{port}"
        headers = "".join(f"\n    {line}" for line in more)
        body = "" if "Expires: 0" in more else SUBJECT.format(uri="sip:lobby@127.0.0.1")
        wire.send(
            f"""
    PUBLISH {uri} SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{wire.port};rport;branch=z9hG4bK{self.cseq}
    Max-Forwards: {hops}
    From: <sip:{user}@{"127.0.0.1" if user == "lobby" else "home.com"}>;tag=1
    To: <{uri}>
    Call-ID: publish-{user}
    CSeq: {self.cseq} PUBLISH
    Event: conference
    Content-Type: application/conference-info+xml{headers}""",
            body,
        )
        answer: str = yield wire.next()
        return answer

    @inlineCallbacks
    def tell(self, port: int) -> Generator[Any, Any, None]:
        """The whole life of a publication, by who listens at a port."""
        wire = SipWire(("127.0.0.1", port))
        self.addCleanup(wire.close)
        answer = yield self.publish(wire, port, user="eve")
        self.assertTrue(answer.startswith("SIP/2.0 403 Only moderators"), answer)
        answer = yield self.publish(wire, port)
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        self.assertEqual((header(answer, "Expires"), self.subject()), ("3600", "Tea"))
        etag = header(answer, "SIP-ETag")
        answer = yield self.publish(wire, port, f"SIP-If-Match: {etag}", "Expires: 0")
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        self.assertIsNone(self.subject())
        answer = yield self.publish(wire, port, f"SIP-If-Match: {etag}", "Expires: 0")
        self.assertTrue(answer.startswith("SIP/2.0 412 "), answer)

    @inlineCallbacks
    def test_by_the_focus(self) -> Generator[Any, Any, None]:
        yield self.start("sip:127.0.0.1:9;transport=tcp")
        yield self.tell(self.port)

    @inlineCallbacks
    def test_by_the_presence_agent_beside_it(self) -> Generator[Any, Any, None]:
        yield self.start("sip:127.0.0.1:9;transport=tcp", "[presence]\ninterval = 0.1\n")
        yield self.tell(self.port)

    @inlineCallbacks
    def test_by_a_presence_agent_by_itself(self) -> Generator[Any, Any, None]:
        yield self.start("sip:127.0.0.1:9;transport=tcp")
        config = (
            '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[presence]\n'
            f'focus = "sip:127.0.0.1:{self.port}"\n'
        )
        presence = PresenceApart(Config.parse(config, "p"), reactor)
        yield presence.startService()
        self.addCleanup(presence.stopService)
        port = presence.endpoint.listening[0].port
        yield self.tell(port)
        wire = SipWire(("127.0.0.1", port))
        self.addCleanup(wire.close)
        answer = yield self.publish(wire, port, hops=0)
        self.assertTrue(answer.startswith("SIP/2.0 483 "), answer)
        # Nobody gets to say by it what a focus says.
        answer = yield self.publish(
            wire, port, "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK9", user="lobby"
        )
        self.assertTrue(answer.startswith("SIP/2.0 403 Only its focus publishes"), answer)

    @inlineCallbacks
    def test_nobody_is_in_the_room_any_more(self) -> Generator[Any, Any, None]:
        yield self.start("sip:127.0.0.1:9;transport=tcp")
        wire = SipWire(("127.0.0.1", self.port))
        self.addCleanup(wire.close)
        yield self.publish(wire, self.port)
        self.assertEqual(len(self.server.publishing), 1)
        yield self.alice.stop()
        self.assertEqual(len(self.server.publishing), 0)
        answer = yield self.publish(wire, self.port)
        self.assertTrue(answer.startswith("SIP/2.0 404 "), answer)
