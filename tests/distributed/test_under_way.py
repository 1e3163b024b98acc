"""What is under way when somebody dies, and what is asked in dialogs from before."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import JoinError
from tests.distributed.support import ApartTestCase, Story


class InviteTests(ApartTestCase):
    """An INVITE has no answer yet."""

    @inlineCallbacks
    def call(self) -> Generator[Any, Any, Deferred[Any]]:
        """Alice calls, and knows that she is to wait: the server does not move."""
        self.servers["east"].signals("STOP")
        calling = self.join("alice")
        # That comes from the focus, which has asked the server by then.
        yield self.until(lambda: "in SIP/2.0 100 " in "".join(self.seen["alice"]))
        return calling

    @inlineCallbacks
    def test_the_server_dies(self) -> Story:
        yield self.begin("east")
        calling = yield self.call()
        yield self.kill(self.servers["east"])
        with self.assertRaises(JoinError) as refused:
            yield calling
        self.assertEqual(refused.exception.status, 503)
        self.assertIn("\r\nRetry-After: ", "".join(self.seen["alice"]))

    @inlineCallbacks
    def test_the_focus_dies_before_it_says_anything(self) -> Story:
        yield self.begin("east")
        self.focus.signals("STOP")
        calling = self.join("alice")
        yield self.until(lambda: "out INVITE " in "".join(self.seen["alice"]))
        yield self.kill(self.focus)
        yield self.start_focus()
        # The INVITE is sent again, and nobody notices that it is another focus.
        alice = yield calling
        bob = yield self.join("bob")
        yield self.talk(alice, bob)

    @inlineCallbacks
    def test_the_focus_dies_after_it_said_that_one_is_to_wait(self) -> Story:
        yield self.begin("east")
        calling = yield self.call()
        yield self.kill(self.focus)
        self.servers["east"].signals("CONT")
        yield self.start_focus()
        # The server lets in who will never know; who calls again is alone all the same.
        yield self.servers["east"].shows("expected: sip:alice@")
        yield self.join("alice")
        yield self.servers["east"].shows(r"dropped: No ACK .*: sip:alice@")
        yield self.join("bob")
        yield self.servers["east"].shows(r"joined: sip:bob@.*; 2 in the room\)")
        # Nobody will answer: that is for the caller, or a proxy, to end.
        yield self.agents[0].stop()
        with self.assertRaises(JoinError):
            yield calling
        self.assertNotIn("Traceback", self.servers["east"].output)


class DialogTests(ApartTestCase):
    @inlineCallbacks
    def test_a_refer_to_a_focus_that_was_not_there_before(self) -> Story:
        yield self.begin("east")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.kill(self.focus)
        yield self.start_focus()
        # Its NOTIFY comes by the new focus, too.
        fragment = yield self.in_time(alice[0].remove("sip:bob@example.com"))
        self.assertEqual(fragment.status, 200)
        yield self.in_time(bob[1].ended)
        self.assertEqual(len(self.byes("bob")), 1)
        yield self.in_time(alice[0].change_subject("without bob"))
