"""`msrpconf send`: say one thing in a room, or give it files."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import FileTransferError, JoinError, SendError
from msrpconf.commands.files import shown
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, visit_options
from msrpconf.visible import visible


@click.command(short_help="Say something in a room, or give it files.")
@visit_options
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Give the room this file; may be given several times.",
)
@click.option(
    "--private-to", metavar="USER", help="Say it to this user alone, written as with --as."
)
@click.argument("text", nargs=-1)
def send(
    text: tuple[str, ...], files: tuple[Path, ...], private_to: str | None, **options: Any
) -> None:
    """Say TEXT in the room at the address ROOM, and leave.

    Without TEXT, what is read from standard input is said, as one message; with
    --file nothing is read. The exit status is 0 once the server has taken the
    message, and all of the files.
    """
    visit = Visit.of(**options)
    if files and private_to is not None:
        raise click.ClickException("a file is for all in the room: leave out --private-to")
    for path in files:
        if not path.is_file():
            raise click.ClickException(f"there is no file {visible(str(path))}")
    to = None if private_to is None else str(visit.user_uri(private_to))
    said = " ".join(text) if text or files else _read_input()
    if not said.strip() and not files:
        raise click.ClickException("there is nothing to say: give a text, or pipe one in")
    run(lambda reactor: say(reactor, visit, said, to, files))


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.ClickException("what is on standard input is not a text in UTF-8") from None


@inlineCallbacks
def say(
    reactor: Any, visit: Visit, text: str, to: str | None = None, files: Sequence[Path] = ()
) -> Generator[Deferred[Any], Any, None]:
    """Goes to a room, says `text`, to all or to one, gives `files`, and leaves after that."""
    visitor = Visitor(reactor, visit, lambda trace: print(trace, file=sys.stderr, flush=True))
    what = ""
    try:
        chat = yield visitor.join(visitor.room)
        if text.strip():
            said = text.encode("utf-8", "replace").decode("utf-8")
            yield chat.send(said) if to is None else chat.send_private(to, said)
        for path in files:
            what = f"{path.name} was "
            yield chat.send_file(path, shown(path))
    except (SendError, JoinError, FileTransferError) as error:
        raise click.ClickException(visible(f"{what}not delivered: {error}")) from None
    except OSError as error:
        raise click.ClickException(visible(f"{what}not delivered: {error.strerror}")) from None
    finally:
        yield visitor.leave()
