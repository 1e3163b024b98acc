"""Who watches rooms through the proxy: with our presence agent, and with Kamailio's own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from msrpconf.protocols.conference_info import CONFERENCE_INFO
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Message, Response
from msrpconf.xcap.store import index_of
from tests.interop.kamailio import ROOM, ROOMS, USERS, KamailioCase, password_of
from tests.interop.proxy import PROXY
from tests.interop.watching import Watcher
from tests.scenarios.watching import News
from tests.xcap.support import document, rule

Story = Generator[Deferred[Any], Any, None]

ALICE, BOB, CAROL = (f"sip:{name}@{USERS}" for name in ("alice", "bob", "carol"))


NOWHERE = "sip:carol@10.99.99.99:5099;transport=tcp"
"""A Contact that leads nowhere, as those of clients behind a NAT do."""


class WatchingCase(KamailioCase):
    """Somebody who watches."""

    @inlineCallbacks
    def watcher(
        self, name: str, transport: str = "udp", contact: str | None = None
    ) -> Generator[Deferred[Any], Any, Watcher]:
        """A user agent that ends with the test."""
        proxy = Address(transport, PROXY, self.public)
        watcher = Watcher(name, USERS, password_of(name), proxy, contact)
        yield watcher.start()
        self.addCleanup(watcher.stop)
        return watcher


def accepts(message: Message, room: str) -> bool:
    """Whether a message is the answer to a PUBLISH of a room that was taken."""
    answer = isinstance(message, Response) and message.status == 200
    return answer and (message.cseq.method, str(message.to.uri)) == ("PUBLISH", room)


class OurPresenceTests(WatchingCase):
    """Our presence agent, beside the focus."""

    tables = "[presence]\ninterval = 0.1\n"

    @inlineCallbacks
    def follow(self, transport: str, contact: str | None = None) -> Story:
        """Carol is told who comes and goes, also after a refresh of her subscription."""
        carol = yield self.watcher("carol", transport, contact)
        alice, _ = yield self.enter("alice")
        answer = yield carol.subscribe(ROOM)
        self.assertEqual(answer.status, 200)
        news = yield carol.until(ALICE)
        self.assertEqual((news.kind, news.version), ("full", 0))
        bob, _ = yield self.enter("bob", "tcp")
        news = yield carol.next()
        self.assertEqual((news.kind, news.version), ("partial", 1))
        self.assertIn("connected", news.users[BOB])
        self.assertEqual((yield carol.subscribe(ROOM)).status, 200)
        news = yield carol.until(ALICE, BOB)
        self.assertEqual(news.kind, "full")
        yield bob.leave()
        news = yield carol.next()
        self.assertIn("disconnected", news.users[BOB])
        self.assertEqual((yield carol.subscribe(ROOM, 0)).status, 200)
        news = yield carol.next()
        self.assertIn("terminated", news.state)
        # All of it went through the proxy.
        self.assertEqual({peer.split(":")[1] for _, peer, _ in self.traced}, {PROXY})
        (asserted,) = self.came("SUBSCRIBE")[0].name_addrs("P-Asserted-Identity")
        self.assertEqual(str(asserted.uri), CAROL)
        yield alice.leave()

    def test_over_udp(self) -> Any:
        return self.follow("udp")

    def test_over_tcp(self) -> Any:
        return self.follow("tcp")

    def test_over_tcp_behind_a_nat(self) -> Any:
        return self.follow("tcp", NOWHERE)

    def test_over_udp_behind_a_nat(self) -> Any:
        return self.follow("udp", NOWHERE.partition(";")[0])


class KamailioPresenceTests(WatchingCase):
    """Kamailio's own presence agent, which is told by PUBLISH."""

    kamailio_presence = True
    # Its documents are in the table where Kamailio looks for them.
    tables = '[database]\nurl = "sqlite:///users.sqlite"\n'

    @property
    def focus_keys(self) -> str:  # type: ignore[override]
        return f'presence = "sip:{PROXY}:{self.private};transport=tcp"'

    @inlineCallbacks
    def answers(self) -> Generator[Any, Any, set[int]]:
        """The statuses that all PUBLISHes so far got."""
        statuses = set()
        for request in self.went("PUBLISH"):
            statuses.add((yield self.when_answered(request)))
        return statuses

    @inlineCallbacks
    def follow(self, transport: str, contact: str | None = None) -> Story:
        """Carol is told who comes and goes."""
        carol = yield self.watcher("carol", transport, contact)
        self.assertEqual((yield carol.subscribe(ROOM)).status, 200)
        # Nobody has told of the room yet.
        self.assertEqual((yield carol.next()).body, "")
        alice, _ = yield self.enter("alice")
        yield carol.until(ALICE)
        bob, _ = yield self.enter("bob", "tcp")
        yield carol.until(ALICE, BOB)
        self.assertEqual((yield carol.subscribe(ROOM)).status, 200)
        yield carol.until(ALICE, BOB)
        yield alice.leave()
        yield carol.until(BOB)
        yield bob.leave()
        news = yield carol.until()
        self.assertEqual(news.find("user-count"), "0")
        yield self.room_is_gone(ROOM)
        # Each NOTIFY said all of it, also the last one.
        told = [News(bytes(each).decode()).kind for each in carol.requests if each.body]
        self.assertEqual(set(told), {"full"})
        last = News(bytes(carol.requests[-1]).decode())
        self.assertEqual(last.users, {})
        self.assertEqual((yield self.answers()), {200})
        # What was told was told of one publication, which went from tag to tag.
        tags = [each.headers.get("SIP-If-Match") for each in self.went("PUBLISH")]
        self.assertEqual(tags.count(None), 1)
        self.assertEqual(len(set(tags)), len(tags))
        self.assertEqual(self.went("PUBLISH")[-1].headers.get("Expires"), "0")

    def room_is_told(self, room: str) -> Deferred[Any]:
        """Done when Kamailio knows of a room."""
        return self.when(lambda message: accepts(message, room))

    def room_is_gone(self, room: str) -> Deferred[Any]:
        """Done when Kamailio knows that a room has ended."""
        return self.when(
            lambda message: accepts(message, room) and message.headers.get("Expires") == "0"
        )

    def test_over_udp(self) -> Any:
        return self.follow("udp")

    def test_over_tcp_behind_a_nat(self) -> Any:
        return self.follow("tcp", NOWHERE)

    @inlineCallbacks
    def test_who_is_blocked(self) -> Story:
        """By a document that we have written, and Kamailio reads."""
        yield self.enter("alice")
        documents, room = self.service.documents, self.service.registry.rooms[ROOM]
        assert documents is not None
        blocked = document(
            rule(f'<identity><one id="{CAROL}"/></identity>', "block", "a"),
            rule("<identity><many/></identity>", "allow", "b"),
        )
        yield documents.change(room, index_of(room.key), lambda _: blocked)
        carol = yield self.watcher("carol")
        answer = yield carol.subscribe(ROOM)
        self.assertEqual((answer.status, answer.reason), (403, "You may not watch this room"))
        bob = yield self.watcher("bob")
        self.assertEqual((yield bob.subscribe(ROOM)).status, 200)
        yield bob.until(ALICE)

    @inlineCallbacks
    def test_an_agent_that_was_started_again(self) -> Story:
        alice, _ = yield self.enter("alice")
        carol = yield self.watcher("carol")
        yield carol.subscribe(ROOM)
        yield carol.until(ALICE)
        yield self.kamailio.stop()
        yield self.kamailio.start()
        bob, _ = yield self.enter("bob")
        again = yield self.watcher("carol")
        yield again.subscribe(ROOM)
        yield again.until(ALICE, BOB)
        self.assertEqual((yield self.answers()), {200, 412})
        for each in (alice, bob):
            yield each.leave()

    @inlineCallbacks
    def test_many_rooms_at_once(self) -> Story:
        """With what is written in memory, processes of Kamailio are not in each other's way."""
        agent = self.agent("alice", "tcp")
        rooms = [f"sip:room-{number}@{ROOMS}" for number in range(24)]
        chats = yield gatherResults([agent.join(room) for room in rooms])
        for room in rooms:
            yield self.room_is_told(room)
        yield gatherResults([chat.leave() for chat in chats])
        for room in rooms:
            yield self.room_is_gone(room)
        self.assertEqual((yield self.answers()), {200})

    @inlineCallbacks
    def test_nobody_else_publishes(self) -> Story:
        carol = yield self.watcher("carol")
        headers = [("Event", "conference"), ("Content-Type", CONFERENCE_INFO), ("Expires", "60")]
        _, answer = yield carol.send("PUBLISH", ROOM, headers, b"<conference-info/>")
        self.assertEqual(answer.status, 403)
        self.assertIn("published by the conference server", answer.reason)
