"""A terminal as a whole: the talk, beside it who is in the room, below both a line to edit.

what people say               │ 3 here
...                           │  Alice owner
...                           │  bob
alice> what one types         │  carol
lobby@example.com  |  bob is typing...
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from prompt_toolkit import print_formatted_text
from prompt_toolkit.application import Application, get_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.styles import Style
from twisted.internet.defer import Deferred, succeed

from msrpconf.client.consoles import Complete, LineCompleter, OnEdit, OnLine
from msrpconf.client.rendering import STYLES, Fragments
from msrpconf.client.roster_view import PANEL_WIDTH
from msrpconf.client.wrapping import wrap
from msrpconf.visible import visible

MIN_COLUMNS = 90
"""Columns from which on there is a panel beside the talk."""

MAX_KEPT = 2000
"""Messages and notices that one can scroll back to."""

MAX_LEFT = 100
"""Of those, how many stay on the terminal when the chat is over."""

MAX_INPUT_ROWS = 5
"""Rows that the line to edit may take."""


class ScreenConsole:
    """A terminal of many columns, on the event loop that the reactor runs on. See `Console`.

    `label` is what stands before the line. PageUp and PageDown scroll the talk.
    """

    has_status = True

    def __init__(self, loop: asyncio.AbstractEventLoop, label: str) -> None:
        self._loop = loop
        self._label = f"{visible(label)}> "
        self._style = Style.from_dict(STYLES)
        self._status: Fragments = []
        self._panel = _Panel()
        self._talk = _Talk()
        self._app: Application[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._output = get_app_session().output

    @property
    def has_panel(self) -> bool:
        """See `Console`: it depends on how wide the terminal is now."""
        return self._output.get_size().columns >= MIN_COLUMNS

    def start(
        self,
        on_line: OnLine,
        on_end: Callable[[], None],
        on_edit: OnEdit | None = None,
        complete: Complete | None = None,
    ) -> None:
        """See `Console`."""

        def accept(buffer: Buffer) -> bool:
            on_line(buffer.text)
            self._talk.follow()
            return False

        buffer = Buffer(
            completer=None if complete is None else LineCompleter(complete),
            history=InMemoryHistory(),
            multiline=False,
            accept_handler=accept,
        )
        if on_edit is not None:
            edited = on_edit
            buffer.on_text_changed += lambda changed: edited(changed.text)
        self._app = Application(
            layout=self._layout(buffer),
            key_bindings=self._keys(buffer, on_end),
            style=self._style,
            full_screen=True,
            output=self._output,
        )
        self._task = self._loop.create_task(self._run(self._app, on_end))

    def stop(self) -> Deferred[None]:
        """See `Console`: what was said last stays on the terminal."""
        task, app = self._task, self._app
        if task is None or app is None or task.done():
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        task.add_done_callback(lambda _: stopped.callback(None))
        task.cancel()
        return stopped

    def show(self, fragments: Fragments) -> None:
        """See `Console`."""
        self._talk.add(fragments)
        self._redraw()

    def show_own(self, fragments: Fragments) -> None:
        """See `Console`."""
        self.show(fragments)

    def notice(self, fragments: Fragments) -> None:
        """See `Console`."""
        self.show(fragments)

    def status(self, fragments: Fragments) -> None:
        """See `Console`."""
        self._status = fragments
        self._redraw()

    def panel(self, lines: Callable[[], list[Fragments]]) -> None:
        """See `Console`."""
        self._panel.show(lines)
        self._redraw()

    def _redraw(self) -> None:
        if self._app is not None:
            self._app.invalidate()

    async def _run(self, app: Application[None], on_end: Callable[[], None]) -> None:
        try:
            await app.run_async(handle_sigint=False, set_exception_handler=False)
        except (EOFError, OSError):
            # The terminal has gone away.
            on_end()
        finally:
            for each in list(self._talk.kept)[-MAX_LEFT:]:
                print_formatted_text(FormattedText(each), style=self._style, output=self._output)

    # What it looks like.

    def _layout(self, buffer: Buffer) -> Layout:
        prompt = BeforeInput(self._label)
        line = Window(
            BufferControl(buffer, input_processors=[prompt]),
            height=lambda: min(MAX_INPUT_ROWS, self._input_rows(buffer)),
            wrap_lines=True,
        )
        panel = VSplit(
            [
                Window(width=1, char="│", style="class:panel-mark"),
                Window(self._panel, width=PANEL_WIDTH),
            ]
        )
        shown = Condition(lambda: self.has_panel and bool(self._panel.lines))
        status = Window(
            FormattedTextControl(self._status_text), height=1, style="class:bottom-toolbar"
        )
        talk = VSplit([Window(self._talk), ConditionalContainer(panel, shown)])
        rows = FloatContainer(
            HSplit([talk, line, status]),
            [Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)],
        )
        return Layout(rows, focused_element=line)

    def _input_rows(self, buffer: Buffer) -> int:
        columns = max(1, self._output.get_size().columns)
        return 1 + len(wrap([("", self._label + buffer.text)], columns)[1:])

    def _status_text(self) -> FormattedText:
        below = self._talk.below
        more = f"{below} more below: PageDown  |  " if below else ""
        return FormattedText([("class:bottom-toolbar", more), *self._status])

    def _keys(self, buffer: Buffer, on_end: Callable[[], None]) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _enter(event: KeyPressEvent) -> None:
            buffer.validate_and_handle()

        @keys.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            on_end()

        @keys.add("c-d", filter=Condition(lambda: not buffer.text))
        def _end(event: KeyPressEvent) -> None:
            on_end()

        @keys.add("pageup")
        def _back(event: KeyPressEvent) -> None:
            self._talk.scroll(1)

        @keys.add("pagedown")
        def _forth(event: KeyPressEvent) -> None:
            self._talk.scroll(-1)

        return keys


class _Talk(UIControl):
    """What was said, in rows; the last ones are shown unless one has scrolled back."""

    def __init__(self) -> None:
        self.kept: deque[Fragments] = deque(maxlen=MAX_KEPT)
        self.height = 1
        self.below = 0
        """Rows below those that are shown."""
        self._width = 80
        self._rows: list[Fragments] = []
        self._counts: deque[int] = deque(maxlen=MAX_KEPT)

    def add(self, fragments: Fragments) -> None:
        """Something more was said."""
        if len(self.kept) == MAX_KEPT:
            del self._rows[: self._counts[0]]
        self.kept.append(fragments)
        rows = wrap(fragments, self._width)
        self._counts.append(len(rows))
        self._rows += rows
        if self.below:
            # Who reads what was said before is not torn away from it.
            self.below = min(self.below + len(rows), self._most_below)

    def follow(self) -> None:
        """Show what is said last."""
        self.below = 0

    def scroll(self, pages: int) -> None:
        """Go back by so many pages, or forth."""
        rows = pages * max(1, self.height - 2)
        self.below = max(0, min(self._most_below, self.below + rows))

    @property
    def _most_below(self) -> int:
        return max(0, len(self._rows) - self.height)

    def create_content(self, width: int, height: int | None) -> UIContent:
        """From prompt_toolkit: the rows that are seen."""
        if width != self._width and width > 0:
            self._width = width
            wrapped = [wrap(each, width) for each in self.kept]
            self._counts = deque(map(len, wrapped), maxlen=MAX_KEPT)
            self._rows = [row for each in wrapped for row in each]
        self.height = height or 1
        self.below = min(self.below, self._most_below)
        end = len(self._rows) - self.below
        shown = self._rows[max(0, end - self.height) : end]
        # What was said last stands beside the line to edit.
        return _content([[]] * (self.height - len(shown)) + shown)


class _Panel(UIControl):
    """Who is in the room, as far as there are rows for them."""

    def __init__(self) -> None:
        self._ask: Callable[[], list[Fragments]] = list
        self._lines: list[Fragments] | None = []

    def show(self, lines: Callable[[], list[Fragments]]) -> None:
        """Show what `lines` gives, which is asked when it is to be seen."""
        self._ask, self._lines = lines, None

    @property
    def lines(self) -> list[Fragments]:
        if self._lines is None:
            self._lines = self._ask()
        return self._lines

    def create_content(self, width: int, height: int | None) -> UIContent:
        """From prompt_toolkit: the rows that are seen."""
        rows, lines = max(1, height or 1), self.lines
        if len(lines) > rows:
            more = len(lines) - rows + 1
            lines = [*lines[: rows - 1], [("class:panel-mark", f" and {more} more")]]
        return _content(lines)


def _content(rows: list[Fragments]) -> UIContent:
    def row(number: int) -> StyleAndTextTuples:
        return [*rows[number]]

    return UIContent(row, len(rows), show_cursor=False)
