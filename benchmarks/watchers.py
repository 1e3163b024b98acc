"""What it costs to tell everybody in a large room who comes and goes (RFC 4575).

    python benchmarks/watchers.py [--participants N] [--seconds S] [--leaves L]

N people join one room within S seconds, and each subscribes to it as soon as it is in. Then L of
them leave, one after another. Told are the joins a second, the NOTIFYs and their octets, the CPU
time of the server, how long it took until the last watcher knew that somebody had left, and how
long a message took meanwhile in another room of the same process. All watchers are behind one TCP
connection, as behind a proxy. `bench.py` has the same in its tables.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import select
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.processes import Cpus, cpu_seconds
from benchmarks.servers import Msrpconf
from benchmarks.sipload import DOMAIN, Participant

LEAVES = 5
"""How many leave, one after another."""

SETTLE = 2.0
"""Seconds between two things that happen, so that each is measured by itself."""

TOLD = 20.0
"""Seconds for all to be told of somebody's leaving, at most."""


@frozen
class Watched:
    """What it came to; times are in seconds, `latency` those of messages in another room.

    `leaves` are the times until the last watcher knew of each one who left.
    """

    participants: int
    took: float
    notifies: int
    octets: int
    full: int
    full_octets: int
    server_cpu: float
    joining_latency: list[float]
    leaves: list[float]
    leaving_latency: list[float]

    @property
    def partial_octets(self) -> float:
        """Octets of NOTIFYs for each join and watcher, the first documents not counted."""
        return (self.octets - self.full_octets) / (self.participants**2 / 2)


_SUBSCRIBE = b"""\
SUBSCRIBE %(room)s SIP/2.0
Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK%(number)d;rport
Max-Forwards: 70
From: <sip:p%(number)d@bench.invalid>;tag=w
To: <%(room)s>
Call-ID: watch%(number)d@bench
CSeq: 1 SUBSCRIBE
Contact: <sip:p%(number)d@127.0.0.1:9;transport=tcp>
Event: conference
Expires: 3600
Content-Length: 0

""".replace(b"\n", b"\r\n")

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)")
_ECHOED = re.compile(rb"(?m)^(?:Via|From|To|Call-ID|CSeq): [^\r]*")
_NUMBER = re.compile(rb"\r\nCall-ID: watch(\d+)@")


@define
class Seen:
    """What the watchers have seen."""

    notifies: int = 0
    octets: int = 0
    full: int = 0
    full_octets: int = 0
    told: dict[int, float] = field(factory=dict)
    """When each watcher was first told that who leaves has gone."""


