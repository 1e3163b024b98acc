"""The documentation: its links lead somewhere, its programs do what it says."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.config import Config
from tests.processes import ROOT, ProcessCase

PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)
_NAME = re.compile(r"# ([\w.]+)")

SETTINGS = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[focus]\n[server]\nlisten = ["tcp:127.0.0.1:0"]\n'


def blocks(page: Path, language: str) -> dict[str, str]:
    """The blocks of code in a page, by the name of a file that is in their first line."""
    found = {}
    for kind, text in _FENCED.findall(page.read_text("utf-8")):
        if kind == language:
            name = _NAME.match(text)
            assert name is not None, f"{page.name}: a block has no '# name' in its first line"
            found[name[1]] = text
    return found


def anchors(page: Path) -> set[str]:
    """What can stand after the # of a link to a page."""
    titles = _TITLE.findall(_FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _without_numbers(line: str) -> str:
    """A line of a trace without what differs from run to run: numbers, identifiers, ports."""
    return re.sub(r":N\b", "", re.sub(r"[0-9a-f]{14,}|\d+", "N", line))


class LinkTests(SynchronousTestCase):
    def test_every_link_leads_somewhere(self) -> None:
        for page in PAGES:
            for link in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
                if re.match(r"[a-z]+:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = page if not path else (page.parent / path).resolve()
                self.assertTrue(target.exists(), f"{page.name}: {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page.name}: {link}")

    def test_the_readme_leads_to_every_page(self) -> None:
        links = set(_LINK.findall(PAGES[0].read_text("utf-8")))
        for page in PAGES[1:]:
            self.assertIn(f"doc/{page.name}", links)


class ConfigurationTests(SynchronousTestCase):
    def test_those_in_the_pages_can_be_used(self) -> None:
        for page in PAGES:
            for name, text in blocks(page, "toml").items():
                Config.parse(text, f"{page.name}: {name}").check()

    def test_that_of_the_proxy_can_be_used(self) -> None:
        Config.load(ROOT / "examples" / "kamailio" / "msrpconf.toml").check()

    def test_every_key_that_is_named_exists(self) -> None:
        keys = re.findall(r"`\[(\w+)\] (\w+)`", "".join(page.read_text("utf-8") for page in PAGES))
        self.assertNotEqual(keys, [])
        for table, key in keys:
            self.assertTrue(hasattr(getattr(Config(), table), key), f"[{table}] {key}")


class LimitTests(SynchronousTestCase):
    """The table of limits in the operators' guide."""

    def rows(self) -> list[list[str]]:
        text = (ROOT / "doc" / "operators-guide.md").read_text("utf-8")
        section = text.partition("\n## Limits\n")[2].partition("\n## ")[0]
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
        return rows[2:]

    def test_a_key_has_the_value_that_is_its_default(self) -> None:
        checked = 0
        for _, value, where in self.rows():
            key = re.fullmatch(r"`\[(\w+)\] (\w+)`", where)
            if key is not None:
                number, _, unit = value.replace(" 000", "000").partition(" ")
                self.assertEqual(
                    int(number) * {"": 1, "MiB": 2**20}[unit],
                    getattr(getattr(Config(), key[1]), key[2]),
                    where,
                )
                checked += 1
        self.assertGreater(checked, 8)

    def test_a_constant_is_where_it_is_said_to_be(self) -> None:
        module = ""
        for _, _, where in self.rows():
            found = re.search(r"`([\w/]+\.py)`", where)
            if found is not None:
                module = (ROOT / "msrpconf" / found[1]).read_text("utf-8")
            for name in re.findall(r"`(\w+)`", where):
                self.assertRegex(module, rf"\b{name}\b", where)


class ScriptTests(ProcessCase):
    def setUp(self) -> None:
        super().setUp()
        self.settings = self.directory / "msrpconf.toml"
        self.settings.write_text(SETTINGS)

    def script(self, page: str, name: str) -> Path:
        """A program of a page, in a file."""
        path = self.directory / name
        path.write_text(blocks(ROOT / "doc" / page, "python")[name], "utf-8")
        return path

    def test_every_program_is_run_here(self) -> None:
        tests = Path(__file__).read_text("utf-8")
        for page in PAGES:
            for name in blocks(page, "python"):
                self.assertIn(f'"{page.name}", "{name}"', tests)

    @inlineCallbacks
    def test_the_trace_in_the_tutorial(self) -> Generator[Deferred[Any], Any, None]:
        text = (ROOT / "doc" / "tutorial.md").read_text("utf-8")
        section = text.partition("\n## Reading a trace\n")[2]
        told = [line for _, block in _FENCED.findall(section) for line in block.splitlines()]
        _, room = yield self.start_server()
        trace = "--trace", "sip,msrp"
        bob = self.start("msrpconf", "chat", room, "--as", "bob", "--plain", *trace)
        yield bob.shows("You are in")
        alice = self.start(
            "msrpconf", "send", room, "--as", "alice", "--name", "Alice", *trace, "Hi, I'm Alice!"
        )
        yield alice.ends()
        yield bob.shows("alice@127.0.0.1: Hi, I'm Alice!\n    -------")
        shown = {_without_numbers(line) for line in (alice.errors + bob.errors).splitlines()}
        for line in told:
            self.assertIn(_without_numbers(line), shown)

    @inlineCallbacks
    def test_hello(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("tutorial.md", "hello.py")
        _, room = yield self.start_server()
        alice = self.start("msrpconf", "chat", room, "--as", "alice", "--name", "Alice")
        yield alice.shows("You are in")
        carol = self.start_script(script, room)
        yield alice.shows("Carol: Hello from a program!")
        alice.types("Hello, Carol\n")
        yield carol.shows("Alice: Hello, Carol")
        status = yield carol.ends()
        self.assertEqual((status, carol.errors), (0, ""))

    @inlineCallbacks
    def test_hello_to_nobody(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("tutorial.md", "hello.py")
        _, room = yield self.start_server(settings="[conference]\nad_hoc = false\n")
        carol = self.start_script(script, room)
        status = yield carol.ends()
        self.assertEqual(status, 1)
        self.assertRegex(carol.errors, rf"\A{room}: 404 .*\n\Z")

    @inlineCallbacks
    def test_app(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "app.py")
        app = self.start_script(script, str(self.settings))
        found = yield app.shows(r"join at (\S+)\n")
        alice = self.start("msrpconf", "chat", found[1], "--as", "alice")
        yield alice.shows(r"Host: sip:lobby@127.0.0.1: 2 here, [1-9]")
        app.signals("INT")
        yield alice.shows("shutting down")
        yield app.ends()
        self.assertNotIn("Traceback", app.errors)

    @inlineCallbacks
    def test_app_with_a_mistake(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "app.py")
        self.settings.write_text("[focus]")
        app = self.start_script(script, str(self.settings))
        status = yield app.ends()
        self.assertEqual(status, 1)
        self.assertRegex(app.errors, r"\Aapp: .*\[focus\] alone .*\n\Z")

    @inlineCallbacks
    def test_chat_tac(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "chat.tac")
        twistd = self.start("twistd", "-n", "--pidfile=", "-y", str(script))
        # It says nothing of where it listens: that it does is enough, and that it ends.
        yield twistd.shows("MsrpFactory starting on|reactor class")
        twistd.signals("TERM")
        yield twistd.ends()
        self.assertNotIn("Traceback", twistd.output + twistd.errors)

    @inlineCallbacks
    def test_traced(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "traced.py")
        traced = self.start_script(script, str(self.settings))
        found = yield traced.shows(r"sip udp:(\S+)\n")
        sending = self.start("msrpconf", "send", f"sip:lobby@{found[1]}", "--as", "bob", "hi")
        status = yield sending.ends()
        self.assertEqual(status, 0, sending)
        yield traced.shows(r"<-- \S+ sip \S+, \d+ octets\n    BYE ")
        self.assertNotIn("MSRP ", traced.output.replace("TCP/MSRP ", ""))
        traced.signals("INT")
        yield traced.ends()

    @inlineCallbacks
    def test_collected(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "collected.py")
        server = self.start_script(script, str(self.settings))
        found = yield server.shows(r"sip udp:(\S+)\n")
        sending = self.start("msrpconf", "send", f"sip:lobby@{found[1]}", "--as", "bob", "hi")
        status = yield sending.ends()
        self.assertEqual(status, 0, sending)
        server.signals("INT")
        yield server.ends()
        self.assertNotIn("Traceback", server.errors)

    @inlineCallbacks
    def test_timebot(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "timebot.py")
        server, room = yield self.start_server()
        bot = self.start_script(script, room)
        yield bot.shows(r"in sip:lobby@\S+\n")
        alice = self.start("msrpconf", "chat", room, "--as", "alice")
        yield alice.shows("You are in")
        alice.types("what is /time?\n/help\n//time\n")
        yield alice.shows(r"Time bot: It is \d\d:\d\d\.")
        self.assertEqual(alice.output.count("Time bot"), 1)
        server.signals("TERM")
        yield bot.shows("out, and back in 1 s: The conference server is shutting down")
        yield server.ends()
        # In the same place again.
        port = room.rpartition(":")[2]
        self.settings.write_text(SETTINGS.replace("udp:127.0.0.1:0", f"udp:127.0.0.1:{port}"))
        again = self.start("twistd", "-n", "--pidfile=", "msrpconf", "-c", str(self.settings))
        yield bot.shows(r"out, and back[^\0]*\nin sip:lobby@\S+\n")
        bot.signals("INT")
        yield again.shows("left: sip:timebot@example.com")
        yield bot.ends()

    @inlineCallbacks
    def test_keeper(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "keeper.py")
        _, room = yield self.start_server()
        folder = self.directory / "kept"
        folder.mkdir()
        keeper = self.start_script(script, "udp:127.0.0.1:0", str(folder))
        found = yield keeper.shows(r"waiting at udp:(\S+)\n")
        alice = self.start("msrpconf", "chat", room, "--as", "alice")
        yield alice.shows("You are in")
        alice.types(f"/invite keeper@{found[1]}\n")
        yield alice.shows("keeper@example.com: I keep the files")
        yield alice.shows(r"keeper@example.com \(only to you\): Thank you")
        (self.directory / "photo.jpg").write_bytes(b"abc" * 50000)
        alice.types("/send photo.jpg\n")
        yield keeper.shows("kept photo.jpg")
        self.assertEqual((folder / "photo.jpg").read_bytes(), b"abc" * 50000)
        keeper.signals("INT")
        yield alice.shows("keeper@example.com has left")
        yield keeper.ends()

    @inlineCallbacks
    def test_doorman(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "doorman.py")
        server, room = yield self.start_server(settings="[presence]\ninterval = 0.1\n")
        doorman = self.start_script(script, room)
        yield doorman.shows("1 here")
        alice = self.start("msrpconf", "chat", room, "--as", "alice", "--name", "Alice")
        yield doorman.shows("came: Alice")
        yield alice.shows("You are in")
        alice.types("//who\n")
        yield alice.shows(r"Doorman \(only to you\): Here: Alice, Doorman\n")
        alice.closes_input()
        yield doorman.shows("left: Alice")
        server.signals("TERM")
        yield doorman.shows("shutting down")
        yield doorman.ends()
        self.assertNotIn("Traceback", doorman.errors)

    @inlineCallbacks
    def test_doorman_where_nobody_tells(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "doorman.py")
        _, room = yield self.start_server()
        doorman = self.start_script(script, room)
        yield doorman.shows("not told who is here: SUBSCRIBE is not served")

    @inlineCallbacks
    def test_test_greeting(self) -> Generator[Deferred[Any], Any, None]:
        script = self.script("embedding.md", "test_greeting.py")
        trial = self.start("trial", str(script))
        status = yield trial.ends()
        self.assertEqual(status, 0, trial)
        self.assertIn("PASSED (successes=1)", trial.output)
