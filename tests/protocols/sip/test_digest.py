"""The header fields of digest authentication, and the examples of the standards."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.digest import (
    ALGORITHMS,
    Challenge,
    Credentials,
    choose,
    ha1,
    is_digest,
    respond,
)
from msrpconf.protocols.sip.errors import SipSyntaxError
from tests.protocols.sip.strategies import texts, tokens

# RFC 7616 §3.9.1: the same request under two algorithms.
MUFASA = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",'
    ' algorithm={}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,'
    ' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{}",'
    ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


class ExampleTests(SynchronousTestCase):
    def test_rfc7616(self) -> None:
        for algorithm, response in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ):
            credentials = Credentials.parse(MUFASA.format(algorithm, response))
            key = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
            self.assertTrue(credentials.matches(key, "GET"), algorithm)
            self.assertFalse(credentials.matches(key, "PUT"), algorithm)
            self.assertFalse(evolve(credentials, nc=2).matches(key, "GET"), algorithm)

    def test_rfc2069(self) -> None:
        """Without qop, as the oldest clients have it."""
        challenge = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", qop=())
        credentials = respond(challenge, "Mufasa", "CircleOfLife", "GET", "/dir/index.html")
        self.assertEqual(credentials.response, "1949323746fe6a43ef61f9606e7febea")
        self.assertNotIn("qop", str(credentials))
        self.assertNotIn("nc=", str(credentials))


class ChallengeTests(SynchronousTestCase):
    def test_as_proxies_write_it(self) -> None:
        self.assertEqual(
            Challenge.parse('Digest realm="example.com", nonce="ZUxR", qop="auth"'),
            Challenge("example.com", "ZUxR"),
        )
        self.assertEqual(
            Challenge.parse(
                'dIGEST  Nonce="a,\\"b" ,realm="x y",stale=TRUE,algorithm=sha-256,'
                'qop="auth-int, AUTH",opaque="",domain="sip:x"'
            ),
            Challenge("x y", 'a,"b', "SHA-256", ("auth-int", "auth"), "", True),
        )

    def test_the_topmost_that_is_understood(self) -> None:
        md5, sha = 'Digest realm="r", nonce="n", qop="auth"', 'Digest realm="r", nonce="m"'
        chosen = choose(
            [
                'Basic realm="r"',
                'Digest realm="r", nonce="x", algorithm=SHA-3',
                'Digest realm="r", nonce="x", algorithm=MD5-sess',
                'Digest realm="r", nonce="x", qop="auth-int"',
                f"{sha}, algorithm=SHA-512-256",
                md5,
            ]
        )
        self.assertEqual(chosen, Challenge("r", "m", "SHA-512-256", ()))
        self.assertEqual(choose([md5, sha]), Challenge("r", "n"))
        self.assertIsNone(choose(['Basic realm="r"', "Digest nonsense"]))
        self.assertIsNone(choose([]))

    def test_refused(self) -> None:
        for value in (
            "",
            "Digest",
            "Basic abc",
            'Digest realm="r"',
            'Digest nonce="n"',
            'Digest realm="r", realm="r", nonce="n"',
            'Digest realm="r" nonce="n"',
            'Digest realm="r", nonce="n',
            'Digest realm="r", nonce="' + "n" * 5000 + '"',
        ):
            self.assertRaises(SipSyntaxError, Challenge.parse, value)

    @given(texts, texts, st.sampled_from([*ALGORITHMS, "SHA-3"]), st.none() | texts, st.booleans())
    def test_read_as_written(
        self, realm: str, nonce: str, algorithm: str, opaque: str | None, stale: bool
    ) -> None:
        challenge = Challenge(realm, nonce, algorithm, ("auth",), opaque, stale)
        self.assertEqual(Challenge.parse(str(challenge)), challenge)


class CredentialsTests(SynchronousTestCase):
    @given(texts, texts, st.sampled_from(list(ALGORITHMS)), tokens, st.integers(1, 2**32 - 1))
    def test_who_knows_the_password(
        self, username: str, password: str, algorithm: str, nonce: str, count: int
    ) -> None:
        challenge = Challenge("example.com", nonce, algorithm, opaque="o")
        answer = respond(challenge, username, password, "INVITE", "sip:a@b", count)
        read = Credentials.parse(str(answer))
        self.assertEqual(read, answer)
        self.assertEqual(read.nc, count)
        self.assertTrue(read.matches(ha1(algorithm, username, "example.com", password), "INVITE"))
        other = ha1(algorithm, username, "example.com", password + "x")
        self.assertFalse(read.matches(other, "INVITE"))

    def test_what_is_not_offered_never_matches(self) -> None:
        good = respond(Challenge("r", "n"), "alice", "pw", "BYE", "sip:a@b")
        key = ha1("MD5", "alice", "r", "pw")
        self.assertTrue(good.matches(key, "BYE"))
        for wrong in (
            evolve(good, algorithm="SHA-3"),
            evolve(good, qop="auth-int"),
            evolve(good, nc=None),
            evolve(good, cnonce=None),
            evolve(good, qop=None),
            evolve(good, response=""),
            evolve(good, response="\udcff"),
        ):
            self.assertFalse(wrong.matches(key, "BYE"))

    def test_refused(self) -> None:
        good = str(respond(Challenge("r", "n"), "alice", "pw", "BYE", "sip:a@b"))
        for wrong in (
            good.replace("nc=00000001", "nc=1"),
            good.replace("nc=00000001", "nc=0000000g"),
            good.replace('username="alice", ', ""),
            good.replace("Digest", "Basic"),
        ):
            self.assertRaises(SipSyntaxError, Credentials.parse, wrong)

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        for value in (text, f"Digest {text}"):
            for kind in (Challenge, Credentials):
                try:
                    kind.parse(value)
                except SipSyntaxError:
                    continue
                self.assertTrue(is_digest(value))
