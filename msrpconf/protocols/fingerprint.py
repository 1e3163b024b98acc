"""Certificate fingerprints in session descriptions (RFC 8122 §5).

A fingerprint binds the certificate of a TLS connection to who made the description, so that a
certificate that nobody has signed is as good as any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from attrs import frozen

from msrpconf.protocols.sdp import SdpError
from msrpconf.protocols.text import shown

#: The most fingerprints that one media description may have.
MAX_FINGERPRINTS = 32

# Those that are verified, the most preferred first. MD5 and MD2 must not be (RFC 8122 §5).
_HASHES = {
    "sha-512": "sha512",
    "sha-384": "sha384",
    "sha-256": "sha256",
    "sha-224": "sha224",
    "sha-1": "sha1",
}


@frozen
class Fingerprint:
    """The hash of a certificate in DER.

    - `hash_function`: "sha-256" and the like, in lower case.
    - `digest`: its octets.
    """

    hash_function: str
    digest: bytes

    @classmethod
    def parse(cls, value: str) -> Fingerprint:
        """Read the value of `a=fingerprint`. Raises SdpError, also for functions we do not use."""
        name, _, digits = value.strip().partition(" ")
        name = name.lower()
        if name not in _HASHES:
            raise SdpError(
                f"a=fingerprint needs one of {', '.join(_HASHES)}, RFC 8122 section 5: "
                f"{shown(value)}"
            )
        size = hashlib.new(_HASHES[name]).digest_size
        try:
            digest = bytes.fromhex(digits.strip().replace(":", " "))
        except ValueError:
            digest = b""
        if len(digest) != size:
            raise SdpError(
                f"a=fingerprint of {name} needs {size} octets as 'AB:CD:...': {shown(value)}"
            )
        return cls(name, digest)

    @classmethod
    def of(cls, certificate: bytes, hash_function: str = "sha-256") -> Fingerprint:
        """That of a certificate in DER."""
        return cls(hash_function, hashlib.new(_HASHES[hash_function], certificate).digest())

    def __str__(self) -> str:
        return f"{self.hash_function} {self.digest.hex(':').upper()}"


def read_fingerprints(values: Sequence[str]) -> tuple[Fingerprint, ...]:
    """Those of several `a=fingerprint` that are to be verified: of the best function (§5.1).

    Empty if there are no `values`. Raises SdpError if none of them can be used, or if one of a
    function that we know is malformed.
    """
    if len(values) > MAX_FINGERPRINTS:
        raise SdpError(f"there must not be more than {MAX_FINGERPRINTS} a=fingerprint")
    known = [each for each in values if each.strip().partition(" ")[0].lower() in _HASHES]
    # Where none is known, the first says why.
    fingerprints = [Fingerprint.parse(each) for each in known or values[:1]]
    for name in _HASHES:
        best = tuple(each for each in fingerprints if each.hash_function == name)
        if best:
            return best
    return ()


def own_fingerprints(certificate: bytes, signed_with: str | None) -> tuple[Fingerprint, ...]:
    """What we say of our certificate in DER: SHA-256, and the hash that it is signed with (§5.1).

    `signed_with` is that hash as the standard library names it, such as "sha384"; None for
    signatures without one.
    """
    names = ["sha-256"]
    names += [name for name, known in _HASHES.items() if known == signed_with]
    return tuple(Fingerprint.of(certificate, name) for name in dict.fromkeys(names))


def matches(fingerprints: Iterable[Fingerprint], certificate: bytes) -> bool:
    """Whether a certificate in DER is one of those."""
    return any(each == Fingerprint.of(certificate, each.hash_function) for each in fingerprints)
