"""Messages on disk, for those who cannot read them as fast as they come."""

from __future__ import annotations

import os
import tempfile
from typing import IO

from twisted.logger import Logger

log = Logger()


class Spools:
    """Room on disk for the messages of a server: `octets` at most, in the system's directory
    for temporary files. The files have no names: whatever happens, none of them is left."""

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self.used = 0

    def open(self) -> Spool | None:
        """A new spool; None where there is no more room, or no file can be made."""
        if self.used >= self.octets:
            return None
        try:
            return Spool(self, tempfile.TemporaryFile(buffering=0))
        except OSError as error:
            log.warn("slow readers cannot be served from disk: {error}", error=error)
            return None


class Spool:
    """The octets of one message from some position on, which is 0 here."""

    def __init__(self, spools: Spools, file: IO[bytes]) -> None:
        self._spools = spools
        self._file = file
        self._size = 0

    def append(self, data: bytes) -> bool:
        """Write what has come; False where it cannot be, and the spool is of no use any more."""
        if self._spools.used + len(data) > self._spools.octets:
            return False
        try:
            if os.pwrite(self._file.fileno(), data, self._size) != len(data):
                return False
        except OSError as error:
            log.warn("slow readers cannot be served from disk: {error}", error=error)
            return False
        self._size += len(data)
        self._spools.used += len(data)
        return True

    def read(self, position: int, octets: int) -> bytes:
        """Up to so many octets from a position on; none at the end."""
        return os.pread(self._file.fileno(), octets, position)

    def close(self) -> None:
        """Free the room that it takes."""
        if not self._file.closed:
            self._file.close()
            self._spools.used -= self._size
