"""The hosts that other stories need: they reach each other, and do not where they are cut off."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.distributed import hosts
from tests.distributed.hosts import Hosts


class HostsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hosts = Hosts("one", "other", "third")
        self.addCleanup(self.hosts.close)

    def listener(self, host: str) -> socket.socket:
        self.hosts.enter(host)
        listening = socket.create_server((self.hosts.addresses[host], 4000))
        self.addCleanup(listening.close)
        return listening

    def connect(self, host: str, there: str, seconds: float = 20.0) -> socket.socket:
        self.hosts.enter(host)
        address = self.hosts.addresses[there], 4000
        connection = socket.create_connection(address, timeout=seconds)
        self.addCleanup(connection.close)
        return connection

    def test_a_link_that_is_cut_says_nothing(self) -> None:
        listening = self.listener("one")
        listening.settimeout(20)
        connection = self.connect("other", "one")
        accepted, _ = listening.accept()
        self.addCleanup(accepted.close)
        accepted.settimeout(20)
        self.hosts.cut("one", "other")
        connection.sendall(b"lost")
        self.assertRaises(TimeoutError, self.connect, "other", "one", 0.2)
        self.assertGreater(self.hosts.dropped("one", "other"), 0)
        # The third is reached all the while, and what was lost is sent again.
        self.connect("third", "one")
        self.hosts.cut("one", "third")
        self.hosts.heal("one", "other")
        self.assertEqual(accepted.recv(10), b"lost")
        self.assertRaises(TimeoutError, self.connect, "third", "one", 0.2)
        self.assertRaises(LookupError, self.hosts.dropped, "one", "other")

    def test_nothing_of_it_is_outside(self) -> None:
        home = os.readlink(f"/proc/{os.getpid()}/ns/net")
        self.hosts.enter("one")
        self.assertNotEqual(os.readlink("/proc/thread-self/ns/net"), home)
        self.hosts.close()
        self.assertEqual(os.readlink("/proc/thread-self/ns/net"), home)
        mine = f"msrpconf-{os.getpid()}-"
        self.assertEqual(list(Path("/run/netns").glob(f"{mine}*")), [])


class NoHostsTests(SynchronousTestCase):
    """Who cannot have any is told how to."""

    def skipped(self) -> str:
        return str(self.assertRaises(SkipTest, Hosts, "one"))

    def test_somebody_else_than_root(self) -> None:
        with mock.patch.object(os, "geteuid", lambda: 1000):
            self.assertIn("need root: sudo make test", self.skipped())

    def test_without_the_tools(self) -> None:
        with (
            mock.patch.object(os, "geteuid", lambda: 0),
            mock.patch.object(shutil, "which", lambda name, path: None),
        ):
            with mock.patch.dict(os.environ, CI=""):
                self.assertIn("need ip. On Debian: apt install iproute2", self.skipped())
            with mock.patch.dict(os.environ, CI="true"):
                self.assertRaises(AssertionError, Hosts, "one")

    def test_where_even_root_may_not(self) -> None:
        with (
            mock.patch.object(os, "geteuid", lambda: 0),
            mock.patch.object(hosts, "_run", side_effect=OSError("Operation not permitted")),
            mock.patch.object(shutil, "which", lambda name, path: name),
        ):
            self.assertIn("no network namespaces: Operation not permitted", self.skipped())
