"""MSRP frames (RFC 4975 §7, §9): octets in, events out, and back.

A frame is a start line, headers, perhaps a body, and an end-line that repeats
the transaction identifier::

    MSRP d93kswow SEND                       start line
    To-Path: msrp://switch.example:2855/9di4;tcp
    From-Path: msrp://alice.example:7777/iau3;tcp
    Message-ID: 12339sdqwer
    Byte-Range: 1-14/14
    Content-Type: text/plain
                                             a blank line, where a body follows
    Hi, I'm Alice!
    -------d93kswow$                         end-line: $ complete, + more, # aborted

`FrameParser` has no socket and keeps no body: what arrives of a body is handed
on with the next call, so a frame of any size passes with bounded memory, and
the events do not depend on how the octets were split, once the pieces of a
body are joined. Whatever arrives, it gives events or `MsrpSyntaxError`.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable

from attrs import frozen

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.text import shown

__all__ = [
    "MAX_HEAD",
    "MAX_HEADERS",
    "MAX_OFFSET",
    "ByteRange",
    "Continuation",
    "Event",
    "FrameParser",
    "Head",
    "MsrpSyntaxError",
    "encode",
    "encode_response",
]

MAX_HEAD = 16384
"""Octets that a start line and headers may take together."""

MAX_HEADERS = 64
"""Header lines that one frame may have."""

MAX_OFFSET = 10**15
"""The largest position that a Byte-Range may name: what is beyond it is no message."""

_IDENT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+%=")


class Continuation(enum.Enum):
    """The flag that ends a frame (RFC 4975 §7.1): is this the message's last chunk?"""

    COMPLETE = b"$"
    MORE = b"+"
    ABORTED = b"#"


_FLAGS = {b"$": Continuation.COMPLETE, b"+": Continuation.MORE, b"#": Continuation.ABORTED}


@frozen
class ByteRange:
    """Where a chunk lies in its message (RFC 4975 §7.1.1).

    `start` is the position of the chunk's first octet, from 1; `end` that of
    its last; `total` the octets of the whole message. None stands for ``*``.
    """

    start: int
    end: int | None
    total: int | None

    @classmethod
    def parse(cls, value: bytes) -> ByteRange:
        """Read ``1-16/16``, ``1-*/16``, ``17-*/*`` …; raise `MsrpSyntaxError` otherwise."""
        span, slash, total = value.partition(b"/")
        start, dash, end = span.partition(b"-")
        first = _position(start)
        if not slash or not dash or not first:
            raise MsrpSyntaxError(
                f"Byte-Range: expected 'start-end/total' with start from 1, got {shown(value, 40)}"
            )
        return cls(
            first,
            None if end == b"*" else _position(end, value),
            None if total == b"*" else _position(total, value),
        )

    def __bytes__(self) -> bytes:
        end = b"*" if self.end is None else b"%d" % self.end
        total = b"*" if self.total is None else b"%d" % self.total
        return b"%d-%b/%b" % (self.start, end, total)


def _position(digits: bytes, whole: bytes | None = None) -> int:
    if not digits.isdigit() or len(digits) > 16:
        raise MsrpSyntaxError(f"Byte-Range: expected a number, got {shown(whole or digits, 40)}")
    number = int(digits)
    if number > MAX_OFFSET:
        raise MsrpSyntaxError(f"Byte-Range: {number} is more than the {MAX_OFFSET} allowed")
    return number


