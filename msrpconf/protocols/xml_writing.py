"""Text and URIs as XML has them, whatever a peer called itself."""

from __future__ import annotations

import re
from urllib.parse import quote

# What XML 1.0 can hold nowhere, not even escaped.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("\t"): "&#9;",
    ord("\n"): "&#10;",
    ord("\r"): "&#13;",
}
_PLAIN = re.compile(r"[A-Za-z0-9@:;=.,_ ()+*/?!$'~#-]*")
_PLAIN_URI = re.compile(r"[A-Za-z0-9@:;=.,_()+*/?!$'~&-]*")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_LITERAL = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")


def as_uri(text: str) -> str:
    """`text` as an xs:anyURI has it: what a URI may not have is escaped.

    An element is known by what this gives: the same text for the same URI.
    """
    if _PLAIN_URI.fullmatch(text):
        return text
    host = _LITERAL.search(text)
    if host is not None:  # an IPv6 address is the one place for brackets
        before, after = text[: host.start()], text[host.end() :]
        return f"{as_uri(before)}{host[0]}{as_uri(after)}"
    octets = _BAD_ESCAPE.sub("%25", text).encode("utf-8", "replace")
    return quote(octets, safe="@:;=.,_()+*/?!$'~&-%")


def escaped_uri(text: str) -> str:
    """`text` as an xs:anyURI, in an element or in an attribute with double quotes."""
    return as_uri(text).replace("&", "&amp;")


def escaped(text: str) -> str:
    """`text` in an element, or in an attribute with double quotes.

    What XML cannot have is replaced.
    """
    if _PLAIN.fullmatch(text):
        return text
    return _UNFIT.sub("\ufffd", text).translate(_SPECIAL)
