"""The examples of RFC 4975 §5.1 and §11, header for header, with the room as one of the two."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from tests.scenarios.figures import ROOM, TEXT_LINES, FigureTestCase, Story
from tests.scenarios.wire import attribute, header

ALICE = ("alice", "sip:alice@example.com")
ALICE_PATH = "msrp://alicepc.example.com:7777/iau39soe2843z;tcp"
BOB = ("bob", "sip:bob@example.com", "msrp://bob.example.com:8888/9di4eae923wzd;tcp")


class ExampleTests(FigureTestCase):
    @inlineCallbacks
    def test_a_basic_im_session(self) -> Story:
        """§11.1, figure 12; what Bob says is said by another in the room."""
        alice = self.endpoint(*ALICE, ALICE_PATH, lines=TEXT_LINES)
        yield self.join(alice)
        self.assertEqual(attribute(alice.answer, "accept-types"), "text/plain")
        yield self.connect(
            alice,
            """
            MSRP d93kswow SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 12339sdqwer
            Byte-Range: 1-16/16
            Content-Type: text/plain

            Hi, I'm Alice!
            -------d93kswow$""",
        )
        bob = yield self.enter(*BOB, lines=TEXT_LINES)
        bob.sends("""
            MSRP dkei38sd SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 456s9wlk3
            Byte-Range: 1-21/21
            Content-Type: text/plain

            Hi, Alice!  I'm Bob!
            -------dkei38sd$""")
        self.assertAnswers(bob, (yield bob.hears()), "dkei38sd", "200 OK")
        copy = yield alice.hears()
        self.assertCopy(alice, copy, "bob@example.com: Hi, Alice!  I'm Bob!", "text/plain")
        self.accepts(alice, copy)
        alice.request("BYE", 2)
        answer = yield alice.sip.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        alice.to_tag = ""
        yield alice.wire.closed

    @inlineCallbacks
    def test_xhtml(self) -> Story:
        """§11.2: in a wrapper it passes untouched; without one a room cannot take it (RFC 7701)."""
        alice = yield self.enter(*ALICE, ALICE_PATH)
        bob = yield self.enter(*BOB, lines="\n    a=accept-types:message/cpim *")
        document = "\r\n".join(
            (
                '<?xml version="1.0" encoding="UTF-8"?>',
                "<!DOCTYPE html",
                'PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"',
                '"_http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd_">',
                '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">',
                "  <head>",
                "    <title>FY2005 Results</title>",
                "</head>",
                "  <body>",
                "   <p>See the results at <a",
                'href="http://example.org/">example.org</a>.</p>',
                "  </body>",
                "</html>",
            )
        )

        def frame(transaction: str, content_type: str, body: str) -> str:
            return (
                f"MSRP {transaction} SEND\r\n"
                f"To-Path: {alice.server_path}\r\n"
                f"From-Path: {alice.path}\r\n"
                "Message-ID: 456so39s\r\n"
                f"Byte-Range: 1-{len(body)}/{len(body)}\r\n"
                f"Content-Type: {content_type}\r\n"
                "\r\n"
                f"{body}\r\n"
                f"-------{transaction}$\r\n"
            )

        alice.writes(frame("dsdfoe38sd", "application/xhtml+xml", document))
        answer = yield alice.hears()
        self.assertTrue(answer.startswith("MSRP dsdfoe38sd 415 "), answer)
        wrapped = (
            f"From: <sip:alice@example.com>\r\nTo: <{ROOM}>\r\n\r\n"
            f"Content-Type: application/xhtml+xml\r\n\r\n{document}"
        )
        alice.writes(frame("dsdfoe38se", "message/cpim", wrapped))
        self.assertAnswers(alice, (yield alice.hears()), "dsdfoe38se", "200 OK")
        self.assertCopy(bob, (yield bob.hears()), wrapped, "message/cpim")

    @inlineCallbacks
    def test_a_chunked_message(self) -> Story:
        """§11.3, which is figure 5 of §5.1."""
        alice = yield self.enter(*ALICE, ALICE_PATH, lines=TEXT_LINES)
        bob = yield self.enter(*BOB, lines=TEXT_LINES)
        alice.sends("""
            MSRP dkei38sd SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 4564dpWd
            Byte-Range: 1-*/8
            Content-Type: text/plain

            abcd
            -------dkei38sd+""")
        alice.sends("""
            MSRP dkei38ia SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 4564dpWd
            Byte-Range: 5-8/8
            Content-Type: text/plain

            EFGH
            -------dkei38ia$""")
        self.assertAnswers(alice, (yield alice.hears()), "dkei38sd", "200 OK")
        self.assertAnswers(alice, (yield alice.hears()), "dkei38ia", "200 OK")
        first, second = (yield bob.hears()), (yield bob.hears())
        front = len("alice@example.com: ")
        self.assertEqual(header(first, "Byte-Range"), f"1-{front + 4}/{front + 8}")
        self.assertEqual(header(second, "Byte-Range"), f"{front + 5}-{front + 8}/{front + 8}")
        self.assertEqual(header(first, "Message-ID"), header(second, "Message-ID"))
        self.assertIn("\r\n\r\nalice@example.com: abcd\r\n-------", first)
        self.assertIn("\r\n\r\nEFGH\r\n-------", second)
        self.assertEqual((first[-3], second[-3]), ("+", "$"))

    @inlineCallbacks
    def test_a_chunked_message_with_message_cpim(self) -> Story:
        """§11.4, figures 14 and 15."""
        alice = yield self.enter(*ALICE, ALICE_PATH)
        bob = yield self.enter(*BOB)
        head = (
            f"To: Chatroom 22 <{ROOM}>\r\n"
            "From: Alice <sip:alice@example.com>\r\n"
            "DateTime: 2006-05-15T15:02:31-03:00\r\n"
            "\r\n"
            "Content-Type: text/plain\r\n"
            "\r\n"
            "ABCD"
        )
        total = len(head) + 10
        for transaction, byte_range, body, flag in (
            ("d93kswow", f"1-{len(head)}/{total}", head, "+"),
            ("op2nc9a", f"{len(head) + 1}-{total}/{total}", "1234567890", "$"),
        ):
            alice.writes(
                f"MSRP {transaction} SEND\r\n"
                f"To-Path: {alice.server_path}\r\n"
                f"From-Path: {alice.path}\r\n"
                "Message-ID: 12339sdqwer\r\n"
                f"Byte-Range: {byte_range}\r\n"
                "Content-Type: message/cpim\r\n"
                "\r\n"
                f"{body}\r\n"
                f"-------{transaction}{flag}\r\n"
            )
            self.assertAnswers(alice, (yield alice.hears()), transaction, "200 OK")
            copy = yield bob.hears()
            self.assertEqual(header(copy, "Byte-Range"), byte_range)
            self.assertEqual(header(copy, "Content-Type"), "message/cpim")
            self.assertIn(f"\r\n\r\n{body}\r\n-------", copy)
            self.assertEqual(copy[-3], flag)

    @inlineCallbacks
    def test_a_system_message(self) -> Story:
        """§11.5: who wants no reports hears nothing of it."""
        sysadmin = yield self.enter(*ALICE, ALICE_PATH, lines=TEXT_LINES)
        bob = yield self.enter(*BOB, lines=TEXT_LINES)
        sysadmin.sends("""
            MSRP d93kswow SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 12339sdqwer
            Byte-Range: 1-38/38
            Failure-Report: no
            Success-Report: no
            Content-Type: text/plain

            This conference will end in 5 minutes
            -------d93kswow$""")
        text = "alice@example.com: This conference will end in 5 minutes"
        self.assertCopy(bob, (yield bob.hears()), text, "text/plain")
        yield self.assertNobodyHearsMore(sysadmin)

    @inlineCallbacks
    def test_a_positive_report(self) -> Story:
        """§11.6, figures 16 and 17, in plain text; the Byte-Range of the figure is not true."""
        alice = yield self.enter(*ALICE, ALICE_PATH, lines=TEXT_LINES)
        alice.sends("""
            MSRP d93kswow SEND
            To-Path: {room}
            From-Path: {us}
            Message-ID: 12339sdqwer
            Byte-Range: 1-106/106
            Success-Report: yes
            Failure-Report: no
            Content-Type: text/plain

            Here is that important link...
            -------d93kswow$""")
        report = yield alice.hears()
        transaction = report.split(" ")[1]
        self.assertEqual(
            report,
            f"MSRP {transaction} REPORT\r\n"
            f"To-Path: {alice.path}\r\n"
            f"From-Path: {alice.server_path}\r\n"
            "Message-ID: 12339sdqwer\r\n"
            "Byte-Range: 1-30/30\r\n"
            "Status: 000 200 OK\r\n"
            f"-------{transaction}$\r\n",
        )
        yield self.assertNobodyHearsMore(alice)
