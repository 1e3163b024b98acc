"""A transport that remembers, and messages for it."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Headers, Request, Response, parse_message
from msrpconf.protocols.sip.sender import ErrorHook, Sent, TransportError
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.sip.via import fill

LOCAL = ("192.0.2.1", 5060)
REMOTE = ("192.0.2.9", 5070)
UDP = Flow("udp", LOCAL, REMOTE)
TCP = Flow("tcp", LOCAL, REMOTE, 7)
TARGETS = {"udp": Address("udp", *REMOTE), "tcp": Address("tcp", *REMOTE)}
FLOWS = {"udp": UDP, "tcp": TCP}


@define
class RecordingSender:
    """A `MessageSender` that keeps what it is given."""

    requests: list[Request] = field(factory=list)
    responses: list[Response] = field(factory=list)
    repeated: list[bytes] = field(factory=list)
    broken: TransportError | None = None
    """What sending fails with, if anything."""
    waiting: list[Deferred[Flow]] | None = None
    """Sendings that have not come to anything yet; None where they succeed at once."""

    def send_request(
        self, request: Request, target: Address, flow: Flow | None = None
    ) -> Deferred[Flow]:
        if self.broken is not None:
            return fail(self.broken)
        if self.waiting is not None:
            pending: Deferred[Flow] = Deferred()
            self.waiting.append(pending)
            return pending
        fill(request, target.transport, LOCAL)
        self.requests.append(request)
        return succeed(flow or FLOWS[target.transport])

    def send_response(
        self, response: Response, flow: Flow, on_error: ErrorHook | None = None
    ) -> Sent:
        if self.broken is not None:
            if on_error is not None:
                on_error(self.broken)
        else:
            self.responses.append(response)
        return Sent(bytes(response), flow)

    def repeat(self, sent: Sent) -> None:
        self.repeated.append(sent.octets)

    @property
    def statuses(self) -> list[int]:
        """Of the responses, repetitions left out."""
        return [response.status for response in self.responses]

    @property
    def methods(self) -> list[str]:
        """Of the requests, repetitions left out."""
        return [request.method for request in self.requests]


@define
class Wire:
    """A `MessageSender` that keeps where each request went, and cannot reach some places."""

    responses: list[Response] = field(factory=list)
    requests: list[tuple[Request, Address, Flow | None]] = field(factory=list)
    dead: set[Address] = field(factory=set)
    """Addresses that nothing can be sent to."""

    def send_request(
        self, request: Request, target: Address, flow: Flow | None = None
    ) -> Deferred[Flow]:
        if target in self.dead:
            return fail(TransportError(f"{target}: Connection refused"))
        fill(request, target.transport, LOCAL)
        self.requests.append((request, target, flow))
        return succeed(flow or Flow(target.transport, LOCAL, target.endpoint, 9))

    def send_response(
        self, response: Response, flow: Flow, on_error: ErrorHook | None = None
    ) -> Sent:
        self.responses.append(response)
        return Sent(bytes(response), flow)

    def repeat(self, sent: Sent) -> None:
        message = parse_message(sent.octets)
        if isinstance(message, Response):
            self.responses.append(message)

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]


def make_request(
    method: str = "OPTIONS",
    *,
    branch: str | None = "z9hG4bKone",
    sent_by: str = "192.0.2.9:5070",
    transport: str = "UDP",
    uri: str = "sip:conf1@example.com",
    from_tag: str = "alice",
    to_tag: str | None = None,
    call_id: str = "call-1",
    cseq: int = 1,
    cseq_method: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Request:
    """A request as the transport hands it on."""
    parameters = "" if branch is None else f";branch={branch}"
    tag = "" if to_tag is None else f";tag={to_tag}"
    return Request(
        method,
        parse_uri(uri),
        Headers(
            [
                ("Via", f"SIP/2.0/{transport} {sent_by}{parameters}"),
                ("From", f"<sip:alice@example.com>;tag={from_tag}"),
                ("To", f"<sip:conf1@example.com>{tag}"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} {cseq_method or method}"),
                *headers,
            ]
        ),
    )
