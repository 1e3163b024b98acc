"""Copies of a message on their way to many (RFC 7701 §6.1).

A message of one piece is sent and forgotten. Of a longer one a `Transfer`
remembers who got the first chunk: the others go to them alone, as they arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from msrpconf.conference.capabilities import Reception
from msrpconf.conference.pacing import Pacing
from msrpconf.conference.rendition import Renderer, Rendition
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
    """Who counts the copies that were not delivered, and knows what is under way."""

    undelivered: int
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
    copies: list[_Copy] = []
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
            _Recipient(session)
            for session in listeners
            if session is not own and session.forward_all(frames, octets)
        ]
        tally.undelivered += len(listeners) - len(got) - (own in listeners)
        copies.append(_Copy(reception, rendition, got))
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


class _Recipient:
    """Somebody who gets a message in chunks, on the connection that it began on."""

    __slots__ = ("connection", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.connection = session.connection

    def forward(self, frames: list[OutgoingFrame], octets: int) -> bool:
        """Queue chunks; False once the connection is another, or the queue is full."""
        session = self.session
        return session.connection is self.connection and session.forward_more(frames, octets)


class _Copy:
    """One form of a message and those who get it."""

    __slots__ = ("reception", "recipients", "rendition")

    def __init__(
        self, reception: Reception, rendition: Rendition, recipients: list[_Recipient]
    ) -> None:
        self.reception = reception
        self.rendition = rendition
        self.recipients = recipients


class Transfer:
    """A message under way: its further chunks go to those who got the first (RFC 7701 §6.1).

    It goes no faster than its recipients read: where a queue grows, the sender's
    connection is not read from for a while (`Pacing`). Who does not read at all is
    left behind, and told so.
    """

    __slots__ = ("_copies", "_message_id", "_next", "_pacing", "_tally")

    def __init__(
        self,
        tally: Tally,
        message_id: bytes,
        first: Piece,
        copies: list[_Copy],
        sender: Session,
    ) -> None:
        self._tally = tally
        self._message_id = message_id
        self._copies = copies
        self._next = first.start + len(first.data)
        self._pacing = Pacing(sender, self.drop)

    @property
    def sessions(self) -> list[Session]:
        """Those who get this message."""
        return [each.session for copy in self._copies for each in copy.recipients]

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Forward a chunk to who has the ones before it."""
        start = piece.start
        data = piece.data
        self._next = start + len(data)
        last = piece.flag is not MORE
        total = self._next - 1 if piece.flag is COMPLETE else piece.total
        for copy in self._copies:
            rendition = copy.rendition
            shift = rendition.shift
            reception = copy.reception
            if reception.max_size is not None and self._next - 1 + shift > reception.max_size:
                self._leave_behind(copy, copy.recipients, start)
                continue
            frames = _frames(
                self._message_id,
                rendition,
                reception,
                data,
                start + shift,
                None if total is None else total + shift,
                piece.flag,
            )
            octets = _octets(frames)
            missed = [each for each in copy.recipients if not each.forward(frames, octets)]
            if missed:
                self._leave_behind(copy, missed, start)
        if last:
            self._end()
        else:
            self._pacing.check(self)
        return None

    def _leave_behind(self, copy: _Copy, missed: list[_Recipient], position: int) -> None:
        """A message with a hole is worth nothing: those are told that it ends here."""
        self._abort(copy, missed, position)
        self._tally.undelivered += len(missed)
        gone = set(missed)
        copy.recipients = [each for each in copy.recipients if each not in gone]
        for each in missed:
            self._pacing.wait_no_more(each.session)

    def drop(self, sessions: Collection[Session]) -> None:
        """Send no more of the message to those."""
        for copy in self._copies:
            missed = [each for each in copy.recipients if each.session in sessions]
            if missed:
                self._leave_behind(copy, missed, self._next)

    def aborted(self) -> None:
        """Tell the recipients that the rest will not come."""
        self._end()
        for copy in self._copies:
            self._abort(copy, copy.recipients, self._next)

    def refused_by(self, session: Session) -> None:
        """A recipient does not want it: it gets no further chunk (RFC 4975 §10.5)."""
        if session in self.sessions:
            self.drop((session,))
            session.withdraw(self._message_id)

    def _end(self) -> None:
        self._pacing.stop()
        self._tally.transfers.pop(self._message_id, None)

    def _abort(self, copy: _Copy, recipients: list[_Recipient], position: int) -> None:
        rendition = copy.rendition
        frame = abort_frame(self._message_id, rendition.content_type, position + rendition.shift)
        for each in recipients:
            each.session.forward_last(frame)
