"""sipp watches rooms: in dialogs of its own and in that of its INVITE, alone and in crowds."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.presence.notifier import Notifier
from msrpconf.protocols.sip.transport import MAX_UDP_REQUEST
from msrpconf.services.compose import ConferenceService
from tests.interop.peers import SippCase

Story = Generator[Deferred[Any], Any, None]

CROWD = 200


class WatchingCase(SippCase):
    """A server with a presence agent, and Alice in its lobby."""

    @inlineCallbacks
    def watched(self) -> Generator[Deferred[Any], Any, ConferenceService]:
        """The server, when Alice is in and nobody has yet to be told of it."""
        service: ConferenceService = yield self.serve(more="[presence]\n")
        yield self.join("alice")
        return service

    @inlineCallbacks
    def watch(self, scenario: str, mode: str, calls: int) -> Story:
        """Have so many watch, all at once, and none fails."""
        options = ("-p", str(self.udp_alone())) if mode == "u1" else ()
        run = yield self.run_sipp(scenario, *options, calls=calls, at_once=calls, mode=mode)
        self.assertSucceeded(run, calls)

    def udp_alone(self) -> int:
        """A port for UDP at which nobody takes TCP: what is too large does not go elsewhere."""
        closed = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(closed.close)
        closed.bind((self.host, 0))  # and it does not listen
        port: int = closed.getsockname()[1]
        return port

    @property
    def notifier(self) -> Notifier:
        assert self.service.presence is not None
        return self.service.presence.notifier

    @inlineCallbacks
    def until(self, condition: Callable[[], bool]) -> Story:
        """Wait for something to be so."""
        reactor: Any = import_module("twisted.internet.reactor")
        while not condition():
            yield deferLater(reactor, 0.02, lambda: None)

    def assertNobodyWatches(self, begun: int) -> None:
        """All that have watched the lobby have told that they do no more."""
        self.assertEqual(self.logged("watching: "), begun)
        self.assertEqual(self.logged("watching no more: unsubscribed"), begun)
        self.assertEqual(len(self.notifier), 0)


class AloneTests(WatchingCase):
    """A few at a time, in every way."""

    @inlineCallbacks
    def test_once(self) -> Story:
        yield self.watched()
        for mode in ("u1", "t1", "tn"):
            yield self.watch("watch_once", mode, 20)
        self.assertNobodyWatches(0)

    @inlineCallbacks
    def test_too_briefly(self) -> Story:
        yield self.watched()
        for mode in ("u1", "t1"):
            yield self.watch("watch_too_briefly", mode, 10)
        self.assertNobodyWatches(20)

    @inlineCallbacks
    def test_from_inside(self) -> Story:
        service = yield self.watched()
        for mode in ("u1", "t1", "tn"):
            self.lines.clear()
            yield self.watch("watch_inside", mode, 20)
            self.assertNobodyWatches(20)
            self.assertEqual(self.logged("left: "), 20)
        self.assertEqual(list(service.registry.rooms), ["sip:lobby@127.0.0.1"])


class CrowdTests(WatchingCase):
    """Two hundred watch one room at a time, and none has anything to complain of."""

    @inlineCallbacks
    def crowd(self, mode: str) -> Story:
        yield self.watched()
        yield self.watch("watch", mode, CROWD)
        self.assertNobodyWatches(CROWD)
        # Everything twice, and the end.
        self.assertEqual(self.notifier.notified, 3 * CROWD)

    def test_over_udp(self) -> Any:
        return self.crowd("u1")

    def test_over_tcp_by_one_connection(self) -> Any:
        return self.crowd("t1")

    def test_over_tcp_by_a_connection_each(self) -> Any:
        return self.crowd("tn")

    @inlineCallbacks
    def who_comes(self, mode: str) -> Story:
        yield self.watched()
        running = self.watch("watch_changes", mode, CROWD)
        room = "sip:lobby@127.0.0.1"

        def all_know() -> bool:
            watching = self.notifier.of("conference", room)
            return len(watching) == CROWD and not any(
                each.under_way or each.queued or each.version for each in watching
            )

        # Where sipp fails there is nothing to wait for any more.
        yield self.until(lambda: running.called or all_know())
        yield self.join("bob")
        yield running
        self.assertNobodyWatches(CROWD)
        self.assertEqual(self.notifier.notified, 3 * CROWD)
        notifies = [octets for way, octets in self.traced if octets.startswith(b"NOTIFY ")]
        named = sum(b"sip:bob@example.com" in octets for octets in notifies)
        if mode == "u1":
            # sipp takes no TCP: it is told how many are in the room, but not who, and that is
            # small enough for UDP.
            self.assertLessEqual(max(map(len, notifies)), MAX_UDP_REQUEST)
            self.assertEqual(named, 0)
        else:
            self.assertEqual(named, CROWD)

    def test_all_are_told_who_comes_over_udp(self) -> Any:
        return self.who_comes("u1")

    def test_all_are_told_who_comes_over_tcp(self) -> Any:
        return self.who_comes("t1")
