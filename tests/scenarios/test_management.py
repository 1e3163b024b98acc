"""Stories of an operator: rooms set up, people in them, and what they see of what is done."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from click import ClickException
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.threads import deferToThread

from msrpconf.client import JoinError
from msrpconf.commands.managing import Server
from msrpconf.config import Config
from msrpconf.services.compose import make_service
from tests.scenarios.embedded import EmbeddedServerTestCase, joined

Story = Generator[Deferred[Any], Any, None]

TEA = ("v1", "rooms", "sip:tea@127.0.0.1")


class ManagementStory(EmbeddedServerTestCase):
    """A server with a database and a management interface."""

    management = 'listen = "127.0.0.1:0"'
    token: str | None = None
    server_keys = "[conference]\nnotices = false"

    def setUp(self) -> Any:
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        self.directory = directory
        self.source = str(directory / "msrpconf.toml")
        self.server_keys = (
            f'{self.server_keys}\n[database]\nurl = "sqlite:///rooms.sqlite"\n'
            f"[management]\n{self.management.format(directory=directory)}\n"
        )
        return super().setUp()

    def ask(self, method: str, *path: str, body: object = None) -> Deferred[Any]:
        """Have the operator ask, as the command line does."""
        assert self.service.management is not None
        (url,) = self.service.management.listening
        server = Server(url, self.token, as_json=True)
        return deferToThread(server.ask, method, *path, body=body)

    @inlineCallbacks
    def refused(self, said: str, *asked: Any, body: object = None) -> Story:
        """The operator is told that it cannot be."""
        try:
            yield self.ask(*asked, body=body)
        except ClickException as error:
            self.assertIn(said, error.message)
        else:
            self.fail(f"not refused: {said}")

    def tea(self) -> str:
        """The address of the room that `TEA` is."""
        return self.room("tea")


class RoomStories(ManagementStory):
    @inlineCallbacks
    def test_a_room_from_its_beginning_to_its_end(self) -> Story:
        made = yield self.ask(
            "POST", "v1", "rooms", body={"uri": "tea@127.0.0.1", "subject": "Tea"}
        )
        self.assertEqual((made["uri"], made["static"]), ("sip:tea@127.0.0.1", True))
        _, alice = yield joined(self.agent("alice"), self.tea())
        bob_chat, bob = yield joined(self.agent("bob"), self.tea())
        people = yield self.ask("GET", *TEA, "participants")
        self.assertEqual([each["role"] for each in people["participants"]], ["participant"] * 2)

        # What the operator says comes from the room.
        told = yield self.ask("POST", *TEA, "announcements", body={"text": "Welcome"})
        self.assertEqual(told, {"recipients": 2})

        # Who is muted is told so, and heard again afterwards.
        user = (*TEA, "users", "bob@example.com")
        yield self.ask("PATCH", *user, body={"muted": True})
        yield self.assertFailure(bob_chat.send("hello"), Exception)
        yield self.ask("PATCH", *user, body={"muted": False})
        yield bob_chat.send("hello again")
        heard = yield alice.next()
        while heard.text != "hello again":
            heard = yield alice.next()

        # Who is removed may come back; who is banned may not, not even after a restart.
        yield self.ask("DELETE", *TEA, "participants", "bob@example.com")
        why = yield bob.ended
        self.assertIn("Removed by the operator", why)
        _, bob = yield joined(self.agent("bob"), self.tea())
        yield self.ask("PATCH", *user, body={"role": "banned"})
        why = yield bob.ended
        self.assertIn("You are banned from this room", why)
        kept = yield self.ask("GET", *TEA)
        self.assertEqual(kept["users"], {"sip:bob@example.com": "banned"})
        yield self.assertFailure(self.agent("bob").join(self.tea()), JoinError)
        yield self.ask("PATCH", *user, body={"role": None})
        _, bob = yield joined(self.agent("bob"), self.tea())

        # The room is deleted with people in it.
        gone = yield self.ask("DELETE", *TEA)
        self.assertEqual(gone, {"removed": 2})
        whys = yield gatherResults([alice.ended, bob.ended])
        for why in whys:
            self.assertIn("The room was closed by its operator", why)
        yield self.refused("there is no room", "GET", *TEA)

    @inlineCallbacks
    def test_what_is_set_up_is_there_after_a_restart(self) -> Story:
        body = {"uri": "tea@127.0.0.1", "users": {"alice@example.com": "owner"}, "locked": True}
        yield self.ask("POST", "v1", "rooms", body=body)
        yield self.service.stopService()
        self.service = make_service(self.config, reactor)
        yield self.service.startService()
        found = yield self.ask("GET", *TEA)
        self.assertEqual(found["users"], {"sip:alice@example.com": "owner"})
        self.assertTrue(found["locked"])

    @inlineCallbacks
    def test_two_operators_do_not_undo_each_others_work(self) -> Story:
        made = yield self.ask("POST", "v1", "rooms", body={"uri": "tea@127.0.0.1"})
        revision = made["revision"]
        changed = yield self.ask("PATCH", *TEA, body={"subject": "One", "revision": revision})
        self.assertGreater(changed["revision"], revision)
        yield self.refused(
            "changed by somebody else", "PATCH", *TEA, body={"subject": "Two", "revision": revision}
        )
        found = yield self.ask("GET", *TEA)
        self.assertEqual(found["subject"], "One")
        yield self.refused("set up already", "POST", "v1", "rooms", body={"uri": "tea@127.0.0.1"})

    @inlineCallbacks
    def test_what_was_said_is_forgotten_for_good(self) -> Story:
        body = {"uri": "tea@127.0.0.1", "settings": {"history_messages": 5}}
        yield self.ask("POST", "v1", "rooms", body=body)
        chat, _ = yield joined(self.agent("alice"), self.tea())
        yield chat.send("a secret")
        history = yield self.ask("GET", *TEA, "history")
        self.assertEqual([each["text"] for each in history["messages"]], ["a secret"])
        yield self.ask("DELETE", *TEA, "history")
        yield self.service.stopService()
        self.assertNotIn(b"a secret", (self.directory / "rooms.sqlite").read_bytes())
        self.service = make_service(self.config, reactor)
        yield self.service.startService()
        history = yield self.ask("GET", *TEA, "history")
        self.assertEqual(history, {"messages": [], "total": 0})

    @inlineCallbacks
    def test_draining(self) -> Story:
        yield joined(self.agent("alice"), self.tea())
        left = yield self.ask("PUT", "v1", "drain")
        self.assertEqual((left["rooms"], left["participants"]), (1, 1))
        try:
            yield self.agent("bob").join(self.tea())
        except JoinError as error:
            self.assertEqual(error.status, 503)
            self.assertIn("takes nobody new", str(error))
        else:
            self.fail("bob was let in")
        yield self.refused("503", "GET", "readyz")
        yield self.ask("DELETE", "v1", "drain")
        yield joined(self.agent("bob"), self.tea())


class ReloadStories(ManagementStory):
    def write(self, text: str) -> None:
        """Write the configuration's file."""
        Path(self.source).write_text(text)

    def tables(self, more: str) -> str:
        """The configuration that runs, with other keys of `[conference]`."""
        return (
            '[sip]\nlisten = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]\n[focus]\nack_timeout = 5.0\n'
            '[server]\nlisten = ["tcp:127.0.0.1:0"]\nmsrp_timeout = 15.0\ngrace = 15.0\n'
            '[database]\nurl = "sqlite:///rooms.sqlite"\n[management]\nlisten = "127.0.0.1:0"\n'
            f"[conference]\nnotices = false\n{more}"
        )

    @inlineCallbacks
    def test_keys_that_can_change(self) -> Story:
        yield self.ask("POST", "v1", "rooms", body={"uri": "tea@127.0.0.1"})
        self.write(self.tables("max_participants = 1\nad_hoc = false"))
        done = yield self.ask("POST", "v1", "reload")
        self.assertEqual(
            done,
            {
                "changed": ["conference.ad_hoc", "conference.max_participants"],
                "restart": [],
                "static_rooms": 1,
            },
        )
        yield joined(self.agent("alice"), self.tea())
        for room, said in ((self.tea(), "The room is full"), (self.room("new"), "No such room")):
            try:
                yield self.agent("bob").join(room)
            except JoinError as error:
                self.assertIn(said, str(error))
            else:
                self.fail(f"let in, though {said}")
        again = yield self.ask("POST", "v1", "reload")
        self.assertEqual(again["changed"], [])

    @inlineCallbacks
    def test_keys_that_wait_for_a_restart(self) -> Story:
        text = self.tables("").replace("msrp_timeout = 15.0", 'msrp_timeout = 9.0\nname = "x"')
        self.write(text.replace('127.0.0.1:0"\n[conf', '127.0.0.1:9"\n[conf'))
        done = yield self.ask("POST", "v1", "reload")
        self.assertEqual(done["changed"], ["server.msrp_timeout"])
        self.assertEqual(done["restart"], ["server.name", "management.listen"])
        settings = self.service.server.control.settings
        self.assertEqual((settings.msrp_timeout, settings.name), (9.0, "local"))
        self.assertEqual(settings.msrp_port, self.msrp_ports["tcp"])
        # They are said again, until it is restarted.
        done = yield self.ask("POST", "v1", "reload")
        self.assertEqual((done["changed"], len(done["restart"])), ([], 2))

    @inlineCallbacks
    def test_a_mistake_changes_nothing(self) -> Story:
        self.write(self.tables("max_participants = 0\nburst = 5"))
        yield self.refused("[conference] max_participants: expected", "POST", "v1", "reload")
        self.write(self.tables("").replace("[focus]\n", "trusted = []\n[focus]\n"))
        yield self.refused("[sip] trusted", "POST", "v1", "reload")
        self.assertEqual(self.service.server.control.settings.room.burst, 100)

    @inlineCallbacks
    def test_what_another_process_has_changed(self) -> Story:
        tables = self.tables("").replace('[management]\nlisten = "127.0.0.1:0"', "")
        other = make_service(Config.parse(tables, self.source), reactor)
        self.addCleanup(other.stopService)
        yield other.startService()
        static = other.static_rooms
        assert static is not None
        yield self.ask("POST", "v1", "rooms", body={"uri": "tea@127.0.0.1"})
        yield static.refresh()
        yield static.delete("sip:tea@127.0.0.1")
        self.write(self.tables(""))
        done = yield self.ask("POST", "v1", "reload")
        self.assertEqual(done["static_rooms"], 0)


