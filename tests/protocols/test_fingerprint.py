"""`a=fingerprint` (RFC 8122 §5)."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.fingerprint import (
    MAX_FINGERPRINTS,
    Fingerprint,
    matches,
    own_fingerprints,
    read_fingerprints,
)
from msrpconf.protocols.sdp import SdpError

CERTIFICATE = b"a certificate, as far as hashes care"

# RFC 8122 figure 1.
SHA_256 = (
    "SHA-256 12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:"
    "7C:AB:4A:AD"
)
SHA_1 = "SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"
MD5 = "md5 " + ":".join(["AB"] * 16)


class FingerprintTests(SynchronousTestCase):
    def test_those_of_the_standard(self) -> None:
        strong, weak = Fingerprint.parse(SHA_256), Fingerprint.parse(SHA_1)
        self.assertEqual((strong.hash_function, len(strong.digest)), ("sha-256", 32))
        self.assertEqual((weak.hash_function, weak.digest[:2]), ("sha-1", b"\x4a\xad"))
        self.assertEqual(str(strong), SHA_256.replace("SHA", "sha"))

    def test_every_function(self) -> None:
        for name, known in (
            ("sha-512", hashlib.sha512),
            ("sha-384", hashlib.sha384),
            ("sha-256", hashlib.sha256),
            ("sha-224", hashlib.sha224),
            ("sha-1", hashlib.sha1),
        ):
            digest = known(CERTIFICATE).digest()
            fingerprint = Fingerprint.of(CERTIFICATE, name)
            self.assertEqual(fingerprint.digest, digest)
            self.assertEqual(Fingerprint.parse(f" {name}  {digest.hex(':')} "), fingerprint)
            self.assertTrue(matches([fingerprint], CERTIFICATE))
            self.assertFalse(matches([fingerprint], CERTIFICATE + b"!"))

    def test_one_of_several_certificates(self) -> None:
        """RFC 8122 §5.1."""
        both = [Fingerprint.of(b"another"), Fingerprint.of(CERTIFICATE)]
        self.assertTrue(matches(both, CERTIFICATE))
        self.assertFalse(matches(both, b"a third"))
        self.assertFalse(matches([], CERTIFICATE))

    def test_wrong(self) -> None:
        for value in ("", "sha-256", SHA_256[:-3], SHA_256 + ":00", "sha-256 zz", "sha-1 :::"):
            self.assertRaises(SdpError, Fingerprint.parse, value)
        for value in (MD5, "md2 AB", "sha-3 AB"):
            error = self.assertRaises(SdpError, Fingerprint.parse, value)
            self.assertIn("needs one of sha-512, sha-384, sha-256", str(error))

    @given(st.text())
    def test_whatever_comes(self, value: str) -> None:
        for text in (value, f"sha-256 {value}"):
            try:
                fingerprint = Fingerprint.parse(text)
            except SdpError:
                continue
            self.assertEqual(Fingerprint.parse(str(fingerprint)), fingerprint)


class SeveralTests(SynchronousTestCase):
    def test_those_of_the_best_function_count(self) -> None:
        weak = str(Fingerprint.of(CERTIFICATE, "sha-1"))
        strong = [str(Fingerprint.of(each)) for each in (b"one", b"two")]
        read = read_fingerprints([weak, strong[0], MD5, strong[1], "unknown AB"])
        self.assertEqual([str(each) for each in read], strong)

    def test_none(self) -> None:
        self.assertEqual(read_fingerprints([]), ())

    def test_none_that_can_be_used(self) -> None:
        error = self.assertRaises(SdpError, read_fingerprints, [MD5, "md2 AB"])
        self.assertIn("md5 AB", str(error))

    def test_a_malformed_one_is_not_passed_over(self) -> None:
        self.assertRaises(SdpError, read_fingerprints, [SHA_1, "sha-256 12:34"])

    def test_too_many(self) -> None:
        self.assertEqual(len(read_fingerprints([SHA_1] * MAX_FINGERPRINTS)), MAX_FINGERPRINTS)
        self.assertRaises(SdpError, read_fingerprints, [SHA_1] * (MAX_FINGERPRINTS + 1))

    def test_our_own(self) -> None:
        """RFC 8122 §5.1: SHA-256, and the hash that the certificate is signed with."""
        for signed_with, names in (
            ("sha256", ["sha-256"]),
            ("sha384", ["sha-256", "sha-384"]),
            ("md5", ["sha-256"]),
            (None, ["sha-256"]),
        ):
            own = own_fingerprints(CERTIFICATE, signed_with)
            self.assertEqual([each.hash_function for each in own], names)
