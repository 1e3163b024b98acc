"""What was said, what was heard, who was killed when: and whether that goes together.

Pure: who talks and who kills is elsewhere. Times are in seconds of one clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from attrs import define, field, frozen

SLACK = 5.0
"""Seconds that the copies of a message may take: who is on a busy machine is no error."""

NOTICED = 10.0
"""Seconds from the death of a part until people have noticed."""

MOVED = 45.0
"""The same for the death of a server where rooms move: so long a client may be asked to come."""

SERVER_DIED = "the server that had taken it died within 5 s"
RECIPIENT_WENT = "the recipient's stay ended within 5 s, and nothing later came"

LEFT = "left by oneself"
SERVER_GONE = "the server died, or was told to end"
ACK_LOST = "the focus died before the ACK had passed"


@define(eq=False)
class Said:
    """A message: when it was sent, and when and by which server it was answered 200, if it was.

    A stay's are numbered from 1.
    """

    number: int
    sent: float
    answered: float | None = None
    server: str | None = None


@define(eq=False)
class Stay:
    """Somebody in a room, from the end of joining to the end of the call.

    `servers` are where the room's MSRP was, one after the other; no two processes have an address
    in common. `why` is what the client was told at the end. `heard` has sender's stay and number,
    in order.
    """

    name: str
    room: str
    servers: list[str]
    since: float
    until: float | None = None
    why: str = ""
    left: bool = False
    said: list[Said] = field(factory=list)
    heard: list[tuple[str, int]] = field(factory=list)

    @property
    def server(self) -> str:
        """Where the room is now."""
        return self.servers[-1]


@frozen
class Death:
    """That a part was killed, or was told to end; `server` is the MSRP address of a server.

    `hands_over` is whether rooms went on at another server, with all that was taken.
    """

    part: str
    at: float
    server: str | None = None
    hands_over: bool = False


@frozen
class Verdict:
    """How many messages were answered, and how many copies of these were due and came.

    `lost` and `ended` count copies that did not come and stays that ended, by the rule that
    explains it; `unexplained` has a line for whatever no rule explains.
    """

    answered: int
    due: int
    arrived: int
    lost: Counter[str]
    ended: Counter[str]
    unexplained: tuple[str, ...]


class Ledger:
    """All stays and deaths; `moves` is whether rooms go on at another server."""

    def __init__(self, moves: bool = False) -> None:
        self.stays: dict[str, Stay] = {}
        self.deaths: list[Death] = []
        self._noticed = MOVED if moves else NOTICED

    def judge(self) -> Verdict:
        """Look through all of it."""
        lost: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        unexplained: list[str] = []
        due = arrived = 0
        rooms: dict[str, list[Stay]] = defaultdict(list)
        for stay in self.stays.values():
            rooms[stay.room].append(stay)
            unexplained += self._strange(stay)
            rule = self._end_of(stay)
            if rule is not None:
                ended[rule] += 1
            elif stay.until is not None:
                unexplained.append(f"{stay.name} ended at {stay.until:.1f} s: {stay.why}")
        for people in rooms.values():
            for recipient in people:
                heard: dict[str, set[int]] = defaultdict(set)
                for name, number in recipient.heard:
                    heard[name].add(number)
                for sender in people:
                    if sender is recipient:
                        continue
                    numbers = heard[sender.name]
                    for each in _due(sender, recipient):
                        due += 1
                        if each.number in numbers:
                            arrived += 1
                            continue
                        rule = self._loss_of(each, sender, recipient, numbers)
                        if rule is not None:
                            lost[rule] += 1
                            continue
                        unexplained.append(
                            f"{recipient.name} has not heard {each.number} of {sender.name},"
                            f" answered at {each.answered:.1f} s"
                        )
        said = [each for stay in self.stays.values() for each in stay.said]
        answered = sum(each.answered is not None for each in said)
        return Verdict(answered, due, arrived, lost, ended, tuple(unexplained))

    def _strange(self, stay: Stay) -> Iterator[str]:
        """What somebody has heard twice, in a wrong order, or from nobody."""
        last: dict[str, int] = {}
        for name, number in stay.heard:
            sender = self.stays.get(name)
            if sender is None or not 1 <= number <= len(sender.said):
                yield f"{stay.name} has heard {number} of {name}, who never said it"
                continue
            server = sender.said[number - 1].server
            if sender.room != stay.room or (server is not None and server not in stay.servers):
                yield f"{stay.name} has heard {number} of {name}, who is elsewhere"
            if number == last.get(name):
                yield f"{stay.name} has heard {number} of {name} twice"
            elif number < last.get(name, 0):
                yield f"{stay.name} has heard {number} of {name} after {last[name]}"
            last[name] = number

    def _end_of(self, stay: Stay) -> str | None:
        """The rule by which a stay may have ended."""
        if stay.until is None:
            return None
        if stay.left:
            return LEFT
        for death in self.deaths:
            if death.server in stay.servers and -1.0 <= stay.until - death.at <= self._noticed:
                return SERVER_GONE
            if (
                death.server is None
                and "No ACK" in stay.why
                and abs(death.at - stay.since) <= NOTICED
            ):
                return ACK_LOST
        return None

    def _loss_of(self, said: Said, sender: Stay, recipient: Stay, heard: set[int]) -> str | None:
        """The rule by which the last of what somebody was to hear may be lost."""
        assert said.answered is not None
        later = [number for number in heard if number > said.number]
        if not any(sender.said[number - 1].server == said.server for number in later):
            for death in self.deaths:
                if (
                    death.server == said.server
                    and not death.hands_over
                    and -1.0 <= death.at - said.answered <= SLACK
                ):
                    return SERVER_DIED
        if not later and recipient.until is not None and recipient.until - said.answered <= SLACK:
            return RECIPIENT_WENT
        return None


def _due(sender: Stay, recipient: Stay) -> Iterator[Said]:
    """What was taken by the room while somebody was in it."""
    for each in sender.said:
        if each.answered is None or each.sent < recipient.since:
            continue
        if each.server in recipient.servers and (
            recipient.until is None or each.answered <= recipient.until
        ):
            yield each
