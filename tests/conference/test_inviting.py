"""Inviting others: by a list in the INVITE, by REFER, by REFER with a list (RFC 4579 §5.5)."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.error import ConnectionLost

from msrpconf.conference.info import LINGER
from msrpconf.conference.invitation import InvitationState
from msrpconf.conference.inviter import MAX_WATCHERS
from msrpconf.conference.participant import Participant
from msrpconf.conference.roles import Role
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request
from tests.conference.referring import ReferTestCase, resource_list
from tests.conference.support import ROOM, TEXT_TYPES, Client
from tests.protocols.msrp.support import Peer

TRYING = ("refer", "active;expires=180", "SIP/2.0 100 Trying")
CAROL = "sip:carol@example.com"


def final(status: str) -> tuple[str, str, str]:
    return ("refer", "terminated;reason=noresource", f"SIP/2.0 {status}")


class InviteTestCase(ReferTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.voice: list[str] = []
        self.control.referrals.tell = self.hear

    def hear(self, participant: Participant, text: str) -> None:
        self.voice.append(f"{participant.identity.short}: {text}")

    def state_of(self, key: str) -> str:
        """Where the invitation of somebody stands, and what was last heard of it."""
        invitation = self.room.invitations.get(key)
        assert invitation is not None, key
        return f"{invitation.state.value}: {invitation.outcome}"

    def invited(self) -> list[str]:
        """Whom REFERs were sent to since the last time, which are answered 202."""
        return [str(each.uri) for each in self.answer_refers()]

    def call(self, alice: Client, whom: str = CAROL) -> Request:
        """Alice has somebody invited, who takes the REFER; what the room sent."""
        self.assertEqual(self.refer(alice, f"<{whom}>").status, 202)
        [invitation] = self.answer_refers()
        self.assertEqual(self.told(), [TRYING])
        return invitation


class ReferTests(InviteTestCase):
    def test_the_rooms_refer(self) -> None:
        alice = self.client("alice", from_='"Alice A." <sip:alice@home.com>;tag=a').join()
        answer = self.refer(alice, '"Carol C." <sip:carol@example.com:5070>')
        self.assertEqual(answer.status, 202)
        [refer] = [each for each in self.channel.requests if each.method == "REFER"]
        self.assertEqual(str(refer.uri), "sip:carol@example.com:5070")
        for name, value in (
            ("To", '"Carol C." <sip:carol@example.com:5070>'),
            ("CSeq", "1 REFER"),
            ("Refer-To", f"<{ROOM}>"),
            ("Referred-By", '"Alice A." <sip:alice@home.com>'),
            ("Conference", ROOM),
        ):
            self.assertEqual(refer.headers.get(name), value)
        self.assertEqual(str(refer.from_.uri), ROOM)
        self.assertRegex(refer.from_.tag or "", r"\As1\.[0-9a-f]{16}\Z")
        self.assertNotIn("Refer-Sub", refer.headers)
        self.assertEqual(self.state_of(CAROL), "dialing-out: 100 Trying")
        self.answer_refers()
        self.assertEqual(self.state_of(CAROL), "pending: 100 Trying")

    def test_what_the_invitee_says_reaches_the_inviter(self) -> None:
        for status, state in (
            ("200 OK", InvitationState.JOINED),
            ("603 Not tonight", InvitationState.FAILED),
            ("486 Busy Here", InvitationState.FAILED),
        ):
            with self.subTest(status):
                alice = self.joined("alice", status[:3])
                refer = self.call(alice)
                self.assertEqual(self.notify(refer, "100 Trying", "active;expires=60").status, 200)
                self.assertEqual(self.notify(refer, "180 Ringing", "active").status, 200)
                self.assertEqual(self.state_of(CAROL), "pending: 180 Ringing")
                self.assertEqual(self.told(), [])
                self.assertEqual(self.notify(refer, status).status, 200)
                self.assertEqual(self.state_of(CAROL), f"{state.value}: {status}")
                self.assertEqual(self.told(), [final(status)])
                self.assertEqual(self.notify(refer, status).status, 481)
                self.assertEqual(len(self.control.referrals.inviter), 0)

    def test_who_cannot_be_reached(self) -> None:
        for status, reason in ((404, "Not Found"), (480, "Gone home"), (405, None), (503, "x")):
            with self.subTest(status):
                alice = self.joined("alice", str(status))
                self.refer(alice, f"<{CAROL}>")
                [refer] = self.answer_refers(status, reason)
                self.assertEqual([each[2].partition(" ")[2][:3] for each in self.told()], ["100"])
                # The first NOTIFY was on its way when the refusal came.
                self.assertEqual([each[2][8:11] for each in self.told()], [str(status)])
                self.assertTrue(self.state_of(CAROL).startswith(f"failed: {status}"))
                self.assertEqual(self.notify(refer, "200 OK").status, 481)

    def test_the_channel_breaks(self) -> None:
        alice = self.joined("alice")
        self.refer(alice, f"<{CAROL}>")
        [answer] = [each for message, each in self.channel.sent if message.method == "REFER"]
        answer.errback(ConnectionLost("no focus"))
        self.assertTrue(self.state_of(CAROL).startswith("failed: 503 "))

    def test_without_a_channel(self) -> None:
        alice = self.joined("alice")
        self.control.channel = None
        self.assertEqual(self.refer(alice, f"<{CAROL}>").status, 202)
        self.assertTrue(self.state_of(CAROL).startswith("failed: 503 "))

    def test_who_does_not_answer(self) -> None:
        alice = self.joined("alice")
        self.call(alice)
        self.clock.advance(179)
        self.assertEqual(self.told(), [])
        self.clock.advance(1)
        self.assertEqual(self.told(), [final("408 No answer within 180 s")])
        self.clock.advance(LINGER)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_simply_joins(self) -> None:
        alice = self.joined("alice")
        refer = self.call(alice)
        carol = self.client("carol", from_=f"<{CAROL}>;tag=c")
        carol.invite()
        self.assertEqual(self.told(), [])
        carol.send("ACK")
        self.assertEqual(self.told(), [final("200 OK")])
        self.assertEqual(self.state_of(CAROL), "joined: 200 OK")
        # Their NOTIFY is still welcome.
        self.assertEqual(self.notify(refer, "200 OK").status, 200)

    def test_who_joins_under_another_name_from_where_they_were_invited(self) -> None:
        alice = self.joined("alice")
        self.call(alice, "sip:bob@bob.example.com:5070")
        self.joined("bob")
        self.assertEqual(self.told(), [final("200 OK")])

    def test_who_is_in_already(self) -> None:
        alice = self.joined("alice")
        self.joined("bob")
        self.assertEqual(self.refer(alice, "<sip:bob@home.com>").status, 202)
        self.assertEqual(self.told(), [final("200 OK")])
        self.assertEqual(self.invited(), [])

    def test_who_is_invited_already(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        refer = self.call(alice)
        self.refer(bob, f"<{CAROL}>")
        self.assertEqual((self.told(), self.invited()), ([TRYING], []))
        self.notify(refer, "603 Decline")
        self.assertEqual(self.told(), [final("603 Decline"), final("603 Decline")])
        # Now they may be asked again.
        self.refer(bob, f"<{CAROL}>")
        self.assertEqual(self.invited(), [CAROL])

    def test_outside_of_a_dialog(self) -> None:
        self.joined("alice")
        answer = self.refer_from_outside(f"<{CAROL};method=INVITE>")
        self.assertEqual(answer.status, 202)
        [notify] = [each for each in self.channel.requests if each.method == "NOTIFY"]
        self.assertEqual(notify.call_id, "outside@home.com")
        self.assertEqual((self.invited(), self.told()), ([CAROL], [TRYING]))
        stranger = self.refer_from_outside(f"<{CAROL}>", from_="<sip:eve@home.com>;tag=e")
        self.assertEqual((stranger.status, self.invited()), (403, []))

    def test_a_telephone_number(self) -> None:
        alice = self.joined("alice")
        self.assertEqual(self.refer(alice, "<tel:+1-201-555-0123>").status, 202)
        self.assertEqual(self.invited(), ["tel:+1-201-555-0123"])

    def test_the_inviter_who_is_anonymous_stays_so(self) -> None:
        alice = self.client("alice")
        alice.headers += (
            ("P-Asserted-Identity", '"Alice" <sip:alice@home.com>'),
            ("Privacy", "id"),
        )
        alice.join()
        self.refer(alice, f"<{CAROL}>")
        [refer] = self.answer_refers()
        self.assertNotIn(b"alice", bytes(refer))

    def test_without_a_subscription_the_room_tells(self) -> None:
        alice = self.joined("alice")
        answer = self.refer(alice, f"<{CAROL}>", ("Refer-Sub", "false"))
        self.assertEqual(answer.headers.get("Refer-Sub"), "false")
        [refer] = self.answer_refers()
        self.notify(refer, "603 Decline")
        self.assertEqual(self.told(), [])
        self.assertEqual(self.voice, ["alice@home.com: carol@example.com declined: 603 Decline"])

    def test_who_may_not(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        self.room.settings = evolve(self.room.settings, may_invite=Role.MODERATOR)
        answer = self.refer(bob, f"<{CAROL}>")
        self.assertEqual((answer.status, self.invited()), (403, []))

    def test_to_a_room_that_is_closed_to_others(self) -> None:
        alice = self.joined("alice")
        self.joined("bob")
        open_to_all = self.room.roles
        for dave, closed in (
            ("dave", evolve(open_to_all, members_only=True)),
            ("david", evolve(open_to_all, locked=True)),
        ):
            self.room.roles = closed
            stranger = self.client(dave, from_=f"<sip:{dave}@example.com>;tag={dave}")
            self.assertEqual(stranger.invite().status, 403)
            self.assertEqual(self.refer(alice, f"<sip:{dave}@example.com>").status, 202)
            self.assertEqual(self.client("eve").invite().status, 403)
            stranger.join()

    def test_the_inviter_leaves(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        self.refer(alice, f"<{CAROL}>", ("Refer-Sub", "false"))
        alice.send("BYE")
        [refer] = self.answer_refers()
        self.notify(refer, "603 Decline")
        self.assertEqual(self.voice, [])
        self.assertEqual(self.state_of(CAROL), "failed: 603 Decline")
        bob.send("BYE")

    def test_the_room_ends(self) -> None:
        alice = self.joined("alice")
        refer = self.call(alice)
        alice.send("BYE")
        self.assertEqual(self.told(), [final("487 The room has ended")])
        self.assertNobodyIsLeft()
        self.assertEqual(self.notify(refer, "200 OK").status, 481)
        self.assertEqual(len(self.control.referrals.inviter), 0)

    def test_the_server_ends(self) -> None:
        """Also those to a room that is there without participants."""
        alice = self.joined("alice")
        self.room.static = True
        self.call(alice)
        self.control.close(Reason("SIP", 503, "Going down"))
        self.assertEqual(self.told(), [final("487 The room has ended")])
        self.assertEqual(len(self.control.referrals.inviter), 0)
        self.assertEqual(self.state_of(CAROL), "failed: 487 The room has ended")

    def test_what_is_logged(self) -> None:
        alice = self.joined("alice")
        refer = self.call(alice)
        self.notify(refer, "603 Go\x1baway")
        self.assertEqual(
            self.logged[-2:],
            [
                f"invitation dialing-out: {CAROL} to {ROOM} by sip:alice@home.com: "
                f"100 Trying (Call-ID {refer.call_id})",
                f"invitation failed: {CAROL} to {ROOM} by sip:alice@home.com: "
                f"603 Go away (Call-ID {refer.call_id})",
            ],
        )


class NotifyTests(InviteTestCase):
    """What is no NOTIFY of an invitee's."""

    def test_refused(self) -> None:
        refer = self.call(self.joined("alice"))
        for status, changes in (
            (489, {"event": "conference"}),
            (415, {"content_type": "text/plain"}),
            (481, {"to": f"<{ROOM}>;tag=s1.0123456789abcdef"}),
        ):
            self.assertEqual(self.notify(refer, "200 OK", **changes).status, status)
        self.assertEqual(self.notify(refer, "OK").status, 400)
        self.assertEqual(self.notify(refer, "200 OK", ";").status, 400)
        self.assertEqual(self.state_of(CAROL), "pending: 100 Trying")

    def test_an_end_that_is_none(self) -> None:
        """Terminated with 100: they may come all the same, or the time runs out."""
        refer = self.call(self.joined("alice"))
        self.assertEqual(self.notify(refer, "100 Trying").status, 200)
        self.assertEqual(self.state_of(CAROL), "pending: 100 Trying")
        self.clock.advance(180)
        self.assertEqual(self.told(), [final("408 No answer within 180 s")])


