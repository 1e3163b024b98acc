"""Kamailio in front of a server of ours: what `examples/kamailio` has, and users for stories."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

from msrpconf.client import Chat, UserAgent
from msrpconf.config import Config
from msrpconf.protocols.sip.message import Message, Request, Response, parse_message
from msrpconf.protocols.sip.stream import StreamParser
from msrpconf.services.compose import ConferenceService, make_service
from tests.interop.proxy import EXAMPLE, FOCUS, PROXY, Kamailio, find_kamailio, free_ports
from tests.scenarios.embedded import Heard, joined

USERS = "example.com"
ROOMS = "conference.example.com"
ROOM = f"sip:lobby@{ROOMS}"

SETTINGS = """
#!substdef "!MY_USERS!{users}!g"
#!substdef "!MY_ROOMS!{rooms}!g"
#!substdef "!MY_LISTEN!{proxy}:{public}!g"
#!substdef "!MY_PRIVATE_LISTEN!{proxy}:{private}!g"
#!substdef "!MY_PRIVATE_PORT!{private}!g"
#!substdef "!MY_FOCUS_HOST!{focus_host}!g"
#!substdef "!MY_FOCUS_URI!sip:{focus_host}:{focus}{focus_transport}!g"
#!substdef "!MY_PRESENCE_URI!sip:{focus_host}:{presence}!g"
#!substdef "!MY_DIRECTORY!{directory}!g"
tcp_source_ipv4 = {proxy}
{more}
"""

CONFIGURATION = """
[sip]
listen = ["udp:{focus_host}:{focus}", "tcp:{focus_host}:{focus}"]
domains = ["{rooms}"]
trusted = ["{proxy}"]
contact = "{contact}"
[focus]
outbound_proxy = "sip:{proxy}:{private};lr{private_transport}"
{focus_keys}
"""

SERVER = """
[server]
listen = ["tcp:127.0.0.1:0"]
"""


class KamailioCase(TestCase):
    """Kamailio with its users alice, bob and carol, and a server of ours behind it.

    `settings` are more lines of Kamailio's configuration, `contact` is that of `[sip]`,
    `focus_keys` are more of `[focus]` and `tables` more of ours. `focus_transport` and
    `private_transport` are what follows the URIs by which proxy and focus reach each other.
    `public` is the proxy's port, 0 for any. `presence` is that of a presence agent apart,
    `kamailio_presence` has watchers ask Kamailio.
    """

    timeout = 90
    settings = ""
    contact = "auto"
    focus_keys = ""
    tables = ""
    focus_transport = ""
    private_transport = ""
    public = 0
    presence = 0
    kamailio_presence = False
    people = ("alice", "bob", "carol")

    def setUp(self) -> Any:
        return self.start_both()

    @inlineCallbacks
    def start_both(self) -> Generator[Deferred[Any], Any, None]:
        """The server, then the proxy."""
        kamailio = find_kamailio(presence=self.kamailio_presence)
        self.reactor: Any = import_module("twisted.internet.reactor")
        self.traced: list[tuple[str, str, Message]] = []
        """SIP of our server's: ``in`` or ``out``, the peer, the message."""
        self._streams: defaultdict[tuple[str, str], StreamParser] = defaultdict(StreamParser)
        self.directory = Path(self.mktemp()).resolve()
        public, self.private = free_ports(PROXY, PROXY)
        self.public = self.public or public
        self._waiting: list[tuple[Callable[[Message], bool], Deferred[Any]]] = []
        self._agents: list[UserAgent] = []
        shutil.copytree(EXAMPLE, self.directory)
        self.kamailio = Kamailio(self.reactor, self.directory, self.public, kamailio)
        self._make_users()
        self.addCleanup(self.kamailio.stop)
        yield self.serve()
        self._set_up_proxy()
        yield self.kamailio.start()
        self.addCleanup(self._all_leave)

    def _values(self) -> dict[str, Any]:
        define = "#!define KAMAILIO_PRESENCE\n" if self.kamailio_presence else ""
        return {
            "users": USERS,
            "rooms": ROOMS,
            "proxy": PROXY,
            "public": self.public,
            "private": self.private,
            "private_transport": self.private_transport,
            "focus_host": FOCUS,
            "focus": self.focus,
            "presence": self.presence or self.focus,
            "focus_transport": self.focus_transport,
            "focus_keys": self.focus_keys,
            "directory": self.directory,
            "contact": self.contact,
            "more": define + self.settings,
        }

    def focus_configuration(self) -> str:
        """What the focus is configured with."""
        return CONFIGURATION.format(**self._values())

    @inlineCallbacks
    def serve(self) -> Generator[Deferred[Any], Any, None]:
        """Start a server, at a port that is free."""

        def trace(kind: str, direction: str, peer: str, octets: bytes) -> None:
            if kind == "sip":
                for message in self._messages(direction, peer, octets):
                    self.traced.append((direction, peer, message))
                self._look()

        while True:
            (self.focus,) = free_ports(FOCUS)
            text = self.focus_configuration() + SERVER + self.tables
            config = Config.parse(text, str(self.directory / "msrpconf.toml"))
            self.service: ConferenceService = make_service(config, self.reactor, trace)
            try:
                yield self.service.startService()
                break
            except CannotListenError:
                continue
        # Before the proxy: what it has to tell goes that way.
        self.addCleanup(self.service.stopService)

    def _make_users(self) -> None:
        self.assertEqual(self.kamailio.run("setup", str(self.directory)), "")
        for name in self.people:
            self.add_user(name)

    def add_user(self, name: str) -> None:
        """Give the proxy a user."""
        arguments = ("setup", str(self.directory), name, USERS)
        self.assertEqual(self.kamailio.run(*arguments, typed=password_of(name)), "")

    def _set_up_proxy(self) -> None:
        (self.directory / "settings.cfg").write_text(SETTINGS.format(**self._values()))

    @inlineCallbacks
    def _all_leave(self) -> Generator[Deferred[Any], Any, None]:
        for agent in self._agents:
            yield agent.stop()

    # For stories.

    def agent(
        self,
        name: str,
        transport: str = "udp",
        *,
        kind: type[UserAgent] = UserAgent,
        **options: Any,
    ) -> UserAgent:
        """A user agent that knows its proxy and its password, and ends with the test."""
        options = {
            "proxy": f"{transport}:{PROXY}:{self.public}",
            "password": password_of(name),
            "listen": f"{transport}:127.0.0.1:0",
            **options,
        }
        agent = kind(self.reactor, f"sip:{name}@{USERS}", **options)
        self._agents.append(agent)
        return agent

    @inlineCallbacks
    def enter(
        self, name: str, transport: str = "udp", *, room: str = ROOM, **options: Any
    ) -> Generator[Deferred[Any], Any, tuple[Chat, Heard]]:
        """Have somebody register and join."""
        agent = self.agent(name, transport)
        yield agent.register()
        pair: tuple[Chat, Heard] = yield joined(agent, room, **options)
        return pair

    def came(self, method: str) -> list[Request]:
        """The requests of this method that have come to our server."""
        return self._requests("in", method)

    def went(self, method: str) -> list[Request]:
        """The requests of this method that our server has sent."""
        return self._requests("out", method)

    def _requests(self, direction: str, method: str) -> list[Request]:
        messages = [message for way, _, message in self.traced if way == direction]
        return [each for each in messages if isinstance(each, Request) and each.method == method]

    def _messages(self, direction: str, peer: str, octets: bytes) -> list[Message]:
        """What octets have: on a connection, several messages may come at once."""
        if peer.startswith("udp:"):
            return [parse_message(octets)]
        found = self._streams[direction, peer].receive_data(octets)
        return [each for each in found if isinstance(each, Message)]

    def when_answered(self, request: Request) -> Deferred[int]:
        """The status that a request of ours gets, once it is there."""

        def answers(message: Message) -> bool:
            return (
                isinstance(message, Response)
                and message.status >= 200
                and (message.call_id, message.cseq) == (request.call_id, request.cseq)
            )

        return self.when(answers).addCallback(lambda message: message.status)

    def when_came(self, method: str) -> Deferred[Any]:
        """A request of this method, once it is there."""
        return self.when(lambda each: isinstance(each, Request) and each.method == method)

    def when(self, fits: Callable[[Message], bool]) -> Deferred[Any]:
        """A message to our server that `fits`, once it is there."""
        found: Deferred[Any] = Deferred()
        self._waiting.append((fits, found))
        self._look()
        return found

    def _look(self) -> None:
        for each in list(self._waiting):
            fits, found = each
            for direction, _, message in self.traced:
                if direction == "in" and fits(message):
                    self._waiting.remove(each)
                    found.callback(message)
                    break


def password_of(name: str) -> str:
    """The password of one of the users."""
    return f"{name}'s secret"
