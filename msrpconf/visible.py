"""Text of others, made fit for a terminal and for a log.

A terminal obeys what it is sent: a message may move the cursor, change the title, write
over other people's lines or turn the direction of text. Here such characters become text.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_END = re.compile(r"\r\n|\r|\n")

# Joiners that scripts and emoji need; they change nothing but the shape of what they join.
_JOINERS = "\u200c\u200d"

# Control, format (among them the marks that turn the direction of text), surrogate, and the
# separators that some terminals take for the end of a line.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""`text` on one line, where what is not to be seen is written out, as `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char not in _JOINERS and unicodedata.category(char) in _UNFIT
        else char
        for char in text
    )


def visible_lines(text: str) -> list[str]:
    """The lines of `text`, ended by CR LF, LF or CR, each as `visible` makes it.

    Tabs become spaces. Empty lines at the end are left out; there is always one line.
    """
    return [visible(line.expandtabs()) for line in _LINE_END.split(text.rstrip("\r\n"))]
