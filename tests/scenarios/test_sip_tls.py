"""Rooms by SIP over TLS: users, proxies, and the names that lead to them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.logger import formatEvent, globalLogPublisher
from twisted.names import dns

from msrpconf.client import JoinError
from msrpconf.protocols.sip.dns import NameServers
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.tls import Credentials, Tls
from tests.certificates import issue, write
from tests.dns_server import DnsServer
from tests.protocols.sip.peers import Element, TcpPeer
from tests.scenarios.embedded import EmbeddedServerTestCase, joined

Story = Generator[Deferred[Any], Any, None]


class SipTlsTestCase(EmbeddedServerTestCase):
    """A server for chat.example.com by the test's own authority, which listens for all."""

    transports = ("udp", "tcp", "tls")
    trusted = '["127.0.0.0/8"]'

    def setUp(self) -> Any:
        directory = Path(self.mktemp()).absolute()
        self.authority = issue("authority.example.com", authority=True)
        write(self.certificate("chat.example.com", "127.0.0.1"), directory)
        write(self.authority, directory, "ca")
        self.source = str(directory / "msrpconf.toml")
        self.sip_keys = f"trusted = {self.trusted}"
        self.server_keys = """
            [tls]
            certificate = "server.pem"
            private_key = "server.key"
            authorities = "ca.pem"
        """
        self.wires: list[TcpPeer] = []
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Story:
        yield super().end_everything()
        for wire in self.wires:
            wire.wire.loseConnection()
            yield wire.lost

    def observe(self, event: Any) -> None:
        line = formatEvent(event)
        if str(event.get("log_namespace")).startswith("msrpconf") and " factory <" not in line:
            self.lines.append(line)

    def logged(self, *texts: str) -> list[str]:
        """The lines that have all of these texts."""
        return [line for line in self.lines if all(text in line for text in texts)]

    def certificate(self, *names: str) -> Credentials:
        return issue(*names, issuer=self.authority)

    def tls(self, credentials: Credentials | None = None) -> Tls:
        return Tls(credentials, (self.authority.certificate,))

    @inlineCallbacks
    def connects(
        self, credentials: Credentials | None = None
    ) -> Generator[Deferred[Any], Any, TcpPeer]:
        """Somebody who speaks SIP by hand, over TLS."""
        port = self.ports["tls"]
        creator: IOpenSSLClientConnectionCreator = SipTls.of(self.tls(credentials)).client(
            Address("tls", "127.0.0.1", port)
        )
        endpoint = wrapClientTLS(creator, TCP4ClientEndpoint(reactor, "127.0.0.1", port))
        connected: Any = yield endpoint.connect(Factory.forProtocol(TcpPeer))
        wire: TcpPeer = connected
        self.wires.append(wire)
        return wire