class MultipleReferTests(InviteTestCase):
    """RFC 5368, as RCS clients add people to a group."""

    def test_each_is_invited(self) -> None:
        self.configure(notices=True)
        alice = self.joined("alice")
        self.joined("bob")
        answer = self.refer_list(
            alice,
            CAROL,
            '<entry uri="sip:dave@example.com"><display-name>Dave</display-name></entry>',
            "sip:carol@EXAMPLE.com:5070",
            "sip:bob@home.com",
            "sip:alice@home.com",
            ROOM,
        )
        self.assertEqual((answer.status, answer.headers.get("Refer-Sub")), (202, "false"))
        first, second = self.answer_refers()
        self.assertEqual(first.headers.get("To"), f"<{CAROL}>")
        self.assertEqual(second.headers.get("To"), '"Dave" <sip:dave@example.com>')
        self.assertEqual(self.told(), [])
        self.notify(first, "200 OK")
        self.notify(second, "486 Busy Here")
        self.assertEqual(
            self.voice,
            [
                "alice@home.com: Dave is busy: 486 Busy Here",
            ],
        )

    def test_who_joined_is_said_where_the_room_does_not_tell_all(self) -> None:
        alice = self.joined("alice")
        self.refer_list(alice, CAROL)
        [refer] = self.answer_refers()
        self.notify(refer, "200 OK")
        self.assertEqual(self.voice, ["alice@home.com: carol@example.com has joined"])

    def test_a_part_of_several(self) -> None:
        alice = self.joined("alice")
        body = (
            b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
            b"--b\r\nContent-Type: application/resource-lists+xml\r\n"
            b"Content-Disposition: recipient-list\r\nContent-ID: <a.list@home.com>\r\n\r\n"
            + resource_list(CAROL)
            + b"\r\n--b--\r\n"
        )
        answer = alice.send(
            "REFER",
            body,
            content_type="multipart/mixed;boundary=b",
            headers=(("Refer-To", "<cid:a.list@home.com>"),),
        )
        self.assertEqual((answer.status, self.invited()), (202, [CAROL]))

    def test_a_list_that_cannot_be_read(self) -> None:
        alice = self.joined("alice")
        for entries, why in (
            (("<entry>",), "not well-formed XML"),
            (('<list><entry uri="sip:a@b"/></list>',), "flat list"),
            (("sip:a b",), "<entry>"),
            ((), "no list"),
            (tuple(f"sip:u{number}@example.com" for number in range(101)), "at most 100"),
        ):
            answer = self.refer_list(alice, *entries)
            self.assertEqual(answer.status, 400)
            self.assertIn(why, answer.reason)
        self.assertEqual(self.refer_list(alice, "http://example.com").status, 416)
        self.assertEqual(self.invited(), [])


