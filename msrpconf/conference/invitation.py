"""What becomes of those who are asked into a room.

dialing-out --2xx to our REFER--> pending --they join, or say that they did--> joined
     `--refused, unreachable, nobody answered in time--> failed <--'
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from attrs import evolve, frozen

from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.refer import ReferTo
from msrpconf.protocols.sip.uri import SipURI, TelURI
from msrpconf.protocols.sipfrag import Fragment


class InvitationState(enum.Enum):
    """How far an invitation is (RFC 4575 §5.7 has the first two as endpoint states)."""

    DIALING_OUT = "dialing-out"
    """Our REFER is on its way."""
    PENDING = "pending"
    """The invitee's device has it, and asks its user."""
    JOINED = "joined"
    FAILED = "failed"


@frozen
class Guest:
    """Somebody to invite: where to, and under which name.

    `key` is the canonical form of the URI: who, not where.
    """

    uri: SipURI | TelURI
    display_name: str | None = None

    @property
    def key(self) -> str:
        return self.uri.key

    @property
    def short(self) -> str:
        """The guest as plain text names it: ``bob@example.com``."""
        return self.key.partition(":")[2]

    @property
    def address(self) -> str:
        """The guest for a To header."""
        return str(NameAddr(self.uri, self.display_name))

    @classmethod
    def of(cls, asked: ReferTo) -> Guest | None:
        """Whom a REFER or a list names; None for a URI that nothing can be sent to."""
        if isinstance(asked.uri, SipURI | TelURI):
            return cls(asked.uri, asked.display_name)
        return None


_TRYING = Fragment.of(100)


@frozen
class Invitation:
    """One invitation, as it stands; kept by its room.

    `inviter` asked for it. `outcome` is the status that it ended with, or the last
    that was heard; `since` and `changed` are times in seconds of the epoch.
    """

    guest: Guest
    inviter: Identity
    since: float
    changed: float
    state: InvitationState = InvitationState.DIALING_OUT
    outcome: Fragment = _TRYING

    @property
    def open(self) -> bool:
        """Whether it may still come to something."""
        return self.state in {InvitationState.DIALING_OUT, InvitationState.PENDING}

    def after(self, state: InvitationState, outcome: Fragment, now: float) -> Invitation:
        """The invitation after what was heard of it at `now`."""
        return evolve(self, state=state, outcome=outcome, changed=now)

    def __str__(self) -> str:
        """What became of it, for the inviter to read."""
        who = self.guest.display_name or self.guest.short
        if self.state is InvitationState.JOINED:
            return f"{who} has joined"
        if self.open:
            return f"{who} is invited"
        return f"{who} {_VERDICTS.get(self.outcome.status, 'could not be invited')}: {self.outcome}"


_VERDICTS = {
    403: "does not take invitations",
    405: "has a client that takes no invitations",
    404: "was not found",
    410: "was not found",
    484: "was not found",
    604: "was not found",
    408: "did not answer",
    480: "cannot be reached",
    503: "cannot be reached",
    486: "is busy",
    600: "is busy",
    603: "declined",
    607: "declined",
}


class Invitations:
    """The invitations of one room, by their guest's key; of those that ended, the last `limit`."""

    __slots__ = ("_by_key", "_limit")

    def __init__(self, limit: int) -> None:
        self._by_key: dict[str, Invitation] = {}
        self._limit = limit

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Invitation]:
        return iter(list(self._by_key.values()))

    def get(self, key: str) -> Invitation | None:
        """The last invitation of the guest of that key."""
        return self._by_key.get(key)

    def is_open(self, key: str) -> bool:
        """Whether the guest of that key is invited, and it is not known what becomes of it."""
        invitation = self._by_key.get(key)
        return invitation is not None and invitation.open

    def put(self, invitation: Invitation) -> None:
        """Keep an invitation as it now stands, in place of the guest's one before."""
        self._by_key.pop(invitation.guest.key, None)
        self._by_key[invitation.guest.key] = invitation
        ended = [each.guest.key for each in self._by_key.values() if not each.open]
        for key in ended[: max(0, len(ended) - self._limit)]:
            del self._by_key[key]
