"""What a presence agent knows again after a restart, and what it does without its database."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from sqlalchemy import delete
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher

from msrpconf.conference.roles import Role, Roles
from msrpconf.conference.static import StaticRoom
from msrpconf.config import Config
from msrpconf.services import published_presence
from msrpconf.services.apart import make_apart
from msrpconf.services.compose import make_service
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.kept import Content, KeptStore
from msrpconf.storage.rooms import RoomStore
from msrpconf.storage.schema import kept
from msrpconf.xcap.store import DocumentStore, index_of
from tests.conference.test_published import body
from tests.processes import PATIENCE
from tests.scenarios.watching import WatcherWire
from tests.scenarios.wire import SipWire, header
from tests.services.test_presence_apart import ALICE, ROOM, PresenceApartCase
from tests.xcap.support import document, rule

Story = Generator[Deferred[Any], Any, None]


class MemoryCase(PresenceApartCase):
    """A presence agent by itself, with a database, that is stopped and started again."""

    refresh = 5.0

    def setUp(self) -> Any:
        self.path = self.mktemp()
        return super().setUp()

    def start(self, more: str = "") -> Any:
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        database = f'[database]\nurl = "sqlite:///{self.path}"\nrefresh = {self.refresh}'
        return super().start(database)

    def observe(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("msrpconf"):
            self.lines.append(formatEvent(event))

    @inlineCallbacks
    def restart(self) -> Story:
        """The same process again, at other ports: watchers are told where they are."""
        yield self.service.stopService()
        yield self.start()

    @inlineCallbacks
    def until(self, condition: Any) -> Story:
        clock: Any = reactor
        latest = clock.seconds() + PATIENCE
        while not condition():
            self.assertLess(clock.seconds(), latest)
            yield deferLater(clock, 0.01)

    @property
    def store(self) -> KeptStore:
        memory = self.service.presence.agent.memory
        assert memory is not None
        return memory._store


class RestartTests(MemoryCase):
    @inlineCallbacks
    def test_an_entity_tag_holds(self) -> Story:
        answer = yield self.publish(body=body(ALICE))
        etag = header(answer, "SIP-ETag")
        yield self.restart()
        self.assertEqual(len(self.service.presence.states), 1)
        answer = yield self.publish(f"SIP-If-Match: {etag}", "Expires: 600")
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        answer = yield self.publish(f"SIP-If-Match: {etag}", "Expires: 600")
        self.assertTrue(answer.startswith("SIP/2.0 412 "), answer)

    @inlineCallbacks
    def test_what_has_ended_stays_so(self) -> Story:
        answer = yield self.publish(body=body(ALICE))
        wendy = self.watcher("wendy")
        yield self.begin(wendy)
        wendy.subscribe(expires=0)
        yield wendy.next()
        yield wendy.next()
        yield self.publish(f"SIP-If-Match: {header(answer, 'SIP-ETag')}", "Expires: 0")
        yield self.restart()
        self.assertEqual(len(self.service.presence.states), 0)
        self.assertEqual(len(self.service.presence.agent.notifier), 0)

    @inlineCallbacks
    def test_it_is_awaited_and_comes(self) -> Story:
        yield self.publish(body=body(ALICE))
        alice = self.watcher("alice")
        before = yield self.begin(alice)
        yield self.lose_publications()
        self.assertIn("awaited: 1 rooms", "\n".join(self.lines))
        self.assertEqual(len(self.service.presence.agent.notifier), 1)
        yield self.publish(body=body(ALICE))
        news = yield alice.news()
        self.assertEqual((news.kind, list(news.users)), ("full", ["sip:alice@home.com"]))
        self.assertGreater(news.version, before.version)

    @inlineCallbacks
    def test_it_is_awaited_and_does_not_come(self) -> Story:
        self.patch(published_presence, "PATIENCE", 0.2)
        yield self.publish(body=body(ALICE))
        alice = self.watcher("alice")
        yield self.begin(alice)
        yield self.lose_publications()
        news = yield alice.news()
        self.assertEqual(news.state, "terminated;reason=noresource")
        yield self.until(lambda: not self.store.waiting)

    @inlineCallbacks
    def lose_publications(self) -> Story:
        """Start again without what was published: it was too late to be written."""
        yield self.service.stopService()
        database = Database(f"sqlite:///{self.path}", reactor)
        yield database.start()
        publications = delete(kept).where(kept.c.kind == "publication")
        gone = yield database.run(lambda connection: connection.execute(publications).rowcount)
        self.assertEqual(gone, 1)
        yield database.stop()
        yield self.start()

    @inlineCallbacks
    def test_what_cannot_be_read(self) -> Story:
        for kind in ("subscription", "publication", "texts", "frob"):
            content = Content(2e10, 1, lambda: b"{")
            self.store.put(kind, "x", lambda content=content: content)  # type: ignore[misc]
        yield self.restart()
        lost = [line for line in self.lines if "that was kept is lost: " in line]
        self.assertEqual(len(lost), 4)
        yield self.until(lambda: not self.store.waiting)
        self.lines.clear()
        yield self.restart()
        self.assertEqual([line for line in self.lines if "that was kept is lost: " in line], [])


class RightsTests(MemoryCase):
    """Who may watch is in the database, as it is for a presence agent beside the rooms."""

    refresh = 0.1

    @inlineCallbacks
    def test_documents_and_records(self) -> Story:
        database = self.service._database
        assert database is not None
        yield self.publish(body=body(ALICE))
        wendy, bob = self.watcher("wendy"), self.watcher("bob")
        # The documents of a room that has none allow everybody.
        news = yield self.begin(wendy)
        self.assertEqual(list(news.users), ["sip:alice@home.com"])
        yield self.begin(bob)
        store = DocumentStore(database, "east")
        only_bob = document(rule('<identity><one id="sip:bob@home.com"/></identity>'))
        yield store.change(ROOM, index_of(ROOM), lambda before: only_bob, False)
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=rejected")
        # Nor may who is banned there by the operator.
        roles = Roles({"sip:bob@home.com": Role.BANNED, "sip:olga@home.com": Role.OWNER})
        yield RoomStore(database, lambda: 0.0).create(StaticRoom(ROOM, roles=roles))
        news = yield bob.news()
        self.assertEqual(news.state, "terminated;reason=rejected")
        # An owner sees who watches, and need not be in the room.
        olga = self.watcher("olga")
        news = yield olga.begin(event="conference.winfo")
        self.assertTrue(news.state.startswith("active"), news.state)
        eve = self.watcher("eve")
        eve.subscribe(event="conference.winfo")
        answer = yield eve.next()
        self.assertTrue(answer.startswith("SIP/2.0 403 "), answer)


class AwayTests(MemoryCase):
    @inlineCallbacks
    def test_watchers_are_told_all_the_same(self) -> Story:
        database = self.service._database
        assert database is not None
        answer = yield self.publish(body=body())
        run = database.run
        self.patch(database, "run", lambda work: fail(DatabaseError("database x: gone")))
        alice = self.watcher("alice")
        yield self.begin(alice)
        yield self.publish(f"SIP-If-Match: {header(answer, 'SIP-ETag')}", body=body(ALICE))
        news = yield alice.news()
        self.assertEqual(list(news.users), ["sip:alice@home.com"])
        yield self.until(lambda: any("gone" in line for line in self.lines))
        self.assertEqual(len([line for line in self.lines if "gone" in line]), 1)
        self.patch(database, "run", run)
        # What could not be written is written at the end.
        yield self.restart()
        news = yield alice.news()
        self.assertEqual((news.kind, list(news.users)), ("full", ["sip:alice@home.com"]))


class BesideAFocusTests(MemoryCase):
    """A presence agent beside a focus whose servers are elsewhere: another publishes to it."""

    settings = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
[focus]
[dispatcher]
servers = ["unix:/nowhere/one.sock"]
[presence]
interval = 0.1
[database]
url = "sqlite:///{path}"
"""

    @inlineCallbacks
    def start(self, more: str = "") -> Story:
        config = Config.parse(self.settings.format(path=self.path), "the test")
        config.check()
        service: Any = make_apart(config, reactor)
        self.service = service
        yield service.startService()
        self.address = "127.0.0.1", service.focus.listening[0].port
        self.focus = SipWire(self.address)
        self.wires.append(self.focus)

    @inlineCallbacks
    def test_who_watches_is_told_on(self) -> Story:
        answer = yield self.publish(body=body(ALICE))
        alice = self.watcher("alice")
        before = yield self.begin(alice)
        self.assertIn("isfocus", header(before.text, "Contact"))
        yield self.restart()
        news = yield alice.news()
        self.assertEqual((news.kind, list(news.users)), ("full", ["sip:alice@home.com"]))
        self.assertGreater(news.version, before.version)
        yield self.publish(f"SIP-If-Match: {header(answer, 'SIP-ETag')}", "Expires: 0")
        news = yield alice.news()
        self.assertEqual(news.state, "terminated;reason=noresource")


