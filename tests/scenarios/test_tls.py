"""MSRP over TLS, on the wire (RFC 4975 §14.4, RFC 8122): who may be at the other end, who not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from zope.interface import implementer

from msrpconf.client import JoinError
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.tls import Credentials, Tls
from tests.certificates import issue, write
from tests.scenarios.embedded import EmbeddedServerTestCase, joined
from tests.scenarios.person import Person, Story
from tests.scenarios.wire import (
    MsrpListening,
    SipWire,
    attribute,
    connect_msrp,
    header,
)


def fingerprint(credentials: Credentials, hash_function: str = "sha-256") -> str:
    der = credentials.certificate.public_bytes(Encoding.DER)
    return str(Fingerprint.of(der, hash_function))


class TlsTestCase(EmbeddedServerTestCase):
    """A server with a self-signed certificate, listening with and without TLS."""

    msrp_transports = ("tcp", "tls")
    more = "[conference]\nnotices = false"

    def setUp(self) -> Any:
        directory = Path(self.mktemp())
        self.own = issue("127.0.0.1")
        self.authority = issue("authority.example.com")
        write(self.own, directory)
        write(self.authority, directory, "ca")
        self.source = str(directory / "msrpconf.toml")
        self.server_keys = f"""{self.more}
            [tls]
            certificate = "server.pem"
            private_key = "server.key"
            authorities = "ca.pem"
        """
        self.people: list[Person] = []
        self.waiting: list[MsrpListening] = []
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return super().setUp()

    def observe(self, event: Any) -> None:
        line = formatEvent(event)
        if str(event.get("log_namespace")).startswith("msrpconf") and " factory <" not in line:
            self.lines.append(line)

    @inlineCallbacks
    def end_everything(self) -> Story:
        for person in self.people:
            for wire in person.wires:
                if not wire.closed.called:
                    yield wire.close()
            if any(each.dialog.call_id == f"{person.name}-call" for each in self.participants):
                person.request("BYE", 100)
                yield person.sip.next()
            yield person.sip.close()
        yield super().end_everything()
        for each in self.waiting:
            yield each.close()

    @property
    def participants(self) -> list[Any]:
        return self.service.registry.participants()

    def person(self, name: str, **options: Any) -> Person:
        person = Person(name, SipWire(("127.0.0.1", self.ports["udp"])), **options)
        self.people.append(person)
        return person

    def waits(self, credentials: Credentials | None) -> MsrpListening:
        """Somebody's end that is waiting for a connection, with TLS if there is a certificate."""
        tls = None if credentials is None else Tls(credentials).server()
        listening = MsrpListening(tls=tls)
        self.waiting.append(listening)
        return listening

    def client(self, credentials: Credentials | None = None) -> Any:
        """What makes a client's connections, which knows the server's fingerprint."""
        return Tls(credentials).client("127.0.0.1", self.server_fingerprints)

    @property
    def server_fingerprints(self) -> tuple[Fingerprint, ...]:
        return (Fingerprint.parse(fingerprint(self.own)),)

    def logged(self, *texts: str) -> list[str]:
        """The lines that have all of these texts."""
        return [line for line in self.lines if all(text in line for text in texts)]

    def assertLoggedOnce(self, *texts: str) -> None:
        self.assertEqual(len(self.logged(*texts)), 1, self.lines)


