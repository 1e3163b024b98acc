"""Messages in chunks, whole and broken off (RFC 7701 §6.1, §6.4)."""

from __future__ import annotations

from tests.conference.support import (
    ABORTED,
    COMPLETE,
    MORE,
    Client,
    cpim,
)
from tests.conference.talk import TalkTestCase


class ChunkTests(TalkTestCase):
    """A message in chunks: the chunks go on as they come, to who has the ones before."""

    def test_chunks_as_they_come(self) -> None:
        message = cpim(300 * "a" + 300 * "b")
        first, second = message[:-300], message[-300:]
        self.alice.say(first, byte_range=f"1-*/{len(message)}", flag=MORE)
        (heard,) = self.bob.hears()
        self.assertEqual((heard.body, heard.flag), (first, MORE))
        self.assertEqual(heard.head.byte_range.total, len(message))
        (text,) = self.carol.hears()
        self.assertEqual(text.body, b"alice@home.com: " + 300 * b"a")
        self.assertEqual(bytes(text.head.byte_range), b"1-316/616")

        self.alice.say(second, byte_range=f"{len(first) + 1}-*/{len(message)}")
        (rest,) = self.bob.hears()
        self.assertEqual((rest.body, rest.flag), (second, COMPLETE))
        self.assertEqual(rest.head.message_id, heard.head.message_id)
        self.assertEqual(rest.head.byte_range.start, len(first) + 1)
        (text,) = self.carol.hears()
        self.assertEqual(text.body, 300 * b"b")
        self.assertEqual(bytes(text.head.byte_range), b"317-616/616")
        self.assertEqual(self.alice.told(), ["200 OK", "200 OK"])

    def test_a_total_that_is_not_known(self) -> None:
        message = cpim("Hi, all")
        self.alice.say(message[:-4], byte_range="1-*/*", flag=MORE)
        self.alice.say(message[-4:], byte_range=f"{len(message) - 3}-*/*")
        self.assertEqual(self.bob.hears_whole(), [("message/cpim", message)])
        self.assertEqual(
            self.carol.hears_whole(), [("text/plain; charset=utf-8", b"alice@home.com: Hi, all")]
        )

    def test_a_total_that_is_not_true(self) -> None:
        """It must not make a Byte-Range that the others cannot read."""
        message = cpim("Hi, all")
        for total in (1, 10, len(message) - 5, 10**6):
            self.alice.say(message[:-4], byte_range=f"1-*/{total}", flag=MORE)
            self.alice.say(message[-4:], byte_range=f"{len(message) - 3}-*/{total}")
            for each in self.others:
                frames = each.hears()
                self.assertEqual(len(frames), 2)
                last = frames[-1].head.byte_range
                self.assertEqual(last.total, last.start + 3, (each.name, total))

    def test_a_head_over_several_chunks(self) -> None:
        message = cpim("Hi, all")
        for start in range(0, len(message), 20):
            chunk = message[start : start + 20]
            last = start + 20 >= len(message)
            self.alice.say(chunk, byte_range=f"{start + 1}-*/*", flag=COMPLETE if last else MORE)
        self.assertEqual(self.bob.hears_whole(), [("message/cpim", message)])
        self.assertEqual(
            self.carol.hears_whole(), [("text/plain; charset=utf-8", b"alice@home.com: Hi, all")]
        )

    def test_a_head_over_several_chunks_that_is_wrong(self) -> None:
        message = cpim("Hi, all", from_="<sip:bob@home.com>")
        self.alice.say(message[:30], byte_range="1-*/*", flag=MORE)
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.alice.say(message[30:], byte_range="31-*/*")
        self.assertRefused(403, "From is not yours")
        self.assertAllIsWell()

    def test_a_head_that_never_ends(self) -> None:
        self.alice.say(b"From: <sip:alice@home.com>\r\n", byte_range="1-*/*", flag=MORE)
        answers = self.alice.told()
        line = b"X-Filler: " + 1000 * b"x" + b"\r\n"
        start = 29
        while answers == ["200 OK"]:
            self.assertLess(start, 20000)
            self.alice.say(line, byte_range=f"{start}-*/*", flag=MORE)
            start += len(line)
            answers = self.alice.told()
        self.assertTrue(answers[0].startswith("413 "), answers)
        self.assertNobodyHears()

    def test_a_head_that_breaks_off(self) -> None:
        for flag, answer in ((COMPLETE, "400"), (ABORTED, "200")):
            self.alice.say(b"From: <sip:alice@home.com>\r\n", byte_range="1-*/*", flag=MORE)
            self.alice.say(b"To:", byte_range="29-*/*", flag=flag)
            _, told = self.alice.told()
            self.assertEqual(told[:3], answer)
            self.assertNobodyHears()
        self.assertAllIsWell()

    def test_a_sender_that_vanishes_with_its_head(self) -> None:
        message = cpim("Hi, all")
        for end, heard in ((30, []), (len(message), [MORE, ABORTED])):
            self.alice.say(message[:20], byte_range="1-*/*", flag=MORE)
            self.alice.say(message[20:end], byte_range="21-*/*", flag=MORE)
            self.alice.connected.vanishes()
            self.assertEqual([frame.flag for frame in self.bob.hears()], heard)
            self.alice.connect()

    def test_nobody_can_write_over_the_head(self) -> None:
        """RFC 4975 §7.3.1: the last chunk counts; but whose words they are was checked."""
        message = cpim("Hi, all")
        forged = cpim("Hi, all", from_="<sip:bob@home.com>")
        self.alice.say(message, byte_range="1-*/*", flag=MORE)
        self.alice.say(forged, byte_range="1-*/*", flag=MORE)
        self.alice.say(b"!", byte_range=f"{len(message) + 1}-*/*")
        heard = b"".join(frame.body for frame in self.bob.hears())
        self.assertNotIn(b"bob", heard)

    def test_who_comes_later_does_not_get_the_rest(self) -> None:
        message = cpim(600 * "a")
        self.alice.say(message[:300], byte_range="1-*/*", flag=MORE)
        erin = self.joined("erin")
        self.alice.say(message[300:], byte_range="301-*/*")
        self.assertEqual(erin.hears(), [])
        self.assertEqual(self.bob.hears_whole(), [("message/cpim", message)])

    def test_who_was_away_does_not_get_the_rest(self) -> None:
        """A message with a hole is worth nothing: it is ended."""
        message = cpim(900 * "a")
        self.alice.say(message[:300], byte_range="1-*/*", flag=MORE)
        self.bob.connected.vanishes()
        self.bob.connect()
        self.alice.say(message[300:600], byte_range="301-*/*", flag=MORE)
        self.alice.say(message[600:], byte_range="601-*/*")
        (end,) = self.bob.hears()
        self.assertEqual((end.flag, end.body), (ABORTED, b""))
        self.assertEqual(len(self.carol.hears_whole()), 1)
        self.assertEqual(self.room.undelivered, 1)

    def test_who_leaves_is_missed_by_nobody(self) -> None:
        message = cpim(600 * "a")
        self.alice.say(message[:300], byte_range="1-*/*", flag=MORE)
        self.bob.send("BYE")
        self.alice.say(message[300:], byte_range="301-*/*")
        self.assertEqual(len(self.carol.hears_whole()), 1)
        self.assertEqual(len(self.dave.hears_whole()), 1)

    def test_messages_may_be_mixed(self) -> None:
        one, two = cpim(600 * "1"), cpim(600 * "2")
        self.alice.say(one[:300], "one", "1-*/*", MORE)
        self.alice.say(two[:400], "two", "1-*/*", MORE)
        self.alice.say(one[300:], "one", "301-*/*")
        self.alice.say(two[400:], "two", "401-*/*")
        self.assertEqual(self.bob.hears_whole(), [("message/cpim", one), ("message/cpim", two)])
        self.assertEqual(len(self.carol.hears_whole()), 2)

    def test_text_in_chunks(self) -> None:
        self.carol.say(b"Hi, ", byte_range="1-*/7", flag=MORE, content_type="text/plain")
        self.carol.say(b"all", byte_range="5-*/7", content_type="text/plain")
        self.assertEqual(self.dave.hears_whole(), [("text/plain", b"carol@home.com: Hi, all")])
        ((content_type, body),) = self.bob.hears_whole()
        self.assertEqual(content_type, "message/cpim")
        self.assertTrue(body.endswith(b"\r\n\r\nContent-Type: text/plain\r\n\r\nHi, all"), body)


