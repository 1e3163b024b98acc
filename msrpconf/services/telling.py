"""What a server tells dispatchers of its dialogs and rooms, with SYNC (doc/channel.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.leg import Leg
from msrpconf.conference.participant import Participant
from msrpconf.conference.seat import write_room, write_seat
from msrpconf.dispatch.records import Changes, DialogId, DialogRecord, batches, encode_changes
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_hello import link_request
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.sip.message import Request

DELAY = 0.0
"""Seconds in which changes that come by no request of SIP, as nicknames, are collected: a turn."""


class Telling:
    """Tells all dispatchers, whose links `links` gives, what there is and what has changed.

    What another server would need to go on with a participant and a room is told where one of
    them moves rooms.
    """

    def __init__(
        self, control: ConferenceControl, clock: Any, links: Callable[[], Collection[Link]]
    ) -> None:
        self._control = control
        self._clock = clock
        self._links = links
        self.touched: set[DialogId] = set()
        """Dialogs of which something may have to be told soon: with `tell_touched`."""
        self._told: dict[DialogId, DialogRecord] = {}
        self._by_call: dict[tuple[str, str | None], set[DialogId]] = {}
        self._moves: dict[DialogId, int] = {}
        self._coming: set[DialogId] = set()
        self._nicknames: dict[DialogId, str | None] = {}
        self._states: dict[str, str] = {}
        self._rooms: set[str] = set()
        self._later: IDelayedCall | None = None
        control.registry.watch(lambda key, info, change: self._room_changed(key))

    def of_call(self, call_id: str, tag: str | None) -> set[DialogId]:
        """The dialogs of an INVITE, by Call-ID and the client's tag."""
        return self._by_call.get((call_id, tag), set())

    def stop(self) -> None:
        """Tell nothing more that is not told at once."""
        later, self._later = self._later, None
        if later is not None:
            later.cancel()

    @property
    def _moving(self) -> bool:
        return any(link.peer is not None and link.peer.moves for link in self._links())

    # What there is.

    def _legs(self) -> Iterator[tuple[str, Leg]]:
        for participant in self._control.registry.participants():
            yield participant.room.key, participant
        for session in list(self._control.files.sessions.values()):
            yield session.room.key, session

    def _leg(self, dialog_id: DialogId) -> DialogRecord | None:
        found: Any = self._control.registry.dialogs.get(dialog_id)
        found = found or self._control.files.sessions.get(dialog_id)
        return None if found is None else self._record(found.room.key, found)

    def _record(self, room: str, leg: Leg) -> DialogRecord:
        moves = self._moves.get(leg.dialog.id, 0)
        if not isinstance(leg, Participant) or not self._moving:
            return DialogRecord.of(leg.dialog, room, leg.flow, "", moves)
        control = self._control
        seat = control.arrivals.seats.get(leg) or write_seat(leg, control.settings.msrp_host)
        return DialogRecord.of(leg.dialog, room, leg.flow, seat, moves)

    def _state(self, key: str) -> str | None:
        """What there is to tell of a room, if dispatchers know it differently."""
        room = self._control.registry.rooms.get(key)
        state = "" if room is None else write_room(room)
        return state if state and self._states.get(key) != state else None

    # Telling it.

    @inlineCallbacks
    def tell_all(self, link: Link) -> Generator[Deferred[Any], Any, None]:
        """Tell a dispatcher all dialogs, so many at a time, and that these are all."""
        records = [self._record(room, leg) for room, leg in self._legs()]
        for record in records:
            self._note(record)
        rooms = {record.room for record in records}
        try:
            for batch in batches(records):
                # What has changed since is told as a change, or comes with a later batch.
                now = tuple(each for each in map(self._leg, (one.id for one in batch)) if each)
                yield link.request(self.sync("more", Changes(now)))
            for key in rooms if self._moving else ():
                room = self._control.registry.rooms.get(key)
                if room is not None and (state := write_room(room)):
                    self._states[key] = state
                    yield link.request(self.sync("more", Changes(rooms=((key, state),))))
            yield link.request(self.sync("done", Changes()))
        except ChannelClosed:
            return  # `link_down` tells

    def sync(self, part: str, changes: Changes) -> Request:
        """The request that tells it; `part` is ``more``, ``done`` or ``change``."""
        headers = [("Sync", part), ("Content-Type", "application/json")]
        return link_request("SYNC", self._control.settings.name, headers, encode_changes(changes))

    def expected(self, records: Iterable[DialogRecord]) -> None:
        """Dialogs are about to come from another server, or to be refused."""
        for record in records:
            self._moves[record.id] = record.moves
            self._coming.add(record.id)

    def moved(self, records: Iterable[DialogRecord]) -> None:
        """Tell of dialogs that have come from another server."""
        touched, self._coming = self._coming, set()
        for record in records:
            self._moves[record.id] = record.moves
            touched.add(record.id)
        self.changed(touched)

    def tell_touched(self) -> None:
        """Tell all dispatchers what has become of the dialogs that requests were about."""
        if self.touched:
            self.changed(set())

    def changed(self, touched: set[DialogId]) -> None:
        """Tell all dispatchers what has become of some dialogs, if they know it differently."""
        changed, ended = [], []
        touched, self.touched = self.touched | touched, set()
        for dialog_id in touched:
            record, told = self._leg(dialog_id), self._told.get(dialog_id)
            if record is None:
                self._moves.pop(dialog_id, None)
                if told is not None:
                    self._unnote(told)
                    ended.append(dialog_id)
            elif told is None or _differs(told, record):
                self._note(record)
                changed.append(record)
        if not (changed or ended):
            return
        keys = {record.room for record in changed} if self._moving else set()
        rooms = {key: state for key in keys if (state := self._state(key)) is not None}
        self._states.update(rooms)
        self._tell(Changes(tuple(changed), tuple(ended), tuple(rooms.items())))

    def _tell(self, changes: Changes) -> None:
        for link in self._links():
            link.request(self.sync("change", changes)).addErrback(not_told)

    def _note(self, record: DialogRecord) -> None:
        self._told[record.id] = record
        self._by_call.setdefault((record.call_id, record.remote_tag), set()).add(record.id)
        participant = self._control.registry.dialogs.get(record.id)
        if participant is not None and record.seat:
            self._nicknames[record.id] = participant.room.nicknames.of(participant)

    def _unnote(self, record: DialogRecord) -> None:
        del self._told[record.id]
        self._nicknames.pop(record.id, None)
        call = record.call_id, record.remote_tag
        known = self._by_call.get(call, set())
        known.discard(record.id)
        if not known:
            self._by_call.pop(call, None)

    # What changes by no request of SIP: nicknames, roles, the subject.

    def _room_changed(self, key: str) -> None:
        if key not in self._control.registry.rooms:
            self._rooms.discard(key)
            self._states.pop(key, None)
        elif self._moving:
            self._rooms.add(key)
            if self._later is None:
                self._later = self._clock.callLater(DELAY, self._look)

    def _look(self) -> None:
        """Tell what has changed in these rooms."""
        self._later = None
        keys, self._rooms = self._rooms, set()
        touched: set[DialogId] = set()
        states = []
        for key in keys:
            room = self._control.registry.rooms.get(key)
            if room is None:
                continue
            for each in room.participants:
                name = room.nicknames.of(each)
                if self._nicknames.get(each.dialog.id) != name:
                    touched.add(each.dialog.id)
            state = self._state(key) if room.participants else None
            if state is not None:
                self._states[key] = state
                states.append((key, state))
        self.changed(touched)
        for told in states:
            self._tell(Changes(rooms=(told,)))


def _differs(told: DialogRecord, now: DialogRecord) -> bool:
    """Whether a dispatcher must know: the numbers of requests have a gap of their own."""
    return (told.room, told.target, told.way, told.seat) != (
        now.room,
        now.target,
        now.way,
        now.seat,
    )


def not_told(failure: Failure) -> None:
    """The link is lost: the next one is told all."""
    failure.trap(ChannelClosed)
