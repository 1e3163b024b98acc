"""Owners say by XCAP who may watch their rooms, and watchers notice (RFC 5025, RFC 4825)."""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from msrpconf.protocols.sip.uri import parse_uri
from tests.scenarios.test_presence import ALICE, PresenceTestCase
from tests.scenarios.wire import header
from tests.services.xcap.support import AUTH_POLICY, ELEMENT, at, basic
from tests.xcap.support import document, rule

Story = Generator[Deferred[Any], Any, None]

WENDY = '<identity><one id="sip:wendy@home.com"/></identity>'


class WatchRuleTestCase(PresenceTestCase):
    """A server whose owners have their rooms' documents by XCAP."""

    server_keys = """
        [presence]
        interval = 0.1
        winfo_interval = 0.1
        min_expires = 2
        [database]
        url = "sqlite://"
        [xcap]
        listen = ["tcp:127.0.0.1:0"]
        [xcap.users]
        "sip:alice@example.com" = "secret"
        "sip:bob@example.com" = "secret"
        """

    @inlineCallbacks
    def xcap(
        self,
        method: str,
        body: bytes,
        selector: str | None = None,
        user: str = "alice@example.com",
    ) -> Generator[Deferred[Any], Any, int]:
        """A request about the room's document, or an element of it; the status of the answer."""
        assert self.service.xcap is not None
        (root,) = self.service.xcap.listening
        place = f"{root}/pres-rules/users/{parse_uri(self.room()).key}/index"
        url = place if selector is None else at(selector, document=place)
        kind = AUTH_POLICY if selector is None else ELEMENT
        headers = Headers({"Authorization": [basic(user)[15:]], "Content-Type": [kind]})
        clock: Any = reactor
        producer: Any = FileBodyProducer(BytesIO(body))
        response = yield Agent(clock).request(method.encode(), url.encode(), headers, producer)
        yield readBody(response)
        return int(response.code)

    @inlineCallbacks
    def written(self) -> Story:
        """The documents of rooms that came or went are written, a moment after that."""
        documents = self.service.documents
        assert documents is not None
        while documents._due or documents._lock.locked:
            yield self.pause(0.01)


class WatchRuleTests(WatchRuleTestCase):
    @inlineCallbacks
    def test_who_is_not_allowed_any_more(self) -> Story:
        yield self.joins("alice")
        yield self.written()
        wendy = self.watcher()
        news = yield wendy.begin()
        self.assertEqual(news.users, {ALICE: "full connected"})
        # The first to join owns the room: Alice lets nobody watch but Bob.
        only_bob = document(rule('<identity><one id="sip:bob@example.com"/></identity>'))
        status = yield self.xcap("PUT", only_bob)
        self.assertEqual(status, 200)
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=rejected")
        self.assertEqual(news.body, "")
        # Also not another time.
        wendy.call_id, wendy.to_tag = "again@home.com", ""
        wendy.subscribe()
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 403 "), answer)
        # Then she is named in the rule, too, and may.
        one = b'<one id="sip:wendy@home.com"/>'
        path = 'cp:ruleset/cp:rule/cp:conditions/cp:identity/cp:one[@id="sip:wendy@home.com"]'
        status = yield self.xcap("PUT", one, path)
        self.assertEqual(status, 201)
        wendy.call_id, wendy.to_tag = "last@home.com", ""
        news = yield wendy.begin()
        self.assertEqual(news.users, {ALICE: "full connected"})

    @inlineCallbacks
    def test_who_has_to_wait_and_is_let_in(self) -> Story:
        yield self.joins("alice")
        yield self.written()
        status = yield self.xcap("PUT", document(rule(WENDY, "confirm")))
        self.assertEqual(status, 200)
        wendy = self.watcher()
        wendy.subscribe()
        answer = yield wendy.next()
        self.assertRegex(answer, r"^SIP/2\.0 20[02] ")
        wendy.to_tag = header(answer, "To").partition(";tag=")[2]
        news = yield wendy.news()
        self.assertTrue(news.state.startswith("pending;"), news.state)
        self.assertEqual(news.body, "")
        status = yield self.xcap("PUT", document(rule(WENDY, "allow")))
        self.assertEqual(status, 200)
        news = yield wendy.news()
        self.assertTrue(news.state.startswith("active;"), news.state)
        self.assertEqual(news.users, {ALICE: "full connected"})

    @inlineCallbacks
    def test_who_does_not_own_the_room(self) -> Story:
        yield self.joins("alice")
        yield self.joins("bob")
        status = yield self.xcap("PUT", document(), user="bob@example.com")
        self.assertEqual(status, 403)

    @inlineCallbacks
    def test_the_document_ends_with_the_room(self) -> Story:
        alice = yield self.joins("alice")
        yield self.written()
        yield self.xcap("PUT", document())
        yield alice.leave()
        yield self.written()
        yield self.joins("alice")
        yield self.written()
        wendy = self.watcher()
        news = yield wendy.begin()
        self.assertEqual(news.users, {ALICE: "full connected"})
