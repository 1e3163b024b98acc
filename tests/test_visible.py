from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.visible import visible, visible_lines


class VisibleTests(SynchronousTestCase):
    def test_what_can_be_seen_stays(self) -> None:
        family = "\U0001f468\u200d\U0001f469"
        for text in ("", "Grüße, 世界 \u3000", family, "می\u200cخواهم", "\U0001fae9 of tomorrow"):
            self.assertEqual(visible(text), text)

    def test_what_a_terminal_obeys_is_written_out(self) -> None:
        self.assertEqual(visible("\x1b]0;title\x07"), r"\x1b]0;title\x07")
        self.assertEqual(visible("\x9b2J"), r"\x9b2J")
        self.assertEqual(visible("a\rb\nc\bd\te"), r"a\rb\nc\x08d\te")
        self.assertEqual(visible("\u202egnp.exe"), r"\u202egnp.exe")
        self.assertEqual(visible("\u2028\u2029\u200b\ufeff"), r"\u2028\u2029\u200b\ufeff")
        self.assertEqual(visible("\U000e0061"), r"\U000e0061")

    def test_what_cannot_be_encoded_is_written_out(self) -> None:
        self.assertEqual(visible("\ud83d"), r"\ud83d")


class VisibleLinesTests(SynchronousTestCase):
    def test_lines_of_any_end(self) -> None:
        self.assertEqual(visible_lines("a\r\nb\nc\rd\x0be"), ["a", "b", "c", r"d\x0be"])

    def test_empty_lines_at_the_end_are_left_out(self) -> None:
        self.assertEqual(visible_lines("\na\r\n\r\n"), ["", "a"])
        self.assertEqual(visible_lines(""), [""])

    def test_tabs_become_spaces(self) -> None:
        self.assertEqual(visible_lines("a\tb"), ["a       b"])
