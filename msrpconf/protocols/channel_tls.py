"""TLS between servers and dispatchers: certificates on both sides, of the operator's own authority.

The files are read again at a new connection when they have changed, so that certificates are
replaced without a restart; while new ones cannot be used, the old ones are.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from msrpconf.protocols.tls import Credentials, TlsError, read_certificates, read_private_key

_log = Logger()

_VERIFY_ERRORS = {
    2: "the certificate of its signer is not among our authorities",
    7: "its certificate's signature is wrong",
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, and by none of our authorities",
    19: "its certificate is signed by none of our authorities",
    20: "its certificate is signed by none of our authorities",
    21: "its certificate is signed by none of our authorities",
    24: "its certificate is signed by one that may not sign",
    26: "its certificate is not for this side of a connection",
}
"""What OpenSSL finds wrong with a certificate (x509_vfy.h), in words."""


_NOT_TLS = frozenset(
    {"wrong version number", "http request", "unknown protocol", "record layer failure"}
)


@frozen
class ChannelFiles:
    """PEM files: our certificate, and those that signed it if need be; its key; our authorities."""

    certificate: Path
    private_key: Path
    authorities: Path

    def read(self) -> CertificateOptions:
        """What makes TLS's contexts. Raises `TlsError`, which names the file."""
        chain = self._read(self.certificate, read_certificates)
        key = self._read(self.private_key, read_private_key)
        trusted = self._read(self.authorities, read_certificates)
        try:
            credentials = Credentials(chain[0], key, chain[1:])
        except TlsError as error:
            raise TlsError(f"{self.private_key} {error}") from None
        roots = [Certificate(crypto.X509.from_cryptography(each)) for each in trusted]
        # pyOpenSSL takes these as they are, and its own kinds of them no longer gladly.
        ours: dict[str, Any] = {
            "privateKey": credentials.key,
            "certificate": credentials.certificate,
            "extraCertChain": credentials.chain,
        }
        return CertificateOptions(
            **ours,
            trustRoot=trustRootFromCertificates(roots),
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )

    @staticmethod
    def _read(path: Path, read: Any) -> Any:
        try:
            return read(path.read_bytes())
        except OSError as error:
            raise TlsError(f"{path} cannot be read: {error.strerror or error}") from None
        except TlsError as error:
            raise TlsError(f"{path} {error}") from None


@define(eq=False)
class ChannelTls:
    """Makes the TLS of each connection from `files`. Raises `TlsError` where they are wrong."""

    files: ChannelFiles
    _seen: object = field(init=False)
    _options: CertificateOptions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = self._marks()
        self._options = self.files.read()

    def _marks(self) -> object:
        marks: list[tuple[int, int, int] | None] = []
        for path in (self.files.certificate, self.files.private_key, self.files.authorities):
            try:
                found = path.stat()
            except OSError:
                marks.append(None)
            else:
                marks.append((found.st_mtime_ns, found.st_size, found.st_ino))
        return marks

    def options(self) -> CertificateOptions:
        """What makes contexts, from the files as they are now."""
        marks = self._marks()
        if marks != self._seen:
            self._seen = marks
            try:
                self._options = self.files.read()
            except TlsError as error:
                _log.error("the channel's new certificates cannot be used: {error}", error=error)
            else:
                _log.info("the channel's certificates were read again")
        return self._options

    def server(self) -> IOpenSSLServerConnectionCreator:
        """What accepts connections."""
        return _Creator(self, None)

    def client(self, host: str) -> IOpenSSLClientConnectionCreator:
        """What connects to `host`, a name or an address without brackets."""
        return _Creator(self, None if _is_address(host) else host.encode("idna"))


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
@frozen(eq=False)
class _Creator:
    tls: ChannelTls
    server_name: bytes | None

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._connection(protocol)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._connection(protocol)
        if self.server_name is not None:
            connection.set_tlsext_host_name(self.server_name)
        return connection

    def _connection(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.tls.options().getContext(), None)
        # On the transport of the link: what is around a protocol may not let this through.
        transport: Any = protocol
        transport.verify_error = None

        def verify(_: object, __: object, error: int, ___: int, ok: int) -> bool:
            if not ok and transport.verify_error is None:
                transport.verify_error = _VERIFY_ERRORS.get(
                    error, f"its certificate is not accepted (OpenSSL's error {error})"
                )
            return bool(ok)

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


def is_for(transport: object, name: str) -> bool:
    """Whether the certificate of a transport's peer is for `name`, a host's name or address."""
    found = transport.getPeerCertificate()  # type: ignore[attr-defined]
    if found is None:
        return False
    try:
        identity = IPAddress_ID(name) if _is_address(name) else DNS_ID(name)
        verify_service_identity(extract_patterns(found.to_cryptography()), [identity], [])
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def why_refused(error: BaseException | None, transport: object) -> str:
    """Why the connection of a transport ended, for people."""
    wrong: str | None = getattr(transport, "verify_error", None)
    if wrong is not None:
        return wrong
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        reasons = [str(entry[-1]) for entry in error.args[0] if entry and entry[-1]]
        text = reasons[-1] if reasons else "TLS failed"
        if "alert" in text:
            return f"it did not accept our certificate ({text})"
        if "did not return a certificate" in text:
            return "it presented no certificate"
        if text in _NOT_TLS:
            return f"it does not speak TLS ({text})"
        return text
    if isinstance(error, ConnectionDone):
        return "it closed the connection"
    if isinstance(error, ConnectionLost):
        return "the connection broke"
    return str(error) or type(error).__name__


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
