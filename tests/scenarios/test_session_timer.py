"""The room asks whether a client is still there, on the wire (RFC 4028)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from tests.scenarios.embedded import EmbeddedServerTestCase, joined, when_logged

Story = Generator[Deferred[Any], Any, None]


class SessionTimerStories(EmbeddedServerTestCase):
    def half_the_time_passes(self) -> None:
        """It is time to ask the one participant."""
        (participant,) = self.service.registry.participants()
        timer = participant.session_timer
        assert timer is not None and timer.call is not None
        timer.call.reset(0)

    @inlineCallbacks
    def test_it_is_there(self) -> Story:
        for transport in ("udp", "tcp"):
            sip: list[str] = []
            answered: Deferred[None] = Deferred()

            def trace(kind: str, direction: str, peer: str, octets: bytes) -> None:
                text = octets.decode()
                if kind == "sip" and " UPDATE\r\n" in text:
                    sip.append(text)  # noqa: B023
                    if direction == "out":
                        answered.callback(None)  # noqa: B023

            agent = self.agent("alice", trace=trace)
            chat, _ = yield joined(agent, self.room(transport=transport))
            self.half_the_time_passes()
            yield answered
            self.assertTrue(sip[0].startswith("UPDATE sip:alice@127.0.0.1:"), sip[0])
            self.assertIn(f"Contact: <sip:lobby@127.0.0.1:{self.ports[transport]}", sip[0])
            self.assertIn("Session-Expires: 1800;refresher=uac", sip[0])
            self.assertTrue(sip[1].startswith("SIP/2.0 200 "), sip[1])
            yield chat.leave()
            self.assertEqual(self.service.registry.rooms, {})

    @inlineCallbacks
    def test_it_knows_nothing_any_more(self) -> Story:
        """As after a restart of the client: nobody has said goodbye."""
        agent = self.agent("alice")
        chat, heard = yield joined(agent, self.room())
        agent.forget(chat)
        dropped = when_logged("dropped: Your client knows nothing of the session")
        self.half_the_time_passes()
        yield dropped
        self.assertEqual(self.service.registry.rooms, {})
        self.assertNoResult(heard.ended)
        chat.end()
