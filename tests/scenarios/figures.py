"""The people of the standards' figures, who write each message as it stands there."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, inlineCallbacks

from tests.scenarios.embedded import EmbeddedServerTestCase
from tests.scenarios.wire import MsrpWire, SipWire, attribute, connect_msrp, header

Story = Generator[Deferred[Any], Any, None]

ROOM = "sip:chatroom22@chat.example.com"

CPIM_LINES = """
    a=accept-types:message/cpim text/plain text/html
    a=chatroom:nickname private-messages"""
TEXT_LINES = """
    a=accept-types:text/plain"""


@define(eq=False)
class Endpoint:
    """Somebody with a SIP socket and an MSRP connection; `path` is their MSRP URI."""

    name: str
    aor: str
    path: str
    sip: SipWire
    lines: str = CPIM_LINES
    contact: str = ""
    from_: str = ""
    call_id: str = ""
    target: str = ROOM
    msrp: MsrpWire | None = None
    server_path: str = ""
    to_tag: str = ""
    answer: str = ""

    def request(
        self, method: str, cseq: int, body: str = "", headers: tuple[str, ...] = ()
    ) -> None:
        """Send a request in the dialog that there is, or outside of one."""
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        more = (*headers, "Content-Type: application/sdp") if body else headers
        content = "".join(f"\n    {line}" for line in more)
        contact = self.contact or f"<sip:{self.name}@127.0.0.1:{self.sip.port}>"
        self.sip.send(
            f"""
    {method} {self.target} SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.sip.port};branch=z9hG4bK{self.name}{method}{cseq}
    Max-Forwards: 70
    From: {self.from_ or f"<{self.aor}>;tag={self.name}"}
    To: Chatroom 22 <{ROOM}>{tag}
    Call-ID: {self.call_id or f"{self.name}-call"}
    CSeq: {cseq} {method}
    Contact: {contact}{content}""",
            body,
        )

    @property
    def offer(self) -> str:
        return f"""
    v=0
    o={self.name} 2890844526 2890844526 IN IP4 client.atlanta.example.com
    s=-
    c=IN IP4 client.atlanta.example.com
    t=0 0
    m=message 7654 TCP/MSRP *{self.lines}
    a=path:{self.path}"""

    @property
    def wire(self) -> MsrpWire:
        assert self.msrp is not None
        return self.msrp

    def sends(self, frame: str) -> None:
        """Send a frame in which ``{us}`` and ``{room}`` are the paths."""
        self.wire.send(frame.replace("{room}", self.server_path).replace("{us}", self.path))

    def writes(self, text: str) -> None:
        """Send octets as they are."""
        assert self.wire.transport is not None
        self.wire.transport.write(text.encode())

    def hears(self) -> Deferred[str]:
        """The next frame."""
        return self.wire.next()


class FigureTestCase(EmbeddedServerTestCase):
    server_keys = """
        [conference]
        notices = false
    """

    def setUp(self) -> Any:
        self.people: list[Endpoint] = []
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Generator[Deferred[Any], Any, None]:
        for each in self.people:
            if each.to_tag:
                each.request("BYE", 199)
                yield each.sip.next()
            if each.msrp is not None:
                yield each.msrp.closed
            yield each.sip.close()
        yield super().end_everything()

    def endpoint(self, name: str, aor: str, path: str, **options: Any) -> Endpoint:
        each = Endpoint(name, aor, path, SipWire(("127.0.0.1", self.ports["udp"])), **options)
        self.people.append(each)
        return each

    @inlineCallbacks
    def join(self, each: Endpoint, headers: tuple[str, ...] = ()) -> Story:
        """INVITE, 200, ACK."""
        each.request("INVITE", 1, each.offer, headers)
        each.answer = yield each.sip.next()
        self.assertTrue(each.answer.startswith("SIP/2.0 200"), each.answer)
        each.to_tag = header(each.answer, "To").partition(";tag=")[2]
        each.server_path = attribute(each.answer, "path")
        each.request("ACK", 1)

    @inlineCallbacks
    def connect(self, each: Endpoint, first: str = "") -> Story:
        """Connect, and bind the session by the frame `first`, by default an empty SEND."""
        port = int(each.server_path.split(":")[2].partition("/")[0])
        each.msrp = yield connect_msrp("127.0.0.1", port)
        each.sends(
            first
            or f"""
            MSRP bind{each.name} SEND
            To-Path: {{room}}
            From-Path: {{us}}
            Message-ID: bind-{each.name}
            Byte-Range: 1-0/0
            -------bind{each.name}$"""
        )
        bound = yield each.hears()
        transaction = (first or f"x bind{each.name}").split()[1]
        self.assertTrue(bound.startswith(f"MSRP {transaction} 200 OK"), bound)

    @inlineCallbacks
    def enter(
        self, name: str, aor: str, path: str, **options: Any
    ) -> Generator[Deferred[Any], Any, Endpoint]:
        """Somebody who is in the room and connected."""
        each = self.endpoint(name, aor, path, **options)
        yield self.join(each)
        yield self.connect(each)
        return each

    def assertAnswers(self, each: Endpoint, heard: str, transaction: str, status: str) -> None:
        """A response, header for header."""
        expected = (
            f"MSRP {transaction} {status}\r\n"
            f"To-Path: {each.path}\r\n"
            f"From-Path: {each.server_path}\r\n"
            f"-------{transaction}$\r\n"
        )
        self.assertEqual(heard, expected)

    def assertCopy(self, each: Endpoint, heard: str, body: str, content_type: str) -> None:
        """A SEND of the room's to `each`, header for header."""
        transaction, message_id = heard.split(" ")[1], header(heard, "Message-ID")
        size = len(body.encode())
        self.assertEqual(
            heard,
            f"MSRP {transaction} SEND\r\n"
            f"To-Path: {each.path}\r\n"
            f"From-Path: {each.server_path}\r\n"
            f"Message-ID: {message_id}\r\n"
            f"Byte-Range: 1-{size}/{size}\r\n"
            "Failure-Report: partial\r\n"
            f"Content-Type: {content_type}\r\n"
            "\r\n"
            f"{body}\r\n"
            f"-------{transaction}$\r\n",
        )

    @inlineCallbacks
    def assertNobodyHearsMore(self, *people: Endpoint) -> Story:
        """What each hears next is the answer to what it says next."""
        for number, each in enumerate(people):
            each.sends(f"""
                MSRP more{number} SEND
                To-Path: {{room}}
                From-Path: {{us}}
                Message-ID: more{number}
                Byte-Range: 1-0/0
                -------more{number}$""")
            self.assertAnswers(each, (yield each.hears()), f"more{number}", "200 OK")

    def accepts(self, each: Endpoint, heard: str) -> None:
        """Answer a SEND with 200, as the figures do."""
        transaction = heard.split(" ")[1]
        each.sends(f"""
            MSRP {transaction} 200 OK
            To-Path: {{room}}
            From-Path: {{us}}
            -------{transaction}$""")
