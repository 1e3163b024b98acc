"""How a request of ours finds its way (RFC 3261 §8.1.2, §12.2.1.1, RFC 3263 §4.3)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.client_transaction import ClientTransaction
from msrpconf.protocols.sip.failover import Failover, Outcome
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.outgoing import for_request_line, may_take, next_hop
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.uri import URI

Locator = Callable[[URI], "Deferred[list[Address]]"]
"""Gives the addresses that a URI may be reached at, the best first (RFC 3263)."""


class RequestSender:
    """Sends requests in client transactions, each to the next hop that its headers name.

    `locate` finds the addresses of a next hop, and fails with `LocateError` where
    there are none; `is_alive` tells whether a flow can still be used.
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

    @inlineCallbacks
    def send(
        self,
        request: Request,
        flow: Flow | None = None,
        for_address: Callable[[Address], Request] | None = None,
        proxy: URI | None = None,
        addresses: Sequence[Address] = (),
    ) -> Generator[Deferred[Any], Any, Response]:
        """Send a request, over `flow` while that is alive; give its final response.

        `for_address` gives it the form in which it goes to an address; `proxy` is where it
        goes instead of where it says (RFC 3261 §8.1.2: an alternate destination), and
        `addresses` are those of that, if they were looked up already. The next
        address is tried where one could not be sent to, does not answer, or answers 503. What
        nobody takes gets a 503 of our own making, what nobody answers a 408. A 2xx to an INVITE
        in a dialog is acknowledged, each time that it comes.
        """
        if flow is not None and may_take(request, flow) and self._is_alive(flow):
            transaction = self._layer.request(request, flow.peer, flow)
            over_flow: Response = yield self._final(transaction)
            if transaction.error is None or over_flow.status == 408:
                return over_flow
        try:
            addresses = addresses or (yield self._locate(next_hop(request, proxy)))
        except LocateError as error:
            return request.response(503, f"No way to {request.uri}: {error}")

        def attempt(address: Address, patience: float | None) -> Deferred[Outcome]:
            sent = request if for_address is None else for_address(address)
            if request.method == "INVITE":
                patience = None  # what is answered late would stay without an ACK
            transaction = self._layer.request(sent, address, patience=patience)
            final = self._final(transaction)
            return final.addCallback(lambda response: Outcome.of(transaction, response, request))

        nowhere = request.response(503, f"No address for {request.uri}")
        response: Response = yield self._failover.send(addresses, attempt, nowhere)
        return response

    def _final(self, transaction: ClientTransaction) -> Deferred[Response]:
        if transaction.request.method != "INVITE":
            return transaction.when_final()
        final: Deferred[Response] = Deferred()

        def respond(response: Response, flow: Flow | None) -> None:
            if 200 <= response.status < 300:
                ack = _ack_for(transaction.request, response)
                # What cannot be sent is asked for again.
                self.send_ack(ack, flow).addErrback(lambda _: None)
            if response.status >= 200 and not final.called:
                final.callback(response)

        transaction.on_response = respond
        return final

    @inlineCallbacks
    def send_ack(
        self, ack: Request, flow: Flow | None = None
    ) -> Generator[Deferred[Any], Any, None]:
        """Send the ACK for a 2xx, which has no transaction (RFC 3261 §13.2.2.4).

        Fails with `LocateError` or `TransportError`; the 2xx then comes again.
        """
        if flow is not None and may_take(ack, flow) and self._is_alive(flow):
            yield self._layer.send_ack(ack, flow.peer, flow)
            return
        addresses = yield self._locate(next_hop(ack))
        *others, last = self._failover.order(addresses)
        for address in others:
            try:
                yield self._layer.send_ack(ack, address)
                return
            except TransportError:
                self._failover.avoid(address)
        yield self._layer.send_ack(ack, last)


def _ack_for(invite: Request, response: Response) -> Request:
    """The ACK for a 2xx to an INVITE that was sent in a dialog (RFC 3261 §13.2.2.4)."""
    headers = Headers([("Route", route) for route in invite.headers.get_all("Route")])
    for name in ("From", "To", "Call-ID"):
        headers.add(name, response.headers.get(name) or "")
    headers.add("CSeq", f"{invite.cseq.number} ACK")
    contacts = response.contacts
    target = for_request_line(contacts[0].uri) if contacts else invite.uri
    return Request("ACK", target, headers)
