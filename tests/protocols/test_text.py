from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.text import shown


class ShownTests(SynchronousTestCase):
    def test_what_could_break_a_line_is_escaped(self) -> None:
        self.assertEqual(shown("a\r\nb\u2028é"), r"'a\r\nb\u2028\xe9'")
        self.assertEqual(shown(b"a\xff"), r"'a\xff'")

    def test_long_text_is_cut(self) -> None:
        self.assertEqual(shown("x" * 11, 10), "'xxxxxxx'...")
        self.assertEqual(shown("x" * 10, 10), "'xxxxxxxxxx'")
