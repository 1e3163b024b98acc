"""Addresses in the headers of message/cpim, and the escapes of its text (RFC 3862 §2.3, §3)."""

from __future__ import annotations

import re

from attrs import frozen

from msrpconf.protocols.text import shown

_SEPARATORS = frozenset('()<>@,;:\\"/[]?={} ')
_NOT_IN_URI = frozenset('<>"\\ \t\r\n')
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.|$)", re.DOTALL)
_NAMED_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
TO_ESCAPE = {code: f"\\u{code:04x}" for code in (*range(32), 0x7F)} | {
    ord(character): f"\\{letter}" for letter, character in _NAMED_ESCAPES.items()
}
TO_ESCAPE[ord("\\")] = "\\\\"
"""What `str.translate` writes a value with: control characters and backslashes escaped."""
_TO_ESCAPE_QUOTED = TO_ESCAPE | {ord('"'): '\\"'}


class CpimError(ValueError):
    """A message/cpim head that cannot be read, or cannot be written.

    The text says what was wrong and what would be right. `status` is the MSRP status that it
    becomes on the wire: 400, or 413 for a head that is too large.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@frozen
class CpimAddress:
    """The value of From, To or cc: `Alice <sip:alice@example.com>` (RFC 3862 §4.1).

    `uri` is the text of the URI and is not looked into; `formal_name` is without quotes and
    escapes, None if there is none. `str()` raises CpimError if the URI cannot stand in a header.
    """

    uri: str
    formal_name: str | None = None

    @classmethod
    def parse(cls, text: str) -> CpimAddress:
        """Read a header value, with or without angle brackets. Raises CpimError."""
        if not text.endswith(">"):
            if "<" in text:
                raise CpimError(
                    f"CPIM address must end with the '>' that closes its URI: {shown(text)}"
                )
            return cls(_checked_uri(text.strip(" \t"), text))
        start = text.rfind("<")
        if start < 0:
            raise CpimError(f"CPIM address has a '>' and no '<': {shown(text)}")
        uri = _checked_uri(text[start + 1 : -1], text)
        if not start:
            return cls(uri)
        return cls(uri, _formal_name(text[:start].strip(" \t"), text))

    def __str__(self) -> str:
        uri = _checked_uri(self.uri, self.uri)
        name = self.formal_name
        if not name:
            return f"<{uri}>"
        if all(word and _is_token(word) for word in name.split(" ")):
            return f"{name} <{uri}>"
        return f'"{name.translate(_TO_ESCAPE_QUOTED)}" <{uri}>'


def _checked_uri(uri: str, value: str) -> str:
    """The URI of an address without escapes; CpimError if it cannot be a URI."""
    if "\\" in uri:
        uri = unescape(uri)
    if not uri[:1].isalpha() or ":" not in uri or not _NOT_IN_URI.isdisjoint(uri):
        raise CpimError(
            f"CPIM address must have a URI such as <sip:user@example.com>: {shown(value)}"
        )
    if not uri.isprintable() and has_controls(uri):
        raise CpimError(f"CPIM address has a control character in its URI: {shown(value)}")
    return uri


def has_controls(text: str) -> bool:
    """Whether there is a character that must not stand in a header as it is."""
    return any(character < " " or character == "\x7f" for character in text)


def _formal_name(name: str, value: str) -> str | None:
    """The name before the URI of an address, without quotes and escapes."""
    if name[:1] != '"':
        if "<" in name or ">" in name:
            raise CpimError(f"CPIM header must have one address: {shown(value)}")
        return unescape(name) or None
    inside = name[1:-1]
    # Every quote inside must be escaped, the last one not: else the name ends elsewhere than
    # here, and what follows may look like another address.
    bare = inside.replace("\\\\", "").replace('\\"', "")
    if len(name) < 2 or name[-1] != '"' or '"' in bare or bare.endswith("\\"):
        raise CpimError(f"CPIM address has a name whose quotes do not match: {shown(value)}")
    return unescape(inside) or None


def _is_token(word: str) -> bool:
    return _SEPARATORS.isdisjoint(word) and not has_controls(word)


def unescape(text: str) -> str:
    """Resolve the escapes of RFC 3862 §2.3; an unknown one is the character it escapes."""
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_escaped_character, text)
    # \u has UTF-16 units: two of them may be one character, one alone of a pair is none.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped_character(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _NAMED_ESCAPES.get(escape, escape)
