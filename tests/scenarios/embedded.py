"""An embedded server on free ports of loopback, for stories on the wire."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from msrpconf.client import Chat, Message, UserAgent
from msrpconf.config import Config
from msrpconf.protocols.sip.flow import Address
from msrpconf.services.compose import ConferenceService, make_service

CONFIGURATION = """
[sip]
listen = [{sip}]
{sip_keys}
[focus]
ack_timeout = {ack_timeout}
{focus}
[server]
listen = [{msrp}]
msrp_timeout = {msrp_timeout}
grace = {grace}
{more}
"""


class EmbeddedServerTestCase(TestCase):
    """Starts an embedded server for each test, and ends it and all agents afterwards."""

    timeout = 30
    host = "127.0.0.1"
    transports: tuple[str, ...] = ("udp", "tcp")
    msrp_transports: tuple[str, ...] = ("tcp",)
    sip_keys = ""
    """More keys of `[sip]`."""
    focus_keys = ""
    """More keys of `[focus]`."""
    server_keys = ""
    """More keys of `[server]`, and tables after it."""
    source = "the test"
    """The file that the configuration is said to be from."""
    ack_timeout = 5.0
    msrp_timeout = 15.0
    grace = 15.0

    def setUp(self) -> Any:
        return self.start_server()

    def tearDown(self) -> Any:
        return self.end_everything()

    @inlineCallbacks
    def start_server(self) -> Generator[Deferred[Any], Any, None]:
        """An embedded server, with the times of the test case."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.config = Config.parse(
            CONFIGURATION.format(
                sip=", ".join(f'"{each}:{host}:0"' for each in self.transports),
                msrp=", ".join(f'"{each}:{host}:0"' for each in self.msrp_transports),
                sip_keys=self.sip_keys,
                focus=self.focus_keys,
                more=self.server_keys,
                ack_timeout=self.ack_timeout,
                msrp_timeout=self.msrp_timeout,
                grace=self.grace,
            ),
            self.source,
        )
        self.agents: list[UserAgent] = []
        self.service: ConferenceService = make_service(self.config, reactor)
        yield self.service.startService()
        self.ports = {each.transport: each.port for each in self.service.focus.listening}
        msrp = map(Address.parse, self.service.server.listening)
        self.msrp_ports = {each.transport: each.port for each in msrp}

    @inlineCallbacks
    def end_everything(self) -> Generator[Deferred[Any], Any, None]:
        """Have everybody leave, then stop the server."""
        for agent in self.agents:
            yield agent.stop()
        yield self.service.stopService()

    def room(self, name: str = "lobby", transport: str = "udp") -> str:
        """The address of a room here."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"sip:{name}@{host}:{self.ports[transport]}{suffix}"

    def when_logged(self, what: str) -> Deferred[Any]:
        """The next log event about `what` (``joined``, ``left``, …), or what begins so."""
        return when_logged(what)

    def agent(self, user: str, **options: Any) -> UserAgent:
        """A user agent that ends with the test."""
        agent = UserAgent(reactor, f"sip:{user}@example.com", **options)
        self.agents.append(agent)
        return agent


def when_logged(what: str) -> Deferred[Any]:
    """The next log event about `what`, or what begins so."""
    result: Deferred[Any] = Deferred()

    def look(event: Any) -> None:
        if str(event.get("what")).startswith(what) and not result.called:
            globalLogPublisher.removeObserver(observe)
            result.callback(event)

    observe: Any = look
    globalLogPublisher.addObserver(observe)
    return result


class Heard:
    """What somebody hears in a room: wait for the next, in order."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ended: Deferred[str] = Deferred()
        self._waiting: list[Deferred[Message]] = []

    def message(self, message: Message) -> None:
        if self._waiting:
            self._waiting.pop(0).callback(message)
        else:
            self.messages.append(message)

    def end(self, why: str) -> None:
        self.ended.callback(why)

    def next(self) -> Deferred[Message]:
        """The next message, when it is there."""
        result: Deferred[Message] = Deferred()
        if self.messages:
            result.callback(self.messages.pop(0))
        else:
            self._waiting.append(result)
        return result


@inlineCallbacks
def joined(
    agent: UserAgent, room: str, **options: Any
) -> Generator[Deferred[Any], Any, tuple[Chat, Heard]]:
    """Enter a room; give the chat, and what is heard there."""
    heard = Heard()
    chat = yield agent.join(room, on_message=heard.message, on_ended=heard.end, **options)
    return chat, heard
