"""message/cpim: the wrapper that says who speaks, to whom and when (RFC 3862).

A message has two heads: the CPIM headers, a blank line, the MIME headers of the content, a blank
line, and then the content itself::

    From: Alice <sip:alice@example.com>
    To: <sip:conf1@example.com>
    DateTime: 2026-11-23T09:00:00Z

    Content-Type: text/plain; charset=utf-8

    Hello, all

A switch reads the heads once for each message and forwards the bytes as they came (RFC 7701 §6.1),
so nothing here writes to what it reads: `parse_cpim_head` gives a value, and `body_offset` says
where the content starts. `build_cpim_head` makes the head of a message of our own.

What deployed clients send is read: addresses without angle brackets, line ends of a bare LF, no
Content-Type, escapes anywhere. What two readers could understand differently is refused, since the
one who checks the sender and the one who shows it must see the same one: two From headers, text
that looks like a second address, control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from attrs import frozen

from msrpconf.protocols.cpim_address import (
    TO_ESCAPE,
    CpimAddress,
    CpimError,
    has_controls,
    unescape,
)
from msrpconf.protocols.text import shown

__all__ = (
    "AGP_NAMESPACE",
    "CPIM_NAMESPACE",
    "DEFAULT_CONTENT_TYPE",
    "FILE_NAMESPACE",
    "IMDN_NAMESPACE",
    "MAX_HEAD",
    "CpimAddress",
    "CpimError",
    "CpimHead",
    "build_cpim_head",
    "parse_cpim_head",
)

#: The longest pair of heads that is read, in octets, with both blank lines.
MAX_HEAD = 8192

#: The namespace of the headers that RFC 3862 §4 defines, and of names without a prefix.
CPIM_NAMESPACE = "urn:ietf:params:cpim-headers:"
#: The namespace of Message-ID, Disposition-Notification and their like (RFC 5438 §12.3).
IMDN_NAMESPACE = "urn:ietf:params:imdn"
#: The namespace of Message-Type, by which deployed clients tell what is not simply said: `status`
#: is a notice of the room's, `history` what was said before.
AGP_NAMESPACE = "urn:ag-projects:xml:ns:cpim"
#: The namespace of File-Selector, in the notice that a room has a file: its value is that of
#: a=file-selector (RFC 5547 §6), by which the file can be fetched.
FILE_NAMESPACE = "urn:uuid:6ab65d2e-5a5c-4d57-9c3d-3b1d0f7c2a55"

#: What the content is taken for if it has no Content-Type (RFC 2045 §5.2).
DEFAULT_CONTENT_TYPE = "text/plain"

# RFC 3862 §3.6: CTLs except those that end lines, and TAB, which some clients leave unescaped.
_CONTROLS = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"
_NAME_CHARACTERS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-^_`|~."
)


@frozen
class CpimHead:
    """The two heads of one message.

    - `from_`: the sender, None if there is no From. `to`, `cc`: the recipients in order, empty if
      there are none. Whether that is allowed is the reader's to say, not the parser's.
    - `date_time`: the first DateTime as it was written (RFC 3339), None if there is none.
    - `subjects`: (language or None, text) of each Subject.
    - `headers`: all CPIM headers as they were written, (name, what follows the colon).
    - `content_headers`: the MIME headers of the content, (name, value), unfolded.
    - `content_type`: the value of its Content-Type, "text/plain" if there is none.
    - `body_offset`: how many octets come before the content.
    """

    from_: CpimAddress | None
    to: tuple[CpimAddress, ...]
    cc: tuple[CpimAddress, ...]
    date_time: str | None
    subjects: tuple[tuple[str | None, str], ...]
    headers: tuple[tuple[str, str], ...]
    content_headers: tuple[tuple[str, str], ...]
    content_type: str
    body_offset: int

    @property
    def subject(self) -> str | None:
        """The subject without a language, else the first one, else None (RFC 3862 §4.5)."""
        for language, text in self.subjects:
            if language is None:
                return text
        return self.subjects[0][1] if self.subjects else None

    @property
    def media_type(self) -> str:
        """The type of the content in lower case, without parameters: `text/plain`."""
        return self.content_type.partition(";")[0].strip().lower()

    def get_all(self, name: str, namespace: str = CPIM_NAMESPACE) -> list[str]:
        """The values of a header by its name and the URI of its namespace (RFC 3862 §3.4).

        The prefix is whatever the sender's NS headers made it; values are without parameters
        and escapes.
        """
        return [
            unescape(_split_parameters(rest)[1])
            for where, local, rest in _with_namespaces(self.headers)
            if local == name and where == namespace
        ]

    def content_header(self, name: str) -> str | None:
        """The first of the content's MIME headers of that name, in any case of letters."""
        name = name.lower()
        for known, value in self.content_headers:
            if known.lower() == name:
                return value
        return None


