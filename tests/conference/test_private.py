"""Private messages (RFC 7701 §6.2)."""

from __future__ import annotations

from tests.conference.support import MORE, ROOM, TEXT_TYPES, Client, cpim
from tests.conference.talk import TalkTestCase

BOTH = "chatroom:nickname private-messages"
TO_BOB = ("<sip:bob@home.com>",)


class PrivateTestCase(TalkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice.send("BYE")
        self.bob.send("BYE")
        self.alice = self.joined("alice", attributes=BOTH)
        self.alice2 = self.joined("alice", "2", attributes=BOTH)
        self.bob = self.joined("bob", attributes=BOTH)
        self.bob2 = self.joined("bob", "2", attributes=BOTH)
        self.erin = self.joined("erin")
        self.others = (self.alice2, self.bob, self.bob2, self.carol, self.dave, self.erin)

    def heard_by(self, *clients: Client) -> None:
        """These, and nobody else, heard one message; Alice was told that all is well."""
        self.assertEqual(self.alice.told(), ["200 OK"])
        for each in self.others:
            self.assertEqual(len(each.hears()), each in clients, each.call_id)


class PrivateTests(PrivateTestCase):
    def test_to_all_devices_and_the_senders_others(self) -> None:
        message = cpim("psst", to=TO_BOB)
        self.alice.say(message)
        (heard,) = self.bob.hears()
        self.assertEqual(heard.body, message)
        (heard,) = self.alice2.hears()
        self.assertEqual(heard.body, message)
        self.assertEqual(len(self.bob2.hears()), 1)
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertNobodyHears()
        self.assertEqual((self.room.messages, self.room.private_messages), (0, 1))

    def test_without_copies(self) -> None:
        self.configure(private_copies=False)
        self.alice.say(cpim("psst", to=TO_BOB))
        self.heard_by(self.bob, self.bob2)

    def test_the_recipients_names(self) -> None:
        frank = self.client("frank", attributes=BOTH)
        frank.headers += (
            ("P-Asserted-Identity", "<sip:frank@ims.example.com>"),
            ("P-Asserted-Identity", "<tel:+15551234>"),
        )
        frank.join()
        for to in (
            "<sip:frank@ims.example.com>",
            '"F" <sip:frank@IMS.example.com;transport=tcp>',
            "<tel:+1-555-1234>",
            "<im:frank@home.com>",
            "sip:frank@home.com",
        ):
            self.alice.say(cpim("psst", to=(to,)))
            self.assertEqual(self.alice.told(), ["200 OK"], to)
            self.assertEqual(len(frank.hears()), 1, to)

    def test_nobody_of_that_name(self) -> None:
        for to in ("<sip:zoe@home.com>", "<sip:conf2@conf.example.com>", "<nonsense:>"):
            self.alice.say(cpim("psst", to=(to,)))
            self.assertRefused(404, "CPIM To")

    def test_who_has_left_is_nobody(self) -> None:
        for each in (self.bob, self.bob2):
            each.send("BYE")
        self.others = (self.alice2, self.carol, self.dave, self.erin)
        self.alice.say(cpim("psst", to=TO_BOB))
        self.assertRefused(404, "CPIM To")

    def test_who_could_not_tell_it_from_others(self) -> None:
        text = self.joined("tom", types=TEXT_TYPES, attributes=BOTH)
        for name in ("erin", "carol", "tom"):
            self.alice.say(cpim("psst", to=(f"<sip:{name}@home.com>",)))
            self.assertRefused(428, "does not know private messages")
        self.assertEqual(text.hears(), [])

    def test_several(self) -> None:
        self.alice.say(cpim("psst", to=(*TO_BOB, f"<{ROOM}>")))
        self.assertRefused(403, "must be one")

    def test_switched_off(self) -> None:
        self.configure(private_messages=False)
        self.alice.say(cpim("psst", to=TO_BOB))
        self.assertRefused(403, "are off")
        self.assertNotIn(b"private", self.client("zoe").invite().body)

    def test_to_oneself(self) -> None:
        self.alice.say(cpim("note", to=("<sip:alice@home.com>",)))
        self.heard_by(self.alice2)
        self.alice2.send("BYE")
        self.others = (self.bob, self.bob2, self.carol, self.dave, self.erin)
        self.alice.say(cpim("note", to=("<sip:alice@home.com>",)))
        self.assertRefused(404, "yourself")

    def test_who_is_away(self) -> None:
        for each in (self.bob, self.bob2):
            each.connected.vanishes()
        self.others = (self.alice2, self.carol, self.dave, self.erin)
        self.alice.say(cpim("psst", to=TO_BOB))
        self.assertRefused(408, "no connection")

    def test_what_the_recipient_cannot_show(self) -> None:
        zoe = self.joined(
            "zoe", types="message/cpim", attributes=f"{BOTH}\naccept-wrapped-types:text/plain"
        )
        self.alice.say(cpim("x", to=("<sip:zoe@home.com>",), content_type="image/png"))
        self.assertRefused(415, "image/png")
        self.assertEqual(zoe.hears(), [])

    def test_who_is_congested(self) -> None:
        """Also where the sender's other device could take its copy."""
        for each in (self.bob, self.bob2):
            each.connected.connection.pauseProducing()
        while not (self.bob.session.congested and self.bob2.session.congested):
            self.alice.say(cpim("x" * 5000))
            self.alice.told()
            for each in self.others:
                if each not in (self.bob, self.bob2):
                    each.hears()
        self.others = (self.alice2, self.carol, self.dave, self.erin)
        self.alice.say(cpim("psst", to=TO_BOB))
        self.assertRefused(408, "congested")

    def test_in_chunks(self) -> None:
        message = cpim("psst " * 1000, to=TO_BOB)
        total = len(message)
        self.alice.say(message[:2500], byte_range=f"1-*/{total}", flag=MORE)
        self.alice.say(message[2500:], byte_range=f"2501-*/{total}")
        self.assertEqual(self.alice.told(), ["200 OK", "200 OK"])
        for each in (self.bob, self.bob2, self.alice2):
            self.assertEqual(each.hears_whole(), [("message/cpim", message)])
        self.assertNobodyHears()

    def test_the_report_says_which_message_it_was(self) -> None:
        message = cpim("psst", from_="Alice <sip:alice@home.com>", to=TO_BOB)
        self.alice.say(message, headers=((b"Success-Report", b"yes"),))
        answer, report = self.alice.connected.hears()
        self.assertEqual((answer.text, report.text), ("200 OK", "REPORT"))
        self.assertEqual(report.head.content_type, b"message/cpim")
        self.assertEqual(
            report.body.split(b"\r\n")[:2],
            [b"From: Alice <sip:alice@home.com>", b"To: <sip:bob@home.com>"],
        )
        # The same of a message whose head does not come at once.
        wanted = ((b"Success-Report", b"yes"),)
        self.alice.say(message[:20], "m2", "1-*/*", MORE, headers=wanted)
        self.alice.say(message[20:], "m2", "21-*/*", headers=wanted)
        *_, again = self.alice.connected.hears()
        self.assertEqual((again.text, again.body), ("REPORT", report.body))
        self.alice.say(cpim("all"), headers=((b"Success-Report", b"yes"),))
        _, report = self.alice.connected.hears()
        self.assertEqual(report.body, b"", "a regular message needs none")


class AnonymousTests(PrivateTestCase):
    """Who wants to be anonymous has a URI of its own, and no other (RFC 7701 §5.2)."""

    def anonymous(self, name: str, device: str = "") -> Client:
        client = self.client(name, device, attributes=BOTH)
        client.headers += (
            ("P-Asserted-Identity", f"<sip:{name}@home.com>"),
            ("Privacy", "id"),
        )
        return client.join()

    def test_can_be_spoken_to(self) -> None:
        zoe = self.anonymous("zoe")
        uri = zoe.participant.identity.uri
        self.assertRegex(uri, r"\Asip:anonymous-[0-9a-f]{12}@anonymous\.invalid\Z")
        self.alice.say(cpim("psst", to=(f"<{uri}>",)))
        self.assertEqual(len(zoe.hears()), 1)
        self.heard_by(self.alice2)
        self.alice.say(cpim("psst", to=("<sip:zoe@home.com>",)))
        self.assertRefused(404, "CPIM To")
        self.assertEqual(zoe.hears(), [])

    def test_what_it_writes_does_not_betray_it(self) -> None:
        zoe = self.anonymous("zoe")
        uri = zoe.participant.identity.uri
        for from_ in (
            "Zoe <sip:zoe@home.com>",
            "<sip:anonymous@anonymous.invalid>",
            f"<{uri}>",
        ):
            message = cpim("Hi", from_=from_, headers=("NS: x <urn:x>", "x.Y: z"))
            zoe.say(message)
            self.assertEqual(zoe.told(), ["200 OK"])
            (heard,) = self.bob.hears()
            self.assertEqual(heard.body, message.replace(from_.encode(), f"<{uri}>".encode()))
            self.assertEqual(self.carol.hears_text(), [f"{uri[4:]}: Hi"])

    def test_two_of_them_are_two(self) -> None:
        zoe, yves = self.anonymous("zoe"), self.anonymous("yves")
        again = self.anonymous("zoe", "2")
        self.assertNotEqual(zoe.participant.identity.uri, yves.participant.identity.uri)
        self.assertEqual(zoe.participant.identity.uri, again.participant.identity.uri)

    def test_who_is_known_to_nobody(self) -> None:
        from_ = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag='
        one = self.client("one", attributes=BOTH, from_=f"{from_}one").join()
        two = self.client("two", attributes=BOTH, from_=f"{from_}two").join()
        identities = one.participant.identity, two.participant.identity
        self.assertNotEqual(identities[0].key, identities[1].key)
        one.say(cpim("psst", from_="<sip:anonymous@anonymous.invalid>", to=TO_BOB))
        self.assertEqual(one.told(), ["200 OK"])
        (heard,) = self.bob.hears()
        self.assertIn(identities[0].uri.encode(), heard.body)

    def test_a_uri_that_the_client_made(self) -> None:
        own = "sip:x1y2@anonymous.invalid"
        zoe = self.client("zoe", attributes=BOTH, from_=f"<{own}>;tag=z").join()
        self.assertEqual(zoe.participant.identity.uri, own)
        yves = self.client("yves", attributes=BOTH, from_=f"<{own}>;tag=y")
        yves.headers += (("P-Asserted-Identity", "<sip:yves@home.com>"),)
        yves.join()
        self.assertNotEqual(yves.participant.identity.uri, own)

    def test_rcs_names_the_sender_by_the_anonymous_uri(self) -> None:
        """Who is not anonymous is shown by its own URI, which is what it means by it."""
        self.alice.say(cpim("Hi", from_="<sip:anonymous@anonymous.invalid>"))
        self.assertEqual(self.alice.told(), ["200 OK"])
        (heard,) = self.bob.hears()
        self.assertTrue(heard.body.startswith(b"From: <sip:alice@home.com>\r\n"), heard.body)
        self.assertEqual(self.carol.hears_text(), ["alice@home.com: Hi"])

    def test_from_by_a_prefix(self) -> None:
        message = cpim(
            "Hi",
            from_=None,
            headers=(
                "NS: c <urn:ietf:params:cpim-headers:>",
                "c.From: <sip:anonymous@anonymous.invalid>",
            ),
        )
        self.alice.say(message)
        self.assertEqual(self.alice.told(), ["200 OK"])
        (heard,) = self.bob.hears()
        self.assertTrue(heard.body.startswith(b"From: <sip:alice@home.com>\r\n"), heard.body)
        self.assertNotIn(b"anonymous", heard.body)
