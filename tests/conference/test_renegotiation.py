"""re-INVITE and UPDATE (RFC 3261 §14, RFC 3311, RFC 3264 §8)."""

from __future__ import annotations

from msrpconf.conference.control import FLOW
from msrpconf.conference.participant import State
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.sdp import SessionDescription
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Response
from tests.conference.support import Client, ControlTestCase, cpim, sdp

ELSEWHERE = (("Contact", "<sip:alice@elsewhere.example.com:5080>"), (FLOW, "flow-9"))


def described(answer: Response) -> SessionDescription:
    return SessionDescription.parse(answer.body)


class RenegotiationTestCase(ControlTestCase):
    """Alice is in; Bob is there to be heard and to hear."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.joined("alice", attributes="setup:active")
        self.bob = self.joined("bob")
        self.events.clear()

    def assertHears(self, client: Client, hears: bool = True) -> None:
        """Whether `client` hears what Bob says now."""
        self.bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        self.assertEqual(len(client.hears()), hears)

    def assertAnswers(self, status: int, text: str, answer: Response) -> None:
        self.assertEqual(answer.status, status)
        self.assertIn(text, answer.reason)


class TargetTests(RenegotiationTestCase):
    """What is sent to the client goes where its last accepted request came from."""

    def last_target(self) -> tuple[str, str | None]:
        self.control.close(Reason("SIP", 503, "x"))
        (bye,) = [each for each in self.channel.requests if each.call_id == self.alice.call_id]
        return str(bye.uri), bye.headers.get(FLOW)

    def test_update_without_a_description(self) -> None:
        self.alice.headers = ELSEWHERE
        answer = self.alice.send("UPDATE")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.body, b"")
        self.assertNotIn("Content-Type", answer.headers)
        self.assertHears(self.alice)
        self.assertEqual(self.last_target(), ("sip:alice@elsewhere.example.com:5080", "flow-9"))

    def test_re_invite(self) -> None:
        self.alice.headers = ELSEWHERE
        self.alice.invite()
        self.alice.send("ACK")
        self.assertEqual(self.last_target(), ("sip:alice@elsewhere.example.com:5080", "flow-9"))

    def test_what_is_refused_moves_nobody(self) -> None:
        self.alice.headers = ELSEWHERE
        for method in ("UPDATE", "INVITE"):
            self.assertEqual(self.alice.send(method, sdp("m=audio 4 RTP/AVP 0")).status, 488)
            self.assertEqual(self.alice.send(method, self.alice.offer(), cseq=100).status, 500)
        self.assertEqual(self.last_target(), ("sip:alice@alice.example.com:5070", None))

    def test_without_contact_nobody_moves(self) -> None:
        self.alice.headers = ()
        self.assertEqual(self.alice.send("UPDATE").status, 200)
        self.assertEqual(self.last_target(), ("sip:alice@alice.example.com:5070", None))


class OrderTests(RenegotiationTestCase):
    """RFC 3261 §12.2.2."""

    def test_what_others_overtook_gets_500(self) -> None:
        self.assertEqual(self.alice.send("UPDATE", cseq=110).status, 200)
        for method in ("UPDATE", "INVITE", "OPTIONS", "BYE"):
            answer = self.alice.send(method, cseq=109)
            self.assertAnswers(500, "CSeq 109 comes after 110", answer)
            self.assertIn(int(answer.headers.get("Retry-After") or -1), range(11))
        self.assertIs(self.alice.participant.state, State.JOINED)

    def test_numbers_may_be_left_out(self) -> None:
        self.assertEqual(self.alice.send("UPDATE", cseq=2**31).status, 200)

    def test_what_is_refused_counts(self) -> None:
        self.assertEqual(
            self.alice.send("UPDATE", sdp("m=audio 4 RTP/AVP 0"), cseq=110).status, 488
        )
        self.assertEqual(self.alice.send("UPDATE", cseq=109).status, 500)


class HoldTests(RenegotiationTestCase):
    """Directions, as the client says them (RFC 3264 §8.4, RFC 4975 §8.9)."""

    def test_hold_and_resume(self) -> None:
        for method in ("INVITE", "UPDATE"):
            for direction, ours, hears in (
                ("sendonly", "recvonly", False),
                ("inactive", "inactive", False),
                ("recvonly", "sendonly", True),
                ("sendrecv", None, True),
            ):
                answer = self.alice.send(method, self.alice.offer(direction))
                names = [name for name, _ in described(answer).media[0].attributes]
                found = {"recvonly", "inactive", "sendonly", "sendrecv"}.intersection(names)
                self.assertEqual(found, {ours} if ours else set(), direction)
                self.assertHears(self.alice, hears)
                self.alice.send("ACK")
                self.assertHears(self.alice, hears)

    def test_who_holds_may_speak(self) -> None:
        self.alice.send("UPDATE", self.alice.offer("sendonly"))
        self.alice.say(cpim("I cannot hear you"))
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertEqual(len(self.bob.hears()), 1)

    def test_types_change(self) -> None:
        self.alice.types = "text/plain"
        answer = self.alice.send("UPDATE", self.alice.offer())
        self.assertEqual(described(answer).media[0].attribute("accept-types"), "text/plain")
        self.bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        self.assertEqual(self.alice.hears_text(), ["bob@home.com: Hi"])
        self.assertEqual(len(self.room.audiences), 2)


class PathTests(RenegotiationTestCase):
    """A client that moves brings another path, and its session another connection."""

    def move(self) -> None:
        self.alice.path = "msrp://alice.elsewhere.example.com:7654/another;tcp"

    def test_re_invite_with_a_new_path(self) -> None:
        old = self.alice.connected
        ours = self.alice.line.attribute("path")
        self.move()
        self.alice.invite()
        self.assertEqual(self.alice.line.attribute("path"), ours)
        self.assertTrue(old.transport.disconnecting)
        self.alice.connect()
        self.alice.send("ACK")
        self.bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        (heard,) = self.alice.hears()
        self.assertEqual(heard.head.to_path, self.alice.path.encode())
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_the_new_connection_may_come_after_the_ack(self) -> None:
        self.move()
        self.alice.invite()
        self.alice.send("ACK")
        self.clock.advance(14.9)
        self.alice.connect()
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_no_new_connection(self) -> None:
        for method in ("INVITE", "UPDATE"):
            alice = self.joined("alice", method)
            alice.path = "msrp://alice.elsewhere.example.com:7654/another;tcp"
            alice.send(method, alice.offer())
            alice.send("ACK")
            self.clock.advance(14.9)
            self.assertEqual(self.channel.sent, [])
            self.clock.advance(0.2)
            self.assertIn("No MSRP connection", self.bye().headers.get("Reason") or "")
            self.channel.sent.clear()

    def test_the_same_path_keeps_its_connection(self) -> None:
        for method in ("INVITE", "UPDATE"):
            self.alice.send(method, self.alice.offer())
            self.alice.send("ACK")
            self.assertHears(self.alice)
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_moving_within_the_grace_time(self) -> None:
        """What a client does whose network changes: the waiting begins anew."""
        self.alice.connected.vanishes()
        self.clock.advance(10)
        self.move()
        self.alice.invite()
        self.clock.advance(4)
        self.alice.send("ACK")
        self.clock.advance(14)
        self.alice.connect()
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_we_connect_where_the_client_waits(self) -> None:
        for method in ("INVITE", "UPDATE"):
            alice = self.joined("alice", method, attributes="setup:passive")
            self.connects.clear()
            alice.connected.vanishes()
            alice.path = "msrp://alice.elsewhere.example.com:7654/another;tcp"
            host = "alice.elsewhere.example.com"
            moved = Destination(host, 7654, False, host)
            alice.send(method, alice.offer())
            alice.send("ACK")
            self.assertEqual(self.connects, [(alice.session, moved)])

    def test_a_lost_connection_is_found_again_by_update(self) -> None:
        self.alice.connected.vanishes()
        self.assertEqual(self.alice.send("UPDATE").status, 200)
        self.clock.advance(15.1)
        self.assertIn("did not come back", self.bye().headers.get("Reason") or "")


class AckTests(RenegotiationTestCase):
    """The 200 to a re-INVITE wants its ACK, too (RFC 3261 §14.2, §13.3.1.4)."""

    def test_no_ack(self) -> None:
        self.alice.invite()
        self.clock.advance(4.9)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        self.assertIn("No ACK within 5 s", self.bye().headers.get("Reason") or "")

    def test_no_ack_and_no_connection_either(self) -> None:
        self.alice.invite()
        self.alice.connected.vanishes()
        self.alice.connect()
        self.clock.advance(5.1)
        self.assertIn("No ACK within 5 s", self.bye().headers.get("Reason") or "")

    def test_the_ack_of_an_earlier_invite_is_not_the_ack(self) -> None:
        """It may be late, or repeated because our 200 was."""
        self.alice.invite(b"")
        self.alice.send("ACK", cseq=101)
        self.assertEqual(self.channel.sent, [])
        self.alice.send("ACK", self.alice.offer())
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])
        self.assertHears(self.alice)

    def test_an_offerless_re_invite_without_an_answer(self) -> None:
        self.alice.invite(b"")
        self.alice.send("ACK")
        self.assertIn("no answer to the offer", self.bye().headers.get("Reason") or "")

    def test_joining_is_logged_once(self) -> None:
        self.alice.invite()
        self.alice.send("ACK")
        self.assertEqual(self.logged, [])

    def test_who_sends_in_the_dialog_has_our_200(self) -> None:
        """The ACK was lost, or is overtaken: RFC 5407 §3.1."""
        for method in ("INVITE", "UPDATE"):
            carol = self.client("carol", method)
            carol.invite()
            self.assertEqual(carol.send(method, carol.offer()).status, 200)
            self.assertIs(carol.participant.state, State.JOINED)
            carol.connect()
            if method == "INVITE":
                carol.send("ACK")
            self.clock.advance(60)
            self.assertEqual(self.channel.sent, [])
        joined = [line for line in self.logged if line.startswith("joined")]
        self.assertEqual(len(joined), 2)

    def test_a_second_re_invite_before_the_ack_of_the_first(self) -> None:
        self.alice.invite()
        self.alice.invite()
        self.clock.advance(3)
        self.alice.send("ACK", cseq=102)
        self.clock.advance(1.9)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        self.assertIn("No ACK", self.bye().headers.get("Reason") or "")


class GlareTests(RenegotiationTestCase):
    """While our offer is unanswered, no other (RFC 3261 §14.2, RFC 3311 §5.2)."""

    def test_491(self) -> None:
        self.alice.invite(b"")
        for method, body in (("INVITE", b""), ("INVITE", None), ("UPDATE", None)):
            answer = self.alice.send(method, self.alice.offer() if body is None else body)
            self.assertAnswers(491, "Our offer has not been answered", answer)
        self.alice.send("ACK", self.alice.offer(), cseq=102)
        self.assertEqual(self.alice.send("UPDATE", self.alice.offer()).status, 200)
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_an_update_without_an_offer_is_welcome(self) -> None:
        carol = self.client("carol")
        carol.invite(b"")
        self.assertEqual(carol.send("UPDATE").status, 200)
        self.assertIs(carol.participant.state, State.EXPECTED)
        carol.send("ACK", carol.offer(), cseq=101)
        self.assertIs(carol.participant.state, State.JOINED)


class CancelTests(RenegotiationTestCase):
    """The focus has answered 487 to a re-INVITE that we accepted: it never was (RFC 3261 §14.1)."""

    def test_what_was_agreed_before_holds(self) -> None:
        path = self.alice.path
        self.alice.path = "msrp://alice.elsewhere.example.com:7654/another;tcp"
        self.alice.types = "text/plain"
        self.alice.invite(self.alice.offer("sendonly"))
        self.assertEqual(self.alice.send("CANCEL").status, 200)
        self.assertEqual(self.alice.session.remote_path, path.encode())
        self.alice.connect()
        self.bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        (heard,) = self.alice.hears()
        self.assertEqual(heard.head.content_type, b"message/cpim")
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_our_offer_is_forgotten(self) -> None:
        self.alice.invite(b"")
        self.assertEqual(self.alice.send("CANCEL").status, 200)
        self.assertEqual(self.alice.send("UPDATE", self.alice.offer()).status, 200)
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_of_another_request(self) -> None:
        self.alice.invite()
        self.assertEqual(self.alice.send("CANCEL", cseq=101).status, 481)
        self.alice.send("ACK")
        self.assertEqual(self.alice.send("CANCEL").status, 481)
        self.assertIs(self.alice.participant.state, State.JOINED)


class RefusedTests(RenegotiationTestCase):
    def test_a_refused_offer_changes_nothing(self) -> None:
        before = self.alice.participant.agreement
        for method in ("INVITE", "UPDATE"):
            for body in (sdp("m=audio 4 RTP/AVP 0"), sdp("m=message 0 TCP/MSRP *"), b"x"):
                answer = self.alice.send(method, body)
                self.assertEqual(answer.status, 488)
                self.assertIn("Warning", answer.headers)
        self.assertIs(self.alice.participant.agreement, before)
        self.assertHears(self.alice)
        self.clock.advance(60)
        self.assertEqual(self.channel.sent, [])

    def test_the_refusal_is_logged(self) -> None:
        self.alice.send("UPDATE", sdp("m=audio 4 RTP/AVP 0"))
        self.assertEqual(
            self.logged,
            [
                "refused: UPDATE of sip:alice@home.com to sip:conf1@conf.example.com: 488 No"
                " m=message line with TCP/MSRP: this is a chat room (Call-ID alice@home.com)"
            ],
        )
