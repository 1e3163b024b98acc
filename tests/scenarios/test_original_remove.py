"""The original design's «REFER with BYE», its steps 1 to 5, on the wire (RFC 4579 §5.11).

«For undisclosed reasons Bob decides to drop Alice from the conference. Since Bob is
authorized as owner of the conference, he can use REFER with BYE». Here Bob is the owner
because he came first.
"""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from msrpconf.conference.participant import State
from tests.scenarios.embedded import joined
from tests.scenarios.original import OriginalTestCase, Person, Story
from tests.scenarios.wire import header


class OriginalRemoveTests(OriginalTestCase):
    @inlineCallbacks
    def check_bye(self, alice: Person) -> Story:
        """3 to 5: the BYE in Alice's dialog, and her answer; her MSRP is closed."""
        bye = yield alice.sip.next()
        self.assertTrue(bye.startswith(f"BYE sip:alice@127.0.0.1:{alice.sip.port} SIP/2.0\r\n"))
        self.assertEqual(header(bye, "From"), f"<sip:conf1@127.0.0.1>;tag={alice.to_tag}")
        self.assertEqual(header(bye, "To"), "<sip:alice@home.com>;tag=887s")
        self.assertEqual(header(bye, "Call-ID"), "2366721e-alice@home.com")
        self.assertRegex(header(bye, "CSeq"), r"\A\d+ BYE\Z")
        self.assertEqual(header(bye, "Reason"), 'SIP;cause=200;text="Removed by bob@home.com"')
        alice.answer(bye)
        assert alice.msrp is not None
        yield alice.msrp.closed
        alice.msrp = None

    @inlineCallbacks
    def test_steps_1_to_5(self) -> Story:
        bob, alice = self.person("bob"), self.person("alice")
        yield self.join(bob)
        yield self.join(alice)
        participant = self.participant(alice)

        # 1 and 2: the REFER goes by the focus to the server, which changes her state.
        bob.request("REFER", 102, headers=("Refer-To: <sip:alice@home.com;method=BYE>",))
        accepted = yield bob.sip.next()
        self.assertTrue(accepted.startswith("SIP/2.0 202 Accepted\r\n"), accepted)
        self.assertEqual(header(accepted, "CSeq"), "102 REFER")
        self.assertEqual(header(accepted, "To"), f"sip:conf1@127.0.0.1;tag={bob.to_tag}")
        self.assertIs(participant.state, State.DROPPED)
        yield self.check_bye(alice)

        # And Bob is told what came of it, in his dialog (RFC 3515 §2.4.4).
        notify = yield bob.sip.next()
        self.assertTrue(notify.startswith(f"NOTIFY sip:bob@127.0.0.1:{bob.sip.port} SIP/2.0\r\n"))
        self.assertEqual(header(notify, "From"), f"<sip:conf1@127.0.0.1>;tag={bob.to_tag}")
        self.assertEqual(header(notify, "Event"), "refer")
        self.assertEqual(header(notify, "Subscription-State"), "terminated;reason=noresource")
        self.assertEqual(header(notify, "Content-Type"), "message/sipfrag;version=2.0")
        self.assertTrue(notify.endswith("\r\n\r\nSIP/2.0 200 OK\r\n"), notify)
        bob.answer(notify)
        self.assertEqual(len(self.service.registry.participants()), 1)

    @inlineCallbacks
    def test_outside_of_a_dialog_as_the_incumbents_clients_send_it(self) -> Story:
        """To the room, with the method outside of the brackets."""
        bob, alice = self.person("bob"), self.person("alice")
        yield self.join(bob)
        yield self.join(alice)
        bob.sip.send(f"""
            REFER sip:conf1@127.0.0.1 SIP/2.0
            Via: SIP/2.0/UDP 127.0.0.1:{bob.sip.port};rport;branch=z9hG4bKoutside
            Max-Forwards: 70
            From: "Bob" <sip:bob@home.com>;tag=outside
            To: <sip:conf1@127.0.0.1>
            Call-ID: outside-bob@home.com
            CSeq: 1 REFER
            Contact: <sip:bob@127.0.0.1:{bob.sip.port}>
            Event: refer
            Refer-To: <sip:alice@home.com>;method=BYE
            Referred-By: sip:bob@home.com""")
        accepted = yield bob.sip.next()
        self.assertTrue(accepted.startswith("SIP/2.0 202 Accepted\r\n"), accepted)
        tag = header(accepted, "To").partition(";tag=")[2]
        self.assertRegex(tag, r"\Alocal\.[0-9a-f]{16}\Z")
        self.assertRegex(header(accepted, "Contact"), r"\A<sip:conf1@127\.0\.0\.1:\d+>;.*;isfocus")
        yield self.check_bye(alice)
        notify = yield bob.sip.next()
        self.assertEqual(header(notify, "Call-ID"), "outside-bob@home.com")
        self.assertEqual(header(notify, "From"), f"<sip:conf1@127.0.0.1>;tag={tag}")
        self.assertEqual(header(notify, "To"), '"Bob" <sip:bob@home.com>;tag=outside')
        self.assertTrue(notify.endswith("\r\n\r\nSIP/2.0 200 OK\r\n"), notify)
        bob.answer(notify)

    @inlineCallbacks
    def test_our_own_client_is_told_why(self) -> Story:
        bob = self.person("bob")
        yield self.join(bob)
        _, heard = yield joined(self.agent("carol"), self.room("conf1"))
        bob.request("REFER", 102, headers=("Refer-To: <sip:carol@example.com;method=BYE>",))
        why = yield heard.ended
        self.assertEqual(why, "Removed by bob@home.com")
        accepted = yield bob.sip.next()
        self.assertTrue(accepted.startswith("SIP/2.0 202 Accepted\r\n"), accepted)
        bob.answer((yield bob.sip.next()))

    @inlineCallbacks
    def test_who_may_not_is_told_so(self) -> Story:
        bob, alice = self.person("bob"), self.person("alice")
        yield self.join(bob)
        yield self.join(alice)
        alice.request("REFER", 102, headers=("Refer-To: <sip:bob@home.com;method=BYE>",))
        refused = yield alice.sip.next()
        self.assertTrue(refused.startswith("SIP/2.0 403 Only moderators "), refused)
        self.assertIs(self.participant(bob).state, State.JOINED)
