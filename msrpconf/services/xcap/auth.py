"""Who asks: a user with a password, or the operator with a token.

Users authenticate by HTTP Digest (RFC 4825 §8, RFC 7616); by Basic only where nobody can listen,
which is TLS and the loopback interface (RFC 4825 §14). Wrong ones are counted, as of SIP.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode
from collections.abc import Mapping
from math import ceil

from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.digest import Challenge, Credentials, ha1
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.nonces import Nonces
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.services.guesses import Guesses
from msrpconf.services.management.problem import Problem

REALM = "msrpconf"

# The best first; what HTTP clients have.
_ALGORITHMS = ("SHA-256", "MD5")

_WRONG = "the user or the password is wrong"


class Authenticator:
    """Knows `users` by their canonical URIs, with their passwords, and the operator's `token`.

    `basic` says whether a password may be sent as it is. `clock` keeps time.
    """

    def __init__(
        self, users: Mapping[str, str], token: str | None, basic: bool, clock: IReactorTime
    ) -> None:
        self._users = users
        self._token = token
        self._basic = basic
        self._nonces = Nonces(clock)
        self._guesses = Guesses(clock)

    def user(self, method: str, target: str, headers: Headers, host: str) -> Identity | None:
        """Who sends a request for `target`, as it stands in its line; None for the operator.

        `host` is where it comes from. Raises `Problem`: 401, and 429 for too many wrong ones.
        """
        values = headers.getRawHeaders(b"authorization") or [b""]
        text = values[-1].decode("utf-8", "surrogateescape").strip()
        scheme, _, rest = text.partition(" ")
        kind = scheme.lower()
        if kind == "bearer" and self._token is not None:
            self._check(host, "the operator", _same(rest.strip(), self._token))
            return None
        if kind == "digest":
            key = self._by_digest(text, method, target, host)
        elif kind == "basic" and self._basic:
            key = self._by_password(rest.strip(), host)
        else:
            raise self._challenge("say who you are, as a user of [xcap]")
        return Identity(key, None, (key,))

    def _check(self, host: str, name: str, right: bool) -> None:
        """Go on with who was right, if not too many guesses came before."""
        wait = ceil(self._guesses.begin(host, name))
        if wait:
            detail = f"too many wrong passwords: wait {wait} seconds"
            raise Problem(429, detail, (("Retry-After", str(wait)),))
        if not right:
            raise self._challenge(_WRONG)
        self._guesses.right(host, name)

    def _by_digest(self, text: str, method: str, target: str, host: str) -> str:
        try:
            credentials = Credentials.parse(text)
        except SipSyntaxError as error:
            raise self._challenge(f"Authorization: {error}") from None
        if credentials.realm != REALM or credentials.qop is None:
            raise self._challenge(f"the realm is {REALM}, and qop=auth is needed")
        # What was signed has to be this request, and not another one.
        if not _is_target(credentials.uri, target):
            raise self._challenge("the uri of the digest is not that of the request")
        if credentials.algorithm not in _ALGORITHMS:
            raise self._challenge(f"the algorithms are {' and '.join(_ALGORITHMS)}")
        key = _user_key(credentials.username)
        password = None if key is None else self._users.get(key)
        # Of who is nobody it takes as long.
        secret = secrets.token_hex() if password is None else password
        stands_for = ha1(credentials.algorithm, credentials.username, REALM, secret)
        matches = credentials.matches(stands_for, method) and password is not None
        self._check(host, key or "", matches)
        nonce = credentials.nonce
        if not self._nonces.is_fresh(nonce) or not self._nonces.take(nonce, credentials.nc or 0):
            raise self._challenge("the nonce is too old, or was used before", stale=True)
        assert key is not None
        return key

    def _by_password(self, text: str, host: str) -> str:
        try:
            decoded = b64decode(text, validate=True).decode("utf-8")
        except ValueError:
            raise self._challenge("Authorization: Basic cannot be read") from None
        # A user has no colon there (RFC 7617 §2), and so no scheme; some write it all the same.
        name, _, password = decoded.removeprefix("sip:").partition(":")
        key = _user_key(name) or ""
        known = self._users.get(key)
        self._check(host, key, known is not None and _same(known, password))
        return key

    def _challenge(self, detail: str, *, stale: bool = False) -> Problem:
        nonce = self._nonces.new()
        values = [str(Challenge(REALM, nonce, each, stale=stale)) for each in _ALGORITHMS]
        if self._basic:
            values.append(f'Basic realm="{REALM}", charset="UTF-8"')
        if self._token is not None:
            values.append(f'Bearer realm="{REALM}"')
        return Problem(401, detail, tuple(("WWW-Authenticate", each) for each in values))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )


def _user_key(name: str) -> str | None:
    """The canonical URI of a user, who may be given without the scheme."""
    text = name if name.lower().startswith(("sip:", "sips:")) else f"sip:{name}"
    try:
        return parse_uri(text).key
    except SipSyntaxError:
        return None


def _is_target(uri: str, target: str) -> bool:
    """Whether the uri of a digest is the request's target; it may have scheme and host."""
    if uri == target:
        return True
    scheme, mark, rest = uri.partition("://")
    _, slash, path = rest.partition("/")
    return bool(mark) and scheme.lower() in ("http", "https") and slash + path == target
