"""A presence agent by itself, on loopback: what it serves, and what it leaves to the focus."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from msrpconf.config import Config
from msrpconf.protocols.conference_info import CONFERENCE_INFO, Endpoint, User
from msrpconf.protocols.watcher_info import WATCHER_INFO
from msrpconf.services.presence_apart import PresenceApart
from tests.conference.test_published import body
from tests.scenarios.watching import News, WatcherWire
from tests.scenarios.wire import SipWire, header

ROOM = "sip:conf1@conf.example.com"
ALICE = User("sip:alice@home.com", endpoints=(Endpoint("sip:x@192.0.2.1", "connected"),))

Story = Generator[Deferred[Any], Any, None]

SETTINGS = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
domains = ["conf.example.com"]
{sip}
[presence]
interval = 0.1
{more}
"""


class Stream(Protocol):
    """A connection of a focus: done with the first octets that come, and when it is lost."""

    transport: Any

    def __init__(self) -> None:
        self.answer: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.answer.called:
            self.answer.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class PresenceApartCase(TestCase):
    timeout = 60
    sip = ""

    def setUp(self) -> Any:
        self.wires: list[SipWire] = []
        self.branch = 0
        self.addCleanup(self.stop)
        return self.start()

    @inlineCallbacks
    def start(self, more: str = "") -> Story:
        config = Config.parse(SETTINGS.format(sip=self.sip, more=more), "the test")
        config.check()
        self.service = PresenceApart(config, reactor)
        yield self.service.startService()
        udp, tcp = (each.port for each in self.service.endpoint.listening)
        self.address, self.stream_address = ("127.0.0.1", udp), ("127.0.0.1", tcp)
        self.focus = SipWire(self.address)
        self.wires.append(self.focus)

    @inlineCallbacks
    def stop(self) -> Story:
        yield self.service.stopService()
        for each in self.wires:
            yield each.close()

    def watcher(self, name: str) -> WatcherWire:
        watcher = WatcherWire(self.address, name, tcp=True)
        watcher.uri = ROOM
        self.wires.append(watcher)
        return watcher

    @inlineCallbacks
    def begin(self, watcher: WatcherWire) -> Generator[Any, Any, News]:
        """Subscribe; the first NOTIFY with a document: before, the rules of a room may be read."""
        news: News = yield watcher.begin()
        while news.state.startswith("pending"):
            news = yield watcher.news()
        return news

    @inlineCallbacks
    def ask(
        self,
        method: str,
        *more: str,
        body: bytes = b"",
        from_: str = f"<{ROOM}>;tag=east.1",
        to: str = f"<{ROOM}>",
        uri: str = ROOM,
    ) -> Generator[Any, Any, str]:
        """The answer to a request of a focus."""
        self.branch += 1
        type_ = ("Content-Type: application/conference-info+xml",) if body else ()
        headers = "".join(f"\n    {line}" for line in (*more, *type_))
        self.focus.send(
            f"""
    {method} {uri} SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.focus.port};rport;branch=z9hG4bK{self.branch}
    Max-Forwards: 70
    From: {from_}
    To: {to}
    Call-ID: publish-1
    CSeq: {self.branch} {method}{headers}""",
            body.decode(),
        )
        answer: str = yield self.focus.next()
        return answer

    def publish(
        self, *more: str, body: bytes = b"", from_: str = f"<{ROOM}>;tag=east.1"
    ) -> Deferred[str]:
        return self.ask("PUBLISH", "Event: conference", *more, body=body, from_=from_)


