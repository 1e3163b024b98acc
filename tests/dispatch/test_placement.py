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


class SpreadTests(SynchronousTestCase):
    """10 000 rooms on 4 servers: what the hash makes of these names is the same each time."""

    rooms = [f"sip:room-{number}@conference.example.com" for number in range(10_000)]

    def spread(self, servers: list[tuple[str, float]]) -> Counter[str]:
        return Counter(ranked(room, servers)[0] for room in self.rooms)

    def test_within_15_percent_of_even(self) -> None:
        for names in (
            ("chat-1", "chat-2", "chat-3", "chat-4"),
            ("a", "b", "c", "d"),
            ("east-1", "east-2", "west-1", "west-2"),
        ):
            found = self.spread([(name, 10_000) for name in names])
            self.assertEqual(found.keys(), set(names))
            for name in names:
                self.assertLess(abs(found[name] - 2500), 0.15 * 2500, found)

    def test_by_what_each_takes(self) -> None:
        found = self.spread([("a", 10_000), ("b", 20_000), ("c", 10_000)])
        for name, share in (("a", 2500), ("b", 5000), ("c", 2500)):
            self.assertLess(abs(found[name] - share), 0.15 * share, found)

    def test_a_new_server_takes_its_share_from_all(self) -> None:
        before = [("a", 1.0), ("b", 1.0), ("c", 1.0)]
        after = [*before, ("d", 1.0)]
        moved = Counter(
            ranked(room, before)[0] for room in self.rooms if ranked(room, after)[0] == "d"
        )
        self.assertLess(abs(moved.total() - 2500), 0.15 * 2500)
        for name in "abc":
            self.assertLess(abs(moved[name] - 833), 0.15 * 833, moved)
        stay = [room for room in self.rooms if ranked(room, after)[0] != "d"]
        self.assertEqual(
            [ranked(room, before)[0] for room in stay], [ranked(room, after)[0] for room in stay]
        )
