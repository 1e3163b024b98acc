"""Answering the challenges of proxies and servers, as a client does (RFC 3261 §22.2, §22.3).

The request goes again with credentials, as a new one of the same Call-ID. What was asked once is
remembered for each realm, so that the next request has its credentials from the start, and one
that is told its nonce is stale goes again without anybody noticing.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define

from msrpconf.protocols.sip.digest import Challenge, Credentials, choose, is_digest, respond
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request, Response

MAX_ROUNDS = 4
"""Challenges to one request that are answered: proxies on its way may have one each."""

MAX_REALMS = 16
"""Realms that are remembered: a peer can name any number."""

_FIELDS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@define
class _Known:
    challenge: Challenge
    count: int = 0


class Answering:
    """A user's name and password, and what they were asked for.

    The user is `username` in every realm that asks: a realm is who a proxy says it is, and a
    digest tells it no password that it does not know.
    """

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def prepare(self, request: Request) -> None:
        """Give a request that begins something credentials where they were asked for before."""
        for field, realm in self._known:
            self._sign(request, field, realm)

    def answer(self, request: Request, response: Response) -> Request | None:
        """`request` as it goes again after `response`; None where that would be of no use.

        It is of none where nothing is asked that we can answer, or where what we have said is
        wrong. Its CSeq is one higher. Who asks this counts the rounds (`MAX_ROUNDS`).
        """
        if response.status not in _FIELDS:
            return None
        asking, field = _FIELDS[response.status]
        challenge = choose(response.headers.get_all(asking))
        if challenge is None:
            return None
        said = _credentials(request, field, challenge.realm)
        if said is not None and not challenge.stale and (said.nc or 1) == 1:
            # Made for the last challenge, and no good: the password is wrong there.
            self._known.pop((field, challenge.realm), None)
            return None
        self._remember(field, challenge)
        again = request.copy()
        cseq = request.cseq
        again.headers.set("CSeq", f"{cseq.number + 1} {cseq.method}")
        self._sign(again, field, challenge.realm)
        return again

    def _remember(self, field: str, challenge: Challenge) -> None:
        key = field, challenge.realm
        self._known[key] = _Known(challenge)
        self._known.move_to_end(key)
        if len(self._known) > MAX_REALMS:
            self._known.popitem(last=False)

    def _sign(self, request: Request, field: str, realm: str) -> None:
        known = self._known[field, realm]
        known.count += 1
        credentials = respond(
            known.challenge,
            self.username,
            self._password,
            request.method,
            str(request.uri),
            known.count,
        )
        kept = [
            value
            for value in request.headers.get_all(field)
            if (other := _read(value)) is None or other.realm != realm
        ]
        request.headers.set_all(field, [*kept, str(credentials)])


def credentials_of(request: Request) -> list[tuple[str, str]]:
    """The header fields with credentials, which the ACK for a 2xx repeats (RFC 3261 §22.1)."""
    return [
        (field, value)
        for _, field in _FIELDS.values()
        for value in request.headers.get_all(field)
        if is_digest(value)
    ]


def _credentials(request: Request, field: str, realm: str) -> Credentials | None:
    for value in request.headers.get_all(field):
        found = _read(value)
        if found is not None and found.realm == realm:
            return found
    return None


def _read(value: str) -> Credentials | None:
    try:
        return Credentials.parse(value)
    except SipSyntaxError:
        return None
