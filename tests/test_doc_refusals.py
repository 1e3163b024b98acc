"""What doc/protocol.md says is refused is refused, in those words."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from msrpconf.config import Config
from msrpconf.services.compose import make_service
from tests.processes import ROOT
from tests.scenarios.wire import SipWire, attribute, connect_msrp, header

Story = Generator[Deferred[Any], Any, None]

SETTINGS = """
[sip]
listen = ["udp:127.0.0.1:0"]
domains = ["127.0.0.1"]
require = ["gruu"]
[focus]
[server]
listen = ["tcp:127.0.0.1:0"]
"""

OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message 9 TCP/MSRP *
a=path:msrp://127.0.0.1:9/eve;tcp
a=accept-types:message/cpim
a=setup:active"""

CPIM = """From: <sip:eve@example.com>
To: <sip:lobby@127.0.0.1>

Content-Type: text/plain

hi"""

PAGE = (ROOT / "doc" / "protocol.md").read_text("utf-8")


class RefusalTests(TestCase):
    def setUp(self) -> Any:
        return self.start()

    def tearDown(self) -> Any:
        return self.stop()

    @inlineCallbacks
    def start(self) -> Story:
        self.service = make_service(Config.parse(SETTINGS, "the test"), reactor)
        yield self.service.startService()
        self.sip = SipWire(self.service.focus.listening[0].endpoint)
        self.calls = 0

    @inlineCallbacks
    def stop(self) -> Story:
        yield self.service.stopService()
        yield self.sip.close()

    def send(
        self,
        method: str = "INVITE",
        uri: str = "sip:lobby@127.0.0.1",
        body: str = "",
        tag: str = "",
        more: tuple[str, ...] = (),
        without: str = "?",
        content_type: str = "application/sdp",
        call: str = "",
        cseq: int = 1,
    ) -> None:
        self.calls += 1
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.sip.port};rport;branch=z9hG4bK{self.calls}",
            "From: <sip:eve@example.com>;tag=1",
            f"To: <sip:lobby@127.0.0.1>{tag}",
            f"Call-ID: {call or self.calls}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:eve@127.0.0.1:{self.sip.port}>",
            "Supported: gruu",
            *([f"Content-Type: {content_type}"] if body else []),
            *more,
        ]
        self.sip.send("\n".join(line for line in lines if not line.startswith(without)), body)

    @inlineCallbacks
    def refused(self, *told: str, **request: Any) -> Story:
        """The answer is in the page's table, as are its headers."""
        self.send(**request)
        answer = yield self.sip.next()
        status, reason = answer.partition("\r\n")[0].split(" ", 2)[1:]
        [line] = [each for each in PAGE.splitlines() if each.startswith(f"| {status} | `{reason}`")]
        for name in told:
            self.assertTrue(line.endswith(f"| {name} |"), line)
            header(answer, name)

    @inlineCallbacks
    def test_sip(self) -> Story:
        yield self.refused("Allow", method="REGISTER")
        yield self.refused("Allow", method="FOO")
        yield self.refused(uri="tel:+15551")
        yield self.refused("Warning", uri="sips:lobby@127.0.0.1")
        yield self.refused(uri="sip:127.0.0.1")
        yield self.refused(uri=f"sip:{'x' * 256}@127.0.0.1")
        yield self.refused(uri="sip:lobby@other.example")
        yield self.refused(uri="sip:lobby@other.example", more=("Max-Forwards: 0",))
        yield self.refused("Unsupported", more=("Require: foo",))
        yield self.refused("Require", without="Supported")
        yield self.refused(without="Contact", body=OFFER)
        yield self.refused(body=OFFER, without="Content-Type")
        yield self.refused("Accept", body="hi", content_type="text/plain")
        yield self.refused("Accept-Encoding", body=OFFER, more=("Content-Encoding: gzip",))
        yield self.refused(more=("Replaces: a;to-tag=b;from-tag=c",), body=OFFER)
        yield self.refused(method="BYE")
        yield self.refused(method="BYE", tag=";tag=local.0")
        yield self.refused(method="CANCEL")

    @inlineCallbacks
    def test_descriptions(self) -> Story:
        for wrong, right in (
            ("m=audio 9 RTP/AVP 0", "m=message 9 TCP/MSRP *"),
            ("m=message 9 TCP/TLS/MSRP *\na=path:msrps", "m=message 9 TCP/MSRP *\na=path:msrp"),
            ("a=accept-types:text/html", "a=accept-types:message/cpim"),
            ("a=inactive", "a=path:msrp://127.0.0.1:9/eve;tcp"),
        ):
            offered = OFFER.replace(right, wrong)
            if "TLS" in wrong:
                offered = offered.replace("msrp:", "msrps:")
            self.send(body=offered)
            answer = yield self.sip.next()
            status, reason = answer.partition("\r\n")[0].split(" ", 2)[1:]
            self.assertEqual(status, "488")
            self.assertTrue(reason in " ".join(PAGE.split()), reason)
            self.assertIn(reason, header(answer, "Warning"))

    @inlineCallbacks
    def test_msrp(self) -> Story:
        self.send(body=OFFER, call="talk")
        answer = yield self.sip.next()
        tag = ";tag=" + header(answer, "To").partition(";tag=")[2]
        self.send(method="ACK", tag=tag, call="talk")
        path = attribute(answer, "path")
        port = self.service.server.ports[0].getHost().port
        wire = yield connect_msrp("127.0.0.1", port)
        other = yield connect_msrp("127.0.0.1", port)
        first = "Message-ID: {}\nByte-Range: 1-*/*"
        for number, (by, method, to, headers, content_type, body) in enumerate(
            (
                (wire, "SEND", path, first, "message/cpim", CPIM.replace("eve", "bob")),
                (wire, "SEND", path, first, "message/cpim", CPIM[CPIM.index("To") :]),
                (wire, "SEND", path, first, "message/cpim", CPIM.replace("To:", "cc:")),
                (wire, "SEND", path, first, "text/plain", "hi"),
                (wire, "SEND", path, "Byte-Range: 1-*/*", "message/cpim", CPIM),
                (wire, "SEND", path, first.replace("/*", "/999999999"), "message/cpim", CPIM),
                (wire, "SEND", path.replace("/", "/x"), first, "message/cpim", CPIM),
                (wire, "FOO", path, first, "", ""),
                (other, "SEND", path, first, "message/cpim", CPIM),
            )
        ):
            content = f"Content-Type: {content_type}\n\n{body}\n" if body else ""
            by.send(
                f"MSRP t{number:04} {method}\nTo-Path: {to}\nFrom-Path: msrp://127.0.0.1:9/eve;tcp\n"
                f"{headers.format(number)}\n{content}-------t{number:04}$"
            )
            refusal = yield by.next()
            status, comment = refusal.partition("\r\n")[0].split(" ", 3)[2:]
            known = comment.partition(": use sip")[0]
            self.assertNotEqual(status, "200", f"{number}")
            self.assertTrue(known in " ".join(PAGE.split()), comment)
        yield wire.close()
        yield other.close()
        self.send(method="BYE", tag=tag, call="talk", cseq=2)
        yield self.sip.next()
