"""REFER with BYE: a participant is removed (RFC 4579 §5.11, RFC 3515, RFC 4488)."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from msrpconf.conference.participant import State
from msrpconf.conference.roles import Role
from msrpconf.protocols.sip.headers import Reason
from tests.conference.referring import ReferTestCase, resource_list
from tests.conference.support import cpim

CAROL = "sip:carol@example.com"
DONE = ("refer", "terminated;reason=noresource", "SIP/2.0 200 OK")


class RemoveTests(ReferTestCase):
    def test_the_owner_removes_somebody(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        participant, late = bob.participant, bob.frame(cpim("late", from_="<sip:bob@home.com>"))
        answer = self.refer(alice, "<sip:bob@home.com;method=BYE>")
        self.assertEqual((answer.status, answer.reason), (202, "Accepted"))
        self.assertEqual(answer.headers.get("To"), alice.to)
        self.assertNotIn("Refer-Sub", answer.headers)
        self.assertIs(participant.state, State.DROPPED)
        # Nothing of theirs is taken any more, and their MSRP is closed.
        bob.connected.says(late)
        self.assertEqual(alice.hears(), [])
        self.assertTrue(bob.connected.transport.disconnecting)
        # A BYE in their dialog.
        [bye] = self.byes()
        self.assertEqual(str(bye.uri), "sip:bob@bob.example.com:5070")
        self.assertEqual(bye.call_id, bob.call_id)
        self.assertEqual((bye.from_.tag, bye.to.tag), (bob.tag, "bobtag"))
        self.assertEqual(
            Reason.parse(bye.headers.get("Reason") or ""),
            Reason("SIP", 200, "Removed by alice@home.com"),
        )
        self.assertEqual(self.told(), [DONE])
        self.assertEqual(list(self.room.participants), [alice.participant])

    def test_each_way_to_write_it(self) -> None:
        alice = self.joined("alice")
        for refer_to in (
            "<sip:bob@home.com;method=BYE>",
            "<sip:bob@home.com>;method=BYE",
            "sip:bob@home.com;method=BYE",
            '"Bob" <sips:bob@HOME.com?method=BYE>',
            "<im:bob@home.com>;method=BYE",
            "<sip:bob@bob.example.com:5070;method=BYE>",
            "<sip:bob@bob.example.com:5070;transport=udp;method=BYE>",
            "<sip:bob@bob.example.com:5070>;tag=bobtag;method=BYE",
            "<sip:bob@home.com;method=BYE?Call-ID=bob%40home.com>",
        ):
            with self.subTest(refer_to):
                bob = self.joined("bob")
                participant = bob.participant
                self.assertEqual(self.refer(alice, refer_to).status, 202)
                self.assertIs(participant.state, State.DROPPED)

    def test_both_tags_of_the_dialog(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        refer_to = (
            f"<sip:bob@home.com;method=BYE?Call-ID=bob%40home.com"
            f"&From=sip:conf1%40conf.example.com%3Btag%3D{bob.tag}"
            f"&To=sip:bob%40home.com%3Btag%3D"
        )
        self.assertEqual(self.refer(alice, f"{refer_to}other>").status, 404)
        self.assertEqual(self.refer(alice, f"{refer_to}bobtag>").status, 202)
        self.assertEqual([each.call_id for each in self.byes()], [bob.call_id])

    def test_all_devices_or_one(self) -> None:
        alice = self.joined("alice")
        phone, laptop = self.joined("bob", "phone"), self.joined("bob", "laptop")
        self.refer(alice, "<sip:bob@bobphone.example.com:5070;method=BYE>")
        self.assertEqual([each.call_id for each in self.byes()], [phone.call_id])
        self.joined("bob", "tablet")
        self.refer(alice, "<sip:bob@home.com;method=BYE>")
        self.assertEqual(
            [each.call_id for each in self.byes()],
            [phone.call_id, laptop.call_id, "bobtablet@home.com"],
        )

    def test_a_gruu_is_one_device(self) -> None:
        alice, phone = self.joined("alice"), self.client("bob", "phone")
        phone.headers = (("Contact", "<sip:bob@home.com;gr=urn:uuid:1>"),)
        phone.join()
        laptop = self.joined("bob", "laptop")
        self.assertEqual(
            self.refer(alice, "<sip:bob@home.com;gr=urn:uuid:2;method=BYE>").status, 404
        )
        self.assertEqual(
            self.refer(alice, "<sip:bob@home.com;gr=urn:uuid:1;method=BYE>").status, 202
        )
        self.assertEqual([each.call_id for each in self.byes()], [phone.call_id])
        self.assertIs(laptop.participant.state, State.JOINED)

    def test_who_is_anonymous(self) -> None:
        alice = self.joined("alice")
        hidden = self.client("bob")
        hidden.headers += (
            ("P-Asserted-Identity", "<sip:bob@home.com>"),
            ("Privacy", "id"),
        )
        hidden.join()
        shown = hidden.participant.identity.uri
        self.assertEqual(shown.partition("@")[2], "anonymous.invalid")
        # Nobody learns who that is by trying.
        self.assertEqual(self.refer(alice, "<sip:bob@home.com;method=BYE>").status, 404)
        self.assertEqual(self.refer(alice, f"<{shown};method=BYE>").status, 202)
        self.assertEqual([each.call_id for each in self.byes()], [hidden.call_id])

    def test_a_from_of_ones_choice_names_nobody(self) -> None:
        """Eve's proxy says who she is; her From says that she is Bob."""
        alice, bob = self.joined("alice"), self.joined("bob")
        eve = self.client("eve", from_="<sip:bob@home.com>;tag=evetag")
        eve.headers += (("P-Asserted-Identity", "<sip:eve@home.com>"),)
        eve.join()
        self.refer(alice, "<sip:bob@home.com;method=BYE>")
        self.assertEqual([each.call_id for each in self.byes()], [bob.call_id])

    def test_before_the_ack(self) -> None:
        alice, bob = self.joined("alice"), self.client("bob")
        bob.invite()
        self.assertEqual(self.refer(alice, "<sip:bob@home.com;method=BYE>").status, 202)
        self.assertEqual(bob.send("ACK").status, 481)
        self.clock.advance(60)
        self.assertEqual(len(self.byes()), 1)

    def test_oneself(self) -> None:
        alice, bob, laptop = self.joined("alice"), self.joined("bob"), self.joined("bob", "laptop")
        self.assertEqual(self.refer(bob, "<sip:bob@home.com;method=BYE>").status, 202)
        self.assertEqual([each.call_id for each in self.byes()], [bob.call_id, laptop.call_id])
        # The NOTIFY comes in the same dialog, after the BYE.
        [notify] = [each for each in self.channel.requests if each.method == "NOTIFY"]
        self.assertEqual(notify.cseq.number, self.byes()[0].cseq.number + 1)
        self.assertEqual(list(self.room.participants), [alice.participant])


