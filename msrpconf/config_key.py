"""A key of a table of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import field

T = TypeVar("T")


def key(default: T, read: Callable[[object], T], *, shown: bool = True) -> T:
    """An attribute of a table: its default, and what reads its value (`config_values`).

    `shown` is false for what `repr` is not to show, such as passwords.
    """
    return field(default=default, repr=shown, metadata={"read": read})
