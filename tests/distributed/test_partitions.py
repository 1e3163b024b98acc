"""Hosts that are cut off from each other: packets are dropped, and nobody is told.

doc/distributed.md has a table of what these stories show.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import JoinError
from msrpconf.protocols.sip.flow import Address
from tests.distributed.support import HostsTestCase, Story, reactor
from tests.distributed.test_moving import MovingTestCase
from tests.storage.support import new_schema


class ShortCutTests(HostsTestCase):
    @inlineCallbacks
    def test_a_link_that_is_back_before_it_is_given_up(self) -> Story:
        self.silence = 30.0
        yield self.begin("east")
        alice, bob, _ = yield self.people()
        self.hosts.cut("focus-1", "east")
        # Carol's INVITE is on the way, and does not arrive.
        carol = self.join("carol")
        yield self.until(lambda: self.hosts.dropped("east", "focus-1"))
        yield self.talk(alice, bob)
        self.hosts.heal("focus-1", "east")
        yield carol
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])
        self.assertNotRegex(self.focus.output + self.servers["east"].output, r" at \S+ lost: ")

    @inlineCallbacks
    def test_a_link_that_is_given_up_and_back_within_the_grace_time(self) -> Story:
        yield self.begin("east", "west")
        alice, bob, home = yield self.people()
        self.hosts.cut("focus-1", home)
        # No FIN, no RST: each end finds by PING that there is nobody.
        silent = r"it has said nothing for \d+ s"
        yield self.focus.shows(rf"server {home} at \S+ lost: {silent}")
        yield self.servers[home].shows(rf"dispatcher focus-1 at \S+ lost: {silent}")
        yield self.talk(alice, bob)
        # Its rooms begin nowhere else.
        with self.assertRaises(JoinError) as refused:
            yield self.join("carol")
        self.assertEqual(refused.exception.status, 503)
        self.assertIn("Retry-After: ", "".join(self.seen["carol"]))
        # Who hangs up is rid of the call, and the room is told afterwards.
        yield self.in_time(bob[0].leave())
        self.hosts.heal("focus-1", home)
        yield self.focus.shows(rf"server {home} has 1 rooms and 2 calls; lost: 0")
        yield self.servers[home].shows(r"left: sip:bob@")
        carol = yield self.join("carol")
        yield self.talk(alice, carol)
        self.assertEqual(self.byes("alice"), [])
        self.assertEqual((yield self.home()), home)


class LongCutTests(HostsTestCase):
    grace = 0.5

    @inlineCallbacks
    def test_as_a_server_that_died_and_it_lets_go_when_it_is_back(self) -> Story:
        yield self.begin("east", "west")
        alice, bob, home = yield self.people()
        (other,) = {"east", "west"} - {home}
        self.hosts.cut("focus-1", home)
        for name, (_, heard) in (("alice", alice), ("bob", bob)):
            why = yield self.in_time(heard.ended)
            self.assertIn("The conference server has failed", why)
            self.assertIn("Reason: SIP;cause=503", self.byes(name)[0])
        yield self.focus.shows(rf"server {home} has not come back for 0.5 s: BYE to 2 calls")
        carol = yield self.join("carol")
        dave = yield self.join("dave")
        yield self.servers[other].shows(r"joined: sip:carol@\S+ in sip:lobby@")
        self.hosts.heal("focus-1", home)
        # Both cannot have the room, and those who were told that it is over are out.
        for name in ("alice", "bob"):
            yield self.servers[home].shows(rf"left: sip:{name}@")
        yield self.focus.shows(rf"(?s)BYE to 2 calls.*server {home} has 0 rooms and 0 calls")
        erin = yield self.join("erin")
        yield self.servers[other].shows(r"joined: sip:erin@\S+ in sip:lobby@")
        yield self.talk(carol, dave, erin)
        for each in (self.focus, *self.servers.values()):
            self.assertNotIn("Traceback", each.output)


class LongCutMovesTests(MovingTestCase, HostsTestCase):
    """Rooms go on at another server, and the one that was cut off is still there."""

    grace = 0.5

    @inlineCallbacks
    def test_it_lets_go_of_them_and_nobody_notices(self) -> Story:
        yield self.begin("east", "west")
        (alice, bob), home, other = yield self.in_room("alice", "bob")
        yield self.talk(alice, bob)
        self.hosts.cut("focus-1", home)
        yield self.moved(other, "alice", "bob")
        yield self.talk(alice, bob)
        self.hosts.heal("focus-1", home)
        for name in ("alice", "bob"):
            yield self.servers[home].shows(rf"left: sip:{name}@")
        yield self.focus.shows(rf"(?s)server {home} at \S+ lost.*server {home} has \d+ rooms")
        carol = yield self.join("carol")
        yield self.servers[other].shows(r"joined: sip:carol@\S+ in sip:lobby@")
        yield self.talk(alice, bob, carol)
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])
        for each in (self.focus, *self.servers.values()):
            self.assertNotIn("Traceback", each.output)


class OneOfTwoFocusesTests(HostsTestCase):
    """Of two focuses that share a database, one has lost a server that the other has."""

    grace = 1.0

    @inlineCallbacks
    def test_nothing_ends(self) -> Story:
        database = '[database]\nurl = "sqlite:///shared.sqlite"\n'
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus("focus-2", database)
        other = self.via
        yield self.start_focus("focus-1", database)
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        home = yield self.home()
        self.hosts.cut("focus-1", home)
        yield self.focus.shows(rf"server {home} at \S+ lost: it has said nothing")
        # Longer than the grace time, and than the other's beats take to be missed.
        begun = reactor.seconds()
        while reactor.seconds() < begun + 5.0:
            yield self.talk(alice, bob)
            yield deferLater(reactor, 0.5)
        with self.assertRaises(JoinError) as refused:
            yield self.join("carol")
        self.assertEqual(refused.exception.status, 503)
        carol = yield self.join("carol", via=other)
        yield self.talk(alice, bob, carol)
        self.hosts.heal("focus-1", home)
        yield self.focus.shows(rf"(?s)server {home} at \S+ lost.*server {home} has 1 rooms")
        dave = yield self.join("dave")
        yield self.talk(alice, bob, carol, dave)
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])


class TwoFocusesTests(HostsTestCase):
    """Each focus has lost another server, and both share a database."""

    grace = 1.0
    rooms = ("red", "green", "blue", "white")

    def database(self) -> str:
        return "sqlite:///shared.sqlite"

    @inlineCallbacks
    def test_a_room_never_begins_on_two_servers(self) -> Story:
        database = f'[database]\nurl = "{self.database()}"\n'
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus("focus-1", database)
        first, by_first = self.focus, self.via
        yield self.start_focus("focus-2", database)
        second, by_second = self.focus, self.via
        self.hosts.cut("focus-1", "west")
        self.hosts.cut("focus-2", "east")
        # Nobody knows of it yet: some INVITEs wait for a server that does not hear them.
        early = yield self.all_join("early", by_first, by_second)
        self.assert_each_in_one_place()
        yield first.shows(r"server west at \S+ lost: it has said nothing")
        yield second.shows(r"server east at \S+ lost: it has said nothing")
        late = yield self.all_join("late", by_first, by_second)
        self.assert_each_in_one_place()
        # Who was refused may try again, and somebody was let into each room.
        self.assertEqual((early | late) - {200, 503}, set())
        for room in self.rooms:
            self.assertEqual(len(self.places(room)), 1, room)
        self.hosts.heal("focus-1", "west")
        self.hosts.heal("focus-2", "east")
        yield first.shows(r"(?s)server west at \S+ lost.*server west has \d+ rooms")
        yield second.shows(r"(?s)server east at \S+ lost.*server east has \d+ rooms")
        healed = yield self.all_join("healed", by_first, by_second)
        self.assertEqual(healed, {200})
        self.assert_each_in_one_place()
        for each in (first, second, *self.servers.values()):
            self.assertNotIn("Traceback", each.output)

    @inlineCallbacks
    def all_join(self, who: str, *ways: Address) -> Generator[Any, Any, set[int]]:
        """Somebody calls each room by each focus, all at once; the answers that they got."""
        calls = [
            self.answer(f"{who}-{number}", room, via)
            for room in self.rooms
            for number, via in enumerate(ways)
        ]
        found = yield gatherResults(calls)
        return set(found)

    @inlineCallbacks
    def answer(self, name: str, room: str, via: Address) -> Generator[Any, Any, int]:
        try:
            yield self.join(f"{name}-{room}", room, via)
        except JoinError as error:
            return error.status
        return 200

    def places(self, room: str) -> list[str]:
        """The servers that somebody has joined a room at."""
        joined = re.compile(rf"joined: \S+ in sip:{room}@")
        return [name for name, each in self.servers.items() if joined.search(each.output)]

    def assert_each_in_one_place(self) -> None:
        for room in self.rooms:
            self.assertLessEqual(len(self.places(room)), 1, room)


class TwoFocusesOnPostgresqlTests(TwoFocusesTests):
    """The same with PostgreSQL."""

    def database(self) -> str:
        return new_schema(self)