class TogetherTests(MemoryCase):
    """Focus, server and presence agent in one process, with a static room."""

    settings = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
[focus]
[server]
listen = ["tcp:127.0.0.1:0"]
[presence]
interval = 0.1
[conference]
may_change_subject = "participant"
[database]
url = "sqlite:///{path}"
"""

    @inlineCallbacks
    def start(self, more: str = "") -> Story:
        config = Config.parse(self.settings.format(path=self.path), "the test")
        config.check()
        service: Any = make_service(config, reactor)
        self.service = service
        yield service.startService()
        self.address = "127.0.0.1", service.focus.listening[0].port
        self.focus = SipWire(self.address)
        self.wires.append(self.focus)
        if not service.static_rooms.rooms:
            roles = Roles({"sip:alice@home.com": Role.OWNER})
            room = StaticRoom("sip:conf1@127.0.0.1", subject="Fish", roles=roles)
            yield service.static_rooms.create(room)

    def publish_subject(self, *more: str, subject: str = "") -> Deferred[str]:
        document = (
            '<conference-info xmlns="urn:ietf:params:xml:ns:conference-info"'
            ' entity="sip:conf1@127.0.0.1" state="partial" version="0"><conference-description>'
            f"<subject>{subject}</subject></conference-description></conference-info>"
        )
        return self.ask(
            "PUBLISH",
            "Event: conference",
            *more,
            body=document.encode() if subject else b"",
            from_="<sip:alice@home.com>;tag=1",
            to="<sip:conf1@127.0.0.1>",
            uri="sip:conf1@127.0.0.1",
        )

    def subject(self) -> str | None:
        service: Any = self.service
        subject: str | None = service.registry.rooms["sip:conf1@127.0.0.1"].subject
        return subject

    def watch(self) -> WatcherWire:
        watcher = self.watcher("alice")
        watcher.uri = "sip:conf1@127.0.0.1"
        return watcher

    @inlineCallbacks
    def test_who_watches_a_static_room_is_told_on(self) -> Story:
        alice = self.watch()
        before = yield self.begin(alice)
        yield self.restart()
        news = yield alice.news()
        self.assertEqual((news.kind, news.find("subject")), ("full", "Fish"))
        self.assertGreater(news.version, before.version)
        answer = yield self.publish_subject(subject="Tea")
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        news = yield alice.news()
        self.assertEqual((news.kind, news.find("subject")), ("partial", "Tea"))

    @inlineCallbacks
    def test_what_a_user_has_published_lasts(self) -> Story:
        answer = yield self.publish_subject(subject="Tea")
        etag = header(answer, "SIP-ETag")
        self.assertEqual(self.subject(), "Tea")
        yield self.restart()
        self.assertEqual(self.subject(), "Tea")
        answer = yield self.publish_subject(f"SIP-If-Match: {etag}", "Expires: 0")
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        self.assertEqual(self.subject(), "Fish")
        yield self.restart()
        self.assertEqual(self.subject(), "Fish")

    @inlineCallbacks
    def test_unless_somebody_else_has_changed_it(self) -> Story:
        yield self.publish_subject(subject="Tea")
        yield self.service.stopService()
        database = Database(f"sqlite:///{self.path}", reactor)
        yield database.start()
        rooms = RoomStore(database, lambda: 0.0)
        (record,) = (yield rooms.changes(-1, {})).changed
        yield rooms.change(evolve(record, subject="Cake"))
        yield database.stop()
        yield self.start()
        self.assertEqual(self.subject(), "Cake")
