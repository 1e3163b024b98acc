"""The parts put together: one process with focus and server, sharing one registry.

An application that embeds the server does the same with its own reactor::

    config = Config.load("msrpconf.toml")
    config.check()
    make_service(config, reactor).setServiceParent(application)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.publishing import Publisher, PublishSettings
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.config import Config
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscribing import Lifetimes
from msrpconf.presence.watching import RoomWatchPolicy, WatchPolicy
from msrpconf.protocols.channel import LocalChannel, local_pair
from msrpconf.protocols.msrp.keepalive import KeepAlive
from msrpconf.protocols.msrp.session import Limits
from msrpconf.protocols.sip.dns import NameServers
from msrpconf.protocols.sip.flow import Flow
from msrpconf.services.draining import DrainFile, Draining, DrainRow, DrainStore
from msrpconf.services.endpoint import PUBLISHED
from msrpconf.services.focus_authentication import authentication_of
from msrpconf.services.focus_checks import FocusSettings
from msrpconf.services.focus_service import FocusService
from msrpconf.services.management import ManagementService, Parts
from msrpconf.services.management.parts import Reloaded
from msrpconf.services.presence import EVENTS, PresenceService, PresenceSettings
from msrpconf.services.reloading import Reloading
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.services.server import ServerService
from msrpconf.services.static_rooms import StaticRoomService
from msrpconf.services.watch_policy import RuledWatchPolicy
from msrpconf.services.xcap.service import make_xcap
from msrpconf.storage.database import Database

__all__ = ["ConferenceService", "Trace", "make_service"]

log = Logger()

PUBLISH_TIMEOUT = 2.0
"""Seconds for a presence agent to take back what it was told, when the server stops."""

Trace = Callable[[str, str, str, bytes], None]
"""Told of every message: ``sip`` or ``msrp``, ``in`` or ``out``, the peer, the octets."""


class ConferenceService(MultiService):
    """Focus and server in one process: rooms that SIP clients can join.

    `reactor` connects, listens and keeps time; `trace` is told of every message
    where it is given. Once started, `listening` says what listens where.
    """

    name = "msrpconf"

    def __init__(self, config: Config, reactor: Any, trace: Trace | None = None) -> None:
        MultiService.__init__(self)
        self.config = config
        self.server = ServerService(
            reactor,
            server_settings(config),
            config.server.listen,
            trace=None if trace is None else msrp_trace(trace),
            tls=config.load_tls(),
            keep_alive=keep_alive(config),
        )
        self.focus = FocusService(
            reactor,
            focus_settings(config),
            config.sip.listen,
            **endpoint_options(config, reactor, trace),
        )
        url = config.database_url
        self.static_rooms = (
            None
            if url is None
            else StaticRoomService(
                Database(url, reactor), self.server.control, reactor, config.database.refresh
            )
        )
        """The rooms that an operator has set up; None without a database."""
        self.documents = self._make_documents(reactor)
        """The documents that say who may watch which room; None without a database."""
        self.presence = self._make_presence(reactor)
        """Who watches rooms; None where the configuration has no presence agent."""
        self.xcap = make_xcap(config, reactor, self.registry, self.documents)
        """The XCAP server; None where the configuration has none."""
        self.focus.focus.authentication = authentication_of(
            config, reactor, None if self.static_rooms is None else self.static_rooms.database
        )
        self.publisher = (
            None if config.focus.presence is None else publisher_of(config, self.server, reactor)
        )
        """Tells a presence agent elsewhere of the rooms; None where there is none."""
        self.draining = draining_of(config, self.server.control, reactor, self.static_rooms)
        self.management = self._make_management(reactor)
        """The HTTP interface; None where the configuration has none."""
        self._reloading = Reloading(config, self._apply)
        self._started = False
        self._reactor = reactor
        self._channel: LocalChannel | None = None

    def _make_presence(self, reactor: Any) -> PresenceService | None:
        if "presence" not in self.config.components:
            return None
        registry = self.server.registry
        policy: WatchPolicy = RoomWatchPolicy(registry)
        if self.documents is not None:
            policy = RuledWatchPolicy(policy, self.documents.rules)
        presence = PresenceService(
            reactor,
            self.focus,
            registry,
            policy,
            registry.participant,
            presence_settings(self.config),
            registry.rooms.get,
        )
        if self.static_rooms is not None:
            # Static rooms are here before it, and others are no more.
            name = f"server {self.config.server.name}"
            presence.keep_in(self.static_rooms.database, name, patience=0.0)
        return presence

    def _make_management(self, reactor: Any) -> ManagementService | None:
        config = self.config
        if "management" not in config.components:
            return None
        parts = Parts(
            reactor=reactor,
            control=self.server.control,
            msrp=self.server.factory,
            focus=self.focus,
            static_rooms=self.static_rooms,
            listening=lambda: self.listening,
            started=lambda: self._started,
            reload=self.reload,
            since=reactor.seconds(),
            presence=self.presence,
            documents=self.documents,
            draining=self.draining,
        )
        return ManagementService(parts, config.management.listen, config.management_token)

    def _make_documents(self, reactor: Any) -> RoomDocumentService | None:
        if self.static_rooms is None:
            return None
        config, database = self.config, self.static_rooms.database
        return RoomDocumentService(
            database, self.registry, reactor, config.database.refresh, config.server.name
        )

    @property
    def registry(self) -> ConferenceRegistry:
        """The rooms, and who is in them."""
        return self.server.registry

    @property
    def listening(self) -> list[str]:
        """What listens, as ``sip udp:127.0.0.1:5060`` and ``msrp tcp:127.0.0.1:2855``."""
        sip = [f"sip {address}" for address in self.focus.listening]
        msrp = [f"msrp {address}" for address in self.server.listening]
        management = [] if self.management is None else self.management.listening
        xcap = [] if self.xcap is None else self.xcap.listening
        return [
            *sip,
            *msrp,
            *(f"management {each}" for each in management),
            *(f"xcap {each}" for each in xcap),
        ]

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[None], None, None]:
        """Read the static rooms, then open the ports: MSRP first, for who is let in.

        Fails with `DatabaseError` where the database cannot be used, with
        `CannotListenError` where a port is taken, and leaves nothing open. A
        service that was stopped does not start again: make a new one.
        """
        self.running = 1
        to_server, to_focus = local_pair(
            self.focus.focus.handle, self.server.control.handle, clock=self._reactor
        )
        self._channel = to_server
        self.focus.use_channel(to_server)
        self.server.use_channel(to_focus)
        try:
            if self.static_rooms is not None:
                yield self.static_rooms.startService()
                if not self.running:
                    return  # stopped meanwhile
            if self.documents is not None:
                yield self.documents.startService()
                if not self.running:
                    return
            yield self.draining.start()
            if not self.running:
                return
            if self.management is not None:
                # First: health is asked for while the rest starts.
                self.management.startService()
            if self.presence is not None:
                yield self.presence.load()
                if not self.running:
                    return
            self.server.startService()
            if self.presence is not None:
                self.presence.startService()
            yield self.focus.startService()
            if self.presence is not None:
                self.presence.opened()
            if self.xcap is not None:
                self.xcap.startService()
            if self.publisher is not None:
                self.publisher.start()
        except Exception:
            yield self.stopService()
            raise
        self._started = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Take nobody in any more, send everybody a BYE, then close the ports."""
        self.running = 0
        self._started = False
        self.draining.stop()
        self.focus.refuse_new()
        if self.xcap is not None:
            yield self.xcap.stopService()
        yield self.server.stopService()
        if self.presence is not None:
            # Who watched what has ended with the server has been told so; now the others.
            yield self.presence.stopService()
        if self.publisher is not None:
            yield end_publishing(self.publisher, self._reactor)
        yield self.focus.stopService()
        if self.management is not None:
            yield self.management.stopService()
        if self.documents is not None:
            yield self.documents.stopService()
        if self.static_rooms is not None:
            yield self.static_rooms.stopService()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @inlineCallbacks
    def reload(self) -> Generator[Deferred[Any], Any, Reloaded]:
        """Read the configuration's file and the static rooms again, and take what can change.

        Fails with `ReloadError`, and then nothing has changed, or with `DatabaseError`.
        """
        found = self._reloading.read()
        count = 0
        if self.static_rooms is not None:
            yield self.static_rooms.refresh()
            self.static_rooms.apply_defaults()
            count = len(self.static_rooms.rooms)
        log.info(
            "reloaded {source}: changed {changed}; {count} static rooms",
            source=self.config.source,
            changed=", ".join(found.changed) or "nothing",
            count=count,
        )
        return evolve(found, static_rooms=count)

    def _apply(self, config: Config) -> None:
        """Have the settings of `config`, of which only what can change is other than before."""
        configure_server(self.server, config)
        self.focus.focus.settings = focus_settings(config)
        if self.presence is not None:
            self.presence.configure(presence_settings(config))


