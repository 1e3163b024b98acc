"""Which way imports point (doc/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import msrpconf

PACKAGE = Path(msrpconf.__file__).parent

FORBIDDEN = {
    "protocols": (
        "conference",
        "presence",
        "storage",
        "xcap",
        "services",
        "client",
        "commands",
        "config",
        "cli",
    ),
    "conference": (
        "presence",
        "storage",
        "xcap",
        "services",
        "client",
        "commands",
        "config",
        "cli",
    ),
    "presence": ("storage", "xcap", "services", "client", "commands", "config", "cli"),
    "storage": ("xcap", "services", "client", "commands", "cli"),
    "xcap": ("services", "client", "commands", "config", "cli"),
    "services": ("client", "commands", "cli"),
    "client": ("presence", "storage", "xcap", "services", "commands", "config", "cli"),
}
"""What the files of a folder do not import."""


def imported(file: Path) -> Iterator[str]:
    """The names of the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


class ImportTests(SynchronousTestCase):
    def test_they_point_one_way(self) -> None:
        wrong = [
            f"{file.relative_to(PACKAGE)} imports {name}"
            for folder, forbidden in FORBIDDEN.items()
            for file in (PACKAGE / folder).rglob("*.py")
            for name in imported(file)
            if name.startswith("msrpconf.") and name.split(".")[1] in forbidden
        ]
        self.assertEqual(wrong, [])
