"""A presence agent elsewhere is told by PUBLISH what happens in rooms (design: section 4)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.published import PublishedStates
from msrpconf.conference.states import Change, ConferenceInfo
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.transaction import ServerTransaction, TransactionLayer
from msrpconf.protocols.sip.transport import TransportLayer
from tests.documents import read, text, users
from tests.scenarios.embedded import EmbeddedServerTestCase, joined

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"


class Agent:
    """A presence agent on loopback, and what it has been told."""

    def __init__(self) -> None:
        self.states = PublishedStates(reactor)
        self.states.watch(self._changed)
        self.requests: list[tuple[str, int]] = []
        self.documents: list[bytes] = []
        self.ended = 0
        self.transport = TransportLayer(reactor)
        self.layer = TransactionLayer(
            reactor,
            self.transport,
            on_request=self._serve,
            on_ack=lambda request, flow: None,
        )
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        address = yield self.transport.listen(Address("tcp", "127.0.0.1", 0))
        self.port = address.port

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        self.states.stop()
        self.layer.stop()
        yield self.transport.stop()

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Wait for something to be so."""
        result: Deferred[None] = Deferred()
        self._waiting.append((condition, result))
        self._look()
        return result

    def _serve(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        answer = self.states.handle(request)
        self.requests.append((request.method, answer.status))
        if request.body:
            read(request.body)
        headers = tuple(
            (name, value)
            for name in ("SIP-ETag", "Expires")
            if (value := answer.headers.get(name)) is not None
        )
        transaction.answer(answer.status, answer.reason, headers=headers)
        self._look()

    def _changed(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        self.ended += change is None

    def _look(self) -> None:
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(None)


class PublishingTests(EmbeddedServerTestCase):
    def setUp(self) -> Any:
        return self.begin()

    def tearDown(self) -> Any:
        return self.end()

    @inlineCallbacks
    def begin(self) -> Generator[Deferred[Any], Any, None]:
        self.there = Agent()
        yield self.there.start()
        self.focus_keys = f'presence = "sip:127.0.0.1:{self.there.port};transport=tcp"'
        yield self.start_server()

    @inlineCallbacks
    def end(self) -> Generator[Deferred[Any], Any, None]:
        yield self.end_everything()
        yield self.there.stop()

    @property
    def key(self) -> str:
        return "sip:lobby@127.0.0.1"

    def told(self) -> Any:
        found = self.there.states.find(self.key)
        assert found is not None
        return read(found.full(1))

    def here(self, *people: str) -> Deferred[None]:
        """Wait until the agent knows that these are in the room."""

        def so() -> bool:
            info = self.there.states.find(self.key)
            return info is not None and {uri for uri in (ALICE, BOB) if info.has_user(uri)} == set(
                people
            )

        return self.there.when(so)

    @inlineCallbacks
    def test_a_room_comes_and_goes(self) -> Generator[Deferred[Any], Any, None]:
        alice, _ = yield joined(self.agent("alice"), self.room())
        yield self.here(ALICE)
        self.assertEqual(text(self.told(), "conference-state/user-count"), "1")
        bob, _ = yield joined(self.agent("bob"), self.room())
        yield self.here(ALICE, BOB)
        yield alice.leave()
        yield self.here(BOB)
        self.assertIn(BOB, users(self.told()))
        yield bob.leave()
        yield self.there.when(lambda: bool(self.there.ended))
        self.assertEqual(len(self.there.states), 0)
        self.assertEqual({status for _, status in self.there.requests}, {200})

    @inlineCallbacks
    def test_an_agent_that_has_forgotten_is_told_again(self) -> Generator[Deferred[Any], Any, None]:
        yield joined(self.agent("alice"), self.room())
        yield self.here(ALICE)
        self.there.states.stop()
        yield joined(self.agent("bob"), self.room())
        yield self.here(ALICE, BOB)
        self.assertIn(("PUBLISH", 412), self.there.requests)

    @inlineCallbacks
    def test_a_server_that_stops_takes_everything_back(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        yield joined(self.agent("alice"), self.room())
        yield self.here(ALICE)
        yield self.end_everything()
        self.assertEqual((len(self.there.states), self.there.ended), (0, 1))
