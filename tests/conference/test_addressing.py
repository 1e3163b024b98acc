"""From and To of CPIM: who may speak as whom, and to whom (RFC 7701 §6.1, §6.3)."""

from __future__ import annotations

from tests.conference.support import (
    ROOM,
    TEXT_TYPES,
    Client,
    cpim,
)
from tests.conference.talk import TalkTestCase

BOB = "<sip:bob@home.com>"


class SenderTests(TalkTestCase):
    """CPIM From: a name that the focus knows the sender by (RFC 7701 §6.1, §6.3)."""

    def assertTaken(self, speaker: Client, from_: str, taken: bool = True) -> None:
        speaker.say(cpim("Hi", from_=from_))
        (told,) = speaker.told()
        self.assertEqual(told.partition(" ")[0], "200" if taken else "403", (from_, told))
        self.assertEqual(len(self.bob.hears()), taken)
        self.assertEqual(len(self.carol.hears()), taken)

    def test_by_from(self) -> None:
        for own in (
            "<sip:alice@home.com>",
            '"Somebody" <sip:alice@HOME.com>',
            "sip:alice@home.com",
            "<sip:alice@home.com:5070;transport=tcp>",
            "<sips:alice@home.com>",
            "<sip:%61lice@home.com>",
            "<im:alice@home.com>",
            "<sip:anonymous@anonymous.invalid>",
        ):
            self.assertTaken(self.alice, own)

    def test_of_others(self) -> None:
        for wrong in (
            BOB,
            "<sip:alice@home.org>",
            "<sip:Alice@home.com>",
            "<im:bob@home.com>",
            "<pres:alice@home.com>",
            "<tel:+15551234>",
            f"<{ROOM}>",
            "<sip:alice@home.com.evil.example>",
            "<nonsense:>",
        ):
            self.assertTaken(self.alice, wrong, False)
        self.assertAllIsWell()

    def asserted(self, *values: str, from_: str = "<sip:erin@home.com>;tag=e") -> Client:
        erin = self.client("erin", from_=from_)
        erin.invite(headers=tuple(("P-Asserted-Identity", value) for value in values))
        erin.send("ACK")
        return erin.connect()

    def test_by_asserted_identities(self) -> None:
        erin = self.asserted("<sip:erin.e@ims.example.com>, <tel:+1-555-1234>")
        for own in (
            "<sip:erin.e@ims.example.com>",
            "<tel:+15551234>",
            "<tel:+1(555)1234>",
            "<sip:erin@home.com>",
            "<im:erin.e@ims.example.com>",
        ):
            self.assertTaken(erin, own)
        self.assertTaken(erin, "<tel:+15551235>", False)

    def test_what_is_asserted_names_the_sender(self) -> None:
        erin = self.asserted('"Erin E" <sip:erin.e@ims.example.com:5070;x=1>')
        erin.say(cpim("Hi", from_="<sip:erin@home.com>"))
        self.assertEqual(self.carol.hears_text(), ["erin.e@ims.example.com: Hi"])
        self.assertEqual(erin.participant.identity.key, "sip:erin.e@ims.example.com")
        self.assertEqual(erin.participant.identity.display_name, "Erin E")

    def test_a_number_names_the_sender(self) -> None:
        erin = self.asserted("<tel:+1-555-1234>")
        erin.say(cpim("Hi", from_="<tel:+15551234>"))
        self.assertEqual(self.carol.hears_text(), ["+15551234: Hi"])

    def test_who_is_anonymous_is_not_betrayed(self) -> None:
        """RFC 7701 §5.2: what is asserted is for the focus, the anonymous URI for the others."""
        erin = self.asserted(
            '"Erin" <sip:erin@home.com>',
            from_='"Anonymous" <sip:anonymous@anonymous.invalid>;tag=e',
        )
        self.assertEqual(erin.participant.identity.key, "sip:erin@home.com")
        erin.say(cpim("Hi", from_="<sip:anonymous@anonymous.invalid>"))
        (heard,) = self.carol.hears_text()
        self.assertRegex(heard, r"\Aanonymous-[0-9a-f]{12}@anonymous\.invalid: Hi\Z")

    def test_who_asks_for_privacy_is_anonymous(self) -> None:
        for privacy in ("id", "user;critical", "header; ID"):
            erin = self.client("erin", types=TEXT_TYPES)
            erin.invite(
                headers=(
                    ("P-Asserted-Identity", '"Erin" <sip:erin@home.com>'),
                    ("Privacy", privacy),
                )
            )
            erin.send("ACK")
            erin.connect()
            erin.say(b"Hi", content_type="text/plain")
            (heard,) = self.carol.hears_text()
            self.assertRegex(heard, r"\Aanonymous-[0-9a-f]{12}@anonymous\.invalid: Hi\Z")
            (frame,) = self.bob.hears()
            self.assertNotIn(b"rin", frame.body.lower())
            erin.send("BYE")

    def test_no_privacy_for_who_asks_for_none(self) -> None:
        erin = self.client("erin", types=TEXT_TYPES)
        erin.invite(headers=(("Privacy", "none"),))
        erin.send("ACK")
        erin.connect()
        erin.say(b"Hi", content_type="text/plain")
        self.assertEqual(self.carol.hears_text(), ["erin@home.com: Hi"])

    def test_no_from(self) -> None:
        self.alice.say(cpim("Hi", from_=None))
        self.assertRefused(400, "From is missing")
        self.assertAllIsWell()


