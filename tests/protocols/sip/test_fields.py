"""The list of header fields: order, spelling, and nothing slipped in."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.fields import Headers


class HeadersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.headers = Headers([("v", "1"), ("X-Any", "a"), ("VIA", "2"), ("f", "me")])

    def test_found_by_any_spelling(self) -> None:
        for name in ("Via", "via", "v", "V", "VIA"):
            self.assertEqual(self.headers.get(name), "1")
            self.assertEqual(self.headers.get_all(name), ["1", "2"])
            self.assertIn(name, self.headers)
        self.assertEqual(self.headers.get("x-ANY"), "a")
        self.assertIsNone(self.headers.get("To"))
        self.assertEqual(self.headers.get_all("To"), [])
        self.assertNotIn("To", self.headers)

    def test_compact_forms(self) -> None:
        for short, name in (
            ("i", "Call-ID"),
            ("m", "Contact"),
            ("l", "Content-Length"),
            ("c", "Content-Type"),
            ("e", "Content-Encoding"),
            ("s", "Subject"),
            ("k", "Supported"),
            ("t", "To"),
            ("o", "Event"),
            ("r", "Refer-To"),
            ("b", "Referred-By"),
            ("x", "Session-Expires"),
            ("u", "Allow-Events"),
        ):
            self.assertEqual(Headers([(short, "value")]).get(name), "value")
            self.assertEqual(Headers([(name, "value")]).get(short.upper()), "value")

    def test_order_and_spelling_are_kept(self) -> None:
        self.headers.add("P-Asserted-Identity", "<sip:a@b>")
        self.headers.prepend("Via", "0")
        self.assertEqual(
            list(self.headers),
            [
                ("Via", "0"),
                ("v", "1"),
                ("X-Any", "a"),
                ("VIA", "2"),
                ("f", "me"),
                ("P-Asserted-Identity", "<sip:a@b>"),
            ],
        )
        self.assertEqual(self.headers.get_all("Via"), ["0", "1", "2"])
        self.assertEqual(len(self.headers), 6)

    def test_set_replaces_all_in_the_first_place(self) -> None:
        self.headers.set("Via", "3")
        self.assertEqual(list(self.headers), [("Via", "3"), ("X-Any", "a"), ("f", "me")])
        self.headers.set("To", "you")
        self.assertEqual(self.headers.get("t"), "you")
        self.assertEqual(list(self.headers)[-1], ("To", "you"))

    def test_remove(self) -> None:
        self.headers.remove("via")
        self.headers.remove("To")
        self.assertEqual(list(self.headers), [("X-Any", "a"), ("f", "me")])
        self.assertNotIn("v", self.headers)
        self.assertIsNone(self.headers.get("v"))

    def test_copy_is_independent(self) -> None:
        copy = self.headers.copy()
        self.assertEqual(copy, self.headers)
        copy.add("Via", "3")
        self.assertEqual(self.headers.get_all("Via"), ["1", "2"])
        self.assertNotEqual(copy, self.headers)

    def test_parsed_values_follow_changes(self) -> None:
        self.assertEqual(self.headers.parsed("via", len), 2)
        copy = self.headers.copy()
        self.headers.add("Via", "3")
        self.assertEqual(self.headers.parsed("via", len), 3)
        self.headers.prepend("v", "0")
        self.assertEqual(self.headers.parsed("via", len), 4)
        self.headers.set("V", "0")
        self.assertEqual(self.headers.parsed("via", len), 1)
        self.headers.remove("Via")
        self.assertEqual(self.headers.parsed("via", len), 0)
        self.assertEqual(copy.parsed("via", len), 2)

    def test_parsed_once(self) -> None:
        calls: list[list[str]] = []
        self.headers.parsed("via", calls.append)
        self.headers.add("To", "you")
        self.headers.parsed("via", calls.append)
        self.assertEqual(len(calls), 1)

    def test_no_line_can_be_slipped_in(self) -> None:
        for name, value in (
            ("X", "a\r\nVia: evil"),
            ("X", "a\nb"),
            ("X", "a\rb"),
            ("X: y\r\nVia", "a"),
            ("X Y", "a"),
            ("", "a"),
        ):
            for change in (self.headers.add, self.headers.prepend, self.headers.set):
                self.assertRaises(SipSyntaxError, change, name, value)
        self.assertEqual(len(self.headers), 4)
