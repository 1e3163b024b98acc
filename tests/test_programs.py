from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.programs import program


class ProgramTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bin = Path(self.mktemp()).resolve()
        self.bin.mkdir()
        self.other = Path(self.mktemp()).resolve()
        self.other.mkdir()
        for folder in (self.bin, self.other):
            (folder / "twistd").write_text("#!/bin/sh\n")
            (folder / "twistd").chmod(0o755)
        self.patch(sys, "executable", str(self.bin / "python"))

    def with_path(self, *folders: Path) -> str:
        self.patch(os, "environ", {**os.environ, "PATH": os.pathsep.join(map(str, folders))})
        return program("twistd")

    def test_one_that_the_shell_finds_is_called_by_its_name(self) -> None:
        self.assertEqual(self.with_path(self.bin, self.other), "twistd")

    def test_one_that_the_shell_does_not_find_is_called_by_its_path(self) -> None:
        self.assertEqual(self.with_path(), os.path.relpath(self.bin / "twistd"))

    def test_another_of_that_name_is_not_ours(self) -> None:
        self.assertEqual(self.with_path(self.other, self.bin), os.path.relpath(self.bin / "twistd"))

    def test_elsewhere_the_whole_path_is_needed(self) -> None:
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.other)
        self.assertEqual(self.with_path(), str(self.bin / "twistd"))

    def test_without_one_of_ours_the_name_is_all_there_is(self) -> None:
        (self.bin / "twistd").unlink()
        self.assertEqual(self.with_path(), "twistd")
