"""What has happened is the difference between what was known of a room and what is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.room_events import (
    Before,
    Happening,
    RoomEvent,
    devices,
    is_expected,
    is_muted,
    is_on_hold,
    room_events,
    since,
)
from msrpconf.client.roster import Outcome, Roster
from msrpconf.protocols.conference_info import (
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    User,
    deleted_user_element,
    description_element,
    document,
    state_element,
    user_element,
    users_element,
)

ROOM = "sip:lobby@example.com"
ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
HERE = Endpoint("sip:bob@192.0.2.1", "connected", joining_info=Execution(100.0))


def bob(*endpoints: Endpoint, nickname: str | None = None, role: str = "member") -> User:
    return User(BOB, "Bob", nickname, (role,), endpoints)


class RoomEventsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.roster = Roster()
        self.version = -1
        self.before: Before | None = None

    def told(self, *parts: bytes, state: str = "partial") -> list[RoomEvent]:
        """What has happened, as a document tells with those `parts`."""
        self.version += 1
        octets = document(ROOM, state, self.version, parts)
        outcome = self.roster.apply(octets)
        self.assertIn(outcome, (Outcome.APPLIED, Outcome.ENDED))
        events = room_events(self.before, self.roster)
        self.before = Before.of(self.roster)
        return events

    def full(self, *users: User) -> list[RoomEvent]:
        return self.told(users_element(map(user_element, users)), state="full")

    def now(self, *users: User) -> list[RoomEvent]:
        return self.told(users_element(map(user_element, users), "partial"))

    def test_the_first_word(self) -> None:
        self.assertEqual(self.full(bob(HERE)), [RoomEvent(Happening.STATE)])

    def test_somebody_comes_and_goes(self) -> None:
        self.full()
        self.assertEqual(self.now(bob(HERE)), [RoomEvent(Happening.CAME, bob(HERE))])
        why = Execution(120.0, "too loud", ALICE)
        gone = bob(
            Endpoint(HERE.entity, "disconnected", disconnection_method="booted",
                     disconnection_info=why)
        )  # fmt: skip
        left = RoomEvent(Happening.LEFT, gone, ALICE, "booted", "too loud")
        self.assertEqual(self.now(gone), [left])
        self.assertEqual(self.told(users_element([deleted_user_element(BOB)], "partial")), [])

    def test_who_is_not_told_of_any_more_has_left(self) -> None:
        self.full(bob(HERE))
        gone = users_element([deleted_user_element(BOB)], "partial")
        self.assertEqual(self.told(gone), [RoomEvent(Happening.LEFT, bob(HERE))])

    def test_after_a_gap_it_is_told_what_came_of_it(self) -> None:
        self.full(bob(HERE))
        alice = User(ALICE, endpoints=(HERE,))
        happened = {each.what: each.user for each in self.full(alice)}
        self.assertEqual(happened, {Happening.LEFT: bob(HERE), Happening.CAME: alice})

    def test_somebody_is_invited(self) -> None:
        self.full()
        asked = bob(Endpoint(BOB, "dialing-out", referred=Execution(1.0, None, ALICE)))
        self.assertEqual(self.now(asked), [RoomEvent(Happening.INVITED, asked, ALICE)])
        waiting = bob(Endpoint(BOB, "pending", referred=Execution(1.0, None, ALICE)))
        self.assertEqual(self.now(waiting), [])
        come = bob(Endpoint(HERE.entity, "connected", referred=Execution(1.0, None, ALICE)))
        self.assertEqual(self.now(come), [RoomEvent(Happening.CAME, come, ALICE)])

    def test_somebody_does_not_come(self) -> None:
        self.full(bob(Endpoint(BOB, "pending")))
        no = Execution(2.0, "Decline")
        declined = bob(
            Endpoint(BOB, "disconnected", disconnection_method="failed", disconnection_info=no)
        )
        not_coming = RoomEvent(Happening.NOT_COMING, declined, None, "failed", "Decline")
        self.assertEqual(self.now(declined), [not_coming])

    def test_what_else_happens_to_people(self) -> None:
        second = Endpoint("sip:bob@192.0.2.2", "connected")
        muted = Endpoint(HERE.entity, "muted-via-focus")
        on_hold = Endpoint(HERE.entity, "on-hold")
        self.full(bob(HERE))
        for user, *happened in (
            (bob(HERE, nickname="Bobby"), Happening.NAMED),
            (bob(HERE, nickname="Bobby", role="moderator"), Happening.ROLE),
            (bob(HERE, second), Happening.NAMED, Happening.ROLE, Happening.DEVICE_CAME),
            (bob(HERE), Happening.DEVICE_LEFT),
            (bob(muted), Happening.MUTED),
            (bob(HERE), Happening.UNMUTED),
            (bob(on_hold), Happening.HELD),
            (bob(HERE), Happening.RESUMED),
            (bob(HERE),),
        ):
            self.assertEqual([each.what for each in self.now(user)], happened)

    def test_what_happens_to_the_room(self) -> None:
        self.told(description_element(Description(subject="Fish")), state="full")
        for description, what, text in (
            (Description(subject="Chips"), Happening.SUBJECT, "Chips"),
            (Description(), Happening.SUBJECT, ""),
            (Description(display_text="Lobby"), Happening.DISPLAY_TEXT, "Lobby"),
            (Description("Lobby", free_text="Be kind"), Happening.FREE_TEXT, "Be kind"),
        ):
            events = self.told(description_element(description))
            self.assertEqual(events, [RoomEvent(what, text=text)])
        for locked, *happened in (
            (False,),
            (True, Happening.LOCKED),
            (False, Happening.UNLOCKED),
        ):
            events = self.told(state_element(ConferenceState(0, True, bool(locked))))
            self.assertEqual([each.what for each in events], happened)
        self.assertEqual(self.told(state="deleted"), [RoomEvent(Happening.ENDED)])

    def test_a_room_that_tells_only_how_many(self) -> None:
        self.told(state_element(ConferenceState(2)), state="full")
        self.assertFalse(self.roster.tells_users)
        events = self.told(state_element(ConferenceState(3)))
        self.assertEqual(events, [RoomEvent(Happening.COUNT)])

    def test_what_is_known_of_a_user(self) -> None:
        later = Endpoint("sip:bob@192.0.2.2", "muted-via-focus", joining_info=Execution(200.0))
        out = Endpoint("sip:bob@192.0.2.3", "disconnected", joining_info=Execution(50.0))
        user = bob(later, HERE, out)
        self.assertEqual(devices(user), [later, HERE])
        self.assertEqual(since(user), 100.0)
        self.assertTrue(is_muted(user))
        self.assertFalse(is_on_hold(user))
        self.assertFalse(is_expected(user))
        self.assertTrue(is_expected(bob(Endpoint(BOB, "pending"))))
        self.assertIsNone(since(bob()))
