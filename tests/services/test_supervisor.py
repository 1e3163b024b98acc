"""What a service manager is told (sd_notify(3)), over sockets of the test's own."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services.supervisor import Supervisor


class SupervisorTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = mkdtemp(prefix="msrpconf")  # the name of a socket must be short
        self.addCleanup(rmtree, directory)
        self.path = str(Path(directory) / "notify")
        self.socket = self.listen(self.path)
        self.clock = Clock()

    def listen(self, name: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(name)
        listening.setblocking(False)
        return listening

    def supervisor(self, **environment: str) -> Supervisor:
        return Supervisor({"NOTIFY_SOCKET": self.path, **environment}, self.clock, 77)

    def told(self, listening: socket.socket | None = None) -> list[str]:
        """What has come since this was last asked."""
        texts = []
        while True:
            try:
                texts.append((listening or self.socket).recv(4096).decode())
            except BlockingIOError:
                return texts

    def test_from_the_beginning_to_the_end(self) -> None:
        supervisor = self.supervisor()
        self.assertEqual(self.told(), [])
        supervisor.ready("listening: sip udp:127.0.0.1:5060\nREADY=0")
        self.assertEqual(self.told(), ["READY=1\nSTATUS=listening: sip udp:127.0.0.1:5060 READY=0"])
        self.clock.advance(3600)
        self.assertEqual(self.told(), [])
        before = time.monotonic_ns() // 1000
        supervisor.reloading()
        (told,) = self.told()
        found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", told)
        assert found is not None, told
        self.assertTrue(before <= int(found[1]) <= time.monotonic_ns() // 1000)
        supervisor.ready("here")
        self.assertEqual(self.told(), ["READY=1\nSTATUS=here"])
        supervisor.stopping()
        self.assertEqual(self.told(), ["STOPPING=1\nSTATUS=everybody is told"])
        supervisor.stopped()

    def test_an_abstract_socket(self) -> None:
        name = f"msrpconf-test-{os.getpid()}"
        listening = self.listen(f"\0{name}")
        self.supervisor(NOTIFY_SOCKET=f"@{name}").ready("here")
        self.assertEqual(self.told(listening), ["READY=1\nSTATUS=here"])

    def test_the_watchdog_hears_of_us_twice_in_its_time(self) -> None:
        supervisor = self.supervisor(WATCHDOG_USEC="10000000", WATCHDOG_PID="77")
        self.clock.advance(60)
        self.assertEqual(self.told(), [])  # not before we are ready
        supervisor.ready("here")
        self.assertEqual(self.told(), ["READY=1\nSTATUS=here", "WATCHDOG=1"])
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.told(), ["WATCHDOG=1"] * 4)
        supervisor.stopping()
        self.told()
        self.clock.pump([1.0] * 5)
        self.assertEqual(self.told(), ["WATCHDOG=1"])  # the end may hang, too
        supervisor.stopped()
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.told(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_watchdog_of_another_process(self) -> None:
        self.supervisor(WATCHDOG_USEC="10000000", WATCHDOG_PID="78").ready("here")
        self.assertEqual(self.told(), ["READY=1\nSTATUS=here"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_wants_to_know(self) -> None:
        supervisor = Supervisor({"WATCHDOG_USEC": "10000000"}, self.clock, 77)
        supervisor.ready("here")
        supervisor.stopping()
        supervisor.stopped()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_gone_is_no_harm(self) -> None:
        supervisor = self.supervisor(WATCHDOG_USEC="10000000")
        self.socket.close()
        os.unlink(self.path)
        supervisor.ready("here")
        self.clock.pump([1.0] * 20)
        supervisor.stopped()

    def test_who_does_not_read_is_not_waited_for(self) -> None:
        supervisor = self.supervisor(WATCHDOG_USEC="2000000")
        supervisor.ready("here")
        self.clock.pump([1.0] * 2000)
        self.assertGreater(len(self.told()), 1)
        supervisor.stopped()

    def test_what_cannot_be_understood_is_said(self) -> None:
        for environment, wrong in (
            ({"NOTIFY_SOCKET": "vsock:2:1"}, "NOTIFY_SOCKET: expected a path or @ and a name"),
            ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC: expected a number of microseconds"),
            ({"WATCHDOG_USEC": "0"}, "WATCHDOG_USEC: expected a number of microseconds"),
        ):
            with capturedLogs() as events:
                self.supervisor(**environment).ready("here")
            said = [formatEvent(event).partition(", found")[0] for event in events]
            self.assertEqual(said, [wrong])
