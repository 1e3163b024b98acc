"""The programs in examples/embedding: run as a person would, and told apart from broken ones."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread

from tests.processes import PATIENCE, ROOT, ProcessCase, Program

Story = Generator[Deferred[Any], Any, None]

EMBEDDING = ROOT / "examples" / "embedding"

SETTINGS = """
[sip]
listen = ["udp:127.0.0.1:0"]
[focus]
[server]
listen = ["tcp:127.0.0.1:0"]
files = "files"
"""


def ask(url: str, form: dict[str, str] | None = None, origin: str | None = None) -> tuple[int, str]:
    """The status and body that a browser would get; a form is sent with POST."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data, {} if origin is None else {"Origin": origin})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class HelpDeskTests(ProcessCase):
    @inlineCallbacks
    def start_desk(self, settings: str = SETTINGS) -> Generator[Any, Any, tuple[Program, str]]:
        config = self.directory / "msrpconf.toml"
        config.write_text(settings)
        desk = self.start_script(EMBEDDING / "helpdesk.py", "--config", str(config), "--port", "0")
        found = yield desk.shows(r"help desk at (http://\S+)/\n")
        return desk, found[1]

    def ask(self, *asked: Any) -> Deferred[tuple[int, str]]:
        return deferToThread(ask, *asked)

    @inlineCallbacks
    def listed(self, url: str) -> Generator[Any, Any, list[dict[str, Any]]]:
        status, body = yield self.ask(f"{url}/tickets.json")
        self.assertEqual(status, 200)
        tickets: list[dict[str, Any]] = json.loads(body)["tickets"]
        return tickets

    @inlineCallbacks
    def test_a_ticket_from_its_beginning_to_its_end(self) -> Story:
        desk, url = yield self.start_desk()
        status, page = yield self.ask(f"{url}/", {"title": "Printer <on> fire"})
        self.assertEqual(status, 200)
        self.assertIn("<h1>Printer &lt;on&gt; fire</h1>", page)
        [ticket] = yield self.listed(url)
        self.assertEqual(ticket["title"], "Printer <on> fire")
        alice = self.start("msrpconf", "chat", ticket["room"], "--as", "alice")
        yield alice.shows("You are in")
        alice.types("It burns.\n")
        said: list[str] = []
        while "It burns." not in said:  # the test's own time is the limit
            [ticket] = yield self.listed(url)
            said = [each["text"] for each in ticket["said"]]
        yield self.ask(f"{url}/tickets/1", {"text": "Pull the plug."})
        yield alice.shows("Help desk: Pull the plug.")
        [ticket] = yield self.listed(url)
        self.assertEqual(ticket["said"][-1]["text"], "Pull the plug.")
        self.assertEqual(len(ticket["people"]), 2)
        status, page = yield self.ask(f"{url}/tickets/1/close", {})
        self.assertEqual(status, 200)
        yield alice.shows("closed by the operator")
        self.assertEqual((yield self.listed(url)), [])
        desk.signals("TERM")
        yield desk.ends()
        self.assertNotIn("Traceback", desk.errors)

    @inlineCallbacks
    def test_what_it_refuses(self) -> Story:
        _, url = yield self.start_desk()
        for status, why, *asked in (
            (400, "needs a title", f"{url}/", {"title": ""}),
            (403, "not ours", f"{url}/", {"title": "x"}, "https://evil.example.com"),
            (404, "no such ticket", f"{url}/tickets/7"),
            (404, "no such ticket", f"{url}/tickets"),
            (404, "no such ticket", f"{url}/tickets/x", {"text": "hello"}),
        ):
            got, page = yield self.ask(*asked)
            self.assertEqual((got, why in page), (status, True), page)
        self.assertEqual((yield self.listed(url)), [])

    @inlineCallbacks
    def test_a_room_that_may_not_begin(self) -> Story:
        _, url = yield self.start_desk(f"{SETTINGS}[conference]\nad_hoc = false\n")
        status, page = yield self.ask(f"{url}/", {"title": "x"})
        self.assertEqual(status, 502)
        self.assertIn("The room did not begin: 404", page)

    @inlineCallbacks
    def test_a_mistake_in_the_configuration(self) -> Story:
        config = self.directory / "msrpconf.toml"
        config.write_text("[server]\nnome = 1\n")
        desk = self.start_script(EMBEDDING / "helpdesk.py", "--config", str(config))
        status = yield desk.ends()
        self.assertEqual(status, 1)
        self.assertRegex(desk.errors, r"\Ahelpdesk: .*nome")


class FaqBotTests(ProcessCase):
    @inlineCallbacks
    def test_questions(self) -> Story:
        _, room = yield self.start_server()
        bot = self.start_script(EMBEDDING / "faqbot.py", str(EMBEDDING / "faq.toml"), room)
        yield bot.shows(r"in sip:lobby@\S+\n")
        alice = self.start("msrpconf", "chat", room, "--as", "alice")
        yield alice.shows("You are in")
        alice.types("What are the opening hours?\n")
        yield alice.shows("FAQ.*: We are there from 9 to 17")
        # Said already, and no question.
        alice.types("The opening hours, which?\nI know the password.\n")
        alice.types('/msg "FAQ bot" My password is gone?\n')
        yield alice.shows(r"FAQ.* \(only to you\): msrpconf user passwd")
        self.assertEqual(alice.output.count("We are there"), 1)
        self.assertEqual(alice.output.count("gives you a new one"), 1)
        bot.signals("INT")
        yield alice.shows("has left")
        yield bot.ends()
        self.assertNotIn("Traceback", bot.errors)

    @inlineCallbacks
    def test_a_file_without_answers(self) -> Story:
        faq = self.directory / "faq.toml"
        faq.write_text("[answers]\n")
        bot = self.start_script(EMBEDDING / "faqbot.py", str(faq), "sip:lobby@127.0.0.1")
        status = yield bot.ends()
        self.assertEqual(status, 1)
        self.assertIn("expected a table [answers]", bot.errors)
