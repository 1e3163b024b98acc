"""From INVITE to joined (RFC 3261 §13.3, RFC 4579 §5.1)."""

from __future__ import annotations

from msrpconf.conference.control import CONFERENCE, FLOW
from msrpconf.conference.participant import State
from tests.conference.support import (
    ROOM,
    ControlTestCase,
    cpim,
    msrp_lines,
    request,
    sdp,
)


class JoinTests(ControlTestCase):
    """The example of RFC 7701 §9.1, and the original design's steps 1 to 5."""

    def test_the_example_of_rfc_7701(self) -> None:
        offer = (
            b"v=0\r\n"
            b"o=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\n"
            b"s=-\r\n"
            b"c=IN IP4 client.atlanta.example.com\r\n"
            b"m=message 7654 TCP/MSRP *\r\n"
            b"a=accept-types:message/cpim text/plain text/html\r\n"
            b"a=path:msrp://client.atlanta.example.com:7654/jshA7weztas;tcp\r\n"
            b"a=chatroom:nickname private-messages\r\n"
        )
        answer = self.control.handle(
            request(
                "INVITE",
                "sip:chatroom22@chat.example.com",
                from_="Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl",
                to="Chatroom 22 <sip:chatroom22@chat.example.com>",
                call_id="3848276298220188511@atlanta.example.com",
                cseq=1,
                headers=(
                    ("Contact", "<sip:alice@client.atlanta.example.com;transport=tcp>"),
                    (CONFERENCE, "sip:chatroom22@chat.example.com"),
                ),
                body=offer,
            )
        )

        self.assertEqual(answer.status, 200)
        headers = answer.headers
        self.assertEqual(
            headers.get("From"), "Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl"
        )
        to, _, tag = (headers.get("To") or "").partition(";tag=")
        self.assertEqual(to, "Chatroom 22 <sip:chatroom22@chat.example.com>")
        self.assertRegex(tag, r"\As1\.[0-9a-f]{16}\Z")
        self.assertEqual(headers.get("Call-ID"), "3848276298220188511@atlanta.example.com")
        self.assertEqual(headers.get("CSeq"), "1 INVITE")
        self.assertEqual(headers.get("Content-Type"), "application/sdp")
        origin, path = rb"o=msrpconf \d+ 1 IN IP4 msrp.example.com", rb"[0-9a-f]{30}"
        self.assertRegex(
            answer.body,
            rb"\Av=0\r\n" + origin + b"\r\ns=-\r\nc=IN IP4 msrp.example.com\r\nt=0 0\r\n"
            rb"m=message 8888 TCP/MSRP \*\r\n"
            rb"a=path:msrp://msrp.example.com:8888/" + path + rb";tcp\r\n"
            rb"a=accept-types:message/cpim\r\n"
            rb"a=accept-wrapped-types:\*\r\n"
            rb"a=max-size:1000000\r\n"
            rb"a=setup:passive\r\n"
            rb"a=chatroom:nickname private-messages\r\n"
            rb"a=msrp-cema\r\n\Z",
        )

    def test_expected_until_the_ack(self) -> None:
        alice = self.client("alice")
        alice.invite()
        self.assertIs(alice.participant.state, State.EXPECTED)
        self.assertEqual(list(self.registry.pending.values()), [alice.participant])
        self.assertEqual(alice.send("ACK").status, 200)
        self.assertIs(alice.participant.state, State.JOINED)
        self.assertEqual(self.registry.pending, {})

    def test_no_ack_within_the_time(self) -> None:
        alice = self.client("alice")
        alice.invite()
        participant, session = alice.participant, alice.session
        self.clock.advance(4.9)
        self.assertIs(participant.state, State.EXPECTED)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        self.assertIs(participant.state, State.DROPPED)
        self.assertTrue(session.closed)
        self.assertEqual(self.bye().headers.get("Reason"), 'SIP;cause=408;text="No ACK within 5 s"')
        self.assertNobodyIsLeft()

    def test_the_ack_comes_too_late(self) -> None:
        alice = self.client("alice")
        alice.invite()
        self.clock.advance(5.1)
        self.assertEqual(alice.send("ACK").status, 481)
        self.assertNobodyIsLeft()

    def test_the_bye_is_complete_in_its_dialogs_headers(self) -> None:
        """RFC 3261 §12.2.1.1: the focus adds what belongs to the hop, and nothing else."""
        alice = self.client("alice", from_='"Alice" <sip:alice@home.com>;tag=887s')
        alice.invite(
            headers=(
                ("Record-Route", "<sip:p2.example.com;lr>, <sip:p1.example.com;lr;x=1>"),
                ("Record-Route", "<sip:p0.example.com;lr>"),
                (FLOW, "flow-7"),
            )
        )
        self.clock.advance(5.1)
        bye = self.bye()
        self.assertEqual(str(bye.uri), "sip:alice@alice.example.com:5070")
        self.assertEqual(
            list(bye.headers),
            [
                ("Route", "<sip:p2.example.com;lr>"),
                ("Route", "<sip:p1.example.com;lr;x=1>"),
                ("Route", "<sip:p0.example.com;lr>"),
                ("From", f"<{ROOM}>;tag={alice.tag}"),
                ("To", '"Alice" <sip:alice@home.com>;tag=887s'),
                ("Call-ID", "alice@home.com"),
                ("CSeq", "1 BYE"),
                ("Reason", 'SIP;cause=408;text="No ACK within 5 s"'),
                (FLOW, "flow-7"),
            ],
        )

    def test_the_way_by_a_strict_router_is_the_focuss_to_write(self) -> None:
        """It could not tell where the request goes, were it rewritten here."""
        alice = self.client("alice")
        alice.invite(headers=(("Record-Route", "<sip:old.example.com>, <sip:p0.example.com;lr>"),))
        self.clock.advance(5.1)
        self.assertEqual(str(self.bye().uri), "sip:alice@alice.example.com:5070")
        self.assertEqual(
            self.bye().headers.get_all("Route"),
            ["<sip:old.example.com>", "<sip:p0.example.com;lr>"],
        )

    def test_without_a_flow_none_is_named(self) -> None:
        self.client("alice").invite()
        self.clock.advance(5.1)
        self.assertNotIn(FLOW, self.bye().headers)

    def test_a_repeated_ack_changes_nothing(self) -> None:
        alice = self.joined("alice")
        waiting = len(self.clock.getDelayedCalls())
        self.assertEqual(alice.send("ACK").status, 200)
        self.assertIs(alice.participant.state, State.JOINED)
        self.assertEqual(len(self.clock.getDelayedCalls()), waiting)
        self.assertEqual([line for line in self.logged if line.startswith("joined")][1:], [])

    def test_a_repeated_ack_does_not_prolong_the_wait_for_msrp(self) -> None:
        alice = self.client("alice")
        alice.invite()
        alice.send("ACK")
        self.clock.advance(14)
        alice.send("ACK")
        self.clock.advance(1.1)
        self.assertEqual(
            self.bye().headers.get("Reason"),
            'SIP;cause=408;text="No MSRP connection within 15 s"',
        )

    def test_an_ack_of_another_invite_is_none(self) -> None:
        alice = self.client("alice")
        alice.invite()
        alice.send("ACK", cseq=99)
        self.assertIs(alice.participant.state, State.EXPECTED)

    def test_a_peer_without_tags(self) -> None:
        """RFC 3261 §12.1.1: who speaks RFC 2543 has the null tag."""
        alice = self.client("alice", from_="<sip:alice@home.com>").join()
        bob = self.joined("bob")
        bob.say(cpim("Hi", from_="<sip:bob@home.com>"))
        self.assertEqual(len(alice.hears()), 1)
        self.assertEqual(alice.send("BYE").status, 200)
        self.assertEqual(len(self.room.participants), 1)

    def test_msrp_before_the_ack_is_served(self) -> None:
        bob = self.joined("bob")
        alice = self.client("alice")
        alice.invite()
        alice.connect()
        alice.say(cpim("early"))
        self.assertEqual(alice.told(), ["200 OK"])
        self.assertEqual(len(bob.hears()), 1)
        self.assertIs(alice.participant.state, State.EXPECTED)
        alice.send("ACK")
        self.clock.advance(60)
        self.assertIs(alice.participant.state, State.JOINED)

    def test_a_room_whose_connection_came_and_went_before_the_ack(self) -> None:
        alice = self.client("alice")
        alice.invite()
        alice.connect()
        alice.connected.vanishes()
        alice.send("ACK")
        self.clock.advance(14.9)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        self.assertEqual(self.bye().headers.get("Call-ID"), "alice@home.com")

    def test_who_never_connects_gets_a_bye(self) -> None:
        alice = self.client("alice")
        alice.invite()
        alice.send("ACK")
        self.clock.advance(14.9)
        self.assertEqual(self.channel.sent, [])
        self.clock.advance(0.2)
        self.assertEqual(
            self.bye().headers.get("Reason"),
            'SIP;cause=408;text="No MSRP connection within 15 s"',
        )
        self.assertNobodyIsLeft()

    def test_the_times_are_the_operators(self) -> None:
        self.configure(ack_timeout=1.5, msrp_timeout=2.0)
        self.client("alice").invite()
        self.clock.advance(1.6)
        bob = self.client("bob")
        bob.invite()
        bob.send("ACK")
        self.clock.advance(2.1)
        self.assertEqual(
            [each.headers.get("Reason") for each in self.channel.requests],
            [
                'SIP;cause=408;text="No ACK within 1.5 s"',
                'SIP;cause=408;text="No MSRP connection within 2 s"',
            ],
        )


