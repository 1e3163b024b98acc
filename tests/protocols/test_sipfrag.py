"""message/sipfrag: a status line (RFC 3420, RFC 3515 §2.4.5)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sipfrag import MAX_REASON, Fragment


class FragmentTests(SynchronousTestCase):
    def test_written(self) -> None:
        self.assertEqual(bytes(Fragment.of(100)), b"SIP/2.0 100 Trying\r\n")
        self.assertEqual(bytes(Fragment.of(603, "No, thanks")), b"SIP/2.0 603 No, thanks\r\n")

    def test_a_reason_stays_on_its_line(self) -> None:
        fragment = Fragment.of(404, "no\r\nsuch\x00user " + "x" * 500)
        self.assertEqual(bytes(fragment).count(b"\r\n"), 1)
        self.assertTrue(fragment.reason.startswith("no such user xxx"))
        self.assertEqual(len(fragment.reason), MAX_REASON)

    def test_read(self) -> None:
        for body, status, reason in (
            (b"SIP/2.0 100 Trying", 100, "Trying"),
            (b"SIP/2.0 200 OK\r\nContact: <sip:bob@example.com>\r\n", 200, "OK"),
            (b"\r\nsip/2.0 603\r\n", 603, "Decline"),
            (b"SIP/2.0 486 \xc3\xa0 bient\xc3\xb4t\r\n", 486, "à bientôt"),
            (b"SIP/2.0 480 \xff\r\n", 480, "\ufffd"),
        ):
            self.assertEqual(Fragment.parse(body), Fragment(status, reason))

    def test_final(self) -> None:
        self.assertEqual(
            [Fragment.of(each).final for each in (100, 183, 200, 302, 603)],
            [False, False, True, True, True],
        )

    def test_refused(self) -> None:
        for body in (b"", b"200 OK", b"SIP/2.0 2000 OK", b"SIP/2.0 700 x", b"INVITE sip:a@b"):
            self.assertRaises(SipSyntaxError, Fragment.parse, body)

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_anything(self, octets: bytes) -> None:
        for body in (octets, b"SIP/2.0 200 " + octets):
            try:
                fragment = Fragment.parse(body)
            except SipSyntaxError:
                continue
            self.assertEqual(Fragment.parse(bytes(fragment)).status, fragment.status)
