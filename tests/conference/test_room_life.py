"""What a room does by itself: nicknames, notices, history, notifications, limits."""

from __future__ import annotations

from msrpconf.conference.imdn import MAX_OCTETS as MAX_IMDN
from msrpconf.conference.info import LINGER
from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import COMPLETE, MORE, ROOM, TEXT_TYPES, Client, cpim
from tests.conference.talk import TalkTestCase

IMDN = "message/imdn+xml"


def notices(client: Client) -> list[str]:
    """What the room itself said since the last time."""
    said = []
    for frame in client.connected.hears():
        if frame.text == "SEND":
            text = frame.body.decode()
            if text.startswith(f"From: <{ROOM}>\r\nTo: <{ROOM}>\r\n"):
                assert "agp.Message-Type: status\r\n" in text
                said.append(text.rpartition("\r\n\r\n")[2])
            elif text.startswith("*** "):
                said.append(text[4:])
    return said


class NicknameTests(TalkTestCase):
    def takes(self, client: Client, nickname: str) -> str:
        path = client.session.local_path.decode()
        client.connected.says(
            f"MSRP nick1234 NICKNAME\r\nTo-Path: {path}\r\nFrom-Path: {client.path}\r\n"
            f"{nickname}-------nick1234$\r\n".encode()
        )
        (told,) = client.told()
        return told

    def test_shown_where_the_room_writes_the_name(self) -> None:
        self.assertEqual(self.takes(self.carol, 'Use-Nickname: "Caro"\r\n'), "200 OK")
        self.carol.say(b"Hi", content_type="text/plain")
        self.assertEqual(self.dave.hears_text(), ["Caro <carol@home.com>: Hi"])
        (heard,) = self.bob.hears()
        self.assertTrue(heard.body.startswith(b"From: Caro <sip:carol@home.com>\r\n"))

    def test_bare_as_some_clients_have_it(self) -> None:
        self.assertEqual(self.takes(self.alice, "Use-Nickname: Ally\r\n"), "200 OK")
        self.assertEqual(self.takes(self.bob, 'Use-Nickname: "ALLY"\r\n')[:3], "425")

    def test_refused(self) -> None:
        for wrong, status in (
            ("", "424"),
            ('Use-Nickname: "x\r\n', "424"),
            ('Use-Nickname: "Admin"\r\n', "425"),
            ('Use-Nickname: "bob@home.com"\r\n', "425"),
            ('Use-Nickname: "sip:Bob@home.com"\r\n', "425"),
        ):
            self.assertEqual(self.takes(self.alice, wrong)[:3], status, wrong)
        self.assertIsNone(self.room.nicknames.of(self.alice.participant))
        self.assertEqual(self.takes(self.bob, 'Use-Nickname: "bob@home.com"\r\n'), "200 OK")

    def test_switched_off(self) -> None:
        self.configure(nicknames=False)
        self.assertEqual(self.takes(self.alice, 'Use-Nickname: "Ally"\r\n')[:3], "403")

    def test_kept_for_who_comes_back(self) -> None:
        self.takes(self.carol, 'Use-Nickname: "Caro"\r\n')
        self.carol.send("BYE")
        self.assertEqual(self.takes(self.dave, 'Use-Nickname: "caro"\r\n')[:3], "425")
        carol = self.joined("carol", types=TEXT_TYPES)
        carol.say(b"Hi", content_type="text/plain")
        self.assertEqual(self.dave.hears_text(), ["Caro <carol@home.com>: Hi"])

    def test_but_not_for_ever(self) -> None:
        self.takes(self.carol, 'Use-Nickname: "Caro"\r\n')
        self.carol.send("BYE")
        self.clock.advance(300)
        self.assertEqual(self.takes(self.dave, 'Use-Nickname: "caro"\r\n'), "200 OK")

    def test_the_room_says_so(self) -> None:
        self.configure(notices=True)
        self.takes(self.alice, 'Use-Nickname: "Ally"\r\n')
        self.takes(self.alice, 'Use-Nickname: "Ally"\r\n')
        self.takes(self.alice, 'Use-Nickname: ""\r\n')
        said = [
            "alice@home.com is now Ally <alice@home.com>",
            "Ally <alice@home.com> is now alice@home.com",
        ]
        for each in self.others:
            self.assertEqual(notices(each), said)
        self.assertEqual(notices(self.alice), [])