class RefusedTests(ReferTestCase):
    def test_403_to_who_may_not(self) -> None:
        alice, bob, carol = self.joined("alice"), self.joined("bob"), self.joined("carol")
        for refer_to in ("<sip:carol@home.com;method=BYE>", "<sip:nobody@home.com;method=BYE>"):
            answer = self.refer(bob, refer_to)
            self.assertEqual(answer.status, 403)
            self.assertIn("moderators", answer.reason)
        self.make(Role.MODERATOR, "bob")
        self.assertEqual(self.refer(bob, "<sip:carol@home.com;method=BYE>").status, 202)
        self.assertEqual([each.call_id for each in self.byes()], [carol.call_id])
        # Moderators do not send out owners.
        self.assertEqual(self.refer(bob, "<sip:alice@home.com;method=BYE>").status, 403)
        self.assertIs(alice.participant.state, State.JOINED)

    def test_404_for_who_is_not_there(self) -> None:
        alice = self.joined("alice")
        answer = self.refer(alice, "<sip:nobody@home.com;method=BYE>")
        self.assertEqual(
            (answer.status, answer.reason), (404, "sip:nobody@home.com is not in this room")
        )
        self.assertEqual(self.channel.sent, [])
        self.assertEqual(
            self.logged[-1],
            "refused: REFER of sip:alice@home.com to sip:conf1@conf.example.com: 404 "
            "sip:nobody@home.com is not in this room (Call-ID alice@home.com)",
        )

    def test_others_are_refused_with_a_reason(self) -> None:
        alice = self.joined("alice")
        for refer_to, status in (
            (f"<{alice.room};method=BYE>", 403),
            ("<sip:bob@home.com;method=MESSAGE>", 403),
            ("<http://example.com/>", 416),
            ("<sip:bob@home.com>, <sip:carol@home.com>", 400),
            ("bob", 400),
            ("<cid:nothing@home.com>", 400),
        ):
            with self.subTest(refer_to):
                answer = self.refer(alice, refer_to)
                self.assertEqual(answer.status, status)
                self.assertGreater(len(answer.reason), 15)
        self.assertEqual(alice.send("REFER").status, 400)
        self.assertEqual(self.channel.sent, [])

    def test_481_and_500_in_a_dialog(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        late = alice.send("REFER", cseq=5, headers=(("Refer-To", "<sip:bob@home.com;method=BYE>"),))
        self.assertEqual(late.status, 500)
        alice.send("BYE")
        self.assertEqual(self.refer(alice, "<sip:bob@home.com;method=BYE>").status, 481)
        self.assertIs(bob.participant.state, State.JOINED)


class HostileTests(ReferTestCase):
    @settings(deadline=None)
    @given(
        st.text(max_size=60), st.sampled_from(["{}", "<{}>", "<sip:bob@home.com;{}>", "<sip:{}>"])
    )
    def test_any_refer_to_is_answered(self, text: str, form: str) -> None:
        if not self.registry.rooms:
            self.alice = self.joined("alice")
        text = re.sub(r"[\r\n]", "", text)
        answer = self.alice.send("REFER", headers=(("Refer-To", form.format(text)),))
        self.assertIn(answer.status, {202, 400, 403, 404, 416, 480})
        self.assertEqual(self.flushLoggedErrors(), [])
        bytes(answer.reason, "utf-8", "surrogateescape")

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_any_body_is_answered(self, octets: bytes) -> None:
        if not self.registry.rooms:
            self.alice = self.joined("alice")
        for body in (octets, resource_list(CAROL).replace(b"<list>", b"<list>" + octets)):
            answer = self.alice.send(
                "REFER",
                body,
                content_type="application/resource-lists+xml",
                headers=(("Refer-To", "<cid:x@y>"),),
            )
            self.assertIn(answer.status, {202, 400, 404, 416, 480})
            self.assertNotRegex(answer.reason, r"[\x00-\x1f]")


class SubscriptionTests(ReferTestCase):
    def test_none_where_none_is_wanted(self) -> None:
        alice = self.joined("alice")
        for header in (("Refer-Sub", "false"), ("Require", "norefersub")):
            self.joined("bob")
            answer = self.refer(alice, "<sip:bob@home.com;method=BYE>", header)
            self.assertEqual((answer.status, answer.headers.get("Refer-Sub")), (202, "false"))
            self.assertEqual(self.told(), [])

    def test_several_in_one_dialog_have_an_id(self) -> None:
        alice = self.joined("alice")
        numbers = []
        for _ in range(3):
            self.joined("bob")
            self.refer(alice, "<sip:bob@home.com;method=BYE>")
            numbers.append(alice.cseq)
        events = [event for event, _, _ in self.told()]
        self.assertEqual(events, ["refer", f"refer;id={numbers[1]}", f"refer;id={numbers[2]}"])

    def test_it_goes_where_the_refer_came_from(self) -> None:
        """RFC 4488 §4: a REFER that is accepted refreshes the target."""
        alice = self.joined("alice")
        self.joined("bob")
        moved = "sip:alice@192.0.2.77:5099"
        alice.headers = (("Contact", f"<{moved}>"),)
        self.assertEqual(self.refer(alice, "<sip:nobody@home.com;method=BYE>").status, 404)
        self.assertNotEqual(str(alice.participant.dialog.remote_target), moved)
        self.assertEqual(self.refer(alice, "<sip:bob@home.com;method=BYE>").status, 202)
        self.assertEqual(str(alice.participant.dialog.remote_target), moved)
        [notify] = [each for each in self.channel.requests if each.method == "NOTIFY"]
        self.assertEqual(str(notify.uri), moved)

    def test_outside_of_a_dialog(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        answer = self.refer_from_outside(
            "<sip:bob@home.com;method=BYE>",
            ("Record-Route", "<sip:p1.example.com;lr>"),
            ("Record-Route", "<sip:p2.example.com;lr>"),
        )
        self.assertEqual(answer.status, 202)
        self.assertRegex(answer.to.tag or "", r"\As1\.[0-9a-f]{16}\Z")
        self.assertEqual([each.call_id for each in self.byes()], [bob.call_id])
        [notify] = [each for each in self.channel.requests if each.method == "NOTIFY"]
        self.assertEqual(str(notify.uri), "sip:alice@alice.example.com:5070")
        self.assertEqual(
            notify.headers.get_all("Route"),
            ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"],
        )
        self.assertEqual((notify.call_id, notify.to.tag), ("outside@home.com", "outside"))
        self.assertEqual(notify.from_.tag, answer.to.tag)
        self.assertEqual(str(notify.contacts[0].uri), "sip:conf1@conf.example.com")
        self.assertEqual(self.told(), [DONE])

    def test_outside_of_a_dialog_by_the_clients_connection(self) -> None:
        self.joined("alice")
        self.joined("bob")
        flow = ("Flow", "tcp:192.0.2.1:5060:192.0.2.9:40123:7")
        self.refer_from_outside("<sip:bob@home.com;method=BYE>", flow)
        [notify] = [each for each in self.channel.requests if each.method == "NOTIFY"]
        self.assertEqual(notify.headers.get("Flow"), flow[1])

    def test_outside_of_a_dialog_without_contact(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        answer = self.refer_from_outside("<sip:bob@home.com;method=BYE>", contact=None)
        self.assertEqual(answer.status, 400)
        self.assertIs(bob.participant.state, State.JOINED)
        quiet = ("Refer-Sub", "false")
        answer = self.refer_from_outside("<sip:bob@home.com;method=BYE>", quiet, contact=None)
        self.assertEqual(answer.status, 202)

    def test_outside_of_a_dialog_by_others(self) -> None:
        self.joined("alice")
        bob = self.joined("bob")
        for from_ in ("<sip:eve@home.com>;tag=e", "<sip:anonymous@anonymous.invalid>;tag=e"):
            answer = self.refer_from_outside("<sip:bob@home.com;method=BYE>", from_=from_)
            self.assertEqual(answer.status, 403)
        nowhere = self.refer_from_outside("<sip:a@b;method=BYE>", room="sip:none@conf.example.com")
        self.assertEqual(nowhere.status, 404)
        self.assertIs(bob.participant.state, State.JOINED)
        self.assertEqual(sorted(self.registry.rooms), ["sip:conf1@conf.example.com"])

    def test_target_dialog_says_who_asks(self) -> None:
        """RFC 4538: who knows the dialog is in it."""
        alice, bob = self.joined("alice"), self.joined("bob")
        elsewhere = self.joined("dave", room="sip:conf2@conf.example.com")
        for owner, status in ((bob, 403), (elsewhere, 403), (alice, 202)):
            tag = owner.from_.partition("tag=")[2]
            value = f"{owner.call_id};local-tag={owner.tag};remote-tag={tag}"
            answer = self.refer_from_outside(
                "<sip:bob@home.com;method=BYE>"
                if owner is not bob
                else "<sip:alice@home.com;method=BYE>",
                ("Target-Dialog", value),
                from_="<sip:alice.phone@provider.example>;tag=x",
            )
            self.assertEqual(answer.status, status, owner.name)

    def test_who_refuses_a_notify_is_told_no_more(self) -> None:
        alice = self.joined("alice")
        self.refer(alice, "<sip:carol@example.com>")
        [refer] = [each for each in self.channel.requests if each.method == "REFER"]
        notify, answer = next(each for each in self.channel.sent if each[0].method == "NOTIFY")
        answer.callback(notify.response(481))
        self.assertIn("NOTIFY to sip:alice@home.com", self.logged[-1])
        self.notify(refer, "603 Decline")
        self.assertEqual(
            len([each for each in self.channel.requests if each.method == "NOTIFY"]), 1
        )


class ListTests(ReferTestCase):
    """RFC 5368 §9: one REFER removes several."""

    def test_several_at_once(self) -> None:
        alice = self.joined("alice")
        others = [self.joined(name) for name in ("bill", "joe", "ted")]
        answer = self.refer_list(
            alice,
            "sip:bill@home.com?method=BYE",
            "sip:joe@home.com;method=BYE",
            "sip:nobody@home.com?method=BYE",
        )
        self.assertEqual((answer.status, answer.headers.get("Refer-Sub")), (202, "false"))
        self.assertEqual(
            [each.call_id for each in self.byes()], [each.call_id for each in others[:2]]
        )
        self.assertEqual(self.told(), [])

    def test_nobody_of_them_is_there(self) -> None:
        alice = self.joined("alice")
        self.assertEqual(self.refer_list(alice, "sip:nobody@home.com?method=BYE").status, 404)

    def test_one_who_may_not_be_removed_spares_all(self) -> None:
        self.joined("alice")
        bob, carol = self.joined("bob"), self.joined("carol")
        self.make(Role.MODERATOR, "bob")
        answer = self.refer_list(
            bob, "sip:carol@home.com?method=BYE", "sip:alice@home.com?method=BYE"
        )
        self.assertEqual(answer.status, 403)
        self.assertIs(carol.participant.state, State.JOINED)


class CloseTests(ReferTestCase):
    def test_a_large_room_is_closed_by_one_call(self) -> None:
        people = [self.joined(f"p{number}") for number in range(300)]
        other = self.joined("other", room="sip:conf2@conf.example.com")
        done = self.control.close_room(
            "sip:conf1@conf.example.com", Reason("SIP", 410, "The room is closed")
        )
        byes = self.byes()
        self.assertEqual({each.call_id for each in byes}, {each.call_id for each in people})
        self.assertEqual(len(byes), 300)
        self.assertEqual(
            {each.headers.get("Reason") for each in byes},
            {'SIP;cause=410;text="The room is closed"'},
        )
        self.assertEqual(list(self.registry.dialogs.values()), [other.participant])
        self.channel.answer()
        self.assertEqual(len(self.successResultOf(done)), 300)

    def test_a_static_room_goes_on(self) -> None:
        self.configure(notices=True)
        alice = self.joined("alice")
        room = self.room
        room.static = True
        self.refer(alice, f"<{CAROL}>")
        self.control.close_room(room.key, Reason("SIP", 410, "Closed for the night"))
        self.assertEqual(len(self.control.referrals.inviter), 0)
        self.assertIs(self.room, room)
        self.assertTrue(room.gives_notices)

    def test_there_is_no_such_room(self) -> None:
        self.assertRaises(
            KeyError, self.control.close_room, "sip:x@y.example", Reason("SIP", 410, "x")
        )
