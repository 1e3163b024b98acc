"""The settings of one room, as people write them."""

from __future__ import annotations

import json

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.roles import Role
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.static import StaticRoomError
from msrpconf.overrides import read_overrides, write_overrides


class OverrideTests(SynchronousTestCase):
    def test_they_are_read_as_the_configuration_is(self) -> None:
        table = {"types": ["Text/Plain", "image/*"], "rate": 3, "may_invite": "owner"}
        self.assertEqual(
            read_overrides(table),
            {"types": ("text/plain", "image/*"), "rate": 3.0, "may_invite": Role.OWNER},
        )

    def test_every_setting_of_a_room_is_there_and_comes_back(self) -> None:
        defaults = {each.name: getattr(RoomSettings(), each.name) for each in fields(RoomSettings)}
        text = json.dumps(write_overrides(defaults))
        self.assertEqual(read_overrides(json.loads(text)), defaults)

    def test_what_is_wrong_is_said_together(self) -> None:
        error = self.assertRaises(
            StaticRoomError,
            read_overrides,
            {"max_participants": 0, "ad_hoc": True, "nicknams": False, "burst": 1},
        )
        lines = str(error).split("\n")
        self.assertEqual(
            lines[0],
            "settings: max_participants: expected a whole number greater than 0; found 0",
        )
        self.assertTrue(lines[1].startswith("settings: ad_hoc: unknown"), lines[1])
        self.assertEqual(lines[2], "settings: nicknams: unknown; did you mean nicknames?")
        self.assertEqual(len(lines), 3)