def make_service(config: Config, reactor: Any, trace: Trace | None = None) -> ConferenceService:
    """The service that a checked configuration describes."""
    return ConferenceService(config, reactor, trace)


def draining_of(
    config: Config,
    control: ConferenceControl,
    reactor: Any,
    static_rooms: StaticRoomService | None,
    hand_over: Callable[[], Deferred[Any]] | None = None,
) -> Draining:
    """Whether the server takes people in, kept where the configuration says."""
    store: DrainStore | None = None
    if static_rooms is not None:
        store = DrainRow(static_rooms.database, config.server.name)
    elif config.server.state is not None:
        store = DrainFile(Path(config.source).parent / config.server.state, config.server.name)
    return Draining(control, reactor, store, hand_over)


def server_settings(config: Config) -> ServerSettings:
    """What a configuration says to the server."""
    server, conference = config.server, config.conference
    return ServerSettings(
        name=server.name,
        msrp_host=server.advertised_host,
        msrp_port=_first_port(config, "tcp"),
        msrps_port=_first_port(config, "tls"),
        ack_timeout=config.focus.ack_timeout,
        msrp_timeout=server.msrp_timeout,
        session_expires=server.session_expires,
        grace=server.grace,
        ad_hoc=conference.ad_hoc,
        max_rooms=server.max_rooms,
        files=config.files_directory,
        max_files_octets=server.max_files_octets,
        spool_octets=server.spool_octets,
        congested_timeout=server.congested_timeout,
        limits=Limits(queue_octets=server.queue_octets, chunk_timeout=server.chunk_timeout),
        room=conference.room,
    )


