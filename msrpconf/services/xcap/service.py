"""The XCAP server as a service: where it listens, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory

from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.config import Config
from msrpconf.protocols.sip.flow import Address, format_endpoint
from msrpconf.protocols.tls import Tls, TlsListeningFactory
from msrpconf.services.management.http import ManagementFactory
from msrpconf.services.room_documents import RoomDocumentService
from msrpconf.services.xcap.auth import Authenticator
from msrpconf.services.xcap.handler import XcapHandler
from msrpconf.xcap.resource import XcapResource
from msrpconf.xcap.store import ROOT


@frozen
class XcapUsers:
    """Who may ask: passwords by the canonical URIs of users, and the token of the operator."""

    passwords: Mapping[str, str]
    token: str | None = None


class XcapService(Service):
    """Serves the documents of rooms at `listen`, addresses of tcp and tls.

    `tls` is needed for the latter.
    """

    name = "msrpconf-xcap"

    def __init__(
        self,
        reactor: Any,
        listen: Sequence[Address],
        users: XcapUsers,
        registry: ConferenceRegistry,
        documents: RoomDocumentService,
        tls: Tls | None = None,
    ) -> None:
        self._reactor = reactor
        self._listen = listen
        self._users = users
        self._tls = tls
        self._resource = XcapResource(registry.rooms.get, documents)
        self._factories: list[ManagementFactory] = []
        self._ports: list[tuple[Address, Any]] = []

    def startService(self) -> None:
        """Listen. Raises `CannotListenError` for a port that is taken: then stop the service."""
        Service.startService(self)
        for address in self._listen:
            factory = self.factory(address)
            self._factories.append(factory)
            served: IProtocolFactory = factory
            if address.transport == "tls":
                if self._tls is None:
                    raise ValueError(f"{address}: there is no certificate to listen for TLS with")
                served = TlsListeningFactory(self._tls, factory, self._reactor)
            port = self._reactor.listenTCP(address.port, served, interface=address.host)
            self._ports.append((address, port))

    def factory(self, address: Address) -> ManagementFactory:
        """What serves the connections to an address."""
        private = address.transport == "tls" or ip_address(address.host).is_loopback
        users = self._users
        authenticator = Authenticator(users.passwords, users.token, private, self._reactor)
        return ManagementFactory(XcapHandler(self._resource, authenticator), self._reactor, "xcap")

    @property
    def listening(self) -> list[str]:
        """Where the XCAP roots are: ``http://127.0.0.1:8090/xcap-root``."""
        found = []
        for address, port in self._ports:
            host = port.getHost()
            scheme = "https" if address.transport == "tls" else "http"
            found.append(f"{scheme}://{format_endpoint((host.host, host.port))}{ROOT}")
        return found

    def stopService(self) -> Deferred[Any]:
        """Listen no more, and close what is open."""
        Service.stopService(self)
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(port.stopListening) for _, port in ports]
        for factory in self._factories:
            for channel in list(factory.channels):
                channel.transport.loseConnection()
        return DeferredList(closing)


def make_xcap(
    config: Config,
    reactor: Any,
    registry: ConferenceRegistry,
    documents: RoomDocumentService | None,
) -> XcapService | None:
    """The XCAP server of a checked configuration; None where that has none."""
    if "xcap" not in config.written or documents is None:
        return None
    xcap = config.xcap
    users = XcapUsers(xcap.users, config.xcap_token)
    return XcapService(reactor, xcap.listen, users, registry, documents, config.load_tls())
