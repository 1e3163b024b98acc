"""What a configuration says to each part of what it describes.

A part takes values of its own, and knows of no configuration; here is how one becomes the other,
for whoever puts parts together (`compose`, `apart`, `presence_apart`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from msrpconf.conference.control import ConferenceControl
from msrpconf.conference.publishing import Publisher, PublishSettings
from msrpconf.conference.settings import ServerSettings
from msrpconf.config import Config
from msrpconf.presence.settings import NotifierSettings
from msrpconf.presence.subscribing import Lifetimes
from msrpconf.protocols.msrp.keepalive import KeepAlive
from msrpconf.protocols.msrp.session import Limits
from msrpconf.protocols.sip.dns import NameServers
from msrpconf.protocols.sip.flow import Flow
from msrpconf.services.draining import DrainFile, Draining, DrainRow, DrainStore
from msrpconf.services.endpoint import PUBLISHED
from msrpconf.services.focus_checks import FocusSettings
from msrpconf.services.presence import EVENTS, PresenceSettings
from msrpconf.services.server import ServerService
from msrpconf.services.static_rooms import StaticRoomService

PUBLISH_TIMEOUT = 2.0
"""Seconds for a presence agent to take back what it was told, when the server stops."""

Trace = Callable[[str, str, str, bytes], None]
"""Told of every message: ``sip`` or ``msrp``, ``in`` or ``out``, the peer, the octets."""


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
