"""Who may ask an XCAP server, and for what (RFC 4825 §8, RFC 2617, RFC 7617)."""

from __future__ import annotations

from base64 import b64encode
from time import time

from twisted.cred.credentials import DigestCredentialFactory

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
            'Authorization: Digest username="a", nonce="b", opaque="c-YQ=="',
        ):
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
        head = f"GET {INDEX} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"
        lines = self.send(f"{head}\r\n".replace("\r\n\r\n\r\n", "\r\n\r\n").encode()).decode()
        name = "WWW-Authenticate: "
        return [each.removeprefix(name) for each in lines.split("\r\n") if each.startswith(name)]

    def challenge(self) -> str:
        return self.challenges()[0]

    def answer(self, user: str, password: str = "secret", uri: str = INDEX, **more: str) -> Reply:
        return self.ask("GET", who=digest(self.challenge(), "GET", uri, user, password, **more))

    def test_users(self) -> None:
        for user in ("alice@example.com", ALICE):
            self.refused(self.answer(user), 404, "there is no such document")
        self.refused(self.answer(ALICE, uri=f"http://xcap.example.com{INDEX}"), 404)
        for reply in (
            self.answer(ALICE, "other"),
            self.answer("carol@example.com"),
            self.answer("not a uri"),
            self.answer(ALICE, realm="other"),
            self.answer(ALICE, nonce="abc"),
            self.answer(ALICE, opaque="abc"),
            self.answer(ALICE, response=""),
            self.answer(ALICE, algorithm="crc"),
        ):
            self.refused(reply, 401)

    def test_what_was_signed_is_that_request(self) -> None:
        self.put(RULES)
        challenge = self.challenge()
        other = digest(challenge, "GET", f"{INDEX}2", ALICE, "secret")
        self.refused(self.ask("GET", who=other), 401)
        deleting = digest(challenge, "GET", INDEX, ALICE, "secret")
        self.refused(self.ask("DELETE", who=deleting), 401)

    def test_an_old_challenge_is_stale(self) -> None:
        challenge = self.challenge()
        now = time()
        self.patch(DigestCredentialFactory, "_getTime", lambda self: now + 1000)
        late = digest(challenge, "GET", INDEX, ALICE, "secret")
        self.refused(self.ask("GET", who=late), 401)
        self.assertTrue(self.challenges(late)[0].endswith(", stale=true"))

    def test_no_password_goes_over_a_network_as_it_is(self) -> None:
        self.refused(self.ask("GET", who=basic()), 401)
        digested, token = self.challenges()
        self.assertTrue(digested.startswith('Digest nonce="'))
        self.assertIn(", algorithm=MD5", digested)
        self.assertEqual(token, 'Bearer realm="msrpconf"')
