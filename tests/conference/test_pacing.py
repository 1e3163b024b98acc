"""A long message goes as fast as those who get it read, and waits for nobody in vain."""

from __future__ import annotations

from math import ceil

from attrs import evolve

from msrpconf.conference.pacing import PATIENCE, PATIENCE_ALONE, PATIENCE_NETWORK, TICK
from msrpconf.protocols.msrp.writer import StreamWriter
from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import ABORTED, COMPLETE, MORE, Client, cpim
from tests.conference.talk import TalkTestCase
from tests.protocols.msrp.support import Peer

STEP = 8000


class PacingTestCase(TalkTestCase):
    settings = evolve(TalkTestCase.settings, congested_timeout=1000.0)

    def setUp(self) -> None:
        super().setUp()
        self.timers = len(self.clock.getDelayedCalls())

    def send(self, chunks: int, start: int = 0, message_id: str = "m1", of: int = 20) -> bytes:
        """Have Alice send some chunks of a message of `of` chunks; returns the message."""
        message = cpim("x" * (of * STEP))[: of * STEP]
        for number in range(start, start + chunks):
            octets = message[number * STEP : (number + 1) * STEP]
            flag = COMPLETE if number == of - 1 else MORE
            byte_range = f"{number * STEP + 1}-*/{len(message)}"
            self.alice.say(octets, message_id, byte_range, flag)
            self.clock.advance(0)
        return message

    def passes(self, seconds: float) -> None:
        """Time passes, as far as a reactor sees it that is not busy."""
        for _ in range(ceil(seconds / TICK)):
            self.clock.advance(TICK)

    def drain(self) -> None:
        """Everybody reads, as far as they do."""
        self.alice.connected.hears()
        self.drain_others()

    def drain_others(self) -> None:
        for each in self.others:
            each.connected.hears()

    def stall(self, *clients: Client) -> None:
        for each in clients:
            each.connected.connection.pauseProducing()

    def resume(self, *clients: Client) -> None:
        for each in clients:
            each.connected.connection.resumeProducing()

    @property
    def held(self) -> bool:
        """Whether Alice is not read from."""
        return self.alice.connected.connection.deaf

    def hold(self, chunks: int = 5) -> None:
        """Bob does not read, and Alice has to wait for him."""
        self.stall(self.bob)
        self.send(chunks)
        self.drain()
        self.assertTrue(self.held)

    def assertNothingIsLeft(self) -> None:
        self.assertFalse(self.held)
        self.assertEqual(len(self.clock.getDelayedCalls()), self.timers)
        for each in self.others:
            self.assertEqual(each.session._watchers, [])


class PacingTests(PacingTestCase):
    def test_waits_for_who_is_behind(self) -> None:
        self.stall(self.bob)
        message = self.send(3)
        self.assertFalse(self.held)
        self.send(1, 3)
        self.assertTrue(self.held)
        self.resume(self.bob)
        self.drain()
        self.assertFalse(self.held)
        self.send(16, 4)
        heard = self.carol.hears()[-1]
        self.assertIs(heard.flag, COMPLETE)
        self.assertEqual(heard.head.byte_range.total, len(message) - len(cpim("")) + 16)
        self.assertNothingIsLeft()

    def test_who_takes_nothing_is_left_behind(self) -> None:
        self.hold()
        self.passes(PATIENCE + 0.01)
        self.assertFalse(self.held)
        self.send(15, 5)
        self.assertIs(self.carol.hears()[-1].flag, COMPLETE)
        self.resume(self.bob)
        self.assertIs(self.bob.hears()[-1].flag, ABORTED)
        self.assertNothingIsLeft()

    def test_who_pauses_for_a_moment_gets_all(self) -> None:
        """It is not waited for, but it is not left behind while its queue has room."""
        self.hold()
        self.passes(PATIENCE + 0.01)
        self.assertFalse(self.held)
        self.send(2, 5)
        self.assertFalse(self.held)
        self.resume(self.bob)
        self.bob.hears()
        self.send(12, 7)
        self.send(1, 19)
        self.assertIs(self.bob.hears()[-1].flag, COMPLETE)
        self.assertEqual(self.room.undelivered, 0)
        self.assertNothingIsLeft()

    def test_what_people_say_has_room_all_the_same(self) -> None:
        self.hold()
        self.passes(PATIENCE + 0.01)
        self.send(14, 5)
        self.assertEqual(self.room.undelivered, 1)
        self.assertFalse(self.bob.session.congested)
        self.alice.say(cpim("Hi"), "other")
        self.resume(self.bob)
        self.assertTrue(any(each.body == cpim("Hi") for each in self.bob.hears()))

    def test_the_network_is_given_more_time(self) -> None:
        """What was sent is not acknowledged: it is not the client that does not read."""
        self.patch(StreamWriter, "peer_is_idle", False)
        self.hold()
        for _ in range(round(PATIENCE_NETWORK / PATIENCE) - 2):
            self.passes(PATIENCE)
            self.assertTrue(self.held)
        self.passes(1)
        self.assertFalse(self.held)
        self.assertIs(self.bob.session.connection is None, False)

    def test_our_own_delay_is_not_the_recipients(self) -> None:
        self.hold()
        self.clock.advance(10 * PATIENCE)
        self.assertTrue(self.held, "we were busy: nobody could have read anything")
        self.passes(2 * PATIENCE)
        self.assertFalse(self.held)

    def test_who_leaves_is_not_waited_for(self) -> None:
        self.hold()
        self.bob.send("BYE")
        self.assertFalse(self.held)
        self.send(15, 5)
        self.assertIs(self.carol.hears()[-1].flag, COMPLETE)

    def test_whose_connection_breaks_is_not_waited_for(self) -> None:
        self.hold()
        self.bob.connected.vanishes()
        self.assertFalse(self.held)

    def test_whose_path_changes_is_not_waited_for(self) -> None:
        self.hold()
        self.bob.path = self.bob.path.replace(":7654", ":7655")
        self.bob.send("UPDATE", self.bob.offer())
        self.assertFalse(self.held)

    def test_who_was_left_behind_is_not_waited_for(self) -> None:
        """What fills a queue may be others' messages, which nobody holds back."""
        self.hold()
        for _ in range(5):
            self.alice.say(cpim(b"y" * 10000), "other")
        self.drain()
        self.send(5, 5)
        self.assertGreater(self.bob.session.queued, self.settings.limits.mark)
        self.assertFalse(self.held)

    def test_nor_when_there_is_nobody_else(self) -> None:
        for each in (self.carol, self.dave):
            each.send("BYE")
        self.others = (self.bob,)
        self.test_who_was_left_behind_is_not_waited_for()

    def test_nobody_reads(self) -> None:
        """There is nobody whom it would hold up, so it may take a while; not for ever."""
        self.stall(*self.others)
        self.send(5)
        self.clock.advance(0)
        for _ in range(int(PATIENCE_ALONE / PATIENCE) - 1):
            self.assertTrue(self.held)
            self.passes(PATIENCE)
        self.passes(PATIENCE_ALONE / 10)
        self.assertFalse(self.held)
        self.send(15, 5)
        self.resume(*self.others)
        for each in self.others:
            self.assertIs(each.hears()[-1].flag, ABORTED)
        self.assertNothingIsLeft()


