"""SIP over TLS: who is at the other end (RFC 3261 section 26.3, RFC 5922).

Who is connected to proves to be the host that was asked for, or the connection ends. Who connects
is asked for a certificate: a good one says which SIP domains the peer may speak for, without one
it speaks for none, and a bad one ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from msrpconf.protocols.sip.flow import Address, is_numeric
from msrpconf.protocols.sip.identities import is_identity, sip_identities
from msrpconf.protocols.text import shown
from msrpconf.protocols.tls import Tls
from msrpconf.protocols.tls_files import PemFiles, ReadAgain, options_of
from msrpconf.protocols.tls_refusals import note_refusal

_WRONG_PURPOSE = 26
"""OpenSSL's X509_V_ERR_INVALID_PURPOSE."""

_SIP_DOMAIN = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20")
"""id-kp-sipDomain: the purpose of a certificate for SIP, either side of a connection (RFC 5924)."""

_MAX_NAME = 253
"""Characters of a host's name (RFC 1035)."""


class SipTls:
    """Makes the TLS of each connection.

    `options` gives what makes contexts, as it is now; `has_certificate` says whether we have one of
    our own; `required` is whether who connects must have one, too.
    """

    def __init__(
        self,
        options: Callable[[], CertificateOptions],
        *,
        has_certificate: bool,
        required: bool = False,
    ) -> None:
        self.options = options
        self.has_certificate = has_certificate
        self.required = required

    @classmethod
    def of_files(cls, files: PemFiles, *, required: bool = False) -> SipTls:
        """From files, which are read again when they change. Raises `TlsError`."""
        if files == PemFiles(None, None, None):
            return cls.of(Tls(), required=required)
        again = ReadAgain(files, "the SIP endpoint's")
        return cls(again.options, has_certificate=files.certificate is not None, required=required)

    @classmethod
    def of(cls, tls: Tls, *, required: bool = False) -> SipTls:
        """From a certificate and authorities that stay as they are; nothing is made until used."""
        options = cache(lambda: options_of(tls))
        return cls(options, has_certificate=tls.credentials is not None, required=required)

    def server(self) -> IOpenSSLServerConnectionCreator:
        """What accepts connections."""
        return _Creator(self, None)

    def client(self, target: Address) -> IOpenSSLClientConnectionCreator:
        """What connects to `target`, whose certificate must be for `target.tls_name`."""
        return _Creator(self, target.tls_name)


def proven_identities(transport: object) -> frozenset[str]:
    """The SIP domains that the peer of a TLS transport has proved to be."""
    found = transport.getPeerCertificate()  # type: ignore[attr-defined]
    return frozenset() if found is None else _identities(found)


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections whose peer must be `host`, None for anybody."""

    def __init__(self, tls: SipTls, host: str | None) -> None:
        self._tls = tls
        self._host = host

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._connection(protocol, required=self._tls.required)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._connection(protocol, required=True)
        host = self._host
        # A name that cannot be asked for is no certificate's either.
        if host is not None and not is_numeric(host) and host.isascii() and len(host) <= _MAX_NAME:
            connection.set_tlsext_host_name(host.encode("ascii"))
        return connection

    def _connection(self, protocol: TLSMemoryBIOProtocol, required: bool) -> SSL.Connection:
        connection = SSL.Connection(self._tls.options().getContext(), None)
        transport: Any = protocol
        transport.verify_error = None

        def verify(_: object, found: crypto.X509, error: int, depth: int, ok: int) -> bool:
            if not ok and not (error == _WRONG_PURPOSE and depth == 0 and _is_for_sip(found)):
                note_refusal(transport, error)
                return False
            if depth == 0 and self._host is not None:
                return self._is_host(transport, found)
            return True

        flags = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0
        connection.set_verify(SSL.VERIFY_PEER | flags, verify)
        return connection

    def _is_host(self, transport: Any, found: crypto.X509) -> bool:
        assert self._host is not None
        identities = _identities(found)
        if is_identity(identities, self._host):
            return True
        names = ", ".join(shown(each) for each in sorted(identities)[:3]) or "no SIP domain"
        transport.verify_error = f"its certificate is for {names}, not for {shown(self._host)}"
        return False


def _identities(found: crypto.X509) -> frozenset[str]:
    try:
        return sip_identities(found.to_cryptography())
    except ValueError:
        return frozenset()  # OpenSSL reads more than others


def _is_for_sip(found: crypto.X509) -> bool:
    try:
        extension = found.to_cryptography().extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        )
    except (x509.ExtensionNotFound, ValueError):
        return False
    return _SIP_DOMAIN in extension.value
