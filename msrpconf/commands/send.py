"""`msrpconf send`: say one thing in a room."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import SendError
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, visit_options
from msrpconf.visible import visible


@click.command()
@visit_options
@click.argument("text", nargs=-1)
def send(text: tuple[str, ...], **options: Any) -> None:
    """Say TEXT in the room at the address ROOM, and leave.

    Without TEXT, what is read from standard input is said, as one message. The
    exit status is 0 once the server has taken the message.
    """
    visit = Visit.of(**options)
    said = " ".join(text) if text else _read_input()
    if not said.strip():
        raise click.ClickException("there is nothing to say: give a text, or pipe one in")
    run(lambda reactor: say(reactor, visit, said))


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.ClickException("what is on standard input is not a text in UTF-8") from None


@inlineCallbacks
def say(reactor: Any, visit: Visit, text: str) -> Generator[Deferred[Any], Any, None]:
    """Goes to a room, says `text`, and leaves when that was answered."""
    visitor = Visitor(reactor, visit, lambda trace: print(trace, file=sys.stderr, flush=True))
    try:
        chat = yield visitor.join(visitor.room)
        yield chat.send(text.encode("utf-8", "replace").decode("utf-8"))
    except SendError as error:
        raise click.ClickException(visible(f"not delivered: {error}")) from None
    finally:
        yield visitor.leave()
