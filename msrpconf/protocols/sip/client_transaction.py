"""Client transactions (RFC 3261 section 17.1, RFC 6026).

INVITE (RFC 6026 figure 5)::

    CALLING --1xx--> PROCEEDING
        |                |--2xx--> ACCEPTED (each 2xx goes to the TU) --timer M--> TERMINATED
        |                +--300-699, ACK sent--> COMPLETED --timer D--> TERMINATED
        | timer A: the request again
        +--timer B, it could not be sent, or its connection is lost--> TERMINATED

All others (RFC 3261 figure 6)::

    TRYING --1xx--> PROCEEDING --200-699--> COMPLETED --timer K--> TERMINATED
        | timer E: the request again, in both
        +--timer F, it could not be sent, or its connection is lost--> TERMINATED

Timers A, D, E and K have no length where the transport is reliable: A and E never ring, and what
D or K would end is ended at once.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.sender import MessageSender, Sent, TransportError
from msrpconf.protocols.sip.state import State, call_hook
from msrpconf.protocols.sip.timers import Alarm, AlarmClock, Timers

ResponseHook = Callable[[Response, Flow | None], None]
"""Told of a response and the flow it came by; None where we made the response ourselves."""


@frozen
class ClientContext:
    """What client transactions share: how to send, how to wait, how to leave the table."""

    sender: MessageSender
    alarms: AlarmClock
    timers: Timers
    cancel: Callable[[InviteClientTransaction, Request], None]
    """Sends a CANCEL in a transaction of its own, to where the INVITE went."""
    sent: Callable[[ClientTransaction], None]
    """Notes that a request has gone, by the transaction's flow."""
    forget: Callable[[ClientTransaction], None]