class CancelTests(ControlTestCase):
    def test_cancel(self) -> None:
        alice = self.client("alice")
        alice.invite()
        participant = alice.participant
        alice.to = f"<{ROOM}>"  # who cancels has no tag of ours
        self.assertEqual(alice.send("CANCEL").status, 200)
        self.assertIs(participant.state, State.DROPPED)
        self.assertEqual(self.channel.sent, [], "487 said it all: no BYE")
        self.assertNobodyIsLeft()

    def test_only_the_invite_it_names_is_cancelled(self) -> None:
        alice, bob = self.client("alice"), self.client("bob")
        alice.invite()
        bob.invite()
        for wrong in ({"call_id": "other"}, {"cseq": 102}, {"from_": "<sip:alice@home.com>;tag=x"}):
            options: dict[str, object] = {
                "call_id": alice.call_id,
                "cseq": 101,
                "from_": alice.from_,
                **wrong,
            }
            answer = self.control.handle(request("CANCEL", **options))  # type: ignore[arg-type]
            self.assertEqual(answer.status, 481)
        self.assertEqual(len(self.room.participants), 2)

    def test_too_late_to_cancel(self) -> None:
        alice = self.joined("alice")
        alice.to = f"<{ROOM}>"
        self.assertEqual(alice.send("CANCEL", cseq=101).status, 481)
        self.assertEqual(len(self.room.participants), 1)