class AcceptedTests(TlsTestCase):
    """The client connects."""

    @inlineCallbacks
    def test_the_answer(self) -> Story:
        alice = self.person("alice")
        answer = yield alice.join()
        port = self.msrp_ports["tls"]
        self.assertIn(f"\r\nm=message {port} TCP/TLS/MSRP *\r\n", answer)
        self.assertRegex(alice.server_path, rf"^msrps://127\.0\.0\.1:{port}/\w+;tcp$")
        self.assertEqual(attribute(answer, "fingerprint"), fingerprint(self.own))
        self.assertEqual(attribute(answer, "setup"), "passive")
        self.assertIn("\r\na=msrp-cema\r\n", answer)
        self.assertEqual((yield alice.connect(self.client())), "MSRP bindalice 200 OK")

    @inlineCallbacks
    def test_tls_and_plain_in_one_room(self) -> Story:
        agent = self.agent("alice", tls=Tls(issue("alice.example.com")))
        alice, alice_hears = yield joined(agent, self.room(), tls=True)
        bob, bob_hears = yield joined(self.agent("bob"), self.room())
        _, hears = yield joined(self.agent("carol"), self.room(), tls=True)
        self.assertEqual(
            [each.session.connection.secure for each in self.participants], [True, False, True]
        )
        yield alice.send("from TLS")
        message = yield bob_hears.next()
        self.assertEqual(message.text, "from TLS")
        message = yield hears.next()
        self.assertEqual(message.text, "from TLS")
        yield bob.send("x" * 500_000)
        message = yield alice_hears.next()
        self.assertEqual(message.text, "x" * 500_000)

    @inlineCallbacks
    def test_a_line_with_tls_is_preferred(self) -> Story:
        alice = self.person("alice")
        plain = """
    m=message 9 TCP/MSRP *
    a=accept-types:message/cpim
    a=path:msrp://127.0.0.1:9/plain;tcp"""
        head, m, line = alice.offer.partition("\n    m=")
        alice.request("INVITE", 1, head + plain + m + line)
        answer = yield alice.sip.next()
        alice.to_tag = header(answer, "To").partition(";tag=")[2]
        alice.request("ACK", 1)
        self.assertIn("m=message 0 TCP/MSRP *\r\n", answer)
        self.assertIn(f"m=message {self.msrp_ports['tls']} TCP/TLS/MSRP *\r\n", answer)

    @inlineCallbacks
    def test_the_certificate_of_the_description(self) -> Story:
        mine = issue("alice.example.com")
        for name, hash_function in (("alice", "sha-256"), ("bob", "sha-512"), ("carol", "sha-1")):
            person = self.person(name, fingerprints=(fingerprint(mine, hash_function),))
            yield person.join()
            answer = yield person.connect(self.client(mine))
            self.assertEqual(answer, f"MSRP bind{name} 200 OK")

    @inlineCallbacks
    def test_no_certificate_is_none_that_is_wrong(self) -> Story:
        alice = self.person("alice", fingerprints=(fingerprint(issue("alice.example.com")),))
        yield alice.join()
        self.assertEqual((yield alice.connect(self.client())), "MSRP bindalice 200 OK")

    @inlineCallbacks
    def test_another_certificate_ends_the_session(self) -> Story:
        alice = self.person("alice", fingerprints=(fingerprint(issue("alice.example.com")),))
        yield alice.join()
        why = "The TLS certificate of the MSRP connection does not match a=fingerprint"
        answer = yield alice.connect(self.client(issue("alice.example.com")))
        self.assertEqual(answer, f"MSRP bindalice 403 {why}")
        self.assertEqual((yield alice.is_sent_out()), f'SIP;cause=488;text="{why}"')
        self.assertEqual(self.participants, [])
        self.assertLoggedOnce("refused: MSRP SEND of", "403", why, "session ")
        self.assertLoggedOnce("dropped: ", why, "alice-call")

    @inlineCallbacks
    def test_the_strongest_hash_counts(self) -> Story:
        """RFC 8122 §5.1: a right SHA-1 beside a wrong SHA-256 is not enough."""
        mine, other = issue("alice.example.com"), issue("alice.example.com")
        alice = self.person("alice", fingerprints=(fingerprint(mine, "sha-1"), fingerprint(other)))
        yield alice.join()
        answer = yield alice.connect(self.client(mine))
        self.assertTrue(answer.startswith("MSRP bindalice 403 "), answer)
        yield alice.is_sent_out()

    @inlineCallbacks
    def test_a_fingerprint_that_proves_nothing(self) -> Story:
        alice = self.person("alice", fingerprints=("md5 " + ":".join(["AB"] * 16),))
        answer = yield alice.join()
        self.assertTrue(answer.startswith("SIP/2.0 488 a=fingerprint needs one of sha-512"), answer)
        self.assertIn("RFC 8122", header(answer, "Warning"))

    @inlineCallbacks
    def test_the_wrong_port(self) -> Story:
        """A session with TLS is for no connection without, nor the other way."""
        alice = self.person("alice")
        yield alice.join()
        answer = yield alice.connect(port=self.msrp_ports["tcp"])
        self.assertEqual(
            answer,
            "MSRP bindalice 403 this session is for the port of the msrps URI: connect as its URI "
            "says",
        )
        bob = self.person("bob", secure=False)
        yield bob.join()
        self.assertEqual(bob.server_port, self.msrp_ports["tcp"])
        answer = yield bob.connect(self.client(), self.msrp_ports["tls"])
        self.assertEqual(
            answer,
            "MSRP bindbob 403 this session is for the port without TLS: connect as its URI says",
        )
        self.assertLoggedOnce("refused: MSRP SEND of sip:bob@example.com", "403")
        # And each may still come by the right one.
        self.assertEqual((yield alice.connect(self.client())), "MSRP bindalice 200 OK")
        self.assertEqual((yield bob.connect()), "MSRP bindbob 200 OK")

    @inlineCallbacks
    def test_the_client_sees_another_server(self) -> Story:
        """The client, that is ours, does not talk to who has not the answer's certificate."""
        tls = self.service.server._tls
        assert tls is not None
        self.service.server.control.settings = self.service.server.control.settings.__class__(
            msrp_port=None,
            msrps_port=self.msrp_ports["tls"],
            fingerprints=(Fingerprint.parse(fingerprint(issue("x.example.com"))),),
        )
        agent = self.agent("alice")
        error = yield self.assertFailure(agent.join(self.room(), tls=True), JoinError)
        self.assertIn("no TLS: its certificate does not match a=fingerprint", error.reason)
        while not self.logged("no TLS: "):
            yield deferLater(reactor, 0.01)
        self.assertLoggedOnce("closing MSRP connection of 127.0.0.1:", "no TLS: ", "alert")


