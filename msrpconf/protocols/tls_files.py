"""TLS from PEM files, which are read again at a new connection when they have changed.

So certificates are replaced without a restart; while new ones cannot be used, the old ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.logger import Logger

from msrpconf.protocols.tls import (
    Credentials,
    Tls,
    TlsError,
    read_certificates,
    read_private_key,
)

T = TypeVar("T")

_log = Logger()


@frozen
class PemFiles:
    """PEM files: our certificate, and those that signed it if need be; its key; our authorities.

    None for what there is not: one who only connects needs no certificate, and without authorities
    those count that the system trusts.
    """

    certificate: Path | None
    private_key: Path | None
    authorities: Path | None

    def read(self) -> CertificateOptions:
        """What makes TLS's contexts. Raises `TlsError`, which names the file."""
        chain = _read(self.certificate, read_certificates)
        key = _read(self.private_key, read_private_key)
        trusted = _read(self.authorities, read_certificates)
        if chain is None or key is None:
            return options_of(Tls(None, trusted))
        try:
            credentials = Credentials(chain[0], key, chain[1:])
        except TlsError as error:
            raise TlsError(f"{self.private_key} {error}") from None
        return options_of(Tls(credentials, trusted))


def _read(path: Path | None, read: Callable[[bytes], T]) -> T | None:
    if path is None:
        return None
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror or error}") from None
    except TlsError as error:
        raise TlsError(f"{path} {error}") from None


def options_of(tls: Tls) -> CertificateOptions:
    """What makes contexts that have our certificate and ask for one by our authorities."""
    ours: dict[str, Any] = {}
    if tls.credentials is not None:
        # pyOpenSSL takes these as they are, and its own kinds of them no longer gladly.
        ours["privateKey"] = tls.credentials.key
        ours["certificate"] = tls.credentials.certificate
        ours["extraCertChain"] = tls.credentials.chain
    trusted = tls.authorities
    options = CertificateOptions(
        **ours,
        trustRoot=platformTrust()
        if trusted is None
        else trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(each)) for each in trusted]
        ),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    # A session that is taken up again would not have its certificate looked at.
    options.getContext().set_options(SSL.OP_NO_TICKET)
    return options


class ReadAgain:
    """What makes contexts from `files`, as they are now. Raises `TlsError` where they are wrong.

    `whose` names them in the log: "the channel's".
    """

    def __init__(self, files: PemFiles, whose: str) -> None:
        self.files = files
        self._whose = whose
        self._seen = self._marks()
        self._options = files.read()

    def options(self) -> CertificateOptions:
        """What makes contexts; the files are read if they are others than the last time."""
        marks = self._marks()
        if marks != self._seen:
            self._seen = marks
            try:
                self._options = self.files.read()
            except TlsError as error:
                _log.error(
                    "{whose} new certificates cannot be used: {error}",
                    whose=self._whose,
                    error=error,
                )
            else:
                _log.info("{whose} certificates were read again", whose=self._whose)
        return self._options

    def _marks(self) -> object:
        marks: list[tuple[int, int, int] | None] = []
        for path in (self.files.certificate, self.files.private_key, self.files.authorities):
            try:
                found = None if path is None else path.stat()
            except OSError:
                found = None
            marks.append(
                None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)
            )
        return marks
