"""One host with several server processes: `[server] processes`."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks

from msrpconf.protocols.sip.flow import Address
from tests.distributed.support import LOOPBACK, ApartTestCase, Story
from tests.processes import Program


class ProcessesTests(ApartTestCase):
    @inlineCallbacks
    def start_host(self) -> Story:
        """Start focus and dispatcher with two servers under them."""
        config = self.directory / "msrpconf.toml"
        self.via = Address("udp", LOOPBACK, self.sip_port("host"))
        config.write_text(
            f'[sip]\nlisten = ["{self.via}"]\n[focus]\n[dispatcher]\ngrace = {self.grace}\n'
            f'[server]\nname = "chat"\nprocesses = 2\nlisten = ["tcp:{LOOPBACK}:0"]\n'
            f'files = "files"\ngrace = {self.msrp_grace}\n[conference]\nnotices = false\n'
            '[management]\nlisten = "127.0.0.1:0"\n'
        )
        self.host = self.twistd("msrpconf", "host", config)
        # All are in one log.
        self.servers["chat"] = self.host
        # Each step has its time: the start of a process takes seconds on a busy machine.
        yield self.host.shows("server processes chat-1, chat-2")
        yield self.host.shows(r"for dispatchers at unix:")
        yield self.host.shows(r"(?s)(for dispatchers at unix:.*){2}")
        for name in ("chat-1", "chat-2"):
            yield self.host.shows(rf"server {name} has 0 rooms")

    @property
    def pids(self) -> dict[int, int]:
        """The server processes, by their numbers."""
        found = {}
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            try:
                line = (path / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            match = re.search(r"--process\0(\d+)\0", line)
            if match is not None and str(self.directory) in line:
                found[int(match[1])] = int(path.name)
        return found

    @inlineCallbacks
    def ask(self, *arguments: str) -> Any:
        """The output of a command for the management beside the focus."""
        found = yield self.host.shows(r"management at (http://[\d.]+:\d+)")
        program: Program = self.start("msrpconf", *arguments, "--url", found[1])
        yield program.ends()
        self.assertEqual(program.status, 0, str(program))
        return program.output

    @inlineCallbacks
    def test_rooms_on_all_of_them_and_one_that_dies(self) -> Story:
        yield self.start_host()
        for number in (4, 5):  # the hashes of these names lead to both
            yield self.join(f"user{number}", f"room{number}")
        alice = yield self.join("alice")
        bob = yield self.join("bob")
        yield self.talk(alice, bob)
        rooms = yield self.ask("server", "rooms")
        homes = dict(re.findall(r"sip:(\w+)@\S+ +(chat-[12])", rooms))
        self.assertEqual(set(homes.values()), {"chat-1", "chat-2"}, rooms)
        number = int(homes["lobby"][-1])
        os.kill(self.pids[number], signal.SIGKILL)
        yield self.host.shows(rf"server process chat-{number} has ended: .*it is started again")
        why = yield self.in_time(alice[1].ended)
        self.assertIn("The conference server has failed", why)
        # The other one goes on, and this one is there again.
        yield self.host.shows(r"(?s)(for dispatchers at unix:.*){3}")
        yield self.host.shows(rf"(?s)(server chat-{number} has 0 rooms.*){{2}}")
        yield self.join_in_the_end("carol")
        # Everybody is told, and nobody is left.
        self.host.signals("TERM")
        status = yield self.host.ends()
        self.assertEqual(status, 0, str(self.host))
        yield self.until(lambda: self.byes("carol"))
        self.assertEqual(self.pids, {})
        self.assertNotIn("Traceback", self.host.output + self.host.errors)

    @inlineCallbacks
    def test_no_orphans(self) -> Story:
        yield self.start_host()
        self.assertEqual(set(self.pids), {1, 2})
        sockets = Path((yield self.host.shows(r"unix:(\S+)/1\.sock"))[1])
        self.assertEqual(sockets.stat().st_mode & 0o777, 0o700)
        yield self.kill(self.host)
        yield self.until(lambda: not self.pids)
        self.assertFalse(sockets.exists())
