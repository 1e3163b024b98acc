"""TLS: our certificate, and what is asked of a peer's.

Between two parties of a session description, a peer's certificate is verified by its fingerprint
(RFC 8122), which the description has; without one, by its name and by who has signed it. A client
is asked for its certificate, and need not have one.

Everything here makes pyOpenSSL's contexts by way of Twisted's `CertificateOptions`: TLS 1.2 and
later, and Twisted's choice of ciphers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from msrpconf.protocols.fingerprint import Fingerprint, matches, own_fingerprints
from msrpconf.protocols.text import shown

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


class TlsError(ValueError):
    """A certificate or a key that cannot be used. The text says why."""


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, at least one. Raises TlsError."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise TlsError("has no certificate in PEM, '-----BEGIN CERTIFICATE-----'") from None


def read_private_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM file. Raises TlsError."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise TlsError("is encrypted; write the key without a passphrase") from None
    except ValueError:
        raise TlsError("has no private key in PEM, '-----BEGIN PRIVATE KEY-----'") from None
    if not isinstance(key, PrivateKey):
        raise TlsError("has a key that is not for signatures")
    return key


@frozen(eq=False)
class Credentials:
    """Our certificate with its key, and the certificates of those who signed it, if need be."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    def __attrs_post_init__(self) -> None:
        ours, theirs = self.key.public_key(), self.certificate.public_key()
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if ours.public_bytes(*form) != theirs.public_bytes(*form):
            raise TlsError("is not the key of the certificate")

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """What our descriptions say of the certificate (RFC 8122 §5.1)."""
        signed_with = self.certificate.signature_hash_algorithm
        der = self.certificate.public_bytes(Encoding.DER)
        return own_fingerprints(der, None if signed_with is None else signed_with.name)


@frozen(eq=False)
class Tls:
    """What a process needs to listen for TLS, and to connect with it.

    - `credentials`: our certificate; None for one who only connects.
    - `authorities`: who may sign the certificates of peers that gave no fingerprint; None for
      those that the system trusts.
    """

    credentials: Credentials | None = None
    authorities: tuple[x509.Certificate, ...] | None = None
    _options: CertificateOptions = field(init=False)

    @_options.default
    def _make_options(self) -> CertificateOptions:
        return CertificateOptions(**_own(self.credentials))

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """What our descriptions say of our certificate."""
        return () if self.credentials is None else self.credentials.fingerprints

    def server(self) -> IOpenSSLServerConnectionCreator:
        """What accepts connections: asks for the peer's certificate, and takes any or none."""
        return _Server(self._options)

    def client(
        self, host: str, fingerprints: Sequence[Fingerprint] = ()
    ) -> IOpenSSLClientConnectionCreator:
        """What connects to `host`, a name or an address without brackets.

        The peer's certificate must match one of the `fingerprints`; without any, it must be for
        `host`, and signed by one of the authorities. Raises TlsError for a host that no
        certificate can be for.
        """
        if fingerprints:
            return _FingerprintClient(self._options, host, tuple(fingerprints))
        trust = (
            platformTrust()
            if self.authorities is None
            else trustRootFromCertificates(map(_openssl_certificate, self.authorities))
        )
        try:
            if not _is_address(host):
                # What is wrong with a name would else be found when there is a connection.
                DNS_ID(host)
            return optionsForClientTLS(host, trust, extraCertificateOptions=_own(self.credentials))
        except ValueError:
            raise TlsError(f"no certificate can be for the host {shown(host)}") from None


def why_no_tls(error: BaseException | None) -> str:
    """Why there was no TLS with a peer, for people."""
    if isinstance(error, VerificationError):
        return "its certificate is for another host"
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        reasons = [entry[-1] for entry in error.args[0] if entry and entry[-1]]
        if reasons:
            return str(reasons[-1])
    return str(error) or type(error).__name__


def peer_certificate(transport: object) -> bytes | None:
    """The certificate, in DER, that the peer of a TLS transport has presented; None for none."""
    found = transport.getPeerCertificate()  # type: ignore[attr-defined]
    if found is None:
        return None
    return _der(found)


def _own(credentials: Credentials | None) -> dict[str, Any]:
    """The options of a context: the versions, and our certificate."""
    options: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
    if credentials is not None:
        # pyOpenSSL takes these as they are, and its own kinds of them no longer gladly.
        options["privateKey"] = credentials.key
        options["certificate"] = credentials.certificate
        options["extraCertChain"] = credentials.chain
    return options


def _openssl_certificate(certificate: x509.Certificate) -> Certificate:
    return Certificate(crypto.X509.from_cryptography(certificate))


def _der(certificate: crypto.X509) -> bytes:
    # By OpenSSL, which has read it already: a stricter reader might not.
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


class TlsListener(Protocol):
    """What accepts connections for TLS, such as `Tls`."""

    def server(self) -> IOpenSSLServerConnectionCreator: ...


class TlsListeningFactory(TLSMemoryBIOFactory):
    """Accepts TLS for the protocols of a factory, which may refuse one by giving None."""

    def __init__(self, tls: TlsListener, factory: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(tls.server(), False, factory, clock)

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        protocol = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)


@implementer(IOpenSSLServerConnectionCreator)
@frozen(eq=False)
class _Server:
    options: CertificateOptions

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.options.getContext(), None)
        # Whose it may be is known when the session is: nobody need have signed it.
        connection.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        return connection


@implementer(IOpenSSLClientConnectionCreator)
@frozen(eq=False)
class _FingerprintClient:
    options: CertificateOptions
    host: str
    fingerprints: tuple[Fingerprint, ...]

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.options.getContext(), None)
        name = _server_name(self.host)
        if name is not None:
            connection.set_tlsext_host_name(name)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        # The chain above the certificate, and what OpenSSL thinks of it, says nothing here. To
        # refuse it here has the peer told, by an alert (RFC 8122 §6.2).
        return depth != 0 or matches(self.fingerprints, _der(certificate))


def _server_name(host: str) -> bytes | None:
    """The name to ask for; None for an address, which is no server name (RFC 6066 §3)."""
    if _is_address(host):
        return None
    try:
        return host.encode("idna")
    except UnicodeError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
