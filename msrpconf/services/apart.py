"""Server and focus apart: what a process runs that has one of them, and the channel between.

A dispatcher by itself is in `apart_dispatcher`.

dispatcher  <--- channel --->  server        one process: focus and dispatcher
   |                             |           another, on any host: server
 focus                      rooms, MSRP
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, execute, inlineCallbacks

from msrpconf.config import Config
from msrpconf.services.apart_dispatcher import (
    DispatcherApart,
    change_servers,
    make_dispatcher,
    start_dispatcher,
    stop_dispatcher,
)
from msrpconf.services.configured import (
    Trace,
    configure_server,
    draining_of,
    end_publishing,
    endpoint_options,
    focus_settings,
    lifetimes,
    presence_settings,
    publisher_of,
)
from msrpconf.services.dispatcher import DispatcherService
from msrpconf.services.dispatcher_end import DispatcherEnd
from msrpconf.services.dispatchers import DispatcherLinks
from msrpconf.services.focus_authentication import authentication_of
from msrpconf.services.focus_service import FocusService
from msrpconf.services.handing_over import HandingOver
from msrpconf.services.management import ManagementService, Parts
from msrpconf.services.management.parts import DispatcherParts, FocusParts, Reloaded
from msrpconf.services.published_presence import PublishedPresence
from msrpconf.services.recorded_rooms import RecordedRooms
from msrpconf.services.reloading import DISPATCHER_LIVE, FOCUS_LIVE, SERVER_LIVE, Reloading
from msrpconf.services.server_publish import serve_publish
from msrpconf.services.xcap.service import make_xcap
from msrpconf.storage.database import Database

SERVER_TABLES = frozenset(
    {"server", "conference", "focus", "channel", "tls", "database", "management", "xcap"}
)
FOCUS_TABLES = frozenset({"sip", "focus", "presence", "channel", "tls", "database", "management"})
"""The tables that are of any concern to each."""


class ServerApart(MultiService):
    """A server by itself: it listens for MSRP, and for the dispatchers of the focuses.

    As `ConferenceService`, of which it is a part, to whoever runs it.
    """

    name = "msrpconf-server"

    def __init__(self, config: Config, reactor: Any, trace: Trace | None = None) -> None:
        MultiService.__init__(self)
        self.config = config
        self._rooms = RecordedRooms(config, reactor, trace)
        self.server = self._rooms.server
        control = config.server.control
        if control is None:
            raise ValueError("a server apart needs [server] control")
        self.links = DispatcherLinks(
            reactor,
            self.server.control,
            control,
            config.server.dispatchers,
            config.load_channel_tls(),
            config.channel.link_settings,
        )
        self.static_rooms = self._rooms.static_rooms
        self.documents = self._rooms.documents
        """The documents that say who may watch which room; None without a database."""
        self._handing_over = HandingOver(self.server.control, self.links, reactor)
        self.draining = draining_of(
            config, self.server.control, reactor, self.static_rooms, self._handing_over.run
        )
        self.draining.changed = self.links.tell_draining
        self.links.draining = self.draining
        self.xcap = make_xcap(config, reactor, self.server.registry, self.documents)
        """The XCAP server; None where the configuration has none."""
        self.publisher = publisher_of(config, self.server, reactor)
        """Tells presence agents of the rooms, where the focuses know of any."""
        self.publishing = serve_publish(self.server.control, reactor, lifetimes(config))
        """What users publish of the rooms."""
        self.links.on_up = self.publisher.publish_all
        if self.static_rooms is not None:
            self.server.control.arrivals.on_static = self.static_rooms.read_again
        self._reloading = Reloading(config, self._apply, SERVER_LIVE, SERVER_TABLES)
        self.management = self._make_management(reactor)
        self._reactor = reactor
        self._started = False

    def _make_management(self, reactor: Any) -> ManagementService | None:
        config = self.config
        if "management" not in config.components:
            return None
        parts = Parts(
            reactor=reactor,
            control=self.server.control,
            msrp=self.server.factory,
            focus=None,
            static_rooms=self.static_rooms,
            listening=lambda: self.listening,
            started=lambda: self._started,
            reload=self.reload,
            since=reactor.seconds(),
            links=self.links,
            draining=self.draining,
            documents=self.documents,
        )
        return ManagementService(parts, config.management.listen, config.management_token)

    @property
    def listening(self) -> list[str]:
        """What listens, as ``msrp tcp:127.0.0.1:2855`` and ``control tls:127.0.0.1:4570``."""
        msrp = [f"msrp {address}" for address in self.server.listening]
        management = [] if self.management is None else self.management.listening
        control = [f"control {self.links.listening}"]
        xcap = [] if self.xcap is None else self.xcap.listening
        return [
            *msrp,
            *control,
            *(f"management {each}" for each in management),
            *(f"xcap {each}" for each in xcap),
        ]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Read the static rooms, then open the ports: that for dispatchers last."""
        self.running = 1
        try:
            yield self._rooms.read(lambda: self.running)
            if not self.running:
                return  # stopped meanwhile
            yield self.draining.start()
            if not self.running:
                return
            if self.management is not None:
                self.management.startService()
            self.server.startService()
            if self.xcap is not None:
                self.xcap.startService()
            self.links.startService()
            self.publisher.start()
        except Exception:
            yield self.stopService()
            raise
        self._started = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Hand over the rooms, or send everybody a BYE, and close the ports."""
        started, self._started = self._started, False
        self.running = 0
        self.draining.stop()
        self.server.registry.draining = True
        if started and self._handing_over.is_possible:
            yield self._handing_over.run()
        if self.xcap is not None:
            yield self.xcap.stopService()
        yield self.server.stopService()
        self.publishing.stop()
        yield end_publishing(self.publisher, self._reactor)
        yield self.links.stopService()
        if self.management is not None:
            yield self.management.stopService()
        yield self._rooms.stop()

    @inlineCallbacks
    def reload(self) -> Generator[Deferred[Any], Any, Reloaded]:
        """Read the configuration's file and the static rooms again, and take what can change.

        Fails with `ReloadError`, and then nothing has changed, or with `DatabaseError`.
        """
        found = self._reloading.read()
        count = yield self._rooms.read_again()
        return evolve(found, static_rooms=count)

    def _apply(self, config: Config) -> None:
        configure_server(self.server, config)
        self.links.rename(config.server.dispatchers)


class FocusApart(MultiService):
    """A focus with its dispatcher, or linked to one by itself: servers are elsewhere.

    `more_tables` of its configuration are of concern to it when the file is read again.
    """

    name = "msrpconf-focus"

    def __init__(
        self,
        config: Config,
        reactor: Any,
        trace: Trace | None = None,
        more_tables: frozenset[str] = frozenset(),
    ) -> None:
        MultiService.__init__(self)
        self.config = config
        self.focus = FocusService(
            reactor,
            focus_settings(config),
            config.sip.listen,
            **endpoint_options(config, reactor, trace),
        )
        url = config.database_url
        self._database = None if url is None else Database(url, reactor)
        self.dispatcher: DispatcherService | None = None
        """The dispatcher in this process; None where it is a process by itself."""
        self.dispatcher_end: DispatcherEnd | None = None
        """Our end of the link to that."""
        if config.focus.dispatcher is None:
            to_focus = self.focus.focus.handle
            self.dispatcher = make_dispatcher(config, reactor, to_focus, self._database)
            self.focus.use_channel(self.dispatcher)
        else:
            self.dispatcher_end = DispatcherEnd(
                reactor,
                config.focus.name,
                config.focus.dispatcher,
                self.focus.focus.handle,
                config.load_channel_tls(),
                config.channel.link_settings,
            )
            self.focus.use_channel(self.dispatcher_end)
        self.focus.focus.authentication = authentication_of(config, reactor, self._database)
        self.presence: PublishedPresence | None = None
        """Who watches rooms; None where the configuration has no presence agent."""
        if "presence" in config.components:
            self.presence = PublishedPresence(
                reactor,
                self.focus,
                config,
                self._database,
                f"focus {config.dispatcher.name if self.dispatcher else config.focus.name}",
            )
            self.focus.focus.published = self.presence.states.handle
            self.presence.agent.agent.elsewhere = self.focus.focus.serve
        tables = FOCUS_TABLES | more_tables
        if self.dispatcher is not None:
            tables |= {"dispatcher"}
        self._reloading = Reloading(config, self._apply, FOCUS_LIVE | DISPATCHER_LIVE, tables)
        self._started = False
        self.management = self._make_management(reactor)
        """The HTTP interface; None where the configuration has none."""

    def _make_management(self, reactor: Any) -> ManagementService | None:
        config = self.config
        if "management" not in config.components:
            return None
        kind: Any = DispatcherParts if self.dispatcher is not None else FocusParts
        parts = kind(
            reactor=reactor,
            dispatcher=self.dispatcher or self.dispatcher_end,
            focus=self.focus,
            listening=lambda: self.listening,
            started=lambda: self._started,
            reload=self.reload,
            since=reactor.seconds(),
        )
        return ManagementService(parts, config.management.listen, config.management_token)

    @property
    def listening(self) -> list[str]:
        """What listens, as ``sip udp:127.0.0.1:5060``."""
        management = [] if self.management is None else self.management.listening
        return [
            *(f"sip {address}" for address in self.focus.listening),
            *(f"management {each}" for each in management),
        ]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Open the ports, then connect to the servers, which may have something to say.

        Or to the dispatcher by itself, which says it for them.

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
            if self.presence is not None:
                yield self.presence.load()
                if not self.running:
                    return
                self.presence.startService()
            yield self.focus.startService()
            if self.presence is not None:
                self.presence.opened()
        except Exception:
            yield self.stopService()
            raise
        if self.running:
            if self.dispatcher is not None:
                start_dispatcher(self.dispatcher)
            if self.dispatcher_end is not None:
                self.dispatcher_end.start()
            self._started = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Close the ports and links. Nobody is sent out: calls and rooms go on."""
        self.running = 0
        self._started = False
        self.focus.refuse_new()
        if self.dispatcher is not None:
            yield stop_dispatcher(self.dispatcher)
        if self.dispatcher_end is not None:
            yield self.dispatcher_end.stop("the focus ends")
        if self.presence is not None:
            yield self.presence.stopService()
        yield self.focus.stopService()
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
        self.focus.focus.settings = focus_settings(config)
        if self.presence is not None:
            self.presence.agent.configure(presence_settings(config))
        if self.dispatcher is not None:
            change_servers(self.dispatcher, config)


Apart = ServerApart | FocusApart | DispatcherApart


def make_apart(config: Config, reactor: Any, trace: Trace | None = None) -> Apart:
    """The service of a checked configuration that has not both focus and server."""
    kind: type[Apart] = DispatcherApart
    if "server" in config.components:
        kind = ServerApart
    elif "focus" in config.components:
        kind = FocusApart
    return kind(config, reactor, trace)
