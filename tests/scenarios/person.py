"""Somebody at a keyboard who speaks SIP and MSRP by hand, with or without TLS."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, inlineCallbacks

from tests.scenarios.wire import MsrpWire, SipWire, attribute, connect_msrp, header

Story = Generator[Deferred[Any], Any, None]

OFFER = """
    v=0
    o={name} 1 1 IN IP4 127.0.0.1
    s=-
    c=IN IP4 127.0.0.1
    t=0 0
    m=message {port} {protocol} *
    a=accept-types:text/plain
    a=path:{path}"""


@define
class Person:
    """Somebody who speaks SIP by hand, and MSRP with or without TLS."""

    name: str
    sip: SipWire
    secure: bool = True
    setup: str = "active"
    host: str = "127.0.0.1"
    port: int = 9
    fingerprints: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """More header fields of each INVITE."""
    wires: list[MsrpWire] = field(factory=list)
    server_path: str = ""
    to_tag: str = ""

    @property
    def path(self) -> str:
        scheme = "msrps" if self.secure else "msrp"
        return f"{scheme}://{self.host}:{self.port}/{self.name}session;tcp"

    @property
    def server_port(self) -> int:
        """The MSRP port that the room's answer names."""
        return int(self.server_path.split(":")[2].partition("/")[0])

    def request(self, method: str, cseq: int, body: str = "") -> None:
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        more = [*(self.headers if method == "INVITE" else ())]
        if body:
            more.append("Content-Type: application/sdp")
        content = "".join(f"\n    {each}" for each in more)
        self.sip.send(
            f"""
    {method} sip:lobby@127.0.0.1 SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.sip.port};branch=z9hG4bK{self.name}{method}{cseq}
    Max-Forwards: 70
    From: <sip:{self.name}@example.com>;tag={self.name}
    To: <sip:lobby@127.0.0.1>{tag}
    Call-ID: {self.name}-call
    CSeq: {cseq} {method}
    Contact: <sip:{self.name}@127.0.0.1:{self.sip.port}>{content}""",
            body,
        )

    @property
    def offer(self) -> str:
        protocol = "TCP/TLS/MSRP" if self.secure else "TCP/MSRP"
        text = OFFER.format(name=self.name, port=self.port, protocol=protocol, path=self.path)
        if self.setup:
            text += f"\n    a=setup:{self.setup}"
        return text + "".join(f"\n    a=fingerprint:{each}" for each in self.fingerprints)

    @inlineCallbacks
    def join(self) -> Generator[Deferred[Any], Any, str]:
        """INVITE and ACK; give the room's answer."""
        self.request("INVITE", 1, self.offer)
        answer = yield self.sip.next()
        self.to_tag = header(answer, "To").partition(";tag=")[2]
        self.request("ACK", 1)
        if answer.startswith("SIP/2.0 200"):
            self.server_path = attribute(answer, "path")
        return str(answer)

    def say(self, wire: MsrpWire, what: str = "", transaction: str = "bind") -> None:
        """Send an empty SEND, or a plain text, on a connection."""
        body = f"\n    Content-Type: text/plain\n\n    {what}" if what else ""
        length = f"1-{len(what)}/{len(what)}" if what else "1-0/0"
        wire.send(f"""
    MSRP {transaction}{self.name} SEND
    To-Path: {self.server_path}
    From-Path: {self.path}
    Message-ID: {transaction}{self.name}
    Byte-Range: {length}{body}
    -------{transaction}{self.name}$""")

    @inlineCallbacks
    def connect(self, tls: Any = None, port: int | None = None) -> Generator[Any, Any, str]:
        """Connect, and send the SEND that binds the session; give its answer's first line."""
        wire = yield connect_msrp("127.0.0.1", port or self.server_port, tls)
        self.wires.append(wire)
        self.say(wire)
        answer = yield wire.next()
        return str(answer.partition("\r\n")[0])

    def answers(self, request: str) -> None:
        """Answer a request of the server's with 200."""
        self.sip.send(f"""
    SIP/2.0 200 OK
    Via: {header(request, "Via")}
    From: {header(request, "From")}
    To: {header(request, "To")}
    Call-ID: {header(request, "Call-ID")}
    CSeq: {header(request, "CSeq")}""")

    @inlineCallbacks
    def is_sent_out(self) -> Generator[Deferred[Any], Any, str]:
        """A BYE comes; give its Reason."""
        bye = yield self.sip.next()
        assert bye.startswith("BYE "), bye
        self.answers(bye)
        return header(bye, "Reason")
