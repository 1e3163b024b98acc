"""`msrpconf chat`: talk in a room."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Generator
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client.consoles import Console, LineConsole, PromptConsole
from msrpconf.client.screen import MIN_COLUMNS, ScreenConsole
from msrpconf.client.terminal import ChatEnded, TerminalChat
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, visit_options
from msrpconf.visible import visible


@click.command(short_help="Talk in a room.")
@click.option(
    "--panel/--no-panel",
    default=True,
    help="Show who is in the room beside the talk, where the terminal is wide enough, or leave "
    "the terminal to scroll as it does.",
)
@visit_options
def chat(panel: bool, **options: Any) -> None:
    """Talk in the room at the address ROOM, such as sip:lobby@127.0.0.1.

    At a terminal there is a line to edit; /help shows what else there is. With
    input or output that is no terminal, every line that is read is said, what
    others say is printed, and the end of input is the end of the visit.
    """
    visit = Visit.of(**options)
    undelivered = run(lambda reactor: talk(reactor, visit, panel), with_asyncio=True)
    if undelivered:
        raise click.exceptions.Exit(1)


@inlineCallbacks
def talk(reactor: Any, visit: Visit, panel: bool = True) -> Generator[Deferred[Any], Any, int]:
    """Goes to a room and stays until the user wants to leave: how much was not delivered."""
    console = _console(reactor, visit, panel)
    visitor = Visitor(reactor, visit, lambda text: print(text, file=sys.stderr, flush=True))
    try:
        undelivered: int = yield TerminalChat(visitor, visitor.room, console).run()
    except ChatEnded as ended:
        raise click.ClickException(visible(f"{visitor.room}: {ended}")) from None
    finally:
        yield visitor.leave()
    return undelivered


def _console(reactor: Any, visit: Visit, panel: bool) -> Console:
    if sys.stdin.isatty() and sys.stdout.isatty():
        loop, label = asyncio.get_event_loop(), visit.name or visit.user.user or ""
        wide = shutil.get_terminal_size().columns >= MIN_COLUMNS
        dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
        # A trace is lines between the lines: there is no place for it on a screen that is drawn.
        if panel and wide and not dumb and not visit.trace:
            return ScreenConsole(loop, label)
        return PromptConsole(loop, label)
    return LineConsole(reactor, sys.stdin.fileno(), sys.stdout, sys.stderr)
