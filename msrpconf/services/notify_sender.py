"""How a NOTIFY finds its way: as other requests do, but never too large for UDP."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.failover import Failover, Outcome
from msrpconf.protocols.sip.flow import Address, Endpoint, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.outgoing import may_take, next_hop
from msrpconf.protocols.sip.requests import Locator
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.transport import MAX_UDP_REQUEST

HOP_OCTETS = 200
"""What Via and Max-Forwards add, at most, as long as hosts have names of usual length."""

NO_STREAM_TIME = 600.0
"""Seconds for which a host that did not take TCP is not asked for that again."""

MAX_HOSTS = 10000


class NotifySender:
    """Sends NOTIFYs over one transaction layer.

    What is too large for UDP goes by TCP (RFC 3261 §18.1.1). Where the watcher's side takes
    none, it goes in its small form: a document is never cut, nor broken into datagrams.
    """

    def __init__(
        self,
        clock: IReactorTime,
        layer: TransactionLayer,
        locate: Locator,
        is_alive: Callable[[Flow], bool],
    ) -> None:
        self._failover = Failover(clock)
        self._layer = layer
        self._locate = locate
        self._is_alive = is_alive
        self._no_stream: ShortMemory[Endpoint, bool] = ShortMemory(clock, NO_STREAM_TIME, MAX_HOSTS)

    @inlineCallbacks
    def send(
        self, notify: Request, token: str, small: Callable[[], Request]
    ) -> Generator[Deferred[Any], Any, Response]:
        """Send `notify` over the flow that `token` names while that is alive, else by its headers.

        Gives the final response: 503 of our own making where nobody takes it, 408 where
        nobody answers. `small` makes the form for UDP.
        """
        flow = self._flow(notify, token)
        if flow is not None:
            outcome: Outcome = yield self._to(notify, flow.peer, flow, small)
            if outcome.served or outcome.response.status == 408:
                return outcome.response
        try:
            addresses = yield self._locate(next_hop(notify))
        except LocateError as error:
            return notify.response(503, f"No way to {notify.uri}: {error}")

        def attempt(address: Address, patience: float | None) -> Deferred[Outcome]:
            return self._to(notify, address, None, small, patience)

        nowhere = notify.response(503, f"No address for {notify.uri}")
        response: Response = yield self._failover.send(addresses, attempt, nowhere)
        return response

    def _flow(self, notify: Request, token: str) -> Flow | None:
        if not token or "Route" in notify.headers:
            return None
        try:
            flow = Flow.parse(token)
        except ValueError:
            return None
        return flow if may_take(notify, flow) and self._is_alive(flow) else None

    @inlineCallbacks
    def _to(
        self,
        notify: Request,
        address: Address,
        flow: Flow | None,
        small: Callable[[], Request],
        patience: float | None = None,
    ) -> Generator[Deferred[Any], Any, Outcome]:
        """What comes of it at one address."""
        if address.transport == "udp" and _octets(notify) + HOP_OCTETS > MAX_UDP_REQUEST:
            if not self._no_stream.get(address.endpoint):
                stream = evolve(address, transport="tcp")
                transaction = self._layer.request(notify, stream, patience=patience)
                response: Response = yield transaction.when_final()
                outcome = Outcome.of(transaction, response, notify)
                # Where nobody answers it was perhaps something else that took the connection.
                if transaction.error is None:
                    return outcome
                self._no_stream.put(address.endpoint, True)
            notify = small()
        transaction = self._layer.request(notify, address, flow, patience=patience)
        response = yield transaction.when_final()
        return Outcome.of(transaction, response, notify)


def _octets(request: Request) -> int:
    head = sum(len(name) + len(value) + 4 for name, value in request.headers)
    return len(request.body) + head + len(str(request.uri))
