"""`msrpconf chat`: talk in a room."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client.consoles import Console, LineConsole, PromptConsole
from msrpconf.client.terminal import ChatEnded, TerminalChat
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, visit_options
from msrpconf.visible import visible


@click.command()
@visit_options
def chat(**options: Any) -> None:
    """Talk in the room at the address ROOM, such as sip:lobby@127.0.0.1.

    At a terminal there is a line to edit; /help shows what else there is. With
    input or output that is no terminal, every line that is read is said, what
    others say is printed, and the end of input is the end of the visit.
    """
    visit = Visit.of(**options)
    undelivered = run(lambda reactor: talk(reactor, visit), with_asyncio=True)
    if undelivered:
        raise click.exceptions.Exit(1)


@inlineCallbacks
def talk(reactor: Any, visit: Visit) -> Generator[Deferred[Any], Any, int]:
    """Goes to a room and stays until the user wants to leave: how much was not delivered."""
    visitor = Visitor(reactor, visit, lambda text: print(text, file=sys.stderr, flush=True))
    try:
        undelivered: int = yield TerminalChat(visitor, visitor.room, _console(reactor, visit)).run()
    except ChatEnded as ended:
        raise click.ClickException(visible(f"{visitor.room}: {ended}")) from None
    finally:
        yield visitor.leave()
    return undelivered


def _console(reactor: Any, visit: Visit) -> Console:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return PromptConsole(asyncio.get_event_loop(), visit.name or visit.user.user or "")
    return LineConsole(reactor, sys.stdin.fileno(), sys.stdout, sys.stderr)
