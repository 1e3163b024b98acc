"""Copies of a message on their way to many (RFC 7701 §6.1).

A message of one piece is sent and forgotten. Of a longer one a `Transfer`
remembers who got the first chunk: the others go to them alone, as they arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.followers import Follower, Followers
from msrpconf.conference.pacing import Pacing
from msrpconf.conference.rendition import Renderer, Rendition
from msrpconf.conference.spool import Spools
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.outgoing import (
    OutgoingFrame,
    abort_frame,
    new_message_id,
    send_frame,
)
from msrpconf.protocols.msrp.session import Piece, Refusal, Session

COMPLETE, MORE = Continuation.COMPLETE, Continuation.MORE

RELAYED_CHUNK = 8192
"""Octets of body in one frame to a client behind relays (RFC 4976 §6.3)."""

Audiences = Mapping[Reception, Collection[Session]]
"""Sessions by what their clients can be sent."""


class Tally(Protocol):
    """Who counts the copies that were not delivered, and knows what is under way.

    `spools` is where the rest of a message may wait for who reads slowly, if anywhere.
    """

    undelivered: int
    spools: Spools | None
    transfers: dict[bytes, Transfer]
    """By the Message-ID of the copies."""


def deliver(
    tally: Tally, audiences: Audiences, render: Renderer, data: bytes, own: Session | None = None
) -> int:
    """Send a whole message to all who can take it; return how many could.

    `render` gives the form for each kind of client; `own` gets no copy.
    """
    message_id = new_message_id()
    reached = 0
    for reception, listeners in audiences.items():
        rendition = render(reception)
        if rendition is None:
            continue
        prefix, skip = rendition.prefix, rendition.skip
        total = len(data) + rendition.shift
        if reception.max_size is not None and total > reception.max_size:
            tally.undelivered += len(listeners)
            continue
        body = prefix + data[skip:] if skip else prefix + data if prefix else data
        frames = _frames(message_id, rendition, reception, body, 1, total, COMPLETE)
        missed = 0
        if len(frames) == 1:
            frame = frames[0]
            for session in listeners:
                if session is not own and not session.forward(frame):
                    missed += 1
        else:
            octets = _octets(frames)
            for session in listeners:
                if session is not own and not session.forward_all(frames, octets):
                    missed += 1
        tally.undelivered += missed
        reached += len(listeners) - missed - (own in listeners)
    return reached


def begin_transfer(
    tally: Tally, audiences: Audiences, render: Renderer, piece: Piece, own: Session
) -> Transfer:
    """Send the first piece of a message of several; what is returned sends the others.

    `own` is the sender's session, and gets no copy.
    """
    message_id = new_message_id()
    copies: list[Copy] = []
    data = piece.data
    for reception, listeners in audiences.items():
        rendition = render(reception)
        if rendition is None:
            continue
        shift = rendition.shift
        total = None if piece.total is None else piece.total + shift
        body = rendition.prefix + data[rendition.skip :]
        if reception.max_size is not None and max(total or 0, len(body)) > reception.max_size:
            tally.undelivered += len(listeners)
            continue
        frames = _frames(message_id, rendition, reception, body, 1, total, piece.flag)
        octets = _octets(frames)
        got = [
            Recipient(session)
            for session in listeners
            if session is not own and session.forward_all(frames, octets)
        ]
        tally.undelivered += len(listeners) - len(got) - (own in listeners)
        copies.append(Copy(message_id, reception, rendition, got))
    transfer = Transfer(tally, message_id, piece, copies, own)
    tally.transfers[message_id] = transfer
    return transfer


def _frames(
    message_id: bytes,
    rendition: Rendition,
    reception: Reception,
    body: bytes,
    start: int,
    total: int | None,
    flag: Continuation,
) -> list[OutgoingFrame]:
    """The chunks in which some octets of a message go to one kind of client."""
    content_type = rendition.content_type
    # Only of more than one can the rest be unwanted (RFC 4975 §10.5).
    key = b"" if start == 1 and flag is COMPLETE else message_id
    if not reception.relayed or len(body) <= RELAYED_CHUNK:
        return [send_frame(message_id, content_type, (body,), start, total, flag, key=key)]
    frames = []
    for offset in range(0, len(body), RELAYED_CHUNK):
        chunk = body[offset : offset + RELAYED_CHUNK]
        last = offset + RELAYED_CHUNK >= len(body)
        frames.append(
            send_frame(
                message_id,
                content_type,
                (chunk,),
                start + offset,
                total,
                flag if last else MORE,
                key=key,
            )
        )
    return frames


def _octets(frames: list[OutgoingFrame]) -> int:
    return sum(frame.size for frame in frames)


class Recipient:
    """Somebody who gets a message in chunks, on the connection that it began on."""

    __slots__ = ("connection", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.connection = session.connection

    def forward(self, frames: list[OutgoingFrame], octets: int) -> bool:
        """Queue chunks; False once the connection is another, or the queue is full."""
        session = self.session
        return session.connection is self.connection and session.forward_more(frames, octets)


class Copy:
    """One form of a message and those who get it."""

    __slots__ = ("_message_id", "reception", "recipients", "rendition")

    def __init__(
        self,
        message_id: bytes,
        reception: Reception,
        rendition: Rendition,
        recipients: list[Recipient],
    ) -> None:
        self._message_id = message_id
        self.reception = reception
        self.rendition = rendition
        self.recipients = recipients

    def frames(
        self, data: bytes, start: int, total: int | None, flag: Continuation
    ) -> list[OutgoingFrame]:
        """Octets of the received message from `start` on, as this form has them."""
        shift = self.rendition.shift
        return _frames(
            self._message_id,
            self.rendition,
            self.reception,
            data,
            start + shift,
            None if total is None else total + shift,
            flag,
        )

    def forward(
        self, recipient: Recipient, data: bytes, start: int, total: int | None, flag: Continuation
    ) -> bool:
        """Queue such octets for one recipient alone; False where that cannot be."""
        frames = self.frames(data, start, total, flag)
        return recipient.forward(frames, _octets(frames))

    def abort(self, recipients: Iterable[Recipient], position: int) -> None:
        """Tell some that nothing comes from a position on."""
        rendition = self.rendition
        start = position + rendition.shift
        frame = abort_frame(self._message_id, rendition.content_type, start)
        for each in recipients:
            each.session.forward_last(frame)


class Transfer:
    """A message under way: its further chunks go to those who got the first (RFC 7701 §6.1).

    It goes no faster than its recipients read: where a queue grows, the sender's
    connection is not read from for a while (`Pacing`). Who is slower than the others
    gets it later, from disk (`Followers`); where there is no room for that, who does
    not read at all is left behind, and told so.
    """

    __slots__ = ("_clock", "_copies", "_followers", "_message_id", "_next", "_pacing", "_tally")

    def __init__(
        self,
        tally: Tally,
        message_id: bytes,
        first: Piece,
        copies: list[Copy],
        sender: Session,
    ) -> None:
        self._tally = tally
        self._message_id = message_id
        self._copies = copies
        self._clock = sender.clock
        self._followers: Followers | None = None
        self._next = first.start + len(first.data)
        self._pacing = Pacing(sender, self.wait_no_more, lenient=tally.spools is not None)

    @property
    def sessions(self) -> list[Session]:
        """Those who get this message as it comes."""
        return [each.session for copy in self._copies for each in copy.recipients]

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Forward a chunk to who has the ones before it."""
        start = piece.start
        data = piece.data
        self._next = start + len(data)
        total = self._next - 1 if piece.flag is COMPLETE else piece.total
        for copy in self._copies:
            limit = copy.reception.max_size
            if limit is not None and self._next - 1 + copy.rendition.shift > limit:
                self._leave_behind(copy, copy.recipients, start)
                continue
            frames = copy.frames(data, start, total, piece.flag)
            octets = _octets(frames)
            missed = [each for each in copy.recipients if not each.forward(frames, octets)]
            if missed:
                self._leave_behind(copy, missed, start)
        if self._followers is not None:
            self._followers.piece_received(data, total)
        if piece.flag is MORE:
            self._pacing.check(self)
        else:
            self._end(total if piece.flag is COMPLETE else None)
        return None

    def _leave_behind(self, copy: Copy, missed: list[Recipient], position: int) -> None:
        """A message with a hole is worth nothing: those are told that it ends here."""
        copy.abort(missed, position)
        self._tally.undelivered += len(missed)
        self._take_out(copy, missed)

    def _take_out(self, copy: Copy, recipients: list[Recipient]) -> None:
        gone = set(recipients)
        copy.recipients = [each for each in copy.recipients if each not in gone]
        for each in recipients:
            self._pacing.wait_no_more(each.session)

    def wait_no_more(self, sessions: Collection[Session]) -> None:
        """Those are too slow: they get the rest later, or not at all."""
        for copy, slow in self._recipients(sessions):
            followers = self._follow()
            if followers is None:
                self._leave_behind(copy, slow, self._next)
            else:
                for each in slow:
                    followers.add(copy, each, self._next)
                self._take_out(copy, slow)

    def _recipients(self, sessions: Collection[Session]) -> list[tuple[Copy, list[Recipient]]]:
        found = []
        for copy in self._copies:
            those = [each for each in copy.recipients if each.session in sessions]
            if those:
                found.append((copy, those))
        return found

    def _follow(self) -> Followers | None:
        """Who is slow is served from disk from now on, if there is room for that."""
        if self._followers is None and self._tally.spools is not None:
            spool = self._tally.spools.open()
            if spool is not None:
                self._followers = Followers(
                    spool, self._next, self._clock, self._lost, self._caught_up
                )
        return self._followers

    def _lost(self, follower: Follower) -> None:
        follower.copy.abort((follower.recipient,), follower.position)
        self._tally.undelivered += 1

    def _caught_up(self, ended: bool) -> None:
        self._followers = None
        if ended:
            self._tally.transfers.pop(self._message_id, None)

    def aborted(self) -> None:
        """Tell the recipients that the rest will not come."""
        for copy in self._copies:
            copy.abort(copy.recipients, self._next)
        self._end(None)

    def refused_by(self, session: Session) -> None:
        """A recipient does not want it: it gets no further chunk (RFC 4975 §10.5)."""
        if self._followers is not None and self._followers.lose(session):
            session.withdraw(self._message_id)
        for copy, those in self._recipients((session,)):
            self._leave_behind(copy, those, self._next)
            session.withdraw(self._message_id)

    def _end(self, total: int | None) -> None:
        """Nothing more comes; `total` octets were all of it, None where some are missing."""
        self._pacing.stop()
        if self._followers is None:
            self._tally.transfers.pop(self._message_id, None)
        else:
            self._followers.end(total)
