"""The channel's octets: requests and responses in SIP's form, without a version (doc/channel.md).

    INVITE sip:conf1@example.com          200 OK
    Transaction: 1f                       Transaction: 1f
    From: ...                             ...
    Content-Length: 120                   Content-Length: 0

Octets in, messages out; no socket. Whoever sends what cannot be read is not what it should be, so
every error ends the connection.
"""

from __future__ import annotations

import re

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import is_token
from msrpconf.protocols.sip.message import Head, Message, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.text import shown

VERSION = 1
"""The protocol version that this is."""

MAX_HEAD = 65536
"""Octets of a start line with its header fields."""

MAX_BODY = 1048576
"""Octets of a body."""

TRANSACTION = "Transaction"

_STATUS = re.compile(r"([2-6][0-9]{2})(?: (.*))?")
_OURS = frozenset({"transaction", "content-length"})


class ChannelSyntaxError(ValueError):
    """Octets that are no message of the channel. The text says what is wrong."""


@frozen
class Enveloped:
    """A message and the token of its transaction, which is the same in request and response."""

    transaction: str
    message: Message


def encode(message: Message, transaction: str) -> bytes:
    """The octets of a message. Raises `ChannelSyntaxError` for one that is too long.

    `SipSyntaxError` for text that no octets stand for.
    """
    if isinstance(message, Request):
        start = f"{message.method} {message.uri}"
    else:
        start = f"{message.status} {message.reason}"
    lines = [start, f"{TRANSACTION}: {transaction}"]
    lines += [f"{name}: {value}" for name, value in message.headers if name.lower() not in _OURS]
    lines.append(f"Content-Length: {len(message.body)}")
    if "\r" in start or "\n" in start:
        raise SipSyntaxError(f"a start line cannot hold a line break: {shown(start)}")
    try:
        head = "\r\n".join((*lines, "\r\n")).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise SipSyntaxError(f"no octets stand for {shown(start)}") from None
    if len(head) > MAX_HEAD:
        raise ChannelSyntaxError(f"the header fields have {len(head)} octets, above {MAX_HEAD}")
    if len(message.body) > MAX_BODY:
        raise ChannelSyntaxError(f"the body has {len(message.body)} octets, above {MAX_BODY}")
    return head + message.body


class ChannelParser:
    """Splits what a connection delivers into messages, in bounded memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._length = 0

    def receive(self, data: bytes) -> list[Enveloped]:
        """The messages that `data` completes. Raises `ChannelSyntaxError`; then it is over."""
        self._buffer += data
        found: list[Enveloped] = []
        try:
            while (message := self._next()) is not None:
                found.append(message)
        except SipSyntaxError as error:
            raise ChannelSyntaxError(str(error)) from None
        return found

    def _next(self) -> Enveloped | None:
        if self._head is None:
            self._head = self._read_head()
        if self._head is None or len(self._buffer) < self._length:
            return None
        head, self._head = self._head, None
        return _message(head, self._take(self._length))

    def _read_head(self) -> Head | None:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if (len(self._buffer) if end < 0 else end + 4) > MAX_HEAD:
            raise ChannelSyntaxError(f"expected at most {MAX_HEAD} octets of header fields")
        if end < 0:
            # An end may lie across what we have and what comes next.
            self._searched = max(0, len(self._buffer) - 3)
            return None
        self._searched = 0
        head = Head.parse(self._take(end + 4)[:end])
        length = head.body_length()
        if length is None:
            raise ChannelSyntaxError("Content-Length: missing, required on a channel")
        if length > MAX_BODY:
            raise ChannelSyntaxError(f"Content-Length: expected at most {MAX_BODY}, got {length}")
        self._length = length
        return head

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _message(head: Head, body: bytes) -> Enveloped:
    headers = head.headers
    transaction = headers.get(TRANSACTION)
    if transaction is None or len(transaction) > 64 or not is_token(transaction):
        raise ChannelSyntaxError(f"{TRANSACTION}: expected a token of at most 64 characters")
    headers.remove(TRANSACTION, "Content-Length")
    match = _STATUS.fullmatch(head.start_line)
    if match is not None:
        return Enveloped(transaction, Response(int(match[1]), match[2] or "", headers, body))
    method, _, uri = head.start_line.partition(" ")
    if not is_token(method):
        raise ChannelSyntaxError(f"expected 'METHOD uri' or '200 OK', got {shown(head.start_line)}")
    return Enveloped(transaction, Request(method, parse_uri(uri), headers, body))
