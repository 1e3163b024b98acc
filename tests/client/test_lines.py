from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.lines import COMMANDS, HELP, Action, complete, first_word, read_line


class ReadLineTests(SynchronousTestCase):
    def test_text_is_said(self) -> None:
        self.assertEqual(read_line("hi there\r\n"), (Action.SAY, "hi there"))
        self.assertEqual(read_line("  a\n/b "), (Action.SAY, "  a\n/b "))

    def test_two_slashes_say_one(self) -> None:
        self.assertEqual(read_line("//leave"), (Action.SAY, "/leave"))
        self.assertEqual(read_line("//"), (Action.SAY, "/"))

    def test_commands(self) -> None:
        for line in ("/leave", "/LEAVE", "/quit  now"):
            self.assertEqual(read_line(line)[0], Action.LEAVE)
        self.assertEqual(read_line("/help"), (Action.HELP, ""))
        self.assertEqual(read_line("/me laughs"), (Action.UNKNOWN, "/me"))
        self.assertEqual(read_line("/say hi"), (Action.UNKNOWN, "/say"))
        self.assertEqual(read_line("/msg  bob  hi there "), (Action.MSG, "bob  hi there "))
        self.assertEqual(read_line("/join"), (Action.ACCEPT, ""))
        self.assertEqual(read_line("/"), (Action.UNKNOWN, "/"))

    def test_nothing_is_nothing(self) -> None:
        for line in ("", "\n", "  \t "):
            self.assertEqual(read_line(line), (Action.NOTHING, ""))

    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters()))
    def test_any_line_gives_a_text_that_can_be_sent(self, line: str) -> None:
        read_line(line)[1].encode("utf-8")

    def test_what_cannot_be_encoded_is_replaced(self) -> None:
        self.assertEqual(read_line("a\udcffb"), (Action.SAY, "a?b"))

    def test_help_tells_of_all_commands(self) -> None:
        for command in COMMANDS:
            if command != "/join":
                self.assertIn(command, HELP)


class FirstWordTests(SynchronousTestCase):
    def test_words_and_quotes(self) -> None:
        for text, parts in (
            ("bob hi there", ("bob", "hi there")),
            ("  bob   hi", ("bob", "hi")),
            ('"Bob B." hi "you"', ("Bob B.", 'hi "you"')),
            ('"Bob', ('"Bob', "")),
            ("bob", ("bob", "")),
            ("", ("", "")),
        ):
            self.assertEqual(first_word(text), parts)

    @settings(deadline=None, max_examples=100)
    @given(st.text())
    def test_any_text_has_one(self, text: str) -> None:
        first_word(text)


class CompleteTests(SynchronousTestCase):
    def complete(self, line: str) -> tuple[int, list[str]]:
        return complete(line, ["bob", "Bert"], ["a b.txt", "c.png"])

    def test_commands(self) -> None:
        self.assertEqual(self.complete("/ni"), (3, ["/nick "]))
        self.assertEqual(len(self.complete("/")[1]), len(COMMANDS))
        self.assertEqual(self.complete("/x"), (2, []))

    def test_what_they_are_about(self) -> None:
        self.assertEqual(self.complete("/msg b"), (1, ["bob "]))
        self.assertEqual(self.complete("/kick "), (0, ["Bert ", "bob "]))
        self.assertEqual(self.complete("/get a"), (1, ["a b.txt"]))
        self.assertEqual(self.complete("/nick b"), (1, []))

    def test_files_of_ours(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("one", "on[e", "two"):
            (directory / name).write_bytes(b"")
        found = self.complete(f"/send {directory}/o")[1]
        self.assertEqual(found, [f"{directory}/on[e", f"{directory}/one"])
        self.assertEqual(self.complete(f"/send {directory}/on[")[1], [f"{directory}/on[e"])

    def test_a_text_is_left_alone(self) -> None:
        self.assertEqual(self.complete("hello b"), (0, []))
        self.assertEqual(self.complete(""), (0, []))
