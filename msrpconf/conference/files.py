"""The files that people gave to a room: kept on disk, found again by a selector (RFC 5547 §5).

    FileStore          the directory of a server, and how much may be in it
      RoomFiles        what one room keeps: so many files and octets, the oldest go first
        Upload         a file on its way in: hashed as it comes, kept when it is whole and right
        StoredFile     what is known of a file that is kept

Names come from peers, so none of them ever reaches the file system: there, a file is a random
word in a directory that is named by a hash of its room (RFC 5547 §10). Octets are written and
read as they pass, in pieces of some 16 KiB, which a disk's cache takes in microseconds.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mimetypes
import os
import secrets
import shutil
import tempfile
import unicodedata
from pathlib import Path
from typing import IO

from attrs import asdict, frozen
from twisted.logger import Logger

from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.sdp_file import SHA_1, SHA_256, FileHash, FileSelector

OCTETS = "application/octet-stream"

MAX_NAME = 200
"""Octets of a file's name, as others are shown it."""

_INDEX = "index.json"
_UNFIT = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


class FileRefused(Exception):
    """A file is not taken. `status` is that of SIP or MSRP, the text says what would be right."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@frozen
class StoredFile:
    """A file that is kept.

    `name` is fit to be shown, `type` a media type as a Content-Type has it, `size` in octets;
    `sha1` and `sha256` are its digests in hex, `sender` is the URI of who sent it, `sent` when,
    in seconds of the epoch. `token` is its name on disk.
    """

    token: str
    name: str
    type: str
    size: int
    sha1: str
    sha256: str
    sender: str
    sent: float
    disposition: str = "render"

    @property
    def media_type(self) -> str:
        """The type in lower case, without parameters."""
        return self.type.partition(";")[0].strip().lower()

    @property
    def hashes(self) -> tuple[FileHash, ...]:
        """The digests as a selector has them."""
        return (
            FileHash(SHA_1, bytes.fromhex(self.sha1)),
            FileHash(SHA_256, bytes.fromhex(self.sha256)),
        )

    @property
    def selector(self) -> FileSelector:
        """What others ask for the file by."""
        return FileSelector(self.name, self.media_type, self.size, self.hashes[:1])

    def is_selected_by(self, selector: FileSelector) -> bool:
        """Whether every selector is this file's (RFC 5547 §5). Of hashes, the known ones count."""
        known = {each.algorithm: each.digest for each in self.hashes}
        if selector.hashes and known.keys().isdisjoint(each.algorithm for each in selector.hashes):
            return False
        return (
            (selector.name is None or shown_name(selector.name) == self.name)
            and selector.size in (None, self.size)
            and selector.media_type in (None, self.media_type)
            and all(
                known.get(each.algorithm, each.digest) == each.digest for each in selector.hashes
            )
        )


