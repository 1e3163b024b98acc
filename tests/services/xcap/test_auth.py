"""Who may ask an XCAP server, and for what (RFC 4825 §8, RFC 2617, RFC 7617)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from msrpconf.protocols.sip.nonces import LIFETIME
from msrpconf.services.guesses import BY_HOST, PERIOD
from tests.services.management.support import Reply
from tests.services.xcap.support import AUTH_POLICY, INDEX, TOKEN, XcapTestCase, basic, digest
from tests.services.xcap.test_http import RULES

ALICE = "sip:alice@example.com"


class BasicTests(XcapTestCase):
    def test_users(self) -> None:
        for user in ("alice@example.com", ALICE, "alice@EXAMPLE.com", "%61lice@example.com"):
            self.refused(self.ask("GET", who=basic(user)), 404)
        for who in (
            "",
            basic(password="other"),
            basic(password=""),
            basic("carol@example.com"),
            basic("alice"),
            basic("not a uri"),
            "Authorization: Basic",
            "Authorization: Basic ???",
            "Authorization: Basic " + b64encode(b"\xff:\xff").decode(),
            "Authorization: Basic " + b64encode(b"alice").decode(),
            "Authorization: Other abc",
            "Authorization: Bearer",
            "Authorization: Bearer other",
            "Authorization: Digest",
            'Authorization: Digest username="a"',
            'Authorization: Digest username="a", nonce="b", opaque="c-d"',
        ):
            self.clock.advance(PERIOD)
            reply = self.ask("GET", who=who)
            self.refused(reply, 401)
            self.assertNotIn("alice", reply.detail)

    def test_only_owners(self) -> None:
        for reply in (
            self.ask("GET", who=basic("bob@example.com")),
            self.ask("PUT", INDEX, RULES, AUTH_POLICY, who=basic("bob@example.com")),
            self.ask("DELETE", who=basic("bob@example.com")),
        ):
            self.refused(reply, 403, "Only owners may say who may watch the room")
        self.assertEqual(self.documents.stored, {})
        reply = self.ask("GET", "/xcap-root/xcap-caps/global/index", who=basic("bob@example.com"))
        self.assertEqual(reply.status, 200)

    def test_the_operator(self) -> None:
        who = f"Authorization: Bearer {TOKEN}"
        reply = self.ask("PUT", INDEX, RULES, AUTH_POLICY, who=who)
        self.assertEqual(reply.status, 201)
        self.assertEqual(self.lines, [f"xcap: PUT {INDEX} of 192.168.1.1: 201 by the operator"])

    def test_the_log_has_who_it_was(self) -> None:
        self.put(RULES)
        self.ask("GET", who=basic("bob@example.com", "wrong"))
        self.assertEqual(
            self.lines,
            [
                f"xcap: PUT {INDEX} of 192.168.1.1: 201 by {ALICE}",
                f"xcap: GET {INDEX} of 192.168.1.1: 401 the user or the password is wrong",
            ],
        )

    def test_not_for_web_pages(self) -> None:
        reply = self.ask("DELETE", headers=("Origin: https://evil.example",))
        self.refused(reply, 403, "not taken from web pages")


class DigestTests(XcapTestCase):
    basic = False

    def challenges(self, authorization: str = "") -> list[str]:
        """What a request is asked for."""
        more = f"{authorization}\r\n" if authorization else ""
        sent = self.send(f"GET {INDEX} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()).decode()
        name = "WWW-Authenticate: "
        return [each.removeprefix(name) for each in sent.split("\r\n") if each.startswith(name)]

    def answer(self, user: str, password: str = "secret", uri: str = INDEX, **more: Any) -> Reply:
        challenge = self.challenges()[more.pop("number", 0)]
        return self.ask("GET", who=digest(challenge, "GET", uri, user, password, **more))

    def test_challenges(self) -> None:
        best, other, token = self.challenges()
        self.assertRegex(
            best, r'^Digest realm="msrpconf", nonce=".*", algorithm=SHA-256, qop="auth"$'
        )
        self.assertIn("algorithm=MD5", other)
        self.assertEqual(token, 'Bearer realm="msrpconf"')

    def test_users(self) -> None:
        for number in (0, 1):
            for user in ("alice@example.com", ALICE):
                self.refused(self.answer(user, number=number), 404, "there is no such document")
        self.refused(self.answer(ALICE, uri=f"http://xcap.example.com{INDEX}"), 404)
        for reply in (
            self.answer(ALICE, "other"),
            self.answer("carol@example.com"),
            self.answer("not a uri"),
            self.answer(ALICE, realm="other"),
            self.answer(ALICE, nonce="abc"),
            self.answer(ALICE, nc=2),
            self.answer(ALICE, qop=None),
            self.answer(ALICE, response=""),
            self.answer(ALICE, algorithm="crc"),
        ):
            self.refused(reply, 401)

    def test_what_was_signed_is_that_request(self) -> None:
        challenge = self.challenges()[0]
        self.refused(self.ask("GET", who=digest(challenge, "GET", f"{INDEX}2", ALICE)), 401)
        self.refused(self.ask("DELETE", who=digest(challenge, "GET", INDEX, ALICE)), 401)

    def test_it_is_used_once(self) -> None:
        who = digest(self.challenges()[0], "GET", INDEX, ALICE)
        self.refused(self.ask("GET", who=who), 404)
        self.refused(self.ask("GET", who=who), 401, "was used before")
        self.assertIn("stale=true", self.challenges(who)[0])

    def test_an_old_challenge_is_stale(self) -> None:
        challenge = self.challenges()[0]
        self.clock.advance(LIFETIME)
        late = digest(challenge, "GET", INDEX, ALICE)
        self.refused(self.ask("GET", who=late), 401, "too old")
        self.assertIn("stale=true", self.challenges(late)[0])

    def test_no_password_goes_over_a_network_as_it_is(self) -> None:
        self.refused(self.ask("GET", who=basic()), 401, "say who you are")


class GuessTests(XcapTestCase):
    def test_they_are_counted(self) -> None:
        for who in (basic(password="no"), "Authorization: Bearer no"):
            for _ in range(BY_HOST):
                self.refused(self.ask("GET", who=who), 401)
            reply = self.ask("GET")
            self.refused(reply, 429, "too many wrong passwords: wait 300 seconds")
            self.assertEqual(reply.headers["retry-after"], "300")
            self.clock.advance(PERIOD)
            self.refused(self.ask("GET"), 404)

    def test_those_of_digests_too(self) -> None:
        def wrong() -> Reply:
            sent = self.send(f"GET {INDEX} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).decode()
            challenge = sent.partition("WWW-Authenticate: ")[2].partition("\r\n")[0]
            return self.ask("GET", who=digest(challenge, "GET", INDEX, ALICE, "no"))

        for _ in range(BY_HOST):
            self.refused(wrong(), 401)
        self.refused(wrong(), 429)