class SenderTests(PacingTestCase):
    """Who is held may end the message by other ways than its last chunk."""

    def test_its_connection_breaks(self) -> None:
        self.hold()
        self.alice.connected.vanishes()
        self.resume(self.bob)
        self.assertIs(self.bob.hears()[-1].flag, ABORTED)
        self.assertIs(self.carol.hears()[-1].flag, ABORTED)
        self.alice.connect()
        self.assertAllIsWell()
        self.assertNothingIsLeft()

    def test_it_leaves(self) -> None:
        self.hold()
        self.alice.send("BYE")
        self.assertFalse(self.held)
        self.assertIs(self.carol.hears()[-1].flag, ABORTED)

    def test_it_moves(self) -> None:
        """The old connection is closed, for which it must be read from."""
        self.hold()
        old = self.alice.connected
        self.alice.path = self.alice.path.replace(":7654", ":7655")
        self.alice.send("UPDATE", self.alice.offer())
        self.assertTrue(old.transport.disconnecting)
        self.assertFalse(old.connection.deaf)
        self.assertIs(self.carol.hears()[-1].flag, ABORTED)
        self.resume(self.bob)
        self.drain_others()
        self.alice.connect()
        self.assertAllIsWell()

    def test_its_message_is_refused(self) -> None:
        self.hold()
        self.alice.say(b"x", byte_range=f"{5 * STEP + 1}-*/1000001", flag=MORE)
        self.assertFalse(self.held)

    def test_its_message_takes_too_long(self) -> None:
        self.hold()
        self.resume(self.bob)
        self.drain()
        self.passes(541)
        self.assertIs(self.carol.hears()[-1].flag, ABORTED)
        self.assertNothingIsLeft()

    def test_the_end_of_one_message_does_not_end_the_wait_for_another(self) -> None:
        self.stall(self.bob)
        self.send(2, of=5)
        self.send(3, message_id="m2")
        self.assertTrue(self.held)
        self.send(3, 2, of=5)
        self.assertTrue(self.held, "m2 still waits")
        self.resume(self.bob)
        self.drain()
        self.assertFalse(self.held)

    def test_two_who_wait_for_each_other(self) -> None:
        """As clients do that write on before they read; there is nobody else to wait for."""
        for each in (self.carol, self.dave):
            each.send("BYE")
        self.others = (self.bob,)
        self.stall(self.alice, self.bob)
        message = self.send(5)
        mine = message.replace(b"sip:alice@", b"sip:bob@", 1)
        for start in range(0, 5 * STEP, STEP):
            self.bob.say(mine[start : start + STEP], byte_range=f"{start + 1}-*/*", flag=MORE)
        connections = [each.connected.connection for each in (self.alice, self.bob)]
        self.assertEqual([each.deaf for each in connections], [True, True])
        for _ in range(round(PATIENCE_ALONE) + 10):
            self.passes(1)
        self.assertEqual([each.deaf for each in connections], [False, False])

    def test_the_server_stops(self) -> None:
        self.hold()
        self.control.close(Reason("SIP", 503, "x"))
        self.assertFalse(self.held)
        self.channel.answer()
        self.clock.advance(0)
        for each in (self.alice, *self.others):
            each.connected.vanishes()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SharedTests(PacingTestCase):
    """Several sessions on one connection, as relays have them (RFC 4976)."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.connected.vanishes()
        self.relay = Peer(self.registry.sessions, self.clock)
        erin = self.client("erin")
        erin.invite()
        erin.send("ACK")
        for each in (self.alice, erin):
            each.peer = self.relay
            each.say(b"", content_type=None)
        self.erin = erin
        self.assertEqual(self.relay.hears_text(), ["200 OK", "200 OK"])
        self.timers = len(self.clock.getDelayedCalls())

    def test_one_is_held_and_the_others_wait_no_longer_than_they_must(self) -> None:
        self.stall(self.bob)
        self.send(5)
        self.assertTrue(self.held)
        self.passes(PATIENCE + 0.01)
        self.assertFalse(self.held)
        self.drain()

    def test_nobody_waits_for_a_private_transfer(self) -> None:
        """Somebody and an accomplice who does not read must not hold up all of a relay."""
        bob2 = self.joined("bob", "2", attributes="chatroom:private-messages")
        self.stall(bob2)
        message = cpim("x" * 10 * STEP, to=("<sip:bob@home.com>",))
        for start in range(0, 5 * STEP, STEP):
            self.alice.say(message[start : start + STEP], byte_range=f"{start + 1}-*/*", flag=MORE)
        self.assertTrue(self.held)
        self.passes(PATIENCE + 0.01)
        self.assertFalse(self.held)
        for start in range(5 * STEP, 10 * STEP, STEP):
            self.alice.say(message[start : start + STEP], byte_range=f"{start + 1}-*/*", flag=MORE)
        self.assertFalse(self.held)
        self.resume(bob2)
        self.assertIs(bob2.hears()[-1].flag, ABORTED)

    def test_one_leaves_and_the_other_is_read_from(self) -> None:
        self.stall(self.bob)
        self.send(5)
        self.assertTrue(self.held)
        self.alice.send("BYE")
        self.assertFalse(self.held)
        self.relay.hears()
        self.erin.say(cpim("Hi", from_="<sip:erin@home.com>"))
        self.assertEqual(self.erin.told(), ["200 OK"])


class RelayedTests(TalkTestCase):
    """Who is behind relays gets small chunks (RFC 4976 §6.3): all of a piece, or none."""

    def setUp(self) -> None:
        super().setUp()
        self.erin = self.client("erin")
        own = self.erin.path
        self.erin.path = f"msrp://relay.example.com:2855/r;tcp {own}"
        self.erin.invite()
        self.erin.send("ACK")
        self.erin.path = own
        self.erin.connect()

    def fill(self, octets: int) -> None:
        """Leave so many octets of Erin's queue."""
        self.erin.connected.connection.pauseProducing()
        session = self.erin.session
        while session.queued + octets + 1500 < session.limits.mark:
            self.alice.say(cpim("f" * 1000))
        for each in (self.alice, *self.others):
            each.connected.hears()

    def test_a_message_that_does_not_fit_is_not_begun(self) -> None:
        self.fill(20000)
        self.alice.say(cpim("m" * 40000))
        self.assertEqual(self.room.undelivered, 1)
        self.erin.connected.connection.resumeProducing()
        heard = self.erin.hears_whole()
        self.assertFalse(any(b"mmm" in body for _, body in heard))

    def test_nor_one_of_several_chunks(self) -> None:
        self.fill(20000)
        message = cpim("m" * 60000)
        self.alice.say(message[:40000], byte_range="1-*/*", flag=MORE)
        self.alice.say(message[40000:], byte_range="40001-*/*")
        self.erin.connected.connection.resumeProducing()
        heard = self.erin.hears_whole()
        self.assertFalse(any(b"mmm" in body for _, body in heard))

    def test_what_does_not_fit_later_ends_it_where_it_is(self) -> None:
        self.fill(20000)
        message = cpim("m" * 90000)
        self.alice.say(message[:10000], byte_range="1-*/*", flag=MORE)
        self.alice.say(message[10000:60000], byte_range="10001-*/*", flag=MORE)
        self.alice.say(message[60000:], byte_range="60001-*/*")
        self.erin.connected.connection.resumeProducing()
        *chunks, end = [
            each for each in self.erin.hears() if b"mmm" in each.body or each.flag is ABORTED
        ]
        self.assertIs(end.flag, ABORTED)
        octets = sum(len(each.body) for each in chunks)
        self.assertEqual(end.head.byte_range.start, octets + 1)
