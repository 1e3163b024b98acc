"""Who watches, told to who decides about that (RFC 3857, RFC 3858)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.presence import waiting
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.watching import Decision
from msrpconf.presence.winfo import WINFO_EVENT, Gone, WatcherInfos, WatchersChange
from msrpconf.protocols.sip.message import Response
from tests.conference.support import request
from tests.presence.support import ROOM, NotifierTestCase, Watcher, somebody
from tests.watcher_documents import Table, read

OWNER = "sip:alice@example.com"


class _Policy:
    """What the test case decides; only Alice is an owner."""

    def __init__(self, case: WinfoTestCase) -> None:
        self._case = case
        self.hooks: list[Callable[[str], None]] = []

    def decide(self, room_key: str, watcher: Identity) -> Decision:
        return self._case.decisions.get(watcher.key, self._case.default)

    def refuses_watchers(self, room_key: str, user: Identity) -> Denied | None:
        return None if user.key in self._case.owners else Denied(403, "Only owners")

    def on_change(self, hook: Callable[[str], None]) -> None:
        self.hooks.append(hook)


class WinfoTestCase(NotifierTestCase):
    """One room in which nobody is decided about, and its owner Alice."""

    settings = NotifierSettings(interval=1.0, winfo_interval=1.0, waiting=1000.0)
    default = Decision.CONFIRM

    def setUp(self) -> None:
        super().setUp()
        self.owners = {OWNER}
        self.policy = _Policy(self)
        states: Any = self
        self.infos = WatcherInfos(self.clock, self.notifier, states, self.policy)
        self.addCleanup(self.infos.stop)
        self.subscribing.packages = {
            **self.subscribing.packages,
            "conference": evolve(
                self.subscribing.packages["conference"], decide=self.policy.decide
            ),
            WINFO_EVENT: self.infos.package,
        }
        self.table = Table()

    def find(self, key: str) -> Any:
        """As `ConferenceStates` does."""
        return self.rooms.get(key)

    def decide(self, decision: Decision, name: str = "bob") -> None:
        self.decisions[somebody(name).key] = decision
        self.notifier.reconsider("conference", ROOM)
        for hook in self.policy.hooks:
            hook(ROOM)

    def owner(self, expires: int = 3600) -> Watcher:
        """Alice subscribes, and is told everything."""
        alice = Watcher(self, "alice")
        self.assertEqual(alice.subscribe(event=WINFO_EVENT, expires=expires).status, 200)
        return alice

    def news(self) -> list[str]:
        """What the owner is told by the next document, a while later."""
        documents = self.documents()
        if not documents:
            return []
        (document,) = documents
        return self.table.apply(document)

    def documents(self) -> list[bytes]:
        """What the owner was told in the last seconds."""
        self.seconds(2)
        sent, self.sent = self.sent, [each for each in self.sent if not each[1].called]
        return [
            notify.body
            for notify, _, _ in sent
            if notify.headers.get("Content-Type") == "application/watcherinfo+xml"
        ]

    def fresh(self) -> list[str]:
        """What somebody is told who asks now."""
        table = Table()
        table.apply(self.infos._find(ROOM).full(0))  # type: ignore[union-attr]
        return table.watchers


class ToldTests(WinfoTestCase):
    def test_everybody_first_then_who_has_changed(self) -> None:
        Watcher(self, "bob").subscribe()
        self.seconds(5)
        self.owner()
        self.assertEqual(self.news(), ["full:", "bob pending by subscribe"])
        self.assertEqual(self.table.resource, ROOM)
        (row,) = self.table.rows.values()
        self.assertEqual((row.uri, row.duration, row.expiration), ("sip:bob@example.com", 5, 3595))
        self.decisions[somebody("carol").key] = Decision.ALLOW
        Watcher(self, "carol").subscribe(expires=600)
        self.assertEqual(self.news(), ["partial:", "carol active by subscribe"])
        self.assertEqual(self.table.version, 1)
        self.assertEqual(
            self.table.watchers, ["bob pending by subscribe", "carol active by subscribe"]
        )

    def test_who_is_allowed(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        self.owner()
        self.news()
        (name,) = self.table.rows
        self.decide(Decision.ALLOW)
        self.assertEqual(self.news(), ["partial:", "bob active by approved"])
        self.assertEqual(set(self.table.rows), {name})
        self.assertEqual(self.fresh(), ["bob active by approved"])
        bob.subscribe(expires=0)
        self.assertEqual(self.news(), ["partial:", "bob terminated by timeout"])
        self.assertEqual(self.fresh(), [])

    def test_who_is_not(self) -> None:
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.decide(Decision.BLOCK)
        self.assertEqual(self.news(), ["partial:", "bob terminated by rejected"])

    def test_who_was_allowed_and_is_to_be_asked_about_again(self) -> None:
        self.decide(Decision.ALLOW)
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.decide(Decision.CONFIRM)
        self.assertEqual(self.news(), ["partial:", "bob terminated by deactivated"])

    def test_who_is_told_politely_nothing_is_active(self) -> None:
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.decide(Decision.POLITE_BLOCK)
        self.assertEqual(self.news(), ["partial:", "bob active by approved"])

    def test_who_takes_no_notify(self) -> None:
        self.decide(Decision.ALLOW)
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.answers = False
        self.happens("a")
        self.seconds(1)
        self.answer(481)
        self.answers = True
        self.assertEqual(self.news(), ["partial:", "bob terminated by timeout"])

    def test_a_refresh_is_no_news(self) -> None:
        bob = Watcher(self)
        bob.subscribe()
        self.owner()
        self.news()
        bob.subscribe()
        self.assertEqual(self.news(), [])

    def test_who_comes_and_goes_meanwhile_is_not_told(self) -> None:
        """RFC 3857 §4.7.2: no notifications for transient states."""
        self.decide(Decision.ALLOW)
        self.owner()
        self.news()
        Watcher(self, "carol").subscribe()
        self.soon()
        bob = Watcher(self)
        bob.subscribe()
        self.seconds(0.25)
        Watcher(self, "dave").subscribe()
        bob.subscribe(expires=0)
        first, second = self.documents()
        self.assertEqual(self.table.apply(first), ["partial:", "carol pending by subscribe"])
        self.assertEqual(self.table.apply(second), ["partial:", "dave pending by subscribe"])
        Watcher(self, "bob").subscribe(expires=0)
        self.assertEqual(self.news(), [])

    def test_told_together_no_more_often_than_that(self) -> None:
        self.notifier.settings = evolve(self.settings, winfo_interval=5.0)
        self.owner()
        self.news()
        self.seconds(10)
        for name in ("a", "b", "c"):
            Watcher(self, name).subscribe()
            self.seconds(1)
        self.assertEqual(len(self.news()), 2)
        self.seconds(4)
        self.assertEqual(len(self.news()), 3)

    def test_refreshed_it_is_everything_again(self) -> None:
        alice = self.owner()
        Watcher(self).subscribe()
        self.news()
        alice.subscribe(event=WINFO_EVENT)
        self.assertEqual(self.news(), ["full:", "bob pending by subscribe"])

    def test_beside_the_room_in_one_dialog(self) -> None:
        """An owner who watches the room is one of its watchers."""
        self.decide(Decision.ALLOW, "alice")
        alice = Watcher(self, "alice")
        alice.subscribe()
        self.assertEqual(alice.subscribe(event=WINFO_EVENT).status, 200)
        self.assertEqual(self.news(), ["full:", "alice active by subscribe"])
        self.assertEqual(self.notifier.by_package(), {"conference": 1, "conference.winfo": 1})
        self.happens("a")
        self.seconds(2)
        ((notify, _, _),) = self.sent
        self.assertEqual(notify.headers.get("Event"), "conference")
        self.sent = []
        alice.subscribe(expires=0)
        self.assertEqual(self.news(), ["partial:", "alice terminated by timeout"])
        self.assertEqual(self.notifier.by_package(), {"conference.winfo": 1})

    def test_asked_once(self) -> None:
        Watcher(self).subscribe()
        self.owner(expires=0)
        self.assertEqual(self.news(), ["full:", "bob pending by subscribe"])
        self.assertEqual(self.notifier.of(WINFO_EVENT, ROOM), [])

    def test_times_are_those_of_the_document(self) -> None:
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.seconds(100)
        self.table = Table()
        self.owner(expires=0)
        self.news()
        (row,) = self.table.rows.values()
        self.assertEqual((row.duration, row.expiration), (102, 3498))

    def test_the_room_ends(self) -> None:
        Watcher(self).subscribe()
        self.owner()
        self.news()
        self.ends()
        self.infos.room_ended(ROOM)
        self.soon()
        self.assertIn("alice terminated;reason=noresource", self.told())
        self.assertEqual(len(self.infos.waiting), 0)

    def test_whatever_they_are_called(self) -> None:
        self.owner()
        self.news()
        for number, name in enumerate(('<&">', "\x00\ufffe", "ü" * 300, "]]>")):
            uri = f"sip:{number}%20@[2001:db8::1]"
            if number == 2:
                uri = f"sip:{'x' * 3000}@example.com"
            watcher = Identity(uri, name, (f"sip:{number}@example.com",))
            gone = Gone(f"id{number}", watcher, "giveup", -1.0)
            self.infos._tell(ROOM, WatchersChange({gone.id: gone}))
        (notify,) = self.documents()
        # xs:anyURI may have the brackets of an IPv6 address; libxml2 takes them in http alone.
        read(notify.replace(b"[2001:db8::1]", b"host"))

    def test_what_goes_by_udp_alone(self) -> None:
        """Those about whom there is something to decide, who waits longest first."""
        for number in range(20):
            Watcher(self, f"w{number}").subscribe()
            self.seconds(1)
        self.decide(Decision.ALLOW, "w0")
        self.seconds(5)
        self.sent = []
        self.answers = False
        self.owner()
        self.soon()
        ((_, answer, small),) = self.sent
        shrunk = small()
        self.assertLess(len(shrunk.body), 900)
        said = Table().apply(shrunk.body)
        self.assertEqual(said[:3], ["full:", "w1 pending by subscribe", "w2 pending by subscribe"])
        answer.callback(shrunk.response(200))


class DecisionTests(WinfoTestCase):
    """What a decision does to subscriptions there are, and to those that come (RFC 5025 §3.2.1)."""

    def outcome(self, before: str, decision: Decision) -> list[str]:
        """What the owner is told of Bob, who is `before`; then what his next SUBSCRIBE gets."""
        self.setUp()
        if before == "active":
            self.decide(Decision.ALLOW)
        bob = Watcher(self)
        if before != "new":
            bob.subscribe(expires=0 if before == "waiting" else 3600)
        self.owner()
        self.news()
        self.decide(decision)
        told = self.news()[1:]
        again = Watcher(self)
        again.cseq = 10
        answer = again.subscribe()
        self.documents()
        last = self.fresh()[-1] if answer.status == 200 else ""
        return [*told, f"{answer.status} {last}".strip()]

    def test_the_table(self) -> None:
        allowed, rejected = "200 bob active by subscribe", "403"
        pending = "200 bob pending by subscribe"
        block, confirm = Decision.BLOCK, Decision.CONFIRM
        polite, allow = Decision.POLITE_BLOCK, Decision.ALLOW
        for before, decision, expected in (
            ("new", block, [rejected]),
            ("new", confirm, [pending]),
            ("new", polite, [allowed]),
            ("new", allow, [allowed]),
            ("pending", block, ["bob terminated by rejected", rejected]),
            ("pending", confirm, [pending]),
            ("pending", polite, ["bob active by approved", allowed]),
            ("pending", allow, ["bob active by approved", allowed]),
            ("active", block, ["bob terminated by rejected", rejected]),
            # RFC 6665 §4.2.2 has no way back to pending; the new subscription is.
            ("active", confirm, ["bob terminated by deactivated", pending]),
            ("active", polite, [allowed]),
            ("active", allow, [allowed]),
            ("waiting", block, ["bob terminated by rejected", rejected]),
            ("waiting", confirm, [pending]),
            ("waiting", polite, ["bob terminated by approved", allowed]),
            ("waiting", allow, ["bob terminated by approved", allowed]),
        ):
            with self.subTest(before=before, decision=decision):
                self.assertEqual(self.outcome(before, decision), expected)


class RefusedTests(WinfoTestCase):
    def test_403_for_who_is_no_owner(self) -> None:
        self.decide(Decision.ALLOW)
        answer = Watcher(self).subscribe(event=WINFO_EVENT)
        self.assertEqual((answer.status, answer.reason), (403, "Only owners"))

    def test_who_is_no_owner_any_more(self) -> None:
        self.owner()
        self.news()
        self.owners.clear()
        Watcher(self).subscribe()
        self.seconds(2)
        self.assertIn("alice terminated;reason=rejected", self.told())

    def test_489_for_who_watches_that(self) -> None:
        answer = Watcher(self, "alice").subscribe(event=f"{WINFO_EVENT}.winfo")
        self.assertEqual(answer.status, 489)
        self.assertEqual(answer.headers, (("Allow-Events", "conference, conference.winfo, refer"),))

    def test_406_for_who_does_not_take_our_documents(self) -> None:
        accept = ("Accept", "application/conference-info+xml")
        answer = Watcher(self, "alice").subscribe(accept, event=WINFO_EVENT)
        self.assertEqual(answer.status, 406)
        self.assertEqual(answer.headers, (("Accept", "application/watcherinfo+xml"),))

    def test_404_without_a_room(self) -> None:
        answer = Watcher(self, "alice").subscribe(event=WINFO_EVENT, key="sip:none@example.com")
        self.assertEqual(answer.status, 404)


class WaitingTests(WinfoTestCase):
    def test_who_went_away_undecided(self) -> None:
        bob = Watcher(self)
        bob.subscribe(expires=60)
        self.owner()
        self.news()
        (name,) = self.table.rows
        self.seconds(60)
        self.assertEqual(self.news(), ["partial:", "bob waiting by timeout"])
        self.assertEqual(set(self.table.rows), {name})
        # Also for an owner who comes later.
        self.assertEqual(self.fresh(), ["bob waiting by timeout"])
        self.assertEqual(len(self.notifier), 1)
        # Asked for again it is the new subscription that is pending.
        Watcher(self).subscribe()
        told = self.news()
        self.assertEqual(told, ["partial:", "bob terminated by giveup", "bob pending by subscribe"])
        self.assertEqual(self.fresh(), ["bob pending by subscribe"])

    def test_decided_about_while_they_wait(self) -> None:
        for name in ("bob", "carol", "dave"):
            Watcher(self, name).subscribe(expires=60)
        self.seconds(62)
        self.owner()
        self.news()
        self.decide(Decision.ALLOW, "bob")
        self.assertEqual(self.news(), ["partial:", "bob terminated by approved"])
        self.decide(Decision.BLOCK, "carol")
        self.assertEqual(self.news(), ["partial:", "carol terminated by rejected"])
        self.assertEqual(self.fresh(), ["dave waiting by timeout"])

    def test_who_asks_once_waits(self) -> None:
        self.owner()
        self.news()
        self.assertEqual(Watcher(self).subscribe(expires=0).status, 200)
        self.assertEqual(self.news(), ["partial:", "bob waiting by timeout"])
        # Asking again and again is no news, and makes no second entry.
        for number in range(5):
            again = Watcher(self)
            again.cseq = number
            again.subscribe(expires=0)
        self.assertEqual(self.news(), [])
        self.assertEqual(self.fresh(), ["bob waiting by timeout"])

    def test_who_watches_from_two_devices(self) -> None:
        self.owner()
        first = Watcher(self)
        first.subscribe(("Via", "1"), expires=60)
        second = Watcher(self)
        second.cseq = 7
        second.subscribe(expires=120)
        self.news()
        self.assertEqual(len(self.table.rows), 2)
        self.seconds(60)
        self.news()
        self.seconds(60)
        self.assertEqual(self.news(), ["partial:", "bob terminated by giveup"])
        self.assertEqual(self.table.watchers, ["bob waiting by timeout"])

    def test_not_for_ever(self) -> None:
        Watcher(self).subscribe(expires=60)
        self.seconds(62)
        self.owner(expires=7200)
        self.news()
        self.seconds(990)
        self.assertEqual(self.fresh(), ["bob waiting by timeout"])
        self.seconds(10)
        self.assertEqual(self.news(), ["partial:", "bob terminated by giveup"])
        self.assertEqual(len(self.infos.waiting), 0)
        self.assertTrue(any("waits no more to watch" in line for line in self.lines))

    def test_not_who_cannot_be_named(self) -> None:
        hidden = "anonymous@anonymous.invalid"
        self.decisions[f"sip:{hidden}"] = Decision.CONFIRM
        self.owner()
        self.news()
        answer = self.subscribing.handle(
            request(
                "SUBSCRIBE",
                ROOM,
                from_=f"<sip:{hidden}>;tag=a",
                to=f"<{ROOM}>",
                call_id="hidden",
                headers=(
                    ("Event", "conference"),
                    ("Contact", "<sip:h@192.0.2.9>"),
                    ("Expires", "60"),
                ),
            ),
            ROOM,
            "",
            f"<{ROOM}>",
        )
        assert isinstance(answer, Response)
        self.assertEqual(self.news(), ["partial:", "anonymous pending by subscribe"])
        self.seconds(60)
        self.assertEqual(self.news(), ["partial:", "anonymous terminated by giveup"])
        self.assertEqual(len(self.infos.waiting), 0)

    def test_no_more_in_a_room_than_a_bound(self) -> None:
        self.notifier.settings = evolve(self.settings, max_room_waiting=3)
        for number in range(5):
            Watcher(self, f"w{number}").subscribe(expires=0)
            self.seconds(1)
        self.assertEqual(self.fresh(), [f"w{number} waiting by timeout" for number in (2, 3, 4)])

    def test_no_more_of_a_user_than_a_bound(self) -> None:
        self.patch(waiting, "MAX_OF_USER", 2)
        self.in_rooms("sip:%d@conf.example.com", lambda number: "bob", 3)
        self.assertEqual(len(self.infos.waiting), 2)

    def test_no_more_in_all_than_a_bound(self) -> None:
        self.patch(waiting, "MAX_WAITING", 2)
        self.in_rooms("sip:%d@conf.example.com", lambda number: f"w{number}", 3)
        self.assertEqual(len(self.infos.waiting), 2)
        self.assertEqual(self.infos.waiting.of("sip:0@conf.example.com"), [])

    def in_rooms(self, uri: str, name: Callable[[int], str], count: int) -> None:
        for number in range(count):
            self.rooms[uri % number] = self.diary
            Watcher(self, name(number)).subscribe(expires=0, key=uri % number)
            self.soon()

    def test_nothing_is_left_of_a_room(self) -> None:
        Watcher(self).subscribe(expires=0)
        self.soon()
        self.ends()
        self.infos.room_ended(ROOM)
        kept = self.infos.waiting
        self.assertEqual((len(kept), kept._rooms, dict(kept._users)), (0, {}, {}))


_NAMES = ("bob", "carol", "dave")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["subscribe", "subscribe", "fetch", "end", "allow", "block", "confirm", "wait", "read"]
        ),
        st.sampled_from(_NAMES),
        st.sampled_from((0.5, 3.0, 70.0, 600.0)),
    ),
    max_size=25,
)


class ReplayTests(WinfoTestCase):
    settings = NotifierSettings(interval=1.0, winfo_interval=1.0, waiting=900.0, max_room_waiting=2)

    @budget(deadline=None, max_examples=60)
    @given(_STEPS)
    def test_partial_documents_come_to_the_full_one(self, steps: list[Any]) -> None:
        self.setUp()
        self.owner(expires=86400)
        self.serial = 0
        watchers: dict[str, Watcher] = {}
        self.follow()
        for what, name, seconds in steps:
            self.take(what, name, seconds, watchers)
        self.follow()
        self.assertEqual(self.table.watchers, self.fresh())

    def take(self, what: str, name: str, seconds: float, watchers: dict[str, Watcher]) -> None:
        if what in ("subscribe", "fetch"):
            self.serial += 1
            watcher = Watcher(self, name)
            watcher.cseq = self.serial
            answer = watcher.subscribe(expires=600 if what == "subscribe" else 0)
            if what == "subscribe" and isinstance(answer, Response):
                watchers[name] = watcher
        elif what == "end" and name in watchers:
            watchers.pop(name).subscribe(expires=0)
        elif what == "wait":
            self.clock.advance(seconds)
            self.soon()
        elif what == "read":
            self.follow()
        elif what in ("allow", "block", "confirm"):
            self.decide(Decision(what), name)

    def follow(self) -> None:
        for document in self.documents():
            self.table.apply(document)
