"""Rooms of a server that is lost, or stops, go on at another (`on_server_loss = "move"`).

For each room a living server is chosen, as for a new one, and asked by MOVE to go on with it and
with the dialogs that the lost server has told of. It asks the clients to connect there; whom it
cannot take gets a BYE from here. Where several dispatchers share servers, the claim of the room
makes them choose the same one, and the server takes each dialog once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.dispatch.records import (
    Changes,
    DialogId,
    DialogRecord,
    RecordError,
    batches,
    decode_changes,
)
from msrpconf.dispatch.tables import ServerEntry
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.sip.message import Request, Response
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
        waiting = self._waiting

        def still(record: DialogRecord) -> bool:
            # Another dispatcher may have moved it, or its client has said BYE.
            known = self._dispatcher.tables.of_dialog(record.id)
            return waiting.pop(record.id, None) is not None and known is None

        def not_yet(records: list[DialogRecord]) -> None:
            self.rooms.add(room)
            waiting.update((each.id, each) for each in records)

        changes = Changes(tuple(records), rooms=((room, state),))
        left = await self._transfer(origin, room, changes, still, not_yet)
        if left:
            text = "{room} of server {origin}: {count} calls cannot be moved, and get a BYE"
            self.log.warn(text, room=visible(room), origin=origin, count=len(left))
        self._goodbyes.say(left)

    # A server that stops hands over what it has.

    def hand_over(self, origin: ServerEntry, request: Request) -> Response | Deferred[Response]:
        """Have another server go on with a room, as the one that has it asks for."""
        try:
            told = decode_changes(request.body)
        except RecordError as error:
            return request.response(400, str(error))
        room = request.headers.get("Room") or ""
        records = tuple(each for each in origin.dialogs.values() if each.room == room and each.seat)
        states = told.rooms or ((room, origin.states.get(room, "")),)
        changes = evolve(told, dialogs=records, rooms=states)
        return self._gate.run(
            lambda: Deferred.fromCoroutine(self._hand_over(origin, room, changes, request))
        )

    async def _hand_over(
        self, origin: ServerEntry, room: str, changes: Changes, request: Request
    ) -> Response:
        tables = self._dispatcher.tables

        def still(record: DialogRecord) -> bool:
            if record.id not in origin.dialogs:
                return False
            tables.bury(origin, record)
            return True

        def not_yet(records: list[DialogRecord]) -> None:
            tables.take(origin, records, changes.rooms[0][1])

        left = await self._transfer(origin.name, room, changes, still, not_yet)
        not_yet(left)
        if len(left) < len(changes.dialogs):
            self._dispatcher.handed_over(origin.name, room)
        taken = [list(each.id) for each in changes.dialogs if each.id in origin.buried]
        body = json.dumps({"taken": taken}).encode("ascii")
        return request.response(200, body=body)

    # Finding somebody for a room.

    async def _transfer(
        self,
        origin: str,
        room: str,
        changes: Changes,
        still: Callable[[DialogRecord], bool],
        not_yet: Callable[[list[DialogRecord]], None],
    ) -> list[DialogRecord]:
        """Have a server go on with the dialogs of `changes`; gives those that none has taken.

        `still` says of each, once there is a server, whether it is to move, and `not_yet` is told
        of those that this server has not taken after all.
        """
        records = list(changes.dialogs)
        refused = {origin}
        begun = self._dispatcher.tables.servers.get(origin)
        if begun is not None and begun.takes_rooms:
            refused.clear()  # another process of that name is there
        while True:
            entry = await self._choose(room, refused)
            self.rooms.discard(room)
            if entry is None:
                return [each for each in records if still(each)]
            records = [each for each in records if still(each)]
            if not records:
                return []
            left = await self._hand(entry, origin, room, evolve(changes, dialogs=tuple(records)))
            if left is not None:
                return left
            refused.add(entry.name)
            not_yet(records)

    async def _choose(self, room: str, refused: set[str]) -> ServerEntry | None:
        """The server that the room is to go on at; None where there is none."""
        dispatcher = self._dispatcher
        tables = dispatcher.tables
        home = tables.home(room, refused)
        if home is not None:
            return home if home.name in dispatcher.links else None
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
        chosen = tables.home(room, refused) or tables.servers.get(name)
        there = chosen is not None and chosen.name in dispatcher.links
        return chosen if there else None

    async def _hand(
        self, entry: ServerEntry, origin: str, room: str, changes: Changes
    ) -> list[DialogRecord] | None:
        """Ask a server to go on with a room; whom it has not taken, None for nobody at all."""
        dispatcher = self._dispatcher
        moved = [evolve(each, moves=each.moves + 1) for each in changes.dialogs]
        # From now on requests in these dialogs, and to the room, follow this one on the same link.
        dispatcher.tables.take(entry, moved, changes.rooms[0][1])
        link = dispatcher.links[entry.name]
        asked = []
        for batch in batches(moved):
            part = evolve(changes, dialogs=batch)
            asking = link.request(move_request(dispatcher.own_name, origin, room, part))
            asked.append((batch, asking))
            changes = evolve(changes, said=())  # once is enough
        whole = True
        left: set[DialogId] = set()
        for batch, asking in asked:
            try:
                response = await asking
            except ChannelClosed:
                whole = False
                continue  # that server is lost, too: what is there is told when it is back
            if response.status == 200:
                whole = False
                left |= refused_of(response)
            else:
                left.update(each.id for each in batch)
                self._log_refusal(entry, room, response.status, response.reason)
        dispatcher.tables.not_taken(entry, [each for each in moved if each.id in left])
        if whole:
            return None
        text = "{room} of server {origin} has moved to {name}, with {count} calls"
        self.log.info(
            text, room=visible(room), origin=origin, name=entry.name, count=len(moved) - len(left)
        )
        return [each for each in changes.dialogs if each.id in left]

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
