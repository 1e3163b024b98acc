"""What goes wrong in reading SIP: two errors, one for a value and one for a whole message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msrpconf.protocols.sip.message import Request


class SipSyntaxError(ValueError):
    """A value that is not what the standard's grammar asks for.

    `reason` says what was wrong, where, and what would be right. It is a single line of
    printable ASCII, fit for a log line, a reason phrase or a quoted string.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SipParseError(SipSyntaxError):
    """A message that cannot be accepted.

    `status` is the SIP status that the sender is owed. `request` holds what could be read of
    a request, enough for `Request.response()`: it is None for a response, an ACK, or a request
    whose top Via says nothing of where an answer belongs. `fatal` is true when a stream has lost
    its framing: nothing after it can be read, and the connection must be closed
    (RFC 3261 section 18.3).
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int = 400,
        request: Request | None = None,
        fatal: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.request = request
        self.fatal = fatal
