"""What is agreed on TLS, and what a new agreement does to a connection (RFC 8122, RFC 6714)."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from msrpconf.conference.static import StaticRoom, StaticRooms
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.sip.headers import Warning_
from msrpconf.protocols.tls import Credentials
from tests.certificates import issue
from tests.conference.support import CPIM_TYPES, ROOM, Client, ControlTestCase, msrp_lines, sdp

HER_CERTIFICATE, ANOTHER = issue("alice.example.com"), issue("alice.example.com")

OURS = Fingerprint.of(b"our certificate")
HERS, OTHER = (
    Fingerprint.of(each.certificate.public_bytes(Encoding.DER))
    for each in (HER_CERTIFICATE, ANOTHER)
)

NOT_THE_PEER = "The TLS certificate of the MSRP connection does not match a=fingerprint"


def fingerprint(value: Fingerprint) -> str:
    return f"fingerprint:{value}"


class SecureCase(ControlTestCase):
    """A server with and without TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.configure(msrps_port=8889, fingerprints=(OURS,))

    def secure_offer(self, *attributes: str, name: str = "alice") -> bytes:
        path = f"msrps://{name}.example.com:7654/{name}session;tcp"
        lines = msrp_lines(*attributes, types=CPIM_TYPES, path=path, protocol="TCP/TLS/MSRP")
        return sdp(*lines, name=name)

    def secure(self, name: str, *attributes: str) -> Client:
        """Somebody whose INVITE offered TLS, and who has sent the ACK."""
        client = self.client(name)
        answer = client.invite(self.secure_offer(*attributes, name=name))
        self.assertEqual(answer.status, 200, answer.reason)
        client.send("ACK")
        return client

    def connect(self, client: Client, presents: Credentials | None = None) -> None:
        """Connect with TLS, and send the SEND that binds the session."""
        peer = client.connect_as(secure=True, presents=presents)
        client.say(b"", content_type=None)
        self.peer = peer


class OfferTests(SecureCase):
    def test_the_answer(self) -> None:
        alice = self.secure("alice")
        self.assertEqual((alice.line.protocol, alice.line.port), ("TCP/TLS/MSRP", 8889))
        path = alice.line.attribute("path") or ""
        self.assertRegex(path, r"^msrps://msrp\.example\.com:8889/[0-9a-f]{30};tcp$")
        self.assertEqual(alice.line.attribute("fingerprint"), str(OURS))
        self.assertTrue(alice.session.secure)

    def test_plain_has_no_fingerprint(self) -> None:
        alice = self.client("alice")
        alice.invite()
        self.assertIsNone(alice.line.attribute("fingerprint"))
        self.assertFalse(alice.session.secure)

    def test_tls_goes_before_plain(self) -> None:
        alice = self.client("alice")
        tls = "msrps://alice.example.com:7655/tls;tcp"
        alice.invite(
            sdp(
                *msrp_lines(path=alice.path),
                *msrp_lines(protocol="TCP/TLS/MSRP", path=tls),
            )
        )
        self.assertEqual([each.port for each in alice.described.media], [0, 8889])

    def test_without_tls_here(self) -> None:
        self.configure(msrps_port=None)
        answer = self.client("alice").invite(self.secure_offer())
        self.assertEqual(answer.status, 488)
        self.assertEqual(answer.reason, "TCP/TLS/MSRP is not served here: offer TCP/MSRP")

    def test_without_plain_tcp_here(self) -> None:
        self.configure(msrp_port=None)
        answer = self.client("alice").invite()
        self.assertEqual(answer.reason, "TCP/MSRP is not served in this room: offer TCP/TLS/MSRP")
        self.secure("bob")
        carol = self.client("carol")
        carol.invite(b"")
        self.assertEqual(carol.line.protocol, "TCP/TLS/MSRP")

    def test_a_room_for_tls_alone(self) -> None:
        self.configure(tls_only=True)
        answer = self.client("alice").invite()
        why = "TCP/MSRP is not served in this room: offer TCP/TLS/MSRP"
        self.assertEqual((answer.status, answer.reason), (488, why))
        self.assertEqual(
            Warning_.parse(answer.headers.get("Warning") or ""), Warning_(399, "s1", why)
        )
        self.assertNobodyIsLeft()
        self.secure("bob")
        options = self.client("carol").send("OPTIONS")
        self.assertIn(b"m=message 8889 TCP/TLS/MSRP *\r\n", options.body)
        self.configure(msrps_port=None)
        self.assertEqual(
            self.client("dave").invite().reason,
            "This room takes MSRP over TLS alone, and its server has no TLS",
        )

    def test_a_live_room_that_becomes_one_for_tls_alone(self) -> None:
        static = StaticRooms(self.control)
        static.put(StaticRoom(ROOM))
        alice, bob = self.joined("alice"), self.secure("bob")
        static.put(StaticRoom(ROOM, settings={"tls_only": True}))
        self.assertEqual(list(self.room.participants), [bob.participant])
        self.assertEqual(
            self.bye().headers.get("Reason"),
            'SIP;cause=488;text="The room takes MSRP over TLS alone now: offer TCP/TLS/MSRP"',
        )
        self.assertTrue(alice.connected.transport.disconnecting)
        self.assertEqual(self.client("alice", "2").invite().status, 488)

    def test_a_path_that_is_none_for_tls(self) -> None:
        answer = self.client("alice").invite(self.secure_offer().replace(b"msrps:", b"msrp:"))
        self.assertEqual(answer.status, 488)
        self.assertIn("must have an msrps URI in a=path", answer.reason)

    def test_fingerprints_of_the_session_hold_for_the_line(self) -> None:
        """RFC 8122 §5."""
        offer = self.secure_offer().replace(
            b"t=0 0\r\n", f"t=0 0\r\na={fingerprint(HERS)}\r\n".encode()
        )
        alice = self.client("alice")
        alice.invite(offer)
        agreement = alice.participant.agreement
        assert agreement is not None
        self.assertEqual(agreement.fingerprints, (HERS,))


