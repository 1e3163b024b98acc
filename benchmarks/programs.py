"""The C programs of the benchmarks: how they are built."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")


class BuildError(Exception):
    """There is no C compiler, or it refused a program. The text is for the user."""


@frozen
class Programs:
    """Paths of the programs."""

    reference: Path
    loadgen: Path
    relay: Path


def compiler() -> str | None:
    """The path of the C compiler ``cc``, or None without one."""
    return shutil.which("cc")


def build(directory: Path) -> Programs:
    """Build the reference and the load generator into a directory.

    Raises BuildError.
    """
    return Programs(
        _build(directory / "reference", "reference.c", "frame.c"),
        _build(directory / "loadgen", "loadgen.c", "client.c", "frame.c"),
        _build(directory / "relay", "relay.c"),
    )


def _build(target: Path, *sources: str) -> Path:
    cc = compiler()
    if cc is None:
        raise BuildError("no C compiler: the benchmarks need cc (Debian: apt-get install gcc)")
    command = [cc, *FLAGS, "-o", str(target), *(str(HERE / source) for source in sources)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode:
        raise BuildError(f"cc refused {sources[0]}:\n{result.stderr}")
    return target
