"""Who asked to watch and went undecided is known again after a restart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from msrpconf.presence.waiting import Waiting
from msrpconf.presence.watching import Decision
from msrpconf.presence.winfo import WatcherInfos
from msrpconf.services.presence_memory import PresenceMemory
from msrpconf.storage.kept import Kept
from tests.presence.support import ROOM, Watcher, somebody
from tests.presence.test_winfo import WinfoTestCase


class _Store:
    """What is kept, as `KeptStore` keeps it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Any] = {}

    def load(self) -> Deferred[list[Kept]]:
        found = [
            Kept(kind, name, content.expires, content.encode())
            for (kind, name), content in sorted(self.kept.items())
        ]
        return succeed(found)

    def put(self, kind: str, name: str, look: Any) -> None:
        self.kept[kind, name] = look()

    def remove(self, kind: str, name: str) -> None:
        self.kept.pop((kind, name), None)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class WaitingKeptTests(WinfoTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = _Store()
        self.start()

    def start(self) -> None:
        """What a process does at its start, with what there is in the store."""
        agent: Any = SimpleNamespace(
            notifier=self.notifier,
            publishing=None,
            packages=self.subscribing.packages,
            watchers=self.infos,
        )
        store: Any = self.store
        states: Any = SimpleNamespace(watch=lambda watcher: None)
        self.memory = PresenceMemory(store, self.clock, agent, states, patience=90.0)
        self.successResultOf(self.memory.load())
        self.memory.restore()
        self.addCleanup(self.memory.stop)

    def restart(self) -> None:
        """Another process takes up what this one has left."""
        self.infos.stop()
        states: Any = self
        self.infos = WatcherInfos(self.clock, self.notifier, states, self.policy)
        self.addCleanup(self.infos.stop)
        self.start()

    def waits(self, *names: str, key: str = ROOM) -> None:
        """These ask once, and nobody decides."""
        for name in names:
            Watcher(self, name).subscribe(expires=0, key=key)
            self.seconds(1)

    def test_who_waits_waits_on(self) -> None:
        self.waits("bob", "carol")
        self.decide(Decision.ALLOW, "carol")
        self.seconds(100)
        (before,) = self.infos.waiting.of(ROOM)
        self.restart()
        (after,) = self.infos.waiting.of(ROOM)
        for name in ("id", "room", "watcher", "began", "until"):
            self.assertEqual(getattr(after, name), getattr(before, name), name)
        # Decided about it is forgotten, here and there.
        self.decide(Decision.ALLOW)
        self.assertEqual((len(self.infos.waiting), self.store.kept), (0, {}))

    def test_not_longer_than_they_would_have(self) -> None:
        self.waits("bob")
        self.seconds(500)
        self.restart()
        self.seconds(498)
        self.assertEqual(len(self.infos.waiting), 1)
        self.seconds(2)
        self.assertEqual((len(self.infos.waiting), self.store.kept), (0, {}))

    def test_where_the_room_does_not_come_again(self) -> None:
        self.waits("bob")
        del self.rooms[ROOM]
        self.restart()
        self.assertEqual(self.memory.awaited, frozenset((ROOM,)))
        self.assertEqual(self.memory.rooms, set())
        self.seconds(89)
        self.assertEqual(len(self.infos.waiting), 1)
        self.seconds(2)
        self.assertEqual((len(self.infos.waiting), self.store.kept), (0, {}))

    def test_fewer_where_fewer_may_wait(self) -> None:
        self.waits("bob", "carol", "dave")
        self.notifier.settings = type(self.settings)(max_room_waiting=2)
        self.restart()
        left = [each.watcher.key for each in self.infos.waiting.of(ROOM)]
        self.assertEqual(left, [somebody(name).key for name in ("carol", "dave")])
        self.assertEqual(len(self.store.kept), 2)

    def test_what_cannot_be_read(self) -> None:
        self.waits("bob")
        (content,) = self.store.kept.values()
        good = content.encode()
        for octets in (
            b"",
            b"[]",
            b"{}",
            good.replace(b'"began"', b'"begin"'),
            good.replace(b'"keys": ["sip:bob@example.com"]', b'"keys": []'),
            good.replace(b'"keys": ["sip:bob@example.com"]', b'"keys": [1]'),
        ):
            self.assertNotEqual(octets, good)
            with self.assertRaises((ValueError, KeyError, TypeError)):
                Waiting.decode("x", 1.0, octets)
