"""Where a client's request goes: to the server that has its room or dialog, or shall have the room.

A room that lives stays where it is; a new one goes to a server by the hash of its URI, or by a
claim where several dispatchers have to agree; a request in a dialog goes to the server that has
told of the dialog, else to the one that our tag names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msrpconf.conference.leg import CONFERENCE
from msrpconf.dispatch.records import DialogId
from msrpconf.dispatch.tables import ServerEntry
from msrpconf.protocols.channel_link import Link
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.services.claims import RoomClaims
from msrpconf.storage.claims import ClaimError
from msrpconf.storage.errors import DatabaseError
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.services.dispatcher import DispatcherService

MAX_HELD = 10_000
"""Requests that wait, after the start, until it is known where rooms live."""

RETRY_AFTER = (("Retry-After", "5"),)

CallKey = tuple[str, str | None, str]
"""Call-ID, the client's tag, the method."""


class _Cancelled(Exception):
    """A request that waits was cancelled by its client."""


class Routing:
    """Routes the requests of a focus, for the dispatcher."""

    log = Logger()

    def __init__(self, dispatcher: DispatcherService) -> None:
        self._dispatcher = dispatcher
        self._tables = dispatcher.tables
        self._held: dict[CallKey, Deferred[None]] = {}

    async def route(self, message: Request) -> Response:
        """Sends a request to where it belongs, and gives the answer."""
        if message.to.tag is not None:
            return await self._with_tag(message, message.to.tag)
        if message.method == "CANCEL":
            waiting = self._held.pop((message.call_id, message.from_.tag, "INVITE"), None)
            if waiting is not None:
                waiting.errback(_Cancelled())
                return message.response(200)
            entry = self._tables.of_call(message.call_id, message.from_.tag)
            return await self._in_dialog(message, entry)
        room = parse_uri(message.headers.get(CONFERENCE) or str(message.uri)).key
        if self._tables.home(room) is None and not self._dispatcher.settled:
            refusal = await self._hold(message)
            if refusal is not None:
                return refusal
        return await self._to_room(message, room)

    def straight(self, message: Request) -> Link | None:
        """The link for a request in a dialog of which nothing has to be found out; else None."""
        tag = message.to.tag
        if tag is None:
            return None
        dialog_id = message.call_id, tag, message.from_.tag
        entry = self._tables.of_dialog(dialog_id)
        if entry is None or self._dispatcher.moves.is_waiting(dialog_id):
            return None
        return self._dispatcher.links.get(entry.name)

    @property
    def held(self) -> int:
        """How many wait."""
        return len(self._held)

    def settled(self) -> None:
        """It is known where rooms live, or there was the time to learn it."""
        held, self._held = self._held, {}
        for each in held.values():
            each.callback(None)

    async def _hold(self, message: Request) -> Response | None:
        """Wait until that is so; a response for what is over before."""
        call = message.call_id, message.from_.tag, message.method
        if len(self._held) >= MAX_HELD or call in self._held:
            return self._refuse(message, 503, "The dispatcher has just started: try again")
        self._held[call] = Deferred()
        try:
            await self._held[call]
        except _Cancelled:
            return message.response(487)
        return None

    async def _with_tag(self, message: Request, tag: str) -> Response:
        """What is for a dialog; its tag says where that began."""
        dialog_id = message.call_id, tag, message.from_.tag
        if self._tables.of_dialog(dialog_id) is None and not self._dispatcher.settled:
            # It may be at another server by now, which has not told so yet.
            refusal = await self._hold(message)
            if refusal is not None:
                return refusal
        if self._dispatcher.moves.is_waiting(dialog_id):
            return self._while_moving(message, dialog_id)
        entry = self._tables.of_dialog(dialog_id) or self._tables.of_tag(tag)
        return await self._in_dialog(message, entry)

    async def _in_dialog(self, message: Request, entry: ServerEntry | None) -> Response:
        if entry is None:
            return self._refuse(message, 481, "No conference server here has this dialog")
        link = self._dispatcher.links.get(entry.name)
        if link is not None:
            return await link.request(message)
        dialog_id = message.call_id, message.to.tag or "", message.from_.tag
        record = entry.dialogs.get(dialog_id)
        if record is None:
            return self._refuse(message, 481, "The conference server of this dialog has failed")
        if message.method == "BYE":
            # The client shall be rid of it; the server is told when it is back.
            self._dispatcher.hung_up(entry, record)
            return message.response(200)
        return self._refuse(message, 503, "The conference server is away: try again")

    def _while_moving(self, message: Request, dialog_id: DialogId) -> Response:
        """Answer a request in a dialog that is on its way to another server."""
        if message.method == "BYE":
            self._dispatcher.moves.ended(dialog_id)
            return message.response(200)
        return self._refuse(message, 503, "The room moves to another conference server: try again")

    async def _to_room(self, message: Request, room: str) -> Response:
        if room in self._dispatcher.moves.rooms:
            why = "The room moves to another conference server: try again"
            return self._refuse(message, 503, why)
        home = self._tables.home(room)
        if home is not None:
            return await self._offer(message, room, home)
        claims = self._dispatcher.claims
        if claims is not None and message.method == "INVITE":
            return await self._claimed(message, room, claims)
        response = self._no_server(message)
        for entry in self._tables.candidates(room):
            response = await self._offer(message, room, entry)
            if response.status != 503 or self._tables.home(room) is not None:
                break
        return response

    async def _claimed(self, message: Request, room: str, claims: RoomClaims) -> Response:
        """Begin a room where all dispatchers agree that it is to begin."""
        refused: set[str] = set()
        response = self._no_server(message)
        for _ in self._tables.candidates(room):
            wanted = [
                each.name for each in self._tables.candidates(room) if each.name not in refused
            ]
            if not wanted:
                break
            # Who is up, and has told, would have told of the room.
            told = {each.name for each in self._tables.servers.values() if each.has_told}
            try:
                name = await claims.claim(room, wanted, told | refused | claims.gone_servers())
            except (DatabaseError, ClaimError) as error:
                self.log.error("{room} cannot be claimed: {error}", room=room, error=str(error))
                return self._refuse(message, 503, "The room cannot be claimed now: try again")
            entry = self._tables.home(room) or self._tables.servers.get(name)
            if entry is None:
                return self._refuse(message, 503, "The room's server is not connected: try again")
            response = await self._offer(message, room, entry)
            if response.status != 503 or self._tables.home(room) is not None:
                break
            refused.add(entry.name)
        return response

    async def _offer(self, message: Request, room: str, entry: ServerEntry) -> Response:
        """Send a request to a server, and what is for the same room after it."""
        link = self._dispatcher.links.get(entry.name)
        if link is None:
            return self._refuse(message, 503, "The room's conference server is away: try again")
        if message.method == "INVITE":
            self._tables.remember_call(message.call_id, message.from_.tag, entry.name)
        self._tables.offer(entry, room)
        try:
            return await link.request(message)
        finally:
            self._tables.answered(entry, room)

    def _no_server(self, message: Request) -> Response:
        return message.response(503, "No conference server takes new rooms", headers=RETRY_AFTER)

    def _refuse(self, message: Request, status: int, reason: str) -> Response:
        self.log.info(
            "refused: {method} to {uri}: {status} {reason} (Call-ID {call_id})",
            method=message.method,
            uri=message.uri,
            status=status,
            reason=reason,
            call_id=visible(message.call_id),
        )
        headers = RETRY_AFTER if status == 503 else ()
        return message.response(status, reason, headers=headers)
