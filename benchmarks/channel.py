"""What the channel costs, between focus and server in processes of their own.

    python benchmarks/channel.py [--requests N] [--joins N] [--rounds N]

Three figures:

- Requests a second over one connection with TLS on loopback, 200 outstanding: those of the channel
  itself, by PING with the headers and a body as of an INVITE.
- The same with the work of a dispatcher and a server, by OPTIONS for a room.
- CPU time of a join (INVITE, 200, ACK; 20 at a time, each round into a new room) with focus and
  server in one process, and with focus and server apart, of which both are counted; they take
  turns. The ratio of the two is the cost of the channel.

The server is on one CPU, and what asks it on another, where there are two; a focus apart shares the
server's, so that the times can be compared.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.python.failure import Failure

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.processes import Cpus, cpu_seconds, end, pin
from benchmarks.servers import START_TIMEOUT, StartError, free_port
from benchmarks.sipload import DOMAIN, SipLoad
from msrpconf.commands.pki import pki
from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.tls_files import PemFiles
from msrpconf.services.dispatcher import DispatcherService

ROOT = Path(__file__).resolve().parent.parent

OUTSTANDING = 200

BODY = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + b"a=x\r\n" * 60
)
"""As long as a description."""

SIP = '[sip]\nlisten = ["udp:127.0.0.1:{sip}"]\n[focus]\n'
SERVER = (
    '[server]\nlisten = ["tcp:127.0.0.1:0"]\nfiles = "files-{name}"\nmsrp_timeout = 3600\n{control}'
    "[conference]\nnotices = false\n"
)
CHANNEL = (
    '[channel]\nauthorities = "ca.pem"\ncertificate = "{name}.pem"\nprivate_key = "{name}.key"\n'
)


@define
class Setup:
    """The processes: focus and server in one, and apart. To be closed."""

    directory: Path
    cpus: Cpus
    started: list[subprocess.Popen[str]] = field(factory=list)

    def certificates(self) -> None:
        """Those of an authority of our own, for the server and two dispatchers."""
        for words in (("init",), ("server", "127.0.0.1"), ("dispatcher", "a"), ("dispatcher", "b")):
            arguments = ["--directory", str(self.directory)]
            with open(os.devnull, "w") as nowhere:
                # It tells which files it has made.
                before, sys.stdout = sys.stdout, nowhere
                try:
                    pki.main([*words, *arguments], standalone_mode=False)
                finally:
                    sys.stdout = before

    def start(self, program: str, name: str, text: str) -> subprocess.Popen[str]:
        """Start one of our programs."""
        config = self.directory / f"{name}.toml"
        config.write_text(text)
        with (self.directory / f"{name}.log").open("w") as log:
            twistd = str(Path(sys.executable).parent / "twistd")
            process = subprocess.Popen(
                [twistd, "-n", "--pidfile=", program, "--config", config.name],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.started.append(process)
        pin(process.pid, self.cpus.server)
        return process

    def wait(self, name: str, ready: Any) -> None:
        """Until `ready()`. Raises StartError with the end of the log."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if ready():
                return
            time.sleep(0.1)
        log = (self.directory / f"{name}.log").read_text().splitlines()[-5:]
        raise StartError(f"{name} did not start; its log ends:\n  " + "\n  ".join(log))

    def told(self, name: str, text: str) -> bool:
        """Whether a log has a text."""
        return text in (self.directory / f"{name}.log").read_text()

    def close(self) -> None:
        """End all of them."""
        for process in reversed(self.started):
            end(process)


@frozen
class Joining:
    """One way to join: the processes that it takes, and the load for it."""

    name: str
    pids: tuple[int, ...]
    sip: SipLoad
    costs: list[float] = field(factory=list)

    def measure(self, number: int, joins: int) -> None:
        """Join a new room, and leave it."""
        before = sum(map(cpu_seconds, self.pids))
        joined = self.sip.join(f"sip:r{number}@{DOMAIN}", joins, window=20, connect=False)
        self.costs.append((sum(map(cpu_seconds, self.pids)) - before) / joins * 1e6)
        self.sip.leave(joined.participants)

    @property
    def cost(self) -> float:
        """Microseconds of CPU for a join."""
        return median(self.costs)


