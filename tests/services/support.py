"""A focus without sockets: its transport is a list, its channel answers when the test says so."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.control import CONFERENCE
from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Request, Response, parse_message
from msrpconf.protocols.sip.requests import RequestSender
from msrpconf.protocols.sip.transaction import TransactionLayer
from msrpconf.protocols.sip.uri import URI
from msrpconf.protocols.sip.via import stamp
from msrpconf.services.focus import Focus
from msrpconf.services.focus_checks import FocusSettings
from tests.protocols.sip.fakes import LOCAL, Wire

HERE = LOCAL
CLIENT = ("192.0.2.9", 5070)
PROXY = ("192.0.2.5", 5060)
UDP = Flow("udp", HERE, CLIENT)
TCP = Flow("tcp", HERE, ("192.0.2.9", 40123), 7)
TLS = Flow("tls", HERE, ("192.0.2.9", 40124), 8)
FROM_PROXY = Flow("udp", HERE, PROXY)
STRANGER = Flow("udp", HERE, ("198.51.100.1", 5060))
TLS_STRANGER = Flow("tls", HERE, ("198.51.100.1", 40125), 9)

SETTINGS = FocusSettings(trusted=(IPv4Network("192.0.2.0/24"),))
OFFER = b"v=0\r\n"

_TEMPLATE = """{method} {uri} SIP/2.0
{vias}
From: "Alice" <sip:alice@example.com>;tag={from_tag}
To: {to}{to_tag}
Call-ID: {call_id}
CSeq: {cseq} {method}
Max-Forwards: {max_forwards}
{headers}

