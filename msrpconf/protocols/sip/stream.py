"""SIP over streams: octets in, messages out (RFC 3261 section 18.3, RFC 5626 section 3.5.1)."""

from __future__ import annotations

from attrs import frozen

from msrpconf.protocols.sip.errors import SipParseError
from msrpconf.protocols.sip.message import Head, Message

#: Default bound of a start line with its header fields, in octets.
MAX_HEADERS = 32768
#: Default bound of a body, in octets.
MAX_BODY = 262144

_TLS_RECORD = b"\x16"
"""What TLS begins with, and no message of SIP."""


@frozen
class KeepAlive:
    """A ping between messages (CR LF CR LF), which wants a CR LF in return."""


class StreamParser:
    """Splits what one connection delivers into messages.

    `max_headers` and `max_body` are in octets. The events do not depend on how the octets were
    split. A message that is wrong in itself becomes a `SipParseError` among the events, and the
    next one is read. When the framing is lost (no usable Content-Length, no header fields, a
    bound passed) the last event is a `SipParseError` with `fatal` set: it is kept in `error`,
    and everything after it is dropped.
    """

    def __init__(self, max_headers: int = MAX_HEADERS, max_body: int = MAX_BODY) -> None:
        self._max_headers = max_headers
        self._max_body = max_body
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._body_length = 0
        self.error: SipParseError | None = None

    @property
    def buffered(self) -> int:
        """How many octets wait for the rest of their message."""
        return len(self._buffer)

    @property
    def incomplete(self) -> bool:
        """Whether a message has begun that is not whole yet; line breaks alone begin none."""
        if self._head is not None:
            return True
        return bool(self._buffer) and not b"\r\n\r\n".startswith(self._buffer)

    def receive_data(self, data: bytes) -> list[Message | SipParseError | KeepAlive]:
        """What `data`, the next octets of the stream, completes. Raises nothing."""
        events: list[Message | SipParseError | KeepAlive] = []
        if self.error is not None:
            return events
        self._buffer += data
        while True:
            try:
                event = self._next()
            except SipParseError as error:
                events.append(error)
                if error.fatal:
                    self.error = error
                    self._buffer.clear()
                    return events
                continue
            if event is None:
                return events
            events.append(event)

    def _next(self) -> Message | KeepAlive | None:
        if self._head is None:
            if self._skip_line_breaks():
                return KeepAlive()
            self._head = self._read_head()
            if self._head is None:
                return None
        if len(self._buffer) < self._body_length:
            return None
        head, self._head = self._head, None
        return head.message(self._take(self._body_length))

    def _skip_line_breaks(self) -> bool:
        """Drops CR LFs before a start line; true where two of them make a ping."""
        if self._searched:
            return False
        while self._buffer.startswith(b"\r\n"):
            if self._buffer.startswith(b"\r\n\r\n"):
                self._take(4)
                return True
            if len(self._buffer) < 4 and b"\r\n\r\n".startswith(self._buffer):
                return False
            self._take(2)
        return False

    def _read_head(self) -> Head | None:
        if self._buffer.startswith(_TLS_RECORD):
            # It would be waited for the end of its header fields.
            raise SipParseError("it speaks TLS, and there is none at this port", fatal=True)
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if end < 0 or end > self._max_headers:
            if len(self._buffer) > self._max_headers + 3:
                raise self._too_long()
            # An end may lie across what we have and what comes next.
            self._searched = max(0, len(self._buffer) - 3)
            return None
        self._searched = 0
        head = Head.parse(self._take(end + 4)[:end])
        length = head.body_length()
        if length is None:
            raise head.error("Content-Length: missing, required on a stream", fatal=True)
        if length > self._max_body:
            raise head.error(
                f"Content-Length: expected at most {self._max_body} octets, got {length}",
                513,
                fatal=True,
            )
        self._body_length = length
        return head

    def _too_long(self) -> SipParseError:
        reason = f"expected at most {self._max_headers} octets of header fields"
        # What came by now may be enough to tell the sender.
        whole_lines, line_break, _ = bytes(self._buffer[: self._max_headers]).rpartition(b"\r\n")
        if not line_break:
            return SipParseError(reason, status=513, fatal=True)
        try:
            return Head.parse(whole_lines).error(reason, 513, fatal=True)
        except SipParseError as error:
            return error

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken
