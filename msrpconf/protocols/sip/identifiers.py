"""The identifiers that SIP asks for: branches, tags and Call-IDs that nobody can guess."""

from __future__ import annotations

import hashlib
import secrets

from msrpconf.protocols.sip.message import Request

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of everyone who knows RFC 3261 begins with (section 8.1.1.7)."""

_SECRET = secrets.token_bytes(32)


def new_branch() -> str:
    """A branch for a new client transaction: 96 random bits (RFC 3261 section 8.1.1.7)."""
    return MAGIC_COOKIE + secrets.token_hex(12)


def new_tag() -> str:
    """A tag for From or To: 64 random bits (RFC 3261 section 19.3)."""
    return secrets.token_hex(8)


def new_call_id() -> str:
    """A Call-ID: 128 random bits (RFC 3261 section 8.1.1.4)."""
    return secrets.token_hex(16)


def stateless_tag(request: Request) -> str:
    """The To tag of a response that leaves no state behind (RFC 3261 section 8.2.7).

    The same for each repetition of `request`, and not to be foreseen by others.
    """
    digest = hashlib.blake2b(key=_SECRET, digest_size=8)
    for name in ("Via", "From", "Call-ID", "CSeq"):
        digest.update((request.headers.get(name) or "").encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
