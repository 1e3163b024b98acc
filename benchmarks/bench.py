"""What msrpconf costs, beside a reference in the same run.

    python benchmarks/bench.py [--quick] [--rounds N] [--json FILE]

Six figures, each a median over the rounds, in which the servers take turns:

- CPU time of the server for each delivery: one participant speaks with 10 SENDs outstanding, and
  the copies that arrive are counted and compared. The reference (reference.c) does for a delivery
  what any switch must; the ratio to it says what msrpconf adds, on whatever machine this is.
- Latency of a message sent alone, to the first and to the last participant.
- Joins a second, from the INVITE to the answer to the binding SEND, 20 at a time, into one room.
- Resident memory for each participant who is in a room and connected.
- A message of 100 MB to 10 recipients beside the same octets through the plainest relay; how
  much memory the server takes for it; how long a short message takes meanwhile; and what one
  recipient that does not read costs the others.
- A room of 1,000 who join it within 20 seconds and all watch it: octets of NOTIFY, how long until
  all know of one who leaves, and how long a message in another room takes meanwhile.

The server has one CPU and whoever loads it has another, where there are two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, define, evolve, field, frozen

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bulk import BulkError, relayed, switched
from benchmarks.processes import Cpus, cpu_seconds, end, pin, resident_kib
from benchmarks.programs import BuildError, Programs, build
from benchmarks.report import Results, table
from benchmarks.servers import Msrpconf, Reference, Room, Server, StartError
from benchmarks.sipload import SipLoadError
from benchmarks.watchers import measure, percentile


class BenchError(Exception):
    """A measurement failed. The text is for the user."""


@frozen
class Plan:
    """How much is done in each round."""

    rounds: int
    sizes: tuple[int, ...]
    deliveries: int  # of one fan-out, about
    latencies: int  # messages of one latency run
    joins: int
    window: int = 20
    outstanding: int = 10
    settle: int = 20  # participants who join before the memory is measured first
    timeout: int = 120  # seconds, of one run of the load generator
    recipients: int = 10  # of a large message
    bulk_octets: int = 100_000_000
    watchers: int = 1000
    watch_seconds: float = 20.0  # in which they join
    leaves: int = 3
    settle_seconds: float = 2.0  # after each thing that happens in the watched room

    def messages(self, size: int) -> int:
        """Messages of a fan-out to so many participants."""
        return max(30, self.deliveries // (size - 1))


FULL = Plan(rounds=5, sizes=(10, 100, 500), deliveries=50000, latencies=300, joins=1000)
QUICK = Plan(
    rounds=1,
    sizes=(3, 10),
    deliveries=1000,
    latencies=30,
    joins=40,
    settle=5,
    recipients=3,
    bulk_octets=10_000_000,
    watchers=20,
    watch_seconds=1.0,
    leaves=1,
    settle_seconds=0.5,
)


@define
class Bench:
    """One run: the programs, the CPUs, and a way to start each server."""

    plan: Plan
    programs: Programs
    cpus: Cpus
    directory: Path
    with_msrpconf: bool = True
    results: Results = field(factory=Results)
    _started: int = 0

    def run(self) -> None:
        """All rounds. Raises BenchError, StartError or SipLoadError."""
        for number in range(1, self.plan.rounds + 1):
            for size in self.plan.sizes:
                for start in self.starters():
                    with running(start) as server:
                        note(f"round {number}: {server.name}, {size} participants")
                        self.fanout(server, size)
                        self.latency(server, size)
            note(f"round {number}: joins and memory")
            with running(self.start_reference) as server:
                self.reference_memory(server)
            if self.with_msrpconf:
                with running(self.start_msrpconf) as msrpconf:
                    self.joins(msrpconf)
                note(f"round {number}: a large message")
                self.bulk()
                note(f"round {number}: a large room that everybody watches")
                with running(self.start_msrpconf) as msrpconf:
                    self.watching(msrpconf)

    def starters(self) -> Iterator[Callable[[], Server]]:
        yield self.start_reference
        if self.with_msrpconf:
            yield self.start_msrpconf

    def start_reference(self) -> Reference:
        return Reference.start(self.programs.reference, self.cpus.server)

    def start_msrpconf(self) -> Msrpconf:
        self._started += 1
        directory = self.directory / f"msrpconf{self._started}"
        directory.mkdir()
        return Msrpconf.start(directory, self.cpus.server)

    def fanout(self, server: Server, size: int) -> None:
        messages = self.plan.messages(size)
        result = self.load(server, size, "fanout", messages)
        steady = result["steady"]
        self.results.add(
            "fanout",
            server.name,
            str(size),
            {
                "cpu_us": steady["server_cpu_seconds"] / steady["deliveries"] * 1e6,
                "ticks_us": (steady["server_user_seconds"] + steady["server_system_seconds"])
                / steady["deliveries"]
                * 1e6,
                "per_second": steady["deliveries"] / steady["seconds"],
                "busy": steady["server_cpu_seconds"] / steady["seconds"],
            },
        )

    def latency(self, server: Server, size: int) -> None:
        result = self.load(server, size, "latency", self.plan.latencies)
        values = {
            f"{which}_{percentile}": result[f"{which}_us"][percentile]
            for which in ("first", "last")
            for percentile in ("p50", "p99")
        }
        self.results.add("latency", server.name, str(size), values)

    def load(self, server: Server, size: int, mode: str, messages: int) -> dict[str, Any]:
        """One run of the load generator in a new room; what it printed."""
        room = server.room(size)
        command = [
            *(str(self.programs.loadgen), mode, "--pid", str(server.pid)),
            *("--cpim-from", room.sender, "--cpim-to", room.uri),
            *("--messages", str(messages), "--warmup", str(max(10, messages // 10))),
            *("--outstanding", str(self.plan.outstanding), "--timeout", str(self.plan.timeout)),
            *("--spin", "1" if self.cpus.separate else "0"),
        ]
        done = subprocess.run(
            command,
            input=lines(room),
            capture_output=True,
            text=True,
            timeout=self.plan.timeout + 10,
            check=False,
        )
        if done.returncode:
            raise BenchError(
                f"{server.name}, {size} participants, {mode}: "
                f"{done.stderr.strip() or 'not all was delivered in order'}\n{done.stdout}"
            )
        server.release()
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def reference_memory(self, server: Server) -> None:
        """Memory of the reference, with as many connections as msrpconf has participants."""
        with ExitStack() as stack:
            stack.enter_context(self.holding(server, self.plan.settle))
            before = resident_kib(server.pid)
            stack.enter_context(self.holding(server, self.plan.joins))
            kib = (resident_kib(server.pid) - before) / self.plan.joins
        self.results.add("memory", server.name, "", {"kib": kib})

    @contextmanager
    def holding(self, server: Server, count: int) -> Iterator[None]:
        """So many more participants, bound and connected."""
        process = subprocess.Popen(
            [str(self.programs.loadgen), "hold", "--timeout", str(self.plan.timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(lines(server.room(count)) + "\n")
            process.stdin.flush()
            if not json.loads(process.stdout.readline() or "{}").get("complete"):
                raise BenchError(f"{server.name}: {count} sessions were not bound")
            yield
        finally:
            end(process)

    def joins(self, server: Msrpconf) -> None:
        """Joins a second, and the memory that they leave."""
        room, window = server.new_room(), self.plan.window
        server.join(room, self.plan.settle, window=window, connect=True)
        before = resident_kib(server.pid)
        cpu = cpu_seconds(server.pid)
        joined = server.join(room, self.plan.joins, window=window, connect=True)
        cpu = cpu_seconds(server.pid) - cpu
        kib = (resident_kib(server.pid) - before) / self.plan.joins
        self.results.add("memory", server.name, "", {"kib": kib})
        self.results.add(
            "joins",
            server.name,
            "",
            {
                "per_second": self.plan.joins / joined.seconds,
                "cpu_us": cpu / self.plan.joins * 1e6,
                "client_us": joined.client_cpu / self.plan.joins * 1e6,
                "busy": cpu / joined.seconds,
                "client_busy": joined.client_cpu / joined.seconds,
                "retransmissions": float(server.sip.retransmissions),
            },
        )

    def watching(self, server: Msrpconf) -> None:
        """A room that all who are in it watch."""
        plan = self.plan
        found = measure(server, plan.watchers, plan.watch_seconds, plan.leaves, plan.settle_seconds)
        latencies = found.joining_latency + found.leaving_latency
        self.results.add(
            "watching",
            server.name,
            "",
            {
                "participants": float(found.participants),
                "seconds": found.took,
                "notifies": float(found.notifies),
                "notify_mb": found.octets / 1e6,
                "full_mb": found.full_octets / 1e6,
                "partial_octets": found.partial_octets,
                "server_cpu_s": found.server_cpu,
                "leave_s": max(found.leaves),
                "message_p50_ms": percentile(latencies, 0.5),
                "message_p99_ms": percentile(latencies, 0.99),
                "message_worst_ms": percentile(latencies, 1),
            },
        )

    def bulk(self) -> None:
        """A large message: alone, with small ones meanwhile, with one who does not read."""
        count, size = self.plan.recipients, self.plan.bulk_octets
        relay = subprocess.Popen(
            [str(self.programs.relay), str(count)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            pin(relay.pid, self.cpus.server)
            assert relay.stdout is not None
            plain = relayed(int(relay.stdout.readline().split()[1]), count, size)
        finally:
            end(relay)
        with running(self.start_msrpconf) as server:
            outcomes = []
            for options in ({}, {"pinging": True}, {"stalled": True}):
                outcomes.append(switched(server.room(count + 1), size, server.pid, **options))
                server.release()
        alone, pinged, stalled = outcomes
        self.results.add(
            "bulk",
            server.name,
            "",
            {
                "relay_mb": size / plain.seconds / 1e6,
                "mb": size / alone.seconds / 1e6,
                "share": plain.seconds / alone.seconds,
                "grown_kib": float(alone.grown_kib),
                "ping_p99_ms": pinged.p99,
                "stalled_share": alone.seconds / stalled.seconds,
                "stalled_grown_kib": float(stalled.grown_kib),
            },
        )


S = TypeVar("S", bound=Server)


@contextmanager
def running(start: Callable[[], S]) -> Iterator[S]:
    """A server that is stopped at the end, whatever happens."""
    server = start()
    try:
        yield server
    finally:
        server.stop()


def lines(room: Room) -> str:
    """A room for the load generator; the first session is the sender's."""
    return "".join(one.line(number == 0) for number, one in enumerate(room.sessions))


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=rest.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run: whether it works, not how well"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"default {FULL.rounds}")
    parser.add_argument("--sizes", metavar="N,N", help="participants of a room, default 10,100,500")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value of each round")
    parser.add_argument(
        "--reference-only", action="store_true", help="measure the machine, not msrpconf"
    )
    return parser.parse_args()


