"""TLS as far as it needs no network: two ends in memory (RFC 8122)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory
from msrpconf.protocols.tls import (
    Credentials,
    Tls,
    TlsError,
    TlsListeningFactory,
    peer_certificate,
    read_certificates,
    read_private_key,
    why_no_tls,
)
from tests.certificates import issue, key_pem
from tests.protocols.msrp.support import make_session, send, table


class End(Protocol):
    """One end: whether it has been told of a connection, and of its end."""

    lost: Failure | None = None
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Pipe(StringTransport):
    """A transport that has what is asked of TCP."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""


class Pair:
    """A client and a server of TLS, whose octets are passed by `turn`."""

    def __init__(self, server: Any, client: Any) -> None:
        clock = Clock()
        self.clock = clock
        self.ends: list[End] = [End(), End()]
        self._pipes = [Pipe(), Pipe()]
        creators = (server, False), (client, True)
        self._wires = []
        for end, pipe, (creator, is_client) in zip(self.ends, self._pipes, creators, strict=True):
            factory = TLSMemoryBIOFactory(creator, is_client, Factory(), clock)
            wire: Any = factory.protocol(factory, end)
            wire.makeConnection(pipe)
            self._wires.append(wire)
        self.turn()

    def turn(self) -> None:
        for _ in range(10):
            self.clock.advance(0)
            for mine, other in ((0, 1), (1, 0)):
                octets = self._pipes[mine].value()
                self._pipes[mine].clear()
                if octets and self.ends[other].lost is None:
                    self._wires[other].dataReceived(octets)
        for wire, pipe, end in zip(self._wires, self._pipes, self.ends, strict=True):
            if (pipe.disconnecting or pipe.disconnected) and end.lost is None:
                wire.connectionLost(Failure(connectionDone.value))

    @property
    def works(self) -> bool:
        server, client = self.ends
        for end in self.ends:
            if end.lost is None:
                assert end.transport is not None
                end.transport.write(b"x")
        self.turn()
        return (server.data, client.data) == (b"x", b"x")

    @property
    def why(self) -> list[str]:
        """Why each end was lost."""
        return ["" if end.lost is None else why_no_tls(end.lost.value) for end in self.ends]


def der(credentials: Credentials) -> bytes:
    return credentials.certificate.public_bytes(Encoding.DER)


class HandshakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ours, self.hers = issue("chat.example.com"), issue("alice.example.com")

    def pair(
        self,
        client: Tls,
        fingerprints: Sequence[Fingerprint] = (),
        host: str = "chat.example.com",
        server: Credentials | None = None,
    ) -> Pair:
        return Pair(Tls(server or self.ours).server(), client.client(host, fingerprints))

    def presented(self, pair: Pair) -> bytes | None:
        return peer_certificate(pair.ends[0].transport)

    def test_by_fingerprint(self) -> None:
        for name in ("sha-512", "sha-384", "sha-256", "sha-224", "sha-1"):
            pair = self.pair(Tls(self.hers), [Fingerprint.of(der(self.ours), name)], "192.0.2.1")
            self.assertTrue(pair.works, pair.why)
            self.assertEqual(self.presented(pair), der(self.hers))

    def test_nobody_need_have_a_certificate(self) -> None:
        pair = self.pair(Tls(), [Fingerprint.of(der(self.ours))])
        self.assertTrue(pair.works, pair.why)
        self.assertIsNone(self.presented(pair))

    def test_another_fingerprint(self) -> None:
        pair = self.pair(Tls(), [Fingerprint.of(der(self.hers))])
        self.assertFalse(pair.works)
        self.assertEqual(pair.why[1], "certificate verify failed")
        self.assertIn("alert", pair.why[0])

    def test_a_signed_certificate_of_another_fingerprint(self) -> None:
        """The fingerprint decides, though an authority vouches for the name."""
        authority = issue("authority.example.com")
        signed = issue("chat.example.com", issuer=authority)
        client = Tls(authorities=(authority.certificate,))
        self.assertTrue(self.pair(client, server=signed).works)
        pair = self.pair(client, [Fingerprint.of(der(self.ours))], server=signed)
        self.assertFalse(pair.works)

    def test_by_name_and_authority(self) -> None:
        authority, other = issue("authority.example.com"), issue("other.example.com")
        signed = issue("chat.example.com", "192.0.2.1", issuer=authority)
        client = Tls(authorities=(authority.certificate,))
        for host in ("chat.example.com", "192.0.2.1"):
            self.assertTrue(self.pair(client, host=host, server=signed).works)
        for host in ("example.com", "192.0.2.2"):
            pair = self.pair(client, host=host, server=signed)
            self.assertFalse(pair.works)
            self.assertEqual(pair.why[1], "its certificate is for another host")
        for untrusting in (Tls(authorities=(other.certificate,)), Tls()):
            pair = self.pair(untrusting, server=signed)
            self.assertFalse(pair.works)
            self.assertEqual(pair.why[1], "certificate verify failed")

    def test_an_intermediate_authority(self) -> None:
        root = issue("root.example.com")
        middle = issue("middle.example.com", issuer=root, authority=True)
        leaf = issue("chat.example.com", issuer=middle)
        server = Credentials(leaf.certificate, leaf.key, (middle.certificate,))
        self.assertTrue(self.pair(Tls(authorities=(root.certificate,)), server=server).works)

    def test_hosts_that_no_certificate_is_for(self) -> None:
        """Said before there is a connection."""
        for host in (
            "1",
            "a_b..c",
            "-",
            ".",
            "~",
            "%41",
            "x" * 300,
            "a" * 70 + ".example",
        ):
            error = self.assertRaises(TlsError, Tls().client, host)
            self.assertIn("no certificate can be for the host", str(error))
            # With a fingerprint, the name does not matter.
            pair = self.pair(Tls(), [Fingerprint.of(der(self.ours))], host)
            self.assertTrue(pair.works, host)

    def test_our_fingerprints(self) -> None:
        self.assertEqual(Tls().fingerprints, ())
        self.assertEqual(Tls(self.ours).fingerprints, (Fingerprint.of(der(self.ours)),))
        stronger = issue("chat.example.com", hash_function=SHA384())
        names = [each.hash_function for each in Tls(stronger).fingerprints]
        self.assertEqual(names, ["sha-256", "sha-384"])

    def test_why(self) -> None:
        self.assertEqual(why_no_tls(SSL.Error([])), "[]")
        self.assertEqual(why_no_tls(SSL.Error()), "Error")
        self.assertEqual(
            why_no_tls(SSL.SysCallError(-1, "Unexpected EOF")), "(-1, 'Unexpected EOF')"
        )
        self.assertEqual(
            why_no_tls(VerificationError(errors=[])), "its certificate is for another host"
        )


