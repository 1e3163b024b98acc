"""A dispatcher's servers, as whoever looks at it sees them."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from msrpconf.dispatch.tables import ServerEntry
from msrpconf.protocols.channel_counters import LinkCounters
from msrpconf.protocols.channel_link import Link
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.server_end import ServerEnd

CONNECTED = "connected"
CONNECTING = "connecting"
LOST = "lost"
GIVEN_UP = "given up"

STATES = (CONNECTED, CONNECTING, LOST, GIVEN_UP)


@frozen
class SeenServer:
    """One server: `name` is None before the first link, `end` where another has its place.

    `entry` is what the tables know of it, None for nothing.
    """

    name: str | None
    state: str
    end: ServerEnd | None
    entry: ServerEntry | None

    @property
    def address(self) -> str | None:
        """Where it is wanted."""
        return None if self.end is None else str(self.end.address)

    @property
    def link(self) -> Link | None:
        """The link, while there is one."""
        return None if self.end is None else self.end.current

    @property
    def counters(self) -> LinkCounters:
        """What has passed over its links."""
        return LinkCounters() if self.end is None else self.end.counters


def seen(dispatcher: DispatcherService) -> Iterator[SeenServer]:
    """All servers of a dispatcher, those without a place last."""
    servers, placed = dispatcher.tables.servers, set()
    for end in dispatcher.ends:
        # Who is connected now has the name, wherever it was before.
        name = end.name
        if name is not None and end.current is None and name in dispatcher.links:
            name = None
        if name is not None:
            placed.add(name)
        entry = None if name is None else servers.get(name)
        yield SeenServer(name, _state(dispatcher, end, name), end, entry)
    for name, entry in servers.items():
        if name not in placed:
            state = LOST if dispatcher.awaits(name) else GIVEN_UP
            yield SeenServer(name, state, None, entry)


def _state(dispatcher: DispatcherService, end: ServerEnd, name: str | None) -> str:
    if end.current is not None:
        return CONNECTED
    if name is None:
        return CONNECTING
    return LOST if dispatcher.awaits(name) else GIVEN_UP
