"""Clients that are gone without a word: no BYE, no end of a connection, no answer to anything."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from tests.scenarios.embedded import EmbeddedServerTestCase, joined
from tests.scenarios.person import Person
from tests.scenarios.wire import SipWire, header

Story = Generator[Deferred[Any], Any, None]


class VanishedTestCase(EmbeddedServerTestCase):
    """Alice's sockets stay open, and nobody answers what comes there."""

    headers: tuple[str, ...] = ()

    @inlineCallbacks
    def alice_joins(self) -> Story:
        sip = SipWire(("127.0.0.1", self.ports["udp"]))
        self.addCleanup(sip.close)
        self.alice = Person("alice", sip, secure=False, headers=self.headers)
        yield self.alice.join()
        self.assertEqual((yield self.alice.connect()), "MSRP bindalice 200 OK")

    @property
    def calls(self) -> list[str]:
        return [each.dialog.call_id for each in self.service.registry.participants()]

    @inlineCallbacks
    def she_is_out(self, why: str) -> Story:
        """She is sent a BYE that she does not answer."""
        bye = yield self.alice.sip.next()
        while not bye.startswith("BYE "):
            bye = yield self.alice.sip.next()
        self.assertIn(why, header(bye, "Reason"))
        self.assertNotIn("alice-call", self.calls)
        [wire] = self.alice.wires
        assert wire.transport is not None
        wire.transport.loseConnection()
        yield wire.closed


class SessionTimerTests(VanishedTestCase):
    """One who said that it would refresh the session, and does not."""

    headers = ("Supported: timer", "Session-Expires: 1800;refresher=uac")
    server_keys = "keepalive = 0"

    @inlineCallbacks
    def test_found(self) -> Story:
        bob, _ = yield joined(self.agent("bob"), self.room())
        yield self.alice_joins()
        _, participant = self.service.registry.participants()
        timer = participant.session_timer
        assert timer is not None and timer.call is not None
        self.assertFalse(timer.ours)
        timer.call.reset(0)  # the time that she had is over
        yield self.she_is_out("The session was not refreshed within 1800 s")
        self.assertEqual(len(self.calls), 1)
        yield bob.send("It goes on without her")


class KeepAliveTests(VanishedTestCase):
    """One who is asked over MSRP whether it is there, and does not answer."""

    server_keys = "keepalive = 0.3\nkeepalive_timeout = 0.3"
    grace = 0.3

    @inlineCallbacks
    def test_found(self) -> Story:
        yield self.alice_joins()
        yield self.she_is_out("MSRP was lost (it did not answer a keep-alive within 0.3 s)")
        self.assertEqual(self.service.registry.rooms, {})
