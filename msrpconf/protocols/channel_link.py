"""One connection of the channel, of a dispatcher to a server or a focus (doc/channel.md).

Both sides are the same. Each says HELLO first and answers the other's; then the link is up, and
either sends requests, any number at a time. Each asks PING so often, and gives the other up who
is silent for too long. What waits, for an answer or to be written, has a bound.

    connected --(TLS: certificates agree)--> greeting --HELLO both ways--> up --> lost
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.protocols.channel import ChannelClosed, Handler
from msrpconf.protocols.channel_codec import (
    VERSION,
    ChannelParser,
    ChannelSyntaxError,
    encode,
)
from msrpconf.protocols.channel_counters import (
    CANCELLED,
    LOST,
    RECEIVED,
    SENT,
    TIMEOUT,
    UNSENT,
    LinkCounters,
)
from msrpconf.protocols.channel_hello import Hello, link_request
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.tls_refusals import why_refused
from msrpconf.visible import visible


class ChannelTimeout(ChannelClosed):
    """The other side has not answered a request in time."""


@frozen
class LinkSettings:
    """Times in seconds, and the bounds of what waits.

    - `greeting`: from the connection to HELLO both ways.
    - `ping`: between two PINGs; `silence`: that the other side may say nothing at all.
    - `answer`: that it may take to answer a request.
    - `max_outstanding`: requests of ours without an answer; further ones fail.
    - `max_handling`: requests of theirs without an answer; further ones get a 503.
    - `max_queued`: octets to be written. Requests fail from half of it; beyond, the link ends.
    """

    greeting: float = 10.0
    ping: float = 5.0
    silence: float = 15.0
    answer: float = 60.0
    max_outstanding: int = 20000
    max_handling: int = 20000
    max_queued: int = 16777216


@frozen
class _Sent:
    """A request of ours that has no answer yet."""

    method: str
    answer: Deferred[Response]
    timer: IDelayedCall


class LinkOwner(Protocol):
    """Who has a link: the end of a server, a dispatcher, a focus."""

    def hello(self) -> Hello:
        """What we say of ourselves now."""

    def trusts(self, link: Link) -> str | None:
        """Why the certificate of a link's peer is not the right one; None where it is."""

    def admit(self, link: Link, hello: Hello) -> str | None:
        """Why not to have a link to who says this; None to have it."""

    def link_up(self, link: Link) -> None:
        """The link carries requests from now on; `link.peer` is who is there."""

    def link_down(self, link: Link, why: str) -> None:
        """It does not, or never has. Told once for each connection."""


