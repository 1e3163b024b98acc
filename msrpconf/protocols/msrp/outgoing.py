"""Frames on their way out, made once and shared by all who get them.

A message to a room goes to hundreds of sessions, and all that differs between
the copies is their To-Path and From-Path. So an `OutgoingFrame` is made once,
and each session puts its own prebuilt paths between two of its parts as it
writes (see `Session.forward`): no octet of a body is copied for a recipient.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence

from msrpconf.protocols.msrp.frame import Continuation, new_transaction

MAX_UNINTERRUPTED = 2048
"""Octets of body above which a chunk must say that it may be interrupted (RFC 4975 §7.1.1)."""

MESSAGE_ID = 16
"""Octets of the Message-IDs that we make."""

PROMPT = 32768
"""Octets of a message that keep their place in a queue; what follows them may be overtaken."""


MAX_NICKNAME = 1023
"""Octets of a nickname (RFC 7701 §7.1)."""


class OutgoingFrame:
    """A SEND or REPORT but for its paths.

    On the wire it is `start`, the session's paths, `middle`, `end`. `middle`
    holds the other headers and the body with the CRLF that follows it; `size`
    counts the octets of all three. A `bulk` frame is a part of a long message, far
    from its beginning: it waits for all other frames of its session, so that a
    large transfer does not hold up what people say. Never changed once made.
    """

    __slots__ = ("bulk", "end", "flag", "method", "middle", "size", "start", "transaction")

    def __init__(
        self,
        method: bytes,
        transaction: bytes,
        middle: bytes,
        flag: Continuation,
        bulk: bool = False,
    ) -> None:
        self.bulk = bulk
        self.method = method
        self.transaction = transaction
        self.flag = flag
        self.start = b"MSRP %b %b\r\n" % (transaction, method)
        self.middle = middle
        self.end = b"-------%b%b\r\n" % (transaction, flag.value)
        self.size = len(self.start) + len(middle) + len(self.end)

    def renamed(self, suffix: bytes) -> OutgoingFrame:
        """The same frame under a transaction identifier of its own.

        For sessions that share a connection: there, two frames of one
        identifier could not be told apart by who answers them. The new
        identifier begins with the old one, so it is not in the body either.
        """
        return OutgoingFrame(self.method, self.transaction + suffix, self.middle, self.flag)


def send_frame(
    message_id: bytes,
    content_type: bytes,
    data: Sequence[bytes],
    start: int = 1,
    total: int | None = None,
    flag: Continuation = Continuation.COMPLETE,
    *,
    failure_report: bytes = b"partial",
    success_report: bool = False,
    key: bytes = b"",
) -> OutgoingFrame:
    """A SEND with a chunk of a message (RFC 4975 §7.1.1).

    `data` are the octets in pieces, `start` the position of the first of them
    in the message, from 1; `total` the octets of the message, None where they
    are not known yet. `failure_report` is ``b"partial"`` by default: who gets
    the copy of a room's message answers errors only. The transaction begins with
    `key`, where there is one, so that answers tell what they are about.
    """
    length = sum(map(len, data))
    if length > MAX_UNINTERRUPTED or (start > 1 and not length):
        # Where there is no last octet, `*` says less than an end before the start would.
        end = b"*"
    else:
        end = b"%d" % (start + length - 1)
    octets = b"".join(data)
    transaction = _transaction(key)
    while b"-------" + transaction in octets:
        transaction = _transaction(key)
    middle = b"Message-ID: %b\r\nByte-Range: %d-%b/%b\r\n%bContent-Type: %b\r\n\r\n%b\r\n" % (
        message_id,
        start,
        end,
        b"*" if total is None else b"%d" % total,
        _reports(failure_report, success_report),
        content_type,
        octets,
    )
    return OutgoingFrame(b"SEND", transaction, middle, flag, start > PROMPT)


def _transaction(key: bytes) -> bytes:
    return key + secrets.token_hex(4).encode("ascii") if key else new_transaction()


def abort_frame(message_id: bytes, content_type: bytes, start: int) -> OutgoingFrame:
    """The chunk that says that the rest of a message will not come (RFC 4975 §7.1)."""
    return send_frame(message_id, content_type, (), start, None, Continuation.ABORTED)


def new_message_id() -> bytes:
    """A Message-ID that nobody else will make (RFC 4975 §7.1.1), `MESSAGE_ID` octets long."""
    return secrets.token_hex(MESSAGE_ID // 2).encode("ascii")


def bodiless_send(message_id: bytes) -> OutgoingFrame:
    """The SEND without a body that binds a session to a connection (RFC 4975 §5.4, §7.1)."""
    middle = b"Message-ID: %b\r\nByte-Range: 1-0/0\r\n" % message_id
    return OutgoingFrame(b"SEND", new_transaction(), middle, Continuation.COMPLETE)


def nickname_frame(nickname: str) -> OutgoingFrame:
    """The NICKNAME request that asks for a nickname; an empty one gives it up (RFC 7701 §7.1).

    Raises ValueError for what cannot stand in a header.
    """
    if any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in nickname):
        raise ValueError("a nickname is one line of text, without control characters")
    quoted = nickname.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8")
    if len(quoted) > MAX_NICKNAME:
        raise ValueError(f"a nickname has {MAX_NICKNAME} octets at most")
    middle = b'Use-Nickname: "%b"\r\n' % quoted
    return OutgoingFrame(b"NICKNAME", new_transaction(), middle, Continuation.COMPLETE)


def report_frame(
    message_id: bytes,
    first: int,
    last: int,
    total: int | None,
    status: int,
    comment: bytes,
    body: bytes = b"",
) -> OutgoingFrame:
    """A REPORT on octets `first` to `last` of a received message (RFC 4975 §7.1.2).

    `body` is message/cpim, and says which private message it was (RFC 7701 §6.2).
    """
    transaction = new_transaction()
    while b"-------" + transaction in body:
        transaction = new_transaction()
    middle = b"Message-ID: %b\r\nByte-Range: %d-%d/%b\r\nStatus: 000 %d %b\r\n" % (
        message_id,
        first,
        last,
        b"*" if total is None else b"%d" % total,
        status,
        comment,
    )
    if body:
        middle += b"Content-Type: message/cpim\r\n\r\n%b\r\n" % body
    return OutgoingFrame(b"REPORT", transaction, middle, Continuation.COMPLETE)


def _reports(failure_report: bytes, success_report: bool) -> bytes:
    lines = b"" if failure_report == b"yes" else b"Failure-Report: %b\r\n" % failure_report
    return lines + b"Success-Report: yes\r\n" if success_report else lines
