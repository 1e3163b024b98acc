"""What passes over a link, counted; what a peer can make up is no key (doc/channel.md)."""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define

METHODS = frozenset(
    {
        *("HELLO", "PING", "SYNC", "DRAIN", "FOCUS", "MOVE"),
        *("INVITE", "ACK", "BYE", "CANCEL", "REFER", "OPTIONS", "UPDATE", "NOTIFY", "PUBLISH"),
    }
)
"""The methods that are counted by their names; all else is ``other``."""

SENT = "sent"
RECEIVED = "received"

TIMEOUT = "timeout"
LOST = "lost"
UNSENT = "unsent"
CANCELLED = "cancelled"


@define(eq=False)
class LinkCounters:
    """Of one link, or of all that there were to one peer.

    `requests` are by direction, ``sent`` or ``received``, by method, and by what came of them:
    the class of the answer's status as ``2xx``, or, of those sent, ``timeout``, ``lost`` with the
    link, ``unsent`` because too much waits, ``cancelled`` because nobody waits any more.
    """

    connects: int = 0
    octets_in: int = 0
    octets_out: int = 0
    requests: Counter[tuple[str, str, str]] = Factory(Counter)

    def count(self, direction: str, method: str, outcome: str | int) -> None:
        """Count a request; `outcome` is one of those above, or the status of the answer."""
        known = method if method in METHODS else "other"
        if isinstance(outcome, int):
            outcome = f"{outcome // 100}xx"
        self.requests[direction, known, outcome] += 1

    def take_over(self, before: LinkCounters) -> None:
        """Go on from what was counted before."""
        self.connects += before.connects
        self.octets_in += before.octets_in
        self.octets_out += before.octets_out
        self.requests += before.requests
