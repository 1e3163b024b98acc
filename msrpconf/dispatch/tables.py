"""What a dispatcher knows: servers, the dialogs that they told of, and where rooms live.

Pure: who connects, keeps time and sends is `services.dispatcher`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from enum import Enum

from attrs import define, field

from msrpconf.dispatch.placement import ranked
from msrpconf.dispatch.records import Changes, DialogId, DialogRecord

MAX_DIALOGS = 250_000
"""Dialogs that are kept of one server; of more, no BYE is sent if it dies."""

MAX_CALLS = 100_000
"""INVITEs without a To tag whose server is remembered, for their CANCEL; the latest ones."""


class ServerState(Enum):
    """Whether a server can be asked."""

    UP = "up"
    AWAY = "away"
    """The link is broken: it may come back, with its rooms."""


@define(eq=False)
class ServerEntry:
    """One server: `dialogs` are those that it told of, `rooms` their rooms with how many each.

    `offered` are the rooms that requests under way may make there.
    """

    name: str
    state: ServerState = ServerState.UP
    capacity: int = 1
    draining: bool = False
    leaving: bool = False
    """Whether it is to be used no longer than its dialogs last."""
    priority: int = 0
    weight: float = 1.0
    """By how much more or fewer rooms it gets than its capacity says."""
    dialogs: dict[DialogId, DialogRecord] = field(factory=dict)
    rooms: Counter[str] = field(factory=Counter)
    offered: Counter[str] = field(factory=Counter)
    unconfirmed: dict[DialogId, DialogRecord] | None = None
    """During a SYNC: what it had before, and has not told of again."""
    buried: dict[DialogId, int] = field(factory=dict)
    """Dialogs that were taken from it, with how often each had moved.

    Their clients were sent a BYE while it was away, or are on another server.
    """
    states: dict[str, str] = field(factory=dict)
    """What another server needs to go on with its rooms, by their keys."""
    instance: str = ""
    """What its process calls itself: another one has none of its dialogs."""
    is_anew: bool = False
    """Whether another process has begun since it told of its dialogs."""

    @property
    def has_told(self) -> bool:
        """Whether all its rooms are known, at this moment."""
        return self.state is ServerState.UP and self.unconfirmed is None

    @property
    def takes_rooms(self) -> bool:
        """Whether new rooms may be offered to it."""
        willing = self.has_told and not (self.draining or self.leaving)
        return willing and len(self.rooms) < self.capacity


class DispatchTables:
    """All servers by name, and the rooms by key."""

    def __init__(self) -> None:
        self.servers: dict[str, ServerEntry] = {}
        self._moved: dict[DialogId, ServerEntry] = {}
        # INVITEs, for their CANCEL.
        self._calls: OrderedDict[tuple[str, str | None], str] = OrderedDict()

    # Servers.

    def came(self, name: str, capacity: int, draining: bool, instance: str = "") -> ServerEntry:
        """A server is connected: what it has is what it had, until it has told."""
        entry = self.servers.setdefault(name, ServerEntry(name))
        entry.is_anew = bool(entry.instance and instance and entry.instance != instance)
        entry.instance = instance
        entry.state = ServerState.UP
        entry.capacity, entry.draining = max(capacity, 1), draining
        entry.unconfirmed = dict(entry.dialogs)
        return entry

    def went(self, name: str) -> ServerEntry | None:
        """The link to a server is broken."""
        entry = self.servers.get(name)
        if entry is not None:
            entry.state = ServerState.AWAY
            entry.unconfirmed = None
        return entry

    def forget(self, name: str) -> list[DialogRecord]:
        """A server will not come back: its rooms are nowhere. Gives its dialogs."""
        entry = self.servers.get(name)
        if entry is None:
            return []
        lost = list(entry.dialogs.values())
        for record in lost:
            self.bury(entry, record)
        return lost

    def drop(self, name: str) -> None:
        """A server that was given up is no more: nothing is known of it."""
        self.servers.pop(name, None)

    # Dialogs.

    def learn(self, entry: ServerEntry, changes: Changes) -> list[tuple[ServerEntry, DialogRecord]]:
        """What a server tells of its dialogs; gives those that a server has to let go of.

        They were taken from it while it was away, or have moved from there to another: of two
        servers that tell of one dialog, it is at the one to which it has moved last.
        """
        over = []
        for record in changes.dialogs:
            at = self.of_dialog(record.id)
            before = None if at is None or at is entry else at.dialogs[record.id]
            taken = entry.buried.get(record.id, -1) >= record.moves
            if taken or (before is not None and before.moves > record.moves):
                entry.buried[record.id] = record.moves
                over.append((entry, record))
                continue
            if at is not None and before is not None:
                self.bury(at, before)
                over.append((at, before))
            if entry.unconfirmed is not None:
                entry.unconfirmed.pop(record.id, None)
            entry.buried.pop(record.id, None)
            self._put(entry, record)
        for key, state in changes.rooms:
            if key in entry.rooms:
                entry.states[key] = state
        for dialog_id in changes.ended:
            entry.buried.pop(dialog_id, None)
            if entry.unconfirmed is not None:
                entry.unconfirmed.pop(dialog_id, None)
            self._remove(entry, dialog_id)
        return over

    def told_all(self, entry: ServerEntry) -> list[DialogRecord]:
        """A server has told all that it has. Gives the dialogs that it had before, and has lost."""
        lost, entry.unconfirmed = entry.unconfirmed or {}, None
        for dialog_id in lost:
            self._remove(entry, dialog_id)
        return list(lost.values())

    def take(self, entry: ServerEntry, records: Iterable[DialogRecord], state: str) -> None:
        """Dialogs are about to be at a server, to which they move."""
        for record in records:
            entry.buried.pop(record.id, None)
            self._put(entry, record)
            entry.states[record.room] = state

    def not_taken(self, entry: ServerEntry, records: Iterable[DialogRecord]) -> None:
        """The server has not taken them."""
        for record in records:
            if entry.dialogs.get(record.id) is record:
                self._remove(entry, record.id)

    def bury(self, entry: ServerEntry, record: DialogRecord) -> None:
        """A dialog is taken from a server."""
        entry.buried[record.id] = record.moves
        if entry.unconfirmed is not None:
            entry.unconfirmed.pop(record.id, None)
        self._remove(entry, record.id)

    def _put(self, entry: ServerEntry, record: DialogRecord) -> None:
        if record.id not in entry.dialogs and len(entry.dialogs) >= MAX_DIALOGS:
            return
        # In its place, if it is known: who was first in a room is first.
        before = entry.dialogs.get(record.id)
        entry.dialogs[record.id] = record
        entry.rooms[record.room] += 1
        if before is not None:
            self._less(entry, before.room)
        if record.local_tag.partition(".")[0] != entry.name:
            self._moved[record.id] = entry

    def _remove(self, entry: ServerEntry, dialog_id: DialogId) -> None:
        record = entry.dialogs.pop(dialog_id, None)
        if record is None:
            return
        self._less(entry, record.room)
        if self._moved.get(dialog_id) is entry:
            del self._moved[dialog_id]

    def _less(self, entry: ServerEntry, room: str) -> None:
        _less(entry.rooms, room)
        if room not in entry.rooms:
            entry.states.pop(room, None)

    # Rooms.

    def home(self, room: str, but: Collection[str] = ()) -> ServerEntry | None:
        """The server where a room lives, or is about to; None for one that is nowhere.

        The servers called `but` do not count: the room is leaving them.
        """
        for entry in self.servers.values():
            if (room in entry.rooms or room in entry.offered) and entry.name not in but:
                return entry
        return None

    def candidates(self, room: str) -> list[ServerEntry]:
        """The servers that a new room may be offered to, the first one first."""
        open_to = [each for each in self.servers.values() if each.takes_rooms]
        names = ranked(room, ((each.name, each.capacity * each.weight) for each in open_to))
        found = [self.servers[name] for name in names]
        return sorted(found, key=lambda each: each.priority)

    def offer(self, entry: ServerEntry, room: str) -> None:
        """A request that may make a room goes to a server: others for the room do, too."""
        entry.offered[room] += 1

    def answered(self, entry: ServerEntry, room: str) -> None:
        """That request is answered."""
        _less(entry.offered, room)

    # Requests.

    def of_tag(self, tag: str) -> ServerEntry | None:
        """The server that a tag of its own names."""
        return self.servers.get(tag.partition(".")[0])

    def of_dialog(self, dialog_id: DialogId) -> ServerEntry | None:
        """The server that has a dialog: to which it has moved, or which its tag names."""
        entry = self._moved.get(dialog_id) or self.of_tag(dialog_id[1])
        return entry if entry is not None and dialog_id in entry.dialogs else None

    def is_taken(self, entry: ServerEntry, dialog_id: DialogId) -> bool:
        """Whether a dialog was taken from a server, which may not know it."""
        if dialog_id in entry.buried:
            return True
        at = self._moved.get(dialog_id)
        return at is not None and at is not entry

    def remember_call(self, call_id: str, tag: str | None, name: str) -> None:
        """Where an INVITE went, for its CANCEL."""
        self._calls[call_id, tag] = name
        self._calls.move_to_end((call_id, tag))
        if len(self._calls) > MAX_CALLS:
            self._calls.popitem(last=False)

    def of_call(self, call_id: str, tag: str | None) -> ServerEntry | None:
        """Where that INVITE went."""
        name = self._calls.get((call_id, tag))
        return None if name is None else self.servers.get(name)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