@implementer(IHandshakeListener)
class Link(TwistedProtocol):
    """One end of a connection; a `Channel` to the other while it is `up`.

    `handler` answers the other side's requests, `secure` says whether TLS is under it, `address`
    is what the log calls the other side. `when_up` gives a Deferred for the greeting.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        owner: LinkOwner,
        handler: Handler,
        address: str,
        *,
        secure: bool,
        settings: LinkSettings,
    ) -> None:
        self.address = address
        self.secure = secure
        self.peer: Hello | None = None
        """What the other side has said of itself; None before that."""
        self.up = False
        self.counters = LinkCounters()
        self.on_read: Callable[[], object] = lambda: None
        """Called when all that has come at one time has been handled, before its answers go."""
        self._answers: list[bytes] | None = None
        self.pinged: float | None = None
        """When the last PING was answered, in the clock's seconds; None before that."""
        self.round_trip: float | None = None
        """Seconds that it took."""
        self._clock = clock
        self._owner = owner
        self._handler = handler
        self._settings = settings
        self._parser = ChannelParser()
        self._waiting: dict[str, _Sent] = {}
        self._serial = 0
        self._handling = 0
        self._greeted = False
        self._refusal: str | None = None
        self._why: str | None = None
        self._heard = 0.0
        self._timer: IDelayedCall | None = None
        self._paused = False
        self._registered = False
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._closed = False
        self._when_up: list[Deferred[Link]] = []

    # The connection.

    def connectionMade(self) -> None:
        settings = self._settings
        self._timer = self._clock.callLater(
            settings.greeting, self._abort, f"no HELLO within {settings.greeting:g} s"
        )
        if not self.secure:
            self._greet()

    def handshakeCompleted(self) -> None:
        """TLS is there (`IHandshakeListener`): is it who it should be?"""
        self._refusal = self._owner.trusts(self)
        if self._refusal is None:
            self._greet()
        # Else its HELLO is waited for, to be refused with the reason.

    def _greet(self) -> None:
        hello = self._owner.hello()
        self._send_request(link_request("HELLO", hello.name, hello.headers)).addCallbacks(
            self._greeting_answered, lambda failure: None
        )

    def _greeting_answered(self, response: Response) -> None:
        if response.status != 200:
            self._end(f"it refused us: {response.status} {visible(response.reason)}")
            return
        self._greeted = True
        self._come_up()

    def _come_up(self) -> None:
        if self.peer is None or not self._greeted or self._closed:
            return
        self.up = True
        self.counters.connects += 1
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._registered = True
        if self._timer is not None:
            self._timer.cancel()
        self._heard = self._clock.seconds()
        self._timer = self._clock.callLater(self._settings.ping, self._ping)
        waiting, self._when_up = self._when_up, []
        self._owner.link_up(self)
        for each in waiting:
            each.callback(self)

    def when_up(self) -> Deferred[Link]:
        """Done when requests can be sent; fails with `ChannelClosed` if that never comes."""
        result: Deferred[Link] = Deferred()
        if self.up:
            result.callback(self)
        elif self._closed:
            result.errback(ChannelClosed(self._why or "the link is closed"))
        else:
            self._when_up.append(result)
        return result

    def _ping(self) -> None:
        settings = self._settings
        silent = self._clock.seconds() - self._heard
        if silent >= settings.silence:
            self._abort(f"it has said nothing for {silent:.0f} s")
            return
        self._timer = self._clock.callLater(settings.ping, self._ping)
        ping = link_request("PING", self._owner.hello().name)
        sent = self._clock.seconds()
        self._send_request(ping).addCallbacks(
            self._pinged, lambda failure: None, callbackArgs=(sent,)
        )

    def _pinged(self, _: Response, sent: float) -> None:
        self.pinged = self._clock.seconds()
        self.round_trip = self.pinged - sent

    @property
    def waiting(self) -> int:
        """Requests of ours that have no answer yet."""
        return len(self._waiting)

    @property
    def handling(self) -> int:
        """Requests of the other side's that have no answer yet."""
        return self._handling

    @property
    def queued(self) -> int:
        """Octets that wait because the other side does not read."""
        return self._queued

    def close(self, why: str) -> None:
        """Say no more; what is to be written is."""
        self._end(why)

    def _write_answers(self) -> None:
        answers, self._answers = self._answers, None
        for octets in answers or ():
            self._write(octets)

    def _end(self, why: str) -> None:
        self._write_answers()
        self._why = self._why or why
        self.up = False
        transport: Any = self.transport
        if transport is None or self._closed:
            return
        for octets in self._queue:
            transport.write(octets)
        self._queue.clear()
        if self._registered:
            # TLS waits for the end of what a producer has to say.
            self._registered = False
            transport.unregisterProducer()
        transport.loseConnection()

    def _abort(self, why: str) -> None:
        self._why = self._why or why
        self.up = False
        transport: Any = self.transport
        if transport is not None and not self._closed:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._closed:
            return
        self._closed = True
        self.up = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._queue.clear()
        why = self._why or why_refused(reason.value, self.transport)
        self._why = why
        error = ChannelClosed(f"the link to {self.address} was lost: {why}")
        waiting, self._waiting = self._waiting, {}
        coming, self._when_up = self._when_up, []
        for each in waiting.values():
            each.timer.cancel()
            self.counters.count(SENT, each.method, LOST)
            each.answer.errback(error)
        for one in coming:
            one.errback(error)
        self._owner.link_down(self, why)

    # Writing.

    def pauseProducing(self) -> None:
        """The other side does not read as fast as we write."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False
        transport: Any = self.transport
        while self._queue and not self._paused:
            octets = self._queue.popleft()
            self._queued -= len(octets)
            self.counters.octets_out += len(octets)
            transport.write(octets)

    def stopProducing(self) -> None:
        """The connection is lost: `connectionLost` tells more."""
        self._paused = True

    def _write(self, octets: bytes) -> None:
        transport: Any = self.transport
        if not self._paused:
            self.counters.octets_out += len(octets)
            transport.write(octets)
            return
        if self._queued + len(octets) > self._settings.max_queued:
            self._abort(f"{self._queued} octets wait for it to read")
            return
        self._queue.append(octets)
        self._queued += len(octets)

    # Requests of ours.

    def request(self, message: Request) -> Deferred[Response]:
        """Sends a request to the other side's handler. See `Channel`; fails with `ChannelClosed`.

        `ChannelTimeout` where no answer comes in time.
        """
        if not self.up:
            why = f"the link to {self.address} is not up"
        elif len(self._waiting) >= self._settings.max_outstanding:
            why = f"{len(self._waiting)} requests wait for {self.address}"
        elif self._queued > self._settings.max_queued // 2:
            why = f"{self.address} does not read: {self._queued} octets wait"
        else:
            return self._send_request(message)
        return self._unsent(message, why)

    def _unsent(self, message: Request, why: str) -> Deferred[Response]:
        self.counters.count(SENT, message.method, UNSENT)
        return fail(ChannelClosed(why))

    def _send_request(self, message: Request) -> Deferred[Response]:
        self._serial += 1
        token = f"{self._serial:x}"
        try:
            octets = encode(message, token)
        except (ChannelSyntaxError, SipSyntaxError) as error:
            return self._unsent(message, f"{message.method} cannot be sent: {error}")
        answer: Deferred[Response] = Deferred(lambda _: self._forget(token))
        timer = self._clock.callLater(self._settings.answer, self._overdue, token)
        self._waiting[token] = _Sent(message.method, answer, timer)
        self._write(octets)
        return answer

    def _forget(self, token: str) -> None:
        found = self._waiting.pop(token, None)
        if found is not None:
            found.timer.cancel()
            self.counters.count(SENT, found.method, CANCELLED)

    def _overdue(self, token: str) -> None:
        found = self._waiting.pop(token)
        seconds = self._settings.answer
        why = f"{self.address} has not answered {found.method} for {seconds:g} s"
        self.counters.count(SENT, found.method, TIMEOUT)
        found.answer.errback(ChannelTimeout(why))

    # What comes.

    def dataReceived(self, data: bytes) -> None:
        self._heard = self._clock.seconds()
        self.counters.octets_in += len(data)
        try:
            messages = self._parser.receive(data)
        except ChannelSyntaxError as error:
            self._abort(f"it does not speak our protocol: {error}")
            return
        self._answers = []
        for each in messages:
            if self._why is not None:
                break
            if isinstance(each.message, Request):
                self._asked(each.message, each.transaction)
            else:
                self._answered(each.message, each.transaction)
        self.on_read()
        self._write_answers()

    def _answered(self, response: Response, token: str) -> None:
        found = self._waiting.pop(token, None)
        if found is None:
            return  # nobody waits any more
        found.timer.cancel()
        self.counters.count(SENT, found.method, response.status)
        found.answer.callback(response)

    def _asked(self, request: Request, token: str) -> None:
        if request.method == "HELLO":
            self._hello(request, token)
        elif not self.up:
            self._respond(request, token, request.response(403, "HELLO comes first"))
            self._end(f"{visible(request.method)} before HELLO")
        elif request.method == "PING":
            self._respond(request, token, request.response(200))
        elif self._handling >= self._settings.max_handling:
            reason = f"{self._handling} requests of yours are being answered"
            self._respond(request, token, request.response(503, reason))
        else:
            self._handle(request, token)

    def _hello(self, request: Request, token: str) -> None:
        status, reason = 403, self._refusal
        try:
            hello = Hello.of(request.headers)
        except ChannelSyntaxError as error:
            status, reason, hello = 400, str(error), None
        if hello is not None and reason is None:
            if hello.version != VERSION:
                status = 505
                reason = (
                    f"{hello.role} {hello.name} speaks version {hello.version} of the channel, "
                    f"we speak {VERSION}: run the same version of msrpconf on both"
                )
            elif self.peer is not None:
                reason = "HELLO comes once"
            else:
                reason = self._owner.admit(self, hello)
        if hello is None or reason is not None:
            refusal = request.response(status, reason, headers=[("Version", str(VERSION))])
            self._respond(request, token, refusal)
            self._end(f"refused: {status} {visible(reason or '')}")
            return
        version = [("Version", str(VERSION))]
        self._respond(request, token, request.response(200, headers=version))
        self.peer = hello
        self._come_up()

    def _handle(self, request: Request, token: str) -> None:
        handler: Callable[[Request], Any] = self._handler
        self._handling += 1

        def respond(response: Response) -> None:
            self._handling -= 1
            self._respond(request, token, response, self._answers)

        def failed(failure: Failure) -> None:
            if failure.check(SipSyntaxError) is not None:
                # What is wrong in a header field is found by who reads it.
                respond(request.response(400, failure.getErrorMessage()))
                return
            if failure.check(ChannelClosed) is not None:
                respond(request.response(503, "It cannot be passed on now: try again"))
                return
            text = "a channel's handler failed at {method}"
            self.log.failure(text, failure, method=request.method)
            respond(request.response(500))

        try:
            answer = handler(request)
        except Exception:  # as from a Deferred
            failed(Failure())
            return
        if isinstance(answer, Deferred):
            answer.addCallbacks(respond, failed)
        else:
            respond(answer)

    def _respond(
        self, request: Request, token: str, response: Response, later: list[bytes] | None = None
    ) -> None:
        if self._closed:
            return
        self.counters.count(RECEIVED, request.method, response.status)
        try:
            octets = encode(response, token)
        except (ChannelSyntaxError, SipSyntaxError) as error:
            self.log.error("an answer cannot be sent: {error}", error=str(error))
            octets = encode(Response(500, "The answer cannot be sent"), token)
        if later is None:
            self._write(octets)
        else:
            later.append(octets)
