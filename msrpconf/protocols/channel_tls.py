"""TLS between servers and dispatchers: certificates on both sides, of the operator's own authority.

The files are read again at a new connection when they have changed, so that certificates are
replaced without a restart; while new ones cannot be used, the old ones are.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from attrs import define, field, frozen
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from msrpconf.protocols.tls_files import PemFiles, ReadAgain
from msrpconf.protocols.tls_refusals import note_refusal


@define(eq=False)
class ChannelTls:
    """Makes the TLS of each connection from `files`. Raises `TlsError` where they are wrong."""

    files: PemFiles
    _again: ReadAgain = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._again = ReadAgain(self.files, "the channel's")

    def options(self) -> CertificateOptions:
        """What makes contexts, from the files as they are now."""
        return self._again.options()

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
        transport: Any = protocol
        transport.verify_error = None

        def verify(_: object, __: object, error: int, ___: int, ok: int) -> bool:
            if not ok:
                note_refusal(transport, error)
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


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
