"""The parts put together: one process with focus and server, sharing one registry.

An application that embeds the server does the same with its own reactor::

    config = Config.load("msrpconf.toml")
    config.check()
    make_service(config, reactor).setServiceParent(application)
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import evolve
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.config import Config
from msrpconf.presence.watching import RoomWatchPolicy, WatchPolicy
from msrpconf.protocols.channel import LocalChannel, local_pair
from msrpconf.services.configured import (
    Trace,
    configure_server,
    draining_of,
    end_publishing,
    endpoint_options,
    focus_settings,
    presence_settings,
    publisher_of,
)
from msrpconf.services.focus_authentication import authentication_of
from msrpconf.services.focus_service import FocusService
from msrpconf.services.management import ManagementService, Parts
from msrpconf.services.management.parts import Reloaded
from msrpconf.services.presence import PresenceService
from msrpconf.services.recorded_rooms import RecordedRooms
from msrpconf.services.reloading import Reloading
from msrpconf.services.watch_policy import RuledWatchPolicy
from msrpconf.services.xcap.service import make_xcap

__all__ = ["ConferenceService", "Trace", "make_service"]

log = Logger()


class ConferenceService(MultiService):
    """Focus and server in one process: rooms that SIP clients can join.

    `reactor` connects, listens and keeps time; `trace` is told of every message
    where it is given. Once started, `listening` says what listens where.
    """

    name = "msrpconf"

    def __init__(self, config: Config, reactor: Any, trace: Trace | None = None) -> None:
        MultiService.__init__(self)
        self.config = config
        self._rooms = RecordedRooms(config, reactor, trace)
        self.server = self._rooms.server
        self.focus = FocusService(
            reactor,
            focus_settings(config),
            config.sip.listen,
            **endpoint_options(config, reactor, trace),
        )
        self.static_rooms = self._rooms.static_rooms
        """The rooms that an operator has set up; None without a database."""
        self.documents = self._rooms.documents
        """The documents that say who may watch which room; None without a database."""
        self.presence = self._make_presence(reactor)
        """Who watches rooms; None where the configuration has no presence agent."""
        self.xcap = make_xcap(config, reactor, self.registry, self.documents)
        """The XCAP server; None where the configuration has none."""
        self.focus.focus.authentication = authentication_of(config, reactor, self._rooms.database)
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
        if self._rooms.database is not None:
            # Static rooms are here before it, and others are no more.
            name = f"server {self.config.server.name}"
            presence.keep_in(self._rooms.database, name, patience=0.0)
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
            yield self._rooms.read(lambda: self.running)
            if not self.running:
                return  # stopped meanwhile
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
        yield self._rooms.stop()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @inlineCallbacks
    def reload(self) -> Generator[Deferred[Any], Any, Reloaded]:
        """Read the configuration's file and the static rooms again, and take what can change.

        Fails with `ReloadError`, and then nothing has changed, or with `DatabaseError`.
        """
        found = self._reloading.read()
        count = yield self._rooms.read_again()
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
