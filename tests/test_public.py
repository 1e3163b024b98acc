"""What is public (doc/embedding.md): the names are there, documented, and no others."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from inspect import isclass, isfunction

from twisted.trial.unittest import SynchronousTestCase

import msrpconf
from tests.processes import ROOT


def stated() -> dict[str, set[str]]:
    """The names that the page lists, by their module."""
    page = (ROOT / "doc" / "embedding.md").read_text("utf-8")
    table = page.partition("\n## What to import\n")[2]
    rows = re.findall(r"^\| `(msrpconf[\w.]*)` \| (.*) \|$", table, re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


class PublicTests(SynchronousTestCase):
    def test_the_page_has_what_the_modules_state(self) -> None:
        modules = stated()
        self.assertGreater(len(modules), 10)
        for name, names in modules.items():
            self.assertEqual(names, set(import_module(name).__all__), name)

    def test_each_is_there_and_says_what_it_is(self) -> None:
        for module, names in stated().items():
            for name in names:
                found = getattr(import_module(module), name)
                if isclass(found) or isfunction(found):
                    self.assertTrue(found.__doc__, f"{module}.{name}")

    def test_what_is_not_there(self) -> None:
        error = self.assertRaises(AttributeError, getattr, msrpconf, "make_coffee")
        self.assertIn("'msrpconf' has no attribute 'make_coffee'", str(error))

    def test_importing_chooses_no_reactor(self) -> None:
        """Whoever embeds it may still install another."""
        names = ", ".join(stated())
        program = (
            f"import sys, {names}\n"
            "assert all(getattr(msrpconf, name) for name in msrpconf.__all__)\n"
            "assert 'twisted.internet.reactor' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_codec_comes_without_the_services(self) -> None:
        program = (
            "import sys\n"
            "from msrpconf.protocols.msrp.frame import FrameParser\n"
            "assert not any(each.startswith('msrpconf.services') for each in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
