"""A chat at a terminal: what is typed goes to the room, what others say is shown.

`TerminalChat` is the conversation; it knows a `Console`, which is one of two. `PromptConsole` is
for people: a line to edit at the bottom, which what comes in does not tear. It needs Twisted's
asyncioreactor. `LineConsole` is for scripts and pipes: it reads lines and prints lines.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol, TextIO

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from twisted.internet.defer import CancelledError, Deferred, DeferredList, inlineCallbacks, succeed
from twisted.python.failure import Failure

from msrpconf.client.chat import Chat
from msrpconf.client.message import Message
from msrpconf.client.rendering import STYLES, Fragments, Rendering, plain
from msrpconf.protocols.msrp.sending import SendError
from msrpconf.visible import visible

HELP = """\
Type a text and press Enter to say it to everybody in the room.
/leave  leave the room; /quit and Ctrl-D do the same
/help   show this
//text  say a text that begins with a slash"""

READ_SIZE = 65536
"""Octets of input that are read at a time."""

MAX_EXCERPT = 60
"""Characters that are shown of a message that was not delivered."""


class Action(Enum):
    """What somebody wants who typed a line."""

    SAY = "say"
    LEAVE = "leave"
    HELP = "help"
    UNKNOWN = "unknown"
    NOTHING = "nothing"


_COMMANDS = {"/leave": Action.LEAVE, "/quit": Action.LEAVE, "/help": Action.HELP}


def read_line(line: str) -> tuple[Action, str]:
    """What a line means, and the text to say or the command that is not known.

    What cannot be encoded, as a terminal in another encoding gives it, becomes a question mark.
    """
    text = line.encode("utf-8", "replace").decode("utf-8").rstrip("\r\n")
    if not text.strip():
        return Action.NOTHING, ""
    if text.startswith("//"):
        return Action.SAY, text[1:]
    if text.startswith("/"):
        command = text.split(maxsplit=1)[0]
        action = _COMMANDS.get(command.lower(), Action.UNKNOWN)
        return action, command if action is Action.UNKNOWN else ""
    return Action.SAY, text


class Console(Protocol):
    """Where lines come from and go to."""

    def start(self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]) -> None:
        """Read: `on_line` for each line, its Deferred done when that is dealt with; `on_end`
        once, when there will be no more."""

    def stop(self) -> Deferred[None]:
        """Read no more; done when the terminal is as it was."""

    def show(self, fragments: Fragments) -> None:
        """Show what others say."""

    def show_own(self, fragments: Fragments) -> None:
        """Show what was said here, where that is not on the screen yet."""

    def notice(self, fragments: Fragments) -> None:
        """Show what the program has to say."""


class JoinsRooms(Protocol):
    """What a `TerminalChat` needs of a `UserAgent`."""

    user: str
    display_name: str | None

    def join(
        self,
        room: str,
        *,
        on_message: Callable[[Message], None],
        on_notice: Callable[[Message], None],
        on_ended: Callable[[str], None],
    ) -> Deferred[Chat]:
        """See `UserAgent.join`."""


class ChatEnded(Exception):
    """The room, or the way to it, ended a chat. The text says why."""


class TerminalChat:
    """One user's visit to the room at the URI `room`, at `console`."""

    def __init__(self, agent: JoinsRooms, room: str, console: Console) -> None:
        self._agent = agent
        self._room = room
        self._console = console
        self._view = Rendering(room, agent.user, agent.display_name)
        self._chat: Chat | None = None
        self._over: Deferred[None] = Deferred()
        self._sending: set[Deferred[None]] = set()
        self._undelivered = 0

    @inlineCallbacks
    def run(self) -> Generator[Deferred[Any], Any, int]:
        """Joins, and is done when the user wants to leave, and what he said was answered.

        Gives how many messages were not delivered. Fails with `JoinError`, or with `ChatEnded`
        if it was not the user who ended it. Cancelling it is what Ctrl-C does: to want to leave.
        """
        chat = yield self._agent.join(
            self._room,
            on_message=self._message_received,
            on_notice=self._message_received,
            on_ended=self._chat_ended,
        )
        self._chat = chat
        self._notice(f"You are in {chat.room} as {chat.user}. /leave to leave, /help for help.")
        self._console.start(self._line_typed, self._leave)
        ended: ChatEnded | None = None
        try:
            yield self._over
        except CancelledError:
            pass
        except ChatEnded as error:
            ended = error
        yield self._console.stop()
        if ended is not None:
            raise ended
        yield DeferredList(list(self._sending))
        return self._undelivered

    # From the room.

    def _message_received(self, message: Message) -> None:
        fragments = self._view.message(message)
        if fragments is not None:
            self._console.show(fragments)

    def _chat_ended(self, why: str) -> None:
        if not self._over.called:
            self._over.errback(ChatEnded(why))

    # From the console.

    def _leave(self) -> None:
        if not self._over.called:
            self._over.callback(None)

    def _line_typed(self, line: str) -> Deferred[None]:
        action, text = read_line(line)
        if action is Action.SAY:
            return self._say(text)
        if action is Action.LEAVE:
            self._leave()
        elif action is Action.HELP:
            self._notice(HELP)
        elif action is Action.UNKNOWN:
            self._notice(f"There is no {text} here. /help shows what there is.", "error")
        return succeed(None)

    def _say(self, text: str) -> Deferred[None]:
        assert self._chat is not None
        if self._over.called:
            return succeed(None)
        self._console.show_own(self._view.own(text))
        done: Deferred[None] = Deferred()
        self._sending.add(done)

        def settled(failure: Failure | None) -> None:
            if failure is not None:
                failure.trap(SendError)
                self._undelivered += 1
                excerpt = text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."
                self._notice(f"Not delivered: {excerpt} ({failure.getErrorMessage()})", "error")
            self._sending.discard(done)
            done.callback(None)

        self._chat.send(text).addBoth(settled)
        return done

    def _notice(self, text: str, style: str = "notice") -> None:
        self._console.notice(self._view.notice(text, style))


class LineConsole:
    """Lines from the file descriptor `source`, lines to `output`, notices to `notices`.

    A line is read when the one before it is dealt with. Where nobody reads `output` any more,
    that is the end of input too.
    """

    def __init__(self, reactor: Any, source: int, output: TextIO, notices: TextIO) -> None:
        self._reactor = reactor
        self._source = source
        self._output = output
        self._notices = notices
        self._on_end: Callable[[], None] | None = None
        self._broken = False

    def start(self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]) -> None:
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

    def _read(self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]) -> None:
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

    def _handle(self, on_line: Callable[[str], Deferred[None]], line: bytes) -> None:
        handled = threading.Event()

        def handle() -> None:
            on_line(line.decode("utf-8", "replace")).addBoth(lambda _: handled.set())

        self._reactor.callFromThread(handle)
        handled.wait()


class PromptConsole:
    """A terminal with a line to edit, on the event loop that the reactor runs on.

    `label` is what stands before the line.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, label: str) -> None:
        self._loop = loop
        self._label = visible(label)
        self._style = Style.from_dict(STYLES)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]) -> None:
        """See `Console`."""
        self._task = self._loop.create_task(self._prompt(on_line, on_end))

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

    async def _prompt(
        self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]
    ) -> None:
        session: PromptSession[str] = PromptSession(f"{self._label}> ")
        # What was typed is shown again as it was said: with time and name.
        session.app.erase_when_done = True
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


def silence(file: TextIO) -> None:
    """Has `file`, which nobody reads any more, take what is written without complaint."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, file.fileno())
        os.close(nowhere)