"""


def sip(
    method: str = "INVITE",
    *headers: str,
    uri: str = "sip:lobby@conf.example.com",
    branch: str = "z9hG4bKone",
    vias: tuple[str, ...] = ("SIP/2.0/UDP 192.0.2.9:5070;branch={branch}",),
    from_tag: str = "a1",
    to: str = "<sip:lobby@conf.example.com>",
    to_tag: str | None = None,
    call_id: str = "call-1",
    cseq: int = 1,
    max_forwards: int = 70,
    contact: str | None = "<sip:alice@192.0.2.9:5070>",
    body: bytes = b"",
    content_type: str | None = "application/sdp",
) -> Request:
    """A request as it comes from the wire. `headers` are whole header fields."""
    lines = list(headers)
    if contact is not None:
        lines.append(f"Contact: {contact}")
    if body and content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines.append(f"Content-Length: {len(body)}")
    head = _TEMPLATE.format(
        method=method,
        uri=uri,
        vias="\n".join(f"Via: {via}" for via in vias).format(branch=branch),
        from_tag=from_tag,
        to=to,
        to_tag="" if to_tag is None else f";tag={to_tag}",
        call_id=call_id,
        cseq=cseq,
        max_forwards=max_forwards,
        headers="\n".join(lines),
    )
    message = parse_message(head.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + body)
    assert isinstance(message, Request)
    return message


@define
class FakeChannel:
    """A channel whose other side answers when the test says so, or never."""

    asked: list[Request] = field(factory=list)
    waiting: list[tuple[Request, Deferred[Response]]] = field(factory=list)
    error: Exception | None = None

    def request(self, message: Request) -> Deferred[Response]:
        self.asked.append(message)
        if self.error is not None:
            return fail(self.error)
        answer: Deferred[Response] = Deferred()
        self.waiting.append((message, answer))
        return answer

    def answer(
        self,
        status: int = 200,
        reason: str | None = None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        to_tag: str | None = "local.77",
        method: str | None = None,
    ) -> None:
        """Answer the oldest request, or the oldest of a method, that has no answer yet."""
        for place, (request, answer) in enumerate(self.waiting):
            if method in (None, request.method):
                del self.waiting[place]
                answer.callback(
                    request.response(status, reason, headers=headers, body=body, to_tag=to_tag)
                )
                return
        raise AssertionError(f"no {method or 'request'} waits for an answer")

    def close(self) -> None:
        """As `LocalChannel` does it."""
        self.error = ChannelClosed("the channel is closed")
        waiting, self.waiting = self.waiting, []
        for _, answer in waiting:
            answer.errback(ChannelClosed("the channel was closed before the answer came"))

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.asked]


class FocusTestCase(SynchronousTestCase):
    """A focus over a transaction layer on a `Clock`; `wire` and `channel` are its two ends."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.failures: list[dict[str, Any]] = []

        def observe(event: Any) -> None:
            if "log_failure" in event:
                self.failures.append(event)
            self.lines.append(formatEvent(event))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.start()

    def start(self, settings: FocusSettings = SETTINGS, max_transactions: int = 1000) -> None:
        """Make the focus, anew."""
        self.clock = Clock()
        self.wire = Wire()
        self.channel = FakeChannel()
        self.places: dict[str, list[Address]] = {}
        """Where a URI leads; what is not here leads nowhere."""
        self.live: set[Flow] = set()
        self.focus = Focus(self.clock, settings)
        self.layer = TransactionLayer(
            self.clock,
            self.wire,
            on_request=self.focus.request_received,
            on_ack=self.focus.ack_received,
            max_server_transactions=max_transactions,
        )
        self.layer.on_refused = self.focus.refused
        self.focus.sender = RequestSender(
            self.clock, self.layer, self.locate, lambda flow: flow in self.live
        )
        self.proven: dict[Flow, frozenset[str]] = {}
        """The SIP domains that peers have proved to be."""
        self.focus.identities = lambda flow: self.proven.get(flow, frozenset())
        self.focus.listening = [Address("udp", *HERE), Address("tls", HERE[0], 5061)]
        self.focus.local_address = lambda flow: Address(flow.transport, *HERE)
        self.focus.address_towards = lambda address: Address(address.transport, *HERE)
        self.focus.channel = self.channel

    def locate(self, uri: URI) -> Deferred[list[Address]]:
        found = self.places.get(str(uri))
        return succeed(found) if found else fail(LocateError(f"{uri}: leads nowhere"))

    def receive(self, request: Request, flow: Flow = UDP) -> Request:
        """A request comes by `flow`."""
        stamp(request, flow.remote)
        self.layer.receive(request, flow)
        return request

    def seconds(self, seconds: float) -> None:
        self.clock.pump([0.125] * round(seconds * 8))

    @property
    def refusals(self) -> list[str]:
        return [line for line in self.lines if line.startswith("refused: ")]

    def last(self) -> Response:
        return self.wire.responses[-1]

    def assertRefused(
        self,
        request: Request,
        status: int,
        reason: str = "",
        *,
        flow: Flow = UDP,
        logged: bool = True,
    ) -> Response:
        """`request` is refused before the server hears of it, with one line in the log."""
        asked, answered, lines = len(self.channel.asked), len(self.wire.responses), self.refusals
        self.receive(request, flow)
        self.assertEqual(len(self.channel.asked), asked)
        self.assertEqual(len(self.wire.responses), answered + 1)
        response = self.last()
        self.assertEqual(response.status, status)
        self.assertIn(reason, response.reason)
        self.assertIsNotNone(response.to.tag)
        if logged:
            self.assertEqual(
                self.refusals[len(lines) :],
                [
                    f"refused: {request.method} of sip:alice@example.com to {request.uri}: "
                    f"{status} {response.reason} (Call-ID {request.call_id})"
                ],
            )
        self.assertEqual(self.failures, [])
        return response

    def joined(self, **changes: Any) -> Response:
        """An INVITE is answered 200 and acknowledged."""
        self.receive(sip(**changes))
        self.channel.answer(method="INVITE")
        response = self.last()
        assert response.status == 200, response
        self.receive(sip("ACK", branch="z9hG4bKack", to_tag="local.77", **changes))
        self.channel.answer(method="ACK")
        return response


def room_of(request: Request) -> str | None:
    """Which room the focus says that a request is for."""
    return request.headers.get(CONFERENCE)
