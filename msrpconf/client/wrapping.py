"""Styled text in rows of a terminal, no wider than it is."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_toolkit.utils import get_cwidth

from msrpconf.client.rendering import INDENT, Fragments


def wrap(fragments: Fragments, width: int) -> list[Fragments]:
    """The rows of a text, each at most `width` columns wide, broken between words where it can be.

    What goes on in a further row is indented there, as the further lines of a message are. There is
    always one row.
    """
    rows: list[Fragments] = []
    for line in _lines(fragments):
        indent = INDENT if width > 4 * len(INDENT) else ""
        if rows and "".join(text for _, text in line).startswith(INDENT):
            line = _without(line, len(INDENT) - len(indent))
        rows += _rows(line, width, indent)
    return rows


def _lines(fragments: Fragments) -> Iterator[Fragments]:
    line: Fragments = []
    for style, text in fragments:
        first, *others = text.split("\n")
        line.append((style, first))
        for each in others:
            yield line
            line = [(style, each)]
    yield line


def _without(line: Fragments, characters: int) -> Fragments:
    """A line without its first characters, which are blanks of one style."""
    (style, text), *others = [each for each in line if each[1]]
    return [(style, text[characters:]), *others]


def _rows(line: Fragments, width: int, indent: str) -> Iterator[Fragments]:
    row, used = _Row(), 0
    for style, text in line:
        for char in text:
            columns = get_cwidth(char)
            if used + columns > width and used > len(indent):
                # The blank that a row ends with need not be seen.
                room = width - len(indent) - columns
                kept = [] if char == " " else row.word(len(indent), room)
                yield row.fragments
                row, used = _Row(), 0
                for each in ([("", indent)] if indent else []) + kept:
                    row.add(*each)
                    used += get_cwidth(each[1])
                if char == " ":
                    continue
            row.add(style, char)
            used += columns
    yield row.fragments


class _Row:
    """One row as it is put together."""

    def __init__(self) -> None:
        self.fragments: Fragments = []

    def add(self, style: str, text: str) -> None:
        if self.fragments and self.fragments[-1][0] == style:
            self.fragments[-1] = (style, self.fragments[-1][1] + text)
        else:
            self.fragments.append((style, text))

    def word(self, indent: int, room: int) -> Fragments:
        """Take off the word at the end, to begin the next row with; nothing if it is all one word.

        The first `indent` characters are no place to break, and a word of more than `room` columns
        would leave none for what follows: it is broken where it is.
        """
        text = "".join(text for _, text in self.fragments)
        place = text.rfind(" ") + 1
        if place <= indent or not text[:place].strip() or get_cwidth(text[place:]) > room:
            return []
        taken, left = [], len(text) - place
        while left > 0:
            style, last = self.fragments.pop()
            if len(last) > left:
                self.fragments.append((style, last[:-left]))
                last = last[-left:]
            taken.append((style, last))
            left -= len(last)
        return taken[::-1]
