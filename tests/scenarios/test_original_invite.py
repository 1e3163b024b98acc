"""The original design's «Creating an ad-hoc conference», on the wire: INVITE with a list.

Its Require, its parts and its REFER are kept. Where the original leaves things out, RFC 3515
and RFC 3892 fill in: who refers, and what the invitee tells of it.
"""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from msrpconf.conference.invitation import InvitationState
from tests.scenarios.original import OFFER, OriginalTestCase, Person, Story
from tests.scenarios.wire import attribute, connect_msrp, dedent, header

PARTS = """--boundary1
Content-Type: application/sdp

{offer}

--boundary1
Content-Type: application/resource-lists+xml
Content-Disposition: recipient-list

<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list>
    <entry uri="{invitee}"/>
  </list>
</resource-lists>
--boundary1--
"""


class OriginalInviteTests(OriginalTestCase):
    @inlineCallbacks
    def create(self, alice: Person, invitee: str) -> Story:
        """1: Alice asks for a conference with somebody else in it; it is answered, and ACKed."""
        offer = dedent(OFFER).replace("\r\n", "\n")
        alice.request(
            "INVITE",
            1,
            PARTS.format(offer=offer.format(name="alice"), invitee=invitee),
            ("Accept: application/sdp, message/sipfrag", "Require: recipient-list-invite"),
            'multipart/mixed;boundary="boundary1"',
        )
        answer = yield alice.sip.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        self.assertIn("recipient-list-invite", header(answer, "Supported"))
        self.assertEqual(header(answer, "Content-Type"), "application/sdp")
        alice.to_tag = header(answer, "To").partition(";tag=")[2]
        alice.server_path = attribute(answer, "path")
        alice.request("ACK", 1)
        port = int(alice.server_path.split(":")[2].partition("/")[0])
        alice.msrp = yield connect_msrp("127.0.0.1", port)
        alice.msrp.send(f"""
            MSRP bindalice SEND
            To-Path: {alice.server_path}
            From-Path: {alice.path}
            Message-ID: bind
            Byte-Range: 1-0/0
            -------bindalice$""")
        yield alice.msrp.next()

    def notify(self, bob: Person, refer: str, cseq: int, state: str, status: str) -> None:
        """Bob tells what becomes of the REFER that he has got."""
        bob.sip.send(
            f"""
            NOTIFY {header(refer, "Contact").partition(">")[0].removeprefix("<")} SIP/2.0
            Via: SIP/2.0/UDP 127.0.0.1:{bob.sip.port};branch=z9hG4bKnotify{cseq}
            Max-Forwards: 70
            From: {header(refer, "To")};tag=bobtag
            To: {header(refer, "From")}
            Call-ID: {header(refer, "Call-ID")}
            CSeq: {cseq} NOTIFY
            Contact: <sip:bob@127.0.0.1:{bob.sip.port}>
            Event: refer
            Subscription-State: {state}
            Content-Type: message/sipfrag;version=2.0""",
            f"SIP/2.0 {status}",
        )

    @inlineCallbacks
    def test_who_is_on_the_list_is_referred_to_the_room(self) -> Story:
        alice, bob = self.person("alice"), self.person("bob")
        yield self.create(alice, f"sip:bob@127.0.0.1:{bob.sip.port}")
        [room] = self.service.registry.rooms.values()

        # 1 of the second list: focus -> Bob.
        refer = yield bob.sip.next()
        self.assertTrue(
            refer.startswith(f"REFER sip:bob@127.0.0.1:{bob.sip.port} SIP/2.0\r\n"), refer
        )
        self.assertEqual(header(refer, "To"), f"<sip:bob@127.0.0.1:{bob.sip.port}>")
        uri, _, tag = header(refer, "From").partition(";tag=")
        self.assertEqual(uri, "<sip:conf1@127.0.0.1>")
        self.assertRegex(tag, r"\Alocal\.[0-9a-f]{16}\Z")
        # Bob's client comes straight to us, so the room has the port at which we listen.
        here = f"sip:conf1@127.0.0.1:{self.ports['udp']}"
        self.assertEqual(header(refer, "Refer-To"), f"<{here}>")
        self.assertTrue(header(refer, "Contact").startswith(f"<{here}>;"))
        self.assertEqual(header(refer, "Referred-By"), "<sip:alice@home.com>")
        self.assertEqual(header(refer, "CSeq"), "1 REFER")
        bob.answer(refer, "202 Accepted")
        self.notify(bob, refer, 1, "active;expires=60", "100 Trying")
        answer = yield bob.sip.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        [invitation] = room.invitations
        self.assertIs(invitation.state, InvitationState.PENDING)

        # «If he decides to join, his client will send INVITE to focus URI».
        yield self.join(bob)
        [invitation] = room.invitations
        self.assertIs(invitation.state, InvitationState.JOINED)
        self.notify(bob, refer, 2, "terminated;reason=noresource", "200 OK")
        answer = yield bob.sip.next()
        self.assertEqual(header(answer, "CSeq"), "2 NOTIFY")
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        self.assertEqual(len(room.participants), 2)

    @inlineCallbacks
    def test_who_declines(self) -> Story:
        alice, bob = self.person("alice"), self.person("bob")
        yield self.create(alice, f"sip:bob@127.0.0.1:{bob.sip.port}")
        refer = yield bob.sip.next()
        failed = self.when_logged("invitation failed")
        bob.answer(refer, "603 Not tonight")
        yield failed
        [room] = self.service.registry.rooms.values()
        [invitation] = room.invitations
        self.assertIs(invitation.state, InvitationState.FAILED)
        self.assertEqual(str(invitation), "bob@127.0.0.1 declined: 603 Not tonight")

    @inlineCallbacks
    def test_by_refer_in_the_dialog(self) -> Story:
        """RFC 4579 §5.5; what the invitee says reaches who asked."""
        alice, bob = self.person("alice"), self.person("bob")
        yield self.join(alice)
        alice.request("REFER", 102, headers=(f"Refer-To: <sip:bob@127.0.0.1:{bob.sip.port}>",))
        accepted = yield alice.sip.next()
        self.assertTrue(accepted.startswith("SIP/2.0 202 Accepted\r\n"), accepted)
        trying = yield alice.sip.next()
        self.assertEqual(header(trying, "Subscription-State"), "active;expires=180")
        self.assertTrue(trying.endswith("\r\n\r\nSIP/2.0 100 Trying\r\n"), trying)
        alice.answer(trying)
        refer = yield bob.sip.next()
        bob.answer(refer, "202 Accepted")
        self.notify(bob, refer, 1, "terminated;reason=noresource", "486 Busy Here")
        yield bob.sip.next()
        busy = yield alice.sip.next()
        self.assertEqual(header(busy, "Subscription-State"), "terminated;reason=noresource")
        self.assertTrue(busy.endswith("\r\n\r\nSIP/2.0 486 Busy Here\r\n"), busy)
        alice.answer(busy)
