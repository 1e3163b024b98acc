"""Where lines come from and go to: a terminal with a line to edit, or files and pipes.

`PromptConsole` is for people: a line to edit at the bottom, which what comes in does not tear. It
needs Twisted's asyncioreactor. `LineConsole` is for scripts and pipes: it reads lines and prints
lines.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TextIO

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from twisted.internet.defer import Deferred, succeed

from msrpconf.client.rendering import STYLES, Fragments, plain
from msrpconf.visible import visible

READ_SIZE = 65536
"""Octets of input that are read at a time."""

OnLine = Callable[[str], "Deferred[None]"]
OnEdit = Callable[[str], None]
Complete = Callable[[str], "tuple[int, Sequence[str]]"]
"""For a line up to the cursor: how many of its last characters are to be completed, and to what."""


class Console(Protocol):
    """Where lines come from and go to.

    `has_status` is whether there is a place for what goes on at the moment: see `status`.
    """

    has_status: bool

    @property
    def has_panel(self) -> bool:
        """Whether there is a place for who is in the room, now: see `panel`."""

    def start(
        self,
        on_line: OnLine,
        on_end: Callable[[], None],
        on_edit: OnEdit | None = None,
        complete: Complete | None = None,
    ) -> None:
        """Read: `on_line` for each line, its Deferred done when that is dealt with; `on_end`
        once, when there will be no more. `on_edit` is called with a line that is not finished,
        where that is known, as often as it changes."""

    def stop(self) -> Deferred[None]:
        """Read no more; done when the terminal is as it was."""

    def show(self, fragments: Fragments) -> None:
        """Show what others say."""

    def show_own(self, fragments: Fragments) -> None:
        """Show what was said here, where that is not on the screen yet."""

    def notice(self, fragments: Fragments) -> None:
        """Show what the program has to say."""

    def status(self, fragments: Fragments) -> None:
        """Show what goes on at the moment, in place of what was shown before."""

    def panel(self, lines: Callable[[], list[Fragments]]) -> None:
        """Show who is in the room, in place of what was shown before, as `lines` gives it.

        It is asked if there is a place for it; where it gives none, there is no panel.
        """


class LineConsole:
    """Lines from the file descriptor `source`, lines to `output`, notices to `notices`.

    A line is read when the one before it is dealt with. Where nobody reads `output` any more,
    that is the end of input too.
    """

    has_status = False
    has_panel = False

    def __init__(self, reactor: Any, source: int, output: TextIO, notices: TextIO) -> None:
        self._reactor = reactor
        self._source = source
        self._output = output
        self._notices = notices
        self._on_end: Callable[[], None] | None = None
        self._broken = False

    def start(
        self,
        on_line: OnLine,
        on_end: Callable[[], None],
        on_edit: OnEdit | None = None,
        complete: Complete | None = None,
    ) -> None:
        """See `Console`."""
        self._on_end = on_end
        if self._broken:
            on_end()
            return
        # A file, a pipe, a terminal: only a thread can read all of them. It must not keep the
        # process from ending, and may be asleep in a system call when that ends.
        threading.Thread(target=self._read, args=(on_line, on_end), daemon=True).start()

    def stop(self) -> Deferred[None]:
        """See `Console`."""
        self._on_end = None
        return succeed(None)

    def show(self, fragments: Fragments) -> None:
        """See `Console`."""
        self._print(fragments, self._output)

    def show_own(self, fragments: Fragments) -> None:
        """See `Console`: whoever wrote the line has it."""

    def notice(self, fragments: Fragments) -> None:
        """See `Console`."""
        self._print(fragments, self._notices)

    def status(self, fragments: Fragments) -> None:
        """See `Console`: there is no place for it."""

    def panel(self, lines: Callable[[], list[Fragments]]) -> None:
        """See `Console`: there is no place for it."""

    def _print(self, fragments: Fragments, file: TextIO) -> None:
        if self._broken:
            return
        try:
            print(plain(fragments), file=file, flush=True)
        except OSError:
            self._broken = True
            silence(file)
            if self._on_end is not None:
                self._on_end()

    def _read(self, on_line: OnLine, on_end: Callable[[], None]) -> None:
        """The thread."""
        rest = b""
        while data := self._read_some():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._handle(on_line, line)
        if rest:
            self._handle(on_line, rest)
        self._reactor.callFromThread(on_end)

    def _read_some(self) -> bytes:
        try:
            return os.read(self._source, READ_SIZE)
        except OSError:
            # The terminal has gone away.
            return b""

    def _handle(self, on_line: OnLine, line: bytes) -> None:
        handled = threading.Event()

        def handle() -> None:
            on_line(line.decode("utf-8", "replace")).addBoth(lambda _: handled.set())

        self._reactor.callFromThread(handle)
        handled.wait()


class PromptConsole:
    """A terminal with a line to edit, on the event loop that the reactor runs on.

    `label` is what stands before the line. Below it is what goes on at the moment.
    """

    has_status = True
    has_panel = False

    def __init__(self, loop: asyncio.AbstractEventLoop, label: str) -> None:
        self._loop = loop
        self._label = visible(label)
        self._style = Style.from_dict(STYLES)
        self._status: Fragments = []
        self._session: PromptSession[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(
        self,
        on_line: OnLine,
        on_end: Callable[[], None],
        on_edit: OnEdit | None = None,
        complete: Complete | None = None,
    ) -> None:
        """See `Console`."""
        session: PromptSession[str] = PromptSession(
            f"{self._label}> ",
            style=self._style,
            bottom_toolbar=lambda: FormattedText(self._status),
            completer=None if complete is None else LineCompleter(complete),
            complete_while_typing=False,
        )
        # What was typed is shown again as it was said: with time and name.
        session.app.erase_when_done = True
        if on_edit is not None:
            edited = on_edit

            def changed(buffer: Buffer) -> None:
                edited(buffer.text)

            session.default_buffer.on_text_changed += changed
        self._session = session
        self._task = self._loop.create_task(self._prompt(session, on_line, on_end))

    def stop(self) -> Deferred[None]:
        """See `Console`."""
        self._stopped = True
        if self._task is None or self._task.done():
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._task.add_done_callback(lambda _: stopped.callback(None))
        self._task.cancel()
        return stopped

    def show(self, fragments: Fragments) -> None:
        """See `Console`."""
        print_formatted_text(FormattedText(fragments), style=self._style)

    def show_own(self, fragments: Fragments) -> None:
        """See `Console`."""
        self.show(fragments)

    def notice(self, fragments: Fragments) -> None:
        """See `Console`."""
        self.show(fragments)

    def status(self, fragments: Fragments) -> None:
        """See `Console`."""
        self._status = fragments
        if self._session is not None:
            self._session.app.invalidate()

    def panel(self, lines: Callable[[], list[Fragments]]) -> None:
        """See `Console`: there is no place for it."""

    async def _prompt(
        self, session: PromptSession[str], on_line: OnLine, on_end: Callable[[], None]
    ) -> None:
        with patch_stdout():
            while not self._stopped:
                try:
                    # A SIGINT from elsewhere is the reactor's, a typed one comes as an exception.
                    line = await session.prompt_async(
                        handle_sigint=False, set_exception_handler=False
                    )
                except (EOFError, KeyboardInterrupt, OSError):
                    on_end()
                    return
                on_line(line)


class LineCompleter(Completer):
    """Completes words as the chat says."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        length, words = self._complete(document.text_before_cursor)
        return [Completion(word, start_position=-length) for word in words]


def silence(file: TextIO) -> None:
    """Has `file`, which nobody reads any more, take what is written without complaint."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)