class RoomTests(ControlTestCase):
    def test_an_ad_hoc_room_begins_with_the_first_and_ends_with_the_last(self) -> None:
        self.assertEqual(self.registry.rooms, {})
        alice, bob = self.joined("alice"), self.joined("bob")
        self.assertEqual(list(self.registry.rooms), [ROOM])
        alice.send("BYE")
        self.assertEqual(len(self.room.participants), 1)
        bob.send("BYE")
        self.assertNobodyIsLeft()

    def test_a_room_that_began_anew_is_another(self) -> None:
        alice = self.joined("alice")
        first = self.room
        alice.send("BYE")
        self.joined("bob")
        self.assertIsNot(self.room, first)

    def test_the_rooms_name_is_a_uri_and_not_a_text(self) -> None:
        self.joined("alice", room="sip:conf1@CONF.example.com:5060;transport=tcp")
        self.joined("bob", room="sips:conf1@conf.example.com")
        self.assertEqual(self.room.key, ROOM)
        self.assertEqual(len(self.room.participants), 2)

    def test_the_focus_says_which_room(self) -> None:
        """A Contact of the focus has its address, the channel's header the room's URI."""
        answer = self.control.handle(
            request(
                "INVITE",
                "sip:conf1@192.0.2.1:5060;room-domain=conf.example.com",
                headers=(("Contact", "<sip:alice@a.example.com>"), (CONFERENCE, ROOM)),
                body=sdp(*msrp_lines()),
            )
        )
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.room.uri, ROOM)

    def test_two_devices_of_one_user(self) -> None:
        phone, laptop = self.joined("alice", "phone"), self.joined("alice", "laptop")
        bob = self.joined("bob")
        self.assertEqual(len(self.room.participants), 3)
        self.assertEqual(phone.participant.identity, laptop.participant.identity)

        bob.say(cpim("to both", from_="<sip:bob@home.com>"))
        self.assertEqual(len(phone.hears()), 1)
        self.assertEqual(len(laptop.hears()), 1)
        phone.say(cpim("from one"))
        self.assertEqual(phone.told(), ["200 OK"])
        self.assertEqual(len(laptop.hears()), 1)

        phone.send("BYE")
        self.assertFalse(laptop.session.closed)
        self.assertEqual(len(self.room.participants), 2)

    def test_one_device_in_two_rooms(self) -> None:
        here = self.joined("alice", "1")
        there = self.joined("alice", "2", room="sip:conf2@conf.example.com")
        self.assertEqual(len(self.registry.rooms), 2)
        there.send("BYE")
        self.assertEqual(list(self.registry.rooms), [ROOM])
        self.assertFalse(here.session.closed)