class InviteWithListTests(InviteTestCase):
    """RFC 5366: the list in the INVITE."""

    def test_after_the_ack(self) -> None:
        alice = self.client("alice")
        self.assertEqual(self.invite_with(alice, "sip:bob@example.com", CAROL).status, 200)
        self.assertEqual(self.channel.sent, [])
        alice.send("ACK")
        self.assertEqual(self.invited(), ["sip:bob@example.com", CAROL])
        alice.send("ACK")
        self.assertEqual(self.invited(), [])

    def test_into_a_room_that_is_there(self) -> None:
        self.joined("alice")
        bob = self.client("bob")
        self.assertEqual(self.invite_with(bob, CAROL, "sip:alice@home.com").status, 200)
        bob.send("ACK")
        self.assertEqual(self.invited(), [CAROL])

    def test_the_list_alone(self) -> None:
        """An INVITE without an offer; the answer comes in the ACK."""
        alice = self.client("alice")
        answer = alice.invite(resource_list(CAROL), content_type="application/resource-lists+xml")
        self.assertEqual(answer.status, 200)
        alice.send("ACK", alice.offer("setup:active"))
        self.assertEqual(self.invited(), [CAROL])

    def test_what_became_of_them_is_said_by_the_room(self) -> None:
        alice = self.client("alice")
        self.invite_with(alice, CAROL, "sip:dave@example.com", "sip:erin@example.com")
        alice.send("ACK")
        alice.connect()
        sent = [each for each in self.channel.sent if each[0].method == "REFER"]
        sent[0][1].callback(sent[0][0].response(404))
        sent[1][1].callback(sent[1][0].response(202))
        self.clock.advance(180)
        self.assertEqual(
            self.voice,
            [
                "alice@home.com: carol@example.com was not found: 404 Not Found",
                "alice@home.com: dave@example.com did not answer: 408 No answer within 180 s",
                "alice@home.com: erin@example.com did not answer: 408 No answer within 180 s",
            ],
        )
        self.assertEqual(len(self.control.referrals.inviter), 0)

    def test_no_ack_no_invitation(self) -> None:
        alice = self.client("alice")
        self.invite_with(alice, CAROL)
        self.clock.advance(5.1)
        self.assertEqual(self.invited(), [])
        self.assertEqual(self.control.referrals._waiting, {})

    def test_a_list_that_cannot_be_read(self) -> None:
        for entries, status in (
            (("<list/>",), 400),
            (("sip:bob@home.com;method=BYE",), 400),
            (("mailto:bob@home.com",), 416),
            (tuple(f"sip:u{number}@example.com" for number in range(101)), 400),
        ):
            answer = self.invite_with(self.client("alice"), *entries)
            self.assertEqual(answer.status, status, answer.reason)
            self.assertNobodyIsLeft()

    def test_who_may_not_invite(self) -> None:
        self.joined("alice")
        self.room.settings = evolve(self.room.settings, may_invite=Role.MODERATOR)
        answer = self.invite_with(self.client("bob"), CAROL)
        self.assertEqual(answer.status, 403)
        self.assertEqual(len(self.room.participants), 1)
        self.clock.advance(60)
        self.assertEqual([each.method for each in self.channel.requests], [])


