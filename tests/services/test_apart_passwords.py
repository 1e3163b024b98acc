"""A focus apart from its servers asks for passwords, too."""

from __future__ import annotations

from collections.abc import Generator
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from msrpconf.client import JoinError, UserAgent
from msrpconf.config import Config
from msrpconf.services.apart import make_apart
from msrpconf.storage.database import Database
from msrpconf.storage.subscribers import SubscriberStore, User

SERVER = """
[server]
name = "one"
listen = ["tcp:127.0.0.1:0"]
control = "unix:{directory}/one.sock"
"""

FOCUS = """
[sip]
listen = ["udp:127.0.0.1:0"]
trusted = []
authenticate = true
realm = "example.com"
[focus]
[dispatcher]
name = "focus.example.com"
servers = ["unix:{directory}/one.sock"]
[database]
url = "sqlite:///{directory}/users.sqlite"
"""


class ApartTests(TestCase):
    timeout = 30

    @inlineCallbacks
    def test_who_knows_it_gets_in(self) -> Generator[Deferred[Any], Any, None]:
        directory = mkdtemp(prefix="msrpconf")  # the name of a socket must be short
        self.addCleanup(rmtree, directory)
        server, focus = (
            make_apart(Config.parse(text.format(directory=directory), "x"), reactor)
            for text in (SERVER, FOCUS)
        )
        for service in (server, focus):
            yield service.startService()
            self.addCleanup(service.stopService)
        database = Database(f"sqlite:///{directory}/users.sqlite", reactor)
        yield database.start()
        self.addCleanup(database.stop)
        yield SubscriberStore(database).add(User("alice", "example.com"), "pw")
        room = f"sip:lobby@127.0.0.1:{focus.listening[0].rpartition(':')[2]}"
        for password in ("guess", None):
            stranger = UserAgent(reactor, "sip:alice@example.com", password=password)
            self.addCleanup(stranger.stop)
            error = yield self.assertFailure(stranger.join(room), JoinError)
            self.assertEqual(error.status, 401)
        alice = UserAgent(reactor, "sip:alice@example.com", password="pw")
        self.addCleanup(alice.stop)
        while True:
            try:
                chat = yield alice.join(room)
                break
            except JoinError as error:
                # The server has not been heard of yet.
                self.assertEqual(error.status, 503)
                yield deferLater(reactor, 0.05)
        yield chat.leave()
