"""What to type for a program of ours: hints that can be copied must lead somewhere."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """`name` where the shell finds ours by it, else the path of the one beside our Python.

    Whoever starts a server from an environment that is not activated, as `make run` does, has no
    `msrpconf` in the next terminal, and may have another `twistd`.
    """
    ours = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not ours.exists() or (found is not None and os.path.samefile(found, ours)):
        return name
    here = Path.cwd()
    return str(ours.relative_to(here) if ours.is_relative_to(here) else ours)
