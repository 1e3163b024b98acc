"""The watch of a chat: what is asked too early is asked again, what is refused for good is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from msrpconf.client.chat_watch import MAX_EARLY, REWATCH, ChatWatch
from msrpconf.client.room_events import Happening, RoomEvent
from msrpconf.client.watching import Watch, WatchState
from tests.client.test_watching import BOB, ROOM, WatchCase, full


class ChatWatchTests(WatchCase):
    def setUp(self) -> None:
        super().setUp()
        listener = SimpleNamespace(on_events=self.heard)
        self.chat = SimpleNamespace(address=ROOM, via=None, ended=False, listener=listener)
        agent: Any = self.agent
        chat: Any = self.chat
        self.chat_watch = ChatWatch(agent, chat)
        self.chat_watch.begin()

    def heard(self, _: Watch, events: list[RoomEvent]) -> None:
        self.events.extend(events)

    def whats(self) -> list[Happening]:
        return [each.what for each in self.events]

    def test_a_room_that_its_server_has_not_published_yet_is_asked_for_again(self) -> None:
        self.answer(404)
        self.assertEqual(self.whats(), [])
        self.clock.advance(REWATCH)
        self.assertEqual(len(self.agent.sent), 2)
        self.answer()
        self.notify(full(0, BOB))
        self.assertEqual(self.whats(), [Happening.STATE])
        self.assertEqual([str(each.entity) for each in self.chat_watch.roster.present], [BOB])

    def test_a_room_that_is_never_published_is_given_up_and_that_is_told_once(self) -> None:
        for _ in range(MAX_EARLY):
            self.answer(404)
            self.clock.advance(REWATCH)
        self.assertEqual(self.whats(), [])
        self.answer(404)
        self.assertEqual(self.whats(), [Happening.UNWATCHED])
        self.clock.advance(10 * REWATCH)
        self.assertEqual(len(self.agent.sent), MAX_EARLY + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_refusals_are_final(self) -> None:
        self.answer(405)
        self.assertEqual(self.whats(), [Happening.UNWATCHED])
        self.assertIs(self.watching().state, WatchState.OVER)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_has_left_does_not_ask_again(self) -> None:
        self.answer(404)
        self.chat_watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_of_the_chat_before_the_answer_is_the_end_of_asking(self) -> None:
        self.chat.ended = True
        self.answer(404)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def watching(self) -> Watch:
        watch = self.chat_watch.watch
        assert watch is not None
        return watch
