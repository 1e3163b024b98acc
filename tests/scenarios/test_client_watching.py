"""What a client knows of who is in a room, while it is in it and while it only watches."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import (
    Happening,
    RoomEvent,
    UserAgent,
    Watch,
    WatchError,
    WatchState,
    chat_watch,
    subscription,
)
from msrpconf.storage.subscribers import SubscriberStore, User
from tests.scenarios.embedded import EmbeddedServerTestCase, Heard, when_logged

Story = Generator[Deferred[Any], Any, None]
ALICE, BOB, CAROL = (f"sip:{each}@example.com" for each in ("alice", "bob", "carol"))


class Events:
    """What somebody is told of a room: wait for it."""

    def __init__(self) -> None:
        self.queue: DeferredQueue[RoomEvent] = DeferredQueue()

    def __call__(self, watch: Watch, events: list[RoomEvent]) -> None:
        for each in events:
            self.queue.put(each)

    @inlineCallbacks
    def until(self, what: Happening) -> Generator[Deferred[Any], Any, RoomEvent]:
        """The next event of that kind; those before it were not waited for."""
        while True:
            event: RoomEvent = yield self.queue.get()
            if event.what is what:
                return event


class WatchingStories(EmbeddedServerTestCase):
    server_keys = "[presence]\ninterval = 0.1\n"

    @inlineCallbacks
    def enters(
        self, user: str, transport: str = "udp", **options: Any
    ) -> Generator[Deferred[Any], Any, tuple[Any, Events]]:
        events = Events()
        agent = self.agent(user, **options)
        chat = yield agent.join(self.room(transport=transport), on_events=events)
        return chat, events

    @inlineCallbacks
    def test_who_comes_and_goes_is_known_to_who_is_in(self) -> Story:
        alice, events = yield self.enters("alice", display_name="Alice")
        yield events.until(Happening.STATE)
        self.assertEqual([each.entity for each in alice.roster.present], [ALICE])
        bob, _ = yield self.enters("bob", "tcp")
        came = yield events.until(Happening.CAME)
        self.assertEqual((came.user.entity, came.user.roles), (BOB, ("participant",)))
        self.assertEqual({each.entity for each in alice.roster.present}, {ALICE, BOB})
        yield bob.use_nickname("Bobby")
        named = yield events.until(Happening.NAMED)
        self.assertEqual(named.user.nickname, "Bobby")
        yield alice.mute(BOB)
        muted = yield events.until(Happening.MUTED)
        self.assertEqual(muted.user.entity, BOB)
        yield alice.change_subject("Fish & chips")
        subject = yield events.until(Happening.SUBJECT)
        self.assertEqual(subject.text, "Fish & chips")
        self.assertEqual(alice.roster.description.subject, "Fish & chips")
        yield alice.remove(BOB)
        left = yield events.until(Happening.LEFT)
        self.assertEqual((left.user.entity, left.how, left.by), (BOB, "booted", ALICE))
        self.assertEqual([each.entity for each in alice.roster.present], [ALICE])

    @inlineCallbacks
    def test_who_leaves_is_told_nothing_more(self) -> Story:
        alice, events = yield self.enters("alice")
        _, others = yield self.enters("bob")
        yield events.until(Happening.CAME)
        watching = alice.watching
        unsubscribed = when_logged("watching no more: unsubscribed")
        yield alice.leave()
        yield unsubscribed
        self.assertIs(watching.state, WatchState.OVER)
        self.assertIsNone(watching.error)
        self.assertEqual(self.agents[0].subscriptions, {})
        left = yield others.until(Happening.LEFT)
        self.assertEqual((left.user.entity, left.how), (ALICE, "departed"))

    @inlineCallbacks
    def test_a_roster_that_is_too_large_for_udp(self) -> Story:
        alice, events = yield self.enters("alice")
        yield events.until(Happening.STATE)
        for number in range(12):
            yield self.enters(f"p{number}")
            yield events.until(Happening.CAME)
        agent = self.agent("watcher")
        watch = yield agent.watch(self.room())
        self.assertTrue(watch.roster.tells_users)
        self.assertEqual(len(watch.roster.present), 13)
        self.assertEqual(len(alice.roster.present), 13)

    @inlineCallbacks
    def test_somebody_invited_is_expected(self) -> Story:
        alice, events = yield self.enters("alice")
        invited: DeferredQueue[Any] = DeferredQueue()
        bob = self.agent("bob", listen="udp:127.0.0.1:0", on_invited=invited.put)
        yield bob.start()
        asking = alice.invite(f"sip:bob@{bob.listening[0].sent_by}")
        self.failures = asking.addErrback(lambda failure: failure.value)
        invitation = yield invited.get()
        told = yield events.until(Happening.INVITED)
        self.assertEqual(told.by, ALICE)
        invitation.decline()
        told = yield events.until(Happening.NOT_COMING)
        self.assertEqual(told.how, "failed")
        error = yield self.failures
        self.assertEqual(error.status, 603)

    @inlineCallbacks
    def test_watching_from_outside_until_the_room_ends(self) -> Story:
        alice, _ = yield self.enters("alice")
        watcher, events = self.agent("watcher"), Events()
        watch = yield watcher.watch(self.room(), on_events=events)
        yield events.until(Happening.STATE)
        self.assertEqual([each.entity for each in watch.roster.present], [ALICE])
        yield alice.leave()
        yield events.until(Happening.ENDED)
        last = yield events.until(Happening.UNWATCHED)
        self.assertEqual(last.reason, "the room has ended")
        self.assertEqual(str(watch.error), "410 the room has ended")
        self.assertEqual(watcher.watches, set())

    @inlineCallbacks
    def test_a_room_that_goes_on_elsewhere(self) -> Story:
        """Its end is told where it was, and who is in it is not out of it."""
        self.patch(chat_watch, "REWATCH", 0.01)
        alice, events = yield self.enters("alice")
        yield events.until(Happening.STATE)
        before = alice.watching
        before._finish(WatchError(410, "the room has ended"))
        yield events.until(Happening.UNWATCHED)
        yield events.until(Happening.STATE)
        self.assertIsNot(alice.watching, before)
        self.assertEqual([each.entity for each in alice.roster.present], [ALICE])

    @inlineCallbacks
    def test_a_room_that_is_none(self) -> Story:
        watcher = self.agent("watcher")
        for room, status in ((self.room("nowhere"), 404), ("tel:+1555", 416)):
            error = yield self.assertFailure(watcher.watch(room), WatchError)
            self.assertEqual(error.status, status)
        self.assertEqual(watcher.watches, set())

    @inlineCallbacks
    def test_an_agent_that_stops_stops_watching(self) -> Story:
        yield self.enters("alice")
        watcher = UserAgent(reactor, CAROL)
        watch = yield watcher.watch(self.room())
        unsubscribed = when_logged("watching no more: unsubscribed")
        yield DeferredList([watcher.stop(), unsubscribed], fireOnOneErrback=True)
        self.assertIs(watch.state, WatchState.OVER)


class PasswordStories(EmbeddedServerTestCase):
    """A server that asks who one is, for watching too."""

    sip_keys = 'trusted = []\nauthenticate = true\nrealm = "example.com"'
    server_keys = '[presence]\ninterval = 0.1\n[database]\nurl = "sqlite:///users.sqlite"\n'

    @inlineCallbacks
    def start_server(self) -> Generator[Deferred[Any], Any, None]:
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        self.source = str(directory / "msrpconf.toml")
        yield super().start_server()
        assert self.service.static_rooms is not None
        users = SubscriberStore(self.service.static_rooms.database)
        for name in ("alice", "bob"):
            yield users.add(User(name, "example.com"), f"{name}'s")

    @inlineCallbacks
    def test_who_knows_it_watches(self) -> Story:
        self.patch(subscription, "SHORTEST", 0.1)
        events = Events()
        agent = self.agent("alice", password="alice's")
        alice = yield agent.join(self.room(transport="tcp"), on_events=events)
        yield events.until(Happening.STATE)
        yield self.agent("bob", password="bob's").join(self.room())
        yield events.until(Happening.CAME)
        # Each request of the subscription is asked for the password, and counted.
        (subscribed,) = agent.subscriptions.values()
        told = alice.roster.version
        subscribed.refresh()
        while alice.roster.version == told:
            yield deferLater(reactor, 0.02)
        self.assertEqual(len(alice.roster.present), 2)
        unsubscribed = when_logged("watching no more: unsubscribed")
        yield alice.leave()
        yield unsubscribed

    @inlineCallbacks
    def test_who_does_not_know_it_does_not(self) -> Story:
        yield self.agent("alice", password="alice's").join(self.room())
        error = yield self.assertFailure(self.agent("bob").watch(self.room()), WatchError)
        self.assertEqual(error.status, 401)


class NoPresenceStories(EmbeddedServerTestCase):
    """A server that tells nobody."""

    @inlineCallbacks
    def test_the_room_is_there_all_the_same(self) -> Story:
        heard, events = Heard(), Events()
        alice = yield self.agent("alice").join(
            self.room(), on_message=heard.message, on_events=events
        )
        last = yield events.until(Happening.UNWATCHED)
        self.assertIsNotNone(alice.watching.error)
        self.assertEqual(last.reason, alice.watching.error.reason)
        self.assertFalse(alice.roster.complete)
        bob = yield self.agent("bob").join(self.room())
        yield bob.send("hi")
        message = yield heard.next()
        self.assertEqual(message.text, "hi")
        yield alice.leave()
