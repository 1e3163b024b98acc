"""Who is not let in, and what a room would offer."""

from __future__ import annotations

from tests.conference.support import (
    ROOM,
    ControlTestCase,
    msrp_lines,
    request,
    sdp,
)


class RefusalTests(ControlTestCase):
    def assertRefused(self, answer: object, status: int, text: str) -> None:
        self.assertEqual(getattr(answer, "status", None), status)
        self.assertIn(text, getattr(answer, "reason", ""))

    def test_a_full_room(self) -> None:
        self.configure(max_participants=2)
        alice = self.joined("alice")
        self.client("bob").invite()  # who is expected has a place, too
        carol = self.client("carol")
        answer = carol.invite()
        self.assertRefused(answer, 486, "it takes 2 participants")
        self.assertRegex(answer.to.tag or "", r"\As1\.")
        self.joined("dave", room="sip:conf2@conf.example.com")
        alice.send("BYE")
        self.assertEqual(carol.invite().status, 200)

    def test_no_more_rooms(self) -> None:
        self.configure(max_rooms=1)
        self.joined("alice")
        answer = self.client("bob", room="sip:conf2@conf.example.com").invite()
        self.assertRefused(answer, 503, "its 1 rooms")
        self.assertEqual(answer.headers.get("Retry-After"), "60")
        self.joined("carol")

    def test_no_more_participants_in_all_rooms(self) -> None:
        self.configure(max_sessions=2)
        alice = self.joined("alice")
        self.joined("bob", room="sip:conf2@conf.example.com")
        carol = self.client("carol")
        answer = carol.invite()
        self.assertRefused(answer, 503, "its 2 participants")
        self.assertEqual(answer.headers.get("Retry-After"), "60")
        self.assertEqual(len(self.registry.rooms), 2)
        alice.send("BYE")
        self.assertEqual(carol.invite().status, 200)

    def test_no_ad_hoc_rooms(self) -> None:
        self.configure(ad_hoc=False)
        self.assertRefused(self.client("alice").invite(), 404, "No such room")
        self.assertNobodyIsLeft()

    def test_a_refused_invite_leaves_nothing_behind(self) -> None:
        alice = self.client("alice", types="image/png")
        self.assertEqual(alice.invite().status, 488)
        self.assertNobodyIsLeft()
        no_contact = request("INVITE", body=sdp(*msrp_lines()))
        self.assertRefused(self.control.handle(no_contact), 400, "Contact")
        self.assertNobodyIsLeft()

    def test_headers_that_cannot_be_read(self) -> None:
        """The parser leaves to us what only we look at."""
        answer = self.client("alice").invite(
            headers=(("P-Asserted-Identity", "<sip:alice@home.com"),)
        )
        self.assertRefused(answer, 400, "P-Asserted-Identity")
        self.assertNobodyIsLeft()

    def test_in_no_dialog(self) -> None:
        self.joined("alice")
        stranger = self.client("eve")
        for tag in ("s1.0123456789abcdef", "x"):
            stranger.to = f"<{ROOM}>;tag={tag}"
            for method in ("INVITE", "ACK", "BYE", "UPDATE", "CANCEL", "OPTIONS"):
                self.assertRefused(stranger.send(method), 481, "No such dialog")
        stranger.to = f"<{ROOM}>"
        for method in ("ACK", "BYE", "UPDATE", "CANCEL"):
            self.assertEqual(stranger.send(method).status, 481)
        self.assertEqual(len(self.room.participants), 1)

    def test_the_tags_of_a_dialog_are_its_key(self) -> None:
        """Who knows Call-ID and our tag, but not the peer's, is not in the dialog."""
        alice = self.joined("alice")
        alice.from_ = "<sip:alice@home.com>;tag=other"
        self.assertEqual(alice.send("BYE").status, 481)

    def test_a_method_that_is_none(self) -> None:
        self.assertRefused(self.client("alice").send("PUBLISH"), 501, "PUBLISH")


class OptionsTests(ControlTestCase):
    """RFC 4579 §5.13, RFC 3261 §11.2: what an INVITE would be answered."""

    def test_what_a_room_offers(self) -> None:
        alice = self.client("alice")
        for _ in range(2):
            answer = alice.send("OPTIONS")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers.get("Content-Type"), "application/sdp")
            self.assertIn(b"\r\na=accept-types:message/cpim text/plain\r\n", answer.body)
            self.assertIn(b"\r\na=chatroom:nickname private-messages\r\n", answer.body)
            self.assertRegex(answer.to.tag or "", r"\As1\.")
            self.assertNobodyIsLeft()
            self.joined("bob", room="sip:conf2@conf.example.com").send("BYE")

    def test_where_an_invite_would_be_refused(self) -> None:
        self.configure(max_participants=1, max_rooms=1)
        alice = self.client("alice")
        self.joined("bob")
        self.assertEqual(alice.send("OPTIONS").status, 486)
        alice.room = "sip:conf2@conf.example.com"
        self.assertEqual(alice.send("OPTIONS").status, 503)
        self.configure(ad_hoc=False)
        self.assertEqual(alice.send("OPTIONS").status, 404)

    def test_in_a_dialog(self) -> None:
        """There, it is often asked to see whether the dialog is alive."""
        alice = self.joined("alice")
        self.configure(ad_hoc=False, max_participants=1)
        alice.room = "sip:conf1@192.0.2.1:5060"
        self.assertEqual(alice.send("OPTIONS").status, 200)
        self.assertEqual(alice.send("OPTIONS", cseq=90).status, 500)

    def test_no_text_where_none_is_served(self) -> None:
        self.configure(plain_text=False)
        answer = self.client("alice").send("OPTIONS")
        self.assertIn(b"\r\na=accept-types:message/cpim\r\n", answer.body)
