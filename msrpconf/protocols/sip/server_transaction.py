"""Server transactions (RFC 3261 section 17.2, RFC 6026, RFC 4320).

INVITE (RFC 6026 figure 7)::

    PROCEEDING --2xx--> ACCEPTED ----------------timer L--> TERMINATED
        |                  an ACK and each new 2xx pass
        |
        +--300-699--> COMPLETED --ACK--> CONFIRMED --timer I--> TERMINATED
                         | timer G: the response again
                         +--timer H: no ACK came--> TERMINATED

All others (RFC 3261 figure 8)::

    TRYING --100, late--> PROCEEDING --200-699--> COMPLETED --timer J--> TERMINATED
        +-----------200-699------------------------^

Timers G, I and J have no length where the transport is reliable: G never rings, and what I or
J would end is ended at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.identifiers import new_tag, stateless_tag
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.sender import MessageSender, Sent, TransportError
from msrpconf.protocols.sip.state import State, call_hook
from msrpconf.protocols.sip.timers import Alarm, AlarmClock, Timers


class AckTimeout(TransportError):
    """No ACK came for a final response other than 2xx (RFC 3261 section 17.2.1, timer H)."""


class Absorber:
    """What the table of server transactions holds: something that knows its repetitions."""

    __slots__ = ("key", "merge_key")

    key: str
    merge_key: str | None

    def receive(self, request: Request) -> bool:
        """Takes a request that matches; False for an ACK that the TU has to have."""
        raise NotImplementedError


@frozen
class ServerContext:
    """What server transactions share: how to send, how to wait, how to leave the table."""

    sender: MessageSender
    alarms: AlarmClock
    timers: Timers
    replace: Callable[[Absorber, Absorber | None], None]
    """Puts the second in the first one's place in the table, or nothing."""
    answered: Callable[[Absorber], None]
    """A failure was sent: the same request by another way is no longer a merged one."""


