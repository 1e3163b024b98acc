"""Rooms of a server that is given up go on at another (`[dispatcher] on_server_loss = "move"`).

For each room a living server is chosen, as for a new one, and asked by MOVE to go on with it and
with the dialogs that the lost server has told of. It asks the clients to connect there; whom it
cannot take gets a BYE from here. Where several dispatchers share servers, the claim of the room
makes them choose the same one, and the server takes each dialog once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.dispatch.records import DialogId, DialogRecord, batches
from msrpconf.dispatch.tables import ServerEntry
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.services.goodbyes import Goodbyes
from msrpconf.services.taking_over import move_request, refused_of
from msrpconf.storage.claims import ClaimError
from msrpconf.storage.errors import DatabaseError
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.services.dispatcher import DispatcherService

AT_ONCE = 100
"""Rooms that are moved at one time."""


class Moves:
    """Moves the rooms of lost servers, for the dispatcher; `goodbyes` tells whom nobody takes."""

    log = Logger()

    def __init__(self, dispatcher: DispatcherService, goodbyes: Goodbyes) -> None:
        self.rooms: set[str] = set()
        """Rooms for which no server is chosen yet: nobody may begin them meanwhile."""
        self._waiting: dict[DialogId, DialogRecord] = {}
        self._dispatcher = dispatcher
        self._goodbyes = goodbyes
        self._gate = DeferredSemaphore(AT_ONCE)

    def move(self, origin: str, lost: Iterable[DialogRecord], states: dict[str, str]) -> None:
        """Move the rooms that these dialogs of the server `origin` are in.

        `states` are what it told of the rooms, by their keys.
        """
        rooms: dict[str, list[DialogRecord]] = {}
        cannot = []
        for record in lost:
            if record.seat:
                rooms.setdefault(record.room, []).append(record)
                self._waiting[record.id] = record
            else:
                cannot.append(record)
        self._goodbyes.say(cannot)
        self.rooms.update(rooms)
        for room, records in rooms.items():
            moving = self._gate.run(self._begin, origin, room, states.get(room, ""), records)
            moving.addErrback(self._failed, room, records)

    def is_waiting(self, dialog_id: DialogId) -> bool:
        """Whether a dialog is to move, and no server has it yet."""
        return dialog_id in self._waiting

    def ended(self, dialog_id: DialogId) -> None:
        """The client of such a dialog has said BYE."""
        self._waiting.pop(dialog_id, None)

    def _begin(
        self, origin: str, room: str, state: str, records: list[DialogRecord]
    ) -> Deferred[None]:
        return Deferred.fromCoroutine(self._move(origin, room, state, records))

    async def _move(self, origin: str, room: str, state: str, records: list[DialogRecord]) -> None:
        refused: set[str] = set()
        while True:
            entry = await self._choose(room, refused)
            self.rooms.discard(room)
            records = [each for each in records if self._waiting.pop(each.id, None) is not None]
            tables = self._dispatcher.tables
            # Another dispatcher may have moved some of them.
            records = [each for each in records if tables.of_dialog(each.id) is None]
            if entry is None or not records:
                break
            if await self._hand(entry, origin, room, state, records):
                return
            refused.add(entry.name)
            self.rooms.add(room)
            self._waiting.update((each.id, each) for each in records)
        if records:
            text = "{room} of server {origin} cannot be moved: BYE to {count} calls"
            self.log.warn(text, room=visible(room), origin=origin, count=len(records))
        self._goodbyes.say(records)

    async def _choose(self, room: str, refused: set[str]) -> ServerEntry | None:
        """The server that the room is to go on at; None where there is none."""
        dispatcher = self._dispatcher
        tables = dispatcher.tables
        home = tables.home(room)
        if home is not None:
            there = home.name in dispatcher.links and home.name not in refused
            return home if there else None
        wanted = [each.name for each in tables.candidates(room) if each.name not in refused]
        if not wanted:
            return None
        claims = dispatcher.claims
        if claims is None:
            return tables.servers[wanted[0]]
        told = {each.name for each in tables.servers.values() if each.has_told}
        try:
            name = await claims.claim(room, wanted, told | refused | claims.gone_servers())
        except (DatabaseError, ClaimError) as error:
            self.log.error("{room} cannot be claimed: {error}", room=room, error=str(error))
            return None
        chosen = tables.home(room) or tables.servers.get(name)
        there = chosen is not None and chosen.name in dispatcher.links
        return chosen if there else None

    async def _hand(
        self,
        entry: ServerEntry,
        origin: str,
        room: str,
        state: str,
        records: list[DialogRecord],
    ) -> bool:
        """Ask a server to go on with a room; whether it does."""
        dispatcher = self._dispatcher
        moved = [evolve(each, moves=each.moves + 1) for each in records]
        # From now on requests in these dialogs, and to the room, follow this one on the same link.
        dispatcher.tables.take(entry, moved, state)
        link = dispatcher.links[entry.name]
        asked = [
            (batch, link.request(move_request(dispatcher.own_name, origin, room, state, batch)))
            for batch in batches(moved)
        ]
        whole = True
        left: list[DialogRecord] = []
        for batch, asking in asked:
            try:
                response = await asking
            except ChannelClosed:
                whole = False
                continue  # that server is lost, too: what is there is told when it is back
            if response.status == 200:
                whole = False
                refused = refused_of(response)
                left += [each for each in batch if each.id in refused]
            else:
                left += batch
                self._log_refusal(entry, room, response.status, response.reason)
        dispatcher.tables.not_taken(entry, left)
        if whole:
            return False
        self._goodbyes.say(left)
        text = "{room} of server {origin} has moved to {name}, with {count} calls"
        self.log.info(
            text, room=visible(room), origin=origin, name=entry.name, count=len(records) - len(left)
        )
        return True

    def _log_refusal(self, entry: ServerEntry, room: str, status: int, reason: str) -> None:
        self.log.warn(
            "server {name} does not take {room}: {status} {reason}",
            name=entry.name,
            room=visible(room),
            status=status,
            reason=visible(reason),
        )

    def _failed(self, failure: Failure, room: str, records: list[DialogRecord]) -> None:
        self.log.failure("{room} could not be moved", failure, room=visible(room))
        self.rooms.discard(room)
        for each in records:
            self._waiting.pop(each.id, None)
        self._goodbyes.say(records)
