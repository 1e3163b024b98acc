"""The values of a benchmark run, and the tables made of them."""

from __future__ import annotations

from statistics import median

from attrs import define, field

from benchmarks.servers import Msrpconf, Reference

Values = dict[str, float]


@define
class Results:
    """The values of all rounds: figure -> server -> what varies (participants) -> one a round."""

    values: dict[str, dict[str, dict[str, list[Values]]]] = field(factory=dict)

    def add(self, figure: str, server: str, case: str, values: Values) -> None:
        self.values.setdefault(figure, {}).setdefault(server, {}).setdefault(case, []).append(
            values
        )

    def rounds(self, figure: str, server: str, case: str) -> list[Values]:
        return self.values.get(figure, {}).get(server, {}).get(case, [])

    def median(self, figure: str, server: str, case: str, name: str) -> float | None:
        values = [one[name] for one in self.rounds(figure, server, case)]
        return median(values) if values else None

    def ratio(self, figure: str, case: str, name: str) -> float | None:
        """The median of the rounds' ratios: what disturbs a round disturbs both servers."""
        pairs = zip(
            self.rounds(figure, Msrpconf.name, case),
            self.rounds(figure, Reference.name, case),
            strict=False,
        )
        ratios = [ours[name] / theirs[name] for ours, theirs in pairs if theirs[name] > 0]
        return median(ratios) if ratios else None


def table(results: Results, sizes: tuple[int, ...], machine: dict[str, object], rounds: int) -> str:
    """All figures as plain text."""
    where = "server and load on a CPU each" if machine["pinned"] else "all on the same CPU"
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['cpus']} CPUs ({where}), Linux {machine['kernel']},"
            f" Python {machine['python']}; medians of {rounds} rounds",
            "",
            "Delivery: CPU time of the server for each copy, 10 SENDs outstanding",
            *_fanout(results, sizes),
            "",
            "Latency: one message at a time, microseconds until the first and the last have it",
            *_latency(results, sizes),
            *_joins(results),
            *_bulk(results),
            *_watching(results),
            "",
            "Memory: resident KiB for each participant in a room and connected",
            *(
                f"{name:>12} {_number(results.median('memory', name, '', 'kib'), 1)}"
                for name in (Reference.name, Msrpconf.name)
                if results.rounds("memory", name, "")
            ),
        ]
    )


def _number(value: float | None, digits: int = 0) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.{digits}f}"


def _row(*cells: str) -> str:
    return f"{cells[0]:>12} " + " ".join(f"{cell:>10}" for cell in cells[1:])


def _fanout(results: Results, sizes: tuple[int, ...]) -> list[str]:
    rows = [_row("participants", "reference", "msrpconf", "ratio", "msrpconf", "msrpconf")]
    rows.append(_row("", "us", "us", "", "copies/s", "busy %"))
    for size in map(str, sizes):
        busy = results.median("fanout", Msrpconf.name, size, "busy")
        rows.append(
            _row(
                size,
                _number(results.median("fanout", Reference.name, size, "cpu_us"), 2),
                _number(results.median("fanout", Msrpconf.name, size, "cpu_us"), 2),
                _number(results.ratio("fanout", size, "cpu_us"), 2),
                _number(results.median("fanout", Msrpconf.name, size, "per_second")),
                _number(None if busy is None else busy * 100),
            )
        )
    return rows


def _latency(results: Results, sizes: tuple[int, ...]) -> list[str]:
    kinds = [
        f"{which}_{percentile}" for which in ("first", "last") for percentile in ("p50", "p99")
    ]
    rows = [_row("participants", *(kind.replace("_", " ") for kind in kinds))]
    for size in sizes:
        for name in (Reference.name, Msrpconf.name):
            values = [results.median("latency", name, str(size), kind) for kind in kinds]
            if None in values:
                continue
            rows.append(_row(str(size), *(_number(value) for value in values)) + f"  {name}")
    return rows


def _joins(results: Results) -> list[str]:
    def value(name: str) -> float | None:
        return results.median("joins", Msrpconf.name, "", name)

    rate = value("per_second")
    if rate is None:
        return []
    return [
        "",
        "Joins: INVITE, 200, ACK, connection, binding SEND, 200; 20 at a time, one room",
        f"{rate:12.0f} a second",
        f"{value('cpu_us') or 0:12.0f} us CPU of the server for each"
        f" ({_share(value('busy'))} busy)",
        f"{value('client_us') or 0:12.0f} us CPU of the load for each"
        f" ({_share(value('client_busy'))} busy)",
        f"{value('retransmissions') or 0:12.0f} requests repeated",
    ]


def _bulk(results: Results) -> list[str]:
    def value(name: str) -> float:
        return results.median("bulk", Msrpconf.name, "", name) or 0.0

    if not results.rounds("bulk", Msrpconf.name, ""):
        return []
    return [
        "",
        "A large message to all others of a room, and the same octets through a plain relay",
        f"{value('relay_mb'):12.0f} MB/s to each recipient through the relay",
        f"{value('mb'):12.0f} MB/s to each through msrpconf: {_share(value('share'))} of that",
        f"{value('grown_kib'):12.0f} KiB more resident memory at most meanwhile",
        f"{value('ping_p99_ms'):12.1f} ms p99 of a short message meanwhile",
        f"{_share(value('stalled_share')):>12} of the rate for the others where one does not read,"
        f" {value('stalled_grown_kib'):.0f} KiB more memory",
    ]


def _watching(results: Results) -> list[str]:
    def value(name: str) -> float:
        return results.median("watching", Msrpconf.name, "", name) or 0.0

    if not results.rounds("watching", Msrpconf.name, ""):
        return []
    return [
        "",
        f"A room that all who are in it watch: {value('participants'):.0f} join one after another",
        f"{value('seconds'):12.1f} s until all were in and had subscribed,"
        f" {value('server_cpu_s'):.1f} s CPU of the server",
        f"{value('notifies'):12.0f} NOTIFYs of {value('notify_mb'):.0f} MB,"
        f" {value('full_mb'):.0f} MB of them first documents",
        f"{value('partial_octets'):12.0f} octets of the others for each join and watcher",
        f"{value('leave_s'):12.2f} s at most until all were told of one who left",
        f"{value('message_p99_ms'):12.1f} ms p99 of a message in another room meanwhile"
        f" (median {value('message_p50_ms'):.1f}, worst {value('message_worst_ms'):.1f})",
    ]


def _share(value: float | None) -> str:
    return f"{100 * (value or 0):.0f} %"
