"""The original design's «INVITE: Joining a conference», steps 1 to 7, on the wire.

Where the original contradicts RFC 3261 and RFC 4975, the standards are followed: From
and To stand as received, Contact has angle brackets, paths are MSRP URIs.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.conference.participant import Participant, State
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

    def request(self, method: str, cseq: int, body: str = "") -> None:
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        content = "\n    Content-Type: application/sdp" if body else ""
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


class OriginalTestCase(EmbeddedServerTestCase):
    def setUp(self) -> Any:
        self.people: list[Person] = []
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Generator[Deferred[Any], Any, None]:
        for person in self.people:
            if person.msrp is not None:
                person.request("BYE", 102)
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


class OriginalJoinTests(OriginalTestCase):
    @inlineCallbacks
    def test_steps_1_to_7(self) -> Story:
        bob = self.person("bob")  # «bob is also in the same conference»
        yield self.join(bob)
        alice = self.person("alice")

        # 1 to 4: the INVITE goes by focus and server, which expects her, and back as 200.
        alice.request("INVITE", 101, OFFER)
        answer = yield alice.sip.next()
        self.assertIs(self.participant(alice).state, State.EXPECTED)
        self.assertTrue(answer.startswith("SIP/2.0 200 OK\r\n"), answer)
        self.assertEqual(header(answer, "From"), "sip:alice@home.com;tag=887s")
        to, _, alice.to_tag = header(answer, "To").partition(";tag=")
        self.assertEqual(to, "sip:conf1@127.0.0.1")
        self.assertRegex(alice.to_tag, r"\Alocal\.[0-9a-f]{16}\Z")
        self.assertEqual(header(answer, "Call-ID"), "2366721e-alice@home.com")
        self.assertEqual(header(answer, "CSeq"), "101 INVITE")
        self.assertRegex(header(answer, "Contact"), r"\A<sip:conf1@127\.0\.0\.1:\d+>;.*;isfocus")
        self.assertEqual(header(answer, "Content-Type"), "application/sdp")
        self.assertEqual(attribute(answer, "accept-types"), "text/plain")
        alice.server_path = attribute(answer, "path")
        self.assertRegex(alice.server_path, r"\Amsrp://127\.0\.0\.1:\d+/\w{20,};tcp\Z")

        # 5: the ACK, after which she is in.
        joined = self.when_logged("joined")
        alice.request("ACK", 101)
        yield joined
        self.assertIs(self.participant(alice).state, State.JOINED)

        # 6 and 7: her message, and its answer.
        port = int(alice.server_path.split(":")[2].partition("/")[0])
        alice.msrp = yield connect_msrp("127.0.0.1", port)
        alice.msrp.send(f"""
            MSRP d93kswow SEND
            To-Path: {alice.server_path}
            From-Path: {alice.path}
            Message-ID: 12339sdqwer
            Byte-Range: 1-14/14
            Content-Type: text/plain

            Hi, I'm Alice!
            -------d93kswow$""")
        answered = yield alice.msrp.next()
        self.assertEqual(
            answered,
            "MSRP d93kswow 200 OK\r\n"
            f"To-Path: {alice.path}\r\n"
            f"From-Path: {alice.server_path}\r\n"
            "-------d93kswow$\r\n",
        )

        # And Bob has it, with her name in front.
        assert bob.msrp is not None
        heard = yield bob.msrp.next()
        transaction = re.match(r"MSRP (\w+) SEND\r\n", heard)
        assert transaction is not None
        self.assertEqual(header(heard, "To-Path"), bob.path)
        self.assertEqual(header(heard, "From-Path"), bob.server_path)
        self.assertEqual(header(heard, "Byte-Range"), "1-30/30")
        self.assertEqual(header(heard, "Content-Type"), "text/plain")
        self.assertTrue(
            heard.endswith(
                f"\r\n\r\nalice@home.com: Hi, I'm Alice!\r\n-------{transaction[1]}$\r\n"
            ),
            heard,
        )


class NoAckTests(OriginalTestCase):
    ack_timeout = 0.2

    @inlineCallbacks
    def test_no_ack_no_participant(self) -> Story:
        """«if no ACK arrives after 5 seconds the session is dropped»; here after less."""
        alice = self.person("alice")
        alice.request("INVITE", 101, OFFER)
        answer = yield alice.sip.next()
        participant = self.participant(alice)
        goodbye = yield alice.sip.next()
        self.assertIs(participant.state, State.DROPPED)
        self.assertTrue(goodbye.startswith(f"BYE sip:alice@127.0.0.1:{alice.sip.port} SIP/2.0\r\n"))
        for ours, theirs in (("From", "To"), ("To", "From")):
            uri, _, tag = header(answer, theirs).partition(";")
            self.assertEqual(header(goodbye, ours), f"<{uri}>;{tag}")
        self.assertEqual(header(goodbye, "Call-ID"), "2366721e-alice@home.com")
        self.assertEqual(header(goodbye, "Reason"), 'SIP;cause=408;text="No ACK within 0.2 s"')
        self.assertEqual(self.service.registry.rooms, {})
        alice.sip.send(f"""
            SIP/2.0 200 OK
            Via: {header(goodbye, "Via")}
            From: {header(goodbye, "From")}
            To: {header(goodbye, "To")}
            Call-ID: {header(goodbye, "Call-ID")}
            CSeq: {header(goodbye, "CSeq")}""")
