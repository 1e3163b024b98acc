"""The channel between focus and server: SIP requests and responses, both ways.

What passes are the `Request` and `Response` objects of `protocols.sip`, with three headers more:
`Flow`, the token of the way that a request came to the focus by; `P-Asserted-Identity`, as the
focus's policy settled it; `Conference`, the URI that is the room's key. Either side sends
requests, any number at a time, and each gets one final response. Requests arrive in the order in
which they were sent.

`local_pair` joins two sides in one process, by the objects themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.protocols.sip.message import Request, Response

_log = Logger()

Handler = Callable[[Request], Response | Deferred[Response]]
"""Answers the requests of the other side. Where it raises or fails, the answer is 500."""


class ChannelClosed(Exception):
    """The channel is closed: the request was not sent, or its answer will not come."""


class Channel(Protocol):
    """One side of a channel, whatever carries it."""

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request; gives its final response. Fails with `ChannelClosed`.

        Cancelling it means that nobody waits for the answer any more; the request stays sent.
        """


class LocalChannel:
    """One side of a channel within a process. Made by `local_pair`.

    Each side gets copies of headers, so that neither sees what the other does with a message.
    """

    def __init__(self, clock: IReactorTime, handler: Handler) -> None:
        self._mailbox = _Mailbox(clock)
        self._handler = handler
        self._waiting: set[Deferred[Response]] = set()
        self._closed = False
        self._other = self

    def _join(self, other: LocalChannel) -> None:
        self._other, other._other = other, self

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to the other side's handler. See `Channel`."""
        if self._closed:
            return fail(ChannelClosed("the channel is closed"))
        answer: Deferred[Response] = Deferred(self._waiting.discard)
        self._waiting.add(answer)
        sent = message.copy()
        self._other._mailbox.put(lambda: self._other._handle(sent, answer))
        return answer

    def close(self) -> None:
        """Closes both sides. Who waits for an answer gets `ChannelClosed`."""
        for side in (self, self._other):
            side._closed = True
            side._mailbox.close()
        for side in (self, self._other):
            waiting, side._waiting = side._waiting, set()
            for answer in waiting:
                answer.errback(ChannelClosed("the channel was closed before the answer came"))

    def _handle(self, request: Request, answer: Deferred[Response]) -> None:
        def respond(response: Response) -> None:
            sent = response.copy()
            self._other._mailbox.put(lambda: self._other._answered(answer, sent))

        def failed(failure: Failure) -> None:
            _log.failure("a channel's handler failed at {method}", failure, method=request.method)
            respond(request.response(500))

        maybeDeferred(self._handler, request).addCallbacks(respond, failed)

    def _answered(self, answer: Deferred[Response], response: Response) -> None:
        if answer in self._waiting:
            self._waiting.discard(answer)
            answer.callback(response)


def local_pair(
    a_handler: Handler, b_handler: Handler, *, clock: IReactorTime
) -> tuple[LocalChannel, LocalChannel]:
    """Two joined sides; each side's requests go to the other side's handler.

    Nothing is delivered before a later turn of the reactor, so a handler is never called from
    within `request`, nor a callback from within a handler. `clock` gives the turns.
    """
    a, b = LocalChannel(clock, a_handler), LocalChannel(clock, b_handler)
    a._join(b)
    return a, b


class _Mailbox:
    """Calls made on a later turn of the reactor, in their order.

    One `callLater(0)` for all that waits: calls of equal time may be made in any order.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._call: IDelayedCall | None = None

    def put(self, delivery: Callable[[], None]) -> None:
        self._waiting.append(delivery)
        if self._call is None:
            self._call = self._clock.callLater(0, self._deliver)

    def close(self) -> None:
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _deliver(self) -> None:
        self._call = None
        for _ in range(len(self._waiting)):
            if not self._waiting:
                return  # closed by what was delivered
            self._waiting.popleft()()
