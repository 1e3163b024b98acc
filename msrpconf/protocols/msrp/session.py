"""An MSRP session (RFC 4975 §5, §7): one end of a conversation between two paths.

A `Session` knows its two paths, the connection that it is bound to (if any), the
frames that wait to be written, and the messages that are only partly here. What
a message means is its owner's business: the owner is a `SessionHandler`, which is
given each message piece by piece as it arrives, and says whether it takes it.

    octets -> connection -> session (by To-Path) -> handler
                                 handler -> session.forward(frame) -> connection -> octets

A session is found by the session id in To-Path and by nothing else: relays and
clients put many sessions on one connection (RFC 4976), and a client's address
says nothing.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.outgoing import OutgoingFrame, report_frame

PIECE = 16384
"""Octets of a chunk that are collected before they are handed on."""

MAX_MESSAGES = 16
"""Messages that one session may have begun and not ended."""

HEARTBEAT = b"text/x-msrp-heartbeat"
"""What some clients send to keep a connection open: answered, and shown to nobody."""


@frozen
class Refusal:
    """Why a request is not served: an MSRP status and a comment a person can act on."""

    status: int
    comment: str


@frozen
class Limits:
    """What one session may take up."""

    queue_octets: int = 1048576
    """Octets that may wait to be written."""
    message_octets: int = 104857600
    """Octets that one received message may have."""
    chunk_timeout: float = 540.0
    """Seconds after which a message whose next chunk does not come is given up (RFC 7701 §6.1)."""


class Piece:
    """Some octets of a message, in the order and as they arrived.

    `start` is the position of the first octet in the message, from 1; `flag` is
    `Continuation.MORE` where more of the message is to come. `head` is the head
    of the frame that they came in.
    """

    __slots__ = ("data", "flag", "head", "message_id", "start", "total")

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


class MessageSink(Protocol):
    """Who takes the rest of a message after its first piece."""

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Take a further piece; a refusal ends the message. The last has no MORE flag."""

    def aborted(self) -> None:
        """The rest will not come: the sender is gone, took too long, or sent too much."""


class SessionHandler(Protocol):
    """The owner of a session."""

    def session_bound(self, session: Session) -> None:
        """The peer has been heard on a connection, which is the session's from now on."""

    def session_unbound(self, session: Session, reason: str) -> None:
        """The session's connection is gone; another one may come and take its place."""

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        """A message begins (RFC 4975 §7.3.1).

        None accepts a message of one piece; one of several needs a sink.
        """

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        """A request other than SEND and REPORT; None answers 200."""

    def response_received(self, session: Session, head: Head) -> None:
        """The peer answered a SEND of ours."""

    def report_received(self, session: Session, head: Head) -> None:
        """The peer reports on a message of ours (RFC 4975 §7.3.2)."""


class FrameWriter(Protocol):
    """The connection, as far as a session needs it."""

    def wake(self, session: Session) -> None:
        """The session has frames to write."""

    def respond(self, head: Head, status: int, comment: str = "") -> None:
        """Answer a request on this connection."""

    def detach(self, session: Session) -> None:
        """The session is no longer served here."""


def new_session_id() -> str:
    """A session id that nobody can guess (RFC 4975 §14.1): 120 bits, in letters and digits."""
    return secrets.token_hex(15)


class Session:
    """One session: `local_path` is our URI, `remote_path` the peer's one or more, as octets.

    `clock` times messages that never complete; `limits` bound what the peer can
    make us hold.
    """

    def __init__(
        self,
        local_path: bytes,
        remote_path: bytes,
        handler: SessionHandler,
        clock: IReactorTime,
        limits: Limits | None = None,
    ) -> None:
        self.local_path = local_path
        self.handler = handler
        self.connection: FrameWriter | None = None
        self.queue: deque[OutgoingFrame] = deque()
        self.queued = 0
        self.closed = False
        self.on_drained: Callable[[], None] | None = None
        self._clock = clock
        self._limits = limits or Limits()
        self._receiving: dict[bytes, _Reception] = {}
        self.remote_path = remote_path

    @property
    def remote_path(self) -> bytes:
        """The peer's URIs, a blank between each two: the To-Path of what we send."""
        return self._remote_path

    @remote_path.setter
    def remote_path(self, path: bytes) -> None:
        self._remote_path = path
        self.paths = b"To-Path: %b\r\nFrom-Path: %b\r\n" % (path, self.local_path)

    # What goes out.

    def forward(self, frame: OutgoingFrame) -> bool:
        """Queue a frame for the peer; False where it cannot be: unbound, or the queue is full."""
        connection = self.connection
        queued = self.queued + frame.size
        if connection is None or queued > self._limits.queue_octets:
            return False
        self.queued = queued
        if not self.queue:
            connection.wake(self)
        self.queue.append(frame)
        return True

    def forward_last(self, frame: OutgoingFrame) -> None:
        """Queue the small frame that ends a message, even where the queue is full."""
        if self.connection is not None:
            self.queued += frame.size
            if not self.queue:
                self.connection.wake(self)
            self.queue.append(frame)

    # What the connection tells.

    def bind(self, connection: FrameWriter) -> None:
        """Take `connection` as the one that this session lives on (RFC 4975 §5.4)."""
        self.connection = connection
        self.handler.session_bound(self)

    def connection_lost(self, reason: str) -> None:
        """The connection is gone: what waited to be written goes with it."""
        self.connection = None
        self.queue.clear()
        self.queued = 0
        self._abort_all()
        if not self.closed:
            self.handler.session_unbound(self, reason)

    def release(self) -> None:
        """Let go of the connection: the peer's path has changed, and another one will come."""
        self._abort_all()
        connection, self.connection = self.connection, None
        self.queue.clear()
        self.queued = 0
        if connection is not None:
            connection.detach(self)

    def close(self) -> None:
        """End the session: nothing more is taken or sent."""
        self.closed = True
        self._abort_all()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.detach(self)

    def _abort_all(self) -> None:
        receptions = list(self._receiving.values())
        self._receiving.clear()
        for reception in receptions:
            reception.abort()

    # What comes in.

    def send_begun(self, head: Head) -> SendReception | Refusal:
        """A SEND begins; return what takes its body and its end, or why it is not taken."""
        if not head.content_type:
            return SendReception(self, head, None, 1)
        try:
            chunk = head.byte_range
        except MsrpSyntaxError as error:
            return Refusal(400, str(error))
        message_id = head.message_id
        if not message_id or len(message_id) > 128:
            return Refusal(400, "a SEND with a body needs a Message-ID of at most 128 octets")
        reception = self._receiving.get(message_id)
        if reception is None:
            if chunk.start != 1:
                return Refusal(400, "this message's first chunk has not come: send it from 1")
            if len(self._receiving) >= MAX_MESSAGES:
                return Refusal(413, f"at most {MAX_MESSAGES} messages at once: end one first")
            reception = _Reception(self, message_id)
        if chunk.total is not None and chunk.total > self._limits.message_octets:
            reception.refuse(self._too_large())
        if reception.refusal is not None:
            return reception.refusal
        reception.total = chunk.total
        return SendReception(self, head, reception, chunk.start)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"a message may have {self._limits.message_octets} octets at most")


