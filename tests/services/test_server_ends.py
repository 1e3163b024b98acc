"""Servers that come to a dispatcher, and leave it, while it runs."""

from __future__ import annotations

from collections import Counter

from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.services.server_ends import Wanted
from tests.services.test_dispatching import GRACE, DispatchTestCase


class ChangingTestCase(DispatchTestCase):
    names = ("east", "west", "north")
    wanted: tuple[str, ...] = ("east", "west")

    def start(self, *connected: str, name: str = "focus-1") -> None:
        super().start(*self.wanted, name=name)
        self.use(*self.wanted)

    def use(self, *names: str, **priorities: int) -> None:
        """Have the servers of these names, and no others."""
        wanted = [
            Wanted(ChannelAddress(path=f"/run/{name}"), priorities.get(name, 0)) for name in names
        ]
        before = list(self.dispatcher.ends)
        running, self.dispatcher.running = self.dispatcher.running, 0
        self.dispatcher.use(wanted)
        self.dispatcher.running = running
        for end in self.dispatcher.ends:
            name = (end.address.path or "").rpartition("/")[2]
            if end not in before:
                end.start = lambda: None  # type: ignore[method-assign]
            self.ends[name] = end
        self.turn()

    @property
    def places(self) -> list[str]:
        return sorted(end.name or "" for end in self.dispatcher.ends)

    def homes(self, count: int, first: int = 0) -> Counter[str]:
        """Where new rooms begin."""
        numbers = range(first, first + count)
        return Counter(self.home(self.join(f"n{n}", f"new{n}")) for n in numbers)


class ComingTests(ChangingTestCase):
    def test_a_new_server_moves_no_live_room(self) -> None:
        tags = {number: self.join(f"c{number}", f"r{number}") for number in range(20)}
        self.assertEqual({self.home(tag) for tag in tags.values()}, {"east", "west"})
        self.use("east", "west", "north")
        self.connect("north")
        for number, tag in tags.items():
            again = self.join(f"d{number}", f"r{number}")
            self.assertEqual(self.home(again), self.home(tag))
            self.assertEqual(self.answer(self.in_dialog("BYE", tag, f"c{number}")).status, 200)
        self.assertGreater(self.homes(30)["north"], 0)

    def test_those_of_the_lowest_priority_first(self) -> None:
        self.use("east", "west", west=10)
        self.assertEqual(self.homes(10), {"east": 10})
        self.cables["east"].break_()
        self.assertEqual(self.homes(5, 10), {"west": 5})

    def test_by_weight(self) -> None:
        half, double = (ChannelAddress(path=f"/run/{name}") for name in ("east", "west"))
        self.dispatcher.use([Wanted(half, 0, 0.01), Wanted(double, 0, 1.99)])
        self.assertGreater(self.homes(20)["west"], 16)


class LeavingTests(ChangingTestCase):
    def at_east(self) -> tuple[str, str]:
        """Somebody in a room at "east": the Call-ID and our tag."""
        tags = {f"c{number}": self.join(f"c{number}", f"r{number}") for number in range(20)}
        stays = next(call_id for call_id, tag in tags.items() if self.home(tag) == "east")
        for call_id, tag in tags.items():
            if call_id != stays:
                self.answer(self.in_dialog("BYE", tag, call_id))
        return stays, tags[stays]

    def test_it_serves_its_calls_to_their_end_and_gets_no_new_rooms(self) -> None:
        call_id, tag = self.at_east()
        room = call_id.replace("c", "r")
        self.use("west")
        self.assertEqual(self.places, ["east", "west"])
        self.assertEqual(self.homes(10), {"west": 10})
        # Its rooms live, and who comes to them comes to them.
        other = self.join("other", room)
        self.assertEqual(self.home(other), "east")
        self.assertEqual(self.answer(self.in_dialog("BYE", tag, call_id)).status, 200)
        self.seconds(2)
        self.assertEqual(self.places, ["east", "west"])
        self.assertEqual(self.answer(self.in_dialog("BYE", other, "other")).status, 200)
        self.seconds(2)
        self.assertEqual(self.places, ["west"])
        self.assertNotIn("east", self.dispatcher.tables.servers)
        self.assertNotIn("east", self.dispatcher.links)
        self.assertIn("server east at unix:/run/east has left", self.lines)
        self.seconds(GRACE + 1)
        self.assertEqual((self.dispatcher.given_up, self.byes()), (0, []))

    def test_one_that_has_nothing_leaves_at_once(self) -> None:
        self.use("west")
        self.seconds(1)
        self.assertEqual(self.places, ["west"])

    def test_one_that_was_never_there(self) -> None:
        self.use("east", "west", "north")
        self.assertEqual(self.places, ["", "east", "west"])
        self.use("east", "west")
        self.assertEqual(self.places, ["east", "west"])

    def test_one_that_comes_back_to_the_list(self) -> None:
        self.at_east()
        self.use("west")
        self.assertTrue(self.dispatcher.tables.servers["east"].leaving)
        self.use("west", "east")
        self.assertGreater(self.homes(20)["east"], 0)
        self.seconds(2)
        self.assertEqual(self.places, ["east", "west"])

    def test_one_that_dies_while_it_leaves(self) -> None:
        call_id, _ = self.at_east()
        self.use("west")
        self.cables["east"].break_()
        self.seconds(GRACE - 1)
        self.assertEqual(self.places, ["east", "west"])
        self.seconds(3)
        self.assertEqual(self.byes(), [call_id])
        self.assertEqual(self.places, ["west"])

    def test_its_link_breaks_and_comes_back_while_it_leaves(self) -> None:
        call_id, tag = self.at_east()
        self.use("west")
        self.cables["east"].break_()
        self.connect("east")
        self.assertTrue(self.dispatcher.tables.servers["east"].leaving)
        self.assertEqual(self.homes(5), {"west": 5})
        self.assertEqual(self.answer(self.in_dialog("BYE", tag, call_id)).status, 200)
        self.seconds(2)
        self.assertEqual(self.places, ["west"])

    def test_so_many_servers(self) -> None:
        many = [Wanted(ChannelAddress(path=f"/run/{number}")) for number in range(1100)]
        running, self.dispatcher.running = self.dispatcher.running, 0
        self.dispatcher.use(many)
        self.dispatcher.running = running
        self.assertEqual(len(self.dispatcher.ends), 1000)
