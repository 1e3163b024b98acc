"""Who is told what, and when (RFC 6665 §4.2, RFC 6446, RFC 4575 §3)."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from msrpconf.conference.decision import Denied
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.watching import Decision
from msrpconf.protocols.sip.message import Response
from tests.presence.support import ROOM, Diary, News, NotifierTestCase, Watcher, somebody


class TellingTests(NotifierTestCase):
    def test_everything_first_then_what_has_changed(self) -> None:
        self.happens("ab")
        answer = Watcher(self).subscribe()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers.get("Expires"), "3600")
        self.assertEqual(self.sent, [])  # not before the answer
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3600 0: full ab"])
        self.seconds(2)
        self.happens("c")
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3598 1: partial c"])

    def test_what_happens_within_the_interval_is_told_together(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.happens("a")
        self.soon()
        for letter in "bcd":
            self.happens(letter)
            self.seconds(0.25)
        self.assertEqual(self.told(), ["bob active;expires=3598 1: partial a"])
        self.seconds(0.25)
        self.assertEqual(self.told(), ["bob active;expires=3597 2: partial bcd"])
        self.seconds(10)
        self.assertEqual(self.told(), [])

    def test_one_notify_at_a_time(self) -> None:
        Watcher(self).subscribe()
        self.answers = False
        self.soon()
        for letter in "abc":
            self.happens(letter)
            self.seconds(2)
        self.assertEqual(len(self.sent), 1)
        self.answer()
        self.soon()
        self.assertEqual(self.told()[1:], ["bob active;expires=3594 1: partial abc"])

    def test_one_document_serves_all(self) -> None:
        for number in range(50):
            Watcher(self, f"w{number}").subscribe()
        self.seconds(2)
        self.assertEqual(len(self.told()), 50)
        self.assertEqual(self.diary.made, ["full "])
        self.happens("a")
        self.seconds(1)
        self.assertEqual(len(self.told()), 50)
        self.assertEqual(self.diary.made.count("partial a"), 1)

    def test_versions_are_each_subscriptions_own(self) -> None:
        Watcher(self, "bob").subscribe()
        self.seconds(2)
        self.happens("a")
        self.seconds(2)
        Watcher(self, "carol").subscribe()
        self.seconds(2)
        self.told()
        self.happens("b")
        self.soon()
        self.assertEqual(
            self.told(),
            ["bob active;expires=3594 2: partial b", "carol active;expires=3598 1: partial b"],
        )

    def test_who_is_far_behind_gets_everything(self) -> None:
        Watcher(self).subscribe()
        self.answers = False
        self.soon()
        for _ in range(1000):
            self.happens("x")
        self.answer()
        self.seconds(2)
        self.assertEqual(self.told()[-1], f"bob active;expires=3599 1: full {'x' * 1000}")

    def test_everything_where_that_is_less(self) -> None:
        watcher = Watcher(self)
        watcher.subscribe()
        self.seconds(2)
        self.told()
        self.diary.letters = ""
        self.notifier.changed("conference", ROOM, self.diary, News("a" * 40))
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3598 1: full"])

    def test_everything_each_time_where_partial_is_off(self) -> None:
        self.notifier.settings = evolve(self.settings, partial=False)
        Watcher(self).subscribe()
        self.seconds(2)
        self.happens("a")
        self.seconds(2)
        self.assertEqual(self.told()[-1], "bob active;expires=3598 1: full a")

    def test_many_do_not_hold_up_a_turn(self) -> None:
        """A turn ends after some milliseconds, and the next goes on with the rest."""
        for number in range(10):
            Watcher(self, f"w{number}").subscribe()
        clock: Any = self.clock
        now, later = clock.seconds, clock.callLater
        ticks, turns = iter(range(10000)), []

        def call_later(delay: float, call: Any, *args: Any) -> Any:
            if not delay:
                turns.append(len(self.sent))
            return later(delay, call, *args)

        clock.seconds = lambda: now() + next(ticks) / 1000
        clock.callLater = call_later
        clock.advance(0)
        self.assertEqual(len(self.sent), 10)
        self.assertGreater(len(set(turns)), 3)


class LifeTests(NotifierTestCase):
    def test_refreshed_it_is_told_everything(self) -> None:
        """As a watcher asks who has missed a version (RFC 4575 §4.6)."""
        bob = Watcher(self)
        bob.subscribe()
        self.seconds(2)
        self.happens("a")
        self.seconds(2)
        self.told()
        self.assertEqual(bob.subscribe(expires=1800).status, 200)
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=1800 2: full a"])
        self.assertEqual(len(self.notifier), 1)

    def test_over_in_time(self) -> None:
        Watcher(self).subscribe(expires=60)
        self.seconds(59)
        self.assertEqual(len(self.notifier), 1)
        self.told()
        self.seconds(2)
        self.assertEqual(len(self.notifier), 0)
        self.assertEqual(self.told(), ["bob terminated;reason=timeout"])
        self.happens("a")
        self.seconds(2)
        self.assertEqual(self.told(), [])

    def test_refreshed_it_lasts(self) -> None:
        bob = Watcher(self)
        bob.subscribe(expires=60)
        self.seconds(50)
        bob.subscribe(expires=60)
        self.seconds(50)
        self.assertEqual(len(self.notifier), 1)
        self.seconds(20)
        self.assertEqual(len(self.notifier), 0)

    def test_unsubscribed(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        self.seconds(2)
        self.told()
        self.assertEqual(bob.subscribe(expires=0).headers.get("Expires"), "0")
        self.soon()
        self.assertEqual(self.told(), ["bob terminated;reason=timeout"])
        self.assertEqual(len(self.notifier), 0)
        self.assertEqual(bob.subscribe().status, 481)

    def test_fetched(self) -> None:
        self.happens("ab")
        self.assertEqual(Watcher(self).subscribe(expires=0).status, 200)
        self.soon()
        self.assertEqual(self.told(), ["bob terminated;reason=timeout 0: full ab"])
        self.assertEqual(len(self.notifier), 0)

    def test_over_while_a_notify_is_under_way(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        self.answers = False
        self.soon()
        bob.subscribe(expires=0)
        self.seconds(2)
        self.assertEqual(len(self.sent), 1)
        self.answer()
        self.soon()
        self.assertEqual(self.told()[1:], ["bob terminated;reason=timeout"])

    def test_the_room_ends(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.ends()
        self.soon()
        self.assertEqual(self.told(), [f"bob terminated;reason=noresource 1: ended {ROOM}"])
        self.assertEqual(len(self.notifier), 0)
        self.assertEqual(Watcher(self, "carol").subscribe().status, 404)

    def test_a_room_that_comes_again_is_another(self) -> None:
        Watcher(self, "bob").subscribe()
        self.answers = False
        self.soon()
        self.ends()
        self.rooms[ROOM] = self.diary
        self.answers = True
        Watcher(self, "carol").subscribe()
        self.happens("a")
        self.answer()
        self.seconds(2)
        told = self.told()[1:]
        self.assertIn(f"bob terminated;reason=noresource 1: ended {ROOM}", told)
        self.assertIn("carol active;expires=3600 0: full a", told)

    def test_the_server_stops(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.answers = False
        stopped = self.notifier.stop("shutting down")
        self.soon()
        self.assertNoResult(stopped)
        self.answer()
        self.successResultOf(stopped)
        self.assertEqual(self.told(), ["bob terminated;reason=deactivated"])

    def test_nobody_watches_when_the_server_stops(self) -> None:
        self.successResultOf(self.notifier.stop("shutting down"))

    def test_no_timer_is_left(self) -> None:
        for number in range(200):
            bob = Watcher(self, f"w{number}")
            bob.subscribe()
            self.soon()
            bob.subscribe(expires=0)
            self.soon()
        self.assertLess(len(self.notifier._timing), 100)
        self.seconds(3)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)


class FailureTests(NotifierTestCase):
    def subscribed(self) -> Watcher:
        bob = Watcher(self)
        bob.subscribe()
        self.answers = False
        self.soon()
        return bob

    def test_who_does_not_take_a_notify_is_no_watcher(self) -> None:
        for status in (408, 481, 404, 489, 500, 503):
            with self.subTest(status):
                self.subscribed()
                self.answer(status)
                self.assertEqual(len(self.notifier), 0)
                self.assertIn(f"NOTIFY got {status}", self.lines[-1])
                self.assertIn("(Call-ID bob)", self.lines[-1])
                self.happens("a")
                self.seconds(2)
                self.assertEqual(len(self.told()), 1)
                self.answers = True

    def test_who_asks_for_time_gets_it_and_then_everything(self) -> None:
        self.subscribed()
        self.happens("a")
        self.answer(500, ("Retry-After", "5"))
        self.assertEqual(len(self.notifier), 1)
        self.seconds(4)
        self.assertEqual(len(self.told()), 1)
        self.seconds(2)
        self.assertEqual(self.told(), ["bob active;expires=3595 1: full a"])

    def test_a_time_that_is_none_or_too_long(self) -> None:
        for value, remains in (("soon", 0), ("-1", 0), ("9" * 99, 0), ("4000000000", 1)):
            self.subscribed()
            self.answer(500, ("Retry-After", value))
            self.assertEqual(len(self.notifier), remains, value)
            self.answers = True
        self.happens("a")
        self.told()
        self.seconds(601)
        self.assertEqual(len(self.told()), 1)

    def test_the_way_fails(self) -> None:
        self.subscribed()
        self.sent[0][1].errback(OSError("no way"))
        self.assertEqual(len(self.notifier), 0)
        self.assertIn("no way", self.lines[-1])

    def test_the_last_notify_fails(self) -> None:
        bob = self.subscribed()
        self.answer()
        bob.subscribe(expires=0)
        self.soon()
        stopped = self.notifier.stop("shutting down")
        self.answer(481)
        self.successResultOf(stopped)


class RateTests(NotifierTestCase):
    def test_no_more_than_the_watcher_wants(self) -> None:
        Watcher(self).subscribe(event="conference;max-rate=0.1")
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3600;max-rate=0.1 0: full"])
        self.happens("a")
        self.seconds(5)
        self.happens("b")
        self.seconds(4)
        self.assertEqual(self.told(), [])
        self.seconds(2)
        self.assertEqual(self.told(), ["bob active;expires=3590;max-rate=0.1 1: partial ab"])
        self.seconds(20)
        self.happens("c")
        self.soon()
        self.assertEqual(len(self.told()), 1)

    def test_no_fewer_than_the_watcher_wants(self) -> None:
        Watcher(self).subscribe(event="conference;min-rate=0.1")
        self.seconds(9)
        self.assertEqual(len(self.told()), 1)
        self.seconds(2)
        self.assertEqual(self.told(), ["bob active;expires=3590;min-rate=0.1 1: partial"])
        self.happens("a")
        self.seconds(9)
        self.assertEqual(len(self.told()), 1)
        self.seconds(2)
        self.assertEqual(len(self.told()), 1)

    def test_about_as_many_as_the_watcher_wants(self) -> None:
        Watcher(self).subscribe(event="conference;adaptive-min-rate=0.1")
        self.seconds(200)
        self.assertIn(len(self.told()), range(18, 24))
        # After many comes a longer silence.
        for _ in range(20):
            self.happens("a")
            self.seconds(1)
        self.told()
        self.seconds(20)
        self.assertEqual(len(self.told()), 0)

    def test_never_more_than_we_allow(self) -> None:
        Watcher(self).subscribe(event="conference;max-rate=50;min-rate=99")
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3600;max-rate=1;min-rate=1 0: full"])
        self.seconds(10)
        self.assertIn(len(self.told()), (9, 10))

    def test_at_least_once(self) -> None:
        """RFC 6446 §5.3: a rate under which nothing would ever be told is raised."""
        Watcher(self).subscribe(event="conference;max-rate=0.0000000001", expires=100)
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=100;max-rate=0.01 0: full"])

    def test_another_rate_in_an_answer(self) -> None:
        Watcher(self).subscribe()
        self.answers = False
        self.soon()
        self.answer(200, ("Event", "conference;max-rate=0.1"))
        self.told()
        self.happens("a")
        self.seconds(9)
        self.assertEqual(self.told(), [])
        self.seconds(2)
        self.assertEqual(self.told(), ["bob active;expires=3590;max-rate=0.1 1: partial a"])

    def test_rubbish_in_an_answer_is_nothing(self) -> None:
        Watcher(self).subscribe()
        self.answers = False
        self.soon()
        self.answer(200, ("Event", "conference;max-rate=fast"))
        self.assertEqual(len(self.notifier), 1)

    def test_400_for_what_is_no_rate(self) -> None:
        for rate in ("fast", "0", "-1", "100", "1e9", "nan", "1.12345678901", "0.0"):
            with self.assertRaisesRegex(ValueError, "max-rate is a number"):
                Watcher(self).subscribe(event=f"conference;max-rate={rate}")


class PolicyTests(NotifierTestCase):
    def decide(self, decision: Decision, name: str = "bob") -> None:
        self.decisions[somebody(name).key] = decision
        self.notifier.reconsider("conference", ROOM)

    def test_who_may_not(self) -> None:
        self.decide(Decision.BLOCK)
        answer = Watcher(self).subscribe()
        self.assertIsInstance(answer, Denied)
        self.assertEqual(answer.status, 403)

    def test_who_may_not_any_more(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.decide(Decision.BLOCK)
        self.soon()
        self.assertEqual(self.told(), ["bob terminated;reason=rejected"])

    def test_a_decision_that_nobody_told_us_of_holds_for_the_next_document(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.decisions[somebody().key] = Decision.BLOCK
        self.happens("a")
        self.soon()
        self.assertEqual(self.told(), ["bob terminated;reason=rejected"])

    def test_politely_nothing(self) -> None:
        self.decide(Decision.POLITE_BLOCK)
        self.happens("a")
        Watcher(self).subscribe()
        self.soon()
        self.assertEqual(self.told(), [f"bob active;expires=3600 0: empty {ROOM}"])
        self.happens("b")
        self.seconds(5)
        self.assertEqual(self.told(), [])
        self.decide(Decision.ALLOW)
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3595 1: full ab"])

    def test_not_yet(self) -> None:
        self.decide(Decision.CONFIRM)
        Watcher(self).subscribe()
        self.soon()
        self.assertEqual(self.told(), ["bob pending;expires=3600"])
        self.happens("a")
        self.seconds(5)
        self.assertEqual(self.told(), [])
        self.decide(Decision.ALLOW)
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3595 0: full a"])

    def test_not_yet_again(self) -> None:
        Watcher(self).subscribe()
        self.seconds(2)
        self.told()
        self.decide(Decision.CONFIRM)
        self.soon()
        self.assertEqual(self.told(), ["bob terminated;reason=deactivated"])

    def test_how_many_but_not_who(self) -> None:
        self.decide(Decision.SUMMARY)
        Watcher(self).subscribe()
        self.seconds(2)
        self.happens("abc")
        self.soon()
        self.assertEqual(
            self.told(),
            ["bob active;expires=3600 0: summary 0", "bob active;expires=3598 1: summary 3"],
        )


class LargeTests(NotifierTestCase):
    def test_where_only_udp_goes_it_is_the_summary_until_all_fits(self) -> None:
        self.happens("abc")
        Watcher(self).subscribe()
        self.answers = False
        self.soon()
        notify, answer, small = self.sent[0]
        shrunk = small()
        self.assertIn(b'version="0">summary 3', shrunk.body)
        self.assertEqual(shrunk.headers.get("CSeq"), notify.headers.get("CSeq"))
        answer.callback(shrunk.response(200))
        self.answers = True
        self.seconds(5)
        self.assertEqual(len(self.told()), 1)  # nothing has changed
        self.happens("d")
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3595 1: full abcd"])


class BoundTests(NotifierTestCase):
    settings = NotifierSettings(
        max_subscriptions=4, max_room_subscriptions=3, max_watcher_subscriptions=2
    )

    def other(self, name: str) -> str:
        uri = f"sip:{name}@conf.example.com"
        self.rooms[uri] = Diary(uri)
        return uri

    def test_bounds(self) -> None:
        def status(answer: Response | Denied) -> int:
            return answer.status

        one, two, three = map(self.other, ("one", "two", "three"))
        self.assertEqual(status(Watcher(self).subscribe(key=one)), 200)
        self.assertEqual(status(Watcher(self).subscribe(key=two)), 200)
        answer = Watcher(self).subscribe(key=three)
        self.assertEqual(answer.status, 403)
        self.assertIn("2 subscriptions already", answer.reason)
        # Asking once is no subscription.
        self.assertEqual(status(Watcher(self).subscribe(key=three, expires=0)), 200)
        for name in ("ann", "ben"):
            self.assertEqual(status(Watcher(self, name).subscribe(key=one)), 200)
        self.assertEqual(status(Watcher(self, "cid").subscribe(key=one)), 503)
        self.assertEqual(status(Watcher(self, "cid").subscribe(key=two)), 503)

    def test_what_is_over_does_not_count(self) -> None:
        for _ in range(10):
            bob = Watcher(self)
            self.assertEqual(bob.subscribe().status, 200)
            bob.subscribe(expires=0)
            self.soon()

    def test_subscriptions_in_one_dialog(self) -> None:
        self.notifier.settings = NotifierSettings()
        bob = Watcher(self)
        statuses = [bob.subscribe(event=f"conference;id={each}").status for each in range(12)]
        self.assertEqual(statuses, [200] * 10 + [403] * 2)


class WayTests(NotifierTestCase):
    def subscribe_behind_a_proxy(self, number: int, proxy: str = "<sip:proxy;lr>") -> None:
        Watcher(self, f"w{number}").subscribe(("Record-Route", proxy))

    def test_no_more_is_under_way_than_a_connection_holds(self) -> None:
        self.diary.letters = "x" * 100_000
        self.answers = False
        for number in range(10):
            self.subscribe_behind_a_proxy(number)
        self.soon()
        self.assertEqual(len(self.sent), 3)
        self.happens("y")
        # Who has waited is told how it is by then.
        for _ in range(7):
            self.answer()
            self.soon()
        self.assertEqual(len(self.sent), 10)
        self.assertTrue(all(b"xy</diary>" in notify.body for notify, *_ in self.sent[3:]))
        self.answers = True
        while not all(answer.called for _, answer, _ in self.sent):
            self.answer()
        self.seconds(2)
        self.assertEqual(len(self.notifier._delivery.ways), 0)

    def test_no_more_answers_come_at_once_than_a_turn_may_take(self) -> None:
        self.answers = False
        for number in range(100):
            self.subscribe_behind_a_proxy(number)
        self.soon()
        self.assertEqual(len(self.sent), 64)

    def test_ways_do_not_wait_for_each_other(self) -> None:
        self.diary.letters = "x" * 100_000
        self.answers = False
        for number in range(10):
            self.subscribe_behind_a_proxy(number, f"<sip:proxy{number % 2};lr>")
        self.soon()
        self.assertEqual(len(self.sent), 6)

    def test_who_does_not_answer_holds_up_nobody_for_long(self) -> None:
        self.diary.letters = "x" * 100_000
        self.answers = False
        for number in range(10):
            self.subscribe_behind_a_proxy(number)
        self.seconds(3)
        self.assertEqual(len(self.sent), 5)
        self.seconds(10)
        # More would be more than a connection keeps for who does not read.
        self.assertEqual(len(self.sent), 5)
        for _ in range(5):
            self.answer(408)
        self.soon()
        self.assertEqual(len(self.sent), 8)

    def test_a_document_that_is_too_large_is_not_sent(self) -> None:
        self.notifier.settings = evolve(self.settings, max_octets=1000)
        self.diary.letters = "x" * 2000
        Watcher(self).subscribe()
        self.soon()
        self.assertEqual(self.told(), ["bob active;expires=3600 0: summary 2000"])
        self.diary.letters = "x" * 20
        self.seconds(2)
        self.happens("y")
        self.soon()
        self.assertEqual(self.told(), [f"bob active;expires=3598 1: full {'x' * 20}y"])
