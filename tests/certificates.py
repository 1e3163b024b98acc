"""Certificates for tests: self-signed ones, and an authority that signs others."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from msrpconf.protocols.tls import Credentials


def issue(
    *names: str,
    issuer: Credentials | None = None,
    authority: bool = False,
    hash_function: SHA256 | SHA384 | None = None,
    expired: bool = False,
    alternatives: bool = True,
    usages: tuple[x509.ObjectIdentifier, ...] = (),
) -> Credentials:
    """A certificate for names, addresses and URIs, signed by `issuer`, else by itself.

    One that is signed by itself, or of an `authority`, may sign others. Without `alternatives`
    the first name is its common name and nothing else; `usages` are what it is for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(hours=-1 if expired else 24))
        .add_extension(x509.BasicConstraints(authority or issuer is None, None), True)
    )
    if alternatives:
        general_names = map(_general_name, names)
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names), False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    signer = key if issuer is None else issuer.key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return Credentials(builder.sign(signer, hash_function or SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name)


def key_pem(credentials: Credentials, passphrase: bytes | None = None) -> bytes:
    """The key as a file has it."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        encryption = BestAvailableEncryption(passphrase)
    return credentials.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@frozen
class Files:
    """Names of the files that a certificate and its key were written to."""

    certificate: Path
    private_key: Path


def write(credentials: Credentials, directory: str | Path, name: str = "server") -> Files:
    """Write ``name.pem`` and ``name.key``."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = Files(directory / f"{name}.pem", directory / f"{name}.key")
    chain = (credentials.certificate, *credentials.chain)
    files.certificate.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    files.private_key.write_bytes(key_pem(credentials))
    return files
