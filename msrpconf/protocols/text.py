"""Text of a peer, made fit for our own messages."""

from __future__ import annotations


def shown(text: str | bytes, length: int = 80) -> str:
    """What a peer sent, for the text of an error: quoted, ASCII, on one line, not longer.

    `length` is the most characters of it that are shown.
    """
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return ascii(text) if len(text) <= length else ascii(text[: length - 3]) + "..."