class ConnectingTests(TlsTestCase):
    """The client waits, and the server connects."""

    msrp_timeout = 5.0

    def waiting_person(self, presents: Credentials | None, *fingerprints: str) -> Any:
        listening = self.waits(presents)
        person = self.person(
            "alice", setup="passive", port=listening.port, fingerprints=fingerprints
        )
        return person, listening

    @inlineCallbacks
    def test_the_right_fingerprint(self) -> Story:
        mine = issue("alice.example.com")
        alice, listening = self.waiting_person(mine, fingerprint(mine, "sha-384"))
        answer = yield alice.join()
        self.assertEqual(attribute(answer, "setup"), "active")
        wire = yield listening.connected
        bind = yield wire.next()
        self.assertRegex(bind, rf"^MSRP \w+ SEND\r\nTo-Path: {alice.path}\r\n")
        self.assertIn(f"\r\nFrom-Path: {alice.server_path}\r\n", bind)
        # And who connects presents the certificate of the answer (RFC 8122 §6.2).
        presented = wire.transport.getPeerCertificate().to_cryptography()
        self.assertEqual(presented, self.own.certificate)

    @inlineCallbacks
    def assertRefused(self, alice: Person, listening: MsrpListening, why: str) -> Story:
        yield alice.join()
        reason = yield alice.is_sent_out()
        text = f"MSRP to tls:127.0.0.1:{alice.port}: no TLS: {why}"
        self.assertEqual(reason, f'SIP;cause=488;text="{text}"')
        self.assertEqual(self.participants, [])
        self.assertLoggedOnce("no MSRP connection to tls:127.0.0.1", "sip:alice@example.com", why)
        self.assertLoggedOnce("dropped: ", why, "alice-call")
        for wire in listening.wires:
            yield wire.closed

    @inlineCallbacks
    def test_the_wrong_fingerprint(self) -> Story:
        other = issue("alice.example.com")
        alice, listening = self.waiting_person(issue("alice.example.com"), fingerprint(other))
        yield self.assertRefused(alice, listening, "its certificate does not match a=fingerprint")
        # It is told why, too.
        self.assertIn("alert", listening.wires[0].why_closed)

    @inlineCallbacks
    def test_without_fingerprint_an_authority_must_have_signed(self) -> Story:
        alice, listening = self.waiting_person(issue("127.0.0.1"))
        yield self.assertRefused(
            alice, listening, "its certificate is not signed by an authority that is trusted here"
        )

    @inlineCallbacks
    def test_without_fingerprint_the_name_must_be_right(self) -> Story:
        alice, listening = self.waiting_person(issue("127.0.0.2", issuer=self.authority))
        yield self.assertRefused(alice, listening, "its certificate is for another host")

    @inlineCallbacks
    def test_without_fingerprint_a_signed_certificate(self) -> Story:
        alice, listening = self.waiting_person(issue("127.0.0.1", issuer=self.authority))
        yield alice.join()
        wire = yield listening.connected
        bind = yield wire.next()
        self.assertIn(f"\r\nTo-Path: {alice.path}\r\n", bind)

    @inlineCallbacks
    def test_a_name_is_asked_for(self) -> Story:
        """Server Name Indication: the host of the path, where that is a name."""
        mine = issue("localhost")
        names: list[bytes | None] = []
        options: Any = Tls(mine).server()
        options.options.getContext().set_tlsext_servername_callback(
            lambda connection: names.append(connection.get_servername())
        )
        listening = MsrpListening(tls=options)
        self.waiting.append(listening)
        alice = self.person(
            "alice",
            setup="passive",
            host="localhost",
            port=listening.port,
            fingerprints=(fingerprint(mine),),
        )
        yield alice.join()
        wire = yield listening.connected
        yield wire.next()
        self.assertEqual(names, [b"localhost"])

    @inlineCallbacks
    def test_a_peer_without_tls(self) -> Story:
        alice, listening = self.waiting_person(None)
        joining = alice.join()
        wire = yield listening.connected
        wire.transport.write(b"MSRP 1234 SEND\r\n")
        yield joining
        reason = yield alice.is_sent_out()
        self.assertIn("no TLS: wrong version number", reason)
        self.assertLoggedOnce("no MSRP connection to tls:", "wrong version number")


