"""Who may ask: who has the token, or is on this machine; and no web page on behalf of its reader.

A browser sends requests to any address, also to loopback, for a page of anybody's. Such a page
cannot set the type of a body to JSON without being asked first, and its name stands in Origin;
one that has made its own name lead to 127.0.0.1 is known by Host.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from attrs import frozen
from twisted.web.http_headers import Headers

from msrpconf.services.management.problem import Problem

_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@frozen
class Guard:
    """Lets requests through, or raises `Problem`.

    With a `token` whoever asks must have it; None for nobody. `local` says that only this
    machine can ask, by the loopback interface.
    """

    token: str | None
    local: bool

    def check_source(self, method: str, headers: Headers) -> None:
        """Refuse what a web page sends."""
        host = _last(headers, "host")
        if self.local and host is not None and not _is_ours(host):
            raise Problem(
                403, f"Host is {host[:100]!r}: ask for 127.0.0.1, [::1] or localhost here"
            )
        origin = _last(headers, "origin")
        if method in _CHANGES and origin is not None and origin.partition("://")[2] != host:
            raise Problem(403, "changes are not taken from web pages: Origin is another host")

    def check_token(self, headers: Headers) -> None:
        """Refuse who does not have the token, without telling how much of it was right."""
        if self.token is None:
            return
        scheme, _, given = (_last(headers, "authorization") or "").partition(" ")
        right = hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self.token.encode()
        )
        if scheme.lower() != "bearer" or not right:
            detail = "send the token of [management] as Authorization: Bearer TOKEN"
            raise Problem(401, detail, (("WWW-Authenticate", 'Bearer realm="msrpconf"'),))


def _last(headers: Headers, name: str) -> str | None:
    values = headers.getRawHeaders(name.encode("ascii"))
    return values[-1].decode("utf-8", "surrogateescape") if values else None


def _is_ours(host: str) -> bool:
    """Whether a Host is an address, or this machine's own name: no name that others give."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
