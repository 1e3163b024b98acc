"""The `ConferenceRegistry`: every room, dialog and MSRP session of one server, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from msrpconf.conference.info import RoomInfo
from msrpconf.conference.participant import Participant, State
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.spool import Spools
from msrpconf.conference.states import Change, Watcher
from msrpconf.protocols.msrp.connection import session_id
from msrpconf.protocols.msrp.session import Refusal, Session
from msrpconf.protocols.sip.message import Request

__all__ = [
    "ConferenceRegistry",
]

DialogId = tuple[str, str, str | None]
"""Call-ID, our tag, the peer's tag (RFC 3261 §12)."""


@define
class Tally:
    """What a server has done since it was started, as far as its rooms do not know it themselves.

    Messages are those of the rooms that have ended. `refused` and `dropped` count by
    the status that a request, or a BYE's Reason, was given.
    """

    rooms_made: int = 0
    rooms_ended: int = 0
    joined: int = 0
    left: int = 0
    cancelled: int = 0
    messages: int = 0
    private_messages: int = 0
    undelivered: int = 0
    refused: Counter[int] = field(factory=Counter)
    dropped: Counter[int] = field(factory=Counter)


class ConferenceRegistry:
    """Finds a room by its URI, a participant by its dialog, a session by its id.

    The tables are read by others and written here alone: `enter` and `leave`
    keep them true to each other.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.rooms: dict[str, Room] = {}
        self.dialogs: dict[DialogId, Participant] = {}
        self.sessions: dict[bytes, Session] = {}
        self.pending: dict[tuple[str, str | None], Participant] = {}
        """Whose INVITE waits for its ACK, by Call-ID and the peer's tag, as a CANCEL names it."""
        self.run_command: Callable[[Participant, bytes], Refusal | bool] | None = None
        """What rooms do with messages that may be commands."""
        self.spools: Spools | None = None
        """Where messages may wait for slow readers, if anywhere: for rooms that are made later."""
        self.static_rooms = 0
        """How many of the rooms an operator has set up; kept by who sets them up."""
        self.draining = False
        """Whether nobody new is taken in, because the server is about to be stopped."""
        self.tally = Tally()
        """What was done in rooms that have ended, and how often people came and went."""
        self.on_left: Callable[[Participant], None] = lambda participant: None
        """Told of each participant who is out."""
        self.on_made: Callable[[Room], None] = lambda room: None
        """Told of each room that has just come to be here, of whatever kind."""
        self.on_ended: Callable[[Room], None] = lambda room: None
        """Told of each room that has ended."""
        self._clock = clock
        self._watchers: list[Watcher] = []

    def room(self, uri: str, key: str, settings: RoomSettings) -> Room:
        """The room of that key; a new one, known by `uri`, where there is none."""
        room = self.rooms.get(key)
        if room is None:
            room = self.rooms[key] = Room(uri, key, self._clock, settings)
            room.spools = self.spools
            room.run_command = self.run_command
            room.info.on_change = partial(self._changed, room)
            self.tally.rooms_made += 1
            self.on_made(room)
        return room

    def participant(self, request: Request) -> Participant | None:
        """Whom a client's request in a dialog, or its CANCEL of an INVITE, is about.

        A peer of RFC 2543 has no tag, which is a tag of its own (RFC 3261 §12.1.1).
        """
        ours, theirs = request.to.tag, request.from_.tag
        if ours is not None:
            return self.dialogs.get((request.call_id, ours, theirs))
        return self.pending.get((request.call_id, theirs)) if request.method == "CANCEL" else None

    def enter(self, participant: Participant) -> None:
        """Put a participant into its room and make its dialog and session known."""
        self.dialogs[participant.dialog.id] = participant
        self.sessions[session_id(participant.session.local_path)] = participant.session
        self.pending[participant.dialog.call_id, participant.dialog.remote_tag] = participant
        participant.room.add(participant)

    def acknowledge(self, participant: Participant) -> None:
        """The ACK has come: the participant is in."""
        participant.state = State.JOINED
        self.tally.joined += 1
        self._no_longer_pending(participant)
        participant.room.joined(participant)

    def _no_longer_pending(self, participant: Participant) -> None:
        key = participant.dialog.call_id, participant.dialog.remote_tag
        if self.pending.get(key) is participant:
            del self.pending[key]

    def leave(self, participant: Participant) -> None:
        """Take a participant out; an ad-hoc room ends with its last one.

        The participant's state is `dropped` before anything else happens.
        """
        was_in = participant.state is State.JOINED
        participant.state = State.DROPPED
        participant.stop_timers()
        self._no_longer_pending(participant)
        self.dialogs.pop(participant.dialog.id, None)
        room = participant.room
        room.remove(participant)
        if was_in:
            room.left(participant)
        else:
            room.nicknames.left(participant, participant.identity.key)
        self.sessions.pop(session_id(participant.session.local_path), None)
        participant.session.close()
        if not (room.participants or room.static) and self.rooms.get(room.key) is room:
            self.end(room)
        self.on_left(participant)

    def end(self, room: Room) -> None:
        """A room is no more; nobody is in it."""
        del self.rooms[room.key]
        tally = self.tally
        tally.rooms_ended += 1
        tally.messages += room.messages
        tally.private_messages += room.private_messages
        tally.undelivered += room.undelivered
        room.info.on_change = lambda change: None
        room.info.forget_gone()
        # A room and its information hold each other until garbage is looked for: a little.
        room.history.clear()
        self.on_ended(room)
        for watcher in self._watchers:
            watcher(room.key, room.info, None)

    # The rooms as `ConferenceStates`.

    def find(self, key: str) -> RoomInfo | None:
        """What watchers are told of the room `key`, if it is there."""
        room = self.rooms.get(key)
        return None if room is None else room.info

    def conferences(self) -> list[tuple[str, RoomInfo]]:
        """What watchers are told of each room, with its key."""
        return [(room.key, room.info) for room in self.rooms.values()]

    def watch(self, watcher: Watcher) -> None:
        """Have `watcher` told of what changes in any room."""
        self._watchers.append(watcher)

    def _changed(self, room: Room, change: Change) -> None:
        for watcher in self._watchers:
            watcher(room.key, room.info, change)

    def totals(self) -> Tally:
        """What was done since the start, also in the rooms that are there."""
        rooms = self.rooms.values()
        tally = self.tally
        return evolve(
            tally,
            messages=tally.messages + sum(each.messages for each in rooms),
            private_messages=tally.private_messages + sum(each.private_messages for each in rooms),
            undelivered=tally.undelivered + sum(each.undelivered for each in rooms),
        )

    @property
    def ad_hoc_rooms(self) -> int:
        """How many rooms there are that end with their last participant."""
        return len(self.rooms) - self.static_rooms

    def participants(self) -> list[Participant]:
        """Everybody in every room, at this moment."""
        return list(self.dialogs.values())
