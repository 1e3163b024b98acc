"""A conference server, and what a database has of its rooms: records, and who may watch them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.config import Config
from msrpconf.services.configured import Trace, keep_alive, msrp_trace, server_settings
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.services.server import ServerService
from msrpconf.services.static_rooms import StaticRoomService
from msrpconf.storage.database import Database


class RecordedRooms:
    """The server of a configuration, with its static rooms and documents.

    `static_rooms` are the rooms that an operator has set up, `documents` those that say who may
    watch which room; both are None without a database. `server` is started and stopped by whoever
    has this, after `read` and before `stop`.
    """

    def __init__(self, config: Config, reactor: Any, trace: Trace | None) -> None:
        self.server = ServerService(
            reactor,
            server_settings(config),
            config.server.listen,
            trace=None if trace is None else msrp_trace(trace),
            tls=config.load_tls(),
            keep_alive=keep_alive(config),
        )
        self.static_rooms: StaticRoomService | None = None
        self.documents: RoomDocumentService | None = None
        self.database: Database | None = None
        url = config.database_url
        if url is not None:
            refresh = config.database.refresh
            self.database = database = Database(url, reactor)
            self.static_rooms = StaticRoomService(database, self.server.control, reactor, refresh)
            self.documents = RoomDocumentService(
                database, self.server.registry, reactor, refresh, config.server.name
            )

    @inlineCallbacks
    def read(self, is_wanted: Callable[[], object]) -> Generator[Deferred[Any], Any, None]:
        """Read what there is, as long as it is still wanted. Fails with `DatabaseError`."""
        for each in (self.static_rooms, self.documents):
            if each is not None and is_wanted():
                yield each.startService()

    @inlineCallbacks
    def read_again(self) -> Generator[Deferred[Any], Any, int]:
        """Have the rooms as they are set up now; how many that are. Fails with `DatabaseError`."""
        if self.static_rooms is None:
            return 0
        yield self.static_rooms.refresh()
        self.static_rooms.apply_defaults()
        return len(self.static_rooms.rooms)

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Write what is left to write, and let go of the database."""
        for each in (self.documents, self.static_rooms):
            if each is not None:
                yield each.stopService()
