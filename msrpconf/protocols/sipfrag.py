"""What became of a request that somebody was referred to: message/sipfrag (RFC 3420, RFC 3515).

The body of a NOTIFY of the refer package starts with a status line. No more of it is needed, and
no more is told: the rest of a response is nobody else's business (RFC 3515 §5.2).
"""

from __future__ import annotations

import re

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.status import REASONS
from msrpconf.protocols.text import shown

SIPFRAG = "message/sipfrag"
SIPFRAG_TYPE = "message/sipfrag;version=2.0"

MAX_REASON = 200
"""Characters of a reason phrase that are kept."""

_STATUS_LINE = re.compile(
    r"SIP/2\.0[ \t]+([1-6][0-9]{2})(?![^ \t\r\n])(?:[ \t]+([^\r\n]*))?", re.IGNORECASE
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@frozen
class Fragment:
    """A status line: `status` and its `reason` phrase."""

    status: int
    reason: str

    @classmethod
    def of(cls, status: int, reason: str | None = None) -> Fragment:
        """With the standard phrase where there is no other; on one line, and not too long."""
        phrase = _CONTROLS.sub(" ", reason or REASONS.get(status, "")).strip()[:MAX_REASON]
        return cls(status, phrase)

    @classmethod
    def parse(cls, body: bytes) -> Fragment:
        """The status line that `body` begins with. Raises `SipSyntaxError`."""
        text = body[:1000].decode("utf-8", "replace").lstrip("\r\n")
        match = _STATUS_LINE.match(text)
        if match is None:
            raise SipSyntaxError(f"expected 'SIP/2.0 200 OK' in the body, got {shown(text)}")
        return cls.of(int(match[1]), match[2])

    def __bytes__(self) -> bytes:
        return f"SIP/2.0 {self.status} {self.reason}\r\n".encode("utf-8", "replace")

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"

    @property
    def final(self) -> bool:
        """Whether nothing more comes after it."""
        return self.status >= 200
