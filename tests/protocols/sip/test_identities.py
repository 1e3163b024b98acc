"""Whom a certificate is for: RFC 5922 sections 7.1 and 7.2 as tables."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.identities import identity, is_identity, sip_identities
from tests.certificates import issue


class FindingTests(SynchronousTestCase):
    """Section 7.1."""

    def test_alternative_names(self) -> None:
        for names, expected in (
            (["sip:example.com"], {"example.com"}),
            (["SIP:Example.COM"], {"example.com"}),
            (["sip:example.com;transport=tls"], {"example.com"}),
            (["sip:example.com:5061"], {"example.com"}),
            (["sip:example.com", "sip:example.net"], {"example.com", "example.net"}),
            (["example.com"], {"example.com"}),
            (["Example.Com."], {"example.com"}),
            (["*.example.com"], {"*.example.com"}),
            # DNS names count only without any sip URI that does.
            (["sip:example.com", "proxy.example.com"], {"example.com"}),
            (["sip:alice@example.com", "proxy.example.com"], {"proxy.example.com"}),
            (["sips:example.com", "proxy.example.com"], {"proxy.example.com"}),
            (["https://example.com", "example.net"], {"example.net"}),
            (["sip:alice@example.com"], set()),
            (["sips:example.com"], set()),
            (["sip:@example.com"], set()),
            (["sip:"], set()),
            (["sip:exam ple.com"], set()),
            (["im:example.com"], set()),
            # Beyond the standard, for who has no names.
            (["192.0.2.1"], {"192.0.2.1"}),
            (["2001:DB8:0::1", "example.com"], {"2001:db8::1", "example.com"}),
            (["sip:[2001:db8:0::1]"], {"2001:db8::1"}),
            (["sip:example.com", "192.0.2.1"], {"example.com"}),
        ):
            with self.subTest(names):
                self.assertEqual(sip_identities(issue(*names).certificate), expected)

    def test_the_common_name_counts_without_any_alternative_name(self) -> None:
        for name, expected in (
            ("proxy.example.com", {"proxy.example.com"}),
            ("Proxy.Example.Com", {"proxy.example.com"}),
            ("*.example.com", set()),
            ("Example Ltd.", set()),
            ("localhost", set()),
            ("192.0.2.1", set()),
        ):
            with self.subTest(name):
                made = issue(name, alternatives=False)
                self.assertEqual(sip_identities(made.certificate), expected)
        self.assertEqual(
            sip_identities(issue("sip:alice@example.com").certificate), set(), "not with one"
        )

    def test_what_cannot_be_read_is_nobody(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        good = issue("proxy.example.com", alternatives=False).certificate
        broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05abc")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(good.subject)
            .issuer_name(good.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(good.not_valid_before_utc)
            .not_valid_after(good.not_valid_after_utc)
            .add_extension(broken, critical=False)
            .sign(key, SHA256())
        )
        self.assertEqual(sip_identities(certificate), set())


class ComparingTests(SynchronousTestCase):
    """Section 7.2."""

    def test_names_match_as_a_whole(self) -> None:
        for found, host, same in (
            ("example.com", "example.com", True),
            ("example.com", "EXAMPLE.com", True),
            ("example.com", "example.com.", True),
            ("example.com", "foo.example.com", False),
            ("foo.example.com", "example.com", False),
            ("*.example.com", "foo.example.com", False),
            ("*.example.com", "*.example.com", True),
            (".example.com", "foo.example.com", False),
            ("example.com", "example.com.evil.net", False),
            ("example.com", "xample.com", False),
            ("xn--bcher-kva.example", "XN--BCHER-KVA.example", True),
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.10", False),
            ("2001:db8::1", "[2001:DB8:0:0::1]", True),
        ):
            with self.subTest(found=found, host=host):
                self.assertIs(is_identity({identity(found)}, host), same)

    def test_nobody(self) -> None:
        self.assertFalse(is_identity(frozenset(), "example.com"))
        self.assertFalse(is_identity({"example.com"}, ""))
