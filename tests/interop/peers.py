"""Programs of others, which talk to a server of ours over loopback."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Generator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.error import ProcessExitedAlready
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, TestCase

from msrpconf.client import UserAgent
from msrpconf.config import Config
from msrpconf.protocols.sip.flow import bracket
from msrpconf.protocols.sip.message import parse_message
from msrpconf.services.compose import ConferenceService, make_service
from tests.processes import Program

SCENARIOS = Path(__file__).parent / "scenarios"

GIVE_UP = 60
"""Seconds after which sipp ends a run and calls it failed."""

CONFIGURATION = """
[sip]
listen = ["udp:{host}:0", "tcp:{host}:0"]
[focus]
ack_timeout = {ack_timeout}
[server]
listen = ["tcp:{host}:0"]
"""


def find_sipp() -> str:
    """Where sipp is. Skips the test where it is missing; fails it where that is checked in CI."""
    found = shutil.which("sipp")
    if found is not None:
        return found
    text = "sipp is missing: apt install sip-tester"
    if os.environ.get("CI"):
        raise AssertionError(text)
    raise SkipTest(text)


@frozen
class Run:
    """What became of a run of sipp."""

    status: int
    """Its exit status: 0 if every call went as the scenario says."""
    succeeded: int
    failed: int
    repeated: int
    """Messages that sipp sent more than once, or saw more than once."""
    errors: str
    """What it says of calls that failed."""


class SippCase(TestCase):
    """A server in this process, and sipp as its peer."""

    timeout = 90

    def setUp(self) -> None:
        self.sipp = find_sipp()
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.lines: list[str] = []
        self.traced: list[tuple[str, bytes]] = []
        """SIP that came (``in``) and went (``out``)."""
        self._programs: list[Program] = []
        observer: Any = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    @inlineCallbacks
    def serve(
        self, host: str = "127.0.0.1", ack_timeout: float = 5.0, more: str = ""
    ) -> Generator[Deferred[Any], Any, ConferenceService]:
        """Start a server on free ports; `more` tables are in its configuration."""

        def trace(kind: str, direction: str, peer: str, octets: bytes) -> None:
            if kind == "sip":
                self.traced.append((direction, octets))

        reactor: Any = import_module("twisted.internet.reactor")
        text = CONFIGURATION.format(host=bracket(host), ack_timeout=ack_timeout) + more
        service = make_service(Config.parse(text, "the test"), reactor, trace)
        yield service.startService()
        self.addCleanup(service.stopService)
        # Before that, so that nobody is waited for.
        self.addCleanup(self._end_all)
        self.host = host
        self.service = service
        self.ports = {each.transport: each.port for each in service.focus.listening}
        return service

    @inlineCallbacks
    def join(self, *names: str) -> Generator[Deferred[Any], Any, None]:
        """Have people join the lobby."""
        reactor: Any = import_module("twisted.internet.reactor")
        for name in names:
            agent = UserAgent(reactor, f"sip:{name}@example.com")
            self.addCleanup(agent.stop)
            yield agent.join(f"sip:lobby@127.0.0.1:{self.ports['udp']}")

    def _end_all(self) -> Deferred[Any]:
        left = [program for program in self._programs if program.status is None]
        for program in left:
            with suppress(ProcessExitedAlready):
                program.signals("KILL")
        return DeferredList([program.ended for program in left])

    @inlineCallbacks
    def run_sipp(
        self,
        scenario: str,
        *options: str,
        calls: int = 1,
        rate: int = 200,
        at_once: int = 50,
        mode: str = "u1",
        room: str = "lobby",
    ) -> Generator[Deferred[Any], Any, Run]:
        """Run `calls` calls of a scenario, `rate` a second begun, so many `at_once`.

        `mode` is sipp's transport: ``u1`` is UDP, ``t1`` TCP with one connection for all
        calls, ``tn`` TCP with one for each.
        """
        transport = "udp" if mode[0] == "u" else "tcp"
        arguments = [
            f"{bracket(self.host)}:{self.ports[transport]}",
            *("-sf", str(SCENARIOS / f"{scenario}.xml"), "-s", room, "-t", mode),
            *("-i", self.host, "-m", str(calls), "-r", str(rate), "-l", str(at_once)),
            *("-timeout", f"{GIVE_UP}s", "-timeout_error", "-recv_timeout", "20000"),
            *("-trace_err", "-error_file", "errors.log"),
            *("-trace_stat", "-stf", "statistics.csv", "-fd", "60s"),
            *("-nostdin", "-skip_rlimit"),
            *options,
        ]
        reactor: Any = import_module("twisted.internet.reactor")
        program = Program("sipp", reactor)
        environment = {**os.environ, "TERM": "dumb"}
        reactor.spawnProcess(
            program, self.sipp, [self.sipp, *arguments], environment, str(self.directory)
        )
        self._programs.append(program)
        status = yield program.ended
        return self._result(status, program)

    def _result(self, status: int, program: Program) -> Run:
        errors = self.directory / "errors.log"
        statistics = self.directory / "statistics.csv"
        if not statistics.exists():
            raise AssertionError(f"sipp did not run: {program}")
        with statistics.open(encoding="ascii") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        return Run(
            status,
            int(last["SuccessfulCall(C)"]),
            int(last["FailedCall(C)"]),
            int(last["Retransmissions(C)"]),
            errors.read_text("utf-8", "replace")[:4000] if errors.exists() else "",
        )

    def assertSucceeded(self, run: Run, calls: int) -> None:
        """All calls went as their scenario says."""
        self.assertEqual((run.status, run.succeeded, run.failed), (0, calls, 0), run.errors)

    def logged(self, what: str) -> int:
        """How many lines of the log begin like this."""
        return sum(line.startswith(what) for line in self.lines)

    def sent(self, start: bytes, cseq: bytes) -> int:
        """How many messages that begin like this, and have this CSeq, went out."""
        return sum(
            way == "out" and octets.startswith(start) and b"\r\nCSeq: %b\r\n" % cseq in octets
            for way, octets in self.traced
        )

    def heard(self, start: bytes) -> set[str]:
        """The Call-IDs of the messages that came and begin like this."""
        return {
            parse_message(octets).call_id
            for way, octets in self.traced
            if way == "in" and octets.startswith(start)
        }