class VoiceTests(ReferTestCase):
    """What the room says of an invitation is heard by the inviter alone."""

    def test_to_each_kind_of_client(self) -> None:
        bob = self.joined("bob", types=TEXT_TYPES)
        alice = self.joined("alice")
        for client in (alice, bob):
            client.hears()
            client.send("REFER", headers=(("Refer-To", f"<{CAROL}>"), ("Refer-Sub", "false")))
            self.answer_refers(603, "Not tonight")
        [told] = alice.hears_text()
        self.assertTrue(told.endswith("\r\n\r\ncarol@example.com declined: 603 Not tonight"), told)
        self.assertIn(f"From: <{ROOM}>\r\n", told)
        self.assertEqual(bob.hears_text(), ["*** carol@example.com declined: 603 Not tonight"])

    def test_it_waits_for_the_connection(self) -> None:
        """The refusal may be here before the inviter's MSRP is."""
        alice = self.client("alice", types=TEXT_TYPES)
        self.invite_with(alice, CAROL, "sip:dave@example.com")
        alice.send("ACK")
        self.answer_refers(404)
        alice.peer = Peer(self.registry.sessions, self.clock)
        alice.say(b"", content_type=None)
        heard = [each.body.decode() for each in alice.connected.hears() if each.text == "SEND"]
        self.assertEqual(
            heard,
            [
                "*** carol@example.com was not found: 404 Not Found",
                "*** dave@example.com was not found: 404 Not Found",
            ],
        )

    def test_what_waits_has_a_bound(self) -> None:
        self.configure(max_invitations=3, msrp_timeout=600.0)
        alice = self.client("alice")
        alice.invite()
        alice.send("ACK")
        for number in range(9):
            self.clock.advance(20)
            refer_to = ("Refer-To", f"<sip:u{number}@example.com>")
            alice.send("REFER", headers=(refer_to, ("Refer-Sub", "false")))
            self.answer_refers(404)
        [unsaid] = self.control.referrals._unsaid.values()
        self.assertEqual(len(unsaid), 3)
        alice.send("BYE")
        self.assertEqual(self.control.referrals._unsaid, {})