class FileStore:
    """Where a server keeps the files of its rooms.

    `directory` is made where it is not there; without one, a private temporary one is made when
    it is needed, and removed by `close`. `max_octets` is how much all rooms together may keep.
    """

    log = Logger()

    def __init__(self, directory: str | None = None, max_octets: int = 10737418240) -> None:
        self.octets = 0
        """Octets of all files here, also of those that are on their way in."""
        self.max_octets = max_octets
        self.durable = directory is not None
        self._directory = None if directory is None else Path(directory)

    def open(self) -> None:
        """Have the directory ready, without what a server that died left. Raises OSError.

        Only rooms that outlive a server find their files again: they have an index.
        """
        if self.durable:
            if not os.access(self.directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "it cannot be written to", str(self.directory))
            for each in self.directory.iterdir():
                if each.is_dir() and not (each / _INDEX).exists():
                    shutil.rmtree(each, ignore_errors=True)

    @property
    def directory(self) -> Path:
        """The directory, which is there. Raises OSError."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="msrpconf-files-"))
        else:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory

    def close(self) -> None:
        """Remove what is of no use any more: everything, unless the directory was given."""
        if not self.durable and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def room(self, key: str, *, lasting: bool = False) -> RoomFiles:
        """The files of the room `key`; those of a `lasting` one outlive the server."""
        return RoomFiles(self, key, lasting=lasting)


class RoomFiles:
    """The files of one room, the oldest first.

    Those of a `lasting` room are found again by the index beside them.
    """

    log = Logger()

    def __init__(self, store: FileStore, key: str, *, lasting: bool = False) -> None:
        self.files: list[StoredFile] = []
        self._store = store
        self._name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._wanted_lasting = lasting
        self._lasting = lasting and store.durable
        if self._lasting:
            self._load()

    @property
    def lasting(self) -> bool:
        """Whether the room outlives the server, and its files with it where they can."""
        return self._wanted_lasting

    @lasting.setter
    def lasting(self, lasting: bool) -> None:
        self._wanted_lasting = lasting
        self._lasting = lasting and self._store.durable
        self._save()

    @property
    def octets(self) -> int:
        """Octets of all files together."""
        return sum(each.size for each in self.files)

    @property
    def directory(self) -> Path:
        """Where the files are, which is there. Raises OSError."""
        directory = self._store.directory / self._name
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def find(self, selector: FileSelector) -> StoredFile | None:
        """The file that a selector means, the newest where it means several (§8.3.2)."""
        for each in reversed(self.files):
            if each.is_selected_by(selector):
                return each
        return None

    def begin(self, selector: FileSelector, settings: RoomSettings) -> Upload:
        """Take in a file that is described by `selector`. Raises `FileRefused`."""
        size = selector.size or 0
        limit = min(settings.max_file_octets, settings.max_files_octets)
        if size > limit:
            raise FileRefused(413, f"The file is too large: this room takes {limit} octets")
        if self._store.octets + size > self._store.max_octets:
            raise FileRefused(503, "This server has no space for the file: try again later")
        try:
            directory = self.directory
            if shutil.disk_usage(directory).free < size:
                raise FileRefused(503, "This server's disk is full: try again later")
            token = secrets.token_hex(16)
            return Upload(self, selector, limit, token, (directory / f"{token}.part").open("xb"))
        except OSError as error:
            self.log.error("a file cannot be kept: {error}", error=str(error))
            raise FileRefused(503, "This server cannot keep files now: try again later") from None

    def keep(self, upload: Upload, file: StoredFile, settings: RoomSettings) -> None:
        """Keep a file that is here, all of it; the oldest make room for it. Raises OSError."""
        (self.directory / f"{file.token}.part").rename(self.directory / file.token)
        self.files.append(file)
        while len(self.files) > settings.max_files or self.octets > settings.max_files_octets:
            self._drop(self.files.pop(0))
        self._save()

    def open(self, file: StoredFile) -> IO[bytes]:
        """The octets of a file that is kept. Raises OSError."""
        return (self.directory / file.token).open("rb", buffering=0)

    def take_space(self, octets: int) -> bool:
        """Count what comes in, or goes; False where the server has no space for it."""
        if octets > 0 and self._store.octets + octets > self._store.max_octets:
            return False
        self._store.octets += octets
        return True

    def clear(self) -> None:
        """The room has ended: its files with it."""
        for each in self.files:
            self._store.octets -= each.size
        self.files.clear()
        shutil.rmtree(self._store.directory / self._name, ignore_errors=True)

    def _drop(self, file: StoredFile) -> None:
        self._store.octets -= file.size
        try:
            (self.directory / file.token).unlink(missing_ok=True)
        except OSError as error:
            self.log.error("a file cannot be removed: {error}", error=str(error))

    # The index of a room that outlives the server.

    def _save(self) -> None:
        """Write the index, all of it or nothing, of files that shall be found again."""
        try:
            if not self._lasting:
                if self._store.durable:
                    (self.directory / _INDEX).unlink(missing_ok=True)
                return
            written = self.directory / f"{_INDEX}.part"
            written.write_text(json.dumps([asdict(each) for each in self.files]), "utf-8")
            written.replace(self.directory / _INDEX)
        except OSError as error:
            self.log.error("the index of a room's files is not written: {error}", error=str(error))

    def _load(self) -> None:
        """Read the index; what it does not name was not whole, and goes."""
        try:
            text = (self.directory / _INDEX).read_text("utf-8")
            known = [StoredFile(**each) for each in json.loads(text)]
            sizes = {each.name: each.stat().st_size for each in self.directory.iterdir()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            self.log.error("the files of a room are lost: {error}", error=str(error))
            return
        self.files = [each for each in known if sizes.get(each.token) == each.size]
        self._store.octets += self.octets
        for name in sizes.keys() - {each.token for each in self.files} - {_INDEX}:
            (self.directory / name).unlink(missing_ok=True)


class Upload:
    """A file on its way in. Ends with `finish` or `drop`.

    `limit` is how many octets it may have, the selector's size where there is one.
    """

    def __init__(
        self, files: RoomFiles, selector: FileSelector, limit: int, token: str, file: IO[bytes]
    ) -> None:
        self.selector = selector
        self.limit = limit if selector.size is None else selector.size
        self.octets = 0
        self._files = files
        self._token = token
        self._file = file
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take further octets of the file. Raises `FileRefused`."""
        if self.octets + len(data) > self.limit:
            what = "room takes" if self.selector.size is None else "size selector said"
            raise FileRefused(
                413, f"the file is larger than the {self.limit} octets that its {what}"
            )
        if not self._files.take_space(len(data)):
            raise FileRefused(413, "this server has no space for the rest of the file")
        self.octets += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise self._unwritable(error) from None
        self._sha1.update(data)
        self._sha256.update(data)

    def finish(
        self, settings: RoomSettings, *, name: str, type: str, sender: str, now: float
    ) -> StoredFile:
        """The file is whole: keep it if it is what its selector says. Raises `FileRefused`.

        `name` and `type` are for what the selector leaves open.
        """
        wanted = self.selector
        if wanted.size is not None and self.octets != wanted.size:
            raise FileRefused(
                400, f"the file has {self.octets} octets, and its size selector says {wanted.size}"
            )
        digests = {SHA_1: self._sha1, SHA_256: self._sha256}
        for each in wanted.hashes:
            known = digests.get(each.algorithm)
            if known is not None and known.digest() != each.digest:
                raise FileRefused(400, f"the file's {each.algorithm} is not what its selector says")
        media_type = wanted.content_type or type or OCTETS
        file = StoredFile(
            self._token,
            shown_name(wanted.name or name) or _nameless(media_type),
            media_type,
            self.octets,
            self._sha1.hexdigest(),
            self._sha256.hexdigest(),
            sender,
            now,
        )
        try:
            self._file.close()
            self._files.keep(self, file, settings)
        except OSError as error:
            raise self._unwritable(error) from None
        return file

    def drop(self) -> None:
        """Nothing comes of it."""
        self._files.take_space(-self.octets)
        self.octets = 0
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written is not wanted any more
        try:
            os.unlink(self._file.name)
        except OSError:
            pass  # the room has ended, and its directory with it

    def _unwritable(self, error: OSError) -> FileRefused:
        self._files.log.error("a file cannot be written: {error}", error=str(error))
        return FileRefused(413, "this server cannot keep the file: its disk does not take it")


def shown_name(name: str) -> str:
    """A file's name as others are shown it: no directories, nothing that a terminal obeys.

    Empty where nothing is left of it.
    """
    name = unicodedata.normalize("NFC", name.replace("/", "_").replace("\\", "_"))
    name = "".join(each for each in name if unicodedata.category(each) not in _UNFIT)
    octets = name.strip().lstrip(".").encode("utf-8", "replace")[:MAX_NAME]
    return octets.decode("utf-8", "ignore").strip()


def _nameless(media_type: str) -> str:
    """A name for a file that came without one."""
    essence = media_type.partition(";")[0].strip().lower()
    return f"file{mimetypes.guess_extension(essence) or ''}"
