"""How a roster looks: in a list, in a panel, in a sentence, whatever people call themselves."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import Happening, RoomEvent, Roster, WatchError, WatchState
from msrpconf.client.rendering import Rendering, plain
from msrpconf.client.roster_lines import CROWD, RosterLines
from msrpconf.client.roster_view import PANEL_WIDTH, RosterView, fit
from msrpconf.protocols.conference_info import (
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    User,
    description_element,
    document,
    state_element,
    user_element,
    users_element,
)

ROOM = "sip:lobby@example.com"
ALICE, BOB, CAROL, DAVE = (f"sip:{each}@example.com" for each in ("alice", "bob", "carol", "dave"))
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HERE = Endpoint("e", "connected", joining_info=Execution(NOON.timestamp() - 3600))


class Watching:
    """What is watched, as a `Watch` has it."""

    def __init__(self, *users: User, subject: str = "", locked: bool = False) -> None:
        self.roster = Roster()
        self.state = WatchState.ACTIVE
        self.error: WatchError | None = None
        parts = (
            description_element(Description(subject=subject)),
            state_element(ConferenceState(len(users), True, locked)),
            users_element(map(user_element, users)),
        )
        self.roster.apply(document(ROOM, "full", 0, parts))


class RosterViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.view = RosterView(Rendering(ROOM, ALICE).label, ALICE, lambda: NOON)

    def who(self, watching: Any) -> str:
        return self.view.who(watching)

    def panel(self, *users: User) -> list[str]:
        return [plain(each) for each in self.view.panel(Watching(*users).roster)]

    def test_a_list(self) -> None:
        yesterday = Execution(NOON.timestamp() - 86400, None, ALICE)
        watching = Watching(
            User(BOB, "Bob", "Bobby", ("participant",), (HERE, Endpoint("f", "connected"))),
            User(ALICE, None, None, ("owner",), (HERE,)),
            User(CAROL, None, None, (), (Endpoint("e", "on-hold", joining_info=yesterday),)),
            User(DAVE, endpoints=(Endpoint(DAVE, "pending", referred=Execution(1.0, None, BOB)),)),
            User("sip:eve@example.com", endpoints=(Endpoint("e", "disconnected"),)),
            subject="Fish & chips",
            locked=True,
        )
        self.assertEqual(
            self.who(watching).split("\n"),
            [
                "3 here, 1 invited:",
                "  alice@example.com, owner, since 11:00",
                "  Bobby <bob@example.com>, by name Bob, participant, 2 devices, since 11:00",
                "  carol@example.com, on hold, since 2026-11-22 12:00, invited by you",
                "  dave@example.com, invited by bob, pending",
                "The subject is: Fish & chips",
                "The room is locked.",
            ],
        )

    def test_a_list_that_may_not_be_true(self) -> None:
        watching = Watching(User(BOB, endpoints=(HERE,)))
        for state, error, said in (
            (WatchState.WAITING, None, "may not be true any more"),
            (WatchState.PENDING, None, "An owner of the room has yet to let you see"),
            (WatchState.OVER, WatchError(410, "tired\x1b"), "any more: 410 tired\\x1b"),
        ):
            watching.state, watching.error = state, error
            self.assertIn(said, self.who(watching))
            self.assertIn("bob@example.com", self.who(watching))

    def test_a_room_that_tells_how_many(self) -> None:
        watching = Watching()
        watching.roster.state = ConferenceState(7)
        self.assertEqual(self.who(watching), "7 here; the room does not tell who.")
        self.assertEqual([plain(each) for each in self.view.panel(watching.roster)], ["7 here"])

    def test_a_panel(self) -> None:
        muted = Endpoint("e", "muted-via-focus")
        lines = self.panel(
            User(BOB, "Bob", None, ("participant",), (muted,)),
            User(ALICE, None, None, ("owner",), (HERE,)),
            User(CAROL, "Carolina with a name that is long", None, ("visitor",), (muted,)),
            User(DAVE, endpoints=(Endpoint(DAVE, "pending"),)),
        )
        self.assertEqual(
            lines,
            ["3 here", " alice owner", " Bob muted", " Carolina with a … visitor", "1 invited",
             " dave"],
        )  # fmt: skip

    def test_sentences(self) -> None:
        bob = User(BOB, "Bob", roles=("moderator",), endpoints=(HERE,))
        reason = 'Reason: SIP;cause=603;text="No time"'
        for event, said in (
            (RoomEvent(Happening.CAME, bob), "Bob has joined"),
            (RoomEvent(Happening.CAME, bob, ALICE), "Bob has joined, invited by you"),
            (RoomEvent(Happening.LEFT, bob), "Bob has left"),
            (RoomEvent(Happening.LEFT, bob, how="failed", reason="gone"), "Bob has left (gone)"),
            (RoomEvent(Happening.LEFT, bob, CAROL, "booted"), "Bob was removed by carol"),
            (RoomEvent(Happening.LEFT, bob, None, "booted"), "Bob was removed"),
            (RoomEvent(Happening.INVITED, bob, CAROL), "Bob is invited by carol"),
            (RoomEvent(Happening.NOT_COMING, bob, how="busy"), "Bob does not come (busy)"),
            (RoomEvent(Happening.NOT_COMING, bob, reason=reason), "Bob does not come (No time)"),
            (RoomEvent(Happening.NAMED, bob, text="Bobby"), "Bobby is now Bob"),
            (RoomEvent(Happening.ROLE, bob), "Bob is now moderator"),
            (RoomEvent(Happening.MUTED, bob), "Bob has no voice any more"),
            (RoomEvent(Happening.SUBJECT, text="a\n\x1bb"), "The subject is: a \\x1bb"),
            (RoomEvent(Happening.SUBJECT, text=""), "There is no subject any more"),
            (RoomEvent(Happening.LOCKED), "The room is locked"),
            (RoomEvent(Happening.STATE), ""),
        ):
            self.assertEqual(self.view.sentence(event), said)

    def test_a_text_that_is_made_to_fit(self) -> None:
        for text, width, fitting in (("abc", 3, "abc"), ("abcd", 3, "ab…"), ("你好吗", 5, "你好…")):
            self.assertEqual(fit(text, width), fitting)


_TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_DONE = st.none() | st.builds(
    Execution, st.none() | st.floats(-1e12, 1e12), _TEXT, st.none() | st.text(max_size=20)
)
_USERS = st.builds(
    User,
    entity=st.sampled_from([ALICE, BOB, "tel:+1", "x\x1by", "sip:\u202e@x"]) | st.text(min_size=1),
    display_text=_TEXT,
    nickname=_TEXT,
    roles=st.lists(st.text(max_size=9) | st.just("owner"), max_size=2).map(tuple),
    endpoints=st.lists(
        st.builds(
            Endpoint,
            entity=st.text(max_size=5),
            status=st.sampled_from([None, "pending", "connected", "on-hold", "muted-via-focus"]),
            referred=_DONE,
            joining_info=_DONE,
            disconnection_info=_DONE,
        ),
        max_size=2,
    ).map(tuple),
)


class HostileTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.lists(_USERS, max_size=3), _TEXT, st.sampled_from(Happening))
    def test_nothing_in_it_moves_a_cursor(
        self, users: list[User], text: str | None, what: Happening
    ) -> None:
        view = RosterView(Rendering(ROOM, ALICE).label, ALICE, lambda: NOON)
        watching: Any = Watching()
        roster = watching.roster
        roster._users = {each.entity: each for each in users}
        roster.description = Description(subject=text)
        shown = view.who(watching).split("\n")
        panel = [plain(each) for each in view.panel(roster)]
        for line in panel:
            self.assertLessEqual(get_cwidth(line), PANEL_WIDTH)
        shown += panel
        for user in (None, *users):
            shown.append(view.sentence(RoomEvent(what, user, text, text, text, text)))
        for char in "".join(shown):
            self.assertNotIn(unicodedata.category(char), {"Cc", "Cs", "Zl", "Zp"})


class RosterLinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        view = RosterView(Rendering(ROOM, ALICE).label, ALICE, lambda: NOON)
        self.lines = RosterLines(view, ALICE, lambda: self.now)

    def told(self, what: Happening, uri: str, **more: Any) -> list[str]:
        watching: Any = more.pop("watching", None) or Watching()
        event = RoomEvent(what, User(uri, endpoints=(HERE,)), **more)
        return self.lines.lines(watching, [event], False)

    def test_what_the_room_has_said_is_not_said_again(self) -> None:
        for _ in range(3):
            self.assertTrue(self.lines.noticed("joined", BOB))
            self.assertEqual(self.told(Happening.CAME, BOB), [])
            self.assertEqual(self.told(Happening.LEFT, BOB), ["bob has left"])
            self.assertFalse(self.lines.noticed("left", BOB))

    def test_what_the_roster_never_told_does_not_count(self) -> None:
        self.lines.noticed("joined", BOB)
        self.lines.noticed("left", BOB)
        self.lines.noticed("joined", BOB)
        self.assertEqual(self.told(Happening.LEFT, BOB), ["bob has left"])
        self.lines.noticed("joined", BOB)
        self.now = 60
        self.assertEqual(self.told(Happening.CAME, BOB), ["bob has joined"])

    def test_who_has_no_voice_is_told_of_once(self) -> None:
        watching: Any = Watching()
        bob = User(BOB, roles=("visitor",), endpoints=(HERE,))
        mute = [RoomEvent(Happening.ROLE, bob), RoomEvent(Happening.MUTED, bob)]
        for _ in range(2):
            said = self.lines.lines(watching, mute, False)
            self.assertEqual(said, ["bob has no voice any more"])
            self.assertFalse(self.lines.noticed("muted", BOB))
            self.assertTrue(self.lines.noticed("unmuted", BOB))
            self.assertEqual(self.told(Happening.UNMUTED, BOB), [])

    def test_each_role_is_told_of(self) -> None:
        for role in ("moderator", "participant", "moderator"):
            watching: Any = Watching()
            event = RoomEvent(Happening.ROLE, User(BOB, roles=(role,), endpoints=(HERE,)))
            self.assertEqual(self.lines.lines(watching, [event], False), [f"bob is now {role}"])

    def test_oneself(self) -> None:
        self.assertEqual(self.told(Happening.CAME, ALICE), [])
        self.assertEqual(self.told(Happening.INVITED, BOB, by=ALICE), [])
        self.assertEqual(self.told(Happening.MUTED, ALICE), ["alice has no voice any more"])

    def test_a_crowd(self) -> None:
        users = [User(f"sip:p{number}@example.com", endpoints=(HERE,)) for number in range(60)]
        watching: Any = Watching(*users)
        self.assertGreater(len(users), CROWD)
        self.assertEqual(self.told(Happening.CAME, BOB, watching=watching), [])
        (line,) = self.lines.lines(watching, [RoomEvent(Happening.STATE)], False)
        self.assertTrue(line.startswith("Here already: p0, p1,"))
        self.assertTrue(line.endswith(" and 52 more"))

    def test_no_more_is_remembered_than_a_bound(self) -> None:
        for number in range(3000):
            self.lines.noticed("joined", f"sip:p{number}@example.com")
        self.assertLessEqual(len(self.lines._told), 1000)