def parse_cpim_head(data: bytes) -> CpimHead | None:
    """Read the heads at the start of a message/cpim body.

    `data` is the body from its first octet, as much of it as is there. Returns None while the
    heads are not complete. Raises CpimError if they are malformed, or not complete within
    `MAX_HEAD` octets. RFC 3862 §2 and §3.
    """
    headers_end, content_start = _blank_line(data, 0)
    body_offset = -1
    if content_start >= 0:
        content_end, body_offset = _blank_line(data, content_start)
    if not 0 <= body_offset <= MAX_HEAD:
        if len(data) > MAX_HEAD:
            raise CpimError(
                f"CPIM headers and the headers of the content must end within {MAX_HEAD} octets",
                413,
            )
        return None
    if len(data[:body_offset].translate(None, _CONTROLS)) != body_offset:
        raise CpimError(r"CPIM headers have a control character; it is written as \uXXXX")

    try:
        lines = _lines(str(data[:headers_end], "utf-8"))
    except UnicodeDecodeError as error:
        raise CpimError(f"CPIM headers are not UTF-8, at octet {error.start}") from None
    from_: CpimAddress | None = None
    to: list[CpimAddress] = []
    cc: list[CpimAddress] = []
    date_time: str | None = None
    subjects: list[tuple[str | None, str]] = []
    headers: list[tuple[str, str]] = []
    # A prefix that stands for the namespace of RFC 3862 makes `x.From` a From.
    prefixes: set[str] | None = None
    for line in lines:
        name, colon, rest = line.partition(":")
        if not colon:
            raise CpimError(f"CPIM header has no colon: {shown(line)}")
        headers.append((name, rest))
        kind = name
        if name not in _CORE:
            if not name or not _NAME_CHARACTERS.issuperset(name):
                raise CpimError(f"CPIM header name has a character it must not: {shown(name)}")
            if prefixes is None or "." not in name:
                continue
            prefix, _, kind = name.partition(".")
            if prefix not in prefixes:
                continue
        if rest[:1] != ";":
            parameters: tuple[tuple[str, str], ...] = ()
            value = rest.strip(" \t")
        else:
            parameters, value = _split_parameters(rest)
        if kind == "To":
            to.append(CpimAddress.parse(value))
        elif kind == "From":
            if from_ is not None:
                raise CpimError("CPIM message has two From headers; it must have one")
            from_ = CpimAddress.parse(value)
        elif kind == "DateTime":
            if date_time is None:
                date_time = value
        elif kind == "Subject":
            subjects.append((dict(parameters).get("lang"), unescape(value)))
        elif kind == "cc":
            cc.append(CpimAddress.parse(value))
        elif kind == "NS":
            prefix, namespace = _namespace(value)
            prefixes = prefixes or set()
            if namespace == CPIM_NAMESPACE:
                prefixes.add(prefix)
            else:
                prefixes.discard(prefix)

    content_headers, content_type = _content_headers(data[content_start:content_end])
    return CpimHead(
        from_,
        tuple(to),
        tuple(cc),
        date_time,
        tuple(subjects),
        tuple(headers),
        content_headers,
        content_type,
        body_offset,
    )


