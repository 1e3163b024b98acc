"""What a room is about: the Subject of the INVITE that creates it, until somebody changes it."""

from __future__ import annotations

import unicodedata

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.policy import may_change_subject
from msrpconf.conference.room import Room

MAX_SUBJECT = 255
"""Characters that a subject has at most; it is shown to everybody, and sent with invitations."""

# Control and format characters, halves of characters, and what some terminals end a line with;
# of format characters only the joiners, which scripts and emoji need, change no other text.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def clean_subject(text: str) -> str | None:
    """`text`, of a peer, as it may be shown: one line of `MAX_SUBJECT` characters; None if empty.

    Octets of a header that are no UTF-8 come as surrogates, and go.
    """
    fit = (
        char if char in _JOINERS or unicodedata.category(char) not in _UNFIT else " "
        for char in text[: 4 * MAX_SUBJECT]
    )
    return " ".join("".join(fit).split())[:MAX_SUBJECT].rstrip() or None


def change_subject(room: Room, user: Identity, text: str) -> Denied | None:
    """Have `user` change the subject of `room`, and tell everybody; or say why not.

    An empty `text` takes it away.
    """
    denied = may_change_subject(room, user)
    if denied is not None:
        return denied
    subject = clean_subject(text)
    if subject != room.subject:
        room.subject = subject
        who = user.display_name or user.short
        room.notice(
            f"{who} has taken the subject away"
            if subject is None
            else f"{who} has changed the subject: {subject}"
        )
    return None
