"""Bodies of several parts: multipart/mixed as SIP uses it (RFC 2046 §5.1, RFC 5621).

An INVITE that creates a group has its session description in one part and its recipients in
another; a REFER finds its list of targets by Content-ID. All other subtypes have the same syntax,
and one that is not known is treated as mixed (RFC 5621 §4.2), so `parse_multipart` reads them all.

A part that is itself a multipart is replaced by the parts inside of it, as RFC 5621 §4.3 has it
for needless nesting: the caller looks through one flat list for the types that it knows. That
serves for a multipart/alternative as well, whose parts are all of different types (§6.2).
"""

from __future__ import annotations

import binascii
import quopri
import re
import secrets
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import is_token
from msrpconf.protocols.sip.headers import MediaType, Parameterized
from msrpconf.protocols.text import shown

#: The most parts that are read from one body, those that hold others included.
MAX_PARTS = 64
#: The longest header section of a part that is read, in octets.
MAX_PART_HEADERS = 4096
#: How many multiparts may be inside of each other, the outermost included.
MAX_DEPTH = 3

#: What a part without a Content-Type is (RFC 2046 §5.1).
_PLAIN_TEXT = MediaType("text", "plain")

# RFC 2046 §5.1.1: 1 to 70 characters, the last one no space; in fact software uses more of ASCII.
_BOUNDARY = re.compile(r"[\x20-\x7e]{0,69}[\x21-\x7e]")
_BLANK_LINE = re.compile(rb"^\r?\n", re.MULTILINE)
_LINE_END = re.compile(r"\r?\n")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class MultipartError(ValueError):
    """A multipart body that cannot be read, or cannot be written.

    The text says what was wrong and what would be right. In a request it becomes a 400.
    """


@frozen
class Part:
    """One part of a body.

    - `content_type`: its type, text/plain if it does not say.
    - `body`: its octets, without a base64 or quoted-printable encoding.
    - `headers`: (name, value) of its other headers, unfolded.
    """

    content_type: MediaType
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """The value of the first header of that name, in any case of letters."""
        name = name.lower()
        for known, value in self.headers:
            if known.lower() == name:
                return value
        return None

    @property
    def content_id(self) -> str | None:
        """Its Content-ID without angle brackets, None if it has none."""
        value = self.header("Content-ID")
        return None if value is None else value.removeprefix("<").removesuffix(">")

    @property
    def disposition(self) -> str | None:
        """Its disposition type in lower case, such as "recipient-list", None if it has none."""
        value = self.header("Content-Disposition")
        return None if value is None else value.partition(";")[0].strip(" \t").lower()

    @property
    def required(self) -> bool:
        """Whether a request with this part must be refused by who does not understand it.

        So it is unless it says handling=optional (RFC 5621 §8.1).
        """
        value = self.header("Content-Disposition")
        if value is None:
            return True
        try:
            parameters = Parameterized.parse(value).parameters
        except SipSyntaxError:
            return True
        return ("handling", "optional") not in {
            (name.lower(), (setting or "").lower()) for name, setting in parameters
        }


def parse_multipart(body: bytes, content_type: MediaType) -> list[Part]:
    """Read the parts of a body in their order, those of inner multiparts in their place.

    `content_type` is that of the body; its `boundary` parameter is needed. Lines may end in a
    bare LF. Raises MultipartError for a malformed body, and for one with more than `MAX_PARTS`
    parts, a part whose headers are longer than `MAX_PART_HEADERS` octets, or more than
    `MAX_DEPTH` multiparts inside of each other.
    """
    return list(_Reader().parts(body, content_type, 1))


def find_by_content_id(parts: Sequence[Part], reference: str) -> Part | None:
    """The part that a `cid:` URL or a Content-ID names (RFC 2392 §2), None if there is none."""
    if reference[:4].lower() == "cid:":
        reference = unquote(reference[4:])
    reference = reference.removeprefix("<").removesuffix(">")
    for part in parts:
        if part.content_id == reference:
            return part
    return None


def build_multipart(
    parts: Iterable[Part], *, boundary: str | None = None, subtype: str = "mixed"
) -> tuple[MediaType, bytes]:
    """The content type and the octets of a body with these parts.

    `boundary` is made up if it is None. Raises MultipartError if it is no boundary or stands in a
    part, and if a header cannot be written.
    """
    written = [_written(part) for part in parts]
    if boundary is None:
        boundary = secrets.token_hex(16)
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartError(f"not a boundary of 1 to 70 characters: {shown(boundary)}")
    delimiter = f"--{boundary}".encode("ascii")
    if any(delimiter in part for part in written):
        raise MultipartError(f"the boundary {shown(boundary)} stands inside of a part")
    body = b"".join(b"%b\r\n%b\r\n" % (delimiter, part) for part in written)
    content_type = MediaType("multipart", subtype, (("boundary", boundary),))
    return content_type, b"%b%b--\r\n" % (body, delimiter)