class UnixSocketStories(ManagementStory):
    # Short: a socket's path is 107 octets at most.
    management = 'listen = "unix:{directory}/m"'

    def mktemp(self) -> str:
        directory = tempfile.mkdtemp(prefix="m")
        self.temporary = directory
        return f"{directory}/d"

    def tearDown(self) -> Any:
        return super().tearDown().addCallback(lambda _: shutil.rmtree(self.temporary))

    @inlineCallbacks
    def test_it_is_for_its_owner_and_group(self) -> Story:
        status = yield self.ask("GET", "v1", "status")
        self.assertTrue(status["ready"])
        mode = stat.S_IMODE(os.stat(self.directory / "m").st_mode)
        self.assertEqual(mode & 0o007, 0)
        yield self.service.stopService()
        self.assertFalse((self.directory / "m").exists())


class TokenStories(ManagementStory):
    management = 'listen = "127.0.0.1:0"\ntoken = "0123456789abcdef"'

    @inlineCallbacks
    def test_with_and_without(self) -> Story:
        yield self.refused("a token is needed", "GET", "v1", "status")
        self.token = "another one"
        yield self.refused("this token is not the one", "GET", "v1", "status")
        self.token = "0123456789abcdef"
        status = yield self.ask("GET", "v1", "status")
        self.assertTrue(status["ready"])
