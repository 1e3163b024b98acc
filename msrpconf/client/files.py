"""Files to a room and from it (RFC 5547), as somebody in the room sends and fetches them.

    await send_file(agent, "sip:lobby@conf.example.com", Path("photo.jpg"))
    await fetch_file(agent, "sip:lobby@conf.example.com", FileSelector("photo.jpg"), Path("it.jpg"))

Each is a dialog of its own beside that of the chat, which must be there. Neither takes
more memory than a few chunks, whatever the file's size.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThreadPool

from msrpconf.client.call import JoinError
from msrpconf.client.file_transfers import Fetching, FileTransferError, Giving, Progress, Transfer
from msrpconf.conference.files import OCTETS
from msrpconf.protocols.sdp_file import SHA_1, FileHash, FileSelector
from msrpconf.protocols.sip.flow import Address

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

__all__ = ["FileTransferError", "Progress", "describe", "fetch_file", "safe_name", "send_file"]

_PIECE = 65536

MAX_NAME = 200
"""Octets of a file's name on our disk."""


@inlineCallbacks
def send_file(
    agent: UserAgent,
    room: str,
    path: Path,
    *,
    name: str | None = None,
    media_type: str | None = None,
    progress: Progress | None = None,
    tls: bool = False,
    via: Address | None = None,
) -> Generator[Deferred[Any], Any, FileSelector]:
    """Give the room at the URI `room` the file at `path`; done when it has all of it.

    `name` and `media_type` are what others are told, by default the file's own and what the
    name suggests; `progress` is called as it passes. Gives the selector that others fetch it by.
    Fails with `JoinError` where the room does not take it, with `FileTransferError` where it
    does not arrive, and with OSError.
    """
    pool = agent.reactor.getThreadPool()
    # A large file takes seconds to hash.
    selector = yield deferToThreadPool(agent.reactor, pool, describe, path, name, media_type)
    with path.open("rb", buffering=0) as octets:
        yield _run(
            agent, room, lambda uri: Giving(agent, uri, selector, octets), progress, tls, via
        )
    result: FileSelector = selector
    return result


@inlineCallbacks
def fetch_file(
    agent: UserAgent,
    room: str,
    selector: FileSelector,
    path: Path,
    *,
    progress: Progress | None = None,
    tls: bool = False,
    via: Address | None = None,
) -> Generator[Deferred[Any], Any, FileSelector]:
    """Fetch the file that `selector` means from the room, to `path`, which must not exist.

    Gives what the room says of the file. Fails as `send_file` does; then nothing is at `path`.
    """
    with path.open("xb") as octets:
        try:
            fetching: Fetching = yield _run(
                agent,
                room,
                lambda uri: Fetching(agent, uri, selector, octets),
                progress,
                tls,
                via,
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return fetching.found


def describe(path: Path, name: str | None = None, media_type: str | None = None) -> FileSelector:
    """The selector of a file on disk: all of it is read for the hash. Raises OSError."""
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    with path.open("rb") as octets:
        while data := octets.read(_PIECE):
            digest.update(data)
            size += len(data)
    guessed = media_type or mimetypes.guess_type(name or path.name)[0] or OCTETS
    return FileSelector(name or path.name, guessed, size, (FileHash(SHA_1, digest.digest()),))


def safe_name(name: str | None) -> str:
    """A name for a file on our disk, from one that somebody else has given it (RFC 5547 §10).

    No directory, nothing hidden, nothing that a terminal obeys or that looks like another name.
    """
    last = re.split(r"[/\\]", name or "")[-1]
    kept = "".join(char for char in last if char.isprintable()).strip().lstrip(".").strip()
    octets = kept.encode("utf-8", "ignore")
    if len(octets) > MAX_NAME:
        _, dot, suffix = kept.rpartition(".")
        ending = f".{suffix}".encode() if dot and len(suffix) <= 10 else b""
        octets = octets[: MAX_NAME - len(ending)].decode("utf-8", "ignore").encode() + ending
    return octets.decode("utf-8", "ignore") or "file"


@inlineCallbacks
def _run(
    agent: UserAgent,
    room: str,
    make: Callable[[str], Transfer],
    progress: Progress | None,
    tls: bool,
    via: Address | None,
) -> Generator[Deferred[Any], Any, Transfer]:
    """Call the room for a file, wait until it has passed, and hang up."""
    begun: list[Transfer] = []

    def begin(_: str, path: str) -> Transfer:
        begun.append(make(path))
        begun[-1].progress = progress
        return begun[-1]

    try:
        transfer: Transfer = yield agent.call(room, begin, tls=tls, via=via)
    except JoinError:
        for each in begun:
            each.done.addErrback(lambda _: None)  # what is raised says it all
        raise
    try:
        yield transfer.done
    finally:
        yield transfer.hang_up()
    return transfer
