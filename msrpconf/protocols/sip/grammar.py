"""The lexical rules that URIs and header fields share (RFC 3261 section 25.1)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from urllib.parse import quote, unquote

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.text import shown

#: Longest host name in DNS.
MAX_HOST = 255

#: A parameter is a name and a value; None where there is no value (`;lr`).
Parameters = tuple[tuple[str, str | None], ...]

# Inside a character class: the characters of a token, of `unreserved`, of a gen-value
# that stands without quotes (a token or a host).
TOKEN_CHARS = r"A-Za-z0-9\-.!%*_+`'~"
UNRESERVED_CHARS = r"A-Za-z0-9\-_.!~*'()"
VALUE_CHARS = TOKEN_CHARS + r"\[\]:"

# A quoted string; line breaks cannot even be quoted.
QUOTED = r'"(?:[^"\\\r\n]++|\\[^\r\n])*+"'

_TOKEN = re.compile(rf"[{TOKEN_CHARS}]+")
_BARE_VALUE = re.compile(rf"[{VALUE_CHARS}]+")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_BACKSLASH = re.compile(r'(["\\\x00-\x08\x0b-\x1f\x7f])')
_LINE_BREAK = re.compile(r"[\r\n]")
_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+([{TOKEN_CHARS}]++)[ \t]*+"
    rf"(?:=[ \t]*+(?:([{VALUE_CHARS}]++)|({QUOTED}))[ \t]*+)?+"
)
# MIME parameters come from mail software, which leaves quotes out where they are due:
# boundary=----=_Part_1, type=application/smil.
_MIME_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+([{TOKEN_CHARS}]++)[ \t]*+"
    rf'(?:=[ \t]*+(?:([^\x00-\x20;,"<>\x7f]++)|({QUOTED}))[ \t]*+)?+'
)
_LIST_ELEMENT = re.compile(rf'(?:[^",<]++|{QUOTED}|<[^>]*+>)*+')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(rf"[{UNRESERVED_CHARS}]")
_HOSTNAME = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*"
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.?"
)
_NUMERIC_TOP = re.compile(r"(?:.*\.)?[0-9]+\.?")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


class Quoted(str):
    """The text of a parameter that stood in quotes.

    Equal to the same plain text; written back in quotes even where a token would do, since
    some grammars ask for them (`text="Busy"`, RFC 3326; `+g.x="y"`, RFC 3840).
    """

    __slots__ = ()


def lower(text: str) -> str:
    """`text` in lower case: a converter that mypy knows."""
    return text.lower()


def is_token(text: str) -> bool:
    """Whether `text` is a token."""
    return _TOKEN.fullmatch(text) is not None


def unquote_string(text: str) -> str:
    """The text inside a quoted string, given with its quotes; quoted pairs are resolved."""
    inner = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def quote_string(text: str) -> str:
    """`text` as a quoted string.

    Raises `SipSyntaxError` for a line break: no quoting carries one (RFC 3261 section 25.1).
    """
    if _LINE_BREAK.search(text):
        raise SipSyntaxError(f"a quoted string cannot hold a line break: {shown(text)}")
    return '"' + _NEEDS_BACKSLASH.sub(r"\\\1", text) + '"'


def split_list(value: str) -> list[str]:
    """The elements of a comma-separated header value, stripped, verbatim.

    Commas inside quotes and angle brackets do not separate. Elements may be empty: it is the
    element's own parser that accepts or refuses that. Raises `SipSyntaxError` for a quote or
    bracket that never closes.
    """
    if "," not in value:
        return [value.strip(" \t")]
    elements = []
    position = 0
    while True:
        match = _LIST_ELEMENT.match(value, position)
        assert match is not None  # the pattern matches the empty string
        end = match.end()
        elements.append(match.group().strip(" \t"))
        if end == len(value):
            return elements
        if value[end] != ",":
            raise SipSyntaxError(f"a quote or angle bracket is not closed: {shown(value[end:])}")
        position = end + 1


def parse_token_list(value: str) -> list[str]:
    """The tokens of a comma-separated header value such as Supported or Allow.

    Empty elements are ignored: `Supported:` may be empty, and a trailing comma hides nothing.
    Raises `SipSyntaxError` for an element that is not a token.
    """
    tokens = []
    for element in value.split(","):
        token = element.strip(" \t")
        if not token:
            continue
        if not is_token(token):
            raise SipSyntaxError(f"expected tokens separated by commas, got {shown(token)}")
        tokens.append(token)
    return tokens


def parse_parameters(text: str, start: int = 0, *, mime: bool = False) -> Parameters:
    """The `;name=value` parameters that fill `text` from `start` to its end.

    Values that stood in quotes come as `Quoted`. With `mime`, unquoted values may hold any
    visible character but separators of parameters and lists. Raises `SipSyntaxError` for
    anything else, and for a name that appears twice (RFC 3261 section 7.3.1).
    """
    pattern = _MIME_PARAMETER if mime else _PARAMETER
    parameters: list[tuple[str, str | None]] = []
    position, end = start, len(text)
    while position < end:
        match = pattern.match(text, position)
        if match is None or (match.end() < end and text[match.end()] != ";"):
            raise SipSyntaxError(
                f"expected ';name' or ';name=value' parameters, got {shown(text[position:])}"
            )
        name, bare, quoted = match.groups()
        value = bare if quoted is None else Quoted(unquote_string(quoted))
        parameters.append((name, value))
        position = match.end()
    if len(parameters) > 1 and len({name.lower() for name, _ in parameters}) < len(parameters):
        raise SipSyntaxError(f"a parameter is given twice: {shown(text[start:].strip())}")
    return tuple(parameters)


def parameters_end(text: str, start: int) -> int:
    """Where the well-formed parameters that begin at `start` end."""
    while match := _PARAMETER.match(text, start):
        if text[match.end() : match.end() + 1] == "=":  # a name whose value is wrong
            break
        start = match.end()
    return start


def format_parameters(parameters: Parameters) -> str:
    """The inverse of `parse_parameters`; quotes values that need quotes or came with them."""
    parts = []
    for name, value in parameters:
        if value is None:
            parts.append(f";{name}")
        elif isinstance(value, Quoted) or not _BARE_VALUE.fullmatch(value):
            parts.append(f";{name}={quote_string(value)}")
        else:
            parts.append(f";{name}={value}")
    return "".join(parts)


def get_parameter(parameters: Parameters, name: str) -> str | None:
    """The value of a parameter; None where it is absent or has no value. `name` in any case."""
    wanted = name.lower()
    for key, value in parameters:
        if key == name or key.lower() == wanted:
            return value
    return None


def has_parameter(parameters: Parameters, name: str) -> bool:
    """Whether a parameter is there, with or without a value."""
    wanted = name.lower()
    return any(key.lower() == wanted for key, _ in parameters)


def set_parameter(parameters: Parameters, name: str, value: str | None) -> Parameters:
    """`parameters` with `name` set to `value`, in its old place or at the end."""
    wanted = name.lower()
    if not has_parameter(parameters, name):
        return (*parameters, (name, value))
    return tuple((k, value) if k.lower() == wanted else (k, v) for k, v in parameters)


def drop_parameters(parameters: Parameters, names: Iterable[str]) -> Parameters:
    """`parameters` without those named."""
    unwanted = {name.lower() for name in names}
    return tuple(pair for pair in parameters if pair[0].lower() not in unwanted)


def unescape(text: str) -> str:
    """`text` with its `%41` escapes resolved, once. Octets that are not UTF-8 become surrogates."""
    return unquote(text, errors="surrogateescape") if "%" in text else text


def escape(text: str, safe: str) -> str:
    """`text` with every character escaped that is neither unreserved nor in `safe`."""
    return quote(text, safe="-_.!~*'()" + safe, errors="surrogateescape")


def normalize_escapes(text: str) -> str:
    """`text` with escapes spelled in one way, for comparison (RFC 3261 section 19.1.4).

    Unreserved characters stand for themselves; all other escapes stay, in upper case.
    """
    if "%" not in text:
        return text

    def normal(match: re.Match[str]) -> str:
        character = chr(int(match.group(1), 16))
        return character if _UNRESERVED.fullmatch(character) else match.group().upper()

    return _ESCAPE.sub(normal, text)


def check_escapes(text: str) -> None:
    """Raises `SipSyntaxError` for a `%` that two hexadecimal digits do not follow."""
    if "%" in text and (match := _BAD_ESCAPE.search(text)):
        raise SipSyntaxError(
            f"'%' must be followed by two hexadecimal digits, got {shown(text[match.start() :])}"
        )


def parse_host(text: str) -> str:
    """A host in lower case: a name, an IPv4 address, or an IPv6 reference in brackets.

    Names are those of RFC 1123, where a label may begin with a digit, and may have underscores,
    since hosts have them. The extra colon that RFC 3261's grammar asks for before an IPv4 part,
    `[2001:db8:::192.0.2.1]`, is taken out (RFC 5118 section 4.10). Raises `SipSyntaxError`.
    """
    if text.startswith("["):
        address = text[1:-1].lower()
        if text.endswith("]") and "%" not in address:
            if ":::" in address and "." in address:
                address = address.replace(":::", "::")
            try:
                socket.inet_pton(socket.AF_INET6, address)
            except (OSError, ValueError):
                pass
            else:
                return f"[{address}]"
        raise SipSyntaxError(f"expected an IPv6 address in brackets, got {shown(text)}")
    if (
        len(text) <= MAX_HOST
        and _HOSTNAME.fullmatch(text)
        and (not _NUMERIC_TOP.fullmatch(text) or _IPV4.fullmatch(text))
    ):
        return text.lower()
    raise SipSyntaxError(f"expected a host name or address, got {shown(text)}")


def canonical_host(host: str) -> str:
    """One spelling for each host: for keys and comparison, never for the wire."""
    if host.startswith("["):
        packed = socket.inet_pton(socket.AF_INET6, host[1:-1])
        return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]"
    return host.lower().removesuffix(".")


def parse_port(text: str) -> int:
    """A port number, 1 to 65535. Raises `SipSyntaxError`."""
    if text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 5:
        port = int(text)
        if 0 < port < 65536:
            return port
    raise SipSyntaxError(f"expected a port from 1 to 65535, got {shown(text)}")


def parse_number(text: str, maximum: int) -> int:
    """A number of digits only, from 0 to `maximum`. Raises `SipSyntaxError`."""
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= len(str(maximum)) and int(digits) <= maximum:
            return int(digits)
    raise SipSyntaxError(f"expected a number from 0 to {maximum}, got {shown(text)}")
