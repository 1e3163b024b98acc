"""A SIP endpoint as a service: the ports and transactions of a user agent, and the end of both."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from msrpconf.protocols.sip.connection import ConnectionLimits
from msrpconf.protocols.sip.dns import Dns
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.pool import Tracer
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.timers import Timers
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.protocols.sip.uri import URI
from msrpconf.services.user_agent import UserAgentServer

PUBLISHED = ConnectionLimits(max_body=1_048_576)
"""The limits of connections by which the state of large rooms comes."""


class SipEndpoint(Service):
    """Listens for SIP at `listen`, and has `user_agent` serve what comes. It starts once.

    `reactor` connects, listens and keeps time. `address` is the host to put into Via and Contact
    instead of the one that we listen at. `tls` makes the TLS of connections, `dns` says which
    servers domains have; without it their addresses alone are known. `limits` are those of
    connections.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        user_agent: UserAgentServer,
        listen: Sequence[Address],
        *,
        address: str | None = None,
        timers: Timers | None = None,
        max_transactions: int = 100000,
        trace: Tracer | None = None,
        tls: SipTls | None = None,
        dns: Dns | None = None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self._reactor = reactor
        self._dns = dns
        self.listening: list[Address] = []
        self.user_agent = user_agent
        self._listen = listen
        self.transport = TransportLayer(
            reactor, trace=trace, advertised_host=address, tls=tls, limits=limits
        )
        self.layer = TransactionLayer(
            reactor,
            self.transport,
            on_request=user_agent.request_received,
            on_ack=user_agent.ack_received,
            timers=timers,
            max_server_transactions=max_transactions,
        )
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost
        self.layer.on_refused = user_agent.refused
        user_agent.local_address = self.local_address
        user_agent.address_towards = self.address_towards
        user_agent.identities = self.transport.identities
        user_agent.listening = self.listening

    def locate(self, uri: URI) -> Deferred[list[Address]]:
        """Where a request for `uri` may go, the best first (RFC 3263); see `locate.locate`."""
        return locate(self._reactor, uri, usable=self.transport.can_reach, dns=self._dns)

    @inlineCallbacks
    def startService(self) -> Generator[Deferred[Any], Any, None]:
        """Listen. Fails with `CannotListenError` for a port that is taken, and leaves none open."""
        Service.startService(self)
        try:
            for address in self._listen:
                listening = yield self.transport.listen(address)
                self.listening.append(listening)
        except Exception:
            yield self.stopService()
            raise

    def refuse_new(self) -> None:
        """Take no more requests that begin something: the end is near."""
        self.user_agent.closing = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[None], None, None]:
        """Forget all transactions and close the ports."""
        Service.stopService(self)
        self.user_agent.stop()
        self.layer.stop()
        self.listening.clear()
        yield self.transport.stop()

    def local_address(self, flow: Flow) -> Address:
        """Where the peer of a flow reaches us."""
        try:
            return self.transport.local_address(flow.transport, flow.remote[0])
        except TransportError:
            # By a connection that we made ourselves, and listen for none of its kind.
            return evolve(self.listening[0], host=flow.local[0])

    def address_towards(self, address: Address) -> Address:
        """Where who is at `address`, which is numeric, reaches us."""
        try:
            return self.transport.local_address(address.transport, address.host)
        except TransportError:
            return self.listening[0]