class _Reception:
    """A message of which something is here: what became of it so far."""

    __slots__ = ("message_id", "received", "refusal", "session", "sink", "timer", "total")

    def __init__(self, session: Session, message_id: bytes) -> None:
        self.session = session
        self.message_id = message_id
        self.received = 0
        self.total: int | None = None
        self.sink: MessageSink | None = None
        self.refusal: Refusal | None = None
        self.timer: IDelayedCall | None = None

    def take(self, piece: Piece) -> Refusal | None:
        """Hand a piece on; return the refusal where it, or the message, is not taken."""
        session = self.session
        self.received += len(piece.data)
        if self.received > session._limits.message_octets:
            return self.refuse(session._too_large())
        if self.sink is not None:
            refusal = self.sink.piece_received(piece)
        else:
            result = session.handler.message_begun(session, piece)
            refusal = result if isinstance(result, Refusal) else None
            if not isinstance(result, Refusal):
                self.sink = result
        if refusal is not None:
            self.sink = None
            return self.refuse(refusal)
        if piece.flag is Continuation.MORE:
            self._expect_more()
        else:
            self.forget()
        return None

    def refuse(self, refusal: Refusal) -> Refusal:
        """Take no more of this message: its other chunks get the same answer (RFC 4975 §10.5)."""
        self.refusal = refusal
        sink, self.sink = self.sink, None
        self._expect_more()
        if sink is not None:
            sink.aborted()
        return refusal

    def abort(self) -> None:
        """The rest will not come."""
        self.forget()
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.aborted()

    def forget(self) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None
        self.session._receiving.pop(self.message_id, None)

    def _expect_more(self) -> None:
        session = self.session
        if session.closed or session.connection is None:
            return
        session._receiving[self.message_id] = self
        if self.timer is None:
            self.timer = session._clock.callLater(session._limits.chunk_timeout, self.abort)
        else:
            self.timer.reset(session._limits.chunk_timeout)


class SendReception:
    """One SEND frame under way: takes its body as it comes, and answers at its end."""

    __slots__ = ("_collected", "_position", "_reception", "_session", "_waiting", "head", "refusal")

    def __init__(
        self, session: Session, head: Head, reception: _Reception | None, start: int
    ) -> None:
        self.head = head
        self.refusal: Refusal | None = None
        self._session = session
        self._reception = reception
        self._position = start
        self._collected: list[bytes] = []
        self._waiting = 0

    def data_received(self, data: bytes) -> None:
        """Take some octets of the body."""
        if self.refusal is not None or self._reception is None:
            return
        self._collected.append(data)
        self._waiting += len(data)
        if self._waiting >= PIECE:
            self._hand_on(Continuation.MORE)

    def ended(self, flag: Continuation) -> None:
        """The frame's end-line came: hand on what is left, then answer."""
        reception = self._reception
        if self.refusal is None and reception is not None and not self._ignored():
            self._hand_on(flag)
        if self.refusal is not None:
            if flag is not Continuation.MORE and reception is not None:
                reception.forget()
            return
        connection = self._session.connection
        head = self.head
        if connection is None:
            return  # the handler closed the session meanwhile
        if head.failure_report == b"yes":
            connection.respond(head, 200)
        if head.success_report and flag is Continuation.COMPLETE and reception is not None:
            total = self._position - 1
            self._session.forward(report_frame(head.message_id, 1, total, total, 200, b"OK"))

    def _ignored(self) -> bool:
        return self.head.content_type.startswith(HEARTBEAT)

    def _hand_on(self, flag: Continuation) -> None:
        reception = self._reception
        assert reception is not None
        collected = self._collected
        data = collected[0] if len(collected) == 1 else b"".join(collected)
        start = self._position
        self._position += len(data)
        self._collected = []
        self._waiting = 0
        refusal = reception.take(
            Piece(self.head, reception.message_id, start, data, reception.total, flag)
        )
        if refusal is None:
            return
        # Said at once and not at the frame's end: the sender of a large message
        # shall stop here (RFC 4975 §7.3.2).
        self.refusal = refusal
        connection = self._session.connection
        if connection is not None and self.head.failure_report != b"no":
            connection.respond(self.head, refusal.status, refusal.comment)
