"""Messages on their way in (RFC 4975 §7.3.1): from the bodies of SENDs to pieces for the owner.

A message comes in one SEND or in several chunks, and the chunks of several
messages may be mixed. What is here of a message is an `IncomingMessage`; a SEND
whose body is arriving is a `SendReception`. The owner of the session gets a
message's octets as soon as they are here, in their order and each of them once:
a chunk that overtook another waits for it, and what comes twice is passed over
the second time.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.frame import ByteRange, Continuation, Head
from msrpconf.protocols.msrp.outgoing import report_frame

if TYPE_CHECKING:
    from msrpconf.protocols.msrp.session import FrameWriter, Session

PIECE = 16384
"""Octets of a chunk that are collected before they are handed on."""

MAX_MESSAGES = 16
"""Messages that one session may have begun and not ended."""

MAX_MESSAGE_ID = 128
"""Octets of a Message-ID."""

MAX_HELD = 16
"""Pieces that one session may have waiting for those before them."""

MAX_ENDED = 32
"""Messages of several chunks that a session remembers after their end."""

HEARTBEAT = b"text/x-msrp-heartbeat"
"""What some clients send to keep a connection open: answered, and shown to nobody."""


@frozen
class Refusal:
    """Why a request is not served: an MSRP status and a comment a person can act on."""

    status: int
    comment: str


class Piece:
    """Some octets of a message.

    `start` is the position of the first octet in the message, from 1: one more
    than that of the last octet of the piece before. `total` is the octets of the
    whole message, None where the sender has not told. `flag` is
    `Continuation.MORE` where more of the message is to come. `head` is the head
    of the frame that they came in. Who takes a piece may set `report_body`,
    the message/cpim body of a success report (RFC 7701 §6.2).
    """

    __slots__ = ("data", "flag", "head", "message_id", "report_body", "start", "total")

    def __init__(
        self,
        head: Head,
        message_id: bytes,
        start: int,
        data: bytes,
        total: int | None,
        flag: Continuation,
    ) -> None:
        self.head = head
        self.message_id = message_id
        self.start = start
        self.data = data
        self.total = total
        self.flag = flag
        self.report_body = b""


class MessageSink(Protocol):
    """Who takes the rest of a message after its first piece."""

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Take a further piece; a refusal ends the message. The last has no MORE flag."""

    def aborted(self) -> None:
        """The rest will not come: the sender is gone, took too long, or sent too much."""


class IncomingMessages:
    """The messages of one session that have begun and not ended.

    It does not know the session but for the messages of it: who has ended is freed at once, without
    the garbage collector.
    """

    def __init__(self) -> None:
        self.held = 0
        self._messages: dict[bytes, IncomingMessage] = {}
        # The last messages that came in several chunks, should one of these come again.
        self._ended: OrderedDict[bytes, Refusal | None] | None = None

    def send_begun(self, session: Session, connection: FrameWriter, head: Head) -> SendReception:
        """A SEND of the session begins; return what takes its body and its end.

        Where it is not served, that is said to `connection` at once.
        """
        message_id = head.message_id
        message = self._messages.get(message_id)
        if message is None and _says_nothing(head):
            return SendReception(session, connection, head)
        try:
            chunk = head.byte_range
        except MsrpSyntaxError as error:
            return SendReception(session, connection, head).refuse(Refusal(400, str(error)))
        if message is None:
            if chunk.start > 1 and self._ended is not None and message_id in self._ended:
                # A late chunk of what is already here, or was given up.
                late = SendReception(session, connection, head)
                why = self._ended[message_id]
                return late if why is None else late.refuse(why)
            refusal = self._may_begin(session, message_id, chunk)
            if refusal is not None:
                return SendReception(session, connection, head).refuse(refusal)
            message = self._messages[message_id] = IncomingMessage(self, session, message_id)
        message.chunks += 1
        message.announce(chunk.total)
        reception = SendReception(session, connection, head, message, chunk.start)
        return reception if message.refusal is None else reception.refuse(message.refusal)

    def _may_begin(self, session: Session, message_id: bytes, chunk: ByteRange) -> Refusal | None:
        if not 1 <= len(message_id) <= MAX_MESSAGE_ID:
            return Refusal(400, f"a message needs a Message-ID of at most {MAX_MESSAGE_ID} octets")
        if chunk.total is not None and chunk.total > session.limits.message_octets:
            return _too_large(session)
        if len(self._messages) >= MAX_MESSAGES and not self._forget_refused():
            return Refusal(413, f"at most {MAX_MESSAGES} messages at once: end one first")
        return None

    def _forget_refused(self) -> bool:
        """Make room: a refused message is kept only to refuse what else comes of it."""
        for message in self._messages.values():
            if message.refusal is not None:
                message.end()
                return True
        return False

    def remove(self, message: IncomingMessage) -> None:
        """`message` has ended."""
        if self._messages.get(message.message_id) is message:
            del self._messages[message.message_id]
            if message.chunks > 1 or not message.complete:
                if self._ended is None:
                    self._ended = OrderedDict()
                self._ended[message.message_id] = message.refusal
                if len(self._ended) > MAX_ENDED:
                    self._ended.popitem(last=False)

    def abort_all(self) -> None:
        """Nothing more comes of any message."""
        for message in list(self._messages.values()):
            message.abort()


