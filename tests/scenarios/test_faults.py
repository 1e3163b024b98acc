"""Clients that do not read, vanish, or say too much; and what the others notice of it."""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater

from msrpconf.conference.participant import Participant
from tests.scenarios.device import ABORTED, CHUNK, COMPLETE, MORE, Device, device_factory, reactor
from tests.scenarios.embedded import EmbeddedServerTestCase
from tests.scenarios.person import Person, Story
from tests.scenarios.wire import SipWire

MEGABYTE = 1000000


class FaultTestCase(EmbeddedServerTestCase):
    server_keys = """
        congested_timeout = 600
        [conference]
        notices = false
        rate = 0
    """

    def setUp(self) -> Any:
        self.people: dict[Device, Person] = {}
        return super().setUp()

    @inlineCallbacks
    def end_everything(self) -> Story:
        for device, person in self.people.items():
            device.abort()
            yield device.lost
            if any(each.dialog.call_id == f"{person.name}-call" for each in self.participants):
                person.request("BYE", 100)
                yield person.sip.next()
            yield person.sip.close()
        yield super().end_everything()

    @property
    def participants(self) -> list[Participant]:
        return self.service.registry.participants()

    def participant(self, device: Device) -> Participant:
        name = self.people[device].name
        for each in self.participants:
            if each.dialog.call_id == f"{name}-call":
                return each
        raise AssertionError(f"{name} is not here")

    @inlineCallbacks
    def joined(self, name: str) -> Generator[Deferred[Any], Any, Device]:
        """Somebody who takes plain text, in the room and connected."""
        person = Person(name, SipWire(("127.0.0.1", self.ports["udp"])), secure=False)
        yield person.join()
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", person.server_port)
        device = yield endpoint.connect(device_factory(person.path, person.server_path))
        self.people[device] = person
        device.send(None)
        yield device.until(lambda: device.answers == [200])
        result: Device = device
        return result

    @inlineCallbacks
    def all_joined(self, *names: str) -> Generator[Deferred[Any], Any, list[Device]]:
        devices = []
        for name in names:
            devices.append((yield self.joined(name)))
        return devices

    def assertHeard(self, device: Device, sender: str, body: bytes, number: int = 0) -> None:
        """The message that ended as that `number` is this one, whole."""
        heard = device.ended[number]
        self.assertIs(heard.end, COMPLETE)
        expected = b"%b@example.com: %b" % (sender.encode(), body)
        self.assertEqual(heard.octets, len(expected))
        self.assertEqual(heard.hash.digest(), sha256(expected).digest())


class SlowReaderTests(FaultTestCase):
    @inlineCallbacks
    def test_who_does_not_read_is_nobodys_problem_but_its_own(self) -> Story:
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        carol.stop_reading()
        session = self.participant(carol).session
        connection: Any = session.connection
        said = 0
        while not session.congested:
            self.assertLess(said, 3000, "the kernel takes no end of it")
            for _ in range(20):
                alice.send(b"%06d" % said + b"x" * CHUNK, f"m{said}")
                said += 1
            yield bob.until_ended(said)
            self.assertLessEqual(session.queued, session.limits.queue_octets)
            waiting = len(connection.transport.dataBuffer) + connection.transport._tempDataLen
            self.assertLessEqual(waiting, 2 * 65536 + CHUNK)
        self.assertEqual(alice.answers, [200] * (said + 1))
        self.assertEqual([int(each[19:25]) for each in bob.texts], list(range(said)))

        eased = self.when_logged("no longer congested")
        carol.read_on()
        yield eased
        yield carol.until(lambda: carol.ended[-1].begins.startswith(b"*** Your connection"))
        *heard, notice = carol.texts
        self.assertEqual([int(each[19:25]) for each in heard], list(range(len(heard))))
        self.assertEqual(
            notice,
            b"*** Your connection was too slow: you missed %d messages" % (said - len(heard)),
        )
        alice.send(b"all is well", "last")
        yield carol.until(lambda: carol.texts[-1].endswith(b"all is well"))

    @inlineCallbacks
    def test_a_slow_reader_gets_all_of_a_large_message(self) -> Story:
        """Slow is not stalled: it is waited for."""
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        carol.rate = 4 * MEGABYTE
        message = b"x" * 8 * MEGABYTE
        alice.say(message)
        yield carol.until_ended(1)
        self.assertHeard(carol, "alice", message)
        self.assertHeard(bob, "alice", message)
        alice.send(b"all is well", "last")
        yield carol.until_ended(2)

    @inlineCallbacks
    def test_a_large_message_and_one_who_does_not_read(self) -> Story:
        alice, *others, zoe = yield self.all_joined("alice", "bob", "carol", "dave", "erin", "zoe")
        zoe.stop_reading()
        message = b"0123456789" * 2 * MEGABYTE
        began = monotonic()
        alice.say(message)
        yield DeferredList([each.until_ended(1) for each in others])
        took = monotonic() - began
        for each in others:
            self.assertHeard(each, "alice", message)
        self.assertLess(took, 15)
        session = self.participant(zoe).session
        self.assertLessEqual(session.queued, session.limits.queue_octets)
        zoe.read_on()
        yield zoe.until_ended(1)
        self.assertHeard(zoe, "alice", message)
        bob = others[0]
        bob.send(b"all is well", "last")
        yield zoe.until(lambda: zoe.texts[-1] == b"bob@example.com: all is well")

    @inlineCallbacks
    def test_a_line_is_not_held_up_by_a_large_message(self) -> Story:
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        carol.rate = 4 * MEGABYTE
        message = b"x" * 12 * MEGABYTE
        alice.say(message)
        yield carol.until(lambda: carol.octets > MEGABYTE)
        before = carol.octets
        bob.send(b"Hi", "one")
        yield carol.until_ended(1)
        self.assertEqual(carol.texts, [b"bob@example.com: Hi"])
        self.assertLess(carol.octets - before, MEGABYTE)
        yield carol.until_ended(2)
        self.assertHeard(carol, "alice", message, 1)