class ReadingTests(SynchronousTestCase):
    def test_a_key_of_another_certificate(self) -> None:
        one, other = issue("a.example.com"), issue("b.example.com")
        error = self.assertRaises(TlsError, Credentials, one.certificate, other.key)
        self.assertEqual(str(error), "is not the key of the certificate")

    def test_what_is_none(self) -> None:
        for octets in (b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"):
            self.assertRaises(TlsError, read_certificates, octets)
            self.assertRaises(TlsError, read_private_key, octets)

    def test_an_encrypted_key(self) -> None:
        pem = key_pem(issue("a.example.com"), b"secret")
        error = self.assertRaises(TlsError, read_private_key, pem)
        self.assertIn("encrypted", str(error))

    def test_a_key_that_signs_nothing(self) -> None:
        pem = x25519.X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        error = self.assertRaises(TlsError, read_private_key, pem)
        self.assertIn("not for signatures", str(error))


class ListeningTests(SynchronousTestCase):
    """What a peer at a port for TLS can make us hold."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session = make_session()
        self.msrp = MsrpFactory(table([self.session]), self.clock, max_connections=2)
        tls = Tls(issue("chat.example.com"))
        self.factory = TlsListeningFactory(tls, self.msrp, self.clock)

    def connect(self) -> tuple[Any, StringTransport]:
        wire: Any = self.factory.buildProtocol(None)
        transport = Pipe()
        wire.makeConnection(transport)
        return wire, transport

    def test_no_more_connections_than_without(self) -> None:
        self.connect()
        self.connect()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertEqual(len(self.msrp.connections), 2)

    def test_a_handshake_that_does_not_come(self) -> None:
        wire, transport = self.connect()
        with capturedLogs() as captured:
            self.clock.advance(30.1)
            self.assertTrue(transport.disconnected)
            wire.connectionLost(Failure(connectionDone.value))
        lines = [formatEvent(event) for event in captured]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("no session within 30 s", str(lines[0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_frames_without_tls_reach_no_session(self) -> None:
        wire, transport = self.connect()
        wire.dataReceived(send(b"Hi"))
        self.assertIsNone(self.session.connection)
        self.assertTrue(transport.disconnecting)
        (connection,) = self.msrp.connections
        assert isinstance(connection, MsrpConnection)
        self.assertFalse(connection.heard)
        wire.connectionLost(Failure(connectionDone.value))
