"""What the management interface manages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Factory, field, frozen
from twisted.internet.defer import Deferred

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.protocols.msrp.connection import MsrpFactory
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.dispatcher_end import DispatcherEnd
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.draining import Draining
from msrpconf.services.focus_links import FocusLinks
from msrpconf.services.focus_service import FocusService
from msrpconf.services.presence import PresenceService
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.services.static_rooms import StaticRoomService


@frozen
class Reloaded:
    """What reading the configuration again has come to.

    `changed` are the keys whose new values hold from now on, `restart` those whose new
    values need a new start, `static_rooms` how many there are; each key as ``sip.trusted``.
    """

    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    static_rooms: int = 0


class ReloadError(Exception):
    """The configuration cannot be used; the old one still holds. The text says what is wrong."""


@frozen
class Parts:
    """A server's parts, as the management interface sees them.

    `focus` and `static_rooms` are None where there are none. `listening` says what
    listens where, `started` whether all does, `reload` reads the configuration again and
    fails with `ReloadError` or `DatabaseError`. `reactor` keeps time.
    """

    reactor: Any
    control: ConferenceControl
    msrp: MsrpFactory
    focus: FocusService | None
    static_rooms: StaticRoomService | None
    listening: Callable[[], list[str]]
    started: Callable[[], bool]
    reload: Callable[[], Deferred[Reloaded]]
    since: float = field(default=0.0)
    """When the process was started, in seconds of the epoch."""
    links: DispatcherLinks | None = None
    """The links to dispatchers, of a server apart."""
    presence: PresenceService | None = None
    """Who watches rooms; None where that is another process's to know."""
    documents: RoomDocumentService | None = None
    """Who may watch rooms; None without a database."""
    draining: Draining = field(
        default=Factory(lambda self: Draining(self.control, self.reactor), takes_self=True)
    )
    """Whether people are taken in."""

    @property
    def registry(self) -> ConferenceRegistry:
        """The rooms, and who is in them."""
        return self.control.registry


@frozen
class DispatcherParts:
    """A process with a dispatcher, as the management interface sees it; see `Parts`."""

    reactor: Any
    dispatcher: DispatcherService
    focus: FocusService | None
    listening: Callable[[], list[str]]
    started: Callable[[], bool]
    reload: Callable[[], Deferred[Reloaded]]
    since: float = field(default=0.0)
    focuses: FocusLinks | None = None
    """The links to focuses, of a dispatcher by itself."""


@frozen
class FocusParts:
    """A process with a focus alone, whose `dispatcher` is elsewhere; see `Parts`."""

    reactor: Any
    dispatcher: DispatcherEnd
    focus: FocusService
    listening: Callable[[], list[str]]
    started: Callable[[], bool]
    reload: Callable[[], Deferred[Reloaded]]
    since: float = field(default=0.0)


AnyParts = Parts | DispatcherParts | FocusParts
