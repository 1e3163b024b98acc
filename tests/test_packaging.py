"""The source distribution and the wheel, from an empty environment: what is in them runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Generator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf import __version__
from msrpconf.services import tap
from tests.processes import ROOT, ProcessCase, Program

SOURCES = ("msrpconf", "twisted", "doc", "examples")
FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "Makefile")

BUILD = "import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
"""As a front end does it (PEP 517), without one, and without fetching anything."""


def run(*command: str, cwd: Path) -> str:
    """What a program writes; an AssertionError with all of it where it fails."""
    # trial's processes have a PYTHONPATH by which this folder is found.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class PackagingTests(ProcessCase):
    timeout = 300

    def build(self, kind: str, source: Path) -> Path:
        """Builds in a folder of its own."""
        target = self.directory / kind
        target.mkdir()
        run(sys.executable, "-c", BUILD.format(kind=kind), str(target), cwd=source)
        (built,) = target.iterdir()
        return built

    def sources(self) -> Path:
        """A copy of what is to be distributed: building leaves files behind."""
        source = self.directory / "source"
        source.mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache")
        for name in SOURCES:
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, source)
        return source

    def install(self, wheel: Path) -> Path:
        """An environment with the wheel, and what it needs from ours; gives its Python."""
        environment = self.directory / "environment"
        run(sys.executable, "-m", "venv", "--without-pip", str(environment), cwd=self.directory)
        python = environment / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
        options = ("--no-deps", "--no-index", "--disable-pip-version-check")
        run(*pip, *options, str(wheel), cwd=self.directory)
        # Not by what is installed there to be edited: that is in files which this does not read.
        packages = next(environment.glob("lib/python*/site-packages"))
        (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return python

    def start_installed(self, python: Path, *arguments: str) -> Program:
        """Starts something with that Python, which finds nothing of this folder."""
        return self.spawn("installed", [str(python), *arguments], path="")

    @inlineCallbacks
    def test_from_the_sources_to_a_room(self) -> Generator[Deferred[Any], Any, None]:
        archive = self.build("sdist", self.sources())
        with tarfile.open(archive) as opened:
            opened.extractall(self.directory / "unpacked", filter="data")
        (unpacked,) = (self.directory / "unpacked").iterdir()
        self.assertEqual(unpacked.name, f"msrpconf-{__version__}")
        for name in ("LICENSE", "doc/tutorial.md", "examples/kamailio/kamailio.cfg"):
            self.assertTrue((unpacked / name).exists(), name)
        wheel = self.build("wheel", unpacked)
        self.assertEqual(wheel.name, f"msrpconf-{__version__}-py3-none-any.whl")
        self.assert_complete(wheel)
        python = self.install(wheel)
        where = run(str(python), "-c", "import msrpconf; print(msrpconf.__file__)", cwd=Path("/"))
        self.assertTrue(where.startswith(str(self.directory)), where)
        # The server, found by twistd as a plugin, and the client, as the script that was installed.
        config = self.directory / "msrpconf.toml"
        config.write_text(
            '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[focus]\n[presence]\n'
            '[server]\nlisten = ["tcp:127.0.0.1:0"]\nfiles = "files"\n'
            # Its schemas are read when it starts.
            '[database]\nurl = "sqlite:///rooms.sqlite"\n[xcap]\nlisten = ["tcp:127.0.0.1:0"]\n'
            'token = "0123456789abcdef"\n'
        )
        twistd = "from twisted.scripts.twistd import run; run()"
        server = self.start_installed(
            python, "-c", twistd, "-n", "--pidfile=", "msrpconf", "-c", str(config)
        )
        room = (yield server.shows(r"join with: \S*msrpconf chat (\S+)"))[1]
        script = python.parent / "msrpconf"
        said = self.start_installed(python, str(script), "send", room, "--as", "alice", "Hi")
        self.assertEqual((yield said.ends()), 0, said)
        yield server.shows("left: sip:alice@")
        server.signals("TERM")
        self.assertEqual((yield server.ends()), 0, server)
        self.assertNotIn("Traceback", server.output + server.errors)

    def assert_complete(self, wheel: Path) -> None:
        """All of the package is in it, and nothing else."""
        with ZipFile(wheel) as opened:
            names = set(opened.namelist())
        kept = {
            str(file.relative_to(ROOT))
            for file in (ROOT / "msrpconf").rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }
        information = f"msrpconf-{__version__}.dist-info/"
        self.assertEqual(
            {name for name in names if not name.startswith(information)},
            kept | {"twisted/plugins/msrpconf_plugin.py"},
        )


class UnitTests(ProcessCase):
    """The units of `examples/systemd` start what there is."""

    def test_they_start_plugins_of_ours(self) -> None:
        plugins = (ROOT / "twisted" / "plugins" / "msrpconf_plugin.py").read_text("utf-8")
        known = set(re.findall(r'ServiceMaker\(\s*"([\w-]+)"', plugins))
        started = set()
        for unit in sorted((ROOT / "examples" / "systemd").glob("*.service")):
            text = unit.read_text("utf-8")
            lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            command = lines["ExecStart"].split()
            self.assertEqual(
                command[:3], ["/opt/msrpconf/bin/twistd", "--nodaemon", "--pidfile="], unit.name
            )
            plugin, *arguments = command[3:]
            tap.Options().parseOptions(arguments)
            started.add(plugin)
            self.assertEqual(unit.name.removesuffix(".service").rstrip("@"), plugin)
            for key, value in (
                ("Type", "notify"),
                ("NoNewPrivileges", "yes"),
                ("PrivateTmp", "yes"),
                ("ProtectSystem", "strict"),
                ("CapabilityBoundingSet", ""),
                ("WatchdogSec", "30"),
            ):
                self.assertEqual(lines[key], value, f"{unit.name}: {key}")
            self.assertTrue(lines["StateDirectory"].startswith("msrpconf"))
            # A presence agent reads its configuration at the start.
            self.assertEqual("ExecReload" in lines, plugin != "msrpconf-presence", unit.name)
        self.assertEqual(started, known)
