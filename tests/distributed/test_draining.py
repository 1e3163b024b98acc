"""A server is taken out of service by an operator at its dispatcher."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from tests.distributed.support import Story
from tests.distributed.test_moving import MovingTestCase
from tests.processes import Program


class DrainingTests(MovingTestCase):
    server = 'state = "state"\n'

    def does(self, *arguments: str) -> Program:
        """Begin a command of an operator."""
        return self.start("msrpconf", "server", *arguments, "--url", self.url)

    @inlineCallbacks
    def test_its_rooms_go_elsewhere_at_the_deadline(self) -> Story:
        yield self.start_apart("east")
        yield self.start_apart("west")
        yield self.start_focus(more='[management]\nlisten = "127.0.0.1:0"\n')
        self.url = (yield self.focus.shows(r"management at (http://[\d.]+:\d+)"))[1]
        people, home, other = yield self.in_room("alice", "bob")
        draining = self.does("drain", home, "--wait")
        yield draining.shows(f"{home} takes nobody new in; 2 calls in 1 rooms are left")
        # Who waits may be given a deadline by somebody else.
        hurrying = self.does("drain", home, "--deadline", "1")
        self.assertEqual((yield hurrying.ends()), 0)
        self.assertEqual((yield draining.ends()), 0, str(draining))
        self.assertIn(f"{home} takes nobody new in; nobody is left", draining.output)
        yield self.moved(other, "alice", "bob")
        yield self.talk(*people)
        self.assertEqual(self.byes("alice") + self.byes("bob"), [])
        # It still drains when it is back.
        yield self.kill(self.servers[home])
        yield self.start_apart(home)
        yield self.servers[home].shows("this server drains, as it did before")
        yield self.focus.shows(rf"(?s)server {home} at \S+ connected.* connected, and is draining")
        undoing = self.does("undrain", home)
        self.assertEqual((yield undoing.ends()), 0)
        self.assertIn(f"{home} takes people in again", undoing.output)
        yield self.focus.shows(f"server {home} takes new rooms again")
