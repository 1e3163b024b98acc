"""People in a room, with the client library: who says what, and who hears it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from msrpconf.client import JoinError, Message, SendError
from msrpconf.protocols.sip.headers import Reason
from tests.scenarios.embedded import EmbeddedServerTestCase, joined

Story = Generator[Deferred[Any], Any, None]


class TalkTests(EmbeddedServerTestCase):
    @inlineCallbacks
    def test_everybody_else_hears_what_is_said(self) -> Story:
        alice, alice_hears = yield joined(self.agent("alice", display_name="Alice"), self.room())
        _, bob_hears = yield joined(self.agent("bob"), self.room())
        _, carol_hears = yield joined(self.agent("carol", plain=True), self.room())

        yield alice.send("Hi, I'm Alice!")

        message = yield bob_hears.next()
        self.assertEqual(message.text, "Hi, I'm Alice!")
        self.assertEqual(message.sender, "sip:alice@example.com")
        self.assertEqual(message.name, "Alice")
        self.assertEqual(message.media_type, "text/plain")
        plain = yield carol_hears.next()
        self.assertEqual(plain.text, "alice@example.com: Hi, I'm Alice!")
        self.assertEqual(alice_hears.messages, [])

    @inlineCallbacks
    def test_a_fault_of_who_listens_is_no_reason_to_leave(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room())
        heard: list[str] = []
        both: Deferred[None] = Deferred()

        def listen(message: Message) -> None:
            heard.append(message.text)
            if len(heard) == 1:
                raise ValueError("what a bot does not expect")
            both.callback(None)

        yield self.agent("bob").join(self.room(), on_message=listen)
        yield alice.send("one")
        yield alice.send("two")
        yield both
        self.assertEqual(heard, ["one", "two"])
        [error] = self.flushLoggedErrors(ValueError)
        self.assertIn("does not expect", error.getErrorMessage())

    @inlineCallbacks
    def test_plain_text_is_heard_by_all(self) -> Story:
        carol, _ = yield joined(self.agent("carol", plain=True), self.room())
        _, alice_hears = yield joined(self.agent("alice"), self.room())
        _, dave_hears = yield joined(self.agent("dave", plain=True), self.room())

        yield carol.send("Grüße")

        message = yield alice_hears.next()
        self.assertEqual(message.sender, "sip:carol@example.com")
        self.assertEqual(message.text, "Grüße")
        self.assertIsNotNone(message.date_time)
        plain = yield dave_hears.next()
        self.assertEqual(plain.text, "carol@example.com: Grüße")

    @inlineCallbacks
    def test_large_messages_arrive_whole_and_in_order(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room())
        _, bob_hears = yield joined(self.agent("bob"), self.room())
        _, carol_hears = yield joined(self.agent("carol", plain=True), self.room())
        texts = [f"{n}:" + chr(97 + n) * (300_000 + n) for n in range(3)]

        yield gatherResults([alice.send(text) for text in texts])

        heard = []
        for _ in texts:
            message = yield bob_hears.next()
            heard.append(message.text)
        self.assertEqual(sorted(heard), texts)
        heard = []
        for _ in texts:
            message = yield carol_hears.next()
            heard.append(message.text)
        self.assertEqual(sorted(heard), [f"alice@example.com: {text}" for text in texts])

    @inlineCallbacks
    def test_one_user_on_two_devices(self) -> Story:
        phone, phone_hears = yield joined(self.agent("alice"), self.room())
        _, laptop_hears = yield joined(self.agent("alice"), self.room())
        bob, bob_hears = yield joined(self.agent("bob"), self.room())

        yield bob.send("to both")
        for hears in (phone_hears, laptop_hears):
            message = yield hears.next()
            self.assertEqual(message.text, "to both")

        yield phone.send("from one")
        for hears in (laptop_hears, bob_hears):
            message = yield hears.next()
            self.assertEqual(message.text, "from one")

    @inlineCallbacks
    def test_rooms_are_apart(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room("one"))
        _, bob_hears = yield joined(self.agent("bob"), self.room("one"))
        _, eve_hears = yield joined(self.agent("eve"), self.room("other"))
        yield alice.send("for this room")
        yield bob_hears.next()
        self.assertEqual(eve_hears.messages, [])

    @inlineCallbacks
    def test_a_room_ends_with_its_last_participant(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room())
        bob, _ = yield joined(self.agent("bob"), self.room())
        self.assertEqual(len(self.service.registry.rooms), 1)
        yield alice.leave()
        self.assertEqual(len(self.service.registry.rooms), 1)
        yield bob.leave()
        self.assertEqual(len(self.service.registry.rooms), 0)
        self.assertEqual(len(self.service.registry.sessions), 0)
        self.assertEqual(len(self.service.registry.dialogs), 0)

    @inlineCallbacks
    def test_over_tcp(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room(transport="tcp"))
        _, bob_hears = yield joined(self.agent("bob"), self.room(transport="tcp"))
        yield alice.send("by TCP")
        message = yield bob_hears.next()
        self.assertEqual(message.text, "by TCP")

    @inlineCallbacks
    def test_wrong_type_is_refused_and_hurts_nobody(self) -> Story:
        alice, _ = yield joined(self.agent("alice"), self.room())
        carol, _ = yield joined(self.agent("carol", plain=True), self.room())
        _, bob_hears = yield joined(self.agent("bob"), self.room())
        error = yield self.assertFailure(carol.send_content("image/png", b"\x89PNG"), SendError)
        self.assertEqual(error.status, 415)
        yield alice.send("still here")
        message = yield bob_hears.next()
        self.assertEqual(message.text, "still here")

    @inlineCallbacks
    def test_the_server_says_goodbye(self) -> Story:
        _, heard = yield joined(self.agent("alice"), self.room())
        yield self.service.server.control.close(Reason("SIP", 503, "The end"))
        why = yield heard.ended
        self.assertEqual(why, "The end")

    @inlineCallbacks
    def test_the_goodbye_is_answered_before_anybody_is_told(self) -> Story:
        """Who is told may stop the agent, and could then not answer any more."""
        sent: list[bytes] = []

        def trace(protocol: str, direction: str, peer: str, octets: bytes) -> None:
            if (protocol, direction) == ("sip", "out"):
                sent.append(octets)

        agent = self.agent("alice", trace=trace)
        told: Deferred[bytes] = Deferred()
        yield agent.join(self.room(), on_ended=lambda why: told.callback(sent[-1]))
        yield self.service.server.control.close(Reason("SIP", 503, "The end"))
        last = yield told
        self.assertRegex(last, rb"\ASIP/2.0 200 OK\r\n(?s:.*)\r\nCSeq: 1 BYE\r\n")

    @inlineCallbacks
    def test_no_user_part_is_no_room(self) -> Story:
        agent = self.agent("alice")
        error = yield self.assertFailure(
            agent.join(f"sip:127.0.0.1:{self.ports['udp']}"), JoinError
        )
        self.assertEqual(error.status, 416)


class IPv6TalkTests(EmbeddedServerTestCase):
    host = "::1"

    @inlineCallbacks
    def test_over_ipv6(self) -> Story:
        for transport in ("udp", "tcp"):
            room = self.room(transport, transport)
            alice, _ = yield joined(self.agent("alice"), room)
            _, bob_hears = yield joined(self.agent("bob"), room)
            yield alice.send(f"by IPv6 and {transport}")
            message = yield bob_hears.next()
            self.assertEqual(message.text, f"by IPv6 and {transport}")