class WrongOctetsTests(TlsTestCase):
    """Who speaks something else at a port is shown out, and nobody else notices."""

    def setUp(self) -> Any:
        return super().setUp().addCallback(lambda _: self.two_join())

    @inlineCallbacks
    def two_join(self) -> Story:
        self.alice, _ = yield joined(self.agent("alice"), self.room(), tls=True)
        self.bob, self.bob_hears = yield joined(self.agent("bob"), self.room())
        self.lines.clear()

    @inlineCallbacks
    def assertUnhurt(self) -> Story:
        yield self.alice.send("still here")
        message = yield self.bob_hears.next()
        self.assertEqual(message.text, "still here")

    @inlineCallbacks
    def test_plain_at_the_port_for_tls(self) -> Story:
        for octets in (b"MSRP 1234 SEND\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
            self.lines.clear()
            wire = yield connect_msrp("127.0.0.1", self.msrp_ports["tls"])
            wire.transport.write(octets)
            yield wire.closed
            self.assertEqual(len(self.lines), 1, self.lines)
            self.assertLoggedOnce("closing MSRP connection of 127.0.0.1:", "no TLS: ")
        yield self.assertUnhurt()

    @inlineCallbacks
    def test_gone_before_tls(self) -> Story:
        wire = yield connect_msrp("127.0.0.1", self.msrp_ports["tls"])
        wire.transport.write(b"\x16\x03\x01")
        yield wire.close()
        yield self.assertUnhurt()
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertLoggedOnce("closing MSRP connection of 127.0.0.1:", "no TLS: ")

    @inlineCallbacks
    def test_tls_at_the_plain_port(self) -> Story:
        wire = yield connect_msrp("127.0.0.1", self.msrp_ports["tcp"], self.client())
        yield wire.closed
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertLoggedOnce("closing MSRP connection of 127.0.0.1:", "this is TLS")
        yield self.assertUnhurt()

    @inlineCallbacks
    def test_old_tls(self) -> Story:
        wire = yield connect_msrp("127.0.0.1", self.msrp_ports["tls"], OldTls())
        yield wire.closed
        self.assertLoggedOnce("closing MSRP connection of 127.0.0.1:", "unsupported protocol")
        yield self.assertUnhurt()


@implementer(IOpenSSLClientConnectionCreator)
class OldTls:
    """Makes connections of TLS 1.1, as far as OpenSSL still can."""

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        return SSL.Connection(context, None)


class TlsOnlyTests(TlsTestCase):
    more = "[conference]\ntls_only = true\nnotices = false"

    @inlineCallbacks
    def test_a_room_for_tls_alone(self) -> Story:
        bob = self.person("bob", secure=False)
        answer = yield bob.join()
        why = "TCP/MSRP is not served in this room: offer TCP/TLS/MSRP"
        self.assertTrue(answer.startswith(f"SIP/2.0 488 {why}\r\n"), answer)
        self.assertEqual(header(answer, "Warning"), f'399 local "{why}"')
        self.assertLoggedOnce("refused: INVITE of sip:bob@example.com", why, "bob-call")
        yield joined(self.agent("alice"), self.room(), tls=True)

    @inlineCallbacks
    def test_an_invite_without_an_offer(self) -> Story:
        alice = self.person("alice")
        alice.request("INVITE", 1)
        answer = yield alice.sip.next()
        alice.to_tag = header(answer, "To").partition(";tag=")[2]
        self.assertIn(f"m=message {self.msrp_ports['tls']} TCP/TLS/MSRP *\r\n", answer)
        self.assertEqual(attribute(answer, "fingerprint"), fingerprint(self.own))
        alice.server_path = attribute(answer, "path")
        alice.request("ACK", 1, alice.offer)
        self.assertEqual((yield alice.connect(self.client())), "MSRP bindalice 200 OK")


class SharedConnectionTests(TlsTestCase):
    """Several sessions on one connection, as relays and gateways have them (RFC 4975 §5.4)."""

    @inlineCallbacks
    def share(self, secure: bool) -> Story:
        tls = self.client() if secure else None
        alice, bob = (self.person(name, secure=secure) for name in ("alice", "bob"))
        yield alice.join()
        yield bob.join()
        self.assertEqual((yield alice.connect(tls)), "MSRP bindalice 200 OK")
        (wire,) = alice.wires
        bob.say(wire)
        bound = yield wire.next()
        self.assertTrue(bound.startswith("MSRP bindbob 200 OK"), bound)
        connections = {each.session.connection for each in self.participants}
        self.assertEqual(len(connections), 1)

        carol, carol_hears = yield joined(self.agent("carol"), self.room())
        yield carol.send("to you both")
        copies = []
        for _ in range(2):
            copies.append((yield wire.next()))
        self.assertEqual({header(each, "To-Path") for each in copies}, {alice.path, bob.path})
        self.assertEqual(len({each.split(" ")[1] for each in copies}), 2, "one name for two")

        bob.say(wire, "Hi", "one")
        heard = [(yield wire.next()), (yield wire.next())]
        self.assertTrue(any(each.startswith("MSRP onebob 200 OK") for each in heard), heard)
        copy = next(each for each in heard if " SEND\r\n" in each)
        self.assertEqual(header(copy, "To-Path"), alice.path)
        message = yield carol_hears.next()
        self.assertEqual(message.text, "Hi")

        # One leaves, and the other stays.
        bob.request("BYE", 2)
        yield bob.sip.next()
        yield carol.send("to you alone")
        copy = yield wire.next()
        self.assertEqual(header(copy, "To-Path"), alice.path)
        bob.say(wire, "", "two")
        answer = yield wire.next()
        self.assertTrue(answer.startswith("MSRP twobob 481 "), answer)

    def test_over_tls(self) -> Any:
        return self.share(True)

    def test_over_tcp(self) -> Any:
        return self.share(False)