class ClientTransaction:
    """A request on its way, and its responses.

    `request` is the request as sent, with its Via; `target` where to; `flow` the way it took,
    None until it is sent. `on_response`, set by the TU, gets every response of the server,
    repetitions left out, but for the 2xx to an INVITE, of which each must be acknowledged. What
    ends without a response ends with one that we make, whose flow is None: 408 when time is
    up, 503 when the request could not be sent or the connection that it went by was lost, 487
    when a cancelled INVITE gets no answer. Never before `TransactionLayer.request` has returned.
    `on_terminated` is called when the transaction leaves the table.
    """

    __slots__ = (
        "_alarm",
        "_context",
        "_interval",
        "_patience",
        "_repeat_alarm",
        "_sending",
        "_sent",
        "error",
        "flow",
        "key",
        "on_response",
        "on_terminated",
        "request",
        "state",
        "target",
    )

    first_state: State

    def __init__(
        self,
        request: Request,
        target: Address,
        context: ClientContext,
        key: str,
        on_response: ResponseHook | None = None,
    ) -> None:
        self.request = request
        self.target = target
        self.key = key
        self.flow: Flow | None = None
        self.state = self.first_state
        self.on_response = on_response
        self.on_terminated: Callable[[], None] | None = None
        self.error: TransportError | None = None
        """Why the request could not be sent or got no response, where the transport was it."""
        self._context = context
        self._sending: Deferred[Flow] | None = None
        self._sent: Sent | None = None
        self._alarm: Alarm | None = None
        self._repeat_alarm: Alarm | None = None
        self._patience: Alarm | None = None
        self._interval = context.timers.t1

    def when_final(self) -> Deferred[Response]:
        """Gives the first final response, and sets `on_response` for that.

        Cancelling it means that nobody waits any more; it does not cancel the request.
        """
        result: Deferred[Response] = Deferred()

        def respond(response: Response, flow: Flow | None) -> None:
            if response.status >= 200 and not result.called:
                result.callback(response)

        self.on_response = respond
        return result

    def cancel(self) -> None:
        """Asks the server to give up an INVITE (RFC 3261 section 9.1).

        CANCEL is sent as soon as there is a provisional response, and not at all after a final
        one. The TU still gets the final response, most often 487. Does nothing for others.
        """

    def start(self, flow: Flow | None, patience: float | None = None) -> None:
        """For the layer: sends the request, over `flow` if it is there.

        `patience` are the seconds for the first response, if that is to come sooner than usual.
        """
        context = self._context
        self._alarm = context.alarms.set(context.timers.timeout, self._timed_out)  # B and F
        if patience is not None:
            self._patience = context.alarms.set(patience, self._lose_patience)
        self._sending = context.sender.send_request(self.request, self.target, flow)
        self._sending.addCallbacks(self._started, self._failed)

    def receive(self, response: Response, flow: Flow) -> None:
        """For the layer: a response that matches."""
        raise NotImplementedError

    def flow_lost(self) -> None:
        """For the layer: the connection that the request went by is gone.

        With it go the responses (RFC 3261 section 17.1.4). But who has sent a first one is
        there, and may make a connection for the next (section 18.2.2): it is waited for.
        """
        if self.state is self.first_state:
            self.error = TransportError(f"{self.target}: the connection was lost before an answer")
            self._set_alarm(self._context.alarms.set(0, self._unsendable))

    def stop(self) -> None:
        """For the layer, when it closes: nothing is sent and no hook is called any more."""
        self.on_response = self.on_terminated = None
        self._end()

    def _started(self, flow: Flow) -> None:
        self.flow = flow
        self._sending = None
        if self.state is State.TERMINATED:
            return
        self._context.sent(self)
        if not flow.reliable and self.state is self.first_state:
            self._repeat_alarm = self._context.alarms.set(self._interval, self._repeat)

    def _failed(self, failure: Failure) -> None:
        self._sending = None
        if self.state is State.TERMINATED:
            return
        error = failure.value
        if not isinstance(error, TransportError):
            error = TransportError(f"{self.target}: {failure.getErrorMessage()}")
        self.error = error
        # Not at once: the TU has not had the transaction yet.
        self._set_alarm(self._context.alarms.set(0, self._unsendable))

    def _unsendable(self) -> None:
        self._fail(503)

    def _repeat(self) -> None:
        """Timers A and E."""
        if not self._repeats():
            return
        assert self.flow is not None
        if self._sent is None:
            self._sent = Sent(bytes(self.request), self.flow)
        context = self._context
        context.sender.repeat(self._sent)
        self._interval = self._next_interval()
        self._repeat_alarm = context.alarms.set(self._interval, self._repeat)

    def _repeats(self) -> bool:
        raise NotImplementedError

    def _next_interval(self) -> float:
        raise NotImplementedError

    def _timed_out(self) -> None:
        """Timers B and F."""
        self.error = TransportError(f"{self.target}: does not answer")
        self._fail(408)

    def _lose_patience(self) -> None:
        if self.state is self.first_state:
            self._timed_out()

    def _fail(self, status: int) -> None:
        self._tell(self.request.response(status), None)
        self._terminate()

    def _tell(self, response: Response, flow: Flow | None) -> None:
        if self.on_response is not None:
            call_hook(self.on_response, response, flow)

    def _finish(self, response: Response, flow: Flow, state: State, delay: float) -> None:
        """A final response is here: tells of it, and waits for its repetitions if any may come."""
        self.state = state
        self._set_alarm(None)
        if self._repeat_alarm is not None:
            self._repeat_alarm.cancel()
        self._tell(response, flow)
        if self.state is State.TERMINATED:
            return
        if delay > 0:
            self._set_alarm(self._context.alarms.set(delay, self._terminate))
        else:
            self._terminate()

    def _set_alarm(self, alarm: Alarm | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = alarm

    def _end(self) -> None:
        self.state = State.TERMINATED
        self._set_alarm(None)
        if self._repeat_alarm is not None:
            self._repeat_alarm.cancel()
        if self._patience is not None:
            self._patience.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _terminate(self) -> None:
        if self.state is State.TERMINATED:
            return
        self._end()
        self._context.forget(self)
        if self.on_terminated is not None:
            call_hook(self.on_terminated)


class InviteClientTransaction(ClientTransaction):
    """INVITE: RFC 6026 figure 5."""

    __slots__ = ("_cancel_wanted",)

    first_state = State.CALLING

    def __init__(
        self,
        request: Request,
        target: Address,
        context: ClientContext,
        key: str,
        on_response: ResponseHook | None = None,
    ) -> None:
        super().__init__(request, target, context, key, on_response)
        self._cancel_wanted = False

    def cancel(self) -> None:
        if self._cancel_wanted or self.state not in (State.CALLING, State.PROCEEDING):
            return
        self._cancel_wanted = True
        if self.state is State.PROCEEDING:
            self._send_cancel()

    def receive(self, response: Response, flow: Flow) -> None:
        status = response.status
        if self.state in (State.CALLING, State.PROCEEDING):
            if status < 200:
                self._proceed(response, flow)
            elif status < 300:
                self._finish(response, flow, State.ACCEPTED, self._context.timers.timeout)  # M
            else:
                self._complete(response, flow)
        elif self.state is State.ACCEPTED and 200 <= status < 300:
            self._tell(response, flow)
        elif self.state is State.COMPLETED and status >= 300:
            self._acknowledge(response)

    def _repeats(self) -> bool:
        return self.state is State.CALLING

    def _next_interval(self) -> float:
        return 2 * self._interval

    def _proceed(self, response: Response, flow: Flow) -> None:
        first = self.state is State.CALLING
        self.state = State.PROCEEDING
        if first and self._cancel_wanted:
            self._send_cancel()
        elif not self._cancel_wanted:
            context = self._context
            self._set_alarm(context.alarms.set(context.timers.pending, self._give_up))
        self._tell(response, flow)

    def _complete(self, response: Response, flow: Flow) -> None:
        self._acknowledge(response)
        reliable = self.flow is not None and self.flow.reliable
        delay = 0.0 if reliable else self._context.timers.completed_client  # D
        self._finish(response, flow, State.COMPLETED, delay)

    def _acknowledge(self, response: Response) -> None:
        """Sends the ACK for a response other than 2xx (RFC 3261 section 17.1.1.3)."""
        ack = hop_by_hop("ACK", self.request)
        ack.headers.set("To", response.headers.get("To") or "")
        sending = self._context.sender.send_request(ack, self.target, self.flow)
        # If it is lost, the response comes again, and it is sent again.
        sending.addErrback(lambda failure: None)

    def _send_cancel(self) -> None:
        context = self._context
        context.cancel(self, hop_by_hop("CANCEL", self.request))
        self._set_alarm(context.alarms.set(context.timers.timeout, self._cancel_unanswered))

    def _cancel_unanswered(self) -> None:
        self._fail(487)

    def _give_up(self) -> None:
        """Nothing came for so long after a provisional response: as a proxy's timer C."""
        self._cancel_wanted = True
        self._send_cancel()


class OtherClientTransaction(ClientTransaction):
    """Any request but INVITE and ACK: RFC 3261 figure 6."""

    __slots__ = ()

    first_state = State.TRYING

    def receive(self, response: Response, flow: Flow) -> None:
        if self.state not in (State.TRYING, State.PROCEEDING):
            return
        if response.status < 200:
            self.state = State.PROCEEDING
            self._tell(response, flow)
        else:
            reliable = self.flow is not None and self.flow.reliable
            delay = 0.0 if reliable else self._context.timers.t4  # K
            self._finish(response, flow, State.COMPLETED, delay)

    def _repeats(self) -> bool:
        return self.state in (State.TRYING, State.PROCEEDING)

    def _next_interval(self) -> float:
        t2 = self._context.timers.t2
        return t2 if self.state is State.PROCEEDING else min(2 * self._interval, t2)


def hop_by_hop(method: str, request: Request) -> Request:
    """The ACK or CANCEL that belongs to an INVITE and its branch (RFC 3261 17.1.1.3 and 9.1).

    Request-URI, top Via, Route, From, To, Call-ID and the number of CSeq are the INVITE's.
    """
    headers = Headers([("Via", str(request.top_via))])
    for name in ("Max-Forwards", "Route", "From", "To", "Call-ID"):
        for value in request.headers.get_all(name):
            headers.add(name, value)
    headers.add("CSeq", f"{request.cseq.number} {method}")
    return Request(method, request.uri, headers)
