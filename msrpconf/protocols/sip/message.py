"""SIP messages: requests and responses, read from and written to bytes (RFC 3261 section 7).

A message keeps its header fields as text, in order. Typed accessors (`vias`, `from_`, `cseq`, ...)
parse on first use and remember. The parser has used all that belong to routing, dialogs and
transactions before it hands a message out, so that those cannot fail on a received message:
Via, From, To, Call-ID, CSeq, Max-Forwards, Contact, Route, Record-Route, Content-Type and
Content-Length. The others (`date`, `expires`, `event`, `option_tags`, ...) raise
`SipSyntaxError` when they are asked, since a bad value there matters only to who needs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import define, field, frozen

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.accessors import TypedFields
from msrpconf.protocols.sip.errors import SipParseError, SipSyntaxError
from msrpconf.protocols.sip.fields import KNOWN_NAMES, Headers, header_key
from msrpconf.protocols.sip.headers import Via
from msrpconf.protocols.sip.status import METHODS, REASONS
from msrpconf.protocols.sip.uri import URI, OtherURI, SipURI, parse_uri
from msrpconf.protocols.text import shown

__all__ = [
    "METHODS",
    "REASONS",
    "Head",
    "Headers",
    "Message",
    "Request",
    "Response",
    "SipParseError",
    "SipSyntaxError",
    "parse_message",
]

#: The most header fields that a message may have.
MAX_FIELDS = 512
#: The most hops that an answer to a bad request names: no Max-Forwards lets more pass.
MAX_HOPS = 255

_FOLD = re.compile(r"\r\n[ \t]+")
_VERSION = re.compile(r"SIP/([0-9]+)\.([0-9]+)", re.IGNORECASE)
_STATUS_LINE = re.compile(r"(SIP/[0-9]+\.[0-9]+) ([1-6][0-9]{2})(?: (.*))?", re.IGNORECASE)
_ECHOED_ONCE = ("from", "to", "call-id", "cseq", "timestamp")
_UNREADABLE = OtherURI("invalid", "unreadable")


def _encode(start_line: str, headers: Headers, body: bytes) -> bytes:
    if "\r" in start_line or "\n" in start_line:
        raise SipSyntaxError(f"a start line cannot hold a line break: {shown(start_line)}")
    length = len(body)
    lines = [start_line]
    if "content-length" in headers:
        lines += [
            f"{name}: {length if header_key(name) == 'content-length' else value}"
            for name, value in headers
        ]
    else:
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    try:
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
    except UnicodeEncodeError as error:
        text = error.object[error.start : error.end]
        raise SipSyntaxError(f"no octets stand for {shown(text)}") from None


@define
class Request(TypedFields):
    """A request. `bytes(request)` writes it, with the Content-Length that its body has.

    Writing raises `SipSyntaxError` for a start line with a line break, and for text that has no
    UTF-8: none of that can come from a parsed message.
    """

    method: str
    uri: URI
    headers: Headers = field(factory=Headers)
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return _encode(f"{self.method} {self.uri} SIP/2.0", self.headers, self.body)

    def copy(self) -> Request:
        """An independent copy."""
        return Request(self.method, self.uri, self.headers.copy(), self.body)

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        to_tag: str | None = None,
    ) -> Response:
        """The response to this request (RFC 3261 section 8.2.6).

        Copies Via, From, To, Call-ID and CSeq as they stand, and Timestamp into a 100. `reason`
        defaults to the standard phrase. `to_tag` goes into To unless To has a tag. `headers`
        are added after these. Record-Route is the dialog's business (section 12.1.1).
        """
        response = Headers([("Via", via) for via in self.headers.get_all("Via")])
        for name in ("From", "To", "Call-ID", "CSeq"):
            value = self.headers.get(name)
            if value is None:
                continue
            if name == "To" and to_tag is not None and self._to_lacks_tag():
                value = f"{value};tag={to_tag}"
            response.add(name, value)
        if status == 100 and (timestamp := self.headers.get("Timestamp")) is not None:
            response.add("Timestamp", timestamp)
        for name, value in headers:
            response.add(name, value)
        phrase = REASONS.get(status, "") if reason is None else reason
        return Response(status, phrase, response, body)

    def _to_lacks_tag(self) -> bool:
        try:
            return self.to.tag is None
        except SipSyntaxError:  # the request of a SipParseError: To goes back as it came
            return False


@define
class Response(TypedFields):
    """A response. `bytes(response)` writes it, as `Request` does."""

    status: int
    reason: str
    headers: Headers = field(factory=Headers)
    body: bytes = b""

    def __bytes__(self) -> bytes:
        return _encode(f"SIP/2.0 {self.status} {self.reason}", self.headers, self.body)

    def copy(self) -> Response:
        """An independent copy."""
        return Response(self.status, self.reason, self.headers.copy(), self.body)


Message = Request | Response


@frozen
class Head(TypedFields):
    """The start line and header fields of a message whose framing is not yet settled."""

    start_line: str
    headers: Headers

    @classmethod
    def parse(cls, data: bytes) -> Head:
        """The head of a message: `data` is all before its empty line.

        Raises `SipParseError`, always fatal, for lines that are not header fields.
        """
        text = data.decode("utf-8", "surrogateescape")
        start_line, _, rest = text.partition("\r\n")
        if "\r\n " in rest or "\r\n\t" in rest:
            rest = _FOLD.sub(" ", rest)
        lines = rest.split("\r\n") if rest else []
        try:
            if "\r" in start_line or "\n" in start_line or rest.startswith((" ", "\t")):
                raise SipSyntaxError("the start line must end in CR LF and may not be folded")
            if len(lines) > MAX_FIELDS:
                raise SipSyntaxError(f"expected at most {MAX_FIELDS} header fields")
            items = [_parse_field(line) for line in lines]
        except SipSyntaxError as error:
            raise SipParseError(
                error.reason, request=_answerable(start_line, lines[:MAX_FIELDS]), fatal=True
            ) from None
        return cls(start_line, Headers.from_wire(items))

    def error(self, reason: str, status: int = 400, *, fatal: bool = False) -> SipParseError:
        """The error to raise for this message."""
        lines = [f"{name}:{value}" for name, value in self.headers]
        request = _answerable(self.start_line, lines)
        return SipParseError(reason, status=status, request=request, fatal=fatal)

    def body_length(self) -> int | None:
        """The octets that the body must have. Raises `SipParseError`, always fatal."""
        try:
            return self.content_length
        except SipSyntaxError as error:
            raise self.error(error.reason, fatal=True) from None

    def message(self, body: bytes) -> Message:
        """The message with this body. Raises `SipParseError`, never fatal."""
        try:
            if self.start_line[:4].upper() == "SIP/":
                status, reason = _parse_status_line(self.start_line)
                message: Message = Response(status, reason, self.headers, body)
            else:
                message = Request(*_parse_request_line(self.start_line), self.headers, body)
            _check(message)
        except SipParseError as error:
            raise self.error(error.reason, error.status) from None
        except SipSyntaxError as error:
            raise self.error(error.reason) from None
        return message


def _parse_field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if name not in KNOWN_NAMES:
        name = name.rstrip(" \t")
        if not grammar.is_token(name):
            colon = ""
    if not colon or "\r" in value or "\n" in value:
        raise SipSyntaxError(f"expected a header field, 'Name: value', got {shown(line)}")
    return name, value.strip(" \t")


def _parse_request_line(line: str) -> tuple[str, URI]:
    # Spaces too many are dropped, as RFC 4475 sections 3.1.2.9 and 3.1.2.10 allow: no reading
    # of such a line has another meaning.
    parts = [part for part in line.split(" ") if part]
    if len(parts) != 3 or not _VERSION.fullmatch(parts[2]):
        raise SipSyntaxError(f"Request-Line: expected 'METHOD uri SIP/2.0', got {shown(line)}")
    method, uri_text, version = parts
    if version.upper() != "SIP/2.0":
        raise SipParseError(f"Request-Line: expected SIP/2.0, got {shown(version)}", status=505)
    if not grammar.is_token(method):
        raise SipSyntaxError(f"Request-Line: expected a method, got {shown(method)}")
    try:
        uri = parse_uri(uri_text)
    except SipSyntaxError as error:
        raise SipSyntaxError(f"Request-URI: {error.reason}") from None
    if isinstance(uri, SipURI) and uri.headers:
        raise SipSyntaxError(f"Request-URI: cannot have '?headers', got {shown(uri_text)}")
    return method, uri


def _parse_status_line(line: str) -> tuple[int, str]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise SipSyntaxError(f"Status-Line: expected 'SIP/2.0 200 OK', got {shown(line)}")
    version, status, reason = match.groups()
    if version.upper() != "SIP/2.0":
        raise SipSyntaxError(f"Status-Line: expected SIP/2.0, got {shown(version)}")
    return int(status), reason or ""


def _check(message: Message) -> None:
    """Uses every accessor that a received message may not fail at."""
    _ = (message.top_via, message.from_, message.to, message.call_id)
    cseq = message.cseq
    _ = (message.max_forwards, message.contacts, message.routes, message.record_routes)
    _ = message.content_type
    if isinstance(message, Request) and cseq.method != message.method:
        raise SipParseError(
            f"CSeq: expected the method {shown(message.method)}, got {shown(cseq.method)}",
            status=400 if message.method in METHODS else 501,
        )


def _answerable(start_line: str, lines: list[str]) -> Request | None:
    """What can be saved of a bad request in order to answer it (RFC 3261 section 8.2.6)."""
    parts = [part for part in start_line.split(" ") if part]
    if len(parts) < 2 or not _VERSION.fullmatch(parts[-1].strip()):
        return None
    if not grammar.is_token(parts[0]) or parts[0] == "ACK":
        return None
    items: list[tuple[str, str]] = []
    vias: list[str] = []
    for line in lines:
        try:
            name, value = _parse_field(line)
        except SipSyntaxError:
            continue
        key = header_key(name)
        if key == "via":
            vias.append(value)
        elif key in _ECHOED_ONCE and not any(header_key(other) == key for other, _ in items):
            items.append((name, value))
    readable = _readable_vias(vias)
    if not readable:
        return None
    try:
        uri: URI = parse_uri(parts[1])
    except SipSyntaxError:
        uri = _UNREADABLE
    return Request(parts[0], uri, Headers([*(("Via", via) for via in readable), *items]))


def _readable_vias(values: list[str]) -> list[str]:
    """The hops that can be read, one each; none where the first cannot even in part."""
    elements: list[str] = []
    for value in values:
        try:
            elements += grammar.split_list(value)
        except SipSyntaxError:
            elements.append(value)
    if not elements:
        return []
    first, *others = elements[: MAX_HOPS + 1]
    if not _is_via(first):
        top = Via.salvage(first)
        if top is None:
            return []
        first = str(top)
    return [first, *(element for element in others if _is_via(element))]


def _is_via(value: str) -> bool:
    try:
        Via.parse(value)
    except SipSyntaxError:
        return False
    return True


def parse_message(data: bytes) -> Message:
    """The message in one datagram (RFC 3261 section 18.3).

    Octets after the body that Content-Length gives are dropped; without Content-Length, all
    that follows the empty line is the body. Raises `SipParseError` and nothing else.
    """
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        raise Head.parse(data[start:].removesuffix(b"\r\n")).error(
            "expected an empty line after the header fields"
        )
    head = Head.parse(data[start:end])
    body = data[end + 4 :]
    length = head.body_length()
    if length is not None and length > len(body):
        raise head.error(
            f"Content-Length: the body has {len(body)} octets, fewer than the {length} announced"
        )
    return head.message(body if length is None else body[:length])
