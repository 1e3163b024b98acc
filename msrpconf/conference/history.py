"""What was said in a room, for those who come later.

Regular messages only: not what was said in private, not notices, and nothing that
is shown for a moment only, such as that somebody is typing. Who joins gets the
last of them, with the time at which each was said, marked as history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from msrpconf.conference.capabilities import TEXT, Reception
from msrpconf.conference.distribution import deliver
from msrpconf.conference.rendition import CPIM_TYPE, Renderer, Rendition, Speaker, date_time
from msrpconf.conference.voice import mark
from msrpconf.protocols.cpim import CpimAddress, build_cpim_head
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant

MAX_OCTETS = 65536
"""Octets of a message that is kept; longer ones are not."""

MAX_ROOM_OCTETS = 4194304
"""Octets of all messages that one room keeps; the oldest go first."""

HEAD_OCTETS = 1024
"""Octets to reckon with for the heads of a frame, beside those of the message in it."""

_TRANSIENT = frozenset(("application/im-iscomposing+xml", "message/imdn+xml"))


@frozen
class Said:
    """A message that was said: by whom, when, and its content.

    `said_at` is the DateTime of the message as its sender wrote it, or the time at
    which it came; `at` that time in seconds of the epoch. `content_headers` are
    the other MIME headers of the content.
    """

    speaker: Speaker
    at: float
    said_at: str
    content_type: str
    content_headers: tuple[tuple[str, str], ...]
    content: bytes

    @property
    def media_type(self) -> str:
        """The type in lower case, without parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def octets(self) -> int:
        """What it takes up, heads and all, about."""
        heads = sum(len(name) + len(value) for name, value in self.content_headers)
        return len(self.content) + len(self.content_type) + len(self.said_at) + heads

    def render(self, room_uri: str) -> Renderer:
        """The forms in which it is sent to who comes later."""

        def render(reception: Reception) -> Rendition | None:
            if not reception.takes(self.media_type):
                return None
            if reception.cpim:
                head = build_cpim_head(
                    self.speaker.address,
                    CpimAddress(room_uri),
                    self.said_at,
                    self.content_type,
                    mark("history"),
                    content_headers=self.content_headers,
                )
                return Rendition(CPIM_TYPE, head, 0)
            if self.media_type != TEXT or self.content_headers:
                return None
            when = f"[{date_time(self.at):%Y-%m-%d %H:%M} UTC] ".encode()
            return Rendition(self.content_type.encode("utf-8"), when + self.speaker.front, 0)

        return render


class History:
    """The last messages of a room: `messages` of them at most, `age` seconds old at most.

    `kept` is told of each one, where it is set, for those who store it.
    """

    def __init__(self, messages: int, age: float, now: Callable[[], float]) -> None:
        self.kept: Callable[[Said], None] | None = None
        self._now = now
        self._age = age
        self._said: deque[Said] = deque()
        self._octets = 0
        self._messages = messages

    def __len__(self) -> int:
        return len(self._said)

    def limit(self, messages: int, age: float) -> None:
        """Keep no more than that from now on."""
        self._messages = messages
        self._age = age
        self._trim()

    def restore(self, said: Iterable[Said]) -> None:
        """Take in what was kept elsewhere, the oldest first."""
        for each in said:
            self._append(each)
        self._trim()

    def clear(self) -> None:
        """Forget what there is."""
        self._said.clear()
        self._octets = 0

    def keeps(self, media_type: str) -> bool:
        """Whether a message of that type is kept here."""
        return self._messages > 0 and media_type not in _TRANSIENT

    def add(self, said: Said) -> None:
        """Keep a message that was said in full."""
        self._append(said)
        self._trim()
        if self.kept is not None:
            self.kept(said)

    def _append(self, said: Said) -> None:
        self._said.append(said)
        self._octets += said.octets

    def _trim(self) -> None:
        said = self._said
        oldest = self._now() - self._age
        while said and (
            len(said) > self._messages or said[0].at < oldest or self._octets > MAX_ROOM_OCTETS
        ):
            self._octets -= said.popleft().octets

    def messages(self) -> list[Said]:
        """What there is, the oldest first."""
        self._trim()
        return list(self._said)

    def replay(self, participant: Participant) -> None:
        """Send it to somebody who has just come: no more than may wait to be written."""
        reception = participant.reception
        if reception is None:
            return
        room = participant.room
        session = participant.session
        messages = self.messages()
        fits = session.limits.mark // 2
        for index in range(len(messages), 0, -1):
            fits -= messages[index - 1].octets + HEAD_OCTETS
            if fits < 0:
                messages = messages[index:]
                break
        for said in messages:
            deliver(room, {reception: (session,)}, said.render(room.uri), said.content)


class Recorder:
    """Takes a message of several pieces past the history: passes them on and keeps a copy."""

    __slots__ = ("_content", "_keep", "_next", "_whole")

    def __init__(self, first: bytes, next_: MessageSink, keep: Callable[[bytes], None]) -> None:
        self._content = bytearray(first)
        self._whole = True
        self._next = next_
        self._keep = keep

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Pass a piece on; keep the message once it is whole."""
        refusal = self._next.piece_received(piece)
        if refusal is not None or len(self._content) + len(piece.data) > MAX_OCTETS:
            self._give_up()
        if self._whole:
            self._content += piece.data
            if piece.flag is Continuation.COMPLETE:
                self._keep(bytes(self._content))
        return refusal

    def aborted(self) -> None:
        """The message will not be whole."""
        self._give_up()
        self._next.aborted()

    def _give_up(self) -> None:
        self._whole = False
        self._content.clear()
