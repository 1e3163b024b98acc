"""What can be wrong with what an MSRP peer sends."""

from __future__ import annotations


class MsrpSyntaxError(ValueError):
    """Octets from a peer are not MSRP (RFC 4975 §9).

    The text says what was wrong, where, and what would be right. After one of
    these a stream cannot be followed any further: the connection is closed.
    """