def plan(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for. Raises BenchError."""
    chosen = QUICK if options.quick else FULL
    if options.rounds is not None:
        if options.rounds < 1:
            raise BenchError(f"--rounds {options.rounds}: expected 1 or more")
        chosen = evolve(chosen, rounds=options.rounds)
    if options.sizes is not None:
        try:
            sizes = tuple(int(size) for size in options.sizes.split(","))
        except ValueError:
            sizes = ()
        if not sizes or min(sizes) < 2:
            raise BenchError(f"--sizes {options.sizes}: expected numbers of at least 2, as 10,100")
        chosen = evolve(chosen, sizes=sizes)
    return chosen


def main() -> int:
    """Run, print the tables; 0, or 1 after one line on standard error."""
    options = arguments()
    # A SIGTERM must end the servers that were started, as an interrupt does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with tempfile.TemporaryDirectory(prefix="msrpconf-bench-") as name:
            bench = Bench(
                plan(options),
                build(Path(name)),
                Cpus.choose(),
                Path(name),
                with_msrpconf=not options.reference_only,
            )
            pin(0, bench.cpus.client)
            bench.run()
    except (
        BenchError,
        BulkError,
        BuildError,
        StartError,
        SipLoadError,
        subprocess.TimeoutExpired,
    ) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    machine: dict[str, object] = {
        "cpu": cpu_model(),
        "cpus": os.cpu_count() or 1,
        "pinned": bench.cpus.separate,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    if options.json is not None:
        found = {"machine": machine, "plan": asdict(bench.plan), "values": bench.results.values}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(bench.results, bench.plan.sizes, machine, bench.plan.rounds))
    return 0


def cpu_model() -> str:
    """The name that the kernel has for the CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
