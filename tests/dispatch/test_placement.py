from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.dispatch.placement import ranked

ROOMS = [f"sip:room{number}@example.com" for number in range(2000)]


class PlacementTests(SynchronousTestCase):
    def test_everybody_gives_the_same_order(self) -> None:
        servers = [("a", 1), ("b", 1), ("c", 1)]
        for room in ROOMS[:100]:
            self.assertEqual(ranked(room, servers), ranked(room, reversed(servers)))

    def test_by_weight(self) -> None:
        first = Counter(ranked(room, [("a", 1), ("b", 1), ("c", 2)])[0] for room in ROOMS)
        self.assertLess(abs(first["a"] - 500), 80)
        self.assertLess(abs(first["b"] - 500), 80)
        self.assertLess(abs(first["c"] - 1000), 80)

    def test_only_the_rooms_of_a_lost_server_move(self) -> None:
        servers = [("a", 1), ("b", 1), ("c", 1)]
        for room in ROOMS:
            before = ranked(room, servers)
            self.assertEqual(ranked(room, servers[:2]), [name for name in before if name != "c"])

    def test_nobody(self) -> None:
        self.assertEqual(ranked("x", []), [])

    def test_a_weight_of_none_is_one(self) -> None:
        self.assertEqual(set(ranked("x", [("a", 0), ("b", 1)])), {"a", "b"})
