"""`msrpconf pki`: certificates that the channel takes, and files that nobody else reads."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.cli import main
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.protocols.tls_files import PemFiles


class PkiTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()

    def pki(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["pki", *arguments, "-d", str(self.directory)])

    def made(self, *arguments: str) -> x509.Certificate:
        result = self.pki(*arguments)
        self.assertEqual(result.exit_code, 0, result.output)
        return x509.load_pem_x509_certificate((self.directory / f"{arguments[1]}.pem").read_bytes())

    def test_all_that_the_channel_needs(self) -> None:
        result = self.pki("init")
        self.assertEqual(result.output, f"{self.directory}/ca.key\n{self.directory}/ca.pem\n")
        server = self.made("server", "chat-1.example.com", "10.0.0.5", "::1")
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["chat-1.example.com"])
        self.assertEqual(
            [str(each) for each in names.get_values_for_type(x509.IPAddress)], ["10.0.0.5", "::1"]
        )
        serves, connects = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
        for certificate, uses in (
            (server, [serves]),
            (self.made("dispatcher", "focus-1"), [connects, serves]),
            (self.made("focus", "focus-2"), [connects]),
            (self.made("sip", "chat.example.com"), [connects, serves]),
        ):
            found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(list(found), uses)
        for name in ("chat-1.example.com", "focus-1", "focus-2"):
            files = (self.directory / f"{name}.pem", self.directory / f"{name}.key")
            ChannelTls(PemFiles(*files, self.directory / "ca.pem"))

    def test_nobody_else_reads_the_files(self) -> None:
        self.pki("init")
        self.pki("server", "chat-1")
        files = list(self.directory.iterdir())
        self.assertEqual(len(files), 4)
        for file in files:
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)

    def test_nothing_is_overwritten(self) -> None:
        self.pki("init")
        self.pki("server", "chat-1")
        before = {file: file.read_bytes() for file in self.directory.iterdir()}
        for arguments in (("init",), ("server", "chat-1"), ("dispatcher", "chat-1")):
            result = self.pki(*arguments)
            self.assertEqual(result.exit_code, 1)
            self.assertIn("is there already, and is not overwritten", result.output)
        self.assertEqual({file: file.read_bytes() for file in self.directory.iterdir()}, before)

    def test_without_an_authority(self) -> None:
        result = self.pki("server", "chat-1")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("make one with: msrpconf pki init", result.output)

    def test_what_is_no_name(self) -> None:
        self.pki("init")
        for name in ("../x", "a b", "", ".hidden", "ä.example.com"):
            result = self.pki("server", name)
            self.assertEqual(result.exit_code, 1, name)
            self.assertIn("is neither an address nor a host's name", result.output)
        self.assertEqual(len(list(self.directory.iterdir())), 2)
