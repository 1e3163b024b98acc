"""Who connects to whom, on the wire (RFC 4975 §5.4, RFC 6135 §4.2, RFC 6714)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks

from tests.scenarios.embedded import EmbeddedServerTestCase, joined
from tests.scenarios.person import Person, Story
from tests.scenarios.wire import MsrpListening, SipWire, attribute, header


class ConnectingTests(EmbeddedServerTestCase):
    """Each value of a=setup, in an offer of the client's and in its answer to ours."""

    server_keys = "[conference]\nnotices = false"

    def setUp(self) -> Any:
        self.people: list[Person] = []
        self.waiting: list[MsrpListening] = []
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Story:
        yield super().end_everything()
        for person in self.people:
            for wire in person.wires:
                yield wire.closed
            yield person.sip.close()
        for each in self.waiting:
            yield each.close()

    def person(self, name: str, **options: Any) -> Person:
        options = {"secure": False, **options}
        person = Person(name, SipWire(("127.0.0.1", self.ports["udp"])), **options)
        self.people.append(person)
        return person

    def waits(self) -> MsrpListening:
        listening = MsrpListening()
        self.waiting.append(listening)
        return listening

    @inlineCallbacks
    def leaves(self, person: Person) -> Story:
        person.request("BYE", 9)
        answer = yield person.sip.next()
        self.assertIn(" 200 OK", answer)

    @inlineCallbacks
    def test_offers_of_who_connects(self) -> Story:
        """holdconn is as if nothing were said, and the default of an offerer is active."""
        for name, setup in (("a", "active"), ("b", "actpass"), ("c", "holdconn"), ("d", "")):
            alice = self.person(name, setup=setup)
            answer = yield alice.join()
            self.assertEqual(attribute(answer, "setup"), "passive", setup)
            self.assertEqual((yield alice.connect()), f"MSRP bind{name} 200 OK", setup)

    @inlineCallbacks
    def test_an_offer_of_who_waits(self) -> Story:
        listening = self.waits()
        alice = self.person("alice", setup="passive", port=listening.port)
        answer = yield alice.join()
        self.assertEqual(attribute(answer, "setup"), "active")
        yield self.assertConnectedTo(alice, listening)

    @inlineCallbacks
    def assertConnectedTo(self, alice: Person, listening: MsrpListening) -> Story:
        """The server has connected, and at once sent what binds the session (RFC 6135 §4.2.2)."""
        wire = yield listening.connected
        bind = yield wire.next()
        self.assertRegex(bind, r"^MSRP \w+ SEND\r\n")
        self.assertEqual(header(bind, "To-Path"), alice.path)
        self.assertEqual(header(bind, "From-Path"), alice.server_path)
        self.assertNotIn("Content-Type", bind)
        bob, bob_hears = yield joined(self.agent("bob"), self.room())
        yield bob.send("Hi")
        heard = yield wire.next()
        self.assertIn("bob@example.com: Hi", heard)
        alice.say(wire, "Hi Bob", "one")
        answer = yield wire.next()
        self.assertTrue(answer.startswith(f"MSRP one{alice.name} 200 OK"), answer)
        message = yield bob_hears.next()
        self.assertEqual(message.text, "Hi Bob")
        yield bob.leave()
        yield self.leaves(alice)
        yield wire.closed

    @inlineCallbacks
    def invited(self, person: Person) -> Story:
        """An INVITE without an offer, and the ACK with an answer."""
        person.request("INVITE", 1)
        answer = yield person.sip.next()
        self.assertEqual(attribute(answer, "setup"), "actpass")
        person.to_tag = header(answer, "To").partition(";tag=")[2]
        person.server_path = attribute(answer, "path")
        person.request("ACK", 1, person.offer)

    @inlineCallbacks
    def test_an_answer_of_who_connects(self) -> Story:
        alice = self.person("alice", setup="active")
        yield self.invited(alice)
        self.assertEqual((yield alice.connect()), "MSRP bindalice 200 OK")

    @inlineCallbacks
    def test_answers_of_who_waits(self) -> Story:
        """Who does not know a=setup waits for the offerer, and holdconn is as if unknown."""
        for name, setup in (("a", "passive"), ("b", "holdconn"), ("c", "")):
            listening = self.waits()
            alice = self.person(name, setup=setup, port=listening.port)
            yield self.invited(alice)
            yield self.assertConnectedTo(alice, listening)

    @inlineCallbacks
    def test_through_a_middlebox(self) -> Story:
        """RFC 6714: c= and m= lead to it, and the path is still the client's."""
        middlebox = self.waits()
        alice = self.person("alice", setup="passive", host="192.0.2.1", port=31000)
        offer = alice.offer.replace("m=message 31000", f"m=message {middlebox.port}")
        alice.request("INVITE", 1, offer + "\n    a=msrp-cema")
        answer = yield alice.sip.next()
        self.assertIn("\r\na=msrp-cema\r\n", answer)
        alice.to_tag = header(answer, "To").partition(";tag=")[2]
        alice.server_path = attribute(answer, "path")
        alice.request("ACK", 1)
        yield self.assertConnectedTo(alice, middlebox)

    @inlineCallbacks
    def test_through_a_relay(self) -> Story:
        """RFC 4976: the first URI is connected to, and To-Path is all of them."""
        relay = self.waits()
        alice = self.person("alice", setup="passive", host="192.0.2.1", port=31000)
        first = f"msrp://127.0.0.1:{relay.port}/relayed;tcp"
        offer = alice.offer.replace("a=path:", f"a=path:{first} ")
        alice.request("INVITE", 1, offer)
        answer = yield alice.sip.next()
        alice.to_tag = header(answer, "To").partition(";tag=")[2]
        alice.request("ACK", 1)
        wire = yield relay.connected
        bind = yield wire.next()
        self.assertEqual(header(bind, "To-Path"), f"{first} {alice.path}")
        self.assertEqual(header(bind, "From-Path"), attribute(answer, "path"))
        yield self.leaves(alice)
        yield wire.closed


class KeepAliveTests(EmbeddedServerTestCase):
    """Devices that lose their network say nothing of it."""

    server_keys = "keepalive = 0.2\nkeepalive_timeout = 0.2\n[conference]\nnotices = false"
    grace = 0.1

    @inlineCallbacks
    def test_who_answers_stays_and_who_does_not_is_sent_out(self) -> Story:
        _, bob_hears = yield joined(self.agent("bob"), self.room())
        alice = Person("alice", SipWire(("127.0.0.1", self.ports["udp"])), secure=False)
        yield alice.join()
        yield alice.connect()
        (wire,) = alice.wires
        question = yield wire.next()
        self.assertRegex(question, r"^MSRP \w+ SEND\r\n")
        self.assertNotIn("Content-Type", question)
        transaction = question.split(" ")[1]
        wire.send(f"""
    MSRP {transaction} 501 Unknown
    To-Path: {alice.server_path}
    From-Path: {alice.path}
    -------{transaction}$""")
        yield wire.next()  # asked again, and now there is no answer
        yield wire.closed
        reason = yield alice.is_sent_out()
        self.assertIn("it did not answer a keep-alive within 0.2 s", reason)
        yield alice.sip.close()
        (bob,) = self.service.registry.participants()
        self.assertEqual(bob.identity.key, "sip:bob@example.com")
        self.assertIsNotNone(bob.session.connection)
        self.assertEqual(bob_hears.messages, [])
