"""The examples of RFC 7701 §9, header for header; only hosts, ports and tags are ours."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks

from tests.scenarios.figures import ROOM, FigureTestCase, Story
from tests.scenarios.wire import header

ALICE = ("alice", "sip:alice@atlanta.example.com")
ALICE_PATH = "msrp://client.atlanta.example.com:7654/jshA7weztas;tcp"
BOB = ("bob", "sip:bob@example.com", "msrp://client.biloxi.example.com:4923/49dufdje2;tcp")
CHARLIE = ("charlie", "sip:charlie@example.com", "msrp://charlie.example.com:4924/4dufdje3;tcp")


class ExampleTests(FigureTestCase):
    def alice(self) -> Any:
        return self.enter(*ALICE, ALICE_PATH)

    def regular(self, text: str = "Hello guys, how are you today?") -> str:
        return (
            f"To: <{ROOM};transport=tcp>\r\n"
            "From: <sip:alice@atlanta.example.com>\r\n"
            "DateTime: 2009-03-02T15:02:31-03:00\r\n"
            "\r\n"
            "Content-Type: text/plain\r\n"
            "\r\n"
            f"{text}"
        )

    @inlineCallbacks
    def test_joining_a_chat_room(self) -> Story:
        """§9.1, figure 3; without ``event``, which who serves that package would add."""
        alice = self.endpoint(
            *ALICE,
            ALICE_PATH,
            from_="Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl",
            call_id="3848276298220188511@atlanta.example.com",
        )
        yield self.join(alice)
        answer = alice.answer
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"))
        self.assertEqual(header(answer, "From"), alice.from_)
        self.assertTrue(header(answer, "To").startswith(f"Chatroom 22 <{ROOM}>;tag="), answer)
        self.assertEqual(header(answer, "Call-ID"), alice.call_id)
        self.assertEqual(header(answer, "CSeq"), "1 INVITE")
        uri, *features = header(answer, "Contact").split(";")
        self.assertTrue(uri.startswith("<sip:chatroom22@"), uri)
        for each in ("automata", "isfocus", "message"):
            self.assertIn(each, features)
        self.assertIn('methods="', header(answer, "Contact"))
        body = answer.partition("\r\n\r\n")[2]
        port = self.msrp_ports["tcp"]
        for line in (
            f"m=message {port} TCP/MSRP *",
            "a=accept-wrapped-types:*",
            f"a=path:{alice.server_path}",
            "a=chatroom:nickname private-messages",
        ):
            self.assertIn(f"\r\n{line}\r\n", body)
        self.assertIn("message/cpim", body)
        yield self.connect(alice)

    @inlineCallbacks
    def test_setting_up_a_nickname(self) -> Story:
        """§9.2, figure 4; Bob is who has the name."""
        bob = yield self.enter(*BOB)
        bob.sends("""
            MSRP first NICKNAME
            To-Path: {room}
            From-Path: {us}
            Use-Nickname: "alice  The Great"
            -------first$""")
        self.assertAnswers(bob, (yield bob.hears()), "first", "200 OK")
        alice = yield self.alice()
        alice.sends("""
            MSRP d93kswow NICKNAME
            To-Path: {room}
            From-Path: {us}
            Use-Nickname: "Alice the great"
            -------d93kswow$""")
        refused = yield alice.hears()
        comment = "this nickname is somebody else's: choose another"
        self.assertAnswers(alice, refused, "d93kswow", f"425 {comment}")
        alice.sends("""
            MSRP 09swk2d NICKNAME
            To-Path: {room}
            From-Path: {us}
            Use-Nickname: "Alice in Wonderland"
            -------09swk2d$""")
        self.assertAnswers(alice, (yield alice.hears()), "09swk2d", "200 OK")

    @inlineCallbacks
    def test_a_regular_message(self) -> Story:
        """§9.3, figure 5."""
        bob, charlie = (yield self.enter(*BOB)), (yield self.enter(*CHARLIE))
        alice = yield self.alice()
        alice.sends(f"""
            MSRP 3490visdm SEND
            To-Path: {{room}}
            From-Path: {{us}}
            Message-ID: 99s9s2
            Byte-Range: 1-*/*
            Content-Type: message/cpim

            To: <{ROOM};transport=tcp>
            From: <sip:alice@atlanta.example.com>
            DateTime: 2009-03-02T15:02:31-03:00

            Content-Type: text/plain

            Hello guys, how are you today?
            -------3490visdm$""")
        self.assertAnswers(alice, (yield alice.hears()), "3490visdm", "200 OK")
        for each in (bob, charlie):
            copy = yield each.hears()
            self.assertCopy(each, copy, self.regular(), "message/cpim")
            self.accepts(each, copy)
        yield self.assertNobodyHearsMore(alice, bob, charlie)

    @inlineCallbacks
    def test_a_private_message(self) -> Story:
        """§9.4, figure 6; Charlie is who hears nothing of it.

        F1 has another URI of Alice's in From than F3; a switch must not change it (§6.1).
        """
        bob, charlie = (yield self.enter(*BOB)), (yield self.enter(*CHARLIE))
        alice = yield self.alice()
        alice.sends("""
            MSRP 6959ssdf SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: okj3kw
            Byte-Range: 1-*/*
            Content-Type: message/cpim

            To: <sip:bob@example.com>
            From: <sip:alice@atlanta.example.com>
            DateTime: 2009-03-02T15:02:31-03:00

            Content-Type: text/plain

            Hello Bob.
            -------6959ssdf$""")
        self.assertAnswers(alice, (yield alice.hears()), "6959ssdf", "200 OK")
        copy = yield bob.hears()
        body = self.regular("Hello Bob.").replace(f"{ROOM};transport=tcp", "sip:bob@example.com")
        self.assertCopy(bob, copy, body, "message/cpim")
        self.accepts(bob, copy)
        yield self.assertNobodyHearsMore(alice, bob, charlie)

    @inlineCallbacks
    def test_a_private_message_in_chunks(self) -> Story:
        """§9.5. There both chunks end in ``$``; the first of two ends in ``+`` (RFC 4975 §7.1)."""
        bob = yield self.enter(*BOB)
        alice = yield self.alice()
        alice.sends("""
            MSRP 7443ruls SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: aft4to
            Byte-Range: 1-*/174
            Content-Type: message/cpim

            To: <sip:bob@example.com>
            From: <sip:alice@atlanta.example.com>
            -------7443ruls+""")
        self.assertAnswers(alice, (yield alice.hears()), "7443ruls", "200 OK")
        # The CRLF before the end-line is not part of a body: here the next chunk begins with it.
        first = "To: <sip:bob@example.com>\r\nFrom: <sip:alice@atlanta.example.com>"
        rest = (
            "\r\n"
            "DateTime: 2009-03-02T15:02:31-03:00\r\n"
            "\r\n"
            "Content-Type: text/plain\r\n"
            "\r\n"
            "Hello Bob"
        )
        total = len(first) + len(rest)
        alice.writes(
            "MSRP 7443rulz SEND\r\n"
            f"To-Path: {alice.server_path}\r\n"
            f"From-Path: {alice.path}\r\n"
            "Message-ID: aft4to\r\n"
            f"Byte-Range: {len(first) + 1}-{total}/{total}\r\n"
            "Content-Type: message/cpim\r\n"
            "\r\n"
            f"{rest}\r\n"
            "-------7443rulz$\r\n"
        )
        self.assertAnswers(alice, (yield alice.hears()), "7443rulz", "200 OK")
        self.assertCopy(bob, (yield bob.hears()), first + rest, "message/cpim")
