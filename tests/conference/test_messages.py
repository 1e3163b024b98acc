"""In which form a message gets to whom (RFC 7701 §6.1, §6.3)."""

from __future__ import annotations

from msrpconf.protocols.msrp.outgoing import OutgoingFrame
from tests.conference.support import (
    ROOM,
    TEXT_TYPES,
    cpim,
)
from tests.conference.talk import TalkTestCase


class FormTests(TalkTestCase):
    """Each gets it in the form that it understands."""

    def test_cpim_is_untouched_for_who_takes_it(self) -> None:
        message = cpim(
            "Grüße".encode() + bytes(range(256)),
            from_='"Alice" <sip:alice@home.com>',
            headers=("NS: imdn <urn:ietf:params:imdn>", "imdn.Message-ID: 34jk324j", "X-Odd:\t1 "),
        )
        self.alice.say(message, content_type="Message/CPIM; x=1")
        (heard,) = self.bob.hears()
        self.assertEqual(heard.body, message)
        self.assertEqual(heard.head.content_type, b"message/cpim")
        self.assertEqual(self.alice.told(), ["200 OK"])

    def test_the_copy_is_a_message_of_the_rooms(self) -> None:
        message = cpim("Hi")
        self.alice.say(message, "alices-own", headers=((b"Success-Report", b"yes"),))
        (heard,) = self.bob.hears()
        head = heard.head
        self.assertEqual(head.to_path, self.bob.path.encode())
        self.assertEqual(head.from_path, self.bob.session.local_path)
        self.assertNotEqual(head.message_id, b"alices-own")
        self.assertEqual(
            str(head.headers[b"byte-range"], "ascii"), f"1-{len(message)}/{len(message)}"
        )
        self.assertEqual(head.failure_report, b"partial")
        self.assertFalse(head.success_report)

    def test_text_has_the_sender_in_front(self) -> None:
        self.alice.say(cpim("Hi, I'm Alice!"))
        for each in (self.carol, self.dave):
            (heard,) = each.hears()
            self.assertEqual(heard.body, b"alice@home.com: Hi, I'm Alice!")
            self.assertEqual(heard.head.content_type, b"text/plain; charset=utf-8")
            self.assertEqual(heard.head.headers[b"byte-range"], b"1-30/30")

    def test_what_is_said_as_text(self) -> None:
        self.carol.say("Grüße".encode(), content_type="text/plain; charset=utf-8")
        (heard,) = self.dave.hears()
        self.assertEqual(heard.body.decode(), "carol@home.com: Grüße")
        self.assertEqual(heard.head.content_type, b"text/plain; charset=utf-8")
        (heard,) = self.bob.hears()
        self.assertEqual(heard.head.content_type, b"message/cpim")
        self.assertEqual(
            heard.body.decode(),
            "From: <sip:carol@home.com>\r\n"
            f"To: <{ROOM}>\r\n"
            "DateTime: 1970-01-01T00:00:00Z\r\n"
            "\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "\r\n"
            "Grüße",
        )
        self.assertEqual(self.carol.told(), ["200 OK"])

    def test_who_says_text_has_a_name_in_cpim(self) -> None:
        zoe = self.joined(
            "zoe", types=TEXT_TYPES, from_='"Zoë \\"Z\\"" <sip:zoe@home.com:5070;x=1>;tag=z'
        )
        zoe.say(b"Hi", content_type="text/plain")
        (heard,) = self.bob.hears()
        self.assertTrue(
            heard.body.decode().startswith('From: "Zoë \\"Z\\"" <sip:zoe@home.com>\r\n')
        )

    def test_the_speaker_does_not_hear_itself(self) -> None:
        for client, message, content_type in (
            (self.alice, cpim("Hi"), "message/cpim"),
            (self.carol, b"Hi", "text/plain"),
        ):
            client.connected.hears()
            client.say(message, content_type=content_type)
            self.assertEqual(client.told(), ["200 OK"])

    def test_the_next_message_is_another(self) -> None:
        for _ in range(2):
            self.alice.say(cpim("Hi"))
        first, second = self.bob.hears()
        self.assertNotEqual(first.head.message_id, second.head.message_id)
        self.assertNotEqual(first.head.transaction, second.head.transaction)

    def test_the_same_octets_go_to_all(self) -> None:
        """Made once for each kind of client, and not once for each recipient."""
        frames: list[OutgoingFrame] = []
        for each in (self.carol, self.dave):
            each.session.forward = frames.append  # type: ignore[method-assign, assignment]
        self.alice.say(cpim("Hi"))
        self.assertEqual(len(frames), 2)
        self.assertIs(frames[0], frames[1])


