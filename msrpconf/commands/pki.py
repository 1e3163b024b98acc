"""`msrpconf pki`: an authority of one's own, and certificates for the ends of channel and SIP."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CA_DAYS = 3650
DAYS = 825

_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH

_directory = click.option(
    "--directory",
    "-d",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("pki"),
    show_default=True,
    help="Where the files are.",
)
_days = click.option(
    "--days",
    type=click.IntRange(1, 7300),
    default=DAYS,
    show_default=True,
    help="How long the certificate is valid.",
)
_names = click.argument("names", nargs=-1, required=True, metavar="NAME [OTHER]...")


@click.group(short_help="Make certificates for links and for SIP.")
def pki() -> None:
    """Make certificates for the links between servers, dispatchers and focuses, and for SIP.

    \b
    msrpconf pki init                            an authority: ca.pem, ca.key
    msrpconf pki server chat-1.example.com 10.0.0.5
    msrpconf pki dispatcher focus-1.example.com
    msrpconf pki focus focus-2.example.com       whose dispatcher is a process by itself
    msrpconf pki sip chat.example.com 192.0.2.20     SIP over TLS: a focus, or a proxy

    Keep ca.key where neither servers nor dispatchers are. Nothing is overwritten.
    """


@pki.command()
@_directory
@click.option("--days", type=click.IntRange(1, 36500), default=CA_DAYS, show_default=True)
def init(directory: Path, days: int) -> None:
    """Make the authority: ca.pem, which goes to every host, and ca.key, which goes to none."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "msrpconf channel authority")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _begun(name, key, days)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .add_extension(usage, True)
        .add_extension(identifier, False)
        .sign(key, SHA256())
    )
    _write(directory, "ca", certificate, key)


@pki.command()
@_names
@_directory
@_days
def server(names: tuple[str, ...], directory: Path, days: int) -> None:
    """Make a certificate for a server.

    The names are those, or the addresses, that dispatchers connect to: what
    [dispatcher] servers has. The files are named after the first.
    """
    _issue(names, directory, days, (_SERVER,))


@pki.command()
@_names
@_directory
@_days
def dispatcher(names: tuple[str, ...], directory: Path, days: int) -> None:
    """Make a certificate for a dispatcher.

    The name is that of [dispatcher] name, which [server] dispatchers has, too. Others are those
    that focuses connect to, where the dispatcher is a process by itself.
    """
    _issue(names, directory, days, (_CLIENT, _SERVER))


@pki.command()
@_names
@_directory
@_days
def focus(names: tuple[str, ...], directory: Path, days: int) -> None:
    """Make a certificate for a focus whose dispatcher is a process by itself.

    The name is that of [focus] name, which [dispatcher] focuses has, too.
    """
    _issue(names, directory, days, (_CLIENT,))


@pki.command()
@_names
@_directory
@_days
def sip(names: tuple[str, ...], directory: Path, days: int) -> None:
    """Make a certificate for SIP over TLS, of a focus or of a proxy.

    The names are the domains and addresses in URIs that lead there, and those by
    which [sip] trusted believes a proxy.
    """
    _issue(names, directory, days, (_CLIENT, _SERVER))


def _issue(
    names: tuple[str, ...], directory: Path, days: int, uses: tuple[ObjectIdentifier, ...]
) -> None:
    alternatives = [_general_name(name) for name in names]
    try:
        authority = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        signer = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise click.ClickException(
            f"there is no authority in {directory}: {error}; make one with: msrpconf pki init"
        ) from None
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise click.ClickException(f"{directory / 'ca.key'} is not a key that pki init has made")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        _begun(subject, key, days)
        .issuer_name(authority.subject)
        .add_extension(x509.SubjectAlternativeName(alternatives), False)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(x509.ExtendedKeyUsage(uses), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
        .sign(signer, SHA256())
    )
    _write(directory, names[0], certificate, key)


def _begun(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks differ by some minutes.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    plain = name.replace("-", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum()) or name.startswith("."):
        raise click.ClickException(
            f"{name!r} is neither an address nor a host's name such as chat-1.example.com"
        )
    return x509.DNSName(name)


def _write(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    """Write ``name.pem`` and ``name.key``, if neither is there."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = {
        directory / f"{name}.key": private,
        directory / f"{name}.pem": certificate.public_bytes(Encoding.PEM),
    }
    for path in files:
        if path.exists():
            raise click.ClickException(f"{path} is there already, and is not overwritten")
    for path, octets in files.items():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror or error}") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
        click.echo(f"{path}")