def options(port: int, call_id: str, *headers: str, uri: str = "sip:lobby@127.0.0.1") -> bytes:
    """What rooms answer without anybody getting in."""
    lines = [
        f"OPTIONS {uri} SIP/2.0",
        f"Via: SIP/2.0/TLS 127.0.0.1:{port};branch=z9hG4bK{call_id}",
        "Max-Forwards: 70",
        "From: <sip:alice@example.com>;tag=a",
        "To: <sip:lobby@127.0.0.1>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        *headers,
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class UserStories(SipTlsTestCase):
    @inlineCallbacks
    def test_they_talk(self) -> Story:
        sent: list[str] = []

        def trace(kind: str, direction: str, peer: str, octets: bytes) -> None:
            if kind == "sip":
                sent.append(f"{direction} {peer.partition(':')[0]} {octets.decode()}")

        alice_agent = self.agent("alice", tls=self.tls(), trace=trace)
        bob, bob_hears = yield joined(self.agent("bob"), self.room())
        alice, alice_hears = yield joined(alice_agent, self.room(transport="tls"))
        yield alice.send("Hi")
        self.assertEqual((yield bob_hears.next()).text, "Hi")
        self.assertTrue(all(" tls " in each[:9] for each in sent), sent)
        answer = next(each for each in sent if "SIP/2.0 200" in each and "INVITE" in each)
        contact = f"Contact: <sip:lobby@127.0.0.1:{self.ports['tls']};transport=tls>"
        self.assertIn(contact, answer)
        # She has no certificate: what the room has to say comes by the connection that she made.
        yield bob.remove("sip:alice@example.com")
        self.assertIn("Removed by", (yield alice_hears.ended))
        yield bob.leave()
        self.assertEqual(self.service.registry.rooms, {})

    @inlineCallbacks
    def test_one_with_a_certificate_can_be_connected_to(self) -> Story:
        credentials = self.certificate("127.0.0.1", "alice.example.com")
        agent = self.agent("alice", tls=self.tls(credentials))
        chat, _ = yield joined(agent, self.room(transport="tls"))
        [listening] = agent.listening
        self.assertEqual(listening.transport, "tls")
        [participant] = self.service.registry.participants()
        target = f"sip:alice@{listening.sent_by};transport=tls"
        self.assertEqual(str(participant.dialog.remote_target), target)
        yield chat.leave()

    @inlineCallbacks
    def test_a_sips_room(self) -> Story:
        uri = f"sips:lobby@127.0.0.1:{self.ports['tls']}"
        alice_agent = self.agent("alice", tls=self.tls())
        bob, _ = yield joined(self.agent("bob"), self.room())
        alice, alice_hears = yield joined(alice_agent, uri)
        participant = self.service.registry.participants()[1]
        self.assertEqual(participant.dialog.remote_target.scheme, "sips")
        assert alice.dialog is not None
        self.assertEqual(str(alice.dialog.remote_target), uri)
        yield bob.send("One room, whatever it is called by")
        self.assertIn("One room", (yield alice_hears.next()).text)
        yield bob.remove("sip:alice@example.com")
        yield alice_hears.ended

    @inlineCallbacks
    def test_sips_without_tls_is_refused(self) -> Story:
        wire = yield self.connects()
        uri = "sips:lobby@127.0.0.1"
        wire.wire.write(options(9, "by-tls", uri=uri))
        answer: Response = yield wire.next()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.contacts[0].uri.scheme, "sips")
        agent = self.agent("alice")
        room = f"sips:lobby@127.0.0.1:{self.ports['tcp']}"
        error = yield self.assertFailure(agent.join(room), JoinError)
        # Nobody is asked for it without TLS, neither.
        self.assertIn("it closed the connection before TLS was there", error.reason)

    @inlineCallbacks
    def test_a_server_that_is_not_who_it_should_be(self) -> Story:
        for tls, why in (
            (Tls(None, (issue("other.example.com").certificate,)), "none of our authorities"),
            (self.tls(), "its certificate is for '127.0.0.1', 'chat.example.com', not for"),
        ):
            name = f"localhost:{self.ports['tls']}"
            room = f"sip:lobby@{name};transport=tls"
            error = yield self.assertFailure(self.agent("alice", tls=tls).join(room), JoinError)
            self.assertEqual(error.status, 503)
            self.assertIn(why, error.reason)


