from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.rendering import INDENT, Fragments, plain
from msrpconf.client.wrapping import wrap
from msrpconf.visible import visible

_TEXT = st.text("ab 你好é\u0301", max_size=40).map(visible)


class WrapTests(SynchronousTestCase):
    def wrapped(self, text: str, width: int) -> list[str]:
        return [plain(row).rstrip() for row in wrap([("", text)], width)]

    def test_words_stay_whole_where_they_can(self) -> None:
        for text, width, rows in (
            ("", 9, [""]),
            ("fish", 9, ["fish"]),
            ("fish and chips", 9, ["fish and", "chips"]),
            ("fish and chips", 8, ["fish and", "chips"]),
            ("fish and chips", 6, ["fish", "and", "chips"]),
            ("fishandchips", 5, ["fisha", "ndchi", "ps"]),
            ("你好吗", 4, ["你好", "吗"]),
            ("a b你", 3, ["a", "b你"]),
            ("a\nb", 9, ["a", "b"]),
        ):
            self.assertEqual(self.wrapped(text, width), rows, text)

    def test_further_rows_are_indented_where_there_is_room(self) -> None:
        text = f"10:00 bob: {'word ' * 8}\n{INDENT}{'line ' * 8}"
        rows = self.wrapped(text, 30)
        self.assertEqual(rows[0], "10:00 bob: word word word word")
        self.assertEqual({row[: len(INDENT)] for row in rows[1:]}, {INDENT})
        narrow = self.wrapped(text, 20)
        self.assertEqual([row for row in narrow if row.startswith(" ")], [])

    def test_a_word_that_would_not_fit_into_the_next_row_either(self) -> None:
        width = 4 * len(INDENT) + 1
        first = "a" * len(INDENT) + " " + "b" * (width - len(INDENT) - 1)
        self.assertEqual(self.wrapped(f"{first}你", width), [first, f"{INDENT}你"])

    def test_styles_go_with_the_text(self) -> None:
        rows = wrap([("class:a", "one two"), ("class:b", "three four")], 9)
        self.assertEqual(
            rows,
            [[("class:a", "one ")], [("class:a", "two"), ("class:b", "three ")],
             [("class:b", "four")]],
        )  # fmt: skip

    @given(st.lists(st.tuples(st.sampled_from(["", "class:a"]), _TEXT)), st.integers(2, 50))
    def test_nothing_is_too_wide_and_nothing_is_lost(self, text: Fragments, width: int) -> None:
        rows = wrap(text, width)
        for row in rows:
            self.assertLessEqual(get_cwidth(plain(row)), width)
        told = "".join(plain(text).split())
        self.assertEqual("".join("".join(map(plain, rows)).split()), told)
        self.assertGreaterEqual(len(rows), 1)
