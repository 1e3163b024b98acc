"""A server without a proxy, and users with passwords."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import JoinError
from msrpconf.storage.subscribers import SubscriberStore, User
from tests.scenarios.embedded import EmbeddedServerTestCase, joined

Story = Generator[Deferred[Any], Any, None]


class PasswordStories(EmbeddedServerTestCase):
    sip_keys = 'trusted = []\nauthenticate = true\nrealm = "example.com"'
    server_keys = '[database]\nurl = "sqlite:///users.sqlite"'

    @inlineCallbacks
    def start_server(self) -> Generator[Deferred[Any], Any, None]:
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        self.source = str(directory / "msrpconf.toml")
        yield super().start_server()
        assert self.service.static_rooms is not None
        self.users = SubscriberStore(self.service.static_rooms.database)
        for name in ("alice", "bob"):
            yield self.users.add(User(name, "example.com"), f"{name}'s")

    @inlineCallbacks
    def test_they_talk(self) -> Story:
        alice, _ = yield joined(self.agent("alice", password="alice's"), self.room())
        bob_agent = self.agent("bob", password="bob's")
        bob, bob_hears = yield joined(bob_agent, self.room(transport="tcp"))
        yield alice.send("Hi")
        self.assertEqual((yield bob_hears.next()).text, "Hi")
        # In the dialog, too, each is asked who it is, and says it at once.
        yield alice.remove("sip:bob@example.com")
        self.assertIn("Removed by alice", (yield bob_hears.ended))
        yield alice.leave()
        self.assertEqual(self.service.registry.rooms, {})
        self.assertEqual(bob.ended, True)

    @inlineCallbacks
    def test_who_does_not_know_it(self) -> Story:
        for password, text in (
            ("bob's", "the password of alice is not right there"),
            (None, "a password is asked for"),
        ):
            agent = self.agent("alice", password=password)
            error = yield self.assertFailure(agent.join(self.room()), JoinError)
            self.assertEqual(error.status, 401)
            self.assertIn(text, error.reason)

    @inlineCallbacks
    def test_a_password_that_is_taken_away(self) -> Story:
        agent = self.agent("alice", password="alice's")
        chat, _ = yield joined(agent, self.room())
        yield chat.leave()
        yield self.users.remove(User("alice", "example.com"))
        error = yield self.assertFailure(agent.join(self.room()), JoinError)
        self.assertEqual(error.status, 401)
