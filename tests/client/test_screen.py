"""The whole terminal: the talk, the people, the line, on an event loop of its own."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import screen
from msrpconf.client.rendering import Fragments, plain
from msrpconf.client.screen import MIN_COLUMNS, ScreenConsole


class Terminal(DummyOutput):
    """A terminal: what was written to it, without where."""

    def __init__(self) -> None:
        self.columns = 100
        self.written = ""

    def get_size(self) -> Size:
        return Size(rows=10, columns=self.columns)

    def write(self, data: str) -> None:
        self.written += data


class ScreenConsoleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.terminal = Terminal()
        self.keys = stack.enter_context(create_pipe_input())
        stack.enter_context(create_app_session(self.keys, self.terminal))
        self.console = ScreenConsole(self.loop, "me")
        self.lines: list[str] = []
        self.edits: list[str] = []
        self.ended: list[str] = []

    def start(self) -> None:
        def line(text: str) -> Deferred[None]:
            self.lines.append(text)
            return succeed(None)

        self.console.start(
            line, lambda: self.ended.append("ended"), self.edits.append,
            lambda text: (len(text), ["/nick "]),
        )  # fmt: skip

    def seen(self) -> list[str]:
        """The rows of the terminal."""
        app = self.console._app
        assert app is not None
        shown = app.renderer.last_rendered_screen
        if shown is None:
            return []
        columns = range(self.terminal.columns)
        return [
            "".join(shown.data_buffer[row][column].char for column in columns).rstrip()
            for row in range(shown.height)
        ]

    def until(self, what: str) -> str:
        """Run until a text is to be seen; give all that is to be seen then."""

        async def look() -> None:
            while what not in "\n".join(self.seen()):
                await asyncio.sleep(0.01)

        self.loop.run_until_complete(asyncio.wait_for(look(), 20))
        return "\n".join(self.seen())

    def until_in(self, seen: list[str], what: str) -> None:
        async def look() -> None:
            while what not in seen:
                await asyncio.sleep(0.01)

        self.loop.run_until_complete(asyncio.wait_for(look(), 20))

    def stop(self) -> None:
        stopped: list[None] = []
        self.console.stop().addCallback(stopped.append)

        async def look() -> None:
            while not stopped:
                await asyncio.sleep(0.01)

        self.loop.run_until_complete(asyncio.wait_for(look(), 20))

    def test_what_is_typed_and_what_is_shown(self) -> None:
        people: list[Fragments] = [[("", "2 here")], [("", " Alice")], [("", " bob")]]
        self.console.panel(lambda: people)
        self.console.show([("", "09:25 bob: ho")])
        self.start()
        self.assertIn("09:25 bob: ho", self.until("me>"))
        self.keys.send_text("hi")
        self.until_in(self.edits, "hi")
        self.console.show([("", "09:26 bob: hum")])
        self.console.status([("", "bob is typing...")])
        self.until("bob is typing...")
        self.keys.send_text("!\r")
        self.until_in(self.lines, "hi!")
        self.keys.send_text("/n\t")
        self.until_in(self.edits, "/nick ")
        self.keys.send_text("me\r")
        self.until_in(self.lines, "/nick me")
        people.append([("", " carol")])
        self.console.panel(lambda: people)
        self.until(" carol")
        self.keys.send_text("\x04")
        self.until_in(self.ended, "ended")
        self.stop()
        # What was said stays on the terminal.
        self.assertIn("09:25 bob: ho", self.terminal.written)
        self.assertIn("09:26 bob: hum", self.terminal.written)

    def test_a_panel_needs_a_wide_terminal(self) -> None:
        asked: list[str] = []

        def people() -> list[Fragments]:
            asked.append("asked")
            return [[("", "2 here")]]

        self.terminal.columns = MIN_COLUMNS - 1
        self.assertFalse(self.console.has_panel)
        self.console.panel(people)
        self.start()
        self.until("me>")
        self.assertEqual(asked, [])
        self.terminal.columns = MIN_COLUMNS
        self.assertTrue(self.console.has_panel)
        self.console.status([])
        self.until("2 here")
        self.stop()

    def test_more_people_than_rows(self) -> None:
        people: list[Fragments] = [[("", f" p{number}")] for number in range(30)]
        self.console.panel(lambda: people)
        self.start()
        self.assertIn(" p6", self.until("and 23 more"))
        self.stop()

    def test_scrolling(self) -> None:
        self.start()
        self.until("me>")
        for number in range(30):
            self.console.show([("", f"line {number:02}.")])
        self.until("line 29.")
        self.keys.send_text("\x1b[5~")
        self.until("6 more below: PageDown")
        self.console.show([("", "line 30.")])
        written = self.until("7 more below")
        self.assertNotIn("line 30.", written)
        self.keys.send_text("\x1b[6~" * 2)
        self.until("line 30.")
        self.stop()

    def test_no_more_is_kept_than_a_bound(self) -> None:
        self.patch(screen, "MAX_KEPT", 20)
        self.console = ScreenConsole(self.loop, "me")
        self.start()
        self.until("me>")
        for number in range(100):
            self.console.show([("", f"line {number:02}. {'word ' * 30}")])
        self.until("line 99.")
        talk = self.console._talk
        self.assertEqual(len(talk.kept), 20)
        self.assertEqual(plain(talk._rows[0])[:9], "line 80. ")
        self.assertEqual(len(talk._rows), sum(talk._counts))
        self.stop()

    def test_to_stop_what_was_never_started(self) -> None:
        self.successResultOf(self.console.stop())