class ProxyTrustStories(SipTlsTestCase):
    """Who is believed: a proxy that proves its name, wherever it comes from."""

    trusted = '["tls:proxy.example.com"]'

    @inlineCallbacks
    def asks(self, wire: TcpPeer, call_id: str) -> Generator[Deferred[Any], Any, Response]:
        wire.wire.write(options(9, call_id, "P-Asserted-Identity: <sip:owner@example.com>"))
        answer: Response = yield wire.next()
        return answer

    @inlineCallbacks
    def test_who_is_believed(self) -> Story:
        for credentials, status in (
            (self.certificate("sip:proxy.example.com", "other.example.com"), 200),
            (self.certificate("proxy.example.com"), 200),
            (self.certificate("example.com"), 403),
            (self.certificate("*.example.com"), 403),
            (None, 403),
        ):
            wire = yield self.connects(credentials)
            answer = yield self.asks(wire, f"call-{len(self.wires)}")
            self.assertEqual(answer.status, status)
        self.assertEqual(len(self.logged("refused: OPTIONS", "for 'example.com', are not")), 1)
        self.assertEqual(len(self.logged("refused: OPTIONS", "from 127.0.0.1 are not")), 1)

    @inlineCallbacks
    def test_who_is_not_even_heard(self) -> Story:
        for credentials, why in (
            (issue("proxy.example.com"), "signed by itself"),
            (issue("proxy.example.com", issuer=issue("x", authority=True)), "signed by none"),
            (issue("proxy.example.com", issuer=self.authority, expired=True), "has expired"),
        ):
            wire = yield self.connects(credentials)
            wire.wire.write(options(9, "unheard"))
            yield wire.lost
            self.assertEqual(len(self.logged("no TLS for SIP from 127.0.0.1", why)), 1, self.lines)
        self.assertEqual(self.logged("refused: "), [])

    @inlineCallbacks
    def test_without_tls_it_is_nobody(self) -> Story:
        error = yield self.assertFailure(self.agent("alice").join(self.room()), JoinError)
        self.assertEqual((error.status, error.reason[:22]), (403, "Requests from 127.0.0."))


class NamedProxyStories(SipTlsTestCase):
    """The outbound proxy is a domain: its servers are in the DNS, and the first of them is down."""

    @inlineCallbacks
    def start_server(self) -> Generator[Deferred[Any], Any, None]:
        tls = SipTls.of(self.tls(self.certificate("sip:example.com")))
        self.proxy = Element(tls=tls)
        self.addCleanup(self.proxy.layer.stop)
        listening = yield self.proxy.layer.listen(Address.parse("tls:127.0.0.1:0"))
        with_nobody = yield self.proxy.layer.listen(Address.parse("tcp:127.0.0.1:0"))
        service = b"_sips._tcp.example.com"
        self.nameserver = DnsServer(
            {
                "example.com": [dns.Record_NAPTR(1, 1, b"s", b"SIPS+D2T", b"", service)],
                service.decode(): [
                    dns.Record_SRV(1, 0, with_nobody.port, b"proxy.example.com"),
                    dns.Record_SRV(2, 0, listening.port, b"proxy.example.com"),
                ],
                "proxy.example.com": [dns.Record_A("127.0.0.1")],
            }
        )
        self.addCleanup(self.nameserver.stop)
        host, port = self.nameserver.endpoint
        self.sip_keys = f'nameservers = ["{host}:{port}"]'
        self.focus_keys = 'outbound_proxy = "sip:example.com"'
        yield super().start_server()

    @inlineCallbacks
    def test_an_invitation(self) -> Story:
        chat, _ = yield joined(self.agent("alice"), self.room())
        inviting = chat.invite("sip:bob@elsewhere.example")
        request, flow = yield self.proxy.next()
        while not isinstance(request, Request) or request.method != "REFER":
            request, flow = yield self.proxy.next()
        self.assertEqual(flow.transport, "tls")
        self.assertEqual(str(request.uri), "sip:bob@elsewhere.example")
        self.assertIn("alias", dict(request.top_via.parameters))
        # It offers a certificate of its own, too.
        self.assertIn("chat.example.com", self.proxy.layer.identities(flow))
        self.proxy.layer.send_response(request.response(603, to_tag="b"), flow)
        yield self.assertFailure(inviting, Exception)

    @inlineCallbacks
    def test_a_client_finds_its_proxy_so(self) -> Story:
        nameservers = NameServers(reactor, [self.nameserver.endpoint])
        agent = self.agent("alice", tls=self.tls(), dns=nameservers, proxy="sips:example.com")
        joining = agent.join("sip:lobby@conf.example.com")
        request, flow = yield self.proxy.next()
        assert isinstance(request, Request)
        self.assertEqual((request.method, flow.transport), ("INVITE", "tls"))
        self.proxy.layer.send_response(request.response(486, to_tag="b"), flow)
        error = yield self.assertFailure(joining, JoinError)
        self.assertEqual(error.status, 486)
        yield self.proxy.next()  # the ACK