def _too_large(session: Session) -> Refusal:
    """The answer to a message that passes the session's limit."""
    return Refusal(413, f"a message may have {session.limits.message_octets} octets at most")


def _says_nothing(head: Head) -> bool:
    content_type = head.content_type
    return not content_type or content_type.lower().startswith(HEARTBEAT)


class IncomingMessage:
    """A message of which something is here: what became of it so far."""

    __slots__ = (
        "_begun",
        "_held",
        "_messages",
        "_next",
        "_received",
        "_session",
        "_sink",
        "_timer",
        "_total",
        "chunks",
        "complete",
        "ended",
        "message_id",
        "refusal",
        "report_body",
    )

    def __init__(self, messages: IncomingMessages, session: Session, message_id: bytes) -> None:
        self.message_id = message_id
        self.chunks = 0
        """SENDs that it came in so far."""
        self.refusal: Refusal | None = None
        self.ended = False
        """Nothing more is taken."""
        self.complete = False
        """All of it was accepted."""
        self.report_body = b""
        self._messages = messages
        self._session = session
        self._begun = False
        self._next = 1
        self._received = 0
        self._total: int | None = None
        self._sink: MessageSink | None = None
        self._held: list[Piece] = []
        self._timer: IDelayedCall | None = None

    @property
    def octets(self) -> int:
        """Octets that were handed on."""
        return self._next - 1

    def announce(self, total: int | None) -> None:
        """A chunk tells how large the message is."""
        if total is None:
            return
        if total <= self._session.limits.message_octets:
            self._total = total
        elif self.refusal is None:
            self.refuse(_too_large(self._session))

    def take(self, piece: Piece) -> Refusal | None:
        """Take a piece; return the refusal where it, or the message, is not taken."""
        if self.ended or self.refusal is not None:
            return self.refusal
        length = len(piece.data)
        self._received += length
        # What comes twice counts twice; a gap counts as if it were filled.
        octets = max(self._received, piece.start - 1 + length)
        if octets > self._session.limits.message_octets:
            return self.refuse(_too_large(self._session))
        if piece.flag is Continuation.ABORTED and piece.start > self._next:
            piece.start, piece.data = self._next, b""
        if piece.start > self._next:
            return self._hold(piece)
        self._hand_on(piece)
        while self._held and self._held[0].start <= self._next and not self.ended:
            self._messages.held -= 1
            self._hand_on(self._held.pop(0))
        if not self.ended:
            self._expect_more()
        return self.refusal

    def _hold(self, piece: Piece) -> Refusal | None:
        """Keep a piece until those before it have come."""
        if piece.data or piece.flag is not Continuation.MORE:
            if self._messages.held >= MAX_HELD:
                return self.refuse(Refusal(413, "too many chunks out of order: send them in order"))
            self._messages.held += 1
            insort(self._held, piece, key=lambda each: each.start)
        self._expect_more()
        return None

    def _hand_on(self, piece: Piece) -> None:
        """Hand on what is new in a piece that continues the ones before it."""
        surplus = self._next - piece.start
        if surplus:
            piece.data = piece.data[surplus:]
            piece.start = self._next
        last = piece.flag is not Continuation.MORE
        if not piece.data and not last:
            return
        self._next += len(piece.data)
        if self._total is not None and self._next - 1 > self._total:
            self._total = None  # it was not true
        piece.total = self._total
        if last:
            self.complete = piece.flag is Continuation.COMPLETE
            self.end()
        refusal = self._give(piece)
        # A head over several pieces tells with the last of them what message it is.
        self.report_body = piece.report_body or self.report_body
        if refusal is not None:
            self.complete = False
            self._sink = None
            self.refuse(refusal)

    def _give(self, piece: Piece) -> Refusal | None:
        if self._begun:
            return None if self._sink is None else self._sink.piece_received(piece)
        self._begun = True
        session = self._session
        result = session.handler.message_begun(session, piece)
        if isinstance(result, Refusal):
            return result
        if piece.flag is Continuation.MORE and result is not None:
            if self.ended:
                result.aborted()  # the handler closed its session
            else:
                self._sink = result
        return None

    def refuse(self, refusal: Refusal) -> Refusal:
        """Take no more of this message: its other chunks get the same answer (RFC 4975 §10.5)."""
        self.refusal = refusal
        self._drop_held()
        if not self.ended:
            self._expect_more()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.aborted()
        return refusal

    def abort(self) -> None:
        """The rest will not come."""
        self.end()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.aborted()

    def end(self) -> None:
        """Forget this message."""
        self.ended = True
        self._drop_held()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._messages.remove(self)

    def _drop_held(self) -> None:
        self._messages.held -= len(self._held)
        self._held.clear()

    def _expect_more(self) -> None:
        """Start anew the time in which more must come (RFC 7701 §6.1)."""
        session = self._session
        seconds = session.limits.chunk_timeout
        if self._timer is None:
            self._timer = session.clock.callLater(seconds, self._timed_out)
        else:
            self._timer.reset(seconds)

    def _timed_out(self) -> None:
        self._timer = None
        if self.refusal is None:
            # For the rest of a chunk that is under way, should it come after all.
            self.refusal = Refusal(413, "this message was given up: its octets came too slowly")
        self.abort()