def build_cpim_head(
    from_: CpimAddress,
    to: CpimAddress | Iterable[CpimAddress],
    date_time: datetime | str | None = None,
    content_type: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[str, str]] = (),
    subject: str | None = None,
    content_headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The octets that go before the content: CPIM headers, content headers, both blank lines.

    `date_time` is an aware datetime, or text in the form of RFC 3339. `headers` are further CPIM
    headers, such as `("NS", "imdn <urn:ietf:params:imdn>")`; control characters and backslashes
    in their values and in `subject` are escaped. `content_headers` follow the Content-Type and
    are written as they are. Raises CpimError for a name, URI or value that cannot be written.
    """
    recipients = (to,) if isinstance(to, CpimAddress) else to
    lines = [f"From: {from_}", *(f"To: {recipient}" for recipient in recipients)]
    if date_time is not None:
        if isinstance(date_time, datetime):
            if date_time.tzinfo is None:
                raise CpimError("DateTime needs a datetime that knows its time zone")
            date_time = date_time.isoformat().replace("+00:00", "Z")
        lines.append(f"DateTime: {date_time.translate(TO_ESCAPE)}")
    if subject is not None:
        lines.append(f"Subject: {subject.translate(TO_ESCAPE)}")
    for name, value in headers:
        if not name or not _NAME_CHARACTERS.issuperset(name):
            raise CpimError(f"not the name of a CPIM header: {shown(name)}")
        lines.append(f"{name}: {value.translate(TO_ESCAPE)}")
    lines.append("")
    for name, value in (("Content-Type", content_type), *content_headers):
        line = f"{name}: {value}"
        if has_controls(line) or not name or not _NAME_CHARACTERS.issuperset(name):
            raise CpimError(f"not a MIME header of one line: {shown(line)}")
        lines.append(line)
    lines.append("\r\n")
    # A lone surrogate has no UTF-8; a question mark reads better than no message at all.
    return "\r\n".join(lines).encode("utf-8", "replace")


_CORE = frozenset(("From", "To", "cc", "DateTime", "Subject", "NS"))


def _blank_line(data: bytes, start: int) -> tuple[int, int]:
    """Where the lines from `start` end, and where what follows their blank line starts.

    (-1, -1) if there is no blank line before `MAX_HEAD`. Lines end in CRLF or LF.
    """
    if data.startswith(b"\r\n", start):
        return start, start + 2
    if data.startswith(b"\n", start):
        return start, start + 1
    crlf = data.find(b"\n\r\n", start, MAX_HEAD)
    lf = data.find(b"\n\n", start, crlf + 1 if crlf >= 0 else MAX_HEAD)
    if lf >= 0:
        return lf, lf + 2
    return (crlf, crlf + 3) if crlf >= 0 else (-1, -1)


def _lines(text: str) -> list[str]:
    """The lines of a head whose last line end is cut off; refuses a CR inside a line."""
    if not text:
        return []
    if text[-1] == "\r":
        text = text[:-1]
    if "\r" not in text and "\n" not in text:
        return [text]
    lines = text.split("\r\n")
    if len(lines) != text.count("\n") + 1:
        lines = [line.removesuffix("\r") for line in text.split("\n")]
    elif len(lines) == text.count("\r") + 1:
        return lines
    if any("\r" in line for line in lines):
        raise CpimError("CPIM headers have a CR without LF; lines end in CRLF")
    return lines


def _split_parameters(rest: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Split what follows a header's colon, `;lang=fr Objet`, into parameters and value."""
    parameters = []
    while rest.startswith(";"):
        end = 1
        quoted = False
        while end < len(rest) and (quoted or rest[end] not in "; \t"):
            if rest[end] == '"':
                quoted = not quoted
            elif rest[end] == "\\":
                end += 1
            end += 1
        name, _, value = rest[1:end].partition("=")
        if value.startswith('"'):
            value = unescape(value[1:].removesuffix('"'))
        parameters.append((name, value))
        rest = rest[end:]
    return tuple(parameters), rest.strip(" \t")


def _namespace(value: str) -> tuple[str, str]:
    """The prefix and the URI of an NS header's value; no prefix is "" (RFC 3862 §4.6)."""
    prefix, bracket, uri = value.partition("<")
    if not bracket or uri[-1:] != ">":
        raise CpimError(f"CPIM NS header must be 'prefix <URI>': {shown(value)}")
    return prefix.strip(" \t"), uri[:-1]


def _with_namespaces(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str | None, str, str]]:
    """Each header as (URI of the namespace or None if undeclared, local name, rest)."""
    namespaces = {"": CPIM_NAMESPACE}
    for name, rest in headers:
        prefix, dot, local = name.partition(".")
        namespace: str | None
        if name in _CORE:
            # Deployed readers know these by their bare names, whatever the default namespace
            # is; so do we, or a second From could hide behind an NS header.
            namespace, local = CPIM_NAMESPACE, name
        elif dot:
            namespace = namespaces.get(prefix)
        else:
            namespace, local = namespaces[""], name
        yield namespace, local, rest
        if local == "NS" and namespace == CPIM_NAMESPACE:
            prefix, namespaces[prefix] = _namespace(_split_parameters(rest)[1])


def _content_headers(data: bytes) -> tuple[tuple[tuple[str, str], ...], str]:
    """The MIME headers of the content, and its type."""
    headers: list[tuple[str, str]] = []
    content_type: str | None = None
    for line in _lines(str(data, "utf-8", "replace")):
        if line[:1] in {" ", "\t"} and headers:
            name, value = headers.pop()
            value = f"{value} {line.strip()}"
        else:
            name, colon, value = line.partition(":")
            name = name.rstrip(" \t")
            if not colon or not name or not _NAME_CHARACTERS.issuperset(name):
                raise CpimError(
                    "CPIM content must start with MIME headers such as 'Content-Type: "
                    f"text/plain', then a blank line; found {shown(line)}"
                )
            value = value.strip(" \t")
            if content_type is not None and name.lower() == "content-type":
                raise CpimError("CPIM content has two Content-Type headers; it must have one")
        headers.append((name, value))
        if name.lower() == "content-type":
            content_type = value
    return tuple(headers), content_type or DEFAULT_CONTENT_TYPE