class NoticeTests(TalkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.configure(notices=True)

    def test_who_comes_and_goes(self) -> None:
        erin = self.joined("erin")
        for each in self.others:
            self.assertEqual(notices(each), ["erin@home.com has joined"])
        self.assertEqual(notices(erin), [])
        again = self.joined("erin", "2")
        erin.send("BYE")
        self.assertEqual(notices(self.bob), [], "one user, whatever the devices")
        again.send("BYE")
        self.assertEqual(notices(self.bob), ["erin@home.com has left"])

    def test_who_never_was_in_does_not_leave(self) -> None:
        self.client("erin").invite()
        self.clock.advance(5)
        self.assertEqual(notices(self.bob), [])

    def test_quiet_in_a_crowd(self) -> None:
        self.configure(notices_up_to=4)
        erin = self.joined("erin")
        self.assertEqual(notices(self.bob), [])
        erin.send("BYE")
        self.assertEqual(notices(self.bob), ["erin@home.com has left"])

    def test_the_last_word_is_not_a_notice(self) -> None:
        self.control.close(Reason("SIP", 503, "The end"))
        self.assertEqual(notices(self.bob), [])


class HistoryTests(TalkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room.history.limit(3, 3600)

    def test_who_comes_gets_what_was_said(self) -> None:
        self.alice.say(cpim("first"))
        self.carol.say(b"second", content_type="text/plain")
        long = cpim("third " * 1000, from_="Alice <sip:alice@home.com>")
        self.alice.say(long[:3000], "m2", f"1-*/{len(long)}", MORE)
        self.alice.say(long[3000:], "m2", f"3001-*/{len(long)}")
        erin = self.client("erin")
        erin.invite()
        erin.send("ACK")
        erin.connect_and_hear()
        first, second, third = (frame.body.decode() for frame in erin.heard)
        self.assertEqual(
            first,
            "From: <sip:alice@home.com>\r\n"
            f"To: <{ROOM}>\r\n"
            "DateTime: 2026-11-23T09:00:00Z\r\n"
            "NS: agp <urn:ag-projects:xml:ns:cpim>\r\n"
            "agp.Message-Type: history\r\n"
            "\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "\r\n"
            "first",
        )
        self.assertIn("DateTime: 1970-01-01T00:00:00Z\r\n", second)
        self.assertTrue(third.endswith("\r\n\r\n" + "third " * 1000))

    def test_as_text(self) -> None:
        self.alice.say(cpim("first"))
        erin = self.client("erin", types=TEXT_TYPES)
        erin.invite()
        erin.connect_and_hear()
        self.assertEqual(
            [frame.body for frame in erin.heard],
            [b"[1970-01-01 00:00 UTC] alice@home.com: first"],
        )

    def test_only_regular_messages_and_only_the_last(self) -> None:
        self.alice.say(cpim("zero"))
        for number in range(3):
            self.alice.say(cpim(f"{number}"))
            self.alice.say(cpim("<x/>", content_type="application/im-iscomposing+xml"))
            self.alice.say(cpim("psst", to=("<sip:bob@home.com>",)))
        self.alice.say(cpim("x" * 70000))
        said = [each.content for each in self.room.history.messages()]
        self.assertEqual(said, [b"0", b"1", b"2"])

    def test_not_older_than_the_room_wants(self) -> None:
        self.alice.say(cpim("old"))
        self.clock.advance(1800)
        self.alice.say(cpim("new"))
        self.clock.advance(1801)
        self.assertEqual([each.content for each in self.room.history.messages()], [b"new"])

    def test_not_again_for_who_was_away(self) -> None:
        self.alice.say(cpim("first"))
        self.carol.hears()
        self.carol.connected.vanishes()
        self.carol.connect()
        self.assertEqual(self.carol.hears(), [])

    def test_no_more_than_can_wait_to_be_written(self) -> None:
        """Who comes is not told to be too slow before it could read anything."""
        self.room.history.limit(1000, 3600)
        for number in range(20):
            self.alice.say(cpim(f"{number:02}" + "x" * 9998))
            self.carol.hears()
        erin = self.client("erin")
        erin.invite()
        erin.send("ACK")
        erin.connect_and_hear()
        self.assertEqual([frame.body[-10000:][:2] for frame in erin.heard], [b"17", b"18", b"19"])
        self.assertFalse(erin.session.congested)
        self.assertEqual(self.room.undelivered, 0)

    def test_heads_count_as_well(self) -> None:
        self.room.history.limit(1000, 3600)
        content_type = "text/plain\r\nContent-Filler: " + 8000 * "x"
        for _ in range(600):
            self.alice.say(cpim("x", content_type=content_type))
        self.assertLessEqual(len(self.room.history), 4194304 // 8000)

    def test_in_many_pieces(self) -> None:
        message = cpim("x" * 300)
        for at, octet in enumerate(message, 1):
            flag = COMPLETE if at == len(message) else MORE
            self.alice.say(bytes((octet,)), byte_range=f"{at}-{at}/{len(message)}", flag=flag)
        (said,) = self.room.history.messages()
        self.assertEqual(said.content, b"x" * 300)

    def test_octets_are_bounded(self) -> None:
        self.room.history.limit(1000, 3600)
        for _ in range(70):
            self.alice.say(cpim("x" * 65000))
        octets = sum(len(each.content) for each in self.room.history.messages())
        self.assertLessEqual(octets, 4194304)
        self.assertGreater(octets, 4100000)


class NotificationTests(TalkTestCase):
    """A notification concerns who sent the message, and nobody else (RFC 5438)."""

    def setUp(self) -> None:
        super().setUp()
        headers = ("NS: imdn <urn:ietf:params:imdn>", "imdn.Message-ID: 34jk324j")
        self.alice.say(cpim("Hi", headers=headers))
        self.alice.told()
        for each in self.others:
            each.hears()

    def notification(self, message_id: str = "34jk324j", padding: str = "") -> bytes:
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\r\n'
            '<imdn xmlns="urn:ietf:params:xml:ns:imdn">\r\n'
            f"<message-id>{message_id}</message-id>\r\n{padding}"
            "<display-notification><status><displayed/></status></display-notification></imdn>"
        )
        return cpim(
            document,
            from_="<sip:bob@home.com>",
            to=("<sip:anonymous@anonymous.invalid>",),
            content_type=IMDN,
        )

    def test_goes_to_the_sender_of_the_original(self) -> None:
        zoe = self.joined("alice", "2", types=f"message/cpim {IMDN}")
        self.bob.say(self.notification())
        self.assertEqual(self.bob.told(), ["200 OK"])
        (heard,) = zoe.hears()
        self.assertEqual(heard.body, self.notification())
        self.assertEqual(self.alice.hears(), [], "which did not say that it takes them")
        self.assertNobodyHears()

    def test_in_chunks(self) -> None:
        zoe = self.joined("alice", "2", types=f"message/cpim {IMDN}")
        message = self.notification()
        for start in range(0, len(message), 100):
            chunk = message[start : start + 100]
            last = start + 100 >= len(message)
            end = start + len(chunk)
            flag = COMPLETE if last else MORE
            self.bob.say(chunk, "n", f"{start + 1}-{end}/{len(message)}", flag)
        self.assertEqual(set(self.bob.told()), {"200 OK"})
        (heard,) = zoe.hears()
        self.assertEqual(heard.body, message)

    def test_of_nothing_that_was_sent(self) -> None:
        self.bob.say(self.notification("other"))
        self.assertRefused(404, "notification", speaker=self.bob)

    def test_malformed(self) -> None:
        for document, status in (
            (self.notification().replace(b"</imdn>", b""), 400),
            (self.notification().replace(b"<imdn ", b"<!DOCTYPE imdn><imdn "), 400),
            (self.notification().replace(b"message-id>", b"id>"), 400),
            (self.notification(padding=" " * MAX_IMDN), 400),
        ):
            self.bob.say(document)
            self.assertRefused(status, "IMDN", speaker=self.bob)

    def test_who_sent_what_is_bounded(self) -> None:
        originals = self.room.originals
        for number in range(6000):
            self.alice.say(
                cpim(
                    "x",
                    headers=("NS: imdn <urn:ietf:params:imdn>", f"imdn.Message-ID: {number}"),
                )
            )
        self.assertEqual(len(originals), 5000)
        self.assertIsNone(originals.sender_of("34jk324j"))
        self.assertEqual(originals.sender_of("5999"), "sip:alice@home.com")

    def test_of_a_private_message(self) -> None:
        zoe = self.joined("alice", "2", types=f"message/cpim {IMDN}")
        headers = ("NS: imdn <urn:ietf:params:imdn>", "imdn.Message-ID: private")
        erin = self.joined("erin", attributes="chatroom:private-messages")
        self.alice.say(cpim("psst", to=("<sip:erin@home.com>",), headers=headers))
        self.assertEqual((self.alice.told(), len(erin.hears())), (["200 OK"], 1))
        erin.say(self.notification("private").replace(b"sip:bob", b"sip:erin"))
        self.assertEqual(erin.told(), ["200 OK"])
        self.assertEqual(len(zoe.hears()), 1)
        self.assertNobodyHears()

    def test_an_identifier_is_not_taken_over(self) -> None:
        headers = ("NS: imdn <urn:ietf:params:imdn>", "imdn.Message-ID: 34jk324j")
        self.bob.say(cpim("Hi", from_="<sip:bob@home.com>", headers=headers))
        self.assertEqual(self.room.originals.sender_of("34jk324j"), "sip:alice@home.com")


class LimitTests(TalkTestCase):
    def test_who_floods_is_refused(self) -> None:
        self.configure(rate=10.0, burst=3)
        erin = self.joined("erin")
        for _ in range(4):
            erin.say(cpim("Hi", from_="<sip:erin@home.com>"))
        *taken, refused = erin.told()
        self.assertEqual(taken, 3 * ["200 OK"])
        self.assertTrue(refused.startswith("403 Too many messages: 10 per second"), refused)
        self.assertEqual(len(self.bob.hears()), 3)
        self.clock.advance(0.1)
        erin.say(cpim("Hi", from_="<sip:erin@home.com>"))
        self.assertEqual(erin.told(), ["200 OK"])

    def test_or_sent_out(self) -> None:
        self.configure(rate=10.0, burst=3, close_on_flood=True)
        erin = self.joined("erin")
        for _ in range(5):
            erin.say(cpim("Hi", from_="<sip:erin@home.com>"))
        (bye,) = self.channel.requests
        self.assertEqual(bye.method, "BYE")
        self.assertIn("Too many messages", bye.headers.get("Reason") or "")
        self.assertEqual(len(self.bob.hears()), 3)

    def test_only_what_the_room_allows(self) -> None:
        self.configure(types=("text/plain", "image/*"))
        for allowed in ("text/plain", "image/png"):
            self.alice.say(cpim("x", content_type=allowed))
            self.assertEqual(self.alice.told(), ["200 OK"])
            self.bob.hears()
        for each in (self.carol, self.dave):
            each.hears()
        self.alice.say(cpim("x", content_type="text/html"))
        self.assertRefused(415, "only text/plain image/* can be said")
        line = self.client("erin").join().line
        self.assertEqual(line.attribute("accept-wrapped-types"), "text/plain image/*")

    def test_too_large_from_the_start(self) -> None:
        self.alice.say(cpim("x" * 1000), byte_range="1-1000/1000001", flag=MORE)
        self.assertRefused(413, "1000000 octets")

    def test_not_more_than_a_client_takes(self) -> None:
        erin = self.joined("erin", attributes="max-size:500")
        self.alice.say(cpim("short"))
        self.assertEqual(len(erin.hears()), 1)
        self.alice.say(cpim("x" * 500))
        self.assertEqual(erin.hears(), [])
        self.assertEqual(len(self.bob.hears()), 2)
        self.assertEqual(self.room.undelivered, 1)

    def test_not_more_than_a_client_takes_of_what_has_no_length(self) -> None:
        erin = self.joined("erin", attributes="max-size:1000")
        message = cpim(2000 * "a")
        self.alice.say(message[:1500], byte_range="1-*/*", flag=MORE)
        self.alice.say(message[1500:], byte_range="1501-*/*")
        self.assertEqual(erin.hears(), [])
        self.assertEqual(len(self.bob.hears()), 2)


class CongestionTests(TalkTestCase):
    """A client that does not read is its own problem (RFC 7701 §6.4)."""

    def stall(self) -> None:
        self.bob.connected.connection.pauseProducing()
        while not self.bob.session.congested:
            self.alice.say(cpim("x" * 5000))
            for each in (self.alice, self.carol, self.dave):
                each.connected.hears()

    def test_others_notice_nothing_and_it_is_told(self) -> None:
        self.stall()
        self.assertLessEqual(self.bob.session.queued, self.settings.limits.mark)
        for _ in range(9):
            self.alice.say(cpim("missed"))
        self.assertEqual(self.alice.told(), 9 * ["200 OK"])
        self.assertEqual(len(self.carol.hears()), 9)
        self.assertEqual(self.room.undelivered, 10)
        self.bob.connected.connection.resumeProducing()
        *_, last = notices(self.bob)
        self.assertEqual(last, "Your connection was too slow: you missed 10 messages")
        self.assertAllIsWell()
        self.clock.advance(120)
        self.assertEqual(self.channel.requests, [])

    def test_congested_for_too_long(self) -> None:
        self.stall()
        self.clock.advance(119)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        (bye,) = self.channel.requests
        self.assertIn("did not read messages for 120 s", bye.headers.get("Reason") or "")
        self.clock.advance(LINGER)
        self.assertEqual(self.clock.getDelayedCalls()[1:], [])

    def test_a_new_path_is_a_new_beginning(self) -> None:
        """What was not read went with the old connection; nobody is sent out for that."""
        self.stall()
        self.bob.path = self.bob.path.replace(":7654", ":7655")
        self.bob.invite()
        self.bob.send("ACK")
        self.bob.connect()
        self.assertAllIsWell()
        self.clock.advance(120)
        self.assertEqual(self.channel.requests, [])

    def test_a_connection_that_breaks_is_not_congested(self) -> None:
        self.stall()
        self.bob.connected.vanishes()
        self.clock.advance(1)
        self.bob.connect()
        self.assertAllIsWell()
        self.clock.advance(120)
        self.assertEqual(self.channel.requests, [])
