"""Owners are told who watches their rooms, and decide about it (RFC 3857, RFC 5025)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from click import ClickException
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread

from msrpconf.commands.managing import Server
from tests.scenarios.test_watch_rules import WENDY, WatchRuleTestCase
from tests.scenarios.watching import WatcherWire
from tests.scenarios.wire import header
from tests.watcher_documents import Table
from tests.xcap.support import document, rule

Story = Generator[Deferred[Any], Any, None]

WINFO = "conference.winfo"
BY_RULE = rule(WENDY, "confirm")


class WatcherInfoTests(WatchRuleTestCase):
    server_keys = f"""{WatchRuleTestCase.server_keys}
        [management]
        listen = "127.0.0.1:0"
        """

    def owner(self) -> WatcherWire:
        """Alice, who joined first, with her own eyes on the room."""
        alice = self.watcher("alice")
        alice.domain, alice.call_id = "example.com", "owner@example.com"
        self.table = Table()
        return alice

    @inlineCallbacks
    def told(self, alice: WatcherWire) -> Generator[Deferred[Any], Any, list[str]]:
        """What the owner is told next."""
        news = yield alice.news()
        self.assertEqual(header(news.text, "Event"), WINFO)
        self.assertEqual(header(news.text, "Content-Type"), "application/watcherinfo+xml")
        return self.table.apply(news.body.encode())

    @inlineCallbacks
    def asks(self, wendy: WatcherWire, expires: int = 3600) -> Story:
        """Wendy subscribes, and has to wait."""
        wendy.subscribe(expires)
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        wendy.to_tag = header(answer, "To").partition(";tag=")[2]
        news = yield wendy.news()
        self.assertTrue(news.state.startswith("pending;"), news.state)

    @inlineCallbacks
    def test_who_asks_to_watch_and_is_let_in_and_sent_away(self) -> Story:
        yield self.joins("alice")
        yield self.written()
        yield self.xcap("PUT", document(BY_RULE))
        alice = self.owner()
        news = yield alice.begin(event=WINFO)
        self.assertEqual(self.table.apply(news.body.encode()), ["full:"])
        self.assertEqual(self.table.resource, "sip:lobby@127.0.0.1")
        wendy = self.watcher()
        yield self.asks(wendy)
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy pending by subscribe"])
        # She says so in the document of her room, and both learn what she has said.
        yield self.xcap("PUT", document(rule(WENDY, "allow")))
        news = yield wendy.news()
        self.assertTrue(news.state.startswith("active;"), news.state)
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy active by approved"])
        yield self.xcap("PUT", document(rule(WENDY, "block")))
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=rejected")
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy terminated by rejected"])

    @inlineCallbacks
    def test_who_went_away_before_the_owner_came(self) -> Story:
        yield self.joins("alice")
        yield self.written()
        yield self.xcap("PUT", document(BY_RULE))
        wendy = self.watcher()
        yield self.asks(wendy)
        wendy.subscribe(0)
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=timeout")
        alice = self.owner()
        news = yield alice.begin(event=WINFO)
        told = self.table.apply(news.body.encode())
        self.assertEqual(told, ["full:", "wendy waiting by timeout"])
        yield self.xcap("PUT", document(rule(WENDY, "allow")))
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy terminated by approved"])

    @inlineCallbacks
    def test_the_operator_decides(self) -> Story:
        yield self.joins("alice")
        yield self.written()
        yield self.xcap("PUT", document(rule("<identity><many/></identity>", "confirm")))
        alice = self.owner()
        yield alice.begin(event=WINFO)
        self.table.version = 0
        wendy = self.watcher()
        yield self.asks(wendy)
        yield self.told(alice)
        listed = yield self.ask("GET", "watchers")
        (watcher,) = listed["watchers"]
        self.assertEqual(
            [watcher[name] for name in ("user", "status", "event")],
            ["sip:wendy@home.com", "pending", "subscribe"],
        )
        self.assertEqual(set(self.table.rows), {watcher["id"]})
        done = yield self.ask("PATCH", "watchers", "wendy@home.com", body={"allowed": True})
        self.assertEqual(done, {"user": "sip:wendy@home.com", "handling": "allow", "barred": None})
        news = yield wendy.news()
        self.assertTrue(news.state.startswith("active;"), news.state)
        self.assertEqual(len(news.users), 1)
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy active by approved"])
        done = yield self.ask("PATCH", "watchers", "wendy@home.com", body={"allowed": False})
        self.assertEqual(done["handling"], "block")
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=rejected")
        told = yield self.told(alice)
        self.assertEqual(told, ["partial:", "wendy terminated by rejected"])
        try:
            yield self.ask("PATCH", "watchers", "*@home.com", body={"allowed": True})
        except ClickException as error:
            self.assertIn("is a whole domain", error.message)
        else:
            self.fail("a whole domain was taken for a user")

    def ask(self, method: str, *path: str, body: object = None) -> Deferred[Any]:
        """Have the operator ask about the room, as the command line does."""
        assert self.service.management is not None
        (url,) = self.service.management.listening
        server = Server(url, None, as_json=True)
        room = "v1", "rooms", "sip:lobby@127.0.0.1"
        return deferToThread(server.ask, method, *room, *path, body=body)

    @inlineCallbacks
    def test_who_is_no_owner(self) -> Story:
        yield self.joins("alice")
        yield self.joins("bob")
        bob = self.watcher("bob")
        bob.domain = "example.com"
        bob.subscribe(event=WINFO)
        answer = yield bob.next()
        self.assertTrue(
            answer.startswith("SIP/2.0 403 Only owners may see who watches the room here;"), answer
        )
        bob.subscribe(event=f"{WINFO}.winfo")
        answer = yield bob.next()
        self.assertTrue(answer.startswith("SIP/2.0 489 "), answer)

    @inlineCallbacks
    def test_the_room_ends(self) -> Story:
        chat = yield self.joins("alice")
        alice = self.owner()
        yield alice.begin(event=WINFO)
        yield chat.leave()
        news = yield alice.news()
        self.assertEqual(news.state, "terminated;reason=noresource")