class RecipientTests(TalkTestCase):
    """CPIM To: the room, and the room alone (RFC 7701 §6.1)."""

    def test_the_rooms_names(self) -> None:
        for to in (
            f"<{ROOM}>",
            f'"Room" <{ROOM}>',
            ROOM,
            "<sip:conf1@CONF.example.com:5060>",
            "<sips:conf1@conf.example.com>",
            "<sip:conf1@192.0.2.1:5060;transport=tcp;room-domain=conf.example.com>",
            "<sip:anonymous@anonymous.invalid>",
        ):
            self.alice.say(cpim("Hi", to=(to,)))
            self.assertEqual(self.alice.told(), ["200 OK"], to)
            self.assertEqual(len(self.bob.hears()), 1, to)

    def test_not_the_room(self) -> None:
        for to in (
            "<sip:conf2@conf.example.com>",
            "<sip:conf1@example.com>",
            BOB,
            "<sip:conf1@192.0.2.1;room-domain=other.example.com>",
            "<sip:conf1@conf.example.com;room-domain=other.example.com>",
            "<nonsense:>",
        ):
            self.alice.say(cpim("Hi", to=(to,)))
            self.assertRefused(428 if to is BOB else 404, "")
        self.assertAllIsWell()

    def test_no_to(self) -> None:
        self.alice.say(cpim("Hi", to=()))
        self.assertRefused(400, "To is missing")
        self.assertAllIsWell()

    def test_several_to(self) -> None:
        self.alice.say(cpim("Hi", to=(f"<{ROOM}>", BOB)))
        self.assertRefused(403, "To must be one")
        self.assertAllIsWell()

    def test_rooms_are_apart(self) -> None:
        there = self.joined("alice", "2", room="sip:conf2@conf.example.com")
        there.say(cpim("Hi", to=("<sip:conf2@conf.example.com>",)))
        self.assertEqual(there.told(), ["200 OK"])
        self.assertNobodyHears()


class WrongCpimTests(TalkTestCase):
    """CPIM that is wrong is its sender's problem."""

    def test_wrong_heads(self) -> None:
        for wrong in (
            b"",
            b"\r\n\r\n",
            b"hello",
            b"From: <sip:alice@home.com>\r\nTo: <" + ROOM.encode() + b">\r\n",
            b"From: <sip:alice@home.com\r\n\r\nContent-Type: text/plain\r\n\r\nHi",
            b"From: \xff\xfe\r\n\r\n\r\n\r\nHi",
            cpim("Hi", from_="<sip:alice@home.com>\r\nFrom: <sip:bob@home.com>"),
            cpim("Hi", headers=("x" * 9000,)),
            cpim("Hi").replace(b"\r\n\r\n", b"\r\n"),
        ):
            self.alice.say(wrong)
            (told,) = self.alice.told()
            self.assertIn(told.partition(" ")[0], {"400", "403", "413"}, wrong[:40])
            self.assertNobodyHears()
        self.assertAllIsWell()
        self.assertEqual(len(self.room.participants), 4)

    def test_who_wants_no_answer_gets_none(self) -> None:
        self.alice.say(b"hello", headers=((b"Failure-Report", b"no"),))
        self.assertEqual(self.alice.told(), [])
        self.assertNobodyHears()
