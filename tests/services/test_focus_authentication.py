"""The focus asks who comes without a proxy for a password."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.answering import Answering
from msrpconf.protocols.sip.digest import ALGORITHMS, Challenge, Credentials, ha1, respond
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.nonces import LIFETIME
from msrpconf.services.focus_authentication import Authentication
from msrpconf.services.guesses import BY_HOST
from msrpconf.storage.errors import DatabaseError
from msrpconf.storage.subscribers import Digests, User
from tests.services.support import STRANGER, FocusTestCase, sip

HOST = "198.51.100.1"
REALM = "example.com"
ASSERTED = "P-Asserted-Identity"


class Users:
    """The users, and who was looked for."""

    def __init__(self) -> None:
        self.algorithms = tuple(ALGORITHMS)
        self.away = False
        self.asked: list[tuple[str, bool]] = []

    def digests(self, user: User, full: bool) -> Deferred[Digests | None]:
        self.asked.append((str(user), full))
        if self.away:
            return fail(DatabaseError("the database is away"))
        if user.name != "alice":
            return succeed(None)
        name = str(user) if full else user.name
        return succeed({each: ha1(each, name, REALM, "pw") for each in self.algorithms})


class AuthenticationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.users = Users()
        self.authentication = Authentication(self.clock, REALM, self.users.digests)

    def check(self, request: Request) -> Denied | None:
        return self.successResultOf(self.authentication.check(request, HOST))

    def challenges(self, request: Request | None = None) -> list[Challenge]:
        """What is asked for a request without a password, or for this one."""
        denied = self.check(sip() if request is None else request)
        assert denied is not None
        self.assertEqual(denied.status, 401)
        return [Challenge.parse(value) for _, value in denied.headers]

    def signed(
        self, password: str = "pw", name: str = "alice", algorithm: int = 0, count: int = 1
    ) -> Request:
        challenge = self.challenges()[algorithm]
        return self.said(respond(challenge, name, password, "INVITE", str(sip().uri), count))

    def said(self, credentials: Credentials, *headers: str) -> Request:
        return sip("INVITE", f"Authorization: {credentials}", *headers)

    def test_a_challenge_for_each_algorithm(self) -> None:
        challenges = self.challenges()
        self.assertEqual([each.algorithm for each in challenges], ["SHA-256", "SHA-512-256", "MD5"])
        for each in challenges:
            self.assertEqual((each.realm, each.qop, each.stale), (REALM, ("auth",), False))
        self.assertEqual(self.users.asked, [])

    def test_who_knows_the_password(self) -> None:
        for algorithm in range(3):
            for name in ("alice", "alice@example.com"):
                request = self.signed(name=name, algorithm=algorithm)
                self.assertIsNone(self.check(request))
                self.assertEqual(request.headers.get(ASSERTED), "<sip:alice@example.com>")
                self.assertNotIn("Authorization", request.headers)

    def test_what_they_say_they_are(self) -> None:
        """Only we say who somebody is."""
        request = self.signed()
        request.headers.add(ASSERTED, "<sip:owner@example.com>")
        request.headers.add(ASSERTED, "<tel:+1>")
        self.assertIsNone(self.check(request))
        self.assertEqual(request.headers.get_all(ASSERTED), ["<sip:alice@example.com>"])
        notify = sip("NOTIFY", f"{ASSERTED}: <sip:owner@example.com>", to_tag="local.1")
        self.assertIsNone(self.check(notify))
        self.assertNotIn(ASSERTED, notify.headers)

    def test_a_wrong_password(self) -> None:
        for name in ("alice", "nobody", "alice@elsewhere.example.org"):
            challenges = self.challenges(self.signed("guess", name))
            self.assertEqual(len(challenges), 3)
            self.assertFalse(challenges[0].stale)

    def test_somebody_elses_from(self) -> None:
        request = self.signed()
        request.headers.set("From", "<sip:bob@example.com>;tag=a1")
        denied = self.check(request)
        assert denied is not None
        self.assertEqual(denied.status, 403)
        self.assertIn("From must be sip:alice@example.com", denied.reason)

    def test_somebody_anonymous(self) -> None:
        request = self.signed()
        request.headers.set("From", "<sip:anonymous@anonymous.invalid>;tag=a1")
        self.assertIsNone(self.check(request))
        self.assertEqual(request.headers.get(ASSERTED), "<sip:alice@example.com>")

    def test_the_same_twice(self) -> None:
        """Whoever has overheard it cannot say it again; the client itself counts on."""
        challenge = self.challenges()[0]
        once = respond(challenge, "alice", "pw", "INVITE", str(sip().uri))
        self.assertIsNone(self.check(self.said(once)))
        self.assertTrue(self.challenges(self.said(once))[0].stale)
        twice = respond(challenge, "alice", "pw", "INVITE", str(sip().uri), 2)
        self.assertIsNone(self.check(self.said(twice)))

    def test_a_nonce_that_is_too_old(self) -> None:
        request = self.signed()
        self.clock.advance(LIFETIME)
        self.assertTrue(self.challenges(request)[0].stale)
        wrong = self.signed("guess")
        self.clock.advance(LIFETIME)
        # Who is told more than that it is wrong could try passwords by that.
        self.assertFalse(self.challenges(wrong)[0].stale)

    def test_another_servers_nonce(self) -> None:
        good = respond(Challenge(REALM, "other"), "alice", "pw", "INVITE", str(sip().uri))
        self.assertTrue(self.challenges(self.said(good))[0].stale)

    def test_for_something_else(self) -> None:
        challenge = self.challenges()[0]
        other = respond(challenge, "alice", "pw", "INVITE", "sip:other@conf.example.com")
        bye = respond(challenge, "alice", "pw", "BYE", str(sip().uri))
        denied = self.check(self.said(other))
        assert denied is not None
        self.assertEqual(denied.status, 400)
        self.challenges(self.said(bye))

    def test_only_an_old_digest_is_known(self) -> None:
        """A client that has chosen another algorithm is told to use that one, and does."""
        self.users.algorithms = ("MD5",)
        client = Answering("alice", "pw")
        request = sip()
        for _ in range(2):
            denied = self.check(request.copy())
            assert denied is not None
            again = client.answer(request, request.response(401, headers=denied.headers))
            assert again is not None
            request = again
        self.assertIn("algorithm=MD5", request.headers.get("Authorization") or "")
        self.assertIsNone(self.check(request))

    def test_what_cannot_be_read(self) -> None:
        good = respond(self.challenges()[0], "alice", "pw", "INVITE", str(sip().uri))
        for wrong in (
            f"Authorization: {good}, nc=00000001",
            f"Authorization: {evolve(good, qop=None, nc=None, cnonce=None)}",
            f"Authorization: {evolve(good, username='a b')}",
            "Authorization: Digest x",
        ):
            denied = self.check(sip("INVITE", wrong))
            assert denied is not None
            self.assertEqual(denied.status, 400, wrong)
        self.challenges(sip("INVITE", "Authorization: Basic YTpi"))
        self.challenges(self.said(evolve(good, realm="elsewhere")))

    def test_guessing(self) -> None:
        for _ in range(BY_HOST):
            self.challenges(self.signed("guess"))
        denied = self.check(self.signed())
        assert denied is not None
        self.assertEqual(denied.status, 403)
        self.assertEqual(denied.headers, (("Retry-After", "300"),))
        self.assertEqual(len(self.users.asked), BY_HOST)
        self.clock.advance(300)
        self.assertIsNone(self.check(self.signed()))

    def test_the_database_is_away(self) -> None:
        self.users.away = True
        for _ in range(BY_HOST + 1):
            denied = self.check(self.signed())
            assert denied is not None
            self.assertEqual(denied.status, 503)


class FocusTests(FocusTestCase):
    """A focus that asks whom it does not trust."""

    def setUp(self) -> None:
        super().setUp()
        self.users = Users()
        self.client = Answering("alice", "pw")
        self.focus.authentication = Authentication(self.clock, REALM, self.users.digests)

    def ask(self) -> Request:
        """The request that answers a challenge."""
        request = sip()
        self.receive(request.copy(), STRANGER)
        self.assertEqual(self.last().status, 401)
        again = self.client.answer(request, self.last())
        assert again is not None
        return again

    def test_asked_and_let_in(self) -> None:
        again = self.ask()
        self.assertEqual(self.channel.asked, [])
        # A question, however often it is asked, fills neither the memory nor the log.
        self.assertEqual(self.layer.server_transactions, 0)
        self.assertEqual(self.refusals, [])
        self.receive(again, STRANGER)
        (asked,) = self.channel.asked
        self.assertEqual(asked.headers.get(ASSERTED), "<sip:alice@example.com>")
        self.assertNotIn("Authorization", asked.headers)

    def test_the_ack_for_the_question(self) -> None:
        self.ask()
        tag = self.last().to.tag
        self.receive(sip("ACK", to_tag=tag), STRANGER)
        self.assertEqual(self.channel.asked, [])
        self.receive(sip("ACK", to_tag="local.77", branch="z9hG4bKack"), STRANGER)
        self.assertEqual(self.channel.methods, ["ACK"])

    def test_a_cancel_while_the_user_is_looked_up(self) -> None:
        looking: Deferred[Digests | None] = Deferred()
        authentication = Authentication(self.clock, REALM, lambda user, full: looking)
        self.focus.authentication = authentication
        again = self.ask()
        branch = again.top_via.branch
        self.receive(again, STRANGER)
        self.receive(sip("CANCEL", branch=str(branch), cseq=again.cseq.number), STRANGER)
        self.assertEqual(self.last().status, 487)
        looking.callback({})
        self.assertEqual(self.channel.methods, ["CANCEL"])
        self.assertEqual(self.last().status, 487)

    def test_a_proxy_is_not_asked(self) -> None:
        self.receive(sip("INVITE", f"{ASSERTED}: <sip:bob@example.com>"))
        (asked,) = self.channel.asked
        self.assertEqual(asked.headers.get(ASSERTED), "<sip:bob@example.com>")
        self.assertEqual(self.users.asked, [])

    def test_in_a_dialog_too(self) -> None:
        self.receive(sip("BYE", to_tag="local.77"), STRANGER)
        self.assertEqual(self.last().status, 401)
        self.assertEqual(self.channel.asked, [])
