"""Subscriptions over a restart: what is written, and what is read again."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from msrpconf.presence.kept import AHEAD, PER_SECOND, KeptError, KeptSubscription, kept_until
from msrpconf.presence.notifier import Notifier
from msrpconf.presence.subscription import Subscription
from msrpconf.presence.watching import Decision
from tests.presence.support import ROOM, NotifierTestCase, Watcher


class KeptTestCase(NotifierTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1000)

    def kept(self, name: str = "bob") -> KeptSubscription:
        """What is written of somebody's subscription, and read again."""
        (subscription,) = [
            each for each in self.notifier.of("conference", ROOM) if name in each.watcher.key
        ]
        written = KeptSubscription.of(subscription, self.clock.seconds())
        assert written is not None
        read = KeptSubscription.decode(subscription.id, written.encode())
        self.assertEqual(read, written)
        return read

    def restart(self, *kept: KeptSubscription, awaited: bool = False) -> list[Subscription]:
        """Another notifier, with these."""
        self.notifier.close()
        self.notifier = Notifier(self.clock, self.send, self.settings)
        self.addCleanup(self.notifier.close)
        self.subscribing._notifier = self.notifier
        self.sent.clear()
        package = self.subscribing.packages["conference"]
        restored = []
        for each in kept:
            if awaited:
                feed = self.notifier.awaited_feed(package, ROOM, each.uri)
            else:
                feed = self.notifier.feed(package, ROOM, self.diary)
            restored.append(each.revive(feed, self.clock.seconds()))
            self.notifier.restore(restored[-1])
        return restored


class RestoringTests(KeptTestCase):
    def test_everything_is_told_first_and_then_what_changes(self) -> None:
        Watcher(self).subscribe()
        self.happens("a")
        self.seconds(2)
        kept = self.kept()
        version, cseq = kept.version, kept.dialog.local_cseq
        self.restart(kept)
        self.soon()
        ((notify, _, _),) = self.sent
        self.assertEqual(notify.cseq.number, cseq + AHEAD + 1)
        after = version + AHEAD + 1
        self.assertEqual(self.told(), [f"bob active;expires=3598 {after}: full a"])
        self.happens("b")
        self.seconds(2)
        self.assertEqual(self.told(), [f"bob active;expires=3597 {after + 1}: partial b"])

    def test_numbers_are_higher_than_any_that_were_sent(self) -> None:
        Watcher(self).subscribe()
        self.soon()
        kept = self.kept()
        # Nothing could be written since, and everything was told.
        self.settings = self.notifier.settings
        for _ in range(600):
            self.happens("x")
            self.seconds(1)
        notify = self.sent[-1][0]
        self.restart(kept)
        self.soon()
        again = self.sent[-1][0]
        self.assertGreater(again.cseq.number, notify.cseq.number)
        self.assertEqual(again.cseq.number, 1 + kept.dialog.local_cseq + AHEAD + 600 * PER_SECOND)

    def test_it_is_to_be_written_again_in_time(self) -> None:
        written: list[int] = []

        def keep(subscription: Subscription) -> None:
            written.append(subscription.holder.dialog.local_cseq)
            subscription.kept_until = kept_until(subscription)

        self.notifier.on_kept = keep
        watcher = Watcher(self)
        watcher.subscribe()
        for _ in range(AHEAD):
            watcher.subscribe()
            self.soon()
        self.assertLessEqual(max(b - a for a, b in pairwise(written)), AHEAD)

    def test_it_is_written_when_it_changes(self) -> None:
        written: list[str] = []
        over: list[str] = []
        self.notifier.on_kept = lambda subscription: written.append(subscription.decision.value)
        self.notifier.on_ended = lambda subscription: over.append(subscription.watcher.key)
        self.decisions["sip:bob@example.com"] = Decision.CONFIRM
        watcher = Watcher(self)
        watcher.subscribe()
        self.decisions.clear()
        self.notifier.reconsider("conference", ROOM)
        self.assertEqual(written, ["confirm", "allow"])
        self.soon()
        watcher.subscribe(expires=100)
        self.assertEqual((len(written), over), (3, []))
        self.seconds(101)
        self.assertEqual(over, ["sip:bob@example.com"])

    def test_it_expires_when_it_would_have(self) -> None:
        Watcher(self).subscribe(expires=100)
        self.soon()
        kept = self.kept()
        self.seconds(60)
        self.restart(kept)
        self.soon()
        self.told()
        self.seconds(41)
        self.assertEqual(self.told(), ["bob terminated;reason=timeout"])

    def test_a_refresh_finds_it(self) -> None:
        watcher = Watcher(self)
        watcher.subscribe()
        self.soon()
        self.restart(self.kept())
        self.assertEqual(watcher.subscribe().status, 200)
        watcher.cseq -= 2
        self.assertEqual(watcher.subscribe().status, 500)

    def test_rates_are_kept_to(self) -> None:
        Watcher(self).subscribe(event="conference;max-rate=0.1")
        self.soon()
        (again,) = self.restart(self.kept())
        self.assertEqual(again.rates.maximum, 0.1)
        self.soon()
        self.told()
        self.happens("a")
        self.seconds(9)
        self.assertEqual(self.told(), [])
        self.seconds(2)
        self.assertEqual(len(self.told()), 1)

    def test_nothing_is_sent_before_there_is_a_way(self) -> None:
        Watcher(self).subscribe()
        self.soon()
        kept = self.kept()
        self.notifier.close()
        self.notifier = Notifier(self.clock, self.send, self.settings)
        self.addCleanup(self.notifier.close)
        self.sent.clear()
        self.notifier.hold()
        package = self.subscribing.packages["conference"]
        self.notifier.restore(
            kept.revive(self.notifier.feed(package, ROOM, self.diary), self.clock.seconds())
        )
        self.seconds(5)
        self.assertEqual(self.told(), [])
        self.notifier.release()
        self.soon()
        self.assertEqual(len(self.told()), 1)


