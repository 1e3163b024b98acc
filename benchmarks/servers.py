"""The servers that are measured: the reference, and msrpconf as an operator starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import define, field, frozen

from benchmarks.processes import end, pin
from benchmarks.sipload import DOMAIN, Joined, Session, SipLoad

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60.0

CONFIGURATION = """\
[sip]
listen = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
[focus]
[presence]
[server]
name = "bench"
listen = ["tcp:127.0.0.1:{msrp}"]
[conference]
max_participants = 5000
rate = 0
notices = false
"""


class StartError(Exception):
    """A server did not start. The text is for the user."""


@frozen
class Room:
    """A room with participants who have not connected yet; the first of them will speak.

    `sender` and `second` are the URIs of the first two.
    """

    uri: str
    sender: str
    sessions: list[Session]
    second: str = ""


class Server(Protocol):
    """A server that is running, with whom sessions can be made and ended."""

    name: ClassVar[str]

    @property
    def pid(self) -> int: ...

    def room(self, count: int) -> Room:
        """A new room with so many participants."""

    def release(self) -> None:
        """End all sessions of all rooms."""

    def stop(self) -> None: ...


@define
class Reference:
    """The reference switch: its sessions need no SIP, and its only room is empty between runs."""

    name: ClassVar[str] = "reference"
    process: subprocess.Popen[str]
    port: int
    _made: int = 0

    @classmethod
    def start(cls, program: Path, cpu: int | None) -> Reference:
        process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        pin(process.pid, cpu)
        assert process.stdout is not None
        word, _, port = process.stdout.readline().partition(" ")
        if word != "port":
            end(process)
            raise StartError("the reference did not start")
        return cls(process, int(port))

    @property
    def pid(self) -> int:
        return self.process.pid

    def room(self, count: int) -> Room:
        first, self._made = self._made, self._made + count
        server, client = f"msrp://127.0.0.1:{self.port}", "msrp://127.0.0.1:9"
        sessions = [
            Session("127.0.0.1", self.port, f"{server}/s{one:012};tcp", f"{client}/p{one:012};tcp")
            for one in range(first, first + count)
        ]
        return Room(f"sip:room1@{DOMAIN}", f"sip:p0@{DOMAIN}", sessions)

    def release(self) -> None:
        pass

    def stop(self) -> None:
        end(self.process)


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@define
class Msrpconf:
    """msrpconf under twistd, with the configuration above; participants join it over SIP."""

    name: ClassVar[str] = "msrpconf"
    process: subprocess.Popen[str]
    sip: SipLoad
    _rooms: int = 0
    _joined: list[Joined] = field(factory=list)

    @classmethod
    def start(cls, directory: Path, cpu: int | None) -> Msrpconf:
        """Start it in an empty directory, which keeps its configuration, database and log.

        Raises StartError with the end of the log.
        """
        for _ in range(2):
            try:
                return cls._start(directory, cpu)
            except StartError as error:
                if "in use" not in str(error):
                    raise  # else somebody has been given the port meanwhile
        return cls._start(directory, cpu)

    @classmethod
    def _start(cls, directory: Path, cpu: int | None) -> Msrpconf:
        ports = {
            "sip": free_port(socket.SOCK_DGRAM),
            "msrp": free_port(socket.SOCK_STREAM),
            "directory": directory,
        }
        (directory / "msrpconf.toml").write_text(CONFIGURATION.format_map(ports))
        twistd = Path(sys.executable).parent / "twistd"
        if not twistd.exists():
            raise StartError(f"no {twistd}: run this with the Python of the project's environment")
        search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (directory / "log").open("w") as log:
            process = subprocess.Popen(
                [str(twistd), "-n", "--pidfile=", "msrpconf", "--config", "msrpconf.toml"],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": search},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        pin(process.pid, cpu)
        sip = SipLoad(("127.0.0.1", int(str(ports["sip"]))))
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            if sip.ping():
                return cls(process, sip)
        end(process)
        sip.close()
        log_end = (directory / "log").read_text().strip().splitlines()[-5:]
        raise StartError("msrpconf did not start; its log ends:\n  " + "\n  ".join(log_end))

    @property
    def pid(self) -> int:
        return self.process.pid

    def join(self, room: str, count: int, *, window: int, connect: bool) -> Joined:
        """Joins into a room, by its URI (see SipLoad.join); it may have participants already."""
        joined = self.sip.join(room, count, window=window, connect=connect)
        self._joined.append(joined)
        return joined

    def new_room(self) -> str:
        """The URI of a room that was not used before."""
        self._rooms += 1
        return f"sip:room{self._rooms}@{DOMAIN}"

    def room(self, count: int) -> Room:
        uri = self.new_room()
        joined = self.join(uri, count, window=20, connect=False)
        first, second = (each.uri.decode() for each in joined.participants[:2])
        return Room(uri, first, joined.sessions, second)

    def release(self) -> None:
        while self._joined:
            self.sip.leave(self._joined.pop().participants)

    def stop(self) -> None:
        self.sip.close()
        end(self.process)
