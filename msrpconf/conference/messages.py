"""The way of a message into a room (RFC 7701 §6): who may say what to whom.

The first piece of a message says who speaks and to whom; from it a `Rendition` is
made for each kind of client in the room. What then goes out is `distribution`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msrpconf.conference.capabilities import CPIM, TEXT, accepts
from msrpconf.conference.distribution import begin_transfer, deliver
from msrpconf.conference.history import MAX_OCTETS as MAX_KEPT
from msrpconf.conference.history import Recorder, Said
from msrpconf.conference.identity import ANONYMOUS
from msrpconf.conference.imdn import IMDN, notified_message
from msrpconf.conference.imdn import MAX_OCTETS as MAX_IMDN
from msrpconf.conference.private import route_private
from msrpconf.conference.rendition import (
    Renderer,
    date_time,
    render_cpim,
    render_text,
)
from msrpconf.protocols.cpim import CpimError, CpimHead, parse_cpim_head
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal

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
    if not sender.bucket.touch():
        return sender.flooded()
    content_type = piece.head.content_type.decode("ascii", "replace")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != CPIM:
        return _begin_text(room, sender, piece, content_type, media_type)
    return _begin_cpim(room, sender, piece)


def _begin_cpim(room: Room, sender: Participant, piece: Piece) -> MessageSink | Refusal | None:
    try:
        head = parse_cpim_head(piece.data)
    except CpimError as error:
        return Refusal(error.status, str(error))
    if head is None:
        if piece.flag is Continuation.MORE:
            return _Incomplete(room, sender, piece, _begin_cpim)
        return Refusal(400, "the CPIM headers do not end with an empty line")
    if head.from_ is None:
        return Refusal(400, "CPIM From is missing: name yourself")
    identity = sender.identity
    if not identity.is_known_as(head.from_.uri):
        return Refusal(403, f"CPIM From is not yours here: use {identity.uri}")
    if not head.to:
        return Refusal(400, f"CPIM To is missing: use {room.uri}")
    if len(head.to) > 1:
        return Refusal(403, f"CPIM To must be one: the room, {room.uri}, or one participant")
    if not accepts(room.settings.types, head.media_type) and head.media_type != IMDN:
        return Refusal(415, f"only {' '.join(room.settings.types)} can be said here")
    # The anonymous URI stands for whoever wrote it, and who is anonymous stays so.
    hidden = head.from_.uri == ANONYMOUS or identity.anonymous
    renamed = hidden and head.from_.uri != identity.uri
    render = render_cpim(head, sender.speaker, piece.data if renamed else None)
    if head.media_type == IMDN:
        return _begin_imdn(room, sender, piece, head, render)
    room.originals.sent(head, identity.key)
    if not room.is_named_by(head.to[0].uri):
        return route_private(room, sender, piece, head, render)
    if head.media_type == TEXT and (done := _command(sender, piece, head.body_offset)):
        return done if isinstance(done, Refusal) else None
    if not room.history.keeps(head.media_type):
        return _distribute(room, sender, piece, render)

    def keep(octets: bytes) -> None:
        at = room.now()
        headers = tuple(each for each in head.content_headers if each[0].lower() != "content-type")
        when = head.date_time or date_time(at).isoformat().replace("+00:00", "Z")
        content = octets[head.body_offset :]
        said = Said(sender.speaker, at, when, head.content_type, headers, content)
        room.history.add(said)

    return _distribute(room, sender, piece, render, keep)


def _begin_text(
    room: Room, sender: Participant, piece: Piece, content_type: str, media_type: str
) -> MessageSink | Refusal | None:
    if not sender.speaks_text:
        return Refusal(415, "wrap it in message/cpim, as your session description promised")
    if media_type != TEXT:
        return Refusal(415, "only text/plain can be said without message/cpim")
    if not accepts(room.settings.types, TEXT):
        return Refusal(415, f"only {' '.join(room.settings.types)} can be said here")
    if len(content_type) > MAX_CONTENT_TYPE or not (
        content_type.isascii() and content_type.isprintable()
    ):
        return Refusal(400, f"Content-Type must be {MAX_CONTENT_TYPE} printable octets at most")
    if done := _command(sender, piece, 0):
        return done if isinstance(done, Refusal) else None
    at = room.now()
    render = render_text(content_type, sender.speaker, room.uri, at)
    if not room.history.keeps(TEXT):
        return _distribute(room, sender, piece, render)

    def keep(octets: bytes) -> None:
        when = date_time(at).isoformat().replace("+00:00", "Z")
        room.history.add(Said(sender.speaker, at, when, content_type, (), octets))

    return _distribute(room, sender, piece, render, keep)


def _command(sender: Participant, piece: Piece, offset: int) -> Refusal | bool:
    """Whether a message tells the room to do something, which is done then."""
    if not piece.data.startswith(b"/", offset) or piece.flag is not Continuation.COMPLETE:
        return False
    run = sender.room.run_command
    return run is not None and run(sender, piece.data[offset:])


def _distribute(
    room: Room,
    sender: Participant,
    piece: Piece,
    render: Renderer,
    keep: Callable[[bytes], None] | None = None,
) -> MessageSink | None:
    """Send a regular message to everybody else; `keep` is given the octets for the history."""
    room.messages += 1
    if piece.flag is Continuation.COMPLETE:
        deliver(room, room.audiences, render, piece.data, sender.session)
        if keep is not None and len(piece.data) <= MAX_KEPT:
            keep(piece.data)
        return None
    transfer = begin_transfer(room, room.audiences, render, piece, sender.session)
    return transfer if keep is None else Recorder(piece.data, transfer, keep)


def _begin_imdn(
    room: Room, sender: Participant, piece: Piece, head: CpimHead, render: Renderer
) -> MessageSink | Refusal | None:
    """Send a notification to who sent the message that it is about (RFC 5438 §7.2.1.1)."""
    if piece.flag is Continuation.MORE:
        if len(piece.data) > MAX_IMDN:
            return Refusal(413, f"a notification may have {MAX_IMDN} octets at most")
        return _Incomplete(room, sender, piece, _begin_cpim)
    try:
        message_id = notified_message(piece.data[head.body_offset :])
    except ValueError as error:
        return Refusal(400, str(error))
    user = room.originals.sender_of(message_id)
    recipients = room.devices_of(user) if user is not None else ()
    if not recipients:
        return Refusal(404, "who sent the message of this notification is not here")
    deliver(room, room.audiences_of(recipients), render, piece.data)
    return None


class _Incomplete:
    """A message whose first chunk did not hold all that is needed to route it: collects that.

    What is collected is bounded by who begins the message with it: by the limit of
    the CPIM headers, or of a notification.
    """

    __slots__ = ("_begin", "_begun", "_room", "_sender", "_transfer")

    def __init__(
        self,
        room: Room,
        sender: Participant,
        piece: Piece,
        begin: Callable[[Room, Participant, Piece], MessageSink | Refusal | None],
    ) -> None:
        self._room = room
        self._sender = sender
        self._begin = begin
        self._begun: Piece | None = piece
        self._transfer: MessageSink | None = None

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Add to what there is; route the message once that is enough."""
        begun = self._begun
        if begun is None:
            return None if self._transfer is None else self._transfer.piece_received(piece)
        if piece.flag is Continuation.ABORTED:
            return None
        data = begun.data + piece.data
        begun = Piece(begun.head, begun.message_id, begun.start, data, piece.total, piece.flag)
        result = self._begin(self._room, self._sender, begun)
        piece.report_body = begun.report_body
        if isinstance(result, Refusal):
            return result
        if isinstance(result, _Incomplete):
            self._begun = begun
        else:
            self._begun = None
            self._transfer = result
        return None

    def aborted(self) -> None:
        """Nobody has heard of this message unless it was routed."""
        if self._transfer is not None:
            self._transfer.aborted()
