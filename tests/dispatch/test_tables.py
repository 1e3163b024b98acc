from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.dispatch import tables
from msrpconf.dispatch.records import Changes
from msrpconf.dispatch.tables import DispatchTables, ServerEntry, ServerState
from tests.dispatch.test_records import record

LOBBY = "sip:lobby@conf.example.com"


class TablesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tables = DispatchTables()

    def server(self, name: str, capacity: int = 10, draining: bool = False) -> ServerEntry:
        entry = self.tables.came(name, capacity, draining)
        self.tables.told_all(entry)
        return entry

    def names(self, room: str = "sip:new@example.com") -> list[str]:
        return sorted(entry.name for entry in self.tables.candidates(room))

    def test_a_room_lives_where_its_dialogs_are(self) -> None:
        east = self.server("east")
        self.assertIsNone(self.tables.home(LOBBY))
        self.tables.learn(east, Changes((record(1), record(2))))
        self.assertIs(self.tables.home(LOBBY), east)
        self.tables.learn(east, Changes((), (record(1).id,)))
        self.assertIs(self.tables.home(LOBBY), east)
        self.tables.learn(east, Changes((), (record(2).id, record(2).id)))
        self.assertIsNone(self.tables.home(LOBBY))

    def test_a_dialog_that_is_told_again_is_one(self) -> None:
        east = self.server("east")
        self.tables.learn(east, Changes((record(1),)))
        self.tables.learn(east, Changes((record(1, way="focus-2|"),)))
        self.assertEqual([each.way for each in east.dialogs.values()], ["focus-2|"])
        self.assertEqual(east.rooms[LOBBY], 1)

    def test_a_room_that_is_about_to_live_somewhere(self) -> None:
        east = self.server("east")
        for _ in range(2):
            self.tables.offer(east, LOBBY)
        self.tables.answered(east, LOBBY)
        self.assertIs(self.tables.home(LOBBY), east)
        self.tables.answered(east, LOBBY)
        self.assertIsNone(self.tables.home(LOBBY))

    def test_who_gets_new_rooms(self) -> None:
        full = self.server("full", capacity=1)
        self.tables.learn(full, Changes((record(1),)))
        self.server("draining", draining=True)
        self.server("east")
        self.tables.came("telling", 10, False)
        self.server("away")
        self.tables.went("away")
        self.assertEqual(self.names(), ["east"])

    def test_a_server_that_comes_back_with_its_dialogs(self) -> None:
        east = self.server("east")
        self.tables.learn(east, Changes((record(1), record(2))))
        self.tables.went("east")
        self.assertIs(self.tables.home(LOBBY), east)
        self.assertIs(east.state, ServerState.AWAY)
        self.tables.came("east", 10, False)
        self.tables.learn(east, Changes((record(1),)))
        self.assertEqual(self.tables.told_all(east), [record(2)])
        self.assertEqual(list(east.dialogs), [record(1).id])

    def test_what_ends_while_it_tells_is_not_lost(self) -> None:
        east = self.server("east")
        self.tables.learn(east, Changes((record(1),)))
        self.tables.went("east")
        self.tables.came("east", 10, False)
        self.tables.learn(east, Changes((), (record(1).id,)))
        self.assertEqual(self.tables.told_all(east), [])

    def test_a_server_that_comes_back_too_late(self) -> None:
        east = self.server("east")
        self.tables.learn(east, Changes((record(1),)))
        self.tables.went("east")
        self.assertEqual(self.tables.forget("east"), [record(1)])
        self.assertIsNone(self.tables.home(LOBBY))
        self.tables.came("east", 10, False)
        risen = self.tables.learn(east, Changes((record(1), record(2))))
        self.assertEqual(risen, [(east, record(1))])
        self.assertEqual(list(east.dialogs), [record(2).id])

    def test_what_nobody_knows(self) -> None:
        self.assertEqual(self.tables.forget("x"), [])
        self.assertIsNone(self.tables.went("x"))
        self.assertIsNone(self.tables.of_tag("x.1"))
        self.assertIsNone(self.tables.of_tag(""))
        self.assertIsNone(self.tables.of_call("c", None))

    def test_by_tag_and_by_call(self) -> None:
        east = self.server("east")
        self.assertIs(self.tables.of_tag("east.a.b"), east)
        self.tables.remember_call("c", "t", "east")
        self.assertIs(self.tables.of_call("c", "t"), east)
        self.assertIsNone(self.tables.of_call("c", "u"))

    def test_bounds(self) -> None:
        self.patch(tables, "MAX_DIALOGS", 2)
        self.patch(tables, "MAX_CALLS", 2)
        east = self.server("east")
        self.tables.learn(east, Changes(tuple(record(number) for number in range(4))))
        self.tables.learn(east, Changes((record(0, way="x"),)))
        self.assertEqual(list(east.dialogs), [record(0).id, record(1).id])
        for number in range(4):
            self.tables.remember_call(f"c{number}", "t", "east")
        self.assertIsNone(self.tables.of_call("c1", "t"))
        self.assertIs(self.tables.of_call("c3", "t"), east)
