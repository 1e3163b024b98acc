"""The way of a message through a room (RFC 7701 §6.1).

The first piece of a message says who speaks and to whom; from it a `Rendition` is
made for each kind of client in the room. A message of one piece is then sent and
forgotten. Of a longer one a `Transfer` remembers who got the first chunk: the
others go to them alone, as they arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msrpconf.conference.rendition import Renderer, Rendition, render_cpim, render_text
from msrpconf.protocols.cpim import CpimError, parse_cpim_head
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.outgoing import abort_frame, new_message_id, send_frame
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal, Session
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

ANONYMOUS = "sip:anonymous@anonymous.invalid"
"""In CPIM To, what RCS clients write for the room."""


def begin_message(room: Room, sender: Participant, piece: Piece) -> MessageSink | Refusal | None:
    """Route a message by its first piece; what is returned is as `SessionHandler` has it."""
    content_type = piece.head.content_type
    if piece.flag is Continuation.ABORTED:
        return None  # nobody has heard of it yet
    media_type = content_type.partition(b";")[0].strip().lower().decode("ascii", "replace")
    if media_type != "message/cpim":
        return _begin_text(room, sender, piece, media_type)
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
    if not _is_room(room, head.to[0].uri):
        return Refusal(403, f"private messages are not served here: CPIM To must be {room.uri}")
    return _distribute(room, sender, piece, render_cpim(head, sender.identity, b"message/cpim"))


def _begin_text(
    room: Room, sender: Participant, piece: Piece, media_type: str
) -> MessageSink | Refusal | None:
    if sender.reception.cpim:
        return Refusal(415, "wrap it in message/cpim, as your session description promised")
    if media_type != "text/plain":
        return Refusal(415, "only text/plain can be said without message/cpim")
    render = render_text(piece.head.content_type, media_type, sender.identity, room.uri, room.now())
    return _distribute(room, sender, piece, render)


def _is_room(room: Room, uri: str) -> bool:
    if uri in (room.uri, ANONYMOUS):
        return True
    try:
        return parse_uri(uri).key == room.key
    except SipSyntaxError:
        return False


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
            reached = [each for each in listeners if each is not own and each.forward(frame)]
            room.undelivered += len(listeners) - len(reached) - (own in listeners)
            copies.append(_Copy(rendition, reached))
    return None if complete else Transfer(room, message_id, piece, copies)


class _Copy:
    """One form of a message and those who get it."""

    __slots__ = ("rendition", "sessions")

    def __init__(self, rendition: Rendition, sessions: list[Session]) -> None:
        self.rendition = rendition
        self.sessions = sessions


class Transfer:
    """A message under way: its further chunks go to those who got the first (RFC 7701 §6.1)."""

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
            missed = [each for each in copy.sessions if not each.forward(frame)]
            if missed:
                # A message with a hole is worth nothing: those are told that it ends here.
                self._abort(rendition, missed, piece.start)
                self._room.undelivered += len(missed)
                copy.sessions = [each for each in copy.sessions if each not in missed]
        return None

    def aborted(self) -> None:
        """Tell the recipients that the rest will not come."""
        for copy in self._copies:
            self._abort(copy.rendition, copy.sessions, self._next)

    def _abort(self, rendition: Rendition, sessions: list[Session], position: int) -> None:
        frame = abort_frame(self._message_id, rendition.content_type, position + rendition.shift)
        for session in sessions:
            session.forward_last(frame)


class _IncompleteHead:
    """A message whose first chunk did not hold all of its CPIM headers: collects them."""

    def __init__(self, room: Room, sender: Participant, piece: Piece) -> None:
        self._room = room
        self._sender = sender
        self._first = piece
        self._transfer: MessageSink | None = None

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Add to the headers; route the message once they are there."""
        if self._transfer is not None:
            return self._transfer.piece_received(piece)
        first = self._first
        if piece.start != first.start + len(first.data):
            return Refusal(400, "the chunks that hold the CPIM headers must come in order")
        self._first = Piece(
            first.head,
            first.message_id,
            first.start,
            first.data + piece.data,
            piece.total,
            piece.flag,
        )
        result = begin_message(self._room, self._sender, self._first)
        if isinstance(result, Refusal):
            return result
        if isinstance(result, _IncompleteHead):
            return None
        self._transfer = result
        return None

    def aborted(self) -> None:
        """Nobody has heard of this message unless its headers were complete."""
        if self._transfer is not None:
            self._transfer.aborted()
