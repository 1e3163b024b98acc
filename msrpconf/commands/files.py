"""`msrpconf put` and `msrpconf get`: give a room a file, and fetch one from it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import Deferred, inlineCallbacks

from msrpconf.client import Chat, FileTransferError, JoinError, safe_name
from msrpconf.client.progress import Progress
from msrpconf.commands.running import run
from msrpconf.commands.visiting import Visit, Visitor, visit_options
from msrpconf.conference.file_notice import readable_size
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.visible import visible

_Transfer = Callable[[Chat], Deferred[FileSelector]]


@click.command(short_help="Give a file to a room.")
@visit_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def put(file: Path, **options: Any) -> None:
    """Give FILE to the room at the address ROOM, and leave.

    Everybody in the room is told, and may fetch it until the room ends; it is of no use
    where nobody else is. The exit status is 0 once the room has all of it.
    """
    visit = Visit.of(**options)
    run(lambda reactor: transfer(reactor, visit, lambda chat: chat.send_file(file, shown(file))))


@click.command(short_help="Fetch a file from a room.")
@visit_options
@click.argument("file")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="The file to write, which must not exist; by default FILE, in this directory.",
)
def get(file: str, target: Path | None, **options: Any) -> None:
    """Fetch the file named FILE from the room at the address ROOM, and leave.

    Of several files of that name it is the newest. The exit status is 0 once all of it is here.
    """
    visit = Visit.of(**options)
    path = target or Path(safe_name(file))
    if path.exists():
        raise click.ClickException(
            f"{visible(str(path))} is there already: choose another, by --to"
        )
    wanted = FileSelector(file)
    fetched = run(
        lambda reactor: transfer(
            reactor, visit, lambda chat: chat.fetch_file(wanted, path, shown(path))
        )
    )
    click.echo(visible(f"{path}: {readable_size(fetched.size or path.stat().st_size)}"))


@inlineCallbacks
def transfer(
    reactor: Any, visit: Visit, begin: _Transfer
) -> Generator[Deferred[Any], Any, FileSelector]:
    """Goes to a room, has a file pass, and leaves."""
    visitor = Visitor(reactor, visit, lambda trace: print(trace, file=sys.stderr, flush=True))
    try:
        chat = yield visitor.join(visitor.room)
        passed: FileSelector = yield begin(chat)
    except (JoinError, FileTransferError, OSError) as error:
        raise click.ClickException(visible(f"{visitor.room}: {error}")) from None
    finally:
        yield visitor.leave()
    return passed


def shown(path: Path) -> Progress:
    """Tells on standard error, now and then, how far a file has passed."""

    def show(progress: Progress) -> None:
        print(progress.line, file=sys.stderr, flush=True)

    return Progress(path.name, show, time.monotonic, in_lines=True)
