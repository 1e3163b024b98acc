"""How a request of ours finds its way (RFC 3261 §8.1.2, §12.2.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.uri import URI, SipURI

Locator = Callable[[URI], "Deferred[list[Address]]"]
"""Gives the addresses that a URI may be reached at, the best first (RFC 3263)."""


class RequestSender:
    """Sends requests in client transactions, each to the next hop that its headers name.

    `locate` finds the addresses of a next hop, and fails with `LocateError` where
    there are none; `local_address` gives the address at which the peer of a flow
    reaches us.
    """

    def __init__(
        self,
        layer: TransactionLayer,
        locate: Locator,
        local_address: Callable[[Flow], Address],
    ) -> None:
        self.local_address = local_address
        self._layer = layer
        self._locate = locate

    @inlineCallbacks
    def send(
        self, request: Request, flow: Flow | None = None
    ) -> Generator[Deferred[Any], Any, Response]:
        """Send a request, over `flow` where that still is; give its final response.

        What no address takes gets a 503 of our own making, what nobody answers a
        408. The next address is tried only where one could not be sent to.
        """
        if flow is not None:
            addresses = [flow.peer]
        else:
            try:
                addresses = yield self._locate(_next_hop(request))
            except LocateError as error:
                return request.response(503, f"No way to {request.uri}: {error}")
        response = request.response(503, f"No address for {request.uri}")
        for address in addresses:
            transaction = self._layer.request(request, address, flow)
            response = yield transaction.when_final()
            if transaction.error is None:
                break
        return response

    @inlineCallbacks
    def send_ack(
        self, ack: Request, flow: Flow | None = None
    ) -> Generator[Deferred[Any], Any, None]:
        """Send the ACK for a 2xx, which has no transaction (RFC 3261 §13.2.2.4).

        Fails with `LocateError` or `TransportError`; the 2xx then comes again.
        """
        addresses = [flow.peer] if flow is not None else (yield self._locate(_next_hop(ack)))
        yield self._layer.send_ack(ack, addresses[0], flow)


def _next_hop(request: Request) -> URI:
    """Where a request goes first: its topmost Route if there is one, else its URI."""
    # A strict router's URI is in the request line already, by the dialog's doing,
    # and what is left of its Route has the URI of whom it routes to.
    for route in request.routes[:1]:
        if isinstance(route.uri, SipURI) and route.uri.has_parameter("lr"):
            return route.uri
    return request.uri
