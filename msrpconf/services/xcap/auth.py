"""Who asks: a user with a password, or the operator with a token.

Users authenticate by HTTP Digest (RFC 4825 §8), with MD5 as RFC 2617 has it; by Basic only where
nobody can listen, which is TLS and the loopback interface (§14).
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Mapping

from twisted.cred.credentials import DigestCredentialFactory
from twisted.cred.error import LoginFailed
from twisted.web.http_headers import Headers

from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.services.management.problem import Problem

REALM = "msrpconf"

# Any; the challenges are good for whoever answers them, also through an HTTP proxy.
_PEER = b"xcap"


class Authenticator:
    """Knows `users` by their canonical URIs, with their passwords, and the operator's `token`.

    `basic` says whether a password may be sent as it is.
    """

    def __init__(self, users: Mapping[str, str], token: str | None, basic: bool) -> None:
        self._users = users
        self._token = token
        self._basic = basic
        self._digest = DigestCredentialFactory(b"md5", REALM.encode())

    def user(self, method: str, target: str, headers: Headers) -> Identity | None:
        """Who sends a request for `target`, as it stands in its line; None for the operator.

        Raises `Problem` 401.
        """
        values = headers.getRawHeaders(b"authorization") or [b""]
        scheme, _, rest = values[-1].strip().partition(b" ")
        rest = rest.strip()
        kind = scheme.lower()
        key = None
        if kind == b"bearer" and self._token is not None:
            if hmac.compare_digest(rest, self._token.encode()):
                return None
        elif kind == b"digest":
            key = self._by_digest(rest, method.encode("utf-8"), target.encode("utf-8"))
        elif kind == b"basic" and self._basic:
            key = self._by_password(rest)
        if key is None:
            raise self._challenge("the user or the password is wrong" if rest else "")
        return Identity(key, None, (key,))

    def _by_digest(self, response: bytes, method: bytes, target: bytes) -> str | None:
        try:
            credentials = self._digest.decode(response, method, _PEER)
        except LoginFailed as error:
            stale = "too old" in str(error)
            raise self._challenge("" if stale else "the digest cannot be read", stale) from None
        except (ValueError, KeyError, TypeError):
            raise self._challenge("the digest cannot be read") from None
        fields = credentials.fields
        # What was signed has to be this request, and not another one.
        if not _is_same(fields.get("uri", b""), target):
            return None
        name: bytes = credentials.username
        key = _user_key(name.decode("utf-8", "replace"))
        password = self._users.get(key) if key is not None else None
        if password is None or fields.get("realm", REALM.encode()) != REALM.encode():
            return None
        try:
            right = credentials.checkPassword(password.encode())
        except (ValueError, KeyError, TypeError, LoginFailed):
            return None
        return key if right else None

    def _by_password(self, text: bytes) -> str | None:
        try:
            decoded = b64decode(text, validate=True).decode("utf-8")
        except ValueError:
            return None
        # A user has no colon there (RFC 7617 §2), and so no scheme; some write it all the same.
        name, _, password = decoded.removeprefix("sip:").partition(":")
        key = _user_key(name)
        known = self._users.get(key) if key is not None else None
        right = known is not None and hmac.compare_digest(known.encode(), password.encode())
        return key if right else None

    def _challenge(self, detail: str, stale: bool = False) -> Problem:
        challenge = self._digest.getChallenge(_PEER)
        digest = ", ".join(
            f'{name}="{value.decode()}"' for name, value in challenge.items() if name != "algorithm"
        )
        stale_part = ", stale=true" if stale else ""
        headers = [("WWW-Authenticate", f"Digest {digest}, algorithm=MD5{stale_part}")]
        if self._basic:
            headers.append(("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"'))
        if self._token is not None:
            headers.append(("WWW-Authenticate", f'Bearer realm="{REALM}"'))
        return Problem(401, detail or "say who you are, as a user of [xcap]", tuple(headers))


def _user_key(name: str) -> str | None:
    """The canonical URI of a user, who may be given without the scheme."""
    text = name if name.lower().startswith(("sip:", "sips:")) else f"sip:{name}"
    try:
        return parse_uri(text).key
    except SipSyntaxError:
        return None


def _is_same(uri: bytes, target: bytes) -> bool:
    """Whether the uri of a digest is the request's target; it may have scheme and host."""
    if uri == target:
        return True
    scheme, mark, rest = uri.partition(b"://")
    _, slash, path = rest.partition(b"/")
    return bool(mark) and scheme.lower() in (b"http", b"https") and slash + path == target