class Head:
    """The start line and headers of a frame.

    A request has a `method` (``b"SEND"``) and a `status` of 0; a response has a
    `status` and an empty `method`. `headers` maps lower-case names to values as
    received, surrounding blanks off; where a header came twice the first counts.
    """

    __slots__ = ("comment", "headers", "method", "status", "transaction")

    def __init__(
        self,
        transaction: bytes,
        method: bytes,
        status: int,
        comment: bytes,
        headers: dict[bytes, bytes],
    ) -> None:
        self.transaction = transaction
        self.method = method
        self.status = status
        self.comment = comment
        self.headers = headers

    def __repr__(self) -> str:
        what = self.method or b"%d %b" % (self.status, self.comment)
        return f"<Head {self.transaction!r} {what!r} {self.headers!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Head):
            return NotImplemented
        return (self.transaction, self.method, self.status, self.comment, self.headers) == (
            other.transaction,
            other.method,
            other.status,
            other.comment,
            other.headers,
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def to_path(self) -> bytes:
        """The To-Path header's value: URIs, a blank between each two."""
        return self.headers[b"to-path"]

    @property
    def from_path(self) -> bytes:
        """The From-Path header's value: URIs, a blank between each two."""
        return self.headers[b"from-path"]

    @property
    def message_id(self) -> bytes:
        """The Message-ID, empty where there is none."""
        return self.headers.get(b"message-id", b"")

    @property
    def content_type(self) -> bytes:
        """The Content-Type as received, empty where there is no body."""
        return self.headers.get(b"content-type", b"")

    @property
    def byte_range(self) -> ByteRange:
        """The Byte-Range; without the header, a message that starts here (RFC 4975 §7.3.1).

        Raises `MsrpSyntaxError` for a header that is none.
        """
        value = self.headers.get(b"byte-range")
        return ByteRange(1, None, None) if value is None else ByteRange.parse(value)

    @property
    def failure_report(self) -> bytes:
        """``b"yes"`` (also where absent or unknown), ``b"partial"`` or ``b"no"`` (§7.1.1)."""
        value = self.headers.get(b"failure-report", b"yes").lower()
        return value if value in (b"partial", b"no") else b"yes"

    @property
    def success_report(self) -> bool:
        """Whether a success report is asked for (RFC 4975 §7.1.3)."""
        return self.headers.get(b"success-report", b"no").lower() == b"yes"


Event = Head | bytes | Continuation
"""What a `FrameParser` gives: a head, then octets of its body, then how it ended."""


class FrameParser:
    """Octets of one connection to `Event` values, in order.

    Every frame gives its `Head`, then any number of non-empty `bytes` of body,
    then its `Continuation`. After an `MsrpSyntaxError` the parser is of no more
    use: each later call raises it again.
    """

    def __init__(self, max_head: int = MAX_HEAD) -> None:
        self._max_head = max_head
        self._buffer = b""
        self._marker = b""
        self._in_body = False
        # Octets before the body that belong to the blank line but may also
        # belong to an end-line that follows it at once.
        self._before_body = 0
        self._error: MsrpSyntaxError | None = None

    @property
    def between_frames(self) -> bool:
        """Whether everything received so far was whole frames."""
        return not self._buffer and not self._in_body

    def receive_data(self, data: bytes) -> list[Event]:
        """Take what a connection received; return the events that it completes.

        Raises `MsrpSyntaxError` where the octets are not MSRP; what stood
        before the fault in the same `data` is lost with the connection.
        """
        if self._error is not None:
            raise self._error
        buffer = self._buffer + data if self._buffer else data
        events: list[Event] = []
        position = 0
        try:
            while position < len(buffer):
                read = self._read_body if self._in_body else self._read_head
                advanced = read(buffer, position, events)
                if advanced == position:
                    break
                position = advanced
        except MsrpSyntaxError as error:
            self._error = error
            self._buffer = b""
            raise
        self._buffer = buffer[position:]
        return events

    def _read_head(self, buffer: bytes, position: int, events: list[Event]) -> int:
        """Read a frame's head, and its body too where all of it is there.

        Return the position up to which the buffer is used up.
        """
        if buffer.startswith(b"\r\n", position):
            return position + 2  # empty lines between frames keep a connection alive
        limit = position + self._max_head
        line_end = buffer.find(b"\r\n", position, limit)
        if line_end < 0:
            _check_begun(buffer, position)
            return self._wait(buffer, position)
        transaction, method, status, comment = _start_line(buffer[position:line_end])
        marker = b"\r\n-------" + transaction
        end = _find_end_line(buffer, marker, line_end)
        # A blank line begins a body only where it stands before the end-line.
        blank = buffer.find(b"\r\n\r\n", line_end, limit if end < 0 else end)
        if blank < 0 and end < 0:
            return self._wait(buffer, position)
        head_end = end if blank < 0 else blank
        if head_end > limit:
            raise self._too_long()
        headers = _headers(buffer[line_end + 2 : head_end])
        events.append(Head(transaction, method, status, comment, headers))
        if end < 0:
            self._marker = marker
            self._in_body = True
            self._before_body = 2
            return blank + 2
        if blank >= 0 and end > blank + 4:
            events.append(buffer[blank + 4 : end])
        return self._end(buffer, end, marker, events)

    def _read_body(self, buffer: bytes, position: int, events: list[Event]) -> int:
        marker = self._marker
        end = _find_end_line(buffer, marker, position)
        # What may turn out to be the beginning of an end-line stays for the next call.
        stop = end if end >= 0 else len(buffer) - len(marker) - 2
        begin = position + self._before_body
        if stop > begin:
            events.append(buffer[begin:stop])
            self._before_body = 0
        elif end < 0:
            return position
        if end < 0:
            return stop
        self._in_body = False
        return self._end(buffer, end, marker, events)

    @staticmethod
    def _end(buffer: bytes, end: int, marker: bytes, events: list[Event]) -> int:
        flag = end + len(marker)
        events.append(_FLAGS[buffer[flag : flag + 1]])
        return flag + 3

    def _wait(self, buffer: bytes, position: int) -> int:
        if len(buffer) - position > self._max_head:
            raise self._too_long()
        return position

    def _too_long(self) -> MsrpSyntaxError:
        return MsrpSyntaxError(f"the head of a frame is longer than {self._max_head} octets")


def _check_begun(buffer: bytes, position: int) -> None:
    """Refuse what cannot become a frame before the whole line is there."""
    begun = buffer[position : position + 5]
    if begun != b"MSRP "[: len(begun)] and begun != b"\r":
        raise MsrpSyntaxError(f"expected 'MSRP ' at the start of a frame, got {shown(begun)}")


def _find_end_line(buffer: bytes, marker: bytes, start: int) -> int:
    """Where the frame's end-line begins (at the CRLF before it); -1 where it is not here."""
    while True:
        found = buffer.find(marker, start)
        if found < 0:
            return -1
        flag = found + len(marker)
        if buffer.startswith((b"$\r\n", b"+\r\n", b"#\r\n"), flag):
            return found
        start = found + 1


def _start_line(line: bytes) -> tuple[bytes, bytes, int, bytes]:
    """Transaction, method, status and comment of ``MSRP id SEND`` or ``MSRP id 200 OK``."""
    protocol, _, rest = line.partition(b" ")
    transaction, _, what = rest.partition(b" ")
    if protocol != b"MSRP":
        raise MsrpSyntaxError(f"expected 'MSRP ' at the start of a frame, got {shown(line, 20)}")
    # RFC 4975 wants 4 to 32 characters; we bound what we must search for, no more.
    if not 1 <= len(transaction) <= 64 or not _IDENT.issuperset(transaction):
        raise MsrpSyntaxError(
            f"start line: expected a transaction identifier, got {shown(transaction, 70)}"
        )
    code, _, comment = what.partition(b" ")
    if len(code) == 3 and code.isdigit():
        return transaction, b"", int(code), comment
    if comment or len(code) > 32 or not (code.isalpha() and code.isupper()):
        raise MsrpSyntaxError(f"start line: expected a method or a status, got {shown(what, 40)}")
    return transaction, code, 0, b""


def _headers(block: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    lines = block.split(b"\r\n", MAX_HEADERS)
    ends = len(lines) - 1
    if ends == MAX_HEADERS:
        raise MsrpSyntaxError(f"a frame has more than {MAX_HEADERS} headers")
    if block.count(b"\r") != ends or block.count(b"\n") != ends:
        # Values are written to other peers, some of which take either for a line's end.
        raise MsrpSyntaxError("a header has a CR or LF of its own: only CRLF may end it")
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers.setdefault(name.lower(), value.strip())
        elif line:
            raise MsrpSyntaxError(f"expected 'Name: value' in a header, got {shown(line, 60)}")
    if not headers.get(b"to-path") or not headers.get(b"from-path"):
        raise MsrpSyntaxError("a frame lacks To-Path or From-Path")
    return headers


def new_transaction() -> bytes:
    """A transaction identifier that nobody can foresee (64 bits; RFC 4975 §7.1)."""
    return secrets.token_hex(8).encode("ascii")


def encode(
    start: bytes,
    transaction: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes | None = None,
    flag: Continuation = Continuation.COMPLETE,
) -> bytes:
    """The octets of one frame.

    `start` is a method or ``b"200 OK"``; `headers` are written as given, To-Path
    and From-Path first, Content-Type last where there is a `body` (RFC 4975 §9).
    Raises `ValueError` where `body` has the end-line in it: take a new transaction.
    """
    lines = [b"MSRP %b %b" % (transaction, start)]
    lines += [b"%b: %b" % header for header in headers]
    if body is not None:
        if b"-------" + transaction in body:
            raise ValueError("the transaction identifier stands in the body")
        lines += [b"", body]
    lines.append(b"-------%b%b\r\n" % (transaction, flag.value))
    return b"\r\n".join(lines)


def encode_response(request: Head, status: int, comment: bytes = b"") -> bytes:
    """The response to a request (RFC 4975 §7.2).

    It goes to the previous hop (the leftmost URI of From-Path), as from the URI
    that the request was sent to; `comment` says why, where it is not 200.
    """
    method = request.method
    to_path = request.from_path
    if method == b"SEND":
        to_path = to_path.split(b" ", 1)[0]
    return b"MSRP %b %d %b\r\nTo-Path: %b\r\nFrom-Path: %b\r\n-------%b$\r\n" % (
        request.transaction,
        status,
        comment or COMMENTS.get(status, b"Unknown"),
        to_path,
        request.to_path,
        request.transaction,
    )


COMMENTS = {
    200: b"OK",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Downstream Timeout",
    413: b"Message Too Large",
    415: b"Unsupported Media Type",
    423: b"Interval Out-of-Bounds",
    424: b"Malformed Nickname",
    425: b"Nickname Reserved Or In Use",
    428: b"Private Messages Not Supported",
    481: b"No Such Session",
    501: b"Unknown Method",
    506: b"Session Bound To Another Connection",
}
"""What a status means in a word (RFC 4975 §10, RFC 7701 §10.3)."""