class StoryTests(PresenceApartCase):
    @inlineCallbacks
    def test_a_room_from_its_beginning_to_its_end(self) -> Story:
        wendy, alice = self.watcher("wendy"), self.watcher("alice")
        wendy.subscribe()
        answer = yield wendy.next()
        self.assertTrue(answer.startswith("SIP/2.0 404 "), answer)
        answer = yield self.publish(body=body())
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        news = yield wendy.begin()
        self.assertEqual((news.kind, news.find("user-count")), ("full", "0"))
        contact = header(news.text, "Contact")
        self.assertTrue(contact.startswith("<sip:conf1@127.0.0.1"), contact)
        self.assertNotIn("isfocus", contact)
        yield alice.begin()
        etag = header(answer, "SIP-ETag")
        answer = yield self.publish(f"SIP-If-Match: {etag}", body=body(ALICE))
        # Who is in it sees who is in it, others how many.
        news = yield alice.news()
        self.assertEqual(list(news.users), ["sip:alice@home.com"])
        news = yield wendy.news()
        self.assertEqual((news.find("user-count"), list(news.users)), ("1", []))
        etag = header(answer, "SIP-ETag")
        yield self.publish(f"SIP-If-Match: {etag}", "Expires: 0")
        for each in (wendy, alice):
            news = yield each.news()
            self.assertEqual(news.state, "terminated;reason=noresource")

    @inlineCallbacks
    def test_nobody_but_a_focus_publishes_who_is_there(self) -> Story:
        yield self.publish(body=body())
        via = "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK9"
        for more, from_ in (
            ((via,), f"<{ROOM}>;tag=1"),
            (("P-Asserted-Identity: <sip:eve@home.com>",), f"<{ROOM}>;tag=1"),
            ((), "<sip:eve@home.com>;tag=1"),
        ):
            answer = yield self.publish(*more, body=body(ALICE), from_=from_)
            self.assertTrue(answer.startswith("SIP/2.0 403 The rooms are not here"), answer)
        self.assertFalse(self.service.presence.states.find(ROOM).has_user("sip:alice@home.com"))  # type: ignore[union-attr]

    @inlineCallbacks
    def test_it_is_no_focus(self) -> Story:
        answer = yield self.ask("OPTIONS")
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        allow = "SUBSCRIBE, PUBLISH, OPTIONS"
        self.assertEqual(header(answer, "Allow"), allow)
        self.assertEqual(header(answer, "Allow-Events"), "conference, conference.winfo")
        self.assertEqual(header(answer, "Accept"), f"{CONFERENCE_INFO}, {WATCHER_INFO}")
        self.assertNotIn("isfocus", answer)
        for method in ("INVITE", "REFER", "MESSAGE", "NOTIFY", "BYE"):
            answer = yield self.ask(method, "Contact: <sip:x@127.0.0.1>")
            self.assertRegex(
                answer, rf"\ASIP/2.0 405 {method} is not served by this presence agent"
            )
            self.assertEqual(header(answer, "Allow"), allow)
        answer = yield self.ask("FROB")
        self.assertTrue(answer.startswith("SIP/2.0 501 The method FROB "), answer)
        answer = yield self.ask("BYE", to=f"<{ROOM}>;tag=local.1")
        self.assertTrue(answer.startswith("SIP/2.0 481 There is no dialog for BYE here"), answer)
        answer = yield self.ask("OPTIONS", uri="sip:x@elsewhere.example.com")
        self.assertTrue(answer.startswith("SIP/2.0 404 "), answer)
        answer = yield self.ask("OPTIONS", "Require: frob")
        self.assertTrue(answer.startswith("SIP/2.0 420 "), answer)
        answer = yield self.ask("CANCEL")
        self.assertTrue(answer.startswith("SIP/2.0 481 "), answer)

    @inlineCallbacks
    def test_a_large_room(self) -> Story:
        """As large as a focus publishes with its users."""
        people = [
            evolve(ALICE, entity=f"sip:user{number}@home.com", display_text="x" * 200)
            for number in range(2600)
        ]
        octets = body(*people)
        self.assertGreater(len(octets), 900_000)
        stream = Stream()
        endpoint = TCP4ClientEndpoint(reactor, *self.stream_address)
        yield connectProtocol(endpoint, stream)
        stream.transport.write(
            (
                f"PUBLISH {ROOM} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\n"
                f"Max-Forwards: 70\r\nFrom: <{ROOM}>;tag=east.1\r\nTo: <{ROOM}>\r\n"
                "Call-ID: large\r\nCSeq: 1 PUBLISH\r\nEvent: conference\r\n"
                "Content-Type: application/conference-info+xml\r\n"
                f"Content-Length: {len(octets)}\r\n\r\n"
            ).encode()
            + octets
        )
        answer = yield stream.answer
        self.assertTrue(answer.startswith(b"SIP/2.0 200 "), answer)
        stream.transport.loseConnection()
        yield stream.lost
        found = self.service.presence.states.find(ROOM)
        assert found is not None
        self.assertTrue(found.has_user("sip:user2599@home.com"))

    @inlineCallbacks
    def test_watchers_are_told_when_it_stops(self) -> Story:
        yield self.publish(body=body())
        wendy = self.watcher("wendy")
        yield wendy.begin()
        stopping = self.service.stopService()
        news = yield wendy.news()
        self.assertEqual(news.state, "terminated;reason=deactivated")
        yield stopping


class StrangersTests(PresenceApartCase):
    sip = 'trusted = ["192.0.2.1"]'

    @inlineCallbacks
    def test_they_are_refused(self) -> Story:
        for method in ("OPTIONS", "SUBSCRIBE", "PUBLISH", "INVITE"):
            answer = yield self.ask(method, "Event: conference")
            self.assertTrue(answer.startswith("SIP/2.0 403 Requests from 127.0.0.1"), answer)
