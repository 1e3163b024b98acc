"""Digest authentication: its header fields and its arithmetic (RFC 3261 §22, RFC 7616, RFC 8760).

    client --request-------------------------------> server
    client <--401, a WWW-Authenticate an algorithm-- server      `Challenge`
    client --request, Authorization----------------> server      `Credentials`

A proxy challenges with 407, Proxy-Authenticate and Proxy-Authorization instead. Nothing is kept
here: `digest_checker` counts nonces and attempts, `answering` keeps what a client was asked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping

from attrs import evolve, frozen

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import quote_string, unquote_string
from msrpconf.protocols.text import shown

ALGORITHMS: Mapping[str, Callable[[bytes], str]] = {
    "SHA-256": lambda octets: hashlib.sha256(octets).hexdigest(),
    "SHA-512-256": lambda octets: hashlib.new("sha512_256", octets).hexdigest(),
    "MD5": lambda octets: hashlib.md5(octets, usedforsecurity=False).hexdigest(),
}
"""The algorithms that we know, the best that many clients have first: the order of challenges."""

MAX_COUNT = 2**32 - 1
"""How often one nonce can be used: nc has 8 hexadecimal digits."""

MAX_VALUE = 4096
"""Characters that a header field of digest authentication may have."""

_PARAMETER = re.compile(
    rf"[ \t]*+([{grammar.TOKEN_CHARS}]++)[ \t]*+=[ \t]*+"
    rf"(?:({grammar.QUOTED})|([{grammar.VALUE_CHARS}]++))[ \t]*+(?:,|$)"
)
_SCHEME = re.compile(r"[ \t]*+[Dd][Ii][Gg][Ee][Ss][Tt][ \t]++")
_HEX = re.compile(r"[0-9a-fA-F]+")


@frozen
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate of the scheme Digest.

    `algorithm` is in the registry's spelling where we know it, MD5 where the field has none;
    `qop` are the qualities on offer, empty in a challenge of RFC 2069.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ("auth",)
    opaque: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, value: str) -> Challenge:
        """Raises `SipSyntaxError` for what is no challenge of this scheme."""
        fields = _parse(value)
        qop = fields.get("qop", "")
        return cls(
            _needed(fields, "realm"),
            _needed(fields, "nonce"),
            known_algorithm(fields.get("algorithm", "MD5")),
            tuple(each.strip().lower() for each in qop.split(",") if each.strip()),
            fields.get("opaque"),
            fields.get("stale", "").lower() == "true",
        )

    def __str__(self) -> str:
        opaque = "" if self.opaque is None else f", opaque={quote_string(self.opaque)}"
        qop = f', qop="{",".join(self.qop)}"' if self.qop else ""
        stale = ", stale=true" if self.stale else ""
        return (
            f"Digest realm={quote_string(self.realm)}, nonce={quote_string(self.nonce)}"
            f"{opaque}{stale}, algorithm={self.algorithm}{qop}"
        )


@frozen
class Credentials:
    """An Authorization or Proxy-Authorization of the scheme Digest.

    `qop`, `nc` (how often the nonce was used, this time included) and `cnonce` are None in what
    answers a challenge of RFC 2069.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    cnonce: str | None = None
    nc: int | None = None
    qop: str | None = None
    opaque: str | None = None

    @classmethod
    def parse(cls, value: str) -> Credentials:
        """Raises `SipSyntaxError` for what are no credentials of this scheme."""
        fields = _parse(value)
        count = fields.get("nc")
        if count is not None and (len(count) != 8 or not _HEX.fullmatch(count)):
            raise SipSyntaxError(f"nc: expected 8 hexadecimal digits, got {shown(count)}")
        qop = fields.get("qop")
        return cls(
            _needed(fields, "username"),
            _needed(fields, "realm"),
            _needed(fields, "nonce"),
            _needed(fields, "uri"),
            _needed(fields, "response"),
            known_algorithm(fields.get("algorithm", "MD5")),
            fields.get("cnonce"),
            None if count is None else int(count, 16),
            None if qop is None else qop.lower(),
            fields.get("opaque"),
        )

    def __str__(self) -> str:
        quoted = [
            ("username", self.username),
            ("realm", self.realm),
            ("nonce", self.nonce),
            ("uri", self.uri),
            ("response", self.response),
        ]
        parts = [f"{name}={quote_string(value)}" for name, value in quoted]
        parts.append(f"algorithm={self.algorithm}")
        if self.cnonce is not None:
            parts.append(f"cnonce={quote_string(self.cnonce)}")
        if self.opaque is not None:
            parts.append(f"opaque={quote_string(self.opaque)}")
        if self.qop is not None:
            parts.append(f"qop={self.qop}")
        if self.nc is not None:
            parts.append(f"nc={self.nc:08x}")
        return f"Digest {', '.join(parts)}"

    def matches(self, ha1: str, method: str) -> bool:
        """Whether who made them knows the password of `ha1`; compared in constant time.

        False where they are of an algorithm or a quality that we have not.
        """
        if self.algorithm not in ALGORITHMS or self.qop not in (None, "auth"):
            return False
        if self.qop is not None and (self.nc is None or self.cnonce is None):
            return False
        right = self._response(ha1, method)
        return hmac.compare_digest(_octets(right), _octets(self.response.lower()))

    def _response(self, ha1: str, method: str) -> str:
        digest = ALGORITHMS[self.algorithm]
        ha2 = digest(_octets(f"{method}:{self.uri}"))
        if self.qop is None:
            return digest(_octets(f"{ha1}:{self.nonce}:{ha2}"))
        middle = f"{self.nonce}:{self.nc:08x}:{self.cnonce}:{self.qop}"
        return digest(_octets(f"{ha1}:{middle}:{ha2}"))


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """What stands for a password in a realm, in hexadecimal digits (RFC 7616 §3.4.2: A1).

    `algorithm` is one of `ALGORITHMS`.
    """
    return ALGORITHMS[algorithm](_octets(f"{username}:{realm}:{password}"))


