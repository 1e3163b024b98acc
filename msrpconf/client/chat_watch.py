"""Watching the room that one is in, for as long as one is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from msrpconf.client.call import room_uri
from msrpconf.client.room_events import RoomEvent
from msrpconf.client.roster import Roster
from msrpconf.client.timers import Timers
from msrpconf.client.watching import Watch, WatchError, Watching

if TYPE_CHECKING:
    from msrpconf.client.chat import Chat

REWATCH = 2.0
"""Seconds from the end of a room that is told until one who is still in it watches it again."""

MAX_EARLY = 5
"""How often one who is in a room asks again an agent that does not know of the room yet."""


class ChatWatch:
    """The `Watch` of a chat, which is another one when the room goes on at another server."""

    def __init__(self, agent: Watching, chat: Chat) -> None:
        self.watch: Watch | None = None
        self._agent = agent
        self._chat = chat
        self._timers = Timers(agent.clock)
        self._early = 0

    def begin(self) -> Watch:
        """Watch the room from now on, if that is not so."""
        if self.watch is None:
            chat = self._chat
            self.watch = Watch(self._agent, room_uri(chat.address), chat.via, self._happened)
            self.watch.begun.addCallbacks(self._told, self._not_told)
            self.watch.begin()
        return self.watch

    @property
    def roster(self) -> Roster:
        """Who is in the room, as far as it has told."""
        return Roster() if self.watch is None else self.watch.roster

    def stop(self) -> Deferred[None]:
        """Be told nothing more; done when the room knows, or does not answer."""
        self._timers.stop()
        return succeed(None) if self.watch is None else self.watch.stop()

    def _told(self, _: object) -> None:
        self._early = 0

    def _not_told(self, failure: Failure) -> None:
        # That the room tells nobody is no failure of the chat's.
        failure.trap(WatchError)
        error = failure.value
        assert isinstance(error, WatchError)
        # A server elsewhere publishes a room a moment after the first one is in it.
        is_early = error.status == 404 and self._early < MAX_EARLY
        if is_early and not self._chat.ended:
            self._early += 1
            self._timers.set("again", REWATCH, self._again)

    def _happened(self, watch: Watch, events: list[RoomEvent]) -> None:
        ended = watch.error is not None and watch.error.status == 410
        if ended and not self._chat.ended:
            # While we are in it, the room is at another server, which tells of it anew.
            self._timers.set("again", REWATCH, self._again)
        on_events = self._chat.listener.on_events
        if watch.error is not None and watch.error.status == 404 and "again" in self._timers:
            return
        if on_events is not None:
            on_events(watch, events)

    def _again(self) -> None:
        self.watch = None
        self.begin()
