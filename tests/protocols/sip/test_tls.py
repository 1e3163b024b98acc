"""SIP over TLS on loopback: who may be at the other end, who not, and what the log says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from msrpconf.protocols.sip.connection import ConnectionLimits
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.tls import SipTls
from msrpconf.protocols.tls import Credentials, Tls
from msrpconf.protocols.tls_files import PemFiles
from tests.certificates import issue, write
from tests.protocols.sip.peers import Element, TcpPeer, TransportTestCase, octets, reactor
from tests.protocols.sip.test_transport import outgoing

SIP_DOMAIN = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20")


class SipTlsTestCase(TransportTestCase):
    """An authority, a server's certificate by it, and the log."""

    timeout = 30

    def setUp(self) -> None:
        self.authority = issue("authority.example.com", authority=True)
        self.own = self.issue("example.com", "127.0.0.1")
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: Any) -> None:
        line = formatEvent(event)
        if str(event.get("log_namespace")).startswith("msrpconf") and " factory <" not in line:
            self.lines.append(line)

    def issue(self, *names: str, **options: Any) -> Credentials:
        return issue(*names, issuer=self.authority, **options)

    def tls(self, credentials: Credentials | None = None, **options: Any) -> SipTls:
        return SipTls.of(Tls(credentials, (self.authority.certificate,)), **options)

    async def server(
        self, credentials: Credentials | None = None, **options: Any
    ) -> tuple[Element, Address]:
        """An element that listens for TLS."""
        tls = self.tls(credentials or self.own, **options)
        return await self.listening("tls:127.0.0.1:0", tls=tls)

    def client(self, credentials: Credentials | None = None) -> Element:
        return self.element(tls=self.tls(credentials))

    async def all_gone(self, *elements: Element) -> None:
        await self.until(lambda: not sum(each.layer.connections for each in elements))

    async def logged(self, *texts: str) -> None:
        """Wait for one line with all of these texts, and see that it is the only one."""

        def found() -> list[str]:
            return [line for line in self.lines if all(text in line for text in texts)]

        await self.until(lambda: bool(found()))
        self.assertEqual(len(found()), 1, self.lines)


def named(address: Address, domain: str = "example.com") -> Address:
    """An address that was found for a domain."""
    return Address(address.transport, address.host, address.port, domain)


@implementer(IOpenSSLClientConnectionCreator)
class OldClient:
    """Speaks TLS 1.1 at most."""

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        return SSL.Connection(context, None)