class OfferlessTests(SecureCase):
    def test_plain_unless_the_room_is_for_tls(self) -> None:
        alice = self.client("alice")
        alice.invite(b"")
        self.assertEqual(alice.line.protocol, "TCP/MSRP")

    def test_an_answer_of_another_protocol(self) -> None:
        alice = self.client("alice")
        alice.invite(b"")
        alice.send("ACK", self.secure_offer())
        self.assertIn("TCP/MSRP was offered", self.bye().headers.get("Reason") or "")
        self.assertNobodyIsLeft()

    def test_a_wrong_certificate_from_before_the_answer(self) -> None:
        """RFC 8122 §6.2: what came before the fingerprint is verified when it is there."""
        self.configure(msrp_port=None)
        alice = self.client("alice")
        alice.invite(b"")
        self.connect(alice, ANOTHER)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])
        alice.send("ACK", self.secure_offer("setup:active", fingerprint(HERS)))
        self.assertIsNone(alice.session.connection)
        self.assertTrue(self.peer.transport.disconnecting)
        self.assertIn(NOT_THE_PEER, "".join(self.logged))
        self.connect(alice, HER_CERTIFICATE)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])


class CertificateTests(SecureCase):
    def test_the_right_one_or_none(self) -> None:
        for number, presents in enumerate((HER_CERTIFICATE, None)):
            alice = self.secure(f"alice{number}", fingerprint(HERS))
            self.connect(alice, presents)
            self.assertEqual(self.peer.hears_text(), ["200 OK"])

    def test_any_where_none_was_named(self) -> None:
        self.connect(self.secure("alice"), ANOTHER)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])

    def test_the_wrong_one(self) -> None:
        alice = self.secure("alice", fingerprint(HERS))
        self.connect(alice, ANOTHER)
        self.assertEqual(self.peer.hears_text(), [f"403 {NOT_THE_PEER}"])
        self.assertEqual(self.bye().headers.get("Reason"), f'SIP;cause=488;text="{NOT_THE_PEER}"')
        self.assertNobodyIsLeft()

    def test_that_of_a_relay_is_not_the_clients(self) -> None:
        relayed = self.secure_offer(fingerprint(HERS)).replace(
            b"a=path:", b"a=path:msrps://relay.example.com:2855/r;tcp "
        )
        alice = self.client("alice")
        alice.invite(relayed)
        alice.send("ACK")
        self.connect(alice, ANOTHER)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])


