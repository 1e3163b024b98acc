"""Watching a room on the wire (RFC 6665, RFC 4575): who sends what, and who is told what."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat
from tests.scenarios.embedded import EmbeddedServerTestCase, joined
from tests.scenarios.watching import News, WatcherWire
from tests.scenarios.wire import header

Story = Generator[Deferred[Any], Any, None]

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"


class PresenceTestCase(EmbeddedServerTestCase):
    server_keys = "[presence]\ninterval = 0.1\nmin_expires = 2"

    def setUp(self) -> Any:
        self.watchers: list[WatcherWire] = []
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Story:
        yield super().end_everything()
        for watcher in self.watchers:
            yield watcher.close()

    def watcher(self, name: str = "wendy", *, tcp: bool = True) -> WatcherWire:
        watcher = WatcherWire(("127.0.0.1", self.ports["udp"]), name, tcp=tcp)
        watcher.uri = self.room()
        self.watchers.append(watcher)
        return watcher

    @inlineCallbacks
    def joins(self, name: str) -> Generator[Deferred[Any], Any, Chat]:
        came: tuple[Chat, Any] = yield joined(self.agent(name), self.room())
        return came[0]

    @inlineCallbacks
    def until(
        self, watcher: WatcherWire, user: str, shown: str
    ) -> Generator[Deferred[Any], Any, News]:
        """The NOTIFY in which a user is `shown` so; those before it are in order."""
        while True:
            news: News = yield watcher.news()
            if news.users.get(user) == shown:
                return news

    def pause(self, seconds: float) -> Deferred[None]:
        clock: Any = reactor
        return deferLater(clock, seconds, lambda: None)

    @property
    def watching(self) -> int:
        """How many subscriptions there are."""
        assert self.service.presence is not None
        return len(self.service.presence.notifier)


class WatchingTests(PresenceTestCase):
    @inlineCallbacks
    def test_who_comes_and_goes(self) -> Story:
        alice = yield self.joins("alice")
        wendy = self.watcher()
        # Everything first.
        news = yield wendy.begin()
        self.assertEqual((news.kind, news.version), ("full", 0))
        self.assertEqual(news.users, {ALICE: "full connected"})
        self.assertEqual(news.state, "active;expires=3600")
        self.assertEqual(header(news.text, "Event"), "conference")
        self.assertIn("isfocus", header(news.text, "Contact"))
        # Then what changes, with versions that follow on each other.
        bob = yield self.joins("bob")
        versions = [news.version]
        while BOB not in news.users:
            news = yield wendy.news()
            versions.append(news.version)
        self.assertEqual(news.kind, "partial")
        self.assertNotIn(ALICE, news.users)
        self.assertEqual(news.users[BOB], "full connected")
        yield bob.use_nickname("Bobby")
        news = yield wendy.news()
        self.assertIn('nickname="Bobby"', news.body)
        versions.append(news.version)
        yield bob.leave()
        news = yield wendy.news()
        versions.append(news.version)
        self.assertEqual(news.users, {BOB: "full disconnected"})
        self.assertEqual(versions, list(range(len(versions))))
        # And the end of the room.
        yield alice.leave()
        while "terminated" not in news.state:
            news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=noresource")
        self.assertEqual(news.kind, "deleted")

    @inlineCallbacks
    def test_as_blink_does_it(self) -> Story:
        """Out of the dialog of its INVITE, refreshed, and with Expires 0 on leaving."""
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin()
        wendy.subscribe(3600)
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        news = yield wendy.news()
        self.assertEqual((news.kind, news.version), ("full", 1))
        wendy.subscribe(0)
        answer = yield wendy.next()
        self.assertEqual(header(answer, "Expires"), "0")
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=timeout")
        self.assertEqual(news.body, "")
        wendy.subscribe(3600)
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 481 "), answer)

    @inlineCallbacks
    def test_asked_once(self) -> Story:
        yield self.joins("alice")
        wendy = self.watcher()
        news = yield wendy.begin(expires=0)
        self.assertEqual(news.state, "terminated;reason=timeout")
        self.assertEqual(news.users, {ALICE: "full connected"})
        self.assertEqual(self.watching, 0)

    @inlineCallbacks
    def test_a_lost_notify_is_made_up_for_by_a_refresh(self) -> Story:
        """RFC 4575 §4.6: who misses a version subscribes again and gets everything."""
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin()
        yield self.joins("bob")
        yield self.until(wendy, BOB, "full connected")
        wendy.subscribe()
        answer = yield wendy.next()
        while not answer.startswith("SIP/2.0"):
            answer = yield wendy.next()
        news = yield wendy.news()
        while news.kind != "full":
            news = yield wendy.news()
        self.assertEqual(set(news.users), {ALICE, BOB})

    @inlineCallbacks
    def test_not_refreshed(self) -> Story:
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin(expires=2)
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=timeout")

    @inlineCallbacks
    def test_who_answers_481_is_told_no_more(self) -> Story:
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin()
        wendy.status = "481 Gone"
        yield self.joins("bob")
        yield wendy.news()
        yield self.pause(0.05)
        self.assertEqual(self.watching, 0)

    @inlineCallbacks
    def test_the_server_ends(self) -> Story:
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin()
        yield self.service.stopService()
        news = yield wendy.news()
        while "terminated" not in news.state:
            news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=noresource")


class LargeTests(PresenceTestCase):
    @inlineCallbacks
    def test_what_is_too_large_for_udp_comes_by_tcp(self) -> Story:
        yield self.joins("alice")
        for number in range(5):
            yield self.joins(f"guest{number}")
        wendy = self.watcher()
        news = yield wendy.begin()
        self.assertGreater(len(news.text), 1300)
        self.assertEqual(len(news.users), 6)
        self.assertEqual(wendy.came_by_tcp, 1)

    @inlineCallbacks
    def test_who_has_no_tcp_is_told_how_many(self) -> Story:
        yield self.joins("alice")
        for number in range(5):
            yield self.joins(f"guest{number}")
        wendy = self.watcher(tcp=False)
        news = yield wendy.begin()
        self.assertLess(len(news.text), 1300)
        self.assertEqual(news.kind, "full")
        self.assertEqual(news.users, {})
        self.assertEqual(news.find("user-count"), "6")


class RefusedTests(PresenceTestCase):
    @inlineCallbacks
    def refused(self, status: int, **options: Any) -> Generator[Deferred[Any], Any, str]:
        wendy = self.watcher()
        wendy.subscribe(**options)
        answer: str = yield wendy.next()
        self.assertTrue(answer.startswith(f"SIP/2.0 {status} "), answer)
        return answer

    @inlineCallbacks
    def test_refused(self) -> Story:
        yield self.refused(404)
        yield self.joins("alice")
        answer = yield self.refused(423, expires=1)
        self.assertEqual(header(answer, "Min-Expires"), "2")
        answer = yield self.refused(489, event="presence")
        self.assertEqual(header(answer, "Allow-Events"), "conference, conference.winfo, refer")
        answer = yield self.refused(406, headers=("Accept: application/pidf+xml",))
        self.assertEqual(header(answer, "Accept"), "application/conference-info+xml")
        yield self.refused(403, event="refer")
        yield self.refused(400, event="conference;max-rate=much")
        answer = yield self.refused(420, headers=("Require: eventlist",))
        self.assertEqual(header(answer, "Unsupported"), "eventlist")
        yield self.refused(415, body="<filter/>", headers=("Content-Type: application/xml",))

    @inlineCallbacks
    def test_options(self) -> Story:
        wendy = self.watcher()
        wendy.subscribe(method="OPTIONS", expires=None)
        answer = yield wendy.next()
        self.assertEqual(header(answer, "Allow-Events"), "conference, conference.winfo, refer")
        self.assertIn("SUBSCRIBE", header(answer, "Allow"))


class PublishTests(PresenceTestCase):
    @inlineCallbacks
    def test_the_owner_says_what_the_room_is_about(self) -> Story:
        yield self.joins("alice")
        wendy = self.watcher()
        yield wendy.begin()
        alice = self.watcher("alice", tcp=False)
        alice.domain, alice.call_id = "example.com", "published@example.com"
        entity = "sip:lobby@127.0.0.1"
        body = f"""
            <conference-info xmlns="urn:ietf:params:xml:ns:conference-info"
              entity="{entity}" state="partial" version="0">
            <conference-description><subject>Tea</subject></conference-description>
            </conference-info>"""
        kind = "Content-Type: application/conference-info+xml"
        alice.subscribe(600, method="PUBLISH", body=body, headers=(kind,))
        answer = yield alice.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        self.assertEqual(header(answer, "Expires"), "600")
        news = yield wendy.news()
        self.assertEqual((news.kind, news.find("subject")), ("partial", "Tea"))
        match = f"SIP-If-Match: {header(answer, 'SIP-ETag')}"
        alice.subscribe(0, method="PUBLISH", headers=(match,))
        yield alice.next()
        news = yield wendy.news()
        self.assertIsNone(news.find("subject"))
        # It is not for everybody to say.
        wendy.to_tag = ""
        wendy.subscribe(600, method="PUBLISH", body=body, headers=(kind,))
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 403 "), answer)


class SharedDialogTests(PresenceTestCase):
    @inlineCallbacks
    def test_in_the_dialog_of_a_participant(self) -> Story:
        """The NOTIFYs are numbered with what else the server sends there (RFC 6665 §4.5.2)."""
        chat = yield self.joins("alice")
        dialog = next(iter(self.service.registry.participants())).dialog
        wendy = self.watcher()
        wendy.call_id, wendy.from_tag = dialog.call_id, dialog.remote_tag or ""
        wendy.to_tag = dialog.local_tag
        wendy.name, wendy.cseq = "alice", 1000
        news = yield wendy.begin()
        self.assertEqual(news.users, {ALICE: "full connected"})
        self.assertEqual(wendy.to_tag, dialog.local_tag)
        self.assertEqual(header(news.text, "CSeq"), "1 NOTIFY")
        participant = next(iter(self.service.registry.participants()))
        self.assertEqual(participant.dialog.local_cseq, 1)
        del chat
