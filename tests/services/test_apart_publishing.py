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
from tests.documents import read, text
from tests.scenarios.test_publishing import Agent
from tests.scenarios.watching import WatcherWire

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
