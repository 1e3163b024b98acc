"""The settings of one room as people write them: keys of `[conference]` with other values.

They are read as the configuration's keys are, so that what is right there is right here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import fields

from msrpconf.conference.roles import Role
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.static import StaticRoomError
from msrpconf.config import ConferenceConfig
from msrpconf.config_values import UnexpectedValue, found, instead

_NAMES = [each.name for each in fields(RoomSettings)]
_READERS = {
    each.name: each.metadata["read"] for each in fields(ConferenceConfig) if each.name in _NAMES
}


def read_overrides(table: Mapping[str, object]) -> dict[str, Any]:
    """The settings in `table`, whose values are as JSON or TOML has them.

    Raises `StaticRoomError` with a line for each thing that is wrong.
    """
    errors = []
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _READERS:
            errors.append(f"settings: {name}: unknown{instead(name, _NAMES, 'settings')}")
            continue
        try:
            values[name] = _READERS[name](value)
        except UnexpectedValue as error:
            text = f"expected {error.expected}; found {found(error.found)}"
            errors.append(f"settings: {name}: {text}")
    if errors:
        raise StaticRoomError("\n".join(errors))
    return values


def write_overrides(settings: Mapping[str, Any]) -> dict[str, object]:
    """Settings as JSON has them, which `read_overrides` reads."""
    return {name: _written(value) for name, value in settings.items()}


def _written(value: object) -> object:
    if isinstance(value, Role):
        return value.text
    return list(value) if isinstance(value, tuple) else value
