from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from importlib import import_module
from io import StringIO
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.client.consoles import LineConsole, PromptConsole


class LineConsoleTests(TestCase):
    def setUp(self) -> None:
        self.source, self.input = os.pipe()
        self.addCleanup(os.close, self.source)
        self.output, self.notices = StringIO(), StringIO()
        self.reactor: Any = import_module("twisted.internet.reactor")
        self.console = LineConsole(self.reactor, self.source, self.output, self.notices)

    def write(self, octets: bytes) -> None:
        """Writes all of the input."""
        os.write(self.input, octets)
        os.close(self.input)

    @inlineCallbacks
    def test_a_line_waits_until_the_one_before_is_dealt_with(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        events: list[str] = []
        ended: Deferred[None] = Deferred()

        def line(text: str) -> Deferred[None]:
            events.append(f"begin {text}")
            done: Deferred[None] = Deferred()
            # The thread would have gone on with the next line at once.
            self.reactor.callLater(0.01, done.callback, None)
            return done.addCallback(lambda _: events.append(f"end {text}"))

        self.write("a\r\n\nbé\xff".encode("latin-1"))
        self.console.start(line, lambda: ended.callback(None))
        yield ended.addTimeout(10, self.reactor)
        lines = ["a\r", "", "b\ufffd\ufffd"]
        self.assertEqual(events, [f"{what} {each}" for each in lines for what in ("begin", "end")])

    def test_what_others_say_goes_to_the_output(self) -> None:
        self.console.show([("class:time", "09:25 "), ("", "bob: hi")])
        self.console.show_own([("", "alice: hi")])
        self.console.notice([("class:notice", "* hello")])
        self.console.status([("", "bob is typing...")])
        self.assertEqual(self.output.getvalue(), "09:25 bob: hi\n")
        self.assertEqual(self.notices.getvalue(), "* hello\n")
        os.close(self.input)

    def test_an_output_that_nobody_reads_is_the_end_of_input(self) -> None:
        read, write = os.pipe()
        os.close(read)
        os.close(self.input)
        ended: list[None] = []
        with open(write, "w") as output:
            console = LineConsole(self.reactor, self.source, output, self.notices)
            console.show([("", "hi")])
            console.start(lambda _: succeed(None), lambda: ended.append(None))
            console.show([("", "hi")])
            console.notice([("", "hi")])
        self.assertEqual(ended, [None])
        self.assertEqual(self.notices.getvalue(), "")


class PromptConsoleTests(SynchronousTestCase):
    """A line to edit, on an event loop and a terminal of its own."""

    def setUp(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        self.lines: list[str] = []
        self.edits: list[str] = []
        self.wanted: tuple[list[str], str] = ([], "")
        self.found = self.loop.create_future()

    def until(self, seen: list[str], text: str) -> None:
        """Run until `text` is in `seen`."""
        self.wanted, self.found = (seen, text), self.loop.create_future()
        self.look()
        self.loop.run_until_complete(asyncio.wait_for(self.found, 20))

    def look(self) -> None:
        seen, text = self.wanted
        if text in seen and not self.found.done():
            self.found.set_result(None)

    def line(self, text: str) -> Deferred[None]:
        self.lines.append(text)
        self.look()
        return succeed(None)

    def edit(self, text: str) -> None:
        self.edits.append(text)
        self.look()

    def test_what_is_typed(self) -> None:
        ended: list[str] = []

        def end() -> None:
            ended.append("ended")
            self.look()

        with create_pipe_input() as keys, create_app_session(keys, DummyOutput()):
            console = PromptConsole(self.loop, "me")
            console.status([("", "before anything is asked")])
            console.start(self.line, end, self.edit, lambda line: (len(line), ["/nick "]))
            keys.send_text("hi")
            self.until(self.edits, "hi")
            console.status([("", "bob is typing...")])
            console.show([("", "09:25 bob: ho")])
            keys.send_text("!\r")
            self.until(self.lines, "hi!")
            keys.send_text("/n\t")
            self.until(self.edits, "/nick ")
            keys.send_text("me\r")
            self.until(self.lines, "/nick me")
            keys.send_text("\x04")
            self.until(ended, "ended")
            stopped: list[None] = []
            console.stop().addCallback(stopped.append)
            self.loop.run_until_complete(asyncio.sleep(0))
        self.assertEqual(self.lines, ["hi!", "/nick me"])
        self.assertEqual(stopped, [None])