def known_algorithm(name: str) -> str:
    """The spelling of an algorithm as `ALGORITHMS` has it; `name` itself where it is none of us."""
    upper = name.upper()
    return upper if upper in ALGORITHMS else name


def choose(values: Iterable[str]) -> Challenge | None:
    """The challenge to answer: the topmost that we understand (RFC 8760 §2.4); None for none.

    `values` are those of the header fields. What is no challenge, or asks for what we have not,
    is passed over.
    """
    for value in values:
        try:
            challenge = Challenge.parse(value)
        except SipSyntaxError:
            continue
        if challenge.algorithm in ALGORITHMS and ("auth" in challenge.qop or not challenge.qop):
            return challenge
    return None


def respond(
    challenge: Challenge, username: str, password: str, method: str, uri: str, count: int = 1
) -> Credentials:
    """The credentials that answer a challenge which `choose` gave.

    `count` is how often its nonce is used with this one.
    """
    qop = "auth" if challenge.qop else None
    unsigned = Credentials(
        username,
        challenge.realm,
        challenge.nonce,
        uri,
        "",
        challenge.algorithm,
        None if qop is None else secrets.token_hex(8),
        None if qop is None else count,
        qop,
        challenge.opaque,
    )
    key = ha1(challenge.algorithm, username, challenge.realm, password)
    return evolve(unsigned, response=unsigned._response(key, method))


def is_digest(value: str) -> bool:
    """Whether a header field is of this scheme."""
    return _SCHEME.match(value) is not None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _needed(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise SipSyntaxError(f"expected Digest with {name}, which is missing")
    return value


def _parse(value: str) -> dict[str, str]:
    """The parameters of a field, their names in lower case."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise SipSyntaxError(f"expected 'Digest name=value, ...', got {shown(value)}")
    if len(value) > MAX_VALUE:
        raise SipSyntaxError(f"expected at most {MAX_VALUE} characters, got {len(value)}")
    fields: dict[str, str] = {}
    position = scheme.end()
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            raise SipSyntaxError(f"expected 'name=value', got {shown(value[position:])}")
        name, quoted, bare = match.groups()
        name = name.lower()
        if name in fields:
            raise SipSyntaxError(f"{name}: expected once")
        fields[name] = bare if quoted is None else unquote_string(quoted)
        position = match.end()
    return fields