class ServerTransaction(Absorber):
    """A request, and the way back for its responses.

    `request` is the request, `flow` the way it came by, `state` one of `State`. `cancelled` is,
    for a CANCEL, the INVITE transaction that it means, or None where there is none: the TU owes
    the CANCEL 200 or 481, and the INVITE 487 (RFC 3261 section 9.2). `tag` is the To tag of the
    responses that `answer` makes; a CANCEL has that of its INVITE.

    The TU may set `on_terminated`, called when the transaction leaves the table, and
    `on_transport_error`, called when a response could not be sent, or no ACK came for one
    (`AckTimeout`). A transaction that was answered and has no `on_terminated` may stay in
    the state COMPLETED; its repetitions are absorbed without it.
    """

    __slots__ = (
        "_alarm",
        "_context",
        "_sent",
        "_tag",
        "cancelled",
        "flow",
        "on_terminated",
        "on_transport_error",
        "request",
        "state",
    )

    def __init__(
        self,
        request: Request,
        flow: Flow,
        context: ServerContext,
        key: str,
        merge_key: str | None = None,
        cancelled: ServerTransaction | None = None,
    ) -> None:
        self.request = request
        self.flow = flow
        self.key = key
        self.merge_key = merge_key
        self.cancelled = cancelled
        self.state = State.TRYING
        self.on_terminated: Callable[[], None] | None = None
        self.on_transport_error: Callable[[TransportError], None] | None = None
        self._context = context
        self._sent: Sent | None = None
        self._alarm: Alarm | None = None
        self._tag: str | None = None

    @property
    def tag(self) -> str:
        """Our tag in the To of the responses, the same in all of them (RFC 3261 section 8.2.6.2).

        Made at random when first asked for, unless it was set before.
        """
        if self._tag is None:
            self._tag = new_tag() if self.cancelled is None else self.cancelled.tag
        return self._tag

    @tag.setter
    def tag(self, tag: str) -> None:
        self._tag = tag

    @property
    def answered(self) -> bool:
        """Whether a final response was given."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def respond(self, response: Response) -> bool:
        """Sends `response`, and goes on as its status says.

        False, with nothing sent, where the standards forbid it: after another final response,
        a provisional one other than 100 to anything but INVITE, 100 to that before
        `Timers.trying_other` has passed over UDP, and 408 to anything but INVITE (RFC 4320).
        A 2xx to INVITE may be given again, as often as the TU repeats it (RFC 6026).
        """
        raise NotImplementedError

    def answer(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> bool:
        """Makes a response with `tag` and gives it to `respond`."""
        tag = self.tag if status > 100 else None
        return self.respond(
            self.request.response(status, reason, headers=headers, body=body, to_tag=tag)
        )

    def refuse(
        self, status: int, reason: str | None = None, *, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Sends a final response and forgets the transaction (RFC 3261 section 8.2.7).

        A repetition of the request is a new request, and gets the same response with the same
        tag. For strangers: what they send costs no memory, where an answer would keep half a
        minute of it. Nothing is sent where a final response was given before.
        """
        if self.answered:
            return
        tag = stateless_tag(self.request)
        response = self.request.response(status, reason, headers=headers, to_tag=tag)
        self._context.sender.send_response(response, self.flow)
        self._terminate()

    def opened(self) -> None:
        """For the layer: the TU has the request; from now on it takes time."""
        raise NotImplementedError

    def stop(self) -> None:
        """For the layer, when it closes: nothing is sent and no hook is called any more."""
        self.state = State.TERMINATED
        self.on_terminated = self.on_transport_error = None
        self._set_alarm(None)

    def _send(self, response: Response) -> None:
        self._sent = self._context.sender.send_response(response, self.flow, self._failed)

    def _repeat(self) -> None:
        if self._sent is not None:
            self._context.sender.repeat(self._sent)

    def _failed(self, error: TransportError) -> None:
        # The state stays: were it TERMINATED, a repetition of the request would be handled as a
        # new one (RFC 6026 section 7.1 says so for INVITE, and it is as true of the others).
        if self.on_transport_error is not None:
            call_hook(self.on_transport_error, error)

    def _set_alarm(self, alarm: Alarm | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = alarm

    def _terminate(self) -> None:
        if self.state is State.TERMINATED:
            return
        self.state = State.TERMINATED
        self._set_alarm(None)
        self._context.replace(self, None)
        if self.on_terminated is not None:
            call_hook(self.on_terminated)


class InviteServerTransaction(ServerTransaction):
    """INVITE: RFC 6026 figure 7."""

    __slots__ = ("_interval", "_repeat_alarm")

    def __init__(
        self,
        request: Request,
        flow: Flow,
        context: ServerContext,
        key: str,
        merge_key: str | None = None,
    ) -> None:
        super().__init__(request, flow, context, key, merge_key)
        self.state = State.PROCEEDING
        self._interval = context.timers.t1
        self._repeat_alarm: Alarm | None = None

    def opened(self) -> None:
        if self.state is State.PROCEEDING and self._alarm is None:
            context = self._context
            self._set_alarm(context.alarms.set(context.timers.trying, self._send_trying))

    def respond(self, response: Response) -> bool:
        status = response.status
        if self.state is State.PROCEEDING:
            if status < 200:
                self._send(response)
                self._wait_for_final()
            elif status < 300:
                self._accept(response)
            else:
                self._complete(response)
            return True
        if self.state is State.ACCEPTED and 200 <= status < 300:
            self._send(response)
            return True
        return False

    def receive(self, request: Request) -> bool:
        if request.method != "ACK":
            if self.state in (State.PROCEEDING, State.COMPLETED):
                self._repeat()
            return True
        if self.state is State.COMPLETED:
            self._confirm()
        return self.state is not State.ACCEPTED

    def _send_trying(self) -> None:
        self._send(self.request.response(100))
        self._wait_for_final()

    def _wait_for_final(self) -> None:
        context = self._context
        self._set_alarm(context.alarms.set(context.timers.pending, self._give_up))

    def _give_up(self) -> None:
        self.answer(408)

    def _accept(self, response: Response) -> None:
        self.state = State.ACCEPTED
        context = self._context
        self._set_alarm(context.alarms.set(context.timers.timeout, self._terminate))  # L
        self._send(response)

    def _complete(self, response: Response) -> None:
        self.state = State.COMPLETED
        context = self._context
        context.answered(self)
        self._set_alarm(context.alarms.set(context.timers.timeout, self._unacknowledged))  # H
        self._send(response)
        if not self.flow.reliable:
            self._repeat_alarm = context.alarms.set(self._interval, self._repeat_final)  # G

    def _repeat_final(self) -> None:
        if self.state is State.COMPLETED:
            self._repeat()
            context = self._context
            self._interval = min(2 * self._interval, context.timers.t2)
            self._repeat_alarm = context.alarms.set(self._interval, self._repeat_final)

    def _confirm(self) -> None:
        self.state = State.CONFIRMED
        if self._repeat_alarm is not None:
            self._repeat_alarm.cancel()
        if self.flow.reliable:
            self._terminate()
        else:
            context = self._context
            self._set_alarm(context.alarms.set(context.timers.t4, self._terminate))  # I

    def _unacknowledged(self) -> None:
        if self.on_transport_error is not None:
            status = self._sent.octets[:11] if self._sent is not None else b""
            text = f"no ACK for {status.decode('ascii', 'replace')} from {self.flow.peer}"
            call_hook(self.on_transport_error, AckTimeout(text))
        self._terminate()


class OtherServerTransaction(ServerTransaction):
    """Any request but INVITE and ACK: RFC 3261 figure 8, RFC 4320."""

    __slots__ = ()

    def opened(self) -> None:
        if self.state is State.TRYING:
            context = self._context
            self._set_alarm(context.alarms.set(context.timers.trying_other, self._late))

    def respond(self, response: Response) -> bool:
        status = response.status
        if self.answered or status == 408:
            return False
        if status < 200:
            if status != 100 or not (self.flow.reliable or self.state is State.PROCEEDING):
                return False
            self._send(response)
            return True
        self._complete(response)
        return True

    def receive(self, request: Request) -> bool:
        if self.state is not State.TRYING:
            self._repeat()
        return True

    def _late(self) -> None:
        self.state = State.PROCEEDING
        if self._sent is None:
            self._send(self.request.response(100))
        # The client gives up 64*T1 after it began. What comes later would not be read.
        context = self._context
        rest = context.timers.timeout - context.timers.trying_other
        self._set_alarm(context.alarms.set(rest, self._terminate))

    def _complete(self, response: Response) -> None:
        self.state = State.COMPLETED
        self._set_alarm(None)
        self._send(response)
        if self.flow.reliable:
            self._terminate()
            return
        if response.status >= 300:
            self._context.answered(self)
        assert self._sent is not None
        Answered(self, self._context, self._sent)


class Answered(Absorber):
    """A request other than INVITE that was answered over UDP, until timer J rings.

    Takes the place of its transaction in the table. Of these there are thousands, and they
    have no use for the request: only the octets of the response are kept.
    """

    __slots__ = ("_context", "_sent", "_transaction")

    def __init__(self, transaction: ServerTransaction, context: ServerContext, sent: Sent) -> None:
        self.key = transaction.key
        self.merge_key = transaction.merge_key
        self._context = context
        self._sent = sent
        self._transaction = transaction if transaction.on_terminated is not None else None
        context.replace(transaction, self)
        context.alarms.set(context.timers.timeout, self._terminate)  # J

    def receive(self, request: Request) -> bool:
        self._context.sender.repeat(self._sent)
        return True

    def _terminate(self) -> None:
        self._context.replace(self, None)
        if self._transaction is not None:
            self._transaction.state = State.TERMINATED
            if self._transaction.on_terminated is not None:
                call_hook(self._transaction.on_terminated)
