"""The transaction layer (RFC 3261 section 17): which message belongs to which transaction.

It stands between a transport, which sends and receives, and the transaction user (TU): the
focus, the presence agent, a client. It keeps time by a clock and has no socket::

    transport = TransportLayer(reactor)
    layer = TransactionLayer(reactor, transport, on_request=..., on_ack=...)
    transport.on_message = layer.receive
    transport.on_flow_lost = layer.flow_lost

The TU answers requests through the `ServerTransaction` that `on_request` is called with, and sends
requests by `request`. The ACK for a 2xx is a request without a transaction: it comes by `on_ack`,
and is sent by `send_ack`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.protocols.sip.carried import Carried
from msrpconf.protocols.sip.client_transaction import (
    ClientContext,
    ClientTransaction,
    InviteClientTransaction,
    OtherClientTransaction,
    ResponseHook,
)
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.identifiers import (
    MAGIC_COOKIE,
    new_branch,
    new_call_id,
    new_tag,
    stateless_tag,
)
from msrpconf.protocols.sip.message import Message, Request, Response
from msrpconf.protocols.sip.outgoing import outgoing
from msrpconf.protocols.sip.sender import MessageSender, Sent, TransportError
from msrpconf.protocols.sip.server_transaction import (
    Absorber,
    AckTimeout,
    InviteServerTransaction,
    OtherServerTransaction,
    ServerContext,
    ServerTransaction,
)
from msrpconf.protocols.sip.state import State, call_hook
from msrpconf.protocols.sip.timers import AlarmClock, Timers

__all__ = [
    "AckTimeout",
    "ClientTransaction",
    "MessageSender",
    "Sent",
    "ServerTransaction",
    "State",
    "Timers",
    "TransactionCounters",
    "TransactionLayer",
    "TransportError",
    "new_branch",
    "new_call_id",
    "new_tag",
]

MAX_SERVER_TRANSACTIONS = 100_000
"""Server transactions that may be there at a time: at 32 s each, 3000 new ones a second."""

RETRY_AFTER = 10
"""Seconds after which those that are refused for that reason may come again."""

MERGED = "The same request has come by another way (RFC 3261 8.2.2.2)"
"""The reason of a 482."""

OVERLOAD = "Too many transactions here: try again later"
"""The reason of a 503."""

# Whatever a CANCEL may mean besides INVITE. It has no effect on them, but it gets 200.
_OTHER_METHODS = (
    "BYE",
    "INFO",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
)

RefusalHook = Callable[[int, str, Request, Flow], None]
"""Told of a request that the layer refused by itself: status, reason, request, flow."""

_log = Logger()


@define
class TransactionCounters:
    """What the layer has seen since it was made: for metrics."""

    requests: int = 0
    """New requests given to the TU."""
    repetitions: int = 0
    """Requests absorbed by a transaction, ACKs included."""
    merged: int = 0
    """Requests refused with 482, having come before by another way."""
    overload: int = 0
    """Requests refused with 503, the table being full."""
    responses: int = 0
    """Responses that belong to a transaction."""
    unmatched: int = 0
    """Responses dropped, having no transaction or more than one Via."""


class TransactionLayer:
    """All transactions over one transport.

    `clock` is an `IReactorTime`, `transport` what sends. `on_request(transaction)` is called
    with each new request but ACK, never with a repetition; if it raises, the request gets 500.
    `on_ack(request, flow)` gets each ACK that does not end a transaction of ours: those for a
    2xx, and strays. `timers` are `Timers()` unless given. `on_refused(status, reason, request,
    flow)`, where it is set, is told of the requests that the layer itself refuses: 482 for one
    that has come before by another way, 503 where the table is full.
    """

    def __init__(
        self,
        clock: IReactorTime,
        transport: MessageSender,
        *,
        on_request: Callable[[ServerTransaction], None],
        on_ack: Callable[[Request, Flow], None],
        timers: Timers | None = None,
        max_server_transactions: int = MAX_SERVER_TRANSACTIONS,
    ) -> None:
        timers = Timers() if timers is None else timers
        self.on_request = on_request
        self.on_ack = on_ack
        self.on_refused: RefusalHook | None = None
        self.counters = TransactionCounters()
        self._sender = transport
        self._alarms = AlarmClock(clock)
        self._limit = max_server_transactions
        self._stopped = False
        self._server: dict[str, Absorber] = {}
        self._ongoing: dict[str, Absorber] = {}  # by what stays the same on every way
        self._client: dict[str, ClientTransaction] = {}
        self._carried = Carried()
        self._server_context = ServerContext(
            transport, self._alarms, timers, self._replace_server, self._forget_ongoing
        )
        self._client_context = ClientContext(
            transport,
            self._alarms,
            timers,
            self._send_cancel,
            self._carried.add,
            self._forget_client,
        )

    @property
    def server_transactions(self) -> int:
        """How many there are, those that only absorb repetitions included."""
        return len(self._server)

    @property
    def client_transactions(self) -> int:
        """How many there are, those that only absorb repetitions included."""
        return len(self._client)

    def receive(self, message: Message, flow: Flow) -> None:
        """Takes a message from the transport; requests have `received` and `rport` in their Via."""
        if self._stopped:
            return
        if isinstance(message, Request):
            self._receive_request(message, flow)
        else:
            self._receive_response(message, flow)

    def flow_lost(self, flow: Flow) -> None:
        """Takes from the transport that nothing comes by a connection any more.

        What was sent by it, and has had no response, fails with 503 (RFC 3261 section 17.1.4).
        """
        for transaction in self._carried.take(flow):
            transaction.flow_lost()

    def request(
        self,
        request: Request,
        target: Address,
        flow: Flow | None = None,
        on_response: ResponseHook | None = None,
        *,
        patience: float | None = None,
    ) -> ClientTransaction:
        """Sends a request in a transaction of its own (RFC 3261 section 8.1.2).

        A copy is sent: it gets a Via, and what else its hop wants (`outgoing`). It goes over
        `flow` while that is alive, else to `target`, whose host is numeric (see `locate`).
        Responses come to `on_response`, which may be set later, in this turn of the reactor. The
        first may take `patience` seconds, 64*T1 unless that is given.
        Raises ValueError for ACK and CANCEL: see `send_ack` and `ClientTransaction.cancel`.
        """
        if request.method in ("ACK", "CANCEL"):
            raise ValueError(f"{request.method} has no transaction that a user may open")
        branch = new_branch()
        kind = InviteClientTransaction if request.method == "INVITE" else OtherClientTransaction
        transaction = kind(
            outgoing(request, target, branch),
            target,
            self._client_context,
            f"{branch} {request.method}",
            on_response,
        )
        self._start(transaction, flow, patience)
        return transaction

    def send_ack(self, ack: Request, target: Address, flow: Flow | None = None) -> Deferred[Flow]:
        """Sends the ACK for a 2xx (RFC 3261 section 13.2.2.4).

        The TU sends it again for every repetition of the 2xx. Gives the flow it took, or fails
        with `TransportError`.
        """
        return self._sender.send_request(outgoing(ack, target, new_branch()), target, flow)

    def stop(self) -> None:
        """Forgets all transactions and timers. Nothing is sent or called any more."""
        self._stopped = True
        self._alarms.stop()
        for server in list(self._server.values()):
            if isinstance(server, ServerTransaction):
                server.stop()
        for client in list(self._client.values()):
            client.stop()
        self._server.clear()
        self._ongoing.clear()
        self._client.clear()
        self._carried.clear()

    # Requests

    def _receive_request(self, request: Request, flow: Flow) -> None:
        if request.method == "ACK":
            self._receive_ack(request, flow)
            return
        key = _server_key(request, request.method)
        known = self._server.get(key)
        if known is not None:
            self.counters.repetitions += 1
            known.receive(request)
        elif request.method == "CANCEL":
            self._open_cancel(request, flow, key)
        elif len(self._server) >= self._limit:
            self._refuse(request, flow)
        else:
            self._open(request, flow, key)

    def _receive_ack(self, request: Request, flow: Flow) -> None:
        known = self._server.get(_server_key(request, "INVITE"))
        if known is None and not _has_cookie(request):
            # The INVITE had no To tag, where the ACK has that of our response.
            known = self._server.get(_old_key(request, "INVITE", None))
        if known is not None and known.receive(request):
            self.counters.repetitions += 1
        else:
            call_hook(self.on_ack, request, flow)

    def _open(self, request: Request, flow: Flow, key: str) -> None:
        merge_key = None
        merged = False
        if request.to.tag is None:
            cseq = request.cseq.number
            merge_key = f"{request.method} {request.call_id} {request.from_.tag} {cseq}"
            merged = merge_key in self._ongoing
        kind = InviteServerTransaction if request.method == "INVITE" else OtherServerTransaction
        transaction = kind(request, flow, self._server_context, key, None if merged else merge_key)
        self._server[key] = transaction
        if merged:
            self.counters.merged += 1
            transaction.answer(482, MERGED)
            self._tell_refused(482, MERGED, request, flow)
            return
        if merge_key is not None:
            self._ongoing[merge_key] = transaction
        self._deliver(transaction)

    def _open_cancel(self, request: Request, flow: Flow, key: str) -> None:
        invite = self._server.get(_server_key(request, "INVITE"))
        cancelled = invite if isinstance(invite, ServerTransaction) else None
        if cancelled is None and len(self._server) >= self._limit:
            self._refuse(request, flow)
            return
        transaction = OtherServerTransaction(
            request, flow, self._server_context, key, cancelled=cancelled
        )
        self._server[key] = transaction
        if cancelled is None and any(
            _server_key(request, method) in self._server for method in _OTHER_METHODS
        ):
            transaction.answer(200)
            return
        self._deliver(transaction)

    def _deliver(self, transaction: ServerTransaction) -> None:
        self.counters.requests += 1
        try:
            self.on_request(transaction)
        except Exception:
            _log.failure("a SIP request could not be handled")
            if not transaction.answered:
                transaction.answer(500)
        transaction.opened()

    def _refuse(self, request: Request, flow: Flow) -> None:
        self.counters.overload += 1
        headers = [("Retry-After", str(RETRY_AFTER))]
        response = request.response(503, OVERLOAD, headers=headers, to_tag=stateless_tag(request))
        self._sender.send_response(response, flow)
        self._tell_refused(503, OVERLOAD, request, flow)

    def _tell_refused(self, status: int, reason: str, request: Request, flow: Flow) -> None:
        if self.on_refused is not None:
            call_hook(self.on_refused, status, reason, request, flow)

    def _replace_server(self, old: Absorber, new: Absorber | None) -> None:
        if self._server.get(old.key) is not old:
            return
        if new is not None:
            self._server[new.key] = new
        else:
            del self._server[old.key]
        if old.merge_key is not None and self._ongoing.get(old.merge_key) is old:
            if new is not None:
                self._ongoing[old.merge_key] = new
            else:
                del self._ongoing[old.merge_key]

    def _forget_ongoing(self, transaction: Absorber) -> None:
        # Who was refused may try again by another way: a proxy that serves one target after
        # another comes back with the same request (RFC 3261 section 16.7).
        if transaction.merge_key is not None:
            self._ongoing.pop(transaction.merge_key, None)
            transaction.merge_key = None

    # Responses

    def _receive_response(self, response: Response, flow: Flow) -> None:
        vias = response.vias
        transaction = self._client.get(f"{vias[0].branch} {response.cseq.method}")
        if transaction is None or len(vias) > 1:
            self.counters.unmatched += 1
            return
        self.counters.responses += 1
        transaction.receive(response, flow)

    def _start(
        self, transaction: ClientTransaction, flow: Flow | None, patience: float | None = None
    ) -> None:
        self._client[transaction.key] = transaction
        transaction.start(flow, patience)

    def _send_cancel(self, invite: InviteClientTransaction, cancel: Request) -> None:
        key = f"{cancel.top_via.branch} CANCEL"
        if self._stopped or key in self._client:
            return
        transaction = OtherClientTransaction(cancel, invite.target, self._client_context, key)
        self._start(transaction, invite.flow)

    def _forget_client(self, transaction: ClientTransaction) -> None:
        self._carried.discard(transaction)
        if self._client.get(transaction.key) is transaction:
            del self._client[transaction.key]


def _has_cookie(request: Request) -> bool:
    return (request.top_via.branch or "").startswith(MAGIC_COOKIE)


def _server_key(request: Request, method: str) -> str:
    """What names the transaction of `method` that `request` belongs to (RFC 3261 17.2.3)."""
    via = request.top_via
    branch = via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE):
        return f"{method} {branch} {via.host}:{via.port}"
    return _old_key(request, method, request.to.tag)


def _old_key(request: Request, method: str, to_tag: str | None) -> str:
    """The same for requests of RFC 2543, whose branch says nothing."""
    via = request.top_via
    return " ".join(
        (
            method,
            str(request.uri),
            f"{to_tag} {request.from_.tag} {request.call_id} {request.cseq.number}",
            f"{via.transport} {via.host}:{via.port} {via.branch}",
        )
    )
