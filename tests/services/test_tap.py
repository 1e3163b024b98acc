from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.config import Config, ManagementConfig, ServerConfig, SipConfig, XcapConfig
from msrpconf.listen import ListenAddress
from msrpconf.protocols.sip.flow import Address
from msrpconf.services import tap
from msrpconf.services.tap import Options, ServerProcess, banner, makeService, unusable_addresses
from tests.processes import ProcessCase


def options(*arguments: str) -> Options:
    parsed = Options()
    parsed.parseOptions(arguments)
    return parsed


def config(*listen: str, domains: tuple[str, ...] = ("*",)) -> Config:
    """Listens for SIP at `listen`, and for MSRP at any free port."""
    return Config(
        sip=SipConfig(listen=tuple(map(Address.parse, listen)), domains=domains),
        server=ServerConfig(listen=(Address("tcp", "127.0.0.1", 0),)),
        written=frozenset({"focus", "server"}),
    )


class OptionsTests(SynchronousTestCase):
    def test_what_is_traced(self) -> None:
        self.assertEqual(options("--trace", "sip,msrp")["trace"], {"sip", "msrp"})
        self.assertIsNone(options()["trace"])

    def test_what_cannot_be_traced_is_refused(self) -> None:
        with self.assertRaisesRegex(usage.UsageError, "expected sip, msrp"):
            options("--trace", "http")

    def test_a_file_alone_is_no_argument(self) -> None:
        with self.assertRaisesRegex(usage.UsageError, "not understood: my.toml; .* --config FILE"):
            options("my.toml")

    def test_the_log_is_for_people_in_the_foreground_only(self) -> None:
        def logger(**twistd: object) -> object:
            parent: Any = {"nodaemon": 1, "logger": None, "syslog": 0, "logfile": None, **twistd}
            parsed = Options()
            parsed.parent = parent
            parsed.postOptions()
            return parent["logger"]

        self.assertEqual(logger(), "msrpconf.services.log.observer")
        self.assertEqual(logger(logfile="-"), "msrpconf.services.log.observer")
        self.assertIsNone(logger(nodaemon=0))
        self.assertIsNone(logger(syslog=1))
        self.assertIsNone(logger(logfile="server.log"))
        self.assertEqual(logger(logger="ours.observer"), "ours.observer")

    def test_json_is_for_standard_output(self) -> None:
        def logger(**twistd: object) -> object:
            parent: Any = {"nodaemon": 1, "logger": None, "syslog": 0, "logfile": None, **twistd}
            parsed = options("--log-format", "json")
            parsed.parent = parent
            parsed.postOptions()
            return parent["logger"]

        self.assertEqual(logger(), "msrpconf.services.log.json_observer")
        for other in ({"nodaemon": 0}, {"syslog": 1}, {"logfile": "a.log"}, {"logger": "a.b"}):
            with self.assertRaisesRegex(usage.UsageError, "json is for standard output"):
                logger(**other)
        with self.assertRaisesRegex(usage.UsageError, "expected text or json, found xml"):
            options("--log-format", "xml")


