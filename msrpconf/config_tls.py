"""`[tls]`: the files that it names, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from attrs import frozen
from cryptography import x509

from msrpconf import config_values as values
from msrpconf.config_key import key
from msrpconf.protocols.tls import (
    Credentials,
    PrivateKey,
    Tls,
    TlsError,
    read_certificates,
    read_private_key,
)

T = TypeVar("T")


@frozen
class TlsConfig:
    """`[tls]`: PEM files, relative to the directory of the configuration file.

    - `certificate`: ours, and after it those of who signed it, if clients may not have them.
    - `private_key`: that of our certificate, without a passphrase.
    - `authorities`: who may sign the certificates of others; None for whom the system trusts.
    """

    certificate: str | None = key(None, values.file)
    private_key: str | None = key(None, values.file)
    authorities: str | None = key(None, values.file)


class TlsFiles:
    """Reads PEM files, each a path relative to `directory`; None for one that is not named.

    `problems` has what is wrong, each with its key, and is empty if `tls` can be used.
    """

    def __init__(
        self,
        directory: Path,
        certificate: str | None,
        private_key: str | None,
        authorities: str | None,
    ) -> None:
        self.problems: list[str] = []
        self._directory = directory
        chain = self._read("certificate", certificate, read_certificates)
        key = self._read("private_key", private_key, read_private_key)
        trusted = self._read("authorities", authorities, read_certificates)
        self.problems += _incomplete(certificate, private_key)
        self.tls = Tls(self._credentials(chain, key, private_key), trusted)

    def _read(self, key: str, name: str | None, read: Callable[[bytes], T]) -> T | None:
        if name is None:
            return None
        path = self._directory / name
        try:
            return read(path.read_bytes())
        except OSError as error:
            self.problems.append(f"{key}: {path} cannot be read: {error.strerror or error}")
        except TlsError as error:
            self.problems.append(f"{key}: {path} {error}")
        return None

    def _credentials(
        self, chain: tuple[x509.Certificate, ...] | None, key: PrivateKey | None, name: str | None
    ) -> Credentials | None:
        if chain is None or key is None:
            return None
        try:
            return Credentials(chain[0], key, chain[1:])
        except TlsError as error:
            self.problems.append(f"private_key: {self._directory / (name or '')} {error}")
        return None


def _incomplete(certificate: str | None, private_key: str | None) -> Iterator[str]:
    if certificate is not None and private_key is None:
        yield 'private_key: missing; write the file with the key of certificate, "server.key"'
    if private_key is not None and certificate is None:
        yield 'certificate: missing; write the file with the certificate, "server.pem"'
