"""Taking PUBLISHes (RFC 3903 §6), and what watchers make of them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.roster import Outcome, Roster
from msrpconf.conference import composing, published
from msrpconf.conference.composing import KeptPublication
from msrpconf.conference.published import PublicationSettings, PublishedStates
from msrpconf.conference.publishing import Publisher
from msrpconf.conference.states import Change, ConferenceInfo, ConferenceStates
from msrpconf.protocols.conference_info import (
    CONFERENCE_INFO,
    ConferenceState,
    Description,
    Endpoint,
    User,
    description_element,
    document,
    state_element,
    user_element,
    users_element,
)
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.xml import XmlError
from tests.conference.support import ROOM, ControlTestCase, request
from tests.documents import read, text, users

ALICE, BOB = "sip:alice@home.com", "sip:bob@home.com"
HERE = Endpoint("sip:x@192.0.2.1", "connected")


def body(*people: User, uri: str = ROOM, state: str = "full", subject: str = "Fish") -> bytes:
    parts = (
        description_element(Description(subject=subject)),
        state_element(ConferenceState(len(people), True, False)),
        users_element(map(user_element, people)),
    )
    return document(uri, state, 1, parts)


class PublishedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.states = PublishedStates(self.clock, PublicationSettings(max_conferences=2))
        self.changes: list[tuple[str, ConferenceInfo, Change | None]] = []
        states: ConferenceStates = self.states
        states.watch(lambda *each: self.changes.append(each))

    def publish(
        self,
        octets: bytes = b"",
        match: str | None = None,
        expires: int | str | None = None,
        uri: str = ROOM,
        content_type: str = CONFERENCE_INFO,
        event: str | None = "conference",
        tag: str = "east.1",
    ) -> Response:
        fields = [
            ("Event", event),
            ("SIP-If-Match", match),
            ("Expires", None if expires is None else str(expires)),
        ]
        headers = tuple((name, value) for name, value in fields if value is not None)
        return self.states.handle(
            request(
                "PUBLISH",
                uri,
                from_=f"<{uri}>;tag={tag}",
                headers=headers,
                body=octets,
                content_type=content_type,
            )
        )

    def begun(self, *people: User, uri: str = ROOM) -> str:
        answer = self.publish(body(*people, uri=uri), uri=uri)
        self.assertEqual(answer.status, 200)
        return answer.headers.get("SIP-ETag") or ""

    def change(self) -> Change:
        ((_, _, change),) = self.changes
        self.changes.clear()
        assert change is not None
        return change

    @property
    def conference(self) -> ConferenceInfo:
        found = self.states.find(ROOM)
        assert found is not None
        return found


class PublishedTests(PublishedCase):
    def test_one_is_there(self) -> None:
        alice = User(ALICE, "Alice", "Al", ("owner",), (HERE,))
        answer = self.publish(body(alice))
        self.assertEqual((answer.status, answer.headers.get("Expires")), (200, "3600"))
        self.assertEqual(self.change().users_changed, {ALICE})
        self.assertEqual(self.conference.uri, ROOM)
        root = read(self.conference.full(4))
        self.assertEqual(root.get("version"), "4")
        self.assertEqual(list(users(root)), [ALICE])
        self.assertEqual(text(root, "conference-description/subject"), "Fish")
        self.assertTrue(self.conference.has_user(ALICE))
        self.assertTrue(self.conference.has_owner(ALICE))
        self.assertFalse(self.conference.has_user(BOB))
        root = read(self.conference.summary(5))
        self.assertEqual((len(users(root)), text(root, "conference-state/user-count")), (0, "1"))

    def test_a_change_is_what_differs(self) -> None:
        tag = self.begun(User(ALICE), User(BOB, "Bob"))
        self.changes.clear()
        answer = self.publish(body(User(BOB, "Bob"), User("sip:carol@home.com")), tag)
        self.assertNotEqual(answer.headers.get("SIP-ETag"), tag)
        change = self.change()
        self.assertEqual(change, Change(frozenset({"sip:carol@home.com"}), frozenset({ALICE})))
        root = read(self.conference.partial(change, 2))
        states = {uri: each.get("state") for uri, each in users(root).items()}
        self.assertEqual(states, {ALICE: "deleted", "sip:carol@home.com": "full"})
        self.assertFalse(self.conference.has_owner(BOB))
        self.assertFalse(self.conference.has_owner(ALICE))
        again = answer.headers.get("SIP-ETag")
        self.publish(body(User(BOB, "Bob"), User("sip:carol@home.com")), again)
        self.assertEqual(self.changes, [])

    def test_description_and_state(self) -> None:
        tag = self.begun(User(ALICE))
        self.changes.clear()
        self.publish(body(User(ALICE), User(BOB), subject="Chips"), tag)
        change = self.change()
        self.assertEqual((change.description_changed, change.state_changed), (True, True))
        root = read(self.conference.partial(change, 2))
        self.assertEqual(text(root, "conference-description/subject"), "Chips")
        self.assertEqual(text(root, "conference-state/user-count"), "2")

    def test_it_ends(self) -> None:
        tag = self.begun(User(ALICE))
        self.changes.clear()
        answer = self.publish(match=tag, expires=0)
        self.assertEqual((answer.status, answer.headers.get("Expires")), (200, "0"))
        ((key, info, change),) = self.changes
        self.assertEqual((key, info.uri, change), (ROOM, ROOM, None))
        self.assertIsNone(self.states.find(ROOM))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.publish(match=tag, expires=0).status, 412)

    def test_it_ends_by_its_document(self) -> None:
        tag = self.begun(User(ALICE))
        self.assertEqual(self.publish(body(state="deleted"), tag).status, 200)
        self.assertIsNone(self.states.find(ROOM))

    def test_it_expires_unless_it_is_refreshed(self) -> None:
        tag = self.begun(User(ALICE))
        self.clock.advance(3000)
        answer = self.publish(match=tag, expires=100)
        self.assertEqual(answer.headers.get("Expires"), "100")
        self.clock.advance(99)
        self.assertIsNotNone(self.states.find(ROOM))
        self.changes.clear()
        self.clock.advance(1)
        self.assertIsNone(self.states.find(ROOM))
        self.assertIsNone(self.changes[0][2])

    def test_who_begins_again_takes_the_place(self) -> None:
        old = self.begun(User(ALICE))
        self.changes.clear()
        self.begun(User(BOB))
        self.assertEqual(self.change().users_deleted, {ALICE})
        self.assertEqual(self.publish(match=old, expires=100).status, 412)

    def test_refusals(self) -> None:
        tag = self.begun(User(ALICE))
        fine = body(User(BOB))
        for status, answer in (
            (489, self.publish(fine, event="presence")),
            (489, self.publish(fine, event=None)),
            (400, self.publish(fine, match="a, b")),
            (412, self.publish(fine, match="other")),
            (423, self.publish(fine, tag, expires=5)),
            (400, self.publish(fine, tag, expires="soon")),
            (415, self.publish(b"v=0", tag, content_type="application/sdp")),
            (400, self.publish(b"<a>", tag)),
            (400, self.publish(body(state="partial"), tag)),
            (400, self.publish(body(uri="sip:other@conf.example.com"), tag)),
            (400, self.publish()),
            (400, self.publish(expires=0)),
        ):
            self.assertEqual(answer.status, status, answer.reason)
        self.assertEqual(self.publish(fine, tag, expires=5).headers.get("Min-Expires"), "60")
        self.assertEqual(list(users(read(self.conference.full(1)))), [ALICE])
        self.assertEqual(self.publish(match=tag, expires=10**6).headers.get("Expires"), "3600")

    def test_no_more_than_a_bound(self) -> None:
        self.begun()
        self.begun(uri="sip:two@conf.example.com")
        three = "sip:three@conf.example.com"
        answer = self.publish(body(uri=three), uri=three)
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (503, "60"))
        self.states.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_words_that_the_schema_does_not_have(self) -> None:
        odd = evolve(HERE, status="asleep", joining_method="by-foot")
        self.begun(User(ALICE, endpoints=(odd,)))
        read(self.conference.full(1))


class SeveralPublishersTests(PublishedCase):
    """A room that is set up is on all servers, and lives on one."""

    def who(self) -> list[str]:
        found = self.states.find(ROOM)
        return [] if found is None else list(users(read(found.full(1))))

    def etag(self, answer: Response) -> str:
        self.assertEqual(answer.status, 200, answer.reason)
        return answer.headers.get("SIP-ETag") or ""

    def setUp(self) -> None:
        super().setUp()
        alice = User(ALICE, endpoints=(HERE,))
        self.east = self.etag(self.publish(body(alice)))
        self.west = self.etag(self.publish(body(), tag="west.1"))

    def test_where_somebody_is_counts(self) -> None:
        self.assertEqual((self.who(), len(self.states)), ([ALICE], 1))
        self.east = self.etag(self.publish(body(), self.east))
        self.assertEqual(self.who(), [])
        bob = User(BOB, endpoints=(HERE,))
        # It has been accepted all the time.
        self.west = self.etag(self.publish(body(bob), self.west, tag="west.1"))
        self.assertEqual(self.who(), [BOB])
        self.etag(self.publish(match=self.east, expires=100))
        self.assertEqual(self.who(), [BOB])

    def test_a_room_that_moves(self) -> None:
        alice, bob = (User(each, endpoints=(HERE,)) for each in (ALICE, BOB))
        self.east = self.etag(self.publish(body(alice, bob), self.east))
        self.west = self.etag(self.publish(body(alice, bob), self.west, tag="west.1"))
        # They go one by one, and are on the new one all the time.
        self.changes.clear()
        self.east = self.etag(self.publish(body(bob), self.east))
        self.east = self.etag(self.publish(body(), self.east))
        self.publish(match=self.east, expires=0)
        self.assertEqual((self.who(), self.changes), ([ALICE, BOB], []))

    def test_nobody_is_believed_for_long_who_says_nothing(self) -> None:
        alice, bob, carol = (User(each, endpoints=(HERE,)) for each in (ALICE, BOB, "sip:c@x.com"))
        self.publish(body(alice, bob), self.east)
        self.publish(body(carol), self.west, tag="west.1")
        self.assertEqual(self.who(), [ALICE, BOB])
        # East has died, and nobody knows.
        self.clock.advance(composing.MOVING + 1)
        self.publish(body(carol), tag="west.2")
        self.assertEqual(self.who(), ["sip:c@x.com"])

    def test_the_last_to_go_ends_it(self) -> None:
        self.changes.clear()
        self.publish(match=self.east, expires=0)
        ((_, _, change),) = self.changes
        self.assertEqual(change, Change(frozenset(), frozenset({ALICE}), False, True))
        self.assertEqual((self.who(), len(self.states)), ([], 1))
        self.publish(match=self.west, expires=0)
        self.assertIsNone(self.changes[-1][2])
        self.assertEqual(len(self.states), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_expires(self) -> None:
        self.etag(self.publish(match=self.west, expires=100))
        self.clock.advance(100)
        self.assertEqual(self.publish(match=self.west, expires=100).status, 412)
        self.assertEqual(self.who(), [ALICE])

    def test_who_starts_again_takes_its_own_place(self) -> None:
        self.publish(body(), tag="east.2")
        self.assertEqual(self.who(), [])
        self.assertEqual(self.publish(match=self.east).status, 412)
        self.etag(self.publish(match=self.west))

    def test_no_more_than_a_bound(self) -> None:
        for number in range(published.MAX_PUBLISHERS - 1):
            self.publish(body(), tag=f"other{number}.1", expires=200 + number)
        self.assertEqual(self.publish(match=self.west).status, 200)
        self.assertEqual(self.publish(match=self.east).status, 200)
        self.assertEqual(len(self.clock.getDelayedCalls()), published.MAX_PUBLISHERS)


class RestoringTests(PublishedCase):
    """What is kept of publications, and is there again after a restart."""

    def setUp(self) -> None:
        super().setUp()
        self.written: list[tuple[str, str]] = []
        self.states.on_kept = lambda *each: self.written.append(each)

    def restarted(self, *kept: KeptPublication) -> None:
        self.states.stop()
        self.states = PublishedStates(self.clock)
        for each in kept:
            self.states.restore(each)

    def kept(self) -> KeptPublication:
        found = self.states.kept(ROOM, "east")
        assert found is not None
        return found

    def test_its_entity_tag_holds(self) -> None:
        tag = self.begun(User(ALICE, endpoints=(HERE,)))
        self.assertEqual(self.written, [(ROOM, "east")])
        kept = self.kept()
        self.assertEqual((kept.etag, kept.expires_at), (tag, 3600.0))
        self.clock.advance(3000)
        self.restarted(kept)
        self.assertEqual(list(users(read(self.conference.full(1)))), [ALICE])
        self.assertEqual(self.publish(match=tag, expires=1000).status, 200)
        self.clock.advance(999)
        self.assertEqual(len(self.states), 1)

    def test_it_expires_when_it_would_have(self) -> None:
        self.begun(User(ALICE))
        kept = self.kept()
        self.clock.advance(3000)
        self.restarted(kept)
        self.clock.advance(599)
        self.assertEqual(len(self.states), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.states), 0)

    def test_one_that_has_expired_meanwhile_is_dropped(self) -> None:
        self.begun(User(ALICE))
        kept = self.kept()
        self.clock.advance(3600)
        self.restarted(kept)
        self.assertEqual(len(self.states), 0)

    def test_each_change_is_to_be_kept(self) -> None:
        tag = self.begun(User(ALICE))
        answer = self.publish(match=tag, expires=100)
        tag = answer.headers.get("SIP-ETag") or ""
        self.assertEqual((self.kept().etag, self.kept().expires_at), (tag, 100.0))
        self.clock.advance(100)
        self.assertIsNone(self.states.kept(ROOM, "east"))
        self.assertEqual(self.written, [(ROOM, "east")] * 3)

    def test_what_cannot_be_read(self) -> None:
        self.begun(User(ALICE))
        for wrong in (b"<", body(uri="sip:other@conf.example.com")):
            with self.assertRaises(XmlError):
                self.restarted(evolve(self.kept(), octets=wrong))
            self.states.stop()
            self.begun(User(ALICE))


class BothEndsTests(ControlTestCase):
    """Who reads what is published knows what who reads the rooms knows."""

    def setUp(self) -> None:
        super().setUp()
        self.states = PublishedStates(self.clock)
        self.publisher = Publisher(
            self.registry,
            self.registry.conferences,
            self.clock,
            self.send,
            self.control.new_tag,
        )
        self.publisher.start()
        self.pending = Change()
        self.ended = 0
        self.states.watch(self.note)

    def send(self, message: Request) -> Deferred[Response]:
        return succeed(self.states.handle(message))

    def note(self, key: str, info: ConferenceInfo, change: Change | None) -> None:
        if change is None:
            self.ended += 1
        else:
            self.pending = self.pending.then(change)

    def test_a_life(self) -> None:
        alice = self.joined("alice")
        self.clock.advance(1)
        info = self.states.find(ROOM)
        assert info is not None
        roster = Roster()
        roster.apply(info.full(0))
        self.pending = Change()
        bob = self.joined("bob")
        self.room.subject = "Fish"
        self.clock.advance(1)
        bob.send("UPDATE", bob.offer("sendonly"))
        alice.send("BYE")
        self.clock.advance(1)
        octets = info.partial(self.pending, 1)
        read(octets)
        self.assertIs(roster.apply(octets), Outcome.APPLIED)
        fresh = Roster()
        fresh.apply(self.room.info.full(1))
        self.assertEqual(dict(roster.users), dict(fresh.users))
        self.assertEqual(roster.state, fresh.state)
        self.assertEqual(roster.description, fresh.description)
        bob.send("BYE")
        self.clock.pump([0.2] * 10)
        self.assertEqual((self.ended, len(self.states), len(self.publisher)), (1, 0, 0))

    def test_the_agent_starts_again(self) -> None:
        self.joined("alice")
        self.clock.advance(1)
        self.states.stop()
        self.assertIsNone(self.states.find(ROOM))
        self.clock.pump([1.0] * 121)
        self.assertIsNotNone(self.states.find(ROOM))