class SendReception:
    """One SEND under way: takes its body as it comes, and answers at its end.

    `message` is None for a SEND that carries no message, and `start` where in the
    message the body's first octet belongs.
    """

    __slots__ = (
        "_collected",
        "_connection",
        "_message",
        "_position",
        "_refused",
        "_session",
        "_waiting",
        "head",
    )

    def __init__(
        self,
        session: Session,
        connection: FrameWriter,
        head: Head,
        message: IncomingMessage | None = None,
        start: int = 1,
    ) -> None:
        self.head = head
        self._session = session
        self._connection = connection
        self._message = message
        self._position = start
        self._collected: list[bytes] = []
        self._waiting = 0
        self._refused = False

    def refuse(self, refusal: Refusal) -> SendReception:
        """Answer `refusal`, once, and take nothing more of the body.

        Said at once and not at the frame's end: the sender of a large message
        shall stop here (RFC 4975 §7.3.2).
        """
        self._refused = True
        self._collected.clear()
        if self._served_here():
            self._connection.refuse(self.head, refusal)
        return self

    def data_received(self, data: bytes) -> None:
        """Take some octets of the body."""
        if self._refused:
            return
        if self._message is None:
            if not self.head.content_type:
                self.refuse(Refusal(400, "a SEND with a body needs a Content-Type"))
            return
        # What there is goes on only as more comes: the last piece is then not empty.
        if self._waiting >= PIECE and not self._hand_on(self._message, Continuation.MORE):
            return
        self._collected.append(data)
        self._waiting += len(data)

    def ended(self, flag: Continuation) -> None:
        """The frame's end-line came: hand on what is left, then answer."""
        message = self._message
        taken = not self._refused
        if taken and message is not None:
            taken = self._hand_on(message, flag)
        if not taken and message is not None and flag is not Continuation.MORE:
            message.end()
        if not taken or not self._served_here():
            return
        head = self.head
        if head.failure_report == b"yes":
            self._connection.respond(head, 200)
        if message is not None and message.complete and head.success_report:
            octets = message.octets
            report = report_frame(
                head.message_id, 1, octets, octets, 200, b"OK", message.report_body
            )
            self._connection.report(head, report)

    def _served_here(self) -> bool:
        """False once the handler closed the session, or it went to another connection."""
        return self._session.connection is self._connection

    def _hand_on(self, message: IncomingMessage, flag: Continuation) -> bool:
        """Hand on what is collected; return whether it was taken."""
        collected = self._collected
        data = collected[0] if len(collected) == 1 else b"".join(collected)
        piece = Piece(self.head, message.message_id, self._position, data, None, flag)
        self._position += len(data)
        self._collected = []
        self._waiting = 0
        refusal = message.take(piece)
        if refusal is None:
            return True
        self.refuse(refusal)
        return False
