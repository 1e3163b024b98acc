"""The original design's «INVITE: Joining a conference», steps 1 to 7, on the wire.

Where the original contradicts RFC 3261 and RFC 4975, the standards are followed: From
and To stand as received, Contact has angle brackets, paths are MSRP URIs.
"""

from __future__ import annotations

import re

from twisted.internet.defer import inlineCallbacks

from msrpconf.conference.participant import State
from tests.scenarios.original import OFFER, OriginalTestCase, Story
from tests.scenarios.wire import attribute, connect_msrp, header


class OriginalJoinTests(OriginalTestCase):
    @inlineCallbacks
    def test_steps_1_to_7(self) -> Story:
        bob = self.person("bob")  # «bob is also in the same conference»
        yield self.join(bob)
        alice = self.person("alice")

        # 1 to 4: the INVITE goes by focus and server, which expects her, and back as 200.
        alice.request("INVITE", 101, OFFER)
        answer = yield alice.sip.next()
        self.assertIs(self.participant(alice).state, State.EXPECTED)
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        self.assertEqual(header(answer, "From"), "sip:alice@home.com;tag=887s")
        to, _, alice.to_tag = header(answer, "To").partition(";tag=")
        self.assertEqual(to, "sip:conf1@127.0.0.1")
        self.assertRegex(alice.to_tag, r"\Alocal\.[0-9a-f]{16}\Z")
        self.assertEqual(header(answer, "Call-ID"), "2366721e-alice@home.com")
        self.assertEqual(header(answer, "CSeq"), "101 INVITE")
        self.assertRegex(header(answer, "Contact"), r"\A<sip:conf1@127\.0\.0\.1:\d+>;.*;isfocus")
        self.assertEqual(header(answer, "Content-Type"), "application/sdp")
        self.assertEqual(attribute(answer, "accept-types"), "text/plain")
        alice.server_path = attribute(answer, "path")
        self.assertRegex(alice.server_path, r"\Amsrp://127\.0\.0\.1:\d+/\w{20,};tcp\Z")

        # 5: the ACK, after which she is in.
        joined = self.when_logged("joined")
        alice.request("ACK", 101)
        yield joined
        self.assertIs(self.participant(alice).state, State.JOINED)

        # 6 and 7: her message, and its answer.
        port = int(alice.server_path.split(":")[2].partition("/")[0])
        alice.msrp = yield connect_msrp("127.0.0.1", port)
        alice.msrp.send(f"""
            MSRP d93kswow SEND
            To-Path: {alice.server_path}
            From-Path: {alice.path}
            Message-ID: 12339sdqwer
            Byte-Range: 1-14/14
            Content-Type: text/plain

            Hi, I'm Alice!
            -------d93kswow$""")
        answered = yield alice.msrp.next()
        self.assertEqual(
            answered,
            "MSRP d93kswow 200 OK\r\n"
            f"To-Path: {alice.path}\r\n"
            f"From-Path: {alice.server_path}\r\n"
            "-------d93kswow$\r\n",
        )

        # And Bob has it, with her name in front.
        assert bob.msrp is not None
        noticed = yield bob.msrp.next()
        self.assertIn("\r\n\r\n*** alice@home.com has joined\r\n", noticed)
        heard = yield bob.msrp.next()
        transaction = re.match(r"MSRP (\w+) SEND\r\n", heard)
        assert transaction is not None
        self.assertEqual(header(heard, "To-Path"), bob.path)
        self.assertEqual(header(heard, "From-Path"), bob.server_path)
        self.assertEqual(header(heard, "Byte-Range"), "1-30/30")
        self.assertEqual(header(heard, "Content-Type"), "text/plain")
        self.assertTrue(
            heard.endswith(
                f"\r\n\r\nalice@home.com: Hi, I'm Alice!\r\n-------{transaction[1]}$\r\n"
            ),
            heard,
        )


class NoAckTests(OriginalTestCase):
    ack_timeout = 0.2

    @inlineCallbacks
    def test_no_ack_no_participant(self) -> Story:
        """«if no ACK arrives after 5 seconds the session is dropped»; here after less."""
        alice = self.person("alice")
        alice.request("INVITE", 101, OFFER)
        answer = yield alice.sip.next()
        participant = self.participant(alice)
        goodbye = yield alice.sip.next()
        self.assertIs(participant.state, State.DROPPED)
        self.assertTrue(goodbye.startswith(f"BYE sip:alice@127.0.0.1:{alice.sip.port} SIP/2.0\r\n"))
        for ours, theirs in (("From", "To"), ("To", "From")):
            uri, _, tag = header(answer, theirs).partition(";")
            self.assertEqual(header(goodbye, ours), f"<{uri}>;{tag}")
        self.assertEqual(header(goodbye, "Call-ID"), "2366721e-alice@home.com")
        self.assertEqual(header(goodbye, "Reason"), 'SIP;cause=408;text="No ACK within 0.2 s"')
        self.assertEqual(self.service.registry.rooms, {})
        alice.sip.send(f"""
            SIP/2.0 200 OK
            Via: {header(goodbye, "Via")}
            From: {header(goodbye, "From")}
            To: {header(goodbye, "To")}
            Call-ID: {header(goodbye, "Call-ID")}
            CSeq: {header(goodbye, "CSeq")}""")