class CongestedTimeoutTests(FaultTestCase):
    server_keys = FaultTestCase.server_keys.replace("600", "0.5")

    @inlineCallbacks
    def test_who_does_not_read_for_too_long_is_sent_out(self) -> Story:
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        carol.stop_reading()
        session = self.participant(carol).session
        said = 0
        while not session.congested:
            for _ in range(20):
                alice.send(b"x" * CHUNK, f"m{said}")
                said += 1
            yield bob.until_ended(said)
        why = yield self.people[carol].is_sent_out()
        self.assertEqual(why, 'SIP;cause=480;text="Your client did not read messages for 0.5 s"')
        alice.send(b"all is well", "last")
        yield bob.until(lambda: bob.texts[-1].endswith(b"all is well"))
        self.assertEqual(len(self.participants), 2)


class SenderTests(FaultTestCase):
    @inlineCallbacks
    def test_a_sender_that_vanishes(self) -> Story:
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        alice.send(b"x" * CHUNK, total=100000, flag=MORE)
        yield bob.until(lambda: bool(bob.messages))
        alice.abort()
        for each in (bob, carol):
            yield each.until_ended(1)
            self.assertIs(each.ended[0].end, ABORTED)
            self.assertGreaterEqual(each.ended[0].octets, CHUNK)
        bob.send(b"all is well", "last")
        yield carol.until(lambda: carol.texts == [b"bob@example.com: all is well"])

    @inlineCallbacks
    def test_a_sender_that_vanishes_while_it_waits_for_others(self) -> Story:
        """Nothing tells that the connection is gone while it is not read from."""
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        carol.rate = 4 * MEGABYTE
        alice.say(b"x" * 20 * MEGABYTE)
        connection: Any = self.participant(alice).session.connection
        while not connection.deaf:
            yield deferLater(reactor, 0)
        lost: Deferred[None] = Deferred()
        tell = connection.on_lost

        def is_lost(connection: Any) -> None:
            tell(connection)
            lost.callback(None)

        connection.on_lost = is_lost
        alice.abort()
        yield lost
        carol.rate = 0
        for each in (bob, carol):
            yield each.until_ended(1)
            self.assertIs(each.ended[0].end, ABORTED)

    @inlineCallbacks
    def test_all_at_once(self) -> Story:
        devices = yield self.all_joined("alice", "bob", "carol", "dave", "erin")
        message = b"0123456789" * 200000
        for device in devices:
            name = self.people[device].name.encode()
            device.say(name + message, "long")
            for number in range(20):
                device.send(b"%d" % number, f"line{number}")
        count = 21 * (len(devices) - 1)
        yield DeferredList([each.until_ended(count) for each in devices])
        for device in devices:
            self.assertEqual(len(device.texts), count)
            for other in devices:
                if other is device:
                    continue
                name = self.people[other].name.encode()
                front = name + b"@example.com: "
                expected = front + name + message
                (long,) = [each for each in device.ended if each.begins[:50] == expected[:50]]
                self.assertEqual(long.hash.digest(), sha256(expected).digest())
                lines = [each for each in device.texts if each.startswith(front)]
                lines.remove(long.begins)
                self.assertEqual(lines, [front + b"%d" % number for number in range(20)])


class FloodTests(FaultTestCase):
    server_keys = FaultTestCase.server_keys.replace("rate = 0", "rate = 5\nburst = 10")

    @inlineCallbacks
    def test_who_floods_is_refused_and_the_others_are_heard(self) -> Story:
        alice, bob, carol = yield self.all_joined("alice", "bob", "carol")
        for number in range(500):
            alice.send(b"%d" % number, f"m{number}")
        bob.send(b"Hi", "one")
        yield alice.until(lambda: len(alice.answers) == 501)
        taken = alice.answers[1:].count(200)
        self.assertEqual(alice.answers[1:].count(403), 500 - taken)
        self.assertLess(taken, 30)
        yield carol.until_ended(taken + 1)
        self.assertIn(b"bob@example.com: Hi", carol.texts)
        self.assertEqual(bob.answers, [200, 200])