class BoundTests(InviteTestCase):
    def test_open_at_a_time(self) -> None:
        self.configure(max_invitations=3)
        alice = self.joined("alice")
        names = [f"sip:u{number}@example.com" for number in range(4)]
        self.refer_list(alice, *names[:3])
        self.assertEqual(self.invited(), names[:3])
        answer = self.refer(alice, f"<{names[3]}>")
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (480, "180"))
        self.assertEqual(self.invited(), [])
        self.clock.advance(180)
        self.assertEqual(self.refer(alice, f"<{names[3]}>").status, 202)

    def test_in_a_minute(self) -> None:
        self.configure(max_invitations=3)
        alice = self.joined("alice")
        for _ in range(3):
            self.refer(alice, f"<{CAROL}>", ("Refer-Sub", "false"))
            self.answer_refers(486)
        answer = self.refer(alice, f"<{CAROL}>")
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (480, "60"))
        self.assertEqual(self.told(), [])
        self.clock.advance(20)
        self.assertEqual(self.refer(alice, f"<{CAROL}>").status, 202)

    def test_what_is_kept_of_those_that_ended(self) -> None:
        self.configure(max_invitations=3)
        alice = self.joined("alice")
        for number in range(10):
            self.clock.advance(20)
            self.refer(alice, f"<sip:u{number}@example.com>", ("Refer-Sub", "false"))
            self.answer_refers(404)
        self.assertEqual(
            [each.guest.short for each in self.room.invitations],
            ["u7@example.com", "u8@example.com", "u9@example.com"],
        )
        self.assertEqual(len(self.control.referrals.inviter), 0)

    def test_who_waits_for_one_invitation(self) -> None:
        alice = self.joined("alice")
        refer = self.call(alice)
        for _ in range(2 * MAX_WATCHERS):
            self.refer(alice, f"<{CAROL}>")
        said = [line for _, _, line in self.told()]
        self.assertEqual(said.count("SIP/2.0 100 Trying"), MAX_WATCHERS - 1)
        self.assertEqual(
            said.count("SIP/2.0 480 Too many wait for what becomes of this invitation"),
            MAX_WATCHERS + 1,
        )
        self.notify(refer, "603 Decline")
        self.assertEqual(len(self.told()), MAX_WATCHERS)
        self.assertEqual(self.control.referrals._subscriptions, set())

    def test_subscriptions(self) -> None:
        alice = self.joined("alice")
        self.patch(self.control.referrals, "max_subscriptions", 2)
        for name in ("carol", "dave"):
            self.assertEqual(self.refer(alice, f"<sip:{name}@example.com>").status, 202)
        answer = self.refer(alice, "<sip:erin@example.com>")
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (503, "60"))
        quiet = ("Refer-Sub", "false")
        self.assertEqual(self.refer(alice, "<sip:erin@example.com>", quiet).status, 202)