class AwaitedTests(KeptTestCase):
    """A room that is watched, and of which nobody has said anything yet."""

    def setUp(self) -> None:
        super().setUp()
        self.watcher = Watcher(self)
        self.watcher.subscribe()
        self.happens("a")
        self.seconds(2)
        self.asked: list[str] = []
        (self.again,) = self.restart(self.kept(), awaited=True)

    def test_nothing_is_told(self) -> None:
        self.seconds(10)
        self.assertEqual(self.told(), [])

    def test_who_refreshes_is_told_that_it_is_there(self) -> None:
        # Who decides cannot know yet.
        self.decisions["sip:bob@example.com"] = Decision.BLOCK
        self.assertEqual(self.watcher.subscribe().status, 200)
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3600"])

    def test_it_comes(self) -> None:
        self.happens("b")
        self.seconds(1)
        version = self.again.version
        self.assertEqual(self.told(), [f"bob active;expires=3598 {version}: full ab"])

    def test_it_is_found(self) -> None:
        self.notifier.found("conference", ROOM, self.diary)
        self.soon()
        (told,) = self.told()
        self.assertTrue(told.endswith("full a"), told)

    def test_it_does_not_come(self) -> None:
        self.notifier.found("conference", ROOM, None)
        self.soon()
        (told,) = self.told()
        self.assertTrue(told.startswith("bob terminated;reason=noresource"), told)
        self.assertIn("ended", told)
        self.assertEqual(len(self.notifier), 0)


class HostileTests(KeptTestCase):
    """Whatever is in the database, nothing but a `KeptError` comes of it."""

    def read(self, octets: bytes) -> None:
        try:
            KeptSubscription.decode("x", octets)
        except KeptError as error:
            self.assertTrue(str(error))

    @given(st.binary(max_size=200))
    def test_octets(self, octets: bytes) -> None:
        self.read(octets)

    def setUp(self) -> None:
        super().setUp()
        Watcher(self).subscribe()
        self.document = json.loads(self.kept().encode())

    @given(st.data())
    def test_one_value_that_is_another(self, data: Any) -> None:
        document = dict(self.document)
        name = data.draw(st.sampled_from(sorted(document)))
        values = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.none(), max_size=3)
        document[name] = data.draw(values)
        self.read(json.dumps(document).encode())
