"""Kamailio as an MSRP relay (RFC 4976) between a client and a server of ours."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.protocols.sip.digest import Challenge, respond
from tests.interop.kamailio import ROOM, USERS, KamailioCase, password_of
from tests.interop.proxy import PROXY, free_ports
from tests.scenarios.wire import MsrpWire, SipWire, attribute, connect_msrp, header

Story = Generator[Deferred[Any], Any, None]

CLIENT = "msrp://127.0.0.1:9/client;tcp"
"""Where nobody listens: the relay uses the client's own connection."""

OFFER = """
    v=0
    o=alice 1 1 IN IP4 127.0.0.1
    s=-
    c=IN IP4 127.0.0.1
    t=0 0
    m=message 9 TCP/MSRP *
    a=accept-types:text/plain
    a=path:{path}
"""


class RelayTests(KamailioCase):
    """Alice speaks through the relay, by hand; Bob is as others are."""

    @property
    def settings(self) -> str:  # type: ignore[override]
        return f'#!define MSRP_RELAY\n#!substdef "!MY_RELAY!{PROXY}:{self.relay}!g"'

    @inlineCallbacks
    def start_both(self) -> Story:
        (self.relay,) = free_ports(PROXY)
        yield super().start_both()
        self.sip = SipWire((PROXY, self.public))
        self.addCleanup(self.sip.close)
        self.msrp: MsrpWire = yield connect_msrp(PROXY, self.relay)
        self.addCleanup(self.msrp.close)

    # The relay.

    def ask(self, number: int, more: str = "") -> Deferred[str]:
        """AUTH (RFC 4976 §5.1)."""
        self.msrp.send(f"""
            MSRP auth{number} AUTH
            To-Path: msrp://{PROXY}:{self.relay};tcp
            From-Path: {CLIENT}{more}
            -------auth{number}$""")
        return self.msrp.next()

    @inlineCallbacks
    def authenticate(self, password: str) -> Generator[Any, Any, str]:
        """The answer to a password."""
        asked = yield self.ask(1)
        self.assertTrue(asked.startswith("MSRP auth1 401 "), asked)
        challenge = Challenge.parse(header(asked, "WWW-Authenticate"))
        uri = f"msrp://{PROXY}:{self.relay};tcp"
        credentials = respond(challenge, "alice", password, "AUTH", uri, 1)
        answer: str = yield self.ask(2, f"\n            Authorization: {credentials}")
        return answer

    # The call.

    def request(self, method: str, cseq: int, more: str = "", body: str = "") -> None:
        self.sip.send(
            f"""
    {method} {ROOM} SIP/2.0
    Via: SIP/2.0/UDP 127.0.0.1:{self.sip.port};rport;branch=z9hG4bK{method}{cseq}
    Max-Forwards: 70
    From: <sip:alice@{USERS}>;tag=a
    To: <{ROOM}>{self.tag}
    Call-ID: relayed
    CSeq: {cseq} {method}
    Contact: <sip:alice@127.0.0.1:{self.sip.port}>
    Content-Type: application/sdp{more}""",
            body,
        )

    @inlineCallbacks
    def call(self, path: str) -> Generator[Any, Any, str]:
        """Join by hand; gives the server's path."""
        self.tag = ""
        body = OFFER.format(path=path)
        self.request("INVITE", 1, body=body)
        asked = yield self.sip.next()
        self.assertTrue(asked.startswith("SIP/2.0 407 "), asked)
        self.tag = ";tag=" + header(asked, "To").partition(";tag=")[2]
        self.request("ACK", 1)
        self.tag = ""
        challenge = Challenge.parse(header(asked, "Proxy-Authenticate"))
        credentials = respond(challenge, "alice", password_of("alice"), "INVITE", ROOM, 1)
        self.request("INVITE", 2, f"\n    Proxy-Authorization: {credentials}", body)
        answer = yield self.sip.next()
        self.assertTrue(answer.startswith("SIP/2.0 200 "), answer)
        self.tag = ";tag=" + header(answer, "To").partition(";tag=")[2]
        self.route = f"\n    Route: {header(answer, 'Record-Route')}"
        self.request("ACK", 2, self.route)
        return attribute(answer, "path")

    @inlineCallbacks
    def test_a_wrong_password(self) -> Story:
        answer = yield self.authenticate("guessed")
        self.assertTrue(answer.startswith("MSRP auth2 401 "), answer)

    @inlineCallbacks
    def test_through_the_relay(self) -> Story:
        answer = yield self.authenticate(password_of("alice"))
        self.assertTrue(answer.startswith("MSRP auth2 200 "), answer)
        relay = header(answer, "Use-Path")
        server = yield self.call(f"{relay} {CLIENT}")
        bob, bob_hears = yield self.enter("bob")
        self.msrp.send(f"""
            MSRP say1 SEND
            To-Path: {relay} {server}
            From-Path: {CLIENT}
            Message-ID: one
            Byte-Range: 1-2/2
            Success-Report: yes
            Content-Type: text/plain

            Hi
            -------say1$""")
        frames = []
        for _ in range(2):
            frames.append((yield self.msrp.next()))
        # The relay has it; then the server tells by a REPORT that it arrived.
        (taken,) = (each for each in frames if each.startswith("MSRP say1 200 "))
        (report,) = (each for each in frames if each is not taken)
        self.assertRegex(report, r"^MSRP \S+ REPORT\r\n")
        self.assertEqual(header(report, "Status"), "000 200 OK")
        self.assertEqual(header(report, "From-Path"), f"{relay} {server}")
        self.assertEqual((yield bob_hears.next()).text, "Hi")
        # More than the relay takes in one frame, so it comes in chunks that it does take.
        text = "0123456789" * 2000
        yield bob.send(text)
        heard = ""
        while not heard.endswith(text):
            frame = yield self.msrp.next()
            self.assertRegex(frame, r"^MSRP \S+ SEND\r\n")
            heard += self.part(frame)
        self.assertEqual(heard, f"bob@{USERS}: {text}")
        self.request("BYE", 3, self.route)
        self.assertTrue((yield self.sip.next()).startswith("SIP/2.0 200 "))
        yield bob.leave()

    def part(self, frame: str) -> str:
        """The body of a frame."""
        self.assertLess(len(frame), 14338)
        found = re.search(r"\r\n\r\n(.*)\r\n-------", frame, re.DOTALL)
        assert found is not None
        return found[1]