class MakeServiceTests(SynchronousTestCase):
    def test_a_mistake_in_the_configuration_is_one_line(self) -> None:
        file = Path(self.mktemp())
        file.write_text('[sip]\nlisten = "5060"\n')
        with self.assertRaises(SystemExit) as caught:
            makeService(options("--config", str(file)))
        self.assertRegex(str(caught.exception), rf"\Amsrpconf: {file}: \[sip\] listen: .*\Z")

    def test_every_mistake_is_a_line_of_its_own(self) -> None:
        file = Path(self.mktemp())
        file.write_text("[server]\ngrace = 0\nlisten = 1\n")
        with self.assertRaises(SystemExit) as caught:
            makeService(options("--config", str(file)))
        for line in str(caught.exception).split("\n"):
            self.assertRegex(line, rf"\Amsrpconf: {file}: \[server\] ")

    def test_addresses_that_are_taken_are_all_named(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            problems = unusable_addresses(config(f"udp:127.0.0.1:{port}", "udp:192.0.2.77:5060"))
        self.assertEqual(
            problems,
            [
                f"udp:127.0.0.1:{port}: Address already in use",
                "udp:192.0.2.77:5060: Cannot assign requested address",
            ],
        )

    def test_one_for_the_management_interface_has_a_way_out(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            listen = ListenAddress(*taken.getsockname())
            settings = evolve(
                config("udp:127.0.0.1:0"),
                management=ManagementConfig(listen),
                written=frozenset({"focus", "server", "management"}),
            )
            (problem,) = unusable_addresses(settings)
        self.assertIn(f"{listen} for the management interface: Address already in use", problem)
        self.assertIn("write another address into [management] listen", problem)

    def test_those_of_xcap_too(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = Address("tcp", *taken.getsockname())
            settings = evolve(
                config("udp:127.0.0.1:0"),
                xcap=XcapConfig((address,)),
                written=frozenset({"focus", "server", "xcap"}),
            )
            self.assertEqual(unusable_addresses(settings), [f"{address}: Address already in use"])

    def test_a_unix_socket_in_no_directory(self) -> None:
        nowhere = ListenAddress("", 0, "/nowhere/server.sock")
        settings = evolve(
            config("udp:127.0.0.1:0"),
            management=ManagementConfig(nowhere),
            written=frozenset({"focus", "server", "management"}),
        )
        said = "unix:/nowhere/server.sock of [management] listen: there is no directory /nowhere"
        self.assertEqual(unusable_addresses(settings), [said])
        there = ListenAddress("", 0, self.mktemp())
        settings = evolve(settings, management=ManagementConfig(there))
        self.assertEqual(unusable_addresses(settings), [])

    def test_an_address_that_is_wanted_twice_is_taken(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        same = f"tcp:127.0.0.1:{port}"
        self.assertEqual(len(unusable_addresses(config(same, same))), 1)
        self.assertEqual(unusable_addresses(config(same)), [])


class BannerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(tap, "program", lambda name: name)

    def command(self, config: Config, *listening: str) -> str:
        """The way in that the banner tells."""
        line = banner(config, [*listening, "msrp tcp:127.0.0.1:2855"])[-1]
        return line.removeprefix("join with: ").partition("   or with any SIP client")[0]

    def test_what_listens_where(self) -> None:
        listening = ["sip udp:127.0.0.1:5060", "sip tcp:127.0.0.1:5060", "msrp tcp:127.0.0.1:2855"]
        lines = banner(Config(), listening)
        self.assertIn(
            "SIP at udp:127.0.0.1:5060, tcp:127.0.0.1:5060; MSRP at tcp:127.0.0.1:2855", lines
        )
        lines = banner(Config(), [*listening, "xcap http://127.0.0.1:8090/xcap-root"])
        self.assertIn("XCAP root at http://127.0.0.1:8090/xcap-root", lines)

    def test_how_to_join(self) -> None:
        for listening, command in (
            ("udp:127.0.0.1:5060", "msrpconf chat sip:lobby@127.0.0.1:5060 --as alice"),
            ("udp:0.0.0.0:5070", "msrpconf chat sip:lobby@127.0.0.1:5070 --as alice"),
            ("udp:[::]:5060", "msrpconf chat 'sip:lobby@[::1]:5060' --as alice"),
            (
                "tcp:127.0.0.1:5060",
                "msrpconf chat 'sip:lobby@127.0.0.1:5060;transport=tcp' --as alice",
            ),
        ):
            self.assertEqual(self.command(Config(), f"sip {listening}"), command)

    def test_a_domain_of_its_own_needs_the_way_there(self) -> None:
        self.assertEqual(
            self.command(config(domains=("chat.example.com",)), "sip udp:127.0.0.1:5060"),
            "msrpconf chat sip:lobby@chat.example.com --as alice --proxy udp:127.0.0.1:5060",
        )


class ServerProcessTests(SynchronousTestCase):
    def test_the_banner_waits_until_signals_are_taken(self) -> None:
        reactor = MemoryReactor()
        conference: Any = Conference()
        shown: list[str] = []

        def observe(event: Any) -> None:
            if "line" in event:
                shown.append(event["line"])

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        ServerProcess(reactor, conference).startService()
        self.assertEqual(shown, [])
        reactor.run()
        self.assertEqual(shown, banner(conference.config, conference.listening))


class Conference:
    """A service that has started as soon as it starts."""

    config = Config()
    listening: ClassVar[list[str]] = ["sip udp:127.0.0.1:5060", "msrp tcp:127.0.0.1:2855"]

    def startService(self) -> Deferred[None]:
        return succeed(None)


class Manager(DatagramProtocol):
    """A service manager at the socket `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._texts: list[str] = []
        self._waiting: list[Deferred[str]] = []
        reactor: Any = import_module("twisted.internet.reactor")
        self._listening = reactor.listenUNIXDatagram(path, self)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self._waiting:
            self._waiting.pop(0).callback(datagram.decode())
        else:
            self._texts.append(datagram.decode())

    def next(self) -> Deferred[str]:
        """What it is told next."""
        result: Deferred[str] = Deferred()
        if self._texts:
            result.callback(self._texts.pop(0))
        else:
            self._waiting.append(result)
        return result

    def close(self) -> Any:
        return self._listening.stopListening()


class TwistdTests(ProcessCase):
    @inlineCallbacks
    def test_people_are_told_when_the_server_ends(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server()
        self.assertRegex(server.output, r"\A20\d\d-\d\d-\d\d \d\d:\d\d:\d\d info      msrpconf ")
        people = [self.start("msrpconf", "chat", room, "--as", name) for name in ("alice", "bob")]
        for person in people:
            yield person.shows("You are in")
        server.signals("TERM")
        for person in people:
            status = yield person.ends()
            self.assertEqual(status, 1, person)
            self.assertRegex(person.errors, rf"\nError: {room}: .*shutting down\n\Z")
        status = yield server.ends()
        self.assertEqual(status, 0, server)
        self.assertNotIn("Traceback", server.output + server.errors)

    @inlineCallbacks
    def test_the_wire_is_traced_in_the_log(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server("--trace", "sip,msrp")
        yield self.start("msrpconf", "send", room, "--as", "alice", "hi there").ends()
        yield server.shows(r"info      <-- [\d:.]+ sip udp:127.0.0.1:\d+, \d+ octets\n    +INVITE ")
        yield server.shows(r"<-- [\d:.]+ msrp tcp:127.0.0.1:\d+, \d+ octets\n    +MSRP \w+ SEND\n")
        yield server.shows(r"\n    +hi there\n")

    @inlineCallbacks
    def test_a_service_manager_is_told(self) -> Generator[Deferred[Any], Any, None]:
        """It wants to know when we are ready, that we live, and of the end; and the log is JSON."""
        directory = mkdtemp(prefix="msrpconf")  # the name of a socket must be short
        self.addCleanup(rmtree, directory)
        manager = Manager(f"{directory}/notify")
        self.addCleanup(manager.close)
        environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
        self.patch(os, "environ", {**os.environ, **environment})
        file = self.directory / "msrpconf.toml"
        ports = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[server]\nlisten = ["tcp:127.0.0.1:0"]\n'
        file.write_text(f'{ports}files = "files"\n[focus]\n')
        arguments = ("msrpconf", "-c", str(file), "--log-format", "json")
        server = self.start("twistd", "-n", "--pidfile=", *arguments)
        told = yield manager.next()
        self.assertRegex(told, r"\AREADY=1\nSTATUS=listening: sip udp:127.0.0.1:\d+, msrp tcp:")
        for _ in range(3):
            self.assertEqual((yield manager.next()), "WATCHDOG=1")
        # A configuration that is wrong changes nothing, and is no reason to wait.
        file.write_text("[sip]\nlisten = 5060\n")
        server.signals("HUP")
        while not told.startswith("RELOADING=1\nMONOTONIC_USEC="):
            told = yield manager.next()
        while not told.startswith("READY=1\n"):
            told = yield manager.next()
        server.signals("TERM")
        while told != "STOPPING=1\nSTATUS=everybody is told":
            told = yield manager.next()
        self.assertEqual((yield server.ends()), 0, server)
        lines = [json.loads(line) for line in server.output.splitlines()]
        self.assertTrue(lines[0]["message"].startswith("msrpconf "), lines[0])
        self.assertIn({"name": "SIGTERM"}, [each["fields"] for each in lines])
        said = [each["message"] for each in lines if each["level"] == "error"]
        self.assertRegex(said[0], r"\ASIGHUP: nothing has changed: .* \[sip\] listen: ")

    @inlineCallbacks
    def test_ctrl_c_ends_it_too(self) -> Generator[Deferred[Any], Any, None]:
        server, _ = yield self.start_server()
        server.signals("INT")
        status = yield server.ends()
        self.assertEqual(status, 0, server)

    @inlineCallbacks
    def test_what_cannot_start_says_so_in_one_line(self) -> Generator[Deferred[Any], Any, None]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"udp:127.0.0.1:{taken.getsockname()[1]}"
            file = self.directory / "taken.toml"
            file.write_text(
                f'[sip]\nlisten = ["{address}"]\n[server]\nlisten = ["tcp:127.0.0.1:0"]\n[focus]\n'
            )
            # Without -n too: twistd has not gone into the background yet.
            for arguments in (["-n"], []):
                twistd = self.start("twistd", *arguments, "msrpconf", "--config", "taken.toml")
                status = yield twistd.ends()
                self.assertEqual(status, 1, twistd)
                self.assertEqual(
                    twistd.errors,
                    f"msrpconf: cannot listen at {address}: Address already in use\n",
                )
        self.assertEqual(list(self.directory.glob("*.pid")), [])

    @inlineCallbacks
    def test_a_database_that_cannot_be_used_says_so(self) -> Generator[Deferred[Any], Any, None]:
        file = self.directory / "database.toml"
        url = "postgresql://me:geheim@127.0.0.1:1/chat"
        ports = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[server]\nlisten = ["tcp:127.0.0.1:0"]\n'
        file.write_text(f'{ports}[focus]\n[database]\nurl = "{url}"\n')
        twistd = self.start("twistd", "-n", "--pidfile=", "msrpconf", "--config", str(file))
        status = yield twistd.ends()
        self.assertEqual(status, 1, twistd)
        self.assertIn(
            "cannot start: database postgresql://me:***@127.0.0.1:1/chat: ", twistd.output
        )
        self.assertNotIn("geheim", twistd.output + twistd.errors)
        self.assertNotIn("Traceback", twistd.output + twistd.errors)

    @inlineCallbacks
    def test_it_ends_with_its_terminal(self) -> Generator[Deferred[Any], Any, None]:
        """Nobody could see it any more, and it would keep the ports."""
        file = self.directory / "msrpconf.toml"
        ports = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[server]\nlisten = ["tcp:127.0.0.1:0"]\n'
        file.write_text(f'{ports}files = "files"\n[focus]\n')
        arguments = ("--pidfile=", "msrpconf", "-c", str(file))
        server = self.start("twistd", "-n", *arguments, terminal=True)
        found = yield server.shows(r"join with: \S*msrpconf chat (\S+)")
        alice = self.start("msrpconf", "chat", found[1], "--as", "alice")
        yield alice.shows("You are in")
        # Where the terminal is there, the signal has the configuration read.
        server.signals("HUP")
        yield server.shows("SIGHUP: changed nothing")
        server.transport.loseConnection()  # type: ignore[union-attr]
        yield alice.shows("The conference server is shutting down")
        status = yield server.ends()
        self.assertEqual(status, 0, server)
