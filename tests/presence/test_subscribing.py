"""What is answered to a SUBSCRIBE (RFC 6665 §4.2.1, RFC 4575 §3)."""

from __future__ import annotations

from typing import Any

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.errors import SipSyntaxError
from tests.presence.support import NotifierTestCase, Watcher


class SubscribingTests(NotifierTestCase):
    def refused(
        self, status: int, reason: str, *headers: tuple[str, str], **options: Any
    ) -> Denied:
        answer = Watcher(self).subscribe(*headers, **options)
        assert isinstance(answer, Denied), answer
        self.assertEqual(answer.status, status)
        self.assertIn(reason, answer.reason)
        self.soon()
        self.assertEqual(self.sent, [])
        self.assertEqual(len(self.notifier), 0)
        return answer

    def test_accepted(self) -> None:
        answer = Watcher(self).subscribe(expires=None)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers.get("Expires"), "3600")
        self.assertIn("isfocus", answer.headers.get("Contact"))
        self.assertTrue(answer.to.tag.startswith("presence."))
        self.soon()
        notify = self.sent[0][0]
        self.assertEqual(notify.headers.get("Event"), "conference")
        self.assertEqual(notify.headers.get("Content-Type"), "application/conference-info+xml")
        self.assertEqual(notify.from_.tag, answer.to.tag)
        self.assertEqual(str(notify.uri), "sip:bob@192.0.2.9")

    def test_the_id_comes_back(self) -> None:
        Watcher(self).subscribe(event="conference;id=x7;max-rate=1")
        self.soon()
        self.assertEqual(self.sent[0][0].headers.get("Event"), "conference;id=x7")

    def test_489_for_other_events(self) -> None:
        for event in ("presence", "Conference", "dialog;id=1"):
            answer = self.refused(489, "not served here", event=event)
            self.assertEqual(answer.headers, (("Allow-Events", "conference, refer"),))

    def test_403_for_refer(self) -> None:
        self.refused(403, "REFER", event="refer")

    def test_423_for_what_is_too_short(self) -> None:
        answer = self.refused(423, "60 s or more", expires=59)
        self.assertEqual(answer.headers, (("Min-Expires", "60"),))

    def test_no_longer_than_we_allow(self) -> None:
        answer = Watcher(self).subscribe(expires=2**32 - 1)
        self.assertEqual(answer.headers.get("Expires"), "86400")

    def test_406_for_who_does_not_take_our_documents(self) -> None:
        answer = self.refused(406, "conference-info+xml", ("Accept", "application/pidf+xml"))
        self.assertEqual(answer.headers, (("Accept", "application/conference-info+xml"),))
        for value in (
            "application/pidf+xml, application/conference-info+xml;q=0.5",
            "application/*",
            "*/*",
        ):
            self.assertEqual(Watcher(self).subscribe(("Accept", value)).status, 200)

    def test_404_without_a_room(self) -> None:
        self.refused(404, "no such room", key="sip:other@conf.example.com")

    def test_400_without_a_contact(self) -> None:
        self.refused(400, "Contact", contact="<tel:+1>")
        self.refused(400, "Contact", contact="<sip:a@b>, <sip:c@d>")

    def test_400_for_what_cannot_be_read(self) -> None:
        for headers in (("Expires", "soon"), ("Event", "conference")):
            with self.assertRaises(SipSyntaxError):
                Watcher(self).subscribe(headers, expires=60)
        with self.assertRaises(SipSyntaxError):
            Watcher(self).subscribe(event="conference;id=" + "x" * 200)

    def test_481_for_a_dialog_that_is_none(self) -> None:
        bob = Watcher(self)
        bob.to += ";tag=presence.77"
        self.assertEqual(bob.subscribe().status, 481)

    def test_500_for_one_that_comes_too_late(self) -> None:
        bob = Watcher(self)
        bob.cseq = 10
        bob.subscribe()
        bob.cseq = 5
        self.assertEqual(bob.subscribe().status, 500)

    def test_a_new_target(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        self.seconds(2)
        self.sent.clear()
        bob.subscribe(contact="<sip:bob@192.0.2.77>")
        self.soon()
        self.assertEqual(str(self.sent[0][0].uri), "sip:bob@192.0.2.77")

    def test_the_same_request_twice_is_two_dialogs(self) -> None:
        """Without a To tag it begins something: a repetition the transaction has absorbed."""
        Watcher(self).subscribe()
        Watcher(self).subscribe()
        self.assertEqual(len(self.notifier), 2)

    def test_log_lines(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        bob.subscribe(expires=0)
        self.assertEqual(
            self.lines,
            [
                "watching: sip:bob@example.com, conference of sip:lobby@conf.example.com"
                " (Call-ID bob)",
                "watching no more: unsubscribed: sip:bob@example.com, conference of"
                " sip:lobby@conf.example.com (Call-ID bob)",
            ],
        )