class EndingTests(TalkTestCase):
    """A message that does not come to its end, for its sender or for one who hears."""

    def begin(self) -> bytes:
        message = cpim(600 * "a")
        self.alice.say(message[:400], byte_range=f"1-*/{len(message)}", flag=MORE)
        for each in self.others:
            (heard,) = each.hears()
            self.assertIs(heard.flag, MORE)
        return message

    def assertAborted(self, position: int) -> None:
        """Bob and the others are told that it ends before `position` of it."""
        shift = len("alice@home.com: ") - cpim("").__len__()
        for each, start in ((self.bob, position), (self.carol, position + shift)):
            (heard,) = each.hears()
            self.assertIs(heard.flag, ABORTED)
            self.assertEqual(heard.body, b"")
            self.assertEqual(heard.head.byte_range.start, start)

    def test_the_sender_aborts(self) -> None:
        self.begin()
        self.alice.say(b"", byte_range="401-*/*", flag=ABORTED)
        self.assertAborted(401)
        self.assertAllIsWell()

    def test_the_sender_aborts_at_once(self) -> None:
        self.alice.say(cpim("Hi"), flag=ABORTED)
        self.assertNobodyHears()

    def test_the_sender_vanishes(self) -> None:
        self.begin()
        self.alice.connected.vanishes()
        self.assertAborted(401)

    def test_the_sender_leaves(self) -> None:
        self.begin()
        self.alice.send("BYE")
        self.assertAborted(401)

    def test_the_sender_falls_silent(self) -> None:
        """The chunk reception timer of RFC 7701 §6.1."""
        self.begin()
        self.clock.advance(539)
        self.assertNobodyHears()
        self.clock.advance(2)
        self.assertAborted(401)

    def test_the_sender_sends_too_much(self) -> None:
        self.begin()
        self.alice.say(b"x", byte_range="401-*/1000001", flag=MORE)
        self.assertAborted(401)
        answers = self.alice.told()
        self.assertTrue(answers[-1].startswith("413 "), answers)
        self.assertAllIsWell()

    def test_a_recipient_does_not_want_it(self) -> None:
        """413 ends it for who said so, also what waits already (RFC 4975 §10.5)."""
        message = cpim(60000 * "a")
        for refuses in (self.bob, self.carol):
            self.alice.say(message[:400], byte_range=f"1-*/{len(message)}", flag=MORE)
            (first,) = refuses.hears()
            refuses.connected.connection.pauseProducing()
            self.alice.say(message[400:20000], byte_range="401-*/*", flag=MORE)
            refuses.responds(first, "413 Not wanted")
            refuses.connected.connection.resumeProducing()
            (end,) = refuses.hears()
            self.assertEqual((end.flag, end.body), (ABORTED, b""))
            self.alice.say(message[20000:], byte_range="20001-*/*")
            self.assertEqual(refuses.hears(), [])
            whole = self.dave.hears_whole()[-1][1]
            self.assertEqual(len(whole), 60016)
            for each in self.others:
                each.hears()
            self.assertAllIsWell()
            for each in self.others:
                each.hears()

    def test_a_report_says_so(self) -> None:
        message = self.begin()
        self.alice.say(message[400:500], byte_range="401-*/*", flag=MORE)
        (chunk,) = self.bob.hears()
        message_id = chunk.head.message_id
        path = chunk.head.from_path
        for status, end in ((b"000 200 OK", 0), (b"000 413 No", 1), (b"000 413 No", 0)):
            self.bob.connected.says(
                b"MSRP abcd REPORT\r\nTo-Path: %b\r\nFrom-Path: %b\r\nMessage-ID: %b\r\n"
                b"Byte-Range: 1-500/*\r\nStatus: %b\r\n-------abcd$\r\n"
                % (path, chunk.head.to_path, message_id, status)
            )
            self.assertEqual([each.flag for each in self.bob.hears()], end * [ABORTED])

    def test_what_is_under_way_is_known_as_long_as_it_is(self) -> None:
        message = self.begin()
        self.assertEqual(len(self.room.transfers), 1)
        self.alice.say(message[400:], byte_range="401-*/*")
        self.assertEqual(self.room.transfers, {})
        for each in self.others:
            each.hears()
        self.begin()
        self.alice.connected.vanishes()
        self.assertEqual(self.room.transfers, {})

    def stall(self, client: Client) -> None:
        """The client reads nothing any more, and its queue is filled to the last message."""
        client.connected.connection.pauseProducing()
        limit = self.settings.limits.mark
        for size in (16000, 1000, 100):
            while client.session.queued + size + 600 < limit:
                self.alice.say(cpim(size * "f"))
        for each in (self.alice, *self.others):
            if each is not client:
                each.connected.hears()

    def test_a_full_queue_is_its_owners_problem(self) -> None:
        self.stall(self.bob)
        self.assertEqual(self.room.undelivered, 0)
        self.alice.say(cpim(1000 * "m"))
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertEqual(self.room.undelivered, 1)
        for each in (self.carol, self.dave):
            self.assertEqual(each.hears_text(), ["alice@home.com: " + 1000 * "m"])
        self.bob.connected.connection.resumeProducing()
        whole = self.bob.hears_whole()
        self.assertNotIn(b"m" * 1000, b"".join(body for _, body in whole))

    def test_a_queue_that_fills_up_within_a_message_ends_it(self) -> None:
        limit = self.settings.limits.queue_octets
        self.bob.connected.connection.pauseProducing()
        message = cpim(2 * limit * "m")
        step = 10000
        for start in range(0, len(message), step):
            last = start + step >= len(message)
            self.alice.say(
                message[start : start + step],
                byte_range=f"{start + 1}-*/{len(message)}",
                flag=COMPLETE if last else MORE,
            )
            self.carol.connected.clock.advance(0)
        (whole,) = self.carol.hears_whole()
        self.assertEqual(whole[1], b"alice@home.com: " + 2 * limit * b"m")
        self.assertLess(self.bob.session.queued, limit + 1000)
        self.assertEqual(self.room.undelivered, 1)
        self.bob.connected.connection.resumeProducing()
        frames = self.bob.hears()
        *some, end = frames
        self.assertIs(end.flag, ABORTED)
        self.assertEqual(end.head.byte_range.start, sum(len(frame.body) for frame in some) + 1)
        self.assertAllIsWell()
        self.assertEqual(self.bob.connected.transport.disconnecting, False)
