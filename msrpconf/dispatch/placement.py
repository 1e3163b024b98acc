"""Where a new room goes: weighted rendezvous hashing (Highest Random Weight).

Every dispatcher gives the same order for the same servers without asking the others, and when a
server comes or goes, only the rooms that it gets or had move.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable


def ranked(key: str, servers: Iterable[tuple[str, float]]) -> list[str]:
    """The names of servers in the order in which the room `key` is offered to them.

    `servers` are names with weights; one whose weight is twice another's gets twice the rooms.
    """
    scored = sorted(((_score(key, name, weight), name) for name, weight in servers), reverse=True)
    return [name for _, name in scored]


def _score(key: str, name: str, weight: float) -> float:
    digest = hashlib.blake2b(f"{name}\0{key}".encode("utf-8", "replace"), digest_size=8).digest()
    # In the open interval from 0 to 1, so that the logarithm is finite and below 0.
    share = (int.from_bytes(digest) + 0.5) / 2**64
    return (weight if weight > 0 else 1) / -math.log(share)
