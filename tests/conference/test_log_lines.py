"""What the operator reads: who, which room, why, and which call."""

from __future__ import annotations

from twisted.logger import formatEvent

from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import (
    MORE,
    ROOM,
    ControlTestCase,
    cpim,
)
from tests.protocols.msrp.support import Peer


class LogTests(ControlTestCase):
    """Each join, leave and refusal is a line with who, which room, why and the Call-ID."""

    def test_a_visit(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        alice.send("ACK")
        alice.send("BYE")
        self.control.close(Reason("SIP", 503, "Going down"))
        self.channel.answer()
        expected = f"in {ROOM} (Call-ID {{}}@home.com"
        self.assertEqual(
            self.logged,
            [
                f"expected: sip:alice@home.com {expected.format('alice')})",
                f"joined: sip:alice@home.com {expected.format('alice')}; 1 in the room)",
                f"expected: sip:bob@home.com {expected.format('bob')})",
                f"joined: sip:bob@home.com {expected.format('bob')}; 2 in the room)",
                f"owner: sip:bob@home.com of {ROOM} now",
                f"left: sip:alice@home.com {expected.format('alice')}; 1 in the room)",
                f"dropped: Going down: sip:bob@home.com {expected.format('bob')}; 0 in the room)",
            ],
        )
        self.assertEqual(bob.call_id, "bob@home.com")

    def test_waiting_in_vain(self) -> None:
        self.client("alice").invite()
        self.clock.advance(5.1)
        bob = self.client("bob")
        bob.invite()
        bob.send("ACK")
        self.clock.advance(15.1)
        carol = self.joined("carol")
        carol.connected.vanishes()
        self.clock.advance(15.1)
        self.assertEqual(
            [line for line in self.logged if line.startswith("dropped")],
            [
                "dropped: No ACK within 5 s: sip:alice@home.com"
                f" in {ROOM} (Call-ID alice@home.com; 0 in the room)",
                "dropped: No MSRP connection within 15 s: sip:bob@home.com"
                f" in {ROOM} (Call-ID bob@home.com; 0 in the room)",
                "dropped: MSRP was lost (Connection to the other side was lost in a non-clean"
                " fashion: gone) and did not come back within 15 s: sip:carol@home.com"
                f" in {ROOM} (Call-ID carol@home.com; 0 in the room)",
            ],
        )

    def test_cancelled(self) -> None:
        alice = self.client("alice")
        alice.invite()
        alice.to = f"<{ROOM}>"
        alice.send("CANCEL")
        self.assertEqual(
            self.logged[1:],
            [f"cancelled: sip:alice@home.com in {ROOM} (Call-ID alice@home.com; 0 in the room)"],
        )

    def test_refusals(self) -> None:
        self.configure(ad_hoc=False)
        alice = self.client("alice")
        alice.invite()
        alice.send("BYE")
        alice.invite(headers=(("P-Asserted-Identity", "<sip:mallory@home.com>"),))
        alice.invite(headers=(("P-Asserted-Identity", "<"),))
        refused = f"sip:alice@home.com to {ROOM}:"
        self.assertEqual(
            self.logged[:3],
            [
                f"refused: INVITE of {refused} 404 No such room: ask the operator to set it up"
                " (Call-ID alice@home.com)",
                f"refused: BYE of {refused} 481 No such dialog here: it has ended, or never was"
                " (Call-ID alice@home.com)",
                f"refused: INVITE of sip:mallory@home.com to {ROOM}: 404 No such room: ask the"
                " operator to set it up (Call-ID alice@home.com)",
            ],
        )
        self.assertRegex(self.logged[3], f"^refused: INVITE of {refused} 400 P-Asserted-Identity: ")
        self.assertEqual(len(self.logged), 4)

    def test_refused_messages(self) -> None:
        alice = self.joined("alice")
        session = alice.session.local_path.decode().rpartition("/")[2].partition(";")[0]
        message = cpim("Hi", from_="<sip:bob@home.com>")
        self.events.clear()
        alice.say(message[:-1], byte_range="1-*/*", flag=MORE)
        alice.say(b"Hi", "m2", content_type="text/plain")
        alice.send("BYE")
        Peer(self.registry.sessions, self.clock).says(alice.frame(message))
        told = [
            formatEvent(event)
            for event in self.events
            if str(event.get("log_namespace")).startswith("msrpconf.protocols.msrp")
        ]
        alices = f"refused: MSRP SEND of sip:alice@home.com in {ROOM}:"
        self.assertEqual(
            told,
            [
                f"{alices} 403 CPIM From is not yours here: use sip:alice@home.com"
                f" (session {session} at 192.168.1.1:54321)",
                f"{alices} 415 wrap it in message/cpim, as your session description promised"
                f" (session {session} at 192.168.1.1:54321)",
                "refused: MSRP SEND of nobody here: 481 no such session here: it has ended, or"
                f" never was (session {session} at 192.168.1.1:54321)",
            ],
        )

    def test_nobody_fills_the_log(self) -> None:
        alice = self.joined("alice")
        self.events.clear()
        for number in range(30):
            alice.say(b"Hi", f"m{number}", content_type="text/plain")
        self.assertEqual(len(alice.told()), 30)
        self.assertEqual(len(self.events), 10)
        self.clock.advance(60)
        alice.say(b"Hi", content_type="text/plain")
        self.assertIn("; 20 such lines were left out before", formatEvent(self.events[-1]) or "")

    def test_no_call_id_breaks_a_line(self) -> None:
        """What is no control character of ASCII may stand in one, octets that are no text too."""
        alice = self.client("alice")
        alice.call_id = "a\udcff\x85\u2028\x9b31m@home.com"
        call_id = r"a\udcff\x85\u2028\x9b31m@home.com"
        alice.invite()
        alice.send("ACK")
        alice.send("BYE")
        alice.send("BYE")
        alice.to = f"<{ROOM}>"
        alice.invite()
        self.clock.advance(5.1)
        self.channel.answer(500, "\x1b[2J\udcff")
        self.assertEqual(len(self.logged), 7)
        for line in self.logged:
            self.assertTrue(line.isprintable(), ascii(line))
            self.assertIn(f"(Call-ID {call_id}", line)
        self.assertIn(r"500 \x1b[2J\udcff", self.logged[-1])
