"""A server that stops hands its rooms over to others, by a dispatcher that moves rooms.

    nobody is listened to any more; what was said is written, and has arrived
    MOVE, with what was said last --> dispatcher --MOVE--> another server
                                                           INVITEs to the clients
    whose connections end, or after a while: out of the room here, without a word

So what was answered with 200 was delivered, and what was not is said again by its sender.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from typing import Any

from twisted.internet.defer import (
    Deferred,
    DeferredList,
    DeferredSemaphore,
    TimeoutError,
    inlineCallbacks,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.room import Room
from msrpconf.conference.seat import write_room
from msrpconf.dispatch.records import Changes, DialogId
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.msrp.connection import MsrpConnection
from msrpconf.protocols.sip.message import Response
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.server import SHUTDOWN
from msrpconf.services.taking_over import move_request, write_history
from msrpconf.visible import visible

AT_ONCE = 50
"""Rooms that are handed over at one time."""

ACKNOWLEDGED = 2.0
"""Seconds for the ACK of who was let in just before."""

ARRIVES = 2.0
"""Seconds for what was said to arrive, at who reads it."""

ANSWER = 10.0
"""Seconds for somebody to take a room."""

FOLLOW = 5.0
"""Seconds for clients to leave for the other server."""

TURN = 0.02
"""Seconds from one look to the next."""


class HandingOver:
    """Hands over the rooms of a server whose dispatchers are connected by `links`."""

    log = Logger()

    def __init__(self, control: ConferenceControl, links: DispatcherLinks, clock: Any) -> None:
        self._control = control
        self._links = links
        self._clock = clock

    @property
    def is_possible(self) -> bool:
        """Whether a dispatcher is connected that moves rooms."""
        return self._link() is not None

    def _link(self) -> Link | None:
        links = self._links.links.values()
        return next((each for each in links if each.peer is not None and each.peer.moves), None)

    @inlineCallbacks
    def run(self) -> Generator[Deferred[Any], Any, int]:
        """Hand over all rooms, as far as somebody takes them; gives how many people went.

        Nobody new is taken in from then on. It never fails, and takes no longer than its parts may.
        """
        self._control.registry.draining = True
        self._links.tell_draining()
        gate = DeferredSemaphore(AT_ONCE)
        rooms = [each for each in self._control.registry.rooms.values() if each.participants]
        went = yield DeferredList([gate.run(self._hand_over, room) for room in rooms])
        gone = [each for success, found in went if success for each in found]
        count = len(gone)
        latest = self._clock.seconds() + FOLLOW
        while gone:
            over = self._clock.seconds() >= latest
            for each in gone:
                if each.state is not State.DROPPED and (over or each.session.connection is None):
                    self._control.attendance.leave(each, "moved to another server")
            gone = [each for each in gone if each.state is not State.DROPPED]
            if gone:
                yield deferLater(self._clock, TURN)
        for room in rooms:
            room.silent = False  # a static room is there still
        return count

    @inlineCallbacks
    def _hand_over(self, room: Room) -> Generator[Deferred[Any], Any, list[Participant]]:
        """Hand over one; gives who goes."""
        link = self._link()
        if link is None:
            return []
        yield self._acknowledged(room)
        people = [each for each in room.participants if each.state is State.JOINED]
        if not people:
            return []
        room.silent = True
        found = (each.session.connection for each in people)
        connections = [each for each in found if isinstance(each, MsrpConnection)]
        for connection in connections:
            connection.ignore()
        latest = self._clock.seconds() + ARRIVES
        while self._clock.seconds() < latest and not all(each.is_written for each in connections):
            yield deferLater(self._clock, TURN)
        name = self._control.settings.name
        states = ((room.key, write_room(room)),)
        changes = Changes(rooms=states, said=write_history(room))
        asking = link.request(move_request(name, name, room.key, changes))
        try:
            answer = yield asking.addTimeout(ANSWER, self._clock)
        except (ChannelClosed, TimeoutError) as error:
            self._not_moved(room, str(error))
            return []
        taken = _taken(answer)
        gone = [each for each in people if each.dialog.id in taken]
        if len(gone) < len(people):
            self._not_moved(room, f"{len(people) - len(gone)} of {len(people)} could not")
        return gone

    @inlineCallbacks
    def _acknowledged(self, room: Room) -> Generator[Deferred[Any], Any, None]:
        """Wait for the ACKs of who was let in, and send out who says none.

        Who stayed behind would go on being answered, and be heard by nobody.
        """
        seats = self._control.arrivals.seats  # those who come from elsewhere have been asked to

        def joining() -> list[Participant]:
            return [
                each
                for each in room.participants
                if each.state is State.EXPECTED and each not in seats
            ]

        latest = self._clock.seconds() + ACKNOWLEDGED
        while joining() and self._clock.seconds() < latest:
            yield deferLater(self._clock, TURN)
        for each in joining():
            self._control.expel(each, SHUTDOWN)

    def _not_moved(self, room: Room, why: str) -> None:
        text = "{room} was not handed over to another server: {why}"
        self.log.warn(text, room=visible(room.uri), why=visible(why))


def _taken(answer: Response) -> set[DialogId]:
    if answer.status != 200:
        return set()
    try:
        found: Iterable[Any] = json.loads(answer.body)["taken"]
        return {(call_id, ours, theirs) for call_id, ours, theirs in found}
    except (ValueError, TypeError, KeyError, RecursionError):
        return set()
