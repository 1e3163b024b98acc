"""INVITEs without an offer, and who connects (RFC 3261 §13.2.1, RFC 6135)."""

from __future__ import annotations

from msrpconf.protocols.msrp.destination import Destination
from tests.conference.support import (
    Client,
    ControlTestCase,
    attributes,
    cpim,
    sdp,
)

HOME = Destination("alice.example.com", 7654, False, "alice.example.com")


class OfferlessTests(ControlTestCase):
    """An INVITE without an offer: ours is in the 200, the answer in the ACK (RFC 3261 §13.2.1)."""

    def invited(self, **options: str) -> Client:
        alice = self.client("alice", **options)
        self.assertEqual(alice.invite(b"").status, 200)
        return alice

    def test_our_offer(self) -> None:
        alice = self.invited()
        self.assertEqual(
            attributes(alice.line),
            {
                "accept-types": "message/cpim text/plain",
                "accept-wrapped-types": "*",
                "max-size": "1000000",
                "setup": "actpass",
                "chatroom": "nickname private-messages",
                "msrp-cema": None,
            },
        )

    def test_the_answer_in_the_ack(self) -> None:
        alice = self.invited(types="text/plain", attributes="setup:active")
        self.assertEqual(alice.send("ACK", alice.offer()).status, 200)
        alice.connect()
        bob = self.joined("bob")
        bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        (heard,) = alice.hears()
        self.assertEqual(heard.head.to_path, alice.path.encode())
        self.assertEqual(heard.body, b"bob@home.com: Hi")

    def assertEnded(self, alice: Client, why: str) -> None:
        reason = self.bye().headers.get("Reason") or ""
        self.assertTrue(reason.startswith("SIP;cause=488;text="), reason)
        self.assertIn(why, reason)
        self.assertNobodyIsLeft()
        self.assertEqual([line for line in self.logged if line.startswith("joined")], [])

    def test_no_answer(self) -> None:
        alice = self.invited()
        self.assertEqual(alice.send("ACK").status, 200)
        self.assertEnded(alice, "The ACK has no answer to the offer in the 200")

    def test_an_answer_that_refuses(self) -> None:
        alice = self.invited()
        alice.send("ACK", sdp("m=message 0 TCP/MSRP *"))
        self.assertEnded(alice, "No m=message line")

    def test_an_answer_that_cannot_be_read(self) -> None:
        alice = self.invited()
        alice.send("ACK", b"v=1\r\n")
        self.assertEnded(alice, "SDP must be of version 0")

    def test_the_ack_repeated(self) -> None:
        alice = self.invited(attributes="setup:active")
        alice.send("ACK", alice.offer())
        alice.connect()
        alice.send("ACK")
        alice.send("ACK", b"v=1\r\n")
        self.assertEqual(self.channel.sent, [])

    def test_a_message_before_the_answer(self) -> None:
        """Its sender does not hear yet: where to is in the answer."""
        bob = self.joined("bob")
        alice = self.invited()
        alice.connect()
        alice.say(cpim("early"))
        self.assertEqual(alice.told(), ["200 OK"])
        self.assertEqual(len(bob.hears()), 1)
        bob.say(cpim("hello?", from_="<sip:bob@home.com>"))
        self.assertEqual(alice.hears(), [])
        alice.send("ACK", alice.offer())
        bob.say(cpim("hello!", from_="<sip:bob@home.com>"))
        self.assertEqual(len(alice.hears()), 1)

    def test_text_may_be_said_since_we_offered_it(self) -> None:
        bob = self.joined("bob")
        alice = self.invited(attributes="setup:active")
        alice.send("ACK", alice.offer())
        alice.connect()
        alice.say(b"Hi", content_type="text/plain")
        self.assertEqual(alice.told(), ["200 OK"])
        self.assertEqual(len(bob.hears()), 1)

    def test_text_may_not_be_said_where_it_is_switched_off(self) -> None:
        self.configure(plain_text=False)
        alice = self.invited(attributes="setup:active")
        self.assertEqual(alice.line.attribute("accept-types"), "message/cpim")
        alice.send("ACK", alice.offer())
        alice.connect()
        alice.say(b"Hi", content_type="text/plain")
        (told,) = alice.told()
        self.assertTrue(told.startswith("415 "), told)


class SetupTests(ControlTestCase):
    """Who connects (RFC 6135 §4.2)."""

    def test_in_an_offer(self) -> None:
        for setup, ours in (
            ("", "passive"),
            ("setup:active", "passive"),
            ("setup:actpass", "passive"),
            ("setup:holdconn", "passive"),
            ("setup:passive", "active"),
        ):
            alice = self.client("alice", attributes=setup)
            alice.invite()
            self.assertEqual(alice.line.attribute("setup"), ours, setup)
            self.assertEqual(self.connects, [], "not before the ACK")
            session = alice.session
            alice.send("ACK")
            expected = [(session, HOME)] if ours == "active" else []
            self.assertEqual(self.connects, expected, setup)
            alice.send("BYE")

    def test_in_an_answer(self) -> None:
        """Who does not know a=setup waits for the offerer: RFC 4975 §8.5, RFC 6135 §4.2.2."""
        for setup, we_connect in (
            ("setup:active", False),
            ("setup:passive", True),
            ("", True),
            ("setup:holdconn", True),
        ):
            self.connects.clear()
            alice = self.client("alice", attributes=setup)
            alice.invite(b"")
            alice.send("ACK", alice.offer())
            self.assertEqual(len(self.connects), we_connect, setup)
            alice.send("BYE")

    def test_through_relays_the_first_is_connected_to(self) -> None:
        alice = self.client("alice", attributes="setup:passive")
        alice.path = "msrp://relay.example.com:2855/abc;tcp msrp://alice.example.com:7654/xyz;tcp"
        alice.invite()
        alice.send("ACK")
        ((_, destination),) = self.connects
        self.assertEqual(str(destination), "tcp:relay.example.com:2855")

    def test_a_client_that_connected_needs_no_connection(self) -> None:
        alice = self.client("alice", attributes="setup:passive")
        alice.invite()
        alice.connect()
        alice.send("ACK")
        self.assertEqual(self.connects, [])

    def test_a_connection_of_ours_that_does_not_come_about(self) -> None:
        alice = self.client("alice", attributes="setup:passive")
        alice.invite()
        alice.send("ACK")
        alice.send("ACK")
        self.assertEqual(len(self.connects), 1)
        self.clock.advance(15.1)
        self.assertIn("No MSRP connection within 15 s", self.bye().headers.get("Reason") or "")