def configure_server(server: ServerService, config: Config) -> None:
    """Have a server take the settings of a configuration, of which not all can change."""
    told = server.control.settings
    # Where it listens was found out at the start.
    server.control.settings = evolve(
        server_settings(config),
        msrp_host=told.msrp_host,
        msrp_port=told.msrp_port,
        msrps_port=told.msrps_port,
        fingerprints=told.fingerprints,
    )


def publisher_of(config: Config, server: ServerService, reactor: Any) -> Publisher:
    """What publishes the rooms of a server, by its way to the focus."""
    control = server.control
    return Publisher(
        control.registry,
        control.registry.conferences,
        reactor,
        control.send,
        control.new_tag,
        PublishSettings(expires=config.focus.publish_expires),
    )


def end_publishing(publisher: Publisher, reactor: Any) -> Deferred[None]:
    """Tell watchers that nobody is there any more, unless that takes too long."""
    told = publisher.finish()
    told.addTimeout(PUBLISH_TIMEOUT, reactor, onTimeoutCancel=lambda _, __: None)
    return told.addCallback(lambda _: publisher.stop())


def keep_alive(config: Config) -> KeepAlive | None:
    """When MSRP connections are asked whether they still are; None for never."""
    server = config.server
    return KeepAlive(server.keepalive, server.keepalive_timeout) if server.keepalive else None


def _first_port(config: Config, transport: str) -> int | None:
    ports = (each.port for each in config.server.listen if each.transport == transport)
    return next(ports, None)


def focus_settings(config: Config) -> FocusSettings:
    """What a configuration says to the focus."""
    sip = config.sip
    proxy = config.focus.outbound_proxy
    events = EVENTS if "presence" in config.components else ()
    return FocusSettings(
        sip.domains,
        sip.trusted_networks,
        sip.require,
        sip.contact,
        proxy,
        presence=config.focus.presence,
        events=events,
        trusted_names=sip.trusted_names,
        publish="server" not in config.components,
    )


def endpoint_options(config: Config, reactor: Any, trace: Trace | None) -> dict[str, Any]:
    """What a configuration says to a SIP endpoint; see `SipEndpoint`."""
    sip = config.sip
    components = config.components
    is_published_to = "presence" in components and "server" not in components
    return {
        "address": sip.address,
        "max_transactions": sip.max_transactions,
        "trace": None if trace is None else sip_trace(trace),
        "tls": config.load_sip_tls(),
        "dns": NameServers(reactor, sip.nameservers),
        "limits": PUBLISHED if is_published_to else None,
    }


def presence_settings(config: Config) -> PresenceSettings:
    """What a configuration says to the presence agent."""
    presence = config.presence
    return PresenceSettings(
        NotifierSettings(
            interval=presence.interval,
            winfo_interval=presence.winfo_interval,
            partial=presence.partial,
            max_octets=presence.max_octets,
            max_subscriptions=presence.max_subscriptions,
            max_room_subscriptions=presence.max_room_subscriptions,
            max_watcher_subscriptions=presence.max_watcher_subscriptions,
            waiting=presence.waiting,
            max_room_waiting=presence.max_room_waiting,
        ),
        lifetimes(config),
    )


def lifetimes(config: Config) -> Lifetimes:
    """How long subscriptions and publications may last."""
    presence = config.presence
    return Lifetimes(presence.expires, presence.min_expires, presence.max_expires)


def sip_trace(trace: Trace) -> Callable[[str, Flow, bytes], None]:
    """What a focus tells a trace."""

    def tell(direction: str, flow: Flow, octets: bytes) -> None:
        trace("sip", direction, str(flow.peer), octets)

    return tell


def msrp_trace(trace: Trace) -> Callable[[str, str, bytes], None]:
    """What a server tells a trace."""

    def tell(direction: str, peer: str, octets: bytes) -> None:
        trace("msrp", "in" if direction == "<" else "out", f"tcp:{peer}", octets)

    return tell
