"""Whom a certificate is for, as SIP sees it (RFC 5922 sections 7.1 and 7.2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import is_numeric, unbracket
from msrpconf.protocols.sip.uri import SipURI

_DNS_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+")


def sip_identities(certificate: x509.Certificate) -> frozenset[str]:
    """The SIP domain identities of a certificate, whose validity has been looked at, in lower case.

    Those are the hosts of its sip URIs without a user; only without any, its DNS names; only
    without any alternative name at all, the common name, if that is a DNS name. An address is
    taken like a DNS name, which goes beyond the standard: small sites have none but addresses.
    None for what cannot be read.
    """
    try:
        names = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
    except x509.ExtensionNotFound:
        return frozenset(_common_names(certificate))
    except ValueError:
        return frozenset()
    assert isinstance(names, x509.SubjectAlternativeName)
    uris = frozenset(_hosts(names.get_values_for_type(x509.UniformResourceIdentifier)))
    if uris:
        return uris
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset(identity(name) for name in (*dns, *map(str, addresses)))


def is_identity(identities: Collection[str], host: str) -> bool:
    """Whether `host`, a name or an address, is one of them: in its entirety, without wildcards."""
    return identity(host) in identities


def identity(host: str) -> str:
    """A name or an address in the form in which identities are compared."""
    host = unbracket(host)
    if is_numeric(host):
        return str(ipaddress.ip_address(host))
    return host.lower().removesuffix(".")


def _hosts(uris: list[str]) -> Iterator[str]:
    for text in uris:
        # What has a user is for that user; sips is not named by the standard.
        if text[:4].lower() == "sip:" and "@" not in text:
            try:
                yield identity(SipURI.parse(text).host)
            except SipSyntaxError:
                continue


def _common_names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return
    for attribute in attributes:
        name = identity(str(attribute.value))
        if _DNS_NAME.fullmatch(name) and not is_numeric(name):
            yield name
