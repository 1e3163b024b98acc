"""Hosts in network namespaces, and links between them that can be cut, for tests.

Each host has an address of its own on a network that they share. A link that is cut drops what
passes: nobody gets a FIN, an RST or an ICMP message, as where a cable is drawn. It takes root,
Debian's iproute2 and nftables; the machine's own network sees nothing of it.

    focus-1 --+                     one more namespace has the bridge, so that nothing
    east -----+-- bridge            of it has a name or an address outside, and several
    people ---+                     workers may have such networks at one time
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from contextlib import suppress
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SkipTest

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_PACKAGES = {"ip": "iproute2", "nft": "nftables"}
_MARK = "msrpconf"
_SERIAL = count()
_CLONE_NEWNET = 0x40000000
_HERE = Path("/proc/thread-self/ns/net")
_NAMES = Path("/run/netns")
_CUTS = "add table inet cuts; add chain inet cuts in { type filter hook input priority 0; }"


class Hosts:
    """Hosts called `names`. Skips the test where there can be none; `close` takes them away."""

    def __init__(self, *names: str) -> None:
        self._tools = _tools()
        self._home = os.open(_HERE, os.O_RDONLY)
        self._prefix = f"{_MARK}-{os.getpid()}-{next(_SERIAL)}"
        self._made: list[str] = []
        self._cut: set[tuple[str, str]] = set()
        self.addresses = {name: f"10.0.0.{number}" for number, name in enumerate(names, 1)}
        """The address of each host."""
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def by(self, host: str) -> tuple[str, ...]:
        """The words of a command that becomes the one it is given, on a host."""
        return self._tools["ip"], "netns", "exec", self._name(host)

    def enter(self, host: str) -> None:
        """Have sockets that this thread opens be on a host, until `close`."""
        with (_NAMES / self._name(host)).open() as namespace:
            _set_namespace(namespace.fileno())

    def cut(self, one: str, other: str) -> None:
        """Drop all that the two send to each other. Other links stay."""
        for here, there in ((one, other), (other, one)):
            rule = f"add rule inet cuts in ip saddr {self.addresses[there]} counter drop"
            self._nft(here, rule)
            self._cut.add((here, there))

    def heal(self, one: str, other: str) -> None:
        """Have them reach each other again."""
        for here, there in ((one, other), (other, one)):
            self._cut.discard((here, there))
            self._nft(here, "flush chain inet cuts in")
            for _, third in sorted(each for each in self._cut if each[0] == here):
                self.cut(here, third)

    def dropped(self, here: str, there: str) -> int:
        """How many packets from `there` did not arrive `here` since the link was cut."""
        found = json.loads(self._nft(here, "list chain inet cuts in", "--json"))
        for each in found["nftables"]:
            parts = each.get("rule", {}).get("expr", ())
            if any(part.get("match", {}).get("right") == self.addresses[there] for part in parts):
                return sum(part["counter"]["packets"] for part in parts if "counter" in part)
        raise LookupError(f"{here} and {there} are not cut off")

    def close(self) -> None:
        """Be where one was, and take all hosts away."""
        if self._home >= 0:
            _set_namespace(self._home)
            os.close(self._home)
            self._home = -1
        for name in self._made:
            _run(self._tools["ip"], "netns", "delete", name)
        self._made.clear()

    def _make(self) -> None:
        switch = self._add("switch")
        self._ip("-n", switch, "link", "add", "dev", "bridge", "type", "bridge")
        self._ip("-n", switch, "link", "set", "dev", "bridge", "up")
        for number, (name, address) in enumerate(self.addresses.items(), 1):
            host, port = self._add(name), f"port{number}"
            peer = ("peer", "name", port, "netns", switch)
            self._ip("-n", host, "link", "add", "dev", "eth0", "type", "veth", *peer)
            self._ip("-n", switch, "link", "set", "dev", port, "master", "bridge", "up")
            self._ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                self._ip("-n", host, "link", "set", "dev", device, "up")
            self._nft(name, _CUTS)

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _add(self, host: str) -> str:
        name = self._name(host)
        self._ip("netns", "add", name)
        self._made.append(name)
        return name

    def _ip(self, *arguments: str) -> str:
        return _run(self._tools["ip"], *arguments)

    def _nft(self, host: str, command: str, *options: str) -> str:
        return _run(*self.by(host), self._tools["nft"], *options, command)


def _tools() -> dict[str, str]:
    """Where `ip` and `nft` are; skips the test where there can be no hosts."""
    if os.geteuid() != 0:
        raise SkipTest("hosts in network namespaces need root: sudo make test")
    tools = {}
    for name, package in _PACKAGES.items():
        found = shutil.which(name, path=_PATH)
        if found is None:
            why = f"hosts in network namespaces need {name}. On Debian: apt install {package}"
            raise AssertionError(why) if os.environ.get("CI") else SkipTest(why)
        tools[name] = found
    _sweep(tools["ip"])
    probe = f"{_MARK}-{os.getpid()}-{next(_SERIAL)}-probe"
    try:
        _run(tools["ip"], "netns", "add", probe)
        try:
            _run(tools["ip"], "netns", "exec", probe, tools["nft"], _CUTS)
        finally:
            _run(tools["ip"], "netns", "delete", probe)
    except OSError as error:
        raise SkipTest(f"this machine lets even root make no network namespaces: {error}") from None
    return tools


def _sweep(ip: str) -> None:
    """Take away what processes have left that were killed."""
    for each in sorted(_NAMES.glob(f"{_MARK}-*")) if _NAMES.is_dir() else ():
        pid = each.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            with suppress(OSError):  # another worker does the same
                _run(ip, "netns", "delete", each.name)


def _run(*command: str) -> str:
    """What a command writes. Raises OSError with what it says is wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _set_namespace(descriptor: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