class _Reader:
    """Reads one body, and counts the parts of all its levels."""

    def __init__(self) -> None:
        self._count = 0

    def parts(self, body: bytes, content_type: MediaType, depth: int) -> Iterator[Part]:
        if depth > MAX_DEPTH:
            raise MultipartError(f"no more than {MAX_DEPTH} multiparts may be inside of each other")
        for section in self._sections(body, content_type):
            part = _part(section)
            if part.content_type.type == "multipart":
                yield from self.parts(part.body, part.content_type, depth + 1)
            else:
                yield part

    def _sections(self, body: bytes, content_type: MediaType) -> Iterator[bytes]:
        """What is between the delimiter lines; what is before and after them is ignored."""
        boundary = content_type.parameter("boundary") or ""
        if not _BOUNDARY.fullmatch(boundary):
            raise MultipartError(
                "a multipart body needs a boundary parameter of 1 to 70 characters in its "
                f"Content-Type; found {shown(boundary)}"
            )
        delimiter = re.compile(
            rb"(?:^|\r?\n)--%b(--)?[ \t]*(?=\r?\n|\Z)" % re.escape(boundary.encode("ascii"))
        )
        start: int | None = None
        for match in delimiter.finditer(body):
            if start is not None:
                self._count += 1
                if self._count > MAX_PARTS:
                    raise MultipartError(f"a body must not have more than {MAX_PARTS} parts")
                # The line end before the delimiter is the delimiter's, the one after it is left
                # to be found as that of the next: so parts may be empty.
                yield body[start : match.start()]
            if match[1]:
                return
            start = match.end()
        raise MultipartError(f"a multipart body must end with the line {shown(f'--{boundary}--')}")


def _part(section: bytes) -> Part:
    """Read a part; `section` starts with the line end of its delimiter line, if it has one."""
    section = section[2:] if section.startswith(b"\r\n") else section[1:]
    blank = _BLANK_LINE.search(section, 0, MAX_PART_HEADERS + 2)
    if blank is not None:
        head, body = section[: blank.start()], section[blank.end() :]
    elif len(section) > MAX_PART_HEADERS:
        raise MultipartError(
            f"the headers of a part must not be longer than {MAX_PART_HEADERS} octets"
        )
    else:
        head, body = section, b""
    content_type: MediaType | None = None
    headers = []
    for name, value in _headers(head):
        lower = name.lower()
        if lower == "content-type":
            if content_type is not None:
                raise MultipartError("a part must not have two Content-Type headers")
            try:
                content_type = MediaType.parse(value)
            except SipSyntaxError as error:
                raise MultipartError(f"wrong Content-Type of a part: {error}") from None
        elif lower == "content-transfer-encoding":
            body = _decoded(body, value)
        else:
            headers.append((name, value))
    return Part(content_type or _PLAIN_TEXT, body, tuple(headers))


def _headers(head: bytes) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for line in _LINE_END.split(head.decode("utf-8", "replace")):
        if not line:
            continue
        if _CONTROLS.search(line):
            raise MultipartError(f"a part's header has a control character: {shown(line)}")
        if line[0] in " \t" and headers:
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            raise MultipartError(
                f"a part must start with headers 'Name: value' or a blank line: {shown(line)}"
            )
        headers.append((name, value.strip(" \t")))
    return headers


def _decoded(body: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding, which SIP does not need but permits (RFC 5621 §3.2)."""
    encoding = encoding.lower()
    if encoding in {"binary", "8bit", "7bit"}:
        return body
    if encoding == "base64":
        try:
            return b64decode(body)
        except binascii.Error as error:
            raise MultipartError(f"a part is not the base64 that it says: {error}") from None
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    raise MultipartError(f"unknown Content-Transfer-Encoding of a part: {shown(encoding)}")


def _written(part: Part) -> bytes:
    lines: list[str] = []
    for name, value in (("Content-Type", str(part.content_type)), *part.headers):
        if not is_token(name) or _CONTROLS.search(value):
            raise MultipartError(f"not a header of one line: {shown(f'{name}: {value}')}")
        if lines and name.lower() in {"content-type", "content-transfer-encoding"}:
            raise MultipartError(f"{name} is not among a part's other headers")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("utf-8", "replace") + b"\r\n" + part.body
