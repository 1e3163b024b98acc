"""`msrpconf watch`: what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import Happening, RoomEvent, Roster, WatchError, WatchState
from msrpconf.commands.visiting import Visit
from msrpconf.commands.watch import Lines, as_json_line
from msrpconf.protocols.conference_info import Endpoint, Execution, User
from msrpconf.protocols.sip.uri import SipURI
from tests.processes import ProcessCase

PRESENCE = "[presence]\ninterval = 0.1\n"


class Watching:
    """What is watched."""

    room = SipURI.parse("sip:lobby@example.com:5070")

    def __init__(self) -> None:
        self.roster = Roster()
        self.error: WatchError | None = None
        self.state = WatchState.ACTIVE


_TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_DONE = st.none() | st.builds(Execution, st.none() | st.floats(), _TEXT, _TEXT)
_ENDPOINTS = st.builds(Endpoint, st.text(max_size=5), joining_info=_DONE, disconnection_info=_DONE)
_USERS = st.builds(
    User, st.text(max_size=9), _TEXT, _TEXT, endpoints=st.lists(_ENDPOINTS, max_size=2).map(tuple)
)


class EventTests(SynchronousTestCase):
    def test_how_a_watch_ends(self) -> None:
        lines = Lines(Visit.of("sip:lobby@example.com", "alice"), lambda: datetime.now(UTC))
        watching: Any = Watching()
        over = RoomEvent(Happening.UNWATCHED, reason="why")
        for error, text in ((WatchError(403, "why"), ""), (WatchError(410, "why"), "why")):
            watching.error = error
            self.assertEqual(lines(watching, over)[len("HH:MM:SS ") :], text)
            told = json.loads(as_json_line(watching, over))
            self.assertEqual((told["status"], told["reason"]), (error.status, "why"))

    @settings(deadline=None)
    @given(st.sampled_from(Happening), _USERS, _TEXT)
    def test_whatever_happens_is_one_line(
        self, what: Happening, user: User, text: str | None
    ) -> None:
        watching: Any = Watching()
        watching.roster._users = {user.entity: user}
        event = RoomEvent(what, user, text, text, text, text)
        line = as_json_line(watching, event)
        self.assertTrue(line.isascii() and line.isprintable())
        self.assertEqual(json.loads(line)["event"], what.value)
        lines = Lines(Visit.of("sip:lobby@example.com", "alice"), lambda: datetime.now(UTC))
        for each in lines(watching, event).split("\n"):
            self.assertNotIn("\x1b", each)


class ProgramTests(ProcessCase):
    @inlineCallbacks
    def test_a_room_until_it_ends(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server(settings=PRESENCE)
        alice = self.start("msrpconf", "chat", room, "--as", "alice", "--name", "Alice")
        yield alice.shows("You are in")
        yield server.shows("joined: sip:alice")
        people = self.start("msrpconf", "watch", room, "--as", "dave")
        program = self.start("msrpconf", "watch", room, "--as", "erin", "--json")
        yield people.shows(r"\d\d:\d\d:\d\d 1 here:\n +Alice <alice@127\.0\.0\.1>, owner, since ")
        yield program.shows(r'"event": "state"')
        bob = self.start("msrpconf", "chat", room, "--as", "bob")
        yield people.shows(r"\d bob@127\.0\.0\.1 has joined\n")
        # What is told late is told together: each waits for both.
        yield program.shows('"event": "came"')
        yield bob.shows("You are in")
        bob.types("/nick Bobby\n")
        yield people.shows(r"bob@127\.0\.0\.1 is now Bobby <bob@127\.0\.0\.1>")
        yield program.shows('"event": "named"')
        bob.closes_input()
        yield people.shows(r"Bobby <bob@127\.0\.0\.1> has left")
        yield program.shows('"event": "left"')
        alice.closes_input()
        status = yield people.ends()
        self.assertEqual((status, people.errors), (0, ""))
        self.assertTrue(people.output.endswith(" The room has ended\n"), people)
        status = yield program.ends()
        self.assertEqual((status, program.errors), (0, ""))
        told = [json.loads(line) for line in program.output.splitlines()]
        self.assertEqual(
            [each["event"] for each in told],
            ["state", "came", "named", "left", "ended", "unwatched"],
        )
        self.assertEqual(told[0]["users"][0]["uri"], "sip:alice@127.0.0.1")
        self.assertEqual(told[0]["users"][0]["roles"], ["owner"])
        self.assertEqual(told[3]["user"]["devices"][0]["how"], "departed")

    @inlineCallbacks
    def test_who_watches(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server(settings=f"{PRESENCE}winfo_interval = 0.1\n")
        alice = self.start("msrpconf", "chat", room, "--as", "alice")
        yield server.shows("joined: sip:alice")
        yield server.shows("watching: sip:alice@127.0.0.1, conference of")
        bob = self.start("msrpconf", "watch", room, "--as", "bob", "--watchers")
        status = yield bob.ends()
        self.assertEqual(status, 1)
        self.assertRegex(bob.errors, rf"\AError: {room}: 403 ")
        owner = self.start("msrpconf", "watch", room, "--as", "alice", "--watchers")
        program = self.start("msrpconf", "watch", room, "--as", "alice", "--watchers", "--json")
        yield owner.shows(r"\d alice@127\.0\.0\.1 watches\n")
        yield program.shows(r'"event": "watcher".*"status": "active"')
        dave = self.start("msrpconf", "watch", room, "--as", "dave", "--name", "Dave")
        yield dave.shows("1 here")
        yield owner.shows(r"\d Dave <dave@127\.0\.0\.1> watches\n")
        dave.signals("INT")
        yield dave.ends()
        yield owner.shows(r"\d Dave <dave@127\.0\.0\.1> watches no more \(timeout\)\n")
        alice.closes_input()
        status = yield owner.ends()
        self.assertEqual((status, owner.errors), (0, ""))
        status = yield program.ends()
        self.assertEqual((status, program.errors), (0, ""))
        last = json.loads(program.output.splitlines()[-1])
        self.assertEqual((last["event"], last["status"]), ("unwatched", 410))

    @inlineCallbacks
    def test_who_may_not(self) -> Generator[Deferred[Any], Any, None]:
        for settings_, why in (
            (PRESENCE, r"404 There is no such room"),
            ("", r"405 SUBSCRIBE is not served"),
        ):
            _, room = yield self.start_server(settings=settings_)
            watching = self.start("msrpconf", "watch", room, "--as", "dave")
            status = yield watching.ends()
            self.assertEqual(status, 1)
            self.assertRegex(watching.errors, rf"\AError: {room}: {why}.*\n\Z")
            self.assertEqual(watching.output, "")

    @inlineCallbacks
    def test_until_one_has_seen_enough(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server(settings=PRESENCE)
        alice = self.start("msrpconf", "chat", room, "--as", "alice")
        yield server.shows("joined: sip:alice")
        watching = self.start("msrpconf", "watch", room, "--as", "dave")
        yield watching.shows("1 here")
        watching.signals("INT")
        status = yield watching.ends()
        self.assertEqual((status, watching.errors), (130, ""))
        yield server.shows("watching no more: unsubscribed")
        watching = self.start("msrpconf", "watch", room, "--as", "dave")
        yield watching.shows("1 here")
        assert watching.transport is not None
        watching.transport.closeStdout()
        alice.closes_input()
        status = yield watching.ends()
        self.assertEqual((status, watching.errors), (0, ""))
