"""What a participant's client can be sent (RFC 4975 §8.6, RFC 7701 §5.2, §8)."""

from __future__ import annotations

from attrs import frozen

CPIM = "message/cpim"


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
    values share one copy of each message.
    """

    cpim: bool
    types: tuple[str, ...]

    @classmethod
    def of(cls, accept_types: tuple[str, ...], accept_wrapped_types: tuple[str, ...]) -> Reception:
        """From the two attributes of a session description, in lower case.

        Types that may stand alone may also stand in a wrapper (RFC 4975 §8.6); a
        client that names no type but the wrapper has not said what it cannot take.
        """
        if accepts(accept_types, CPIM):
            types = {each for each in (*accept_types, *accept_wrapped_types) if each != CPIM}
            return cls(True, tuple(sorted(types)) or ("*",))
        return cls(False, tuple(sorted(set(accept_types))))

    def takes(self, media_type: str) -> bool:
        """Whether content of `media_type` can be shown to this client's user."""
        return accepts(self.types, media_type)