def watch(server: tuple[str, int], room: str, pipe: Any) -> None:
    """Be all watchers.

    By `pipe` come the numbers of those who subscribe, -1 for the end; the URI of who is about to
    leave; None for a report.
    """
    connection = socket.create_connection(server)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seen, buffer = Seen(), bytearray()
    leaving = b"nobody"
    while True:
        ready, _, _ = select.select([connection, pipe], [], [])
        if pipe in ready:
            number = pipe.recv()
            if number is None:
                pipe.send(seen)
                continue
            if isinstance(number, str):
                leaving = f'entity="{number}"'.encode()
                seen.told.clear()
                continue
            if number < 0:
                return
            connection.sendall(_SUBSCRIBE % {b"room": room.encode(), b"number": number})
        if connection in ready:
            buffer += connection.recv(1 << 20)
            answers = []
            while (end := buffer.find(b"\r\n\r\n")) >= 0:
                head = bytes(buffer[:end])
                length = _LENGTH.search(head)
                whole = end + 4 + (0 if length is None else int(length[1]))
                if len(buffer) < whole:
                    break
                body = bytes(buffer[end + 4 : whole])
                del buffer[:whole]
                if head.startswith(b"NOTIFY "):
                    _note(seen, head, body, leaving)
                    echoed = b"\r\n".join(_ECHOED.findall(head))
                    answers.append(b"SIP/2.0 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % echoed)
            if answers:
                connection.sendall(b"".join(answers))


def _note(seen: Seen, head: bytes, body: bytes, leaving: bytes) -> None:
    seen.notifies += 1
    seen.octets += len(head) + len(body)
    if b' state="full" version=' in body[:400]:
        seen.full += 1
        seen.full_octets += len(body)
    place = body.find(leaving)
    if place >= 0 and b"<status>disconnected" in body[place : body.find(b"</user>", place)]:
        number = _NUMBER.search(head)
        assert number is not None
        seen.told.setdefault(int(number[1]), time.monotonic())


class Talk(threading.Thread):
    """Two people who talk in a room of their own; how long each message took."""

    def __init__(self, room: str, sender: Participant, hearer: Participant) -> None:
        super().__init__(daemon=True)
        self.latencies: list[float] = []
        self.ended = False
        self._room, self._sender, self._hearer = room.encode(), sender, hearer

    def run(self) -> None:
        sender, hearer = self._sender, self._hearer
        assert sender.session is not None
        assert sender.connection is not None
        assert hearer.connection is not None
        for each in (sender.connection, hearer.connection):
            each.setblocking(True)
        hearer.connection.settimeout(60)
        number = 0
        while not self.ended:
            number += 1
            text = b"From: <%s>\r\nTo: <%s>\r\n\r\nContent-Type: text/plain\r\n\r\nm%d." % (
                sender.uri,
                self._room,
                number,
            )
            frame = (
                b"MSRP t%d SEND\r\nTo-Path: %s\r\nFrom-Path: %s\r\nMessage-ID: m%d\r\n"
                b"Byte-Range: 1-%d/%d\r\nFailure-Report: no\r\nContent-Type: message/cpim\r\n\r\n"
                b"%s\r\n-------t%d$\r\n"
            )
            begun = time.monotonic()
            path = sender.session.to_path.encode()
            size = len(text)
            sender.connection.sendall(
                frame % (number, path, sender.path, number, size, size, text, number)
            )
            heard = b""
            while b"m%d.\r\n" % number not in heard:
                heard += hearer.connection.recv(65536)
            self.latencies.append(time.monotonic() - begun)
            time.sleep(0.02)


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them is, in milliseconds; NaN where there is none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--leaves", type=int, default=LEAVES)
    parser.add_argument("--settle", type=float, default=SETTLE)
    options = parser.parse_args()
    cpus = Cpus.choose()
    with tempfile.TemporaryDirectory() as directory:
        server = Msrpconf.start(Path(directory), cpus.server)
        try:
            count, seconds = options.participants, options.seconds
            print(told(measure(server, count, seconds, options.leaves, options.settle)))
        finally:
            server.stop()


def measure(
    server: Msrpconf, count: int, seconds: float, leaves: int = LEAVES, settle: float = SETTLE
) -> Watched:
    """Have `count` people join, watch, and `leaves` of them leave."""
    quiet, room = server.new_room(), server.new_room()
    pair = server.join(quiet, 2, window=1, connect=True).participants
    talk = Talk(quiet, *pair)
    first = len(pair)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(
        target=watch, args=(server.sip.server, room, theirs), daemon=True
    )
    child.start()

    def seen() -> Seen:
        ours.send(None)
        result: Seen = ours.recv()
        return result

    cpu = cpu_seconds(server.pid)
    talk.start()
    try:
        begun = time.monotonic()
        joined: list[Participant] = []
        for number in range(count):
            joined += server.join(room, 1, window=1, connect=True).participants
            ours.send(first + number)
            ahead = begun + (number + 1) * seconds / count - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        took = time.monotonic() - begun
        time.sleep(settle)
        while seen().full < count and time.monotonic() < begun + took + TOLD:
            time.sleep(0.1)
        cpu = cpu_seconds(server.pid) - cpu
        joining, talk.latencies = talk.latencies, []
        watched = seen()
        last, leaving = [], []
        for leaver in joined[:leaves]:
            ours.send(f"sip:p{leaver.number}@{DOMAIN}")
            time.sleep(settle)
            talk.latencies = []
            left = time.monotonic()
            server.sip.leave([leaver])
            while len(known := seen().told) < count and time.monotonic() < left + TOLD:
                time.sleep(0.1)
            # Of who is never told it took so long at least.
            last.append(max(known.values()) - left if len(known) >= count else TOLD)
            time.sleep(settle)
            leaving += talk.latencies
    finally:
        talk.ended = True
        talk.join(TOLD)
        ours.send(-1)
        child.join(5)
    return Watched(
        *(count, took, watched.notifies, watched.octets, watched.full, watched.full_octets),
        *(cpu, joining, last, leaving),
    )


def told(watched: Watched) -> str:
    """The measurement as people read it."""
    count, took = watched.participants, watched.took
    shown = ", ".join(f"{each:.2f}" for each in watched.leaves)
    return "\n".join(
        (
            f"{count} joined and subscribed in {took:.1f} s, {count / took:.0f} a second",
            f"NOTIFYs {watched.notifies}, {watched.octets / 1e6:.0f} MB; full documents",
            f"  among them {watched.full}, {watched.full_octets / 1e6:.0f} MB",
            f"octets of partial NOTIFYs for each join and watcher: {watched.partial_octets:.0f}",
            f"CPU of the server {watched.server_cpu:.1f} s",
            _latencies("messages while they joined", watched.joining_latency),
            f"seconds until all {count} were told of a leave: {shown}",
            _latencies("messages meanwhile", watched.leaving_latency),
        )
    )


def _latencies(what: str, latencies: list[float]) -> str:
    return (
        f"{what}: {len(latencies)}, median {percentile(latencies, 0.5):.1f} ms,"
        f" p99 {percentile(latencies, 0.99):.1f} ms, worst {percentile(latencies, 1):.1f} ms"
    )


if __name__ == "__main__":
    main()