def joinings(setup: Setup, control: int) -> tuple[Joining, Joining]:
    """Both ways, started."""
    ports = [free_port(socket.SOCK_DGRAM) for _ in range(2)]
    one = SIP.format(sip=ports[0]) + SERVER.format(name="one", control="")
    together = setup.start("msrpconf", "one", one)
    keys = f'control = "tls:127.0.0.1:{control}"\ndispatchers = ["a", "b"]\n'
    text = SERVER.format(name="server", control=keys) + CHANNEL.format(name="127.0.0.1")
    server = setup.start("msrpconf-server", "server", text)
    setup.wait("server", lambda: setup.told("server", "for dispatchers at"))
    servers = f'[dispatcher]\nname = "a"\nservers = ["tls:127.0.0.1:{control}"]\n'
    text = SIP.format(sip=ports[1]) + servers + CHANNEL.format(name="a")
    focus = setup.start("msrpconf-focus", "focus", text)
    setup.wait("focus", lambda: setup.told("focus", "has 0 rooms"))
    loads = [SipLoad(("127.0.0.1", port)) for port in ports]
    setup.wait("one", loads[0].ping)
    setup.wait("focus", loads[1].ping)
    apart = server.pid, focus.pid
    return Joining("together", (together.pid,), loads[0]), Joining("apart", apart, loads[1])


@inlineCallbacks
def asking(
    reactor: Any, setup: Setup, control: int, count: int
) -> Generator[Deferred[Any], Any, tuple[float, float]]:
    """Ask the server so often over one connection, with PING and OPTIONS; how many a second."""
    directory = setup.directory
    tls = ChannelTls(PemFiles(directory / "b.pem", directory / "b.key", directory / "ca.pem"))
    address = ChannelAddress.parse(f"tls:127.0.0.1:{control}")
    dispatcher = DispatcherService(reactor, "b", [address], lambda r: r.response(501), tls=tls)
    dispatcher.startService()
    yield dispatcher.request(_options(0))  # then there is a link
    (link,) = dispatcher.links.values()
    rates = []
    for ask in (
        lambda number: link.request(_ping(number)),
        lambda n: dispatcher.request(_options(n)),
    ):
        began = time.monotonic()
        yield _all(ask, count)
        rates.append(count / (time.monotonic() - began))
    yield dispatcher.stopService()
    return rates[0], rates[1]


def _all(ask: Callable[[int], Deferred[Response]], count: int) -> Deferred[Any]:
    """Ask so often, so many at a time. Fails with StartError where an answer is not 200."""
    left = iter(range(count))

    @inlineCallbacks
    def one_after_another() -> Generator[Deferred[Any], Any, None]:
        for number in left:
            found = yield ask(number)
            if found.status != 200:
                raise StartError(f"the answer was {found.status} {found.reason}")

    return gatherResults([one_after_another() for _ in range(OUTSTANDING)], consumeErrors=True)


def _ping(number: int) -> Request:
    """As long as an INVITE."""
    options = _options(number)
    return Request("PING", options.uri, options.headers, BODY)


def _options(number: int) -> Request:
    """As a focus brings it."""
    uri = f"sip:options@{DOMAIN}"
    headers = [
        ("From", f"<sip:alice@{DOMAIN}>;tag=t{number}"),
        ("To", f"<{uri}>"),
        ("Call-ID", f"{number}@127.0.0.1"),
        ("CSeq", "1 OPTIONS"),
        ("Contact", "<sip:alice@127.0.0.1:5070>"),
        ("Accept", "application/sdp"),
        ("Conference", uri),
    ]
    return Request("OPTIONS", parse_uri(uri), Headers(headers))


def measure(requests: int, joins: int, rounds: int) -> tuple[float, float, float, float]:
    """PINGs and OPTIONS a second, and microseconds of CPU for a join, together and apart."""
    reactor: Any = import_module("twisted.internet.reactor")
    with tempfile.TemporaryDirectory(prefix="msrpconf-bench-") as directory:
        setup = Setup(Path(directory), Cpus.choose())
        pin(0, setup.cpus.client)
        try:
            setup.certificates()
            control = free_port(socket.SOCK_STREAM)
            ways = joinings(setup, control)
            for number in range(rounds):
                for way in ways:
                    way.measure(number, joins)
            outcome: list[Any] = []
            asked = asking(reactor, setup, control, requests)
            asked.addBoth(outcome.append).addBoth(lambda _: reactor.callLater(0, reactor.stop))
            reactor.run()
        finally:
            setup.close()
    for way in ways:
        way.sip.close()
    if isinstance(outcome[0], Failure):
        error = outcome[0].value
        # What `gatherResults` has wrapped.
        getattr(error, "subFailure", outcome[0]).raiseException()
    ping, options = outcome[0]
    return ping, options, ways[0].cost, ways[1].cost


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="what the channel costs")
    parser.add_argument("--requests", type=int, default=20000, metavar="N")
    parser.add_argument("--joins", type=int, default=500, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    asked = parser.parse_args()
    try:
        ping, options, together, apart = measure(asked.requests, asked.joins, asked.rounds)
    except StartError as error:
        raise SystemExit(f"channel.py: {error}") from None
    print(f"{ping:.0f} requests a second over one connection with TLS")
    print(f"{options:.0f} with the work of dispatcher and server for OPTIONS")
    print(f"CPU of a join: {together:.0f} µs in one process, {apart:.0f} µs with focus and server")
    print(f"apart: {apart / together:.2f} times")


if __name__ == "__main__":
    main()
