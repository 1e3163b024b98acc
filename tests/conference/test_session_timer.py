"""A dialog that nobody refreshes ends (RFC 4028)."""

from __future__ import annotations

from msrpconf.conference.participant import State
from msrpconf.conference.session_timer import AGAIN, MIN_SE, Wish
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from tests.conference.support import Client, ControlTestCase, request, sdp

CONTACT = ("Contact", "<sip:alice@alice.example.com:5070>")
KNOWS = ("Supported", "replaces, timer")
UPDATES = ("Allow", "INVITE, ACK, BYE, UPDATE")


class SessionTimerCase(ControlTestCase):
    reason = Reason("SIP", 503, "The end of the test")

    def came(self, *headers: tuple[str, str], name: str = "alice") -> tuple[Client, Response]:
        """Somebody joins with these header fields; the client, and what its INVITE got."""
        client = self.client(name, attributes="setup:active")
        client.headers = (CONTACT, *headers)
        answer = client.invite()
        if answer.status == 200:
            # What the focus has given it in Contact.
            client.room = "sip:conf1@192.0.2.1:5060;room-domain=conf.example.com"
            client.send("ACK")
            client.connect()
            self.channel.sent.clear()
        return client, answer

    def says(self, answer: Response) -> tuple[str | None, str | None]:
        return answer.headers.get("Session-Expires"), answer.headers.get("Require")

    def asked(self) -> Request:
        """The one request that was sent since the last time."""
        (asked,) = self.channel.requests
        return asked

    def answers(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        """The client answers that."""
        asked, answer = self.channel.sent.pop(0)
        answer.callback(asked.response(status, headers=headers, body=body))


class AgreementTests(SessionTimerCase):
    """Who refreshes, and when (RFC 4028, table 2)."""

    def test_what_is_said(self) -> None:
        for headers, said in (
            ((KNOWS,), ("1800;refresher=uac", "timer")),
            ((KNOWS, ("Session-Expires", "600")), ("600;refresher=uac", "timer")),
            ((KNOWS, ("x", "600;refresher=uac")), ("600;refresher=uac", "timer")),
            ((KNOWS, ("Session-Expires", "600;refresher=UAS")), ("600;refresher=uas", "timer")),
            ((KNOWS, ("Session-Expires", "90000")), ("1800;refresher=uac", "timer")),
            ((KNOWS, ("Min-SE", "3600")), ("3600;refresher=uac", "timer")),
            ((("Require", "timer"),), ("1800;refresher=uac", "timer")),
            # A proxy has put it in, and the client knows nothing of it.
            ((("Session-Expires", "600"),), ("600;refresher=uas", None)),
            ((UPDATES,), ("1800;refresher=uas", None)),
            # Neither: MSRP tells whether it is there.
            ((), (None, None)),
            ((("Session-Expires", "10"),), (None, None)),
        ):
            _, answer = self.came(*headers)
            self.assertEqual(answer.status, 200)
            self.assertEqual(self.says(answer), said, headers)
            self.control.close(self.reason)

    def test_too_short(self) -> None:
        client, answer = self.came(KNOWS, ("Session-Expires", "89"))
        self.assertEqual((answer.status, answer.headers.get("Min-SE")), (422, "90"))
        self.assertIn("90 s at least", answer.reason)
        self.assertNobodyIsLeft()
        client, _ = self.came(KNOWS)
        client.headers = (CONTACT, KNOWS, ("Session-Expires", "1"))
        for method in ("UPDATE", "INVITE"):
            self.assertEqual(client.send(method, client.offer()).status, 422)

    def test_what_cannot_be_read(self) -> None:
        for header in (
            ("Session-Expires", "soon"),
            ("Session-Expires", ";"),
            ("Min-SE", "-1"),
            ("Session-Expires", "9" * 30),
        ):
            _, answer = self.came(KNOWS, header)
            self.assertEqual(answer.status, 400)
            self.assertIn("Session-Expires or Min-SE", answer.reason)
        self.assertRaises(SipSyntaxError, Wish.of, request("INVITE", headers=(("Min-SE", "x"),)))

    def test_switched_off(self) -> None:
        self.configure(session_expires=0.0)
        for headers, said in (
            ((KNOWS,), None),
            ((UPDATES,), None),
            ((KNOWS, ("Session-Expires", "600")), "600;refresher=uac"),
        ):
            _, answer = self.came(*headers)
            self.assertEqual(self.says(answer)[0], said)
            self.control.close(self.reason)


class TheyRefreshTests(SessionTimerCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, _ = self.came(KNOWS, ("Session-Expires", "600"))

    def test_whoever_vanishes_is_out(self) -> None:
        """Before it is over: proxies forget the call then."""
        self.clock.advance(567)
        self.assertIs(self.alice.participant.state, State.JOINED)
        self.clock.advance(1)
        bye = self.asked()
        self.assertEqual(bye.method, "BYE")
        self.assertIn("not refreshed within 600 s", bye.headers.get("Reason") or "")
        self.assertNobodyIsLeft()

    def test_whoever_refreshes_is_in(self) -> None:
        for method in ("UPDATE", "INVITE", "UPDATE"):
            self.clock.advance(560)
            answer = self.alice.send(method, self.alice.offer() if method == "INVITE" else b"")
            self.assertEqual(self.says(answer), ("600;refresher=uac", "timer"))
            if method == "INVITE":
                self.alice.send("ACK")
        self.clock.advance(560)
        self.assertEqual(self.channel.requests, [])

    def test_one_who_leaves_is_not_waited_for(self) -> None:
        self.alice.send("BYE")
        self.clock.advance(700)
        self.assertEqual(self.channel.requests, [])
        self.assertNobodyIsLeft()


class WeRefreshTests(SessionTimerCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, _ = self.came(UPDATES)

    def test_by_update(self) -> None:
        self.clock.advance(899)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        update = self.asked()
        self.assertEqual((update.method, update.body), ("UPDATE", b""))
        self.assertEqual(update.headers.get("Session-Expires"), "1800;refresher=uac")
        self.assertEqual(
            update.headers.get("Contact"), "<sip:conf1@192.0.2.1:5060;room-domain=conf.example.com>"
        )
        self.answers(200)
        self.clock.advance(899)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        self.assertGreater(self.asked().cseq.number, update.cseq.number)

    def test_any_answer_tells_that_it_is_there(self) -> None:
        self.clock.advance(900)
        for status in (405, 488, 501, 603):
            self.answers(status)
            self.clock.advance(900)
            self.assertEqual(self.asked().method, "UPDATE")

    def test_nobody_answers(self) -> None:
        self.clock.advance(900)
        for _ in range(89):
            self.answers(408)
            self.clock.advance(AGAIN)
        self.answers(408)
        bye = self.asked()
        self.assertEqual(bye.method, "BYE")
        self.assertIn("not refreshed", bye.headers.get("Reason") or "")
        self.assertNobodyIsLeft()

    def test_it_knows_nothing_of_it(self) -> None:
        self.clock.advance(900)
        self.answers(481)
        self.assertEqual(self.asked().method, "BYE")
        self.assertNobodyIsLeft()

    def test_a_target_that_moves(self) -> None:
        self.clock.advance(900)
        self.answers(200, ("Contact", "<sip:alice@elsewhere.example.com>"))
        self.assertEqual(
            str(self.alice.participant.dialog.remote_target), "sip:alice@elsewhere.example.com"
        )

    def test_the_channel_is_gone(self) -> None:
        self.clock.advance(900)
        _, answer = self.channel.sent.pop(0)
        answer.errback(RuntimeError("no focus"))
        self.clock.advance(AGAIN)
        self.assertEqual(self.asked().method, "UPDATE")

    def test_somebody_on_the_way_wants_it_longer(self) -> None:
        self.clock.advance(900)
        self.answers(422, ("Min-SE", "3600"))
        self.assertEqual(self.asked().headers.get("Session-Expires"), "3600;refresher=uac")
        self.answers(422, ("Min-SE", "3600"))
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(AGAIN)
        self.answers(200, ("Session-Expires", "3600;refresher=uac"))
        self.clock.advance(1799)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        self.asked()

    def test_they_do_it_from_now_on(self) -> None:
        self.clock.advance(900)
        self.answers(200, ("Session-Expires", "300;refresher=uas"), ("Require", "timer"))
        self.clock.advance(300 - 32 - 1)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        self.assertEqual(self.asked().method, "BYE")

    def test_no_faster_than_that(self) -> None:
        """Whatever a client says, it cannot make us send all the time."""
        self.clock.advance(900)
        self.answers(200, ("Session-Expires", "0;refresher=uac"))
        self.clock.advance(MIN_SE / 2 - 1)
        self.assertEqual(self.channel.requests, [])

    def test_the_answer_to_one_who_has_left(self) -> None:
        self.clock.advance(900)
        self.alice.send("BYE")
        self.answers(200)
        self.clock.advance(4000)
        self.assertEqual(self.channel.requests, [])


class ByInviteTests(SessionTimerCase):
    """A client that wants us to refresh, and takes no UPDATE."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, _ = self.came(KNOWS, ("Session-Expires", "600;refresher=uas"))
        self.clock.advance(300)
        self.invite = self.asked()

    def accept(self, body: bytes) -> None:
        self.answers(200, CONTACT, ("Content-Type", "application/sdp"), body=body)

    def test_it_goes_on(self) -> None:
        self.assertEqual(self.invite.method, "INVITE")
        self.assertIn(self.alice.participant.session.local_path, self.invite.body)
        self.accept(self.alice.offer())
        self.assertIs(self.alice.participant.state, State.JOINED)
        self.clock.advance(300)
        self.asked()

    def test_what_it_answers_holds(self) -> None:
        self.accept(self.alice.offer("inactive"))
        self.assertIsNone(self.alice.participant.reception)

    def test_what_is_no_answer(self) -> None:
        self.accept(sdp("m=audio 4 RTP/AVP 0"))
        self.assertEqual(self.asked().method, "BYE")

    def test_both_at_one_time(self) -> None:
        answer = self.alice.send("INVITE", self.alice.offer())
        self.assertEqual(answer.status, 491)
        self.answers(491)
        self.assertEqual(self.alice.send("INVITE", self.alice.offer()).status, 200)
