"""The way of a message through a room (RFC 7701 §6.1).

The first piece of a message says who speaks and to whom; from it a `Rendition` is
made for each kind of client in the room. A message of one piece is then sent and
forgotten. Of a longer one a `Transfer` remembers who got the first chunk: the
others go to them alone, as they arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msrpconf.conference.capabilities import CPIM, TEXT
from msrpconf.conference.rendition import Renderer, Rendition, render_cpim, render_text
from msrpconf.protocols.cpim import CpimError, parse_cpim_head
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.outgoing import abort_frame, new_message_id, send_frame
from msrpconf.protocols.msrp.session import FrameWriter, MessageSink, Piece, Refusal, Session

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

MAX_CONTENT_TYPE = 256
"""Octets of a Content-Type, which goes into the head of every copy."""

NO_VOICE = "you have no voice here: ask a moderator for it"


def begin_message(room: Room, sender: Participant, piece: Piece) -> MessageSink | Refusal | None:
    """Route a message by its first piece; what is returned is as `SessionHandler` has it."""
    if piece.flag is Continuation.ABORTED:
        return None  # nobody has heard of it yet
    if sender.muted:
        return Refusal(403, NO_VOICE)
    content_type = piece.head.content_type.decode("ascii", "replace")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != CPIM:
        return _begin_text(room, sender, piece, content_type, media_type)
    try:
        head = parse_cpim_head(piece.data)
    except CpimError as error:
        return Refusal(error.status, str(error))
    if head is None:
        if piece.flag is Continuation.MORE:
            return _IncompleteHead(room, sender, piece)
        return Refusal(400, "the CPIM headers do not end with an empty line")
    if head.from_ is None:
        return Refusal(400, "CPIM From is missing: name yourself")
    if not sender.identity.is_known_as(head.from_.uri):
        return Refusal(403, f"CPIM From is not yours here: use {sender.identity.uri}")
    if not head.to:
        return Refusal(400, f"CPIM To is missing: use {room.uri}")
    if len(head.to) > 1:
        return Refusal(403, f"CPIM To must be one: use {room.uri}")
    if not room.is_named_by(head.to[0].uri):
        return Refusal(403, f"private messages are not served here: CPIM To must be {room.uri}")
    return _distribute(room, sender, piece, render_cpim(head, sender.identity))


def _begin_text(
    room: Room, sender: Participant, piece: Piece, content_type: str, media_type: str
) -> MessageSink | Refusal | None:
    if not sender.speaks_text:
        return Refusal(415, "wrap it in message/cpim, as your session description promised")
    if media_type != TEXT:
        return Refusal(415, "only text/plain can be said without message/cpim")
    if len(content_type) > MAX_CONTENT_TYPE or not (
        content_type.isascii() and content_type.isprintable()
    ):
        return Refusal(400, f"Content-Type must be {MAX_CONTENT_TYPE} printable octets at most")
    render = render_text(content_type, sender.identity, room.uri, room.now())
    return _distribute(room, sender, piece, render)


def _distribute(
    room: Room, sender: Participant, piece: Piece, render: Renderer
) -> MessageSink | None:
    """Send a first piece to all who can take it; remember them where more is to come."""
    message_id = new_message_id()
    complete = piece.flag is Continuation.COMPLETE
    total = len(piece.data) if complete else piece.total
    own = sender.session
    copies: list[_Copy] = []
    room.messages += 1
    for reception, listeners in room.audiences.items():
        rendition = render(reception)
        if rendition is None:
            continue
        prefix, skip = rendition.prefix, rendition.skip
        frame = send_frame(
            message_id,
            rendition.content_type,
            (prefix, piece.data[skip:] if skip else piece.data),
            1,
            None if total is None else total + rendition.shift,
            piece.flag,
        )
        if complete:
            for session in listeners:
                if session is not own and not session.forward(frame):
                    room.undelivered += 1
        else:
            reached = [
                (each, each.connection)
                for each in listeners
                if each is not own and each.forward(frame)
            ]
            room.undelivered += len(listeners) - len(reached) - (own in listeners)
            copies.append(_Copy(rendition, reached))
    return None if complete else Transfer(room, message_id, piece, copies)


_Listener = tuple[Session, FrameWriter | None]


class _Copy:
    """One form of a message and those who get it, each on the connection that it began on."""

    __slots__ = ("listeners", "rendition")

    def __init__(self, rendition: Rendition, listeners: list[_Listener]) -> None:
        self.rendition = rendition
        self.listeners = listeners


class Transfer:
    """A message under way: its further chunks go to those who got the first (RFC 7701 §6.1)."""

    __slots__ = ("_copies", "_message_id", "_next", "_room")

    def __init__(self, room: Room, message_id: bytes, first: Piece, copies: list[_Copy]) -> None:
        self._room = room
        self._message_id = message_id
        self._copies = copies
        self._next = first.start + len(first.data)

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Forward a chunk to who has the ones before it."""
        self._next = piece.start + len(piece.data)
        total = self._next - 1 if piece.flag is Continuation.COMPLETE else piece.total
        for copy in self._copies:
            rendition = copy.rendition
            frame = send_frame(
                self._message_id,
                rendition.content_type,
                (piece.data,),
                piece.start + rendition.shift,
                None if total is None else total + rendition.shift,
                piece.flag,
            )
            missed = [
                each
                for each in copy.listeners
                if each[0].connection is not each[1] or not each[0].forward(frame)
            ]
            if missed:
                # A message with a hole is worth nothing: those are told that it ends here.
                self._abort(rendition, missed, piece.start)
                self._room.undelivered += len(missed)
                gone = {session for session, _ in missed}
                copy.listeners = [each for each in copy.listeners if each[0] not in gone]
        return None

    def aborted(self) -> None:
        """Tell the recipients that the rest will not come."""
        for copy in self._copies:
            self._abort(copy.rendition, copy.listeners, self._next)

    def _abort(self, rendition: Rendition, listeners: list[_Listener], position: int) -> None:
        frame = abort_frame(self._message_id, rendition.content_type, position + rendition.shift)
        for session, _ in listeners:
            session.forward_last(frame)


class _IncompleteHead:
    """A message whose first chunk did not hold all of its CPIM headers: collects them.

    The headers' own limit is the limit of what is collected.
    """

    __slots__ = ("_begun", "_room", "_sender", "_transfer")

    def __init__(self, room: Room, sender: Participant, piece: Piece) -> None:
        self._room = room
        self._sender = sender
        self._begun: Piece | None = piece
        self._transfer: MessageSink | None = None

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Add to the headers; route the message once they are there."""
        begun = self._begun
        if begun is None:
            return None if self._transfer is None else self._transfer.piece_received(piece)
        data = begun.data + piece.data
        begun = Piece(begun.head, begun.message_id, begun.start, data, piece.total, piece.flag)
        result = begin_message(self._room, self._sender, begun)
        if isinstance(result, Refusal):
            return result
        if isinstance(result, _IncompleteHead):
            self._begun = begun
        else:
            self._begun = None
            self._transfer = result
        return None

    def aborted(self) -> None:
        """Nobody has heard of this message unless its headers were complete."""
        if self._transfer is not None:
            self._transfer.aborted()