class RenegotiationTests(SecureCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.secure("alice", fingerprint(HERS))
        self.connect(self.alice, HER_CERTIFICATE)
        self.peer.hears()

    def offers(self, *attributes: str) -> None:
        self.alice.invite(self.secure_offer(*attributes))
        self.alice.send("ACK")

    def test_the_same_again(self) -> None:
        self.offers(fingerprint(HERS))
        self.assertIsNotNone(self.alice.session.connection)

    def test_another_certificate(self) -> None:
        self.offers(fingerprint(OTHER))
        self.assertIsNone(self.alice.session.connection)
        self.connect(self.alice, ANOTHER)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])

    def test_from_tls_to_plain_and_back(self) -> None:
        own = self.alice.session.local_path.split(b"/")[3]
        self.alice.invite()
        self.assertEqual((self.alice.line.protocol, self.alice.line.port), ("TCP/MSRP", 8888))
        self.alice.send("ACK")
        self.assertEqual(self.alice.session.local_path, b"msrp://msrp.example.com:8888/" + own)
        self.assertIsNone(self.alice.session.connection)
        self.alice.connect()
        self.offers()
        self.assertIsNone(self.alice.session.connection)
        self.assertEqual(self.alice.session.local_path, b"msrps://msrp.example.com:8889/" + own)
        self.connect(self.alice)
        self.assertEqual(self.peer.hears_text(), ["200 OK"])


class DestinationTests(SecureCase):
    """Where a client that waits is connected to, and who must be there."""

    def destination(self, body: bytes) -> Destination:
        alice = self.client("alice")
        answer = alice.invite(body)
        self.assertEqual(answer.status, 200, answer.reason)
        alice.send("ACK")
        ((_, destination),) = self.connects
        self.connects.clear()
        alice.send("BYE")
        return destination

    def test_by_the_path(self) -> None:
        """Also where `c=` says something else: RFC 6714 is not known to this client."""
        offer = self.secure_offer("setup:passive", fingerprint(HERS))
        expected = Destination("alice.example.com", 7654, True, "alice.example.com", (HERS,))
        self.assertEqual(self.destination(offer), expected)
        moved = offer.replace(b"c=IN IP4 alice.example.com", b"c=IN IP4 192.0.2.9")
        self.assertEqual(self.destination(moved), expected)

    def test_by_connection_information(self) -> None:
        offer = self.secure_offer("setup:passive", "msrp-cema", fingerprint(HERS))
        middlebox = offer.replace(b"c=IN IP4 alice.example.com", b"c=IN IP4 192.0.2.9").replace(
            b"m=message 7654", b"m=message 31000"
        )
        self.assertEqual(
            self.destination(middlebox),
            Destination("192.0.2.9", 31000, True, "alice.example.com", (HERS,)),
        )

    def test_connection_information_that_leads_nowhere(self) -> None:
        for address in (b"IP4 0.0.0.0", b"IP6 ::", b"IP4 not/a/host"):
            offer = sdp(*msrp_lines("setup:passive", "msrp-cema"))
            offer = offer.replace(b"IP4 alice.example.com\r\nt=", address + b"\r\nt=")
            destination = self.destination(offer)
            self.assertEqual((destination.host, destination.port), ("alice.example.com", 7654))

    def test_ipv6(self) -> None:
        offer = sdp(*msrp_lines("setup:passive", path="msrp://[2001:db8::1]:7654/x;tcp"))
        destination = self.destination(offer)
        self.assertEqual(destination.host, "2001:db8::1")
        self.assertEqual(str(destination), "tcp:[2001:db8::1]:7654")

    def test_a_relay_is_verified_by_its_name(self) -> None:
        offer = self.secure_offer("setup:passive", fingerprint(HERS)).replace(
            b"a=path:", b"a=path:msrps://relay.example.com/r;tcp "
        )
        self.assertEqual(
            self.destination(offer),
            Destination("relay.example.com", 2855, True, "relay.example.com"),
        )

    def test_we_know_rfc_6714(self) -> None:
        """§4.3: said in every answer, but to one who uses a relay and connects by it."""
        relay = b"a=path:msrp://relay.example.com:2855/r;tcp "
        for attributes, relayed, said in (
            (("setup:active",), False, True),
            (("msrp-cema",), False, True),
            (("setup:active", "msrp-cema"), True, False),
            (("msrp-cema",), True, False),
            (("setup:actpass", "msrp-cema"), True, True),
        ):
            offer = sdp(*msrp_lines(*attributes))
            alice = self.client("alice")
            alice.invite(offer.replace(b"a=path:", relay) if relayed else offer)
            known = alice.line.attribute("msrp-cema") is not None
            self.assertEqual(known, said, f"{attributes} {relayed}")
            alice.send("BYE")
