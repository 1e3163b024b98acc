"""Processes of a benchmark: which CPU they run on, what they used, how they end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from attrs import frozen

TICK = 1 / os.sysconf("SC_CLK_TCK")


@frozen
class Cpus:
    """The CPU of the server and the one of those who load it; None where they have to share."""

    server: int | None
    client: int | None

    @classmethod
    def choose(cls) -> Cpus:
        """The first two CPUs that this process may use, if it may use two."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            return cls(None, None)
        return cls(usable[0], usable[1])

    @property
    def separate(self) -> bool:
        return self.server is not None


def pin(pid: int, cpu: int | None) -> None:
    """Keep a process (0: this one) on a CPU; None leaves it as it is."""
    if cpu is not None:
        os.sched_setaffinity(pid, {cpu})


def cpu_seconds(pid: int) -> float:
    """CPU seconds of all threads of a process, as exact as the kernel tells."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except FileNotFoundError:  # a kernel without scheduler statistics: clock ticks then
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK
    return total / 1e9


def resident_kib(pid: int) -> int:
    """Resident memory (VmRSS) of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")


def end(process: subprocess.Popen[str], timeout: float = 5.0) -> None:
    """End a process that we started: its input closes, then it is told, then made to.

    timeout is in seconds, for each step but the first.
    """
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    if process.stdout is not None:
        process.stdout.close()
