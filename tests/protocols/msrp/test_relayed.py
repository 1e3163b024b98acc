"""Paths of several URIs (RFC 4975 §7.2, §8.3, RFC 4976), and ones that a middlebox made its own.

The frames are those of RFC 4976 §4, where Bob is the switch, and Alice speaks through two relays.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.outgoing import send_frame
from msrpconf.protocols.msrp.session import Session
from tests.protocols.msrp.support import Peer, RecordingHandler, SessionCase, local, send, table

BOB = b"msrp://bob.example.net:8145/foo;tcp"
B = b"msrps://b.example.net:9000/aeiug;tcp"
A = b"msrps://a.example.org:9000/kjfjan;tcp"
ALICE = b"msrps://alice.example.org:7965/bar;tcp"

SEND = b"\r\n".join(
    (
        b"MSRP xght6 SEND",
        b"To-Path: " + BOB,
        b"From-Path: " + b" ".join((B, A, ALICE)),
        b"Success-Report: yes",
        b"Message-ID: 87652",
        b"Byte-Range: 1-*/*",
        b"Content-Type: text/plain",
        b"",
        b"Hi Bob, I'm about to send you file.mpeg",
        b"-------xght6$",
        b"",
    )
)


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.handler = RecordingHandler()
        clock = Clock()
        # The path of Alice's description begins with the relay that is next to us.
        path = b" ".join((B, A, ALICE))
        self.session = Session(BOB, path, self.handler, clock)
        self.relay = Peer(table([self.session]), clock)

    def test_the_way_back(self) -> None:
        self.relay.says(SEND)
        response, report = self.relay.hears()
        self.assertEqual(response.text, "200 OK")
        self.assertEqual((response.head.transaction, response.head.to_path), (b"xght6", B))
        self.assertEqual(response.head.from_path, BOB)
        self.assertEqual((report.text, report.head.to_path), ("REPORT", b" ".join((B, A, ALICE))))
        self.assertEqual(report.head.from_path, BOB)
        self.assertEqual(report.head.message_id, b"87652")
        self.assertEqual(bytes(report.head.byte_range), b"1-39/39")
        self.assertEqual(report.head.headers[b"status"], b"000 200 OK")
        self.assertEqual(self.handler.messages[0].data, b"Hi Bob, I'm about to send you file.mpeg")

    def test_a_refusal_goes_to_the_previous_hop(self) -> None:
        self.session.close()
        self.relay.says(SEND)
        (refusal,) = self.relay.hears()
        self.assertEqual((refusal.head.status, refusal.head.to_path), (481, B))

    def test_other_requests_are_answered_all_the_way(self) -> None:
        """RFC 4975 §7.2: the first URI is for responses to SEND alone."""
        self.relay.says(
            b'MSRP n1ck NICKNAME\r\nTo-Path: %b\r\nFrom-Path: %b\r\nUse-Nickname: "A"\r\n'
            b"-------n1ck$\r\n" % (BOB, b" ".join((B, A, ALICE)))
        )
        (answer,) = self.relay.hears()
        self.assertEqual(answer.head.to_path, b" ".join((B, A, ALICE)))

    def test_the_way_there(self) -> None:
        self.relay.says(SEND)
        self.relay.hears()
        self.session.forward(send_frame(b"m", b"text/plain", (b"Hi Alice",)))
        (frame,) = self.relay.hears()
        self.assertEqual(frame.head.to_path, b" ".join((B, A, ALICE)))
        self.assertEqual(frame.head.from_path, BOB)

    def test_a_relay_is_not_what_we_are(self) -> None:
        """A request that would go on from here has no session here."""
        self.relay.says(SEND.replace(b"To-Path: " + BOB, b"To-Path: " + BOB + b" " + A))
        (refusal,) = self.relay.hears()
        self.assertEqual(refusal.head.status, 481)
        self.assertEqual(self.handler.messages, [])


class MiddleboxTests(SessionCase):
    """RFC 6714 §5: what is in the paths may not be what is in the descriptions."""

    def test_other_hosts_and_ports_in_to_path(self) -> None:
        for number, uri in enumerate(
            (b"msrp://192.0.2.7:31000/s1;tcp", b"msrp://[2001:db8::7]/s1;tcp;x=y")
        ):
            text = send(b"Hi", b"m%d" % number).replace(local("s1"), uri)
            self.alice.says(text)
            (answer,) = self.alice.hears()
            self.assertEqual((answer.text, answer.head.from_path), ("200 OK", uri))
        self.assertEqual(len(self.handler.messages), 2)

    def test_another_from_path(self) -> None:
        """It is where the answer goes; what is sent goes to the path of the description."""
        other = b"msrp://203.0.113.9:40001/other;tcp"
        remote = self.session.remote_path
        self.alice.says(send(b"Hi", success=b"yes").replace(remote, other))
        answer, report = self.alice.hears()
        self.assertEqual((answer.text, answer.head.to_path), ("200 OK", other))
        self.assertEqual(report.head.to_path, other)
        self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        (frame,) = self.alice.hears()
        self.assertEqual(frame.head.to_path, remote)

    def test_the_id_is_compared_as_it_is(self) -> None:
        self.alice.says(send(b"Hi").replace(local("s1"), local("S1")))
        (answer,) = self.alice.hears()
        self.assertEqual(answer.head.status, 481)
