"""The focus as a service: its ports, its transactions, and the end of both."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from msrpconf.protocols.channel import Channel
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import locate
from msrpconf.protocols.sip.pool import Tracer
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.timers import Timers
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.transport import TransportLayer
from msrpconf.services.focus import Focus
from msrpconf.services.focus_checks import FocusSettings


class FocusService(Service):
    """Listens for SIP at `listen`, and serves the rooms of the server behind a channel.

    `reactor` connects, listens and keeps time. `address` is the host to put into
    Via and Contact instead of the one that we listen at. `use_channel` gives the way to the
    server, before the service starts, which it does once.
    """

    name = "msrpconf-focus"
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: FocusSettings,
        listen: Sequence[Address],
        *,
        address: str | None = None,
        timers: Timers | None = None,
        max_transactions: int = 100000,
        trace: Tracer | None = None,
    ) -> None:
        self.listening: list[Address] = []
        self._listen = listen
        self.focus = Focus(reactor, settings, timers)
        self.transport = TransportLayer(reactor, trace=trace, advertised_host=address)
        self.layer = TransactionLayer(
            reactor,
            self.transport,
            on_request=self.focus.request_received,
            on_ack=self.focus.ack_received,
            timers=timers,
            max_server_transactions=max_transactions,
        )
        self.transport.on_message = self.layer.receive
        self.transport.on_flow_lost = self.layer.flow_lost
        self.layer.on_refused = self.focus.refused
        self.focus.local_address = self.local_address
        self.focus.address_towards = self.address_towards
        self.focus.sender = RequestSender(
            self.layer,
            lambda uri: locate(reactor, uri, usable=self.transport.can_reach),
            self.transport.is_alive,
        )

    def use_channel(self, channel: Channel) -> None:
        """Take `channel` as the way to the server."""
        self.focus.channel = channel

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
        self.focus.closing = True

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[None], None, None]:
        """Forget all transactions and close the ports."""
        Service.stopService(self)
        self.focus.stop()
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
