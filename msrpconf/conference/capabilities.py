"""What a participant's client can be sent (RFC 4975 §8.6, RFC 7701 §5.2, §8)."""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

CPIM = "message/cpim"
TEXT = "text/plain"


def accepts(patterns: tuple[str, ...], media_type: str) -> bool:
    """Whether `media_type` is one of `patterns`: ``text/plain``, ``text/*``, ``*``."""
    if media_type in patterns or "*" in patterns:
        return True
    return media_type.partition("/")[0] + "/*" in patterns


@frozen
class Reception:
    """The kinds of message that a client takes, and so the form in which it gets them.

    `cpim` says whether the client takes message/cpim. If so it gets each message
    as it was sent (RFC 7701), as long as `types` has the wrapped type; if not, it
    gets the text alone with the sender's name in front. Participants with equal
    values share one copy of each message. `max_size` is the longest message that
    the client takes, in octets, None where it has not said so; `relayed` whether
    its messages go through relays (RFC 4976), which want them in small chunks.
    """

    cpim: bool
    types: tuple[str, ...]
    max_size: int | None = None
    relayed: bool = False

    @staticmethod
    @lru_cache(maxsize=64)
    def of(
        accept_types: tuple[str, ...],
        accept_wrapped_types: tuple[str, ...],
        plain_text: bool = True,
        max_size: int | None = None,
        relayed: bool = False,
    ) -> Reception | None:
        """From the two attributes of a session description, in lower case.

        None where the client takes nothing that a room could send it; `plain_text`
        is whether clients without message/cpim are served. Types that may stand
        alone may also stand in a wrapper (RFC 4975 §8.6); a client that names no
        type but the wrapper has not said what it cannot take.
        """
        # Who names text/plain, and message/cpim by no more than a wildcard, is best
        # understood in what it names (§8.6: explicit entries are preferred).
        text = TEXT in accept_types and not _names_cpim(accept_types)
        if accepts(accept_types, CPIM) and not (text and plain_text):
            types = {each for each in (*accept_types, *accept_wrapped_types) if each != CPIM}
            return Reception(True, tuple(sorted(types)) or ("*",), max_size, relayed)
        if plain_text and accepts(accept_types, TEXT):
            return Reception(False, tuple(sorted(set(accept_types))), max_size, relayed)
        return None

    def takes(self, media_type: str) -> bool:
        """Whether content of `media_type` can be shown to this client's user."""
        return accepts(self.types, media_type)


def _names_cpim(accept_types: tuple[str, ...]) -> bool:
    return CPIM in accept_types or "message/*" in accept_types
