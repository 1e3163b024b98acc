"""What survives what: focus and servers as processes of their own, killed with SIGKILL.

doc/distributed.md has a table of what these stories show.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import inlineCallbacks

from msrpconf.client import JoinError
from tests.distributed.support import ApartTestCase, Story, reactor


class FocusDiesTests(ApartTestCase):
    @inlineCallbacks
    def test_people_talk_on_and_leave_when_it_is_back(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.focus)
        yield self.servers["east"].shows("dispatcher focus-1 at 127.0.0.1 lost: .*its calls go on")
        yield self.talk(alice, bob)
        yield self.start_focus()
        yield self.focus.shows("server east has 1 rooms and 2 calls; lost: 0")
        yield self.talk(alice, bob)
        carol = yield self.join("carol")
        yield self.talk(alice, carol)
        self.assertEqual((yield self.in_time(bob[1].next())).text, "from 0")
        self.assertEqual((yield self.in_time(bob[1].next())).text, "from 1")
        # A dialog from before: its BYE finds the server by our tag.
        yield self.in_time(bob[0].leave())
        yield self.servers["east"].shows(r"left: sip:bob@\S+ in \S+ \(.*; 2 in the room")

    @inlineCallbacks
    def test_what_the_server_has_to_say_meanwhile_is_said_afterwards(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.focus)
        # Bob's MSRP breaks, and does not come back.
        bob[0].session.connection.close()
        yield self.servers["east"].shows("dropped: MSRP was lost .*sip:bob@")
        yield self.start_focus()
        yield self.until(lambda: self.byes("bob"))
        self.assertIn("MSRP was lost", self.byes("bob")[0])
        self.assertEqual(self.byes("alice"), [])
        self.assertFalse(alice[0].ended)


class ServerDiesTests(ApartTestCase):
    @inlineCallbacks
    def test_everybody_gets_a_bye_and_the_room_begins_anew_elsewhere(self) -> Story:
        yield self.begin("east", "west")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        home = yield self.home()
        other = {"east": "west", "west": "east"}[home]
        yield self.kill(self.servers[home])
        yield self.focus.shows(f"server {home} at .* lost: ")
        # Its rooms may still come back: nobody begins one of the same name elsewhere.
        for _, heard in (alice, bob):
            why = yield self.in_time(heard.ended)
            self.assertIn("The conference server has failed", why)
        for name in ("alice", "bob"):
            (bye,) = self.byes(name)
            self.assertIn("Reason: SIP;cause=503;text=", bye)
        detected = reactor.seconds()
        carol = yield self.join("carol")
        self.assertLess(reactor.seconds() - detected, 2.0)
        dave = yield self.join("dave")
        yield self.talk(carol, dave)
        yield self.servers[other].shows(r"joined: sip:carol@\S+ in sip:lobby@")

    @inlineCallbacks
    def test_new_rooms_go_elsewhere_at_once(self) -> Story:
        yield self.begin("east", "west")
        yield self.kill(self.servers["east"])
        yield self.focus.shows("server east at .* lost: ")
        for number in range(6):
            yield self.join(f"alice{number}", f"room{number}")

    @inlineCallbacks
    def test_a_server_that_starts_anew_has_lost_its_calls(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        yield self.kill(self.servers["east"])
        yield self.start_apart("east")
        yield self.in_time(alice[1].ended)
        self.assertIn("Reason: SIP;cause=503", self.byes("alice")[0])
        # Once at the start, and once now.
        yield self.focus.shows(r"(?s)(server east has 0 rooms and 0 calls.*){2}")
        yield self.join("bob")

    @inlineCallbacks
    def test_no_server_is_left(self) -> Story:
        yield self.begin("east")
        yield self.kill(self.servers["east"])
        yield self.focus.shows("server east has not come back for 0.5 s: BYE to 0 calls")
        try:
            yield self.join("alice")
        except JoinError as error:
            self.assertEqual(error.status, 503)
            self.assertIn("No conference server", str(error))
        else:
            self.fail("joined nothing")
        self.assertIn("Retry-After: 5", "".join(self.seen["alice"]))


class ServerEndsTests(ApartTestCase):
    @inlineCallbacks
    def test_everybody_is_told_and_new_rooms_go_elsewhere(self) -> Story:
        yield self.begin("east", "west")
        alice = yield self.join("alice")
        home = yield self.home()
        self.servers[home].signals("TERM")
        why = yield self.in_time(alice[1].ended)
        self.assertIn("shutting down", why)
        status = yield self.servers[home].ends()
        self.assertEqual(status, 0)
        yield self.focus.shows(f"server {home} at .* lost: ")
        self.assertEqual(len(self.byes("alice")), 1)
        yield self.join("bob")
        self.assertNotIn("Traceback", self.focus.output + self.servers[home].output)

    @inlineCallbacks
    def test_a_focus_that_ends_sends_nobody_out(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        self.focus.signals("TERM")
        status = yield self.focus.ends()
        self.assertEqual(status, 0)
        yield self.talk(alice, bob)
        self.assertNotIn("Traceback", self.focus.output)


class TwoFocusesTests(ApartTestCase):
    database = '[database]\nurl = "sqlite:///shared.sqlite"\n'

    @inlineCallbacks
    def test_one_is_killed_and_then_a_server(self) -> Story:
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus("focus-1", self.database)
        first = self.focus
        alice = yield self.join("alice")
        yield self.start_focus("focus-2", self.database)
        bob = yield self.join("bob")
        yield self.talk(alice, bob)
        home = yield self.home()
        yield self.kill(first)
        yield self.talk(alice, bob)
        yield self.servers[home].shows("dispatcher focus-1 at 127.0.0.1 lost")
        yield self.kill(self.servers[home])
        for name in ("alice", "bob"):
            yield self.until(partial(self.byes, name))
            self.assertIn("Reason: SIP;cause=503", self.byes(name)[0])
        yield self.join_in_the_end("carol")
        self.assertNotIn("Traceback", self.focus.output)

    @inlineCallbacks
    def test_one_is_back_that_knows_nothing_of_a_server_that_died_meanwhile(self) -> Story:
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus("focus-1", self.database)
        first = self.focus
        alice = yield self.join("alice")
        yield self.start_focus("focus-2", self.database)
        home = yield self.home()
        yield self.kill(first)
        yield self.servers[home].shows("dispatcher focus-1 at 127.0.0.1 lost")
        yield self.kill(self.servers[home])
        del self.controls[home]
        yield self.start_focus("focus-1", self.database)
        # It is there, and it is the other one that knows of the call.
        yield self.in_time(alice[1].ended)
        yield self.until(partial(self.byes, "alice"))
        self.assertIn("Reason: SIP;cause=503", self.byes("alice")[0])
