"""A dispatcher, in the process of its focus or by itself.

focuses --- channel ---> dispatcher --- channel ---> servers
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, execute, inlineCallbacks

from msrpconf.config import Config
from msrpconf.protocols.channel import Handler
from msrpconf.protocols.sip.dns import NameServers
from msrpconf.services.claims import RoomClaims
from msrpconf.services.configured import Trace
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.focus_links import FocusLinks
from msrpconf.services.management import ManagementService
from msrpconf.services.management.parts import DispatcherParts, Reloaded
from msrpconf.services.reloading import DISPATCHER_LIVE, Reloading
from msrpconf.services.server_list import ServerList
from msrpconf.storage.database import Database

TABLES = frozenset({"dispatcher", "channel", "tls", "database", "management"})
"""The tables that are of any concern to a dispatcher by itself."""


def make_dispatcher(
    config: Config, reactor: Any, to_focus: Handler, database: Database | None
) -> DispatcherService:
    """The dispatcher of a configuration, which shares the rooms with others in `database`.

    Its `server_list` says which servers there are.
    """
    dispatcher = DispatcherService(
        reactor,
        config.dispatcher.name,
        (),
        to_focus,
        grace=config.dispatcher.grace,
        moves=config.dispatcher.on_server_loss == "move",
        tls=config.load_channel_tls(),
        settings=config.channel.link_settings,
    )
    dispatcher.server_list = ServerList(
        reactor, NameServers(reactor), dispatcher.use, config.dispatcher.servers
    )
    if database is not None:
        claims = RoomClaims(
            database,
            reactor,
            config.dispatcher.name,
            lambda: dispatcher.rooms,
            config.dispatcher.grace,
        )
        dispatcher.share(claims)
    return dispatcher


def start_dispatcher(dispatcher: DispatcherService) -> None:
    """Connect to the servers, which may have something to say; the database is there."""
    dispatcher.startService()
    if dispatcher.server_list is not None:
        dispatcher.server_list.startService()
    if dispatcher.claims is not None:
        dispatcher.claims.startService()


@inlineCallbacks
def stop_dispatcher(dispatcher: DispatcherService) -> Generator[Deferred[Any], Any, None]:
    """Close the links. Calls and rooms go on."""
    if dispatcher.claims is not None and dispatcher.claims.running:
        dispatcher.claims.stopService()
    if dispatcher.server_list is not None and dispatcher.server_list.running:
        dispatcher.server_list.stopService()
    if dispatcher.running:
        yield dispatcher.stopService()


def change_servers(dispatcher: DispatcherService, config: Config) -> None:
    """Have the dispatcher use the servers of another configuration."""
    if dispatcher.server_ends.tls is None:
        dispatcher.server_ends.tls = config.load_channel_tls()
    if dispatcher.server_list is not None:
        dispatcher.server_list.change(config.dispatcher.servers)


class DispatcherApart(MultiService):
    """A dispatcher by itself: it listens for focuses, and connects to the servers.

    As `ConferenceService`, of which it is a part, to whoever runs it. `reactor` connects, listens
    and keeps time; nothing that it does could be traced as SIP or MSRP.
    """

    name = "msrpconf-dispatcher"

    def __init__(self, config: Config, reactor: Any, trace: Trace | None = None) -> None:
        MultiService.__init__(self)
        self.config = config
        listen = config.dispatcher.listen
        if listen is None:
            raise ValueError("a dispatcher apart needs [dispatcher] listen")
        self.focuses = FocusLinks(
            reactor,
            config.dispatcher.name,
            listen,
            config.dispatcher.focuses,
            config.load_channel_tls(),
            config.channel.link_settings,
        )
        url = config.database_url
        self._database = None if url is None else Database(url, reactor)
        self.dispatcher = make_dispatcher(config, reactor, self.focuses.request, self._database)
        self.focuses.channel = self.dispatcher
        self.focuses.on_up = self.dispatcher.focus_came
        self._reloading = Reloading(config, self._apply, DISPATCHER_LIVE, TABLES)
        self._started = False
        self.management = self._make_management(reactor)
        """The HTTP interface; None where the configuration has none."""

    def _make_management(self, reactor: Any) -> ManagementService | None:
        config = self.config
        if "management" not in config.components:
            return None
        parts = DispatcherParts(
            reactor=reactor,
            dispatcher=self.dispatcher,
            focus=None,
            listening=lambda: self.listening,
            started=lambda: self._started,
            reload=self.reload,
            since=reactor.seconds(),
            focuses=self.focuses,
        )
        return ManagementService(parts, config.management.listen, config.management_token)

    @property
    def listening(self) -> list[str]:
        """What listens, as ``dispatcher unix:/run/msrpconf/dispatcher.sock``."""
        management = [] if self.management is None else self.management.listening
        return [
            f"dispatcher {self.focuses.listening}",
            *(f"management {each}" for each in management),
        ]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Connect to the servers, and listen for focuses.

        Fails with `DatabaseError` or `CannotListenError`, and leaves nothing open.
        """
        self.running = 1
        try:
            if self._database is not None:
                yield self._database.start()
                if not self.running:
                    return  # stopped meanwhile
            if self.management is not None:
                self.management.startService()
            start_dispatcher(self.dispatcher)
            self.focuses.startService()
        except Exception:
            yield self.stopService()
            raise
        self._started = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Close the ports and links. Nobody is sent out: calls and rooms go on."""
        self.running = 0
        self._started = False
        yield stop_dispatcher(self.dispatcher)
        if self.focuses.running:
            yield self.focuses.stopService()
        if self.management is not None:
            yield self.management.stopService()
        if self._database is not None:
            yield self._database.stop()

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration's file again, and take what can change.

        Fails with `ReloadError`, and then nothing has changed.
        """
        return execute(self._reloading.read)

    def _apply(self, config: Config) -> None:
        self.focuses.rename(config.dispatcher.focuses)
        change_servers(self.dispatcher, config)
