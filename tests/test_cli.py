from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from click import ClickException
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf import __version__
from msrpconf.cli import main
from msrpconf.client import JoinError
from msrpconf.commands import visiting
from msrpconf.commands.visiting import Visit, Visitor, nobody_listens
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.uri import SipURI
from tests.certificates import issue, write
from tests.processes import ROOT, ProcessCase, Program


def visit(room: str = "sip:lobby@example.com", user: str | None = "alice", **more: Any) -> Visit:
    options = {"name": None, "proxy": None, "plain": False, "trace": ""}
    return Visit.of(room=room, user=user, **{**options, **more})


class CommandTests(SynchronousTestCase):
    def invoke(self, *arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(main, arguments, input=stdin)

    def refused(self, *arguments: str, stdin: bytes = b"") -> str:
        """The one line that a command ends with, and exit status 1."""
        result = self.invoke(*arguments, stdin=stdin)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertRegex(result.stderr, r"\AError: .*\n\Z")
        return result.stderr

    def test_version(self) -> None:
        self.assertEqual(self.invoke("--version").output, f"msrpconf {__version__}\n")

    def test_help_tells_of_all_commands(self) -> None:
        for command in ("chat", "demo", "send", "twistd -n msrpconf"):
            self.assertIn(command, self.invoke("-h").output)

    def test_what_cannot_be_is_one_line(self) -> None:
        for wrong, arguments in (
            (r"a room is written as sip:lobby@127\.0\.0\.1", ["lobby"]),
            (r"a room is written as", ["tel:+1555"]),
            (r"a room is written as .*\\x1b", ["sip:\x1b@a"]),
            (r"a user is written as sip:alice@", ["sip:a@b", "--as", "alice@"]),
            (r"--proxy: expected transport:host:.*'proxy'", ["sip:a@b", "--proxy", "proxy"]),
            (r"--listen: expected transport:host:.*'me'", ["sip:a@b", "--listen", "me"]),
            (r"expected sip, msrp .* got 'http'", ["sip:a@b", "--trace", "http"]),
            (r"a name is one line of text, not a\\nb", ["sip:a@b", "--name", "a\nb"]),
        ):
            self.assertRegex(self.refused("chat", *arguments), wrong)

    def test_nothing_to_say_is_refused(self) -> None:
        self.assertIn("there is nothing to say", self.refused("send", "sip:a@b", stdin=b"\n"))
        self.assertIn("there is nothing to say", self.refused("send", "sip:a@b", " "))

    def test_a_file_that_cannot_be_sent(self) -> None:
        self.assertIn(
            "there is no file nowhere", self.refused("send", "sip:a@b", "--file", "nowhere")
        )
        private = "--private-to", "bob", "--file", __file__
        self.assertIn("for all in the room", self.refused("send", "sip:a@b", *private))

    def test_a_text_in_another_encoding_is_refused(self) -> None:
        self.assertIn("UTF-8", self.refused("send", "sip:a@b", stdin=b"\xff"))

    def test_the_choice_of_a_reactor_is_left_to_the_command(self) -> None:
        program = "import sys, msrpconf.cli; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
        self.assertEqual(done.returncode, 0)


class VisitTests(SynchronousTestCase):
    def test_a_user_without_a_domain_is_of_the_rooms_host(self) -> None:
        for room, user in (
            ("sip:lobby@example.com:5070;transport=tcp", "sip:alice@example.com"),
            ("lobby@[::1]", "sip:alice@[::1]"),
        ):
            self.assertEqual(str(visit(room).user), user)
        self.assertEqual(str(visit(user="sip:alice").user), "sip:alice@example.com")
        self.assertEqual(str(visit(user="al ice").user), "sip:al%20ice@example.com")

    def test_a_user_with_a_domain(self) -> None:
        for user in ("sip:alice@example.net", "alice@example.net:5070;x"):
            self.assertEqual(str(visit(user=user).user), "sip:alice@example.net")

    def test_who_does_not_say_who_it_is_has_logged_in(self) -> None:
        self.patch(sys.modules["getpass"], "getuser", lambda: "zoë")
        self.assertEqual(visit(user=None).user.user, "zoë")

    def test_the_rest(self) -> None:
        all_of_it = visit(name="Alice", proxy="udp:[::1]:5060", plain=True, trace="sip")
        self.assertEqual(all_of_it.name, "Alice")
        self.assertEqual(str(all_of_it.proxy), "sip:[::1]:5060;transport=udp")
        self.assertEqual(str(visit(proxy="sips:example.com").proxy), "sips:example.com")
        self.assertTrue(all_of_it.plain)
        self.assertEqual(all_of_it.trace, {"sip"})


class NobodyListensTests(SynchronousTestCase):
    def test_a_port_of_this_machine_that_nobody_has(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("127.0.0.1", 0))
            address = Address("udp", *listener.getsockname())
            self.assertFalse(nobody_listens(address))
        self.assertTrue(nobody_listens(address))

    def test_others_are_not_asked(self) -> None:
        self.assertFalse(nobody_listens(Address("udp", "192.0.2.1", 5060)))
        self.assertFalse(nobody_listens(Address("tcp", "127.0.0.1", 1)))


class FakeUserAgent:
    """Is told where to go, and gets in or leaves when the test says so."""

    def __init__(self, reactor: Any, user: str, **options: Any) -> None:
        self.user, self.options = user, options
        self.joining: Deferred[Any] = Deferred()
        self.leaving: Deferred[None] = Deferred()

    def join(self, room: str, **options: Any) -> Deferred[Any]:
        self.joined = options
        return self.joining

    def stop(self) -> Deferred[None]:
        return self.leaving


class VisitorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agents: list[FakeUserAgent] = []
        self.addresses = [Address("udp", "192.0.2.1", 5060)]
        self.asked: list[str] = []
        self.patch(visiting, "UserAgent", self.make_agent)
        self.patch(visiting, "locate", self.locate)
        self.patch(visiting, "program", lambda name: name)
        self.patch(visiting, "nobody_listens", lambda address: address.host == "::1")

    def make_agent(self, *arguments: Any, **options: Any) -> FakeUserAgent:
        self.agents.append(FakeUserAgent(*arguments, **options))
        return self.agents[-1]

    def locate(self, _: object, uri: SipURI, **options: Any) -> Deferred[list[Address]]:
        self.asked.append(str(uri))
        return succeed(self.addresses)

    def joining(self, **options: Any) -> Deferred[Any]:
        self.visitor = Visitor(self.clock, visit(**options), self.fail)
        return self.visitor.join(self.visitor.room)

    def refusal(self, joining: Deferred[Any]) -> str:
        message: str = self.failureResultOf(joining, ClickException).value.message
        return message

    def test_who_comes_as_what(self) -> None:
        self.joining(name="Alice", plain=True)
        agent = self.agents[0]
        self.assertEqual(agent.user, "sip:alice@example.com")
        self.assertIsNone(agent.options.pop("tls").authorities)
        self.assertEqual(
            agent.options,
            {
                "display_name": "Alice",
                "listen": None,
                "password": None,
                "proxy": None,
                "plain": True,
                "trace": None,
                "on_invited": None,
                "patience": visiting.PATIENCE,
            },
        )
        self.assertEqual(agent.joined["via"], [Address("udp", "192.0.2.1", 5060)])
        self.assertFalse(agent.joined["tls"])

    def test_tls_and_a_place_to_be_reached_at(self) -> None:
        self.joining(tls=True, listen="udp:192.0.2.7:5070")
        self.assertTrue(self.agents[0].joined["tls"])
        self.assertEqual(self.agents[0].options["listen"], "udp:192.0.2.7:5070")

    def test_a_proxy_is_looked_up_instead_of_the_room(self) -> None:
        self.joining()
        self.joining(proxy="tcp:localhost:5070")
        self.joining(proxy="udp:[2001:db8::1]:5060")
        self.assertEqual(
            self.asked,
            [
                "sip:lobby@example.com",
                "sip:localhost:5070;transport=tcp",
                "sip:[2001:db8::1]:5060;transport=udp",
            ],
        )
        self.asked.clear()
        self.joining(proxy="tls:proxy.example.com:5061")
        self.joining(proxy="sip:example.net", room="sips:lobby@example.com")
        self.assertEqual(
            self.asked, ["sip:proxy.example.com:5061;transport=tls", "sips:example.net"]
        )

    def test_of_several_addresses_the_one_where_somebody_listens(self) -> None:
        self.addresses = [Address("udp", host, 5060) for host in ("::1", "127.0.0.1")]
        self.joining()
        self.assertEqual(
            [str(each) for each in self.agents[0].joined["via"]], ["udp:127.0.0.1:5060"]
        )

    def test_nobody_listens(self) -> None:
        self.addresses = [Address("udp", "::1", 5060)]
        self.assertEqual(
            self.refusal(self.joining()),
            "no server is listening at udp:[::1]:5060; start one with: twistd -n msrpconf",
        )
        self.assertEqual(self.agents, [])
        self.successResultOf(self.visitor.leave())

    def test_whose_certificates_are_good(self) -> None:
        files = write(issue("authority.example.com"), self.mktemp(), "ca")
        self.joining(ca=str(files.certificate))
        [authority] = self.agents[0].options["tls"].authorities
        self.assertIn("authority.example.com", authority.subject.rfc4514_string())
        for name, why in ((str(files.private_key), "no certificate in PEM"), ("no", "cannot be")):
            error = self.assertRaises(ClickException, visit, ca=name)
            self.assertIn(f"{name} ", error.message)
            self.assertIn(why, error.message)

    def test_a_name_that_leads_nowhere(self) -> None:
        why = fail(LocateError("sip:lobby@example.com: example.com has no address"))
        self.patch(visiting, "locate", lambda *_, **__: why)
        self.assertEqual(
            self.refusal(self.joining()), "sip:lobby@example.com: example.com has no address"
        )

    def test_no_answer(self) -> None:
        joining = self.joining()
        self.clock.advance(9.9)
        self.assertNoResult(joining)
        self.clock.advance(0.2)
        self.assertIn("192.0.2.1:5060 has not answered for 10 seconds", self.refusal(joining))

    def test_a_server_that_refuses_is_running(self) -> None:
        joining = self.joining()
        self.agents[0].joining.errback(JoinError(503, "This server has its 9 rooms"))
        self.assertEqual(
            self.refusal(joining), "sip:lobby@example.com: 503 This server has its 9 rooms"
        )

    def test_who_is_asked_for_a_password_learns_how_to_give_one(self) -> None:
        for password, end in ((None, "; give it as MSRPCONF_PASSWORD"), ("wrong", "")):
            joining = self.joining(password=password)
            self.agents[-1].joining.errback(JoinError(401, "A password is needed"))
            said = f"sip:lobby@example.com: 401 A password is needed{end}"
            self.assertEqual(self.refusal(joining), said)

    def test_a_refusal_is_told_without_what_a_terminal_obeys(self) -> None:
        joining = self.joining()
        self.agents[0].joining.errback(JoinError(403, "Go\x1b[2J"))
        self.assertEqual(self.refusal(joining), r"sip:lobby@example.com: 403 Go\x1b[2J")

    def test_a_server_that_is_gone_keeps_nobody_from_leaving(self) -> None:
        self.joining()
        leaving = self.visitor.leave()
        self.clock.advance(0)
        self.assertNoResult(leaving)
        self.clock.advance(3)
        self.successResultOf(leaving)


class ProgramTests(ProcessCase):
    """What people start, against a server that runs."""

    def chat(self, room: str, *arguments: str, terminal: bool = False) -> Program:
        return self.start("msrpconf", "chat", room, *arguments, terminal=terminal)

    @inlineCallbacks
    def test_two_people_talk_through_pipes(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server()
        alice = self.chat(room, "--as", "alice", "--name", "Alice")
        bob = self.chat(room, "--as", "bob", "--plain")
        for person in (alice, bob):
            yield person.shows("You are in")
        alice.types("hi\n/nonsense\n//leave\n")
        yield bob.shows(r"(?m)^\d\d:\d\d alice@127.0.0.1: /leave$")
        bob.types("ho, without an end of line")
        bob.closes_input()
        status = yield bob.ends()
        self.assertEqual(status, 0, bob)
        yield alice.shows(r"(?m)^\d\d:\d\d bob: ho, without an end of line$")
        alice.signals("TERM")
        status = yield alice.ends()
        self.assertEqual(status, 0, alice)
        yield server.shows("left: sip:bob@127.0.0.1[^\0]*left: sip:alice@127.0.0.1")
        said = [line for line in bob.output.splitlines() if "has joined" not in line]
        self.assertEqual(len(said), 2)
        self.assertIn("There is no /nonsense here", alice.errors)

    @inlineCallbacks
    def test_what_is_sent_is_heard(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server()
        listener = self.chat(room, "--as", "alice")
        yield listener.shows("You are in")
        status = yield self.start("msrpconf", "send", room, "--as", "bob", "two", "words").ends()
        self.assertEqual(status, 0)
        yield listener.shows(r"bob: two words\n")
        piped = self.start("msrpconf", "send", room, "--as", "bob", "--trace", "sip,msrp")
        piped.types("two\nlines\n")
        piped.closes_input()
        status = yield piped.ends()
        self.assertEqual(status, 0, piped)
        yield listener.shows(r"bob: two\n      lines\n")
        self.assertEqual(piped.output, "")
        self.assertRegex(piped.errors, r"--> [\d:.]+ sip udp:127.0.0.1:\d+, \d+ octets\n    INVITE")

    @inlineCallbacks
    def test_a_file_is_given_and_fetched(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server()
        listener = self.chat(room, "--as", "alice")
        yield listener.shows("You are in")
        given = Path(self.mktemp()).absolute()
        given.write_bytes(bytes(100_000))
        program = self.start("msrpconf", "put", room, str(given), "--as", "bob")
        status = yield program.ends()
        self.assertEqual(status, 0, program)
        yield listener.shows(rf"bob@127.0.0.1 sent a file: {given.name} \(100 kB")

        copy = Path(self.mktemp()).absolute()
        fetch = ("msrpconf", "get", room, given.name, "--to", str(copy), "--as", "bob")
        program = self.start(*fetch)
        status = yield program.ends()
        self.assertEqual(status, 0, program)
        self.assertIn("100 kB", program.output)
        self.assertEqual(copy.read_bytes(), given.read_bytes())

        program = self.start(*fetch)
        status = yield program.ends()
        self.assertEqual(status, 1, program)
        self.assertIn("is there already", program.errors)
        program = self.start("msrpconf", "get", room, "nothing", "--as", "bob")
        status = yield program.ends()
        self.assertEqual(status, 1, program)
        self.assertRegex(program.errors, r"\AError: .*: 488 This room has no such file")

    @inlineCallbacks
    def test_what_is_sent_to_one(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server()
        listener = self.chat(room, "--as", "alice")
        yield listener.shows("You are in")
        options = "--as", "bob", "--private-to", "alice"
        status = yield self.start("msrpconf", "send", room, *options, "psst").ends()
        self.assertEqual(status, 0)
        yield listener.shows(r"bob \(only to you\): psst\n")
        failing = self.start("msrpconf", "send", room, "--as", "bob", "--private-to", "eve", "psst")
        status = yield failing.ends()
        self.assertEqual(status, 1)
        self.assertRegex(failing.errors, r"\AError: not delivered: 404 .*\n\Z")

    @inlineCallbacks
    def test_a_file_is_sent(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server(settings="[conference]\nmax_file_octets = 5000\n")
        listener = self.chat(room, "--as", "alice")
        yield listener.shows("You are in")
        for name, size in (("one.txt", 3000), ("two.txt", 4000), ("large.txt", 6000)):
            (self.directory / name).write_bytes(b"x" * size)
        options = "--as", "bob", "--file"
        sending = self.start(
            "msrpconf", "send", room, *options, "one.txt", "--file", "two.txt", "look at these"
        )
        status = yield sending.ends()
        self.assertEqual(status, 0, sending)
        yield listener.shows(r"bob: look at these\n")
        yield listener.shows(r"sent a file: two\.txt \(4\.0 kB, text/plain\)\. /get 2 fetches it")
        listener.types("/get one.txt\n")
        yield listener.shows(r"one\.txt is there already")
        listener.types("/get one.txt copy\n")
        yield listener.shows("copy is there")
        self.assertEqual((self.directory / "copy").read_bytes(), b"x" * 3000)
        sending = self.start("msrpconf", "send", room, *options, "large.txt")
        status = yield sending.ends()
        self.assertEqual(status, 1)
        self.assertRegex(sending.errors, r"large\.txt was not delivered: 488 The file is too large")

    @inlineCallbacks
    def test_over_tls(self) -> Generator[Deferred[Any], Any, None]:
        write(issue("127.0.0.1"), self.directory)
        config = self.directory / "secure.toml"
        config.write_text(
            '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[focus]\n'
            '[server]\nlisten = ["tls:127.0.0.1:0"]\n'
            '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
        )
        server = self.start("twistd", "-n", "--pidfile=", "msrpconf", "-c", str(config))
        room = (yield server.shows(r"join with: \S*msrpconf chat (\S+)"))[1]
        alice = self.chat(room, "--as", "alice", "--tls")
        yield alice.shows("You are in")
        (self.directory / "photo.jpg").write_bytes(b"abc")
        options = "--as", "bob", "--tls", "--file", "photo.jpg"
        status = yield self.start("msrpconf", "send", room, *options, "hi").ends()
        self.assertEqual(status, 0)
        yield alice.shows(r"bob: hi\n[^\0]*sent a file: photo\.jpg")
        fetching = "get", room, "photo.jpg", "--as", "bob", "--tls", "--to", "copy"
        status = yield self.start("msrpconf", *fetching).ends()
        self.assertEqual(status, 0)
        self.assertEqual((self.directory / "copy").read_bytes(), b"abc")
        plain = self.start("msrpconf", "send", room, "--as", "bob", "hi")
        status = yield plain.ends()
        self.assertEqual(status, 1)
        self.assertIn("TLS", plain.errors)

    @inlineCallbacks
    def test_no_server_is_told_at_once(self) -> Generator[Deferred[Any], Any, None]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            room = f"sip:lobby@127.0.0.1:{free.getsockname()[1]}"
        for arguments, why in (
            (["chat", room], "no server is listening at udp:127.0.0.1:.*twistd -n msrpconf"),
            (
                ["send", f"{room};transport=tcp", "hi"],
                "503 tcp:127.0.0.1:.*If no server is running there.*twistd -n msrpconf",
            ),
        ):
            program = self.start("msrpconf", *arguments, "--as", "alice")
            status = yield program.ends()
            self.assertEqual(status, 1, program)
            self.assertRegex(program.errors, rf"\AError: .*{why}\n\Z")

    @inlineCallbacks
    def test_a_room_that_does_not_let_in_says_why(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server(settings="[conference]\nad_hoc = false\n")
        program = self.start("msrpconf", "send", room, "--as", "alice", "hi")
        status = yield program.ends()
        self.assertEqual(status, 1)
        self.assertRegex(program.errors, rf"\AError: {room}: 404 [A-Z].*\n\Z")
        self.assertNotIn("twistd", program.errors)

    @inlineCallbacks
    def test_a_chat_at_a_terminal(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server()
        alice = self.chat(room, "--as", "alice", terminal=True)
        yield alice.shows("alice>")
        alice.types("hel")
        yield alice.shows("hel")
        # What bob says comes while alice types: above the line, which stays as it was.
        bob = self.start("msrpconf", "send", room, "--as", "bob", "\x1b]0;owned\x07hi\x9b2J")
        status = yield bob.ends()
        self.assertEqual(status, 0, bob)
        yield alice.shows(r"\\x1b\]0;owned\\x07hi\\x9b2J[^\0]*alice>[^\0]*hel")
        self.assertNotIn("\x1b]0;owned", alice.output)
        self.assertNotIn("\x9b", alice.output)
        alice.types("lo\r")
        yield alice.shows(r"\d\d:\d\d [^\n]*alice[^\n]*: hello")
        alice.types("\x03")
        status = yield alice.ends()
        self.assertEqual(status, 0, alice)
        yield server.shows("left: sip:alice@127.0.0.1")

    @inlineCallbacks
    def test_all_that_one_can_do_at_a_terminal(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server()
        alice = self.chat(room, "--as", "alice", "--name", "Alice", terminal=True)
        yield alice.shows("Alice>")
        bob = self.chat(room, "--as", "bob", terminal=True)
        yield bob.shows("bob>")
        yield alice.shows(r"\* bob@127\.0\.0\.1 has joined")
        bob.types("psst\r")
        yield alice.shows(r"bob[^\n]*: psst")
        alice.types("/msg bob hello you\r")
        yield bob.shows(r"Alice[^\n]* \(only to you\)[^\n]*: hello you")
        alice.types("/nick Ally\r")
        yield bob.shows(r"is now Ally <alice@127\.0\.0\.1>")
        yield alice.shows("You are called Ally now")
        (self.directory / "photo.jpg").write_bytes(bytes(range(256)) * 2000)
        alice.types("/send photo.jpg\r")
        yield bob.shows(r"/get 1 fetches")
        bob.types("/get 1 copy.jpg\r")
        yield bob.shows(r"copy\.jpg is there")
        self.assertEqual((self.directory / "copy.jpg").read_bytes(), bytes(range(256)) * 2000)
        bob.types("/get 1\r")
        yield bob.shows(r"photo\.jpg is there already")
        alice.types("/kick bob\r")
        status = yield bob.ends()
        self.assertEqual(status, 1)
        self.assertIn("Removed by", bob.output)

    @inlineCallbacks
    def test_an_invitation_at_a_terminal(self) -> Generator[Deferred[Any], Any, None]:
        _, room = yield self.start_server()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        alice = self.chat(room, "--as", "alice", terminal=True)
        yield alice.shows("alice>")
        listening = "--listen", f"udp:127.0.0.1:{port}"
        other = room.replace("lobby", "other")
        bob = self.chat(other, "--as", "bob", *listening, terminal=True)
        yield bob.shows("bob>")
        alice.types(f"/invite bob@127.0.0.1:{port}\r")
        yield bob.shows("alice@127.0.0.1 asks you into sip:lobby@")
        bob.types("/accept\r")
        yield bob.shows("You are in sip:lobby@")
        yield alice.shows("has accepted")
        bob.types("here I am\r")
        yield alice.shows(r"bob[^\n]*: here I am")

    @inlineCallbacks
    def test_leaving_at_a_terminal(self) -> Generator[Deferred[Any], Any, None]:
        server, room = yield self.start_server()
        for hand in ("/leave\r", "\x04", "TERM"):
            alice = self.chat(room, "--as", "alice", terminal=True)
            yield alice.shows("alice>")
            if hand == "TERM":
                alice.signals(hand)
            else:
                alice.types(hand)
            status = yield alice.ends()
            self.assertEqual(status, 0, alice)
            self.assertNotIn("Error", alice.output)
            # Whatever it switches on is switched off again: bracketed paste is one.
            self.assertEqual(re.findall("\x1b\\[\\?2004([hl])", alice.output)[-1], "l", alice)
        server.signals("TERM")
        yield server.ends()
        self.assertEqual(server.output.count("left: sip:alice@127.0.0.1"), 3)


class DemoTests(ProcessCase):
    @inlineCallbacks
    def test_nobody_reads_to_the_end(self) -> Generator[Deferred[Any], Any, None]:
        demo = self.start("msrpconf", "demo")
        yield demo.shows("joins")
        assert demo.transport is not None
        demo.transport.closeStdout()
        status = yield demo.ends()
        self.assertEqual((status, demo.errors), (0, ""))

    @inlineCallbacks
    def test_everybody_sees_the_conversation(self) -> Generator[Deferred[Any], Any, None]:
        demo = self.start("msrpconf", "demo")
        status = yield demo.ends()
        self.assertEqual(status, 0, demo)
        self.assertEqual(demo.errors, "")
        lines = demo.output.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        columns = zip(*(line.split("│") for line in lines if line.count("│") == 2), strict=True)
        alice, bob, carol = (" ".join(" ".join(column).split()) for column in columns)
        for seen, title, hello in (
            (alice, "Alice (message/cpim)", "Alice: Hello, you two!"),
            (bob, "bob (plain text only)", "alice@127.0.0.1: Hello, you two!"),
            (carol, "Carol (message/cpim)", "Alice: Hello, you two!"),
        ):
            self.assertIn(title, seen)
            self.assertIn(hello, seen)
        self.assertIn("Carol sent image/png", alice)
        self.assertNotIn("image/png", bob)
        self.assertIn("Alice (only to you): Only you can", carol)
        self.assertNotIn("Only you can", bob)
        self.assertIn("* carol@127.0.0.1 is now Cara", bob)
        self.assertIn("Cara: Bye, bob.", alice)
        self.assertNotIn("Bye, bob.", bob)
        self.assertNotIn("\x1b", demo.output)