class ConnectingTests(SipTlsTestCase):
    """Section 7.3 of RFC 5922: the server is who was asked for, or nobody."""

    async def test_a_request_and_its_response(self) -> None:
        server, address = await self.server()
        client = self.client()
        flow = await client.layer.send_request(outgoing(), named(address))
        self.assertEqual((flow.transport, flow.reliable), ("tls", True))
        self.assertEqual(client.layer.identities(flow), {"example.com", "127.0.0.1"})
        request, came_by = await server.next_request()
        self.assertEqual(request.top_via.transport, "TLS")
        self.assertEqual(server.layer.identities(came_by), frozenset())
        server.layer.send_response(request.response(200), came_by)
        self.assertEqual((await client.next())[0].top_via.branch, "z9hG4bKone")
        # By its flow it is found, and not by its address, which nobody has vouched for.
        self.assertEqual(await server.layer.send_request(outgoing(), address, came_by), came_by)
        text = await self.assertTransportError(server.layer.send_request(outgoing(), came_by.peer))
        self.assertIn("refused", text)
        self.assertEqual(self.lines, [])

    async def test_the_version_is_1_2_or_later(self) -> None:
        _, address = await self.server()
        peer: Any = await wrapClientTLS(
            OldClient(), TCP4ClientEndpoint(reactor, address.host, address.port)
        ).connect(Factory.forProtocol(TcpPeer))
        await peer.lost
        await self.logged("no TLS for SIP from 127.0.0.1", "unsupported protocol")

    async def test_an_address_is_a_name_like_others(self) -> None:
        _, address = await self.server()
        await self.client().layer.send_request(outgoing(), address)

    async def test_over_ipv6(self) -> None:
        tls = self.tls(self.issue("::1"))
        server, address = await self.listening("tls:[::1]:0", tls=tls)
        flow = await self.client().layer.send_request(outgoing(), address)
        self.assertEqual(flow.remote, address.endpoint)
        request, came_by = await server.next_request()
        self.assertEqual(came_by.remote[0], "::1")
        self.assertEqual(request.top_via.transport, "TLS")

    async def test_for_sip_alone(self) -> None:
        # RFC 5924: a certificate need not be for web servers.
        _, address = await self.server(self.issue("example.com", usages=(SIP_DOMAIN,)))
        await self.client().layer.send_request(outgoing(), named(address))

    async def test_not_who_was_asked_for(self) -> None:
        foreign = issue("foreign.example.com", authority=True)
        for own, why in (
            (self.issue("example.net"), "its certificate is for 'example.net', not for"),
            (self.issue("*.com"), "its certificate is for '*.com', not for 'example.com'"),
            (self.issue("sip:alice@example.com"), "is for no SIP domain, not for"),
            (self.issue("example.com", expired=True), "its certificate has expired"),
            (issue("example.com", issuer=foreign), "signed by none of our authorities"),
            (issue("example.com"), "signed by itself"),
            (
                self.issue("example.com", usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
                "not for this side of a connection",
            ),
            # That it is for SIP makes up for nothing else.
            (issue("example.com", issuer=foreign, usages=(SIP_DOMAIN,)), "signed by none"),
            (issue("example.com", usages=(SIP_DOMAIN,)), "signed by itself"),
            (self.issue("example.com", usages=(SIP_DOMAIN,), expired=True), "has expired"),
            (self.issue("example.net", usages=(SIP_DOMAIN,)), "is for 'example.net', not for"),
        ):
            with self.subTest(why):
                self.lines.clear()
                server, address = await self.server(own)
                client = self.client()
                text = await self.assertTransportError(
                    client.layer.send_request(outgoing(), named(address))
                )
                self.assertIn(f"{address}: ", text)
                self.assertIn(why, text)
                await self.logged(f"no TLS for SIP to {address.sent_by}", why)
                await self.logged("no TLS for SIP from 127.0.0.1", "did not accept our certificate")
                await self.all_gone(client, server)

    async def test_a_port_without_tls(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        text = await self.assertTransportError(
            self.client().layer.send_request(outgoing(), Address("tls", "127.0.0.1", address.port))
        )
        self.assertIn("closed the connection before TLS", text)
        await self.logged("bad SIP message from tcp:127.0.0.1", "it speaks TLS")
        await self.until(lambda: element.layer.connections == 0)

    async def test_who_says_nothing(self) -> None:
        clock = Clock()
        silent = self.tcp_server()
        client = self.element(tls=self.tls(), clock=clock)
        target = Address("tls", *silent.address.endpoint)
        sending = client.layer.send_request(outgoing(), target)
        peer = await silent.next()
        await self.until(lambda: bool(peer.octets))
        clock.advance(10)
        self.assertIn("within 10 s", await self.assertTransportError(sending))
        await peer.lost

    async def test_not_configured(self) -> None:
        text = await self.assertTransportError(
            self.element().layer.send_request(outgoing(), Address("tls", "127.0.0.1", 5061))
        )
        self.assertIn("no TLS", text)
        text = await self.assertTransportError(
            self.client().layer.listen(Address.parse("tls:127.0.0.1:0"))
        )
        self.assertIn("no certificate", text)


class AcceptingTests(SipTlsTestCase):
    """Section 7.4: a client may have a certificate; then it is a good one."""

    async def test_a_good_certificate_says_who_it_is(self) -> None:
        for required in (False, True):
            server, address = await self.server(required=required)
            client = self.client(self.issue("sip:proxy.example.com", "other.example.com"))
            await client.layer.send_request(outgoing(), named(address))
            _, flow = await server.next_request()
            self.assertEqual(server.layer.identities(flow), {"proxy.example.com"})
        for usage in (ExtendedKeyUsageOID.CLIENT_AUTH, SIP_DOMAIN):
            client = self.client(self.issue("other.example.com", usages=(usage,)))
            await client.layer.send_request(outgoing(), named(address))
            _, flow = await server.next_request()
            self.assertEqual(server.layer.identities(flow), {"other.example.com"})
        self.assertEqual(server.layer.identities(Flow("tls", ("", 1), ("", 2), 3)), frozenset())

    async def test_a_bad_one_ends_the_connection(self) -> None:
        foreign = issue("foreign.example.com", authority=True)
        server, address = await self.server()
        for theirs, why in (
            (issue("proxy.example.com", issuer=foreign), "signed by none of our authorities"),
            (issue("proxy.example.com"), "signed by itself"),
            (self.issue("proxy.example.com", expired=True), "has expired"),
            (
                self.issue("proxy.example.com", usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
                "not for this side of a connection",
            ),
            (
                issue("proxy.example.com", issuer=foreign, usages=(SIP_DOMAIN,)),
                "signed by none of our authorities",
            ),
        ):
            with self.subTest(why):
                self.lines.clear()
                client = self.client(theirs)
                # By TLS 1.3 who connects is done before its certificate is looked at.
                await client.layer.connect(named(address))
                await self.logged("no TLS for SIP from 127.0.0.1", why)
                await self.logged(f"no TLS for SIP to {address.sent_by}", "did not accept our")
                await self.all_gone(client, server)

    async def test_none_where_one_is_required(self) -> None:
        server, address = await self.server(required=True)
        client = self.client()
        await client.layer.connect(named(address))
        await self.logged("no TLS for SIP from 127.0.0.1", "it presented no certificate")
        await self.all_gone(client, server)

    async def test_what_is_no_tls(self) -> None:
        server, address = await self.server()
        peer = await self.connected(Address("tcp", *address.endpoint))
        peer.wire.write(octets("TCP", "client.example"))
        await peer.lost
        await self.logged("no TLS for SIP from 127.0.0.1", "it does not speak TLS")
        self.assertEqual(server.layer.malformed, 0)

    async def test_who_does_not_begin(self) -> None:
        clock = Clock()
        limits = ConnectionLimits(message_timeout=30)
        server, address = await self.listening(
            "tls:127.0.0.1:0", tls=self.tls(self.own), clock=clock, limits=limits
        )
        peer = await self.connected(Address("tcp", *address.endpoint))
        await self.until(lambda: server.layer.connections == 1)
        clock.pump([5] * 7)
        await peer.lost
        await self.until(lambda: server.layer.connections == 0)

    async def test_what_is_not_tls_yet_counts(self) -> None:
        limits = ConnectionLimits(connections_per_host=1)
        server, address = await self.listening(
            "tls:127.0.0.1:0", tls=self.tls(self.own), limits=limits
        )
        await self.connected(Address("tcp", *address.endpoint))
        await self.until(lambda: server.layer.connections == 1)
        second = await self.connected(Address("tcp", *address.endpoint))
        await second.lost
        await self.logged("refused a SIP connection from 127.0.0.1", "1 of that host are open")

    async def test_new_certificates_count_without_a_restart(self) -> None:
        directory = Path(self.mktemp())
        files = write(self.issue("old.example.com"), directory)
        ca = write(self.authority, directory, "ca").certificate
        tls = SipTls.of_files(PemFiles(files.certificate, files.private_key, ca))
        _, address = await self.listening("tls:127.0.0.1:0", tls=tls)
        await self.client().layer.connect(named(address, "old.example.com"))
        write(self.issue("new.example.com"), directory)
        await self.client().layer.connect(named(address, "new.example.com"))
        await self.logged("the SIP endpoint's certificates were read again")
        # What cannot be used is said, and changes nothing.
        files.private_key.write_bytes(b"none")
        await self.client().layer.connect(named(address, "new.example.com"))
        await self.logged("the SIP endpoint's new certificates cannot be used", "server.key")


class ReuseTests(SipTlsTestCase):
    """RFC 5923: one connection for the requests of both sides."""

    async def listening_client(
        self, credentials: Credentials | None = None
    ) -> tuple[Element, Address]:
        tls = self.tls(credentials or self.issue("client.example.com"))
        return await self.listening("tls:127.0.0.1:0", tls=tls)

    async def test_ours(self) -> None:
        server, address = await self.server()
        client = self.client()
        first = await client.layer.send_request(outgoing(), named(address))
        second = await client.layer.send_request(outgoing(), named(address))
        self.assertEqual(first, second)
        # The same place under a name that it has proved to be, and under one that it has not.
        self.assertEqual(await client.layer.send_request(outgoing(), address), first)
        text = await self.assertTransportError(
            client.layer.send_request(outgoing(), named(address, "example.net"))
        )
        self.assertIn("not for 'example.net'", text)
        await server.next()

    async def test_the_peers(self) -> None:
        server, address = await self.server()
        client, own = await self.listening_client()
        flow = await client.layer.send_request(outgoing(), named(address))
        request, came_by = await server.next_request()
        self.assertIn("alias", dict(request.top_via.parameters))
        target = named(own, "client.example.com")
        self.assertEqual(await server.layer.send_request(outgoing("BYE"), target), came_by)
        bye, by = await client.next_request()
        self.assertEqual((bye.method, by), ("BYE", flow))
        # The one that answers does not say so itself: it did not make the connection.
        self.assertNotIn("alias", dict(bye.top_via.parameters))

    async def test_not_for_another_domain(self) -> None:
        server, address = await self.server()
        client, own = await self.listening_client()
        await client.layer.send_request(outgoing(), named(address))
        await server.next()
        text = await self.assertTransportError(
            server.layer.send_request(outgoing("BYE"), named(own, "bank.example.com"))
        )
        self.assertIn("not for 'bank.example.com'", text)

    async def test_not_for_who_has_no_certificate(self) -> None:
        # Whoever says that it listens at the port of a proxy does not get that one's requests.
        server, address = await self.server()
        proxy, own = await self.listening_client(self.issue("client.example.com"))
        forger = self.client()
        await forger.layer.connect(named(address))
        forged = outgoing()
        forged.headers.remove("Via")
        forged.headers.prepend("Via", f"SIP/2.0/TLS {own.sent_by};branch=z9hG4bKf;alias")
        connection = await forger.layer._pool.connect(named(address))
        connection.send(bytes(forged))
        _, came_by = await server.next_request()
        flow = await server.layer.send_request(outgoing("BYE"), named(own, "client.example.com"))
        self.assertNotEqual(flow, came_by)
        self.assertEqual((await proxy.next_request())[0].method, "BYE")

    async def test_only_if_offered(self) -> None:
        server, address = await self.server()
        certified = self.client(self.issue("client.example.com"))
        await certified.layer.send_request(outgoing(), named(address))
        request, came_by = await server.next_request()
        self.assertNotIn("alias", dict(request.top_via.parameters))
        target = named(Address("tls", "127.0.0.1", came_by.remote[1]), "client.example.com")
        await self.assertTransportError(server.layer.send_request(outgoing("BYE"), target))

    async def test_a_response_whose_connection_is_gone(self) -> None:
        # It goes to the host of sent-by, if that proves to be there.
        server, address = await self.server()
        client, own = await self.listening_client(self.issue("127.0.0.1"))
        flow = await client.layer.send_request(outgoing(), named(address))
        request, came_by = await server.next_request()
        connection = client.layer._pool.find(flow)
        assert connection is not None
        connection.abort()
        await self.until(lambda: not server.layer.is_alive(came_by))
        server.layer.send_response(request.response(200), came_by)
        response, by = await client.next()
        assert isinstance(response, Response)
        self.assertEqual(response.status, 200)
        self.assertEqual(by.local, own.endpoint)
        self.assertIsInstance(request, Request)