class TypeTests(TalkTestCase):
    """What a client did not list is not sent to it (RFC 7701 §6.1)."""

    def test_typing_is_seen_by_who_can_show_it(self) -> None:
        composing = "application/im-iscomposing+xml"
        erin = self.joined("erin", types=f"message/cpim text/plain {composing}")
        self.alice.say(cpim("<isComposing/>", content_type=composing))
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertEqual(len(erin.hears()), 1)
        self.assertNobodyHears()

    def test_wrapped_types(self) -> None:
        erin = self.joined("erin", types="message/cpim", attributes="accept-wrapped-types:image/*")
        frank = self.joined("frank", types="message/cpim")
        for content_type, heard in (("image/png", 1), ("IMAGE/PNG", 1), ("text/plain", 0)):
            self.alice.say(cpim("...", content_type=content_type))
            self.assertEqual(len(erin.hears()), heard, content_type)
            self.assertEqual(len(frank.hears()), 1, "who names no type takes all")
        self.assertEqual(len(self.bob.hears()), 1)

    def test_who_takes_no_text_is_not_sent_what_is_said_as_text(self) -> None:
        erin = self.joined("erin", types="message/cpim", attributes="accept-wrapped-types:image/*")
        self.carol.say(b"Hi", content_type="text/plain")
        self.assertEqual(erin.hears(), [])
        self.assertEqual(len(self.bob.hears()), 1)

    def test_a_name_in_front_of_text_alone(self) -> None:
        erin = self.joined("erin", types="text/*")
        self.alice.say(cpim("<b>Hi</b>", content_type="text/html"))
        self.assertEqual(erin.hears(), [])
        self.alice.say(cpim("Hi"))
        self.assertEqual(erin.hears_text(), ["alice@home.com: Hi"])

    def test_text_in_disguise_is_not_text(self) -> None:
        """Without its wrapper nobody could tell that it is base64."""
        head, _, _ = cpim("").rpartition(b"\r\n")
        for encoding, heard in (
            (b"base64", 0),
            (b"quoted-printable", 0),
            (b"8bit", 1),
            (b"7BIT", 1),
        ):
            self.alice.say(head + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\nSGk=")
            self.assertEqual(len(self.carol.hears()), heard, encoding)
            self.assertEqual(len(self.bob.hears()), 1)

    def test_a_heartbeat_is_heard_by_nobody(self) -> None:
        for client in (self.alice, self.carol):
            client.say(b"HEARTBEAT", content_type="text/x-msrp-heartbeat")
            self.assertEqual(client.told(), ["200 OK"])
        self.assertNobodyHears()

    def test_no_wrapper(self) -> None:
        """RFC 7701 §6.3: 415."""
        self.alice.say(b"Hi", content_type="text/plain")
        self.assertRefused(415, "message/cpim")
        self.carol.say(b"<b>Hi</b>", content_type="text/html")
        self.assertRefused(415, "text/plain", speaker=self.carol)
        self.assertAllIsWell()

    def test_a_text_client_may_speak_cpim(self) -> None:
        self.carol.say(cpim("Hi", from_="<sip:carol@home.com>"))
        self.assertEqual(self.carol.told(), ["200 OK"])
        self.assertEqual(self.dave.hears_text(), ["carol@home.com: Hi"])

    def test_a_content_type_that_cannot_be_passed_on(self) -> None:
        for wrong in ("text/plain; x=\x01", "text/plain; x=" + 250 * "x", "text/plain; x=ü"):
            self.carol.say(b"Hi", content_type=wrong)
            self.assertRefused(400, "Content-Type", speaker=self.carol)
        self.assertAllIsWell()


class OtherRequestTests(TalkTestCase):
    def test_other_methods(self) -> None:
        self.requests("AUTH", "Expires: 60")
        self.assertRefused(501, "SEND, REPORT and NICKNAME")

    def test_reports_of_recipients_are_not_passed_on(self) -> None:
        """RFC 7701 §6.3."""
        self.requests("REPORT", "Message-ID: m1\r\nByte-Range: 1-2/2\r\nStatus: 000 200 OK")
        self.assertEqual(self.alice.told(), [])
        self.assertNobodyHears()

    def test_success_reports_are_the_rooms(self) -> None:
        self.alice.say(cpim("Hi"), headers=((b"Success-Report", b"yes"),))
        self.assertEqual(self.alice.told(), ["200 OK", "REPORT"])

    def requests(self, method: str, headers: str) -> None:
        path = self.alice.session.local_path.decode()
        self.alice.connected.says(
            f"MSRP t1 {method}\r\nTo-Path: {path}\r\nFrom-Path: {self.alice.path}\r\n"
            f"{headers}\r\n-------t1$\r\n".encode()
        )
