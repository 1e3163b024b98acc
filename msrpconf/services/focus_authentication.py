"""Who sends a request, where no proxy says it: digest authentication (RFC 3261 §22, RFC 8760).

    client --INVITE----------------------> focus
    client <--401, a challenge each------- focus      costs the focus no memory
    client --INVITE, Authorization-------> focus --the user's digests--> database
                                           focus --INVITE, P-Asserted-Identity--> server

Requests without a right password get a 401, and nothing else happens. ACK and CANCEL cannot be
asked (§22.1), and belong to what has been; a NOTIFY is about a request of ours, and is found by
our own tag, which nobody else knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import ANONYMOUS_DOMAIN
from msrpconf.config import Config
from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.digest import ALGORITHMS, Challenge, Credentials, ha1, is_digest
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.nonces import Nonces
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.services.guesses import Guesses
from msrpconf.storage.database import Database
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.subscribers import Digests, SubscriberStore, User
from msrpconf.visible import visible

UNASKED = frozenset({"ACK", "CANCEL", "NOTIFY"})
"""Methods that nobody is asked for a password for."""

ASSERTED = "P-Asserted-Identity"

Lookup = Callable[[User, bool], "Deferred[Digests | None]"]
"""Gives what stands for a user's password: see `SubscriberStore.digests`."""


class Authentication:
    """Asks who comes without a proxy for a password; `realm` is the domain of the users.

    `lookup` finds the users' digests, `clock` is an `IReactorTime`.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, realm: str, lookup: Lookup) -> None:
        self.realm = realm
        self.nonces = Nonces(clock)
        self.guesses = Guesses(clock)
        self._lookup = lookup
        self._budget = LineBudget(clock)
        # For users that there are not: to look for these takes as long, and finds nothing.
        self._nobody = {
            algorithm: ha1(algorithm, "", realm, self.nonces.new()) for algorithm in ALGORITHMS
        }

    def check(self, request: Request, host: str) -> Deferred[Denied | None]:
        """Why a request from `host` goes no further; None where it may.

        Then it has the P-Asserted-Identity of its sender, and no other.
        """
        if request.method in UNASKED:
            request.headers.remove(ASSERTED)
            return succeed(None)
        try:
            credentials = self._credentials(request)
            user = None if credentials is None else self._user(credentials)
        except (SipSyntaxError, ValueError) as error:
            return succeed(Denied(400, f"Authorization: {error}"))
        if credentials is None:
            return succeed(self._ask("Say who you are: a password is needed here"))
        if credentials.qop is None:
            return succeed(Denied(400, "Authorization: Digest needs qop=auth, with nc and cnonce"))
        if not _is_for(credentials, request):
            return succeed(Denied(400, "Authorization: uri is not that of the request"))
        name = credentials.username if user is None else str(user)
        wait = self.guesses.begin(host, name)
        if wait:
            why = f"Too many wrong passwords: wait {ceil(wait)} seconds"
            return succeed(Denied(403, why, (("Retry-After", str(ceil(wait))),)))
        if user is None:
            return succeed(self._decide(None, request, credentials, None, host, name))
        full = "@" in credentials.username
        looking = self._lookup(user, full)
        return looking.addCallbacks(
            lambda digests: self._decide(digests, request, credentials, user, host, name),
            lambda failure: self._failed(failure, host, name),
        )

    def _decide(
        self,
        digests: Digests | None,
        request: Request,
        credentials: Credentials,
        user: User | None,
        host: str,
        name: str,
    ) -> Denied | None:
        algorithm = credentials.algorithm
        if digests and algorithm in ALGORITHMS and algorithm not in digests:
            # Not wrong, but of no use: the password is not known in this form.
            self.guesses.undecided(host, name)
            return self._ask("Use another algorithm", digests, stale=True)
        right = (digests or self._nobody).get(algorithm, "")
        matches = credentials.matches(right, request.method)
        if not matches or digests is None or user is None:
            note = self._budget.take(host)
            if note is not None:
                self.log.info(
                    "wrong password: {user} from {host} (Call-ID {call_id}){note}",
                    user=visible(name[:100]),
                    host=host,
                    call_id=visible(request.call_id),
                    note=note,
                )
            return self._ask("The name or the password is wrong")
        self.guesses.right(host, name)
        nonce = credentials.nonce
        if not self.nonces.is_fresh(nonce) or not self.nonces.take(nonce, credentials.nc or 0):
            return self._ask("The nonce is too old, or was used before", digests, stale=True)
        return self._assert(request, user)

    def _assert(self, request: Request, user: User) -> Denied | None:
        """Say who it is to who asks later, if it says so itself (§22.1, RFC 3325 §5)."""
        uri = SipURI("sip", user.name, None, user.domain)
        said = request.from_.uri
        anonymous = isinstance(said, SipURI) and said.host == ANONYMOUS_DOMAIN
        if not anonymous and said.key != uri.key:
            return Denied(403, f"From must be {uri}, who has authenticated, or anonymous")
        request.headers.set(ASSERTED, f"<{uri}>")
        request.headers.remove("Authorization")
        return None

    def _failed(self, failure: Failure, host: str, name: str) -> Denied:
        self.guesses.undecided(host, name)
        if failure.check(DatabaseError) is None:
            self.log.failure("a user could not be looked up", failure)
        else:
            self.log.warn("a user could not be looked up: {error}", error=failure.getErrorMessage())
        return Denied(503, "The users cannot be looked up now: try again", (("Retry-After", "10"),))

    def _ask(
        self, reason: str, algorithms: Iterable[str] = ALGORITHMS, *, stale: bool = False
    ) -> Denied:
        """A 401 with a challenge for each algorithm, the best first (RFC 8760 §2.3)."""
        nonce = self.nonces.new()
        wanted = set(algorithms)
        return Denied(
            401,
            reason,
            tuple(
                ("WWW-Authenticate", str(Challenge(self.realm, nonce, each, stale=stale)))
                for each in ALGORITHMS
                if each in wanted
            ),
        )

    def _credentials(self, request: Request) -> Credentials | None:
        """Those for our realm; None where there are none. Raises `SipSyntaxError`."""
        for value in request.headers.get_all("Authorization"):
            if is_digest(value):
                credentials = Credentials.parse(value)
                if credentials.realm == self.realm:
                    return credentials
        return None

    def _user(self, credentials: Credentials) -> User | None:
        """Who that is to be; None for who can be none of our users. Raises `ValueError`."""
        name, at, domain = credentials.username.rpartition("@")
        if at and domain.lower() != self.realm:
            return None
        return User.parse(f"{name if at else credentials.username}@{self.realm}")


def _is_for(credentials: Credentials, request: Request) -> bool:
    """Whether credentials were made for the URI of a request, whatever its parameters."""
    try:
        return parse_uri(credentials.uri).key == request.uri.key
    except SipSyntaxError:
        return False


def authentication_of(
    config: Config, clock: IReactorTime, database: Database | None
) -> Authentication | None:
    """What a checked configuration says of passwords; None where nobody is asked for one.

    `database` has the users; it is to be started before the first request comes.
    """
    realm = config.sip.realm
    if not config.sip.authenticate or realm is None or database is None:
        return None
    return Authentication(clock, realm, SubscriberStore(database).digests)
