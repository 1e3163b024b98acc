"""Who reads more slowly than the others gets a long message later, from disk."""

from __future__ import annotations

import os

from msrpconf.conference.followers import PATIENCE
from msrpconf.conference.spool import Spools
from tests.conference.support import ABORTED, COMPLETE, TEXT_TYPES, reassembled
from tests.conference.test_pacing import STEP, PacingTestCase


class FollowerTestCase(PacingTestCase):
    octets = 10_000_000

    def setUp(self) -> None:
        super().setUp()
        self.spools = self.room.spools = Spools(self.octets)

    def fall_behind(self) -> bytes:
        """Bob does not read, and is served from disk; the others have the first chunks."""
        self.stall(self.bob)
        message = self.send(5)
        self.heard = {each: each.hears() for each in (self.carol, self.dave)}
        self.alice.told()
        self.passes(0.05)
        self.assertFalse(self.held)
        return message

    def assertWhole(self, message: bytes) -> None:
        """Bob gets all of it, in order and each octet once."""
        frames = []
        for _ in range(100):
            self.clock.advance(0)
            frames += self.bob.hears()
            if frames and frames[-1].flag is COMPLETE:
                break
        self.assertEqual(reassembled(frames), [("message/cpim", message)])
        self.assertNothingIsKept()

    def assertNothingIsKept(self) -> None:
        self.assertEqual(self.spools.used, 0)
        self.assertEqual(self.room.transfers, {})
        self.assertNothingIsLeft()


class FollowerTests(FollowerTestCase):
    def test_the_others_do_not_wait(self) -> None:
        message = self.fall_behind()
        self.send(15, 5)
        self.assertFalse(self.held)
        for each, heard in self.heard.items():
            ((_, text),) = reassembled(heard + each.hears())
            self.assertTrue(text.startswith(b"alice@home.com: xxx"))
        self.assertEqual(self.spools.used, 15 * STEP)
        self.assertLess(self.bob.session.queued, 6 * STEP)
        self.resume(self.bob)
        self.assertWhole(message)
        self.assertEqual(self.room.undelivered, 0)

    def test_who_catches_up_is_one_of_the_others_again(self) -> None:
        message = self.fall_behind()
        self.send(5, 5)
        self.resume(self.bob)
        frames = self.bob.hears()
        self.assertEqual(self.spools.used, 0)
        self.assertEqual(len(self.room.transfers), 1)
        self.send(10, 10)
        frames += self.bob.hears()
        self.assertEqual(reassembled(frames), [("message/cpim", message)])
        self.assertNothingIsKept()

    def test_again_and_again(self) -> None:
        message = self.fall_behind()
        frames = []
        for start in (5, 10, 15):
            self.send(4, start)
            self.resume(self.bob)
            frames += self.bob.hears()
            self.stall(self.bob)
            self.send(1, start + 4)
            self.passes(0.05)
        self.resume(self.bob)
        frames += self.bob.hears()
        self.assertEqual(reassembled(frames), [("message/cpim", message)])
        self.assertNothingIsKept()

    def test_in_the_form_of_text(self) -> None:
        self.stall(self.carol)
        self.send(5)
        self.passes(0.05)
        self.send(15, 5)
        self.resume(self.carol)
        ((content_type, text),) = reassembled(self.carol.hears())
        self.assertEqual(content_type, "text/plain; charset=utf-8")
        self.assertTrue(text.startswith(b"alice@home.com: xxx"))
        self.drain()
        self.assertNothingIsKept()

    def test_what_is_said_meanwhile_is_not_held_up(self) -> None:
        self.fall_behind()
        self.send(15, 5)
        self.alice.say(b"short", content_type="text/plain")
        self.dave.say(b"short", content_type="text/plain")
        self.resume(self.bob)
        bodies = [frame.body for frame in self.bob.hears()]
        self.assertLess(next(i for i, each in enumerate(bodies) if each.endswith(b"short")), 8)

    def test_several(self) -> None:
        erin = self.joined("erin", types=TEXT_TYPES)
        self.others = (*self.others, erin)
        self.stall(self.bob, erin)
        message = self.send(5)
        self.passes(0.05)
        self.send(15, 5)
        self.resume(erin)
        self.assertEqual(len(reassembled(erin.hears())), 1)
        self.assertEqual(self.spools.used, 15 * STEP)
        self.resume(self.bob)
        self.assertWhole(message)


class LostTests(FollowerTestCase):
    def assertLost(self) -> None:
        """Bob is told that the rest does not come, and everything is as if it had never been."""
        self.resume(self.bob)
        *some, end = self.bob.hears()
        self.assertIs(end.flag, ABORTED)
        self.assertEqual(end.head.byte_range.start, sum(len(each.body) for each in some) + 1)
        self.assertEqual(self.room.undelivered, 1)
        self.drain()
        self.assertNothingIsKept()

    def test_who_takes_nothing_at_all(self) -> None:
        self.fall_behind()
        self.send(15, 5)
        self.clock.pump([5.0] * round(PATIENCE / 5))
        self.assertLost()

    def test_who_takes_a_little_is_served_on(self) -> None:
        message = self.fall_behind()
        self.send(15, 5)
        for _ in range(3):
            self.clock.pump([5.0] * 5)
            self.bob.session.written += 1
        self.resume(self.bob)
        self.assertWhole(message)

    def test_the_sender_gives_up(self) -> None:
        self.fall_behind()
        self.alice.say(b"", "m1", f"{5 * STEP + 1}-*/*", ABORTED)
        self.assertLost_of_all()

    def test_the_sender_is_lost(self) -> None:
        self.fall_behind()
        self.alice.connected.vanishes()
        self.assertLost_of_all(sender=False)

    def assertLost_of_all(self, sender: bool = True) -> None:
        self.resume(self.bob)
        for each in self.others:
            self.assertIs(each.hears()[-1].flag, ABORTED)
        self.assertEqual(self.spools.used, 0)
        self.assertEqual(self.room.transfers, {})

    def test_no_more_room(self) -> None:
        self.spools.octets = 3 * STEP
        self.fall_behind()
        self.send(15, 5)
        self.assertLost()

    def test_no_room_from_the_start(self) -> None:
        self.spools.octets = 0
        self.fall_behind()
        self.send(15, 5)
        self.assertLost()

    def test_the_disk_fails(self) -> None:
        self.fall_behind()

        def pwrite(*_: object) -> int:
            raise OSError(28, "No space left on device")

        self.patch(os, "pwrite", pwrite)
        self.send(15, 5)
        self.assertLost()

    def test_who_leaves(self) -> None:
        self.fall_behind()
        self.send(5, 5)
        self.bob.send("BYE")
        self.assertEqual(self.spools.used, 0)

    def test_whose_connection_breaks(self) -> None:
        self.fall_behind()
        self.send(5, 5)
        self.bob.connected.vanishes()
        self.assertEqual(self.spools.used, 0)

    def test_who_does_not_want_it(self) -> None:
        """A 413 ends it for that recipient (RFC 4975 §10.5)."""
        self.stall(self.bob)
        self.send(5)
        self.drain()
        self.passes(0.05)
        self.send(5, 5)
        self.resume(self.bob)
        first = self.bob.connected.hears()[0]
        self.stall(self.bob)
        self.send(5, 10)
        self.passes(0.05)
        self.bob.responds(first, "413 enough")
        self.assertEqual(self.spools.used, 0)
        self.send(5, 15)
        self.drain()
        self.assertEqual(self.room.transfers, {})
