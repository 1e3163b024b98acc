"""The people of the original design's flows, who write each message by hand."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.participant import Participant
from tests.scenarios.embedded import EmbeddedServerTestCase
from tests.scenarios.wire import MsrpWire, SipWire, attribute, connect_msrp, header

Story = Generator[Deferred[Any], Any, None]

OFFER = """
    v=0
    o={name} 2890844526 2890844526 IN IP4 127.0.0.1
    s=-
    c=IN IP4 127.0.0.1
    t=0 0
    m=message 7777 TCP/MSRP *
    a=accept-types:text/plain
    a=path:msrp://{name}pc.example.com:7777/{name}session;tcp
"""


@define
class Person:
    """Somebody at a keyboard, with a SIP socket and perhaps an MSRP connection."""

    name: str
    sip: SipWire
    msrp: MsrpWire | None = None
    server_path: str = ""
    to_tag: str = ""

    @property
    def path(self) -> str:
        return f"msrp://{self.name}pc.example.com:7777/{self.name}session;tcp"

    def request(
        self,
        method: str,
        cseq: int,
        body: str = "",
        headers: tuple[str, ...] = (),
        content_type: str = "application/sdp",
    ) -> None:
        """Send a request in the dialog that there is, or outside of one."""
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        more = (*headers, f"Content-Type: {content_type}") if body else headers
        content = "".join(f"\n    {line}" for line in more)
        self.sip.send(
            f"""
    {method} sip:conf1@127.0.0.1 SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.sip.port};branch=z9hG4bK{self.name}{method}{cseq}
    Max-Forwards: 70
    From: sip:{self.name}@home.com;tag=887s
    To: sip:conf1@127.0.0.1{tag}
    Call-ID: 2366721e-{self.name}@home.com
    CSeq: {cseq} {method}
    Contact: <sip:{self.name}@127.0.0.1:{self.sip.port}>{content}""",
            body.format(name=self.name),
        )

    def answer(self, request: str, status: str = "200 OK") -> None:
        """Answer a request of the room's, with a tag of our own if To has none."""
        to = header(request, "To")
        tag = "" if ";tag=" in to else f";tag={self.name}tag"
        self.sip.send(
            f"""
    SIP/2.0 {status}
    Via: {header(request, "Via")}
    From: {header(request, "From")}
    To: {to}{tag}
    Call-ID: {header(request, "Call-ID")}
    CSeq: {header(request, "CSeq")}
    Contact: <sip:{self.name}@127.0.0.1:{self.sip.port}>"""
        )


class OriginalTestCase(EmbeddedServerTestCase):
    def setUp(self) -> Any:
        self.people: list[Person] = []
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Generator[Deferred[Any], Any, None]:
        for person in self.people:
            if person.msrp is not None:
                person.request("BYE", 199)
                yield person.sip.next()
                yield person.msrp.closed
            yield person.sip.close()
        yield super().end_everything()

    def person(self, name: str) -> Person:
        person = Person(name, SipWire(("127.0.0.1", self.ports["udp"])))
        self.people.append(person)
        return person

    def participant(self, person: Person) -> Participant:
        for each in self.service.registry.participants():
            if each.identity.key == f"sip:{person.name}@home.com":
                return each
        raise self.failureException(f"{person.name} is in no room")

    @inlineCallbacks
    def join(self, person: Person) -> Story:
        person.request("INVITE", 101, OFFER)
        answer = yield person.sip.next()
        person.to_tag = header(answer, "To").partition(";tag=")[2]
        person.request("ACK", 101)
        person.server_path = attribute(answer, "path")
        port = int(person.server_path.split(":")[2].partition("/")[0])
        person.msrp = yield connect_msrp("127.0.0.1", port)
        person.msrp.send(f"""
            MSRP bind{person.name} SEND
            To-Path: {person.server_path}
            From-Path: {person.path}
            Message-ID: bind-{person.name}
            Byte-Range: 1-0/0
            -------bind{person.name}$""")
        bound = yield person.msrp.next()
        self.assertTrue(bound.startswith(f"MSRP bind{person.name} 200 OK"), bound)
