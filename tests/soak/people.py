"""People who talk all the time, and come back when they were sent out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from msrpconf.client import Chat, JoinError, Message, UserAgent
from msrpconf.protocols.msrp.sending import SendError
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sip.flow import Address
from tests.soak.ledger import Ledger, Said, Stay

JOIN_TIMEOUT = 6.0
"""Seconds for joining by one focus; then another is tried."""

MAX_UNANSWERED = 8
"""Messages of one sender that have no answer yet."""


class Person:
    """Somebody in a room, by whichever focus there is, again and again until `is_over`.

    `now` is the ledger's time; `patience` are the seconds that one waits for a room whose MSRP
    broke to go on elsewhere.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        room: str,
        ways: Sequence[Address],
        ledger: Ledger,
        random: Random,
        now: Callable[[], float],
        patience: float,
    ) -> None:
        self.stay: Stay | None = None
        """The stay that goes on; None for who is trying to get in."""
        self.is_over = False
        self.refused = 0
        """How often one was not let in."""
        self.moves = 0
        """How often the room has gone on at another server."""
        self.talks = True
        self._reactor = reactor
        self.name = name
        self._room = room
        self._ways = ways
        self._ledger = ledger
        self._random = random
        self._agent: UserAgent | None = None
        self._stays = 0
        self._waiting: set[Said] = set()
        self._chat: Chat | None = None
        self._now = now
        self._patience = patience
        self._ended: list[tuple[float, str]] = []
        self._stopping: set[Deferred[Any]] = set()

    @inlineCallbacks
    def live(self) -> Generator[Deferred[Any], Any, None]:
        """Come in, talk, be sent out, come in again."""
        while not self.is_over:
            chat = yield self._come()
            if chat is None:
                yield self._wait(0.1, 0.8)
                continue
            yield self._talk(chat)

    @inlineCallbacks
    def end(self) -> Generator[Deferred[Any], Any, None]:
        """Stop, without a word."""
        self.is_over = True
        if self._agent is not None:
            self._drop(self._agent)
        while self._stopping:
            yield next(iter(self._stopping))

    def say(self) -> None:
        """Say the next number, where one is in."""
        if self.stay is None or self._chat is None:
            return
        stay, said = self.stay, Said(len(self.stay.said) + 1, self._now())
        stay.said.append(said)
        self._waiting.add(said)

        def answered(result: object) -> None:
            self._waiting.discard(said)
            if isinstance(result, Failure):
                result.trap(SendError)
            else:
                self._look_where(stay)
                said.answered, said.server = self._now(), stay.server

        # Nobody waits for the answer: several are under way.
        self._chat.send(f"{stay.name} {said.number}").addBoth(answered)

    @property
    def unanswered(self) -> int:
        """Messages that have no answer yet."""
        return len(self._waiting)

    @inlineCallbacks
    def _come(self) -> Generator[Deferred[Any], Any, Chat | None]:
        agent = UserAgent(self._reactor, f"sip:{self.name}@example.com", patience=self._patience)
        self._agent = agent
        self.stay = self._chat = None
        heard: list[tuple[str, int]] = []
        ended: list[tuple[float, str]] = []

        def hear(message: Message) -> None:
            name, _, number = message.text.partition(" ")
            heard.append((name, int(number)))
            if self.stay is not None:
                self._look_where(self.stay)

        way = self._random.choice(self._ways)
        joining = agent.join(
            f"sip:{self._room}@conf.example.com",
            via=way,
            on_message=hear,
            on_ended=lambda why: ended.append((self._now(), why)),
        )
        try:
            chat: Chat = yield joining.addTimeout(JOIN_TIMEOUT, self._reactor)
        except (JoinError, SendError, TookTooLong, CannotListenError):
            self.refused += 1
            self._drop(agent)
            return None
        self._stays += 1
        name = f"{self._room}/{self.name}/{self._stays}"
        self.stay = Stay(name, self._room, [_server(chat)], self._now(), heard=heard)
        self._chat, self._ended = chat, ended
        self._ledger.stays[name] = self.stay
        return chat

    @inlineCallbacks
    def _talk(self, chat: Chat) -> Generator[Deferred[Any], Any, None]:
        stay, agent = self.stay, self._agent
        assert stay is not None and agent is not None
        leaves = self._now() + self._random.uniform(20.0, 90.0)
        while not (self.is_over or self._ended):
            if self.talks and len(self._waiting) < MAX_UNANSWERED:
                self.say()
            yield self._wait(0.05, 0.5)
            self._look_where(stay)
            if self.talks and self._now() > leaves and not self._ended:
                stay.left, stay.until, stay.why = True, self._now(), "left"
                break
        if self.is_over:
            return
        if self._ended and stay.until is None:
            stay.until, stay.why = self._ended[0]
        self.stay = self._chat = None
        self._drop(agent)

    def _look_where(self, stay: Stay) -> None:
        """Note that the room has gone on at another server."""
        if self._chat is not None and stay is self.stay:
            server = _server(self._chat)
            if server != stay.server:
                stay.servers.append(server)
                self.moves += 1

    def _drop(self, agent: UserAgent) -> None:
        """End an agent, which says goodbye; nobody waits for an answer."""
        stopping = agent.stop()
        self._stopping.add(stopping)
        stopping.addBoth(lambda _: self._stopping.discard(stopping))

    def _wait(self, shortest: float, longest: float) -> Deferred[None]:
        return deferLater(self._reactor, self._random.uniform(shortest, longest))


def _server(chat: Chat) -> str:
    """Where the room's MSRP is."""
    where = MsrpURI.parse(chat.session.remote_path.decode("ascii").split()[0])
    return f"{where.host}:{where.port}"
