"""The nonces of a server that asks for passwords: who made them, how old they are, how often used.

A nonce says itself when it was made, and that we made it: what we send to strangers costs no
memory. Only one that somebody has used with the right password is remembered, so that it cannot
be used the same way again (RFC 7616 §3.4.3: nc), and of those only so many.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from attrs import define
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.digest import MAX_COUNT

LIFETIME = 300.0
"""Seconds for which a nonce is good."""

MAX_NONCES = 20_000
"""Nonces whose uses are remembered at a time."""

WINDOW = 64
"""How far uses of one nonce may overtake each other: datagrams do."""

_KEY_OCTETS = 32


@define
class _Uses:
    """Which counts of a nonce have come: the highest, and a bit for each of those before it."""

    made: int
    highest: int = 0
    seen: int = 0

    def take(self, count: int) -> bool:
        if count > self.highest:
            # Not by more than the window, whatever the peer says.
            further = min(count - self.highest, WINDOW)
            self.seen = (self.seen << further | 1) & (2**WINDOW - 1)
            self.highest = count
            return True
        bit = 1 << (self.highest - count)
        if self.highest - count >= WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True


class Nonces:
    """Makes nonces and knows them again.

    `clock` is an `IReactorTime`, `lifetime` in seconds; `size` is how many are remembered.
    """

    def __init__(
        self, clock: IReactorTime, lifetime: float = LIFETIME, size: int = MAX_NONCES
    ) -> None:
        self._clock = clock
        self._lifetime = int(lifetime * 1000)
        self._size = size
        self._key = secrets.token_bytes(_KEY_OCTETS)
        self._used: OrderedDict[str, _Uses] = OrderedDict()
        # What was made up to then, and is not remembered, may have been used.
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._used)

    def new(self) -> str:
        """A nonce that was never there before."""
        made = f"{self._now():x}.{secrets.token_hex(8)}"
        return f"{made}.{self._mac(made)}"

    def is_fresh(self, nonce: str) -> bool:
        """Whether it is ours and not too old."""
        made = self._made(nonce)
        if made is None or not 0 <= self._now() - made < self._lifetime:
            return False
        return nonce in self._used or made > self._forgotten

    def take(self, nonce: str, count: int) -> bool:
        """Note that a fresh nonce is used for the `count`-th time; False if it was before."""
        made = self._made(nonce)
        if made is None or not 1 <= count <= MAX_COUNT:
            return False
        uses = self._used.get(nonce)
        if uses is None:
            uses = self._used[nonce] = _Uses(made)
            self._make_room()
        return uses.take(count)

    def _make_room(self) -> None:
        oldest = self._now() - self._lifetime
        while self._used:
            _, first = next(iter(self._used.items()))
            if first.made > oldest and len(self._used) <= self._size:
                return
            self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, first.made)

    def _made(self, nonce: str) -> int | None:
        """When a nonce of ours was made; None for others."""
        made, _, mac = nonce.rpartition(".")
        ascii_only = nonce.isascii() and len(nonce) < 100
        if not ascii_only or not secrets.compare_digest(mac, self._mac(made)):
            return None
        return int(made.partition(".")[0], 16)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)

    def _mac(self, text: str) -> str:
        octets = text.encode("ascii", "replace")
        return hashlib.blake2b(octets, key=self._key, digest_size=16).hexdigest()
