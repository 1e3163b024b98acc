"""How somebody came to be out of a room, for those who are told of it (RFC 4575 §5.7.6)."""

from __future__ import annotations

from attrs import frozen

from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.headers import Reason

# No ACK or MSRP in time, a client that does not read, another than described, a server that stops.
_TECHNICAL = frozenset((408, 480, 488, 500, 503))


@frozen
class Departure:
    """`method` is a word of RFC 4575: departed, booted, failed; `by` is the URI of who did it."""

    method: str = "departed"
    reason: str | None = None
    by: str | None = None

    @classmethod
    def of(cls, reason: Reason, by: Identity | None = None) -> Departure:
        """Of who is sent out with a BYE for `reason`, by somebody or by the server."""
        failed = by is None and reason.cause in _TECHNICAL
        uri = None if by is None else by.uri
        return cls("failed" if failed else "booted", f"Reason: {reason}", uri)


LEFT = Departure()
"""Who said BYE."""
