"""What a server publishes of its rooms, and when (RFC 3903)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from msrpconf.conference import publishing
from msrpconf.conference.publishing import MAX_OUTSTANDING, Publisher, PublishSettings
from msrpconf.conference.static import StaticRoom, StaticRooms
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from tests.conference.support import ROOM, ControlTestCase
from tests.documents import read, text, users

ALICE, BOB = "sip:alice@home.com", "sip:bob@home.com"
SENT_OUT = Reason("SIP", 200, "Closed")


class PublishingTestCase(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[Request, Deferred[Response]]] = []
        self.publisher = Publisher(
            self.registry,
            self.registry.conferences,
            self.clock,
            self.send,
            self.control.new_tag,
            PublishSettings(interval=0.5, expires=600),
        )
        self.publisher.start()

    def send(self, request: Request) -> Deferred[Response]:
        answer: Deferred[Response] = Deferred()
        self.asked.append((request, answer))
        return answer

    def published(self, seconds: float = 0.5) -> Request:
        """The one PUBLISH that goes out within so many seconds; it is not answered."""
        self.clock.advance(seconds)
        ((request, _),) = self.asked
        return request

    def answer(self, status: int = 200, **headers: str) -> None:
        ((request, answer),) = self.asked
        self.asked.clear()
        if status == 200:
            headers.setdefault("SIP_ETag", "e1")
            headers.setdefault("Expires", request.headers.get("Expires") or "")
        fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        answer.callback(request.response(status, headers=fields))

    def assertQuiet(self, seconds: float = 50) -> None:
        self.clock.pump([1.0] * int(seconds))
        self.assertEqual([request.method for request, _ in self.asked], [])


class PublisherTests(PublishingTestCase):
    def test_a_room_from_its_beginning_to_its_end(self) -> None:
        self.joined("alice")
        self.assertEqual(self.asked, [])
        first = self.published()
        self.assertEqual((first.method, str(first.uri)), ("PUBLISH", ROOM))
        headers = first.headers
        self.assertEqual(headers.get("Event"), "conference")
        self.assertEqual(headers.get("Expires"), "600")
        self.assertEqual(headers.get("Content-Type"), "application/conference-info+xml")
        self.assertNotIn("SIP-If-Match", headers)
        self.assertEqual(list(users(read(first.body))), [ALICE])
        self.answer(SIP_ETag="dx200xyz")
        self.assertQuiet()

        self.joined("bob")
        second = self.published()
        self.assertEqual(second.headers.get("SIP-If-Match"), "dx200xyz")
        self.assertEqual(second.call_id, first.call_id)
        self.assertGreater(second.cseq.number, first.cseq.number)
        root = read(second.body)
        self.assertEqual((root.get("state"), list(users(root))), ("full", [ALICE, BOB]))
        self.assertEqual(root.get("version"), "2")
        self.answer(SIP_ETag="ce8")

        self.control.close_room(ROOM, SENT_OUT)
        empty = self.published()
        self.assertEqual(empty.headers.get("SIP-If-Match"), "ce8")
        root = read(empty.body)
        self.assertEqual(users(root), {})
        self.assertEqual(text(root, "conference-state/user-count"), "0")
        self.answer(SIP_ETag="ce9")
        removal = self.published()
        self.assertEqual(removal.headers.get("Expires"), "0")
        self.assertEqual(removal.headers.get("SIP-If-Match"), "ce9")
        self.assertEqual(removal.body, b"")
        self.answer(SIP_ETag="ce10", Expires="0")
        self.assertEqual(len(self.publisher), 0)
        self.assertQuiet()

    def test_what_happens_at_once_is_one(self) -> None:
        for index in range(20):
            self.joined(f"u{index}")
        self.assertEqual(len(users(read(self.published().body))), 20)
        self.joined("late")
        self.clock.advance(5)
        self.assertEqual(len(self.asked), 1, "one at a time")
        self.answer()
        self.assertEqual(len(users(read(self.published(0.6).body))), 21)

    def test_no_more_often_than_it_may(self) -> None:
        self.joined("alice")
        self.published()
        self.answer()
        times = []
        for index in range(30):
            self.room.subject = f"Subject {index}"
            self.clock.advance(0.1)
            if self.asked:
                times.append(self.clock.seconds())
                self.answer()
        self.assertLessEqual(len(times), 7)

    def test_a_publication_is_refreshed_before_it_expires(self) -> None:
        self.joined("alice")
        self.published()
        self.answer(Expires="100")
        self.clock.advance(40)  # a probe at 60 s would be a refresh as well
        self.room.subject = "Fish"
        self.published(0.5)
        self.answer(Expires="50")
        self.assertQuiet(39)
        refresh = self.published(2)
        self.assertEqual(refresh.body, b"")
        self.assertEqual(refresh.headers.get("SIP-If-Match"), "e1")
        self.assertNotIn("Content-Type", refresh.headers)
        self.answer(SIP_ETag="e2", Expires="100")
        self.clock.advance(90)
        self.assertEqual(self.published(0).headers.get("SIP-If-Match"), "e2")

    def test_one_of_all_rooms_is_refreshed_each_minute(self) -> None:
        """So that an agent which was started again is soon told of all."""
        static = StaticRooms(self.control)
        for name in ("one", "two"):
            static.put(StaticRoom(f"sip:{name}@conf.example.com"))
            self.published(1)
            self.answer()
        asked = []
        for _ in range(4):
            for _ in range(60):
                self.clock.advance(1)
                if self.asked:
                    request = self.published(0)
                    self.assertEqual(request.body, b"")
                    asked.append(request.uri.key[4:7])
                    self.answer()
        self.assertIn(asked, (["one", "two", "one"], ["one", "two", "one", "two"]))

    def test_what_the_agent_has_forgotten_is_published_anew_with_all_others(self) -> None:
        static = StaticRooms(self.control)
        for name in ("one", "two"):
            static.put(StaticRoom(f"sip:{name}@conf.example.com"))
        self.clock.advance(1)
        for request, answer in list(self.asked):
            answer.callback(ok(request, f"tag-{request.uri}".replace(":", "").replace("@", "")))
        self.asked.clear()
        self.clock.advance(1)
        room = self.registry.rooms["sip:one@conf.example.com"]
        room.subject = "Fish"
        self.clock.advance(1)
        self.answer(412)
        self.clock.advance(1)
        self.assertEqual(
            {
                (str(each.uri), each.headers.get("SIP-If-Match"), bool(each.body))
                for each, _ in self.asked
            },
            {
                ("sip:one@conf.example.com", None, True),
                ("sip:two@conf.example.com", "tag-siptwoconf.example.com", True),
            },
        )
        for request, answer in list(self.asked):
            self.asked.remove((request, answer))
            matched = "SIP-If-Match" in request.headers
            answer.callback(request.response(412) if matched else ok(request, "new"))
        self.clock.advance(1)
        ((request, _),) = self.asked
        self.assertEqual(str(request.uri), "sip:two@conf.example.com")
        self.assertNotIn("SIP-If-Match", request.headers)

    def test_too_brief(self) -> None:
        self.joined("alice")
        self.published()
        self.answer(423, Min_Expires="3600")
        self.assertEqual(self.published(1.5).headers.get("Expires"), "3600")

    def test_an_agent_that_is_away_is_asked_again_and_again(self) -> None:
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.joined("alice")
        self.clock.advance(1)
        waits = []
        for _ in range(9):
            since = self.clock.seconds()
            ((_request, answer),) = self.asked
            self.asked.clear()
            answer.errback(ChannelClosed("no focus is connected to this server"))
            while not self.asked:
                self.clock.advance(0.5)
            waits.append(self.clock.seconds() - since)
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.answer()
        lines = [formatEvent(each) for each in events if "PUBLISH" in formatEvent(each)]
        self.assertEqual(len(lines), 2)
        self.assertIn("503 no focus is connected", lines[0])
        self.assertIn(ROOM, lines[0])
        self.assertIn("accepted again", lines[1])

    def test_the_agent_says_when(self) -> None:
        self.joined("alice")
        self.published()
        self.answer(503, Retry_After="120")
        self.clock.pump([1.0] * 118)
        self.assertEqual(self.asked, [])
        self.published(3)

    def test_who_will_never_take_it_is_asked_seldom(self) -> None:
        self.joined("alice")
        self.published()
        self.answer(489)
        self.clock.pump([1.0] * 58)
        self.published(3)

    def test_without_an_agent_one_room_asks_each_minute(self) -> None:
        static = StaticRooms(self.control)
        for name in ("one", "two", "three"):
            static.put(StaticRoom(f"sip:{name}@conf.example.com"))
        self.clock.advance(1)
        for request, answer in list(self.asked):
            answer.callback(request.response(501, "No presence agent is known to this focus"))
        self.asked.clear()
        for room in self.registry.rooms.values():
            room.subject = "Fish"
        self.clock.pump([1.0] * 58)
        self.assertEqual(self.asked, [])
        for _ in range(3):
            self.clock.pump([1.0] * 60)
            self.answer(501)
        static.remove("sip:two@conf.example.com")
        self.clock.advance(0.5)
        self.assertEqual((len(self.publisher), self.asked), (2, []))
        self.clock.pump([1.0] * 60)
        self.answer()  # there is one now
        self.clock.advance(1)
        self.assertIn("sip:three@conf.example.com", {str(each.uri) for each, _ in self.asked})

    def test_a_room_that_is_too_large_is_published_without_its_users(self) -> None:
        self.patch(publishing, "MAX_OCTETS", 2000)
        for index in range(10):
            self.joined(f"u{index}")
        root = read(self.published().body)
        self.assertEqual(users(root), {})
        self.assertEqual(text(root, "conference-state/user-count"), "10")

    def test_a_way_that_is_there_again_is_used_at_once(self) -> None:
        self.joined("alice")
        self.published()
        self.answer(503, Retry_After="120")
        self.publisher.publish_all()
        self.published()

    def test_a_room_that_ends_while_the_agent_is_away(self) -> None:
        alice = self.joined("alice")
        self.published()
        self.answer()
        alice.send("BYE")
        for _ in range(3):
            self.published(10)
            self.answer(503)
        self.assertEqual(len(self.publisher), 0)
        self.assertQuiet()

    def test_a_room_that_ends_before_it_was_published(self) -> None:
        self.joined("alice").send("BYE")
        self.assertQuiet()
        self.assertEqual(len(self.publisher), 0)

    def test_a_room_that_is_made_again_while_its_end_is_told(self) -> None:
        alice = self.joined("alice")
        self.published()
        self.answer(SIP_ETag="a")
        alice.send("BYE")
        self.published()
        self.joined("bob")
        self.answer(SIP_ETag="b")
        again = self.published()
        self.assertEqual(again.headers.get("SIP-If-Match"), "b")
        self.assertEqual(list(users(read(again.body))), [BOB])

    def test_the_server_stops(self) -> None:
        StaticRooms(self.control).put(StaticRoom(ROOM))
        self.published()
        self.answer()
        done: list[None] = []
        self.publisher.finish().addCallback(done.append)
        self.published()
        self.answer()
        self.assertEqual(self.published().headers.get("Expires"), "0")
        self.assertEqual(done, [])
        self.answer()
        self.assertEqual(done, [None])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.room.subject = "Fish"
        self.assertQuiet()

    def test_a_server_that_stops_waits_no_longer_than_it_wants(self) -> None:
        StaticRooms(self.control).put(StaticRoom(ROOM))
        self.published()
        done: list[None] = []
        self.publisher.finish().addCallback(done.append)
        self.publisher.stop()
        self.assertEqual(done, [None])
        self.answer()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_more_at_a_time_than_a_bound(self) -> None:
        static = StaticRooms(self.control)
        for index in range(MAX_OUTSTANDING + 5):
            static.put(StaticRoom(f"sip:r{index}@conf.example.com"))
        self.clock.advance(1)
        self.assertEqual(len(self.asked), MAX_OUTSTANDING)
        request, answer = self.asked[0]
        answer.callback(ok(request, "x"))
        self.assertEqual(len(self.asked), MAX_OUTSTANDING + 1)

    def test_nor_more_octets(self) -> None:
        self.patch(publishing, "MAX_OUTSTANDING_OCTETS", 1)
        static = StaticRooms(self.control)
        for index in range(3):
            static.put(StaticRoom(f"sip:r{index}@conf.example.com"))
        self.clock.advance(1)
        for number in (1, 2, 3):
            self.assertEqual(len(self.asked), number)
            request, answer = self.asked[-1]
            answer.callback(ok(request, "x"))


def ok(request: Request, etag: str) -> Response:
    return request.response(200, headers=(("SIP-ETag", etag), ("Expires", "600")))
