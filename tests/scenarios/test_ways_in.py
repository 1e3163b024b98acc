"""Ways to a room: names, proxies, addresses where nobody is (RFC 3263 §4.3)."""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import JoinError, UserAgent
from msrpconf.client import agent as agent_module
from tests.scenarios.embedded import EmbeddedServerTestCase

Story = Generator[Deferred[Any], Any, None]

NAME = "chat.invalid"


class NamingReactor:
    """The reactor, and a resolver that knows `NAME` besides: somewhere else, then here."""

    def __init__(self) -> None:
        self._reactor: Any = reactor
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(self, receiver: Any, hostName: str, *rest: Any, **options: Any) -> Any:
        if hostName != NAME:
            resolver = self._reactor.nameResolver
            return resolver.resolveHostName(receiver, hostName, *rest, **options)
        receiver.resolutionBegan(self)
        for host in ("127.0.0.2", "127.0.0.1"):
            receiver.addressResolved(IPv4Address("UDP", host, 0))
        receiver.resolutionComplete()
        return self


class WayInTests(EmbeddedServerTestCase):
    def named(self, user: str, **options: Any) -> UserAgent:
        """A user agent for which `NAME` has two addresses."""
        agent = UserAgent(NamingReactor(), f"sip:{user}@example.com", **options)
        self.agents.append(agent)
        return agent

    def assertOneIsIn(self) -> None:
        [room] = self.service.registry.rooms.values()
        self.assertEqual(len(room.participants), 1)

    @inlineCallbacks
    def test_the_next_address_where_a_connection_is_refused(self) -> Story:
        yield self.named("alice").join(f"sip:lobby@{NAME}:{self.ports['tcp']};transport=tcp")
        self.assertOneIsIn()

    @inlineCallbacks
    def test_the_next_address_where_nobody_answers(self) -> Story:
        self.patch(agent_module, "FIRST_WORD", 0.05)
        yield self.named("alice").join(f"sip:lobby@{NAME}:{self.ports['udp']}")
        self.assertOneIsIn()

    @inlineCallbacks
    def test_a_proxy_has_a_name(self) -> Story:
        for transport in ("udp", "tcp"):
            agent = self.agent("alice", proxy=f"{transport}:localhost:{self.ports[transport]}")
            chat = yield agent.join("sip:lobby@conf.example.com")
            self.assertOneIsIn()
            yield chat.leave()

    @inlineCallbacks
    def test_what_no_address_takes_says_why(self) -> Story:
        port = free_port()
        agent = self.named("alice")
        joining = agent.join(f"sip:lobby@{NAME}:{port};transport=tcp")
        error = yield self.assertFailure(joining, JoinError)
        self.assertEqual(
            (error.status, error.reason),
            (
                503,
                f"tcp:127.0.0.2:{port}: Connection refused; "
                f"tcp:127.0.0.1:{port}: Connection refused",
            ),
        )

    @inlineCallbacks
    def test_a_name_that_nobody_has(self) -> Story:
        error = yield self.assertFailure(
            self.agent("alice", proxy="udp:nobody.invalid:5060").join(self.room()), JoinError
        )
        self.assertEqual(error.status, 503)
        self.assertIn("nobody.invalid has no address", error.reason)

    @inlineCallbacks
    def test_to_stop_is_to_join_no_more(self) -> Story:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            agent = self.agent("alice")
            joining = agent.join(f"sip:lobby@127.0.0.1:{silent.getsockname()[1]}")
            yield agent.stop()
            error = yield self.assertFailure(joining, JoinError)
        self.assertEqual((error.status, error.reason), (487, "the user agent was stopped"))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
