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
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.msrp.frame import Head
from msrpconf.protocols.msrp.outgoing import OutgoingFrame
from msrpconf.protocols.msrp.reception import (
    IncomingMessages,
    MessageSink,
    Piece,
    Refusal,
    SendReception,
)

__all__ = [
    "FrameWriter",
    "Limits",
    "MessageSink",
    "Piece",
    "Refusal",
    "Session",
    "SessionHandler",
    "new_session_id",
]


@frozen
class Limits:
    """What one session may take up."""

    queue_octets: int = 1048576
    """Octets that may wait to be written."""
    queue_messages: int = 10000
    """Frames that may wait to be written."""
    message_octets: int = 104857600
    """Octets that one received message may have."""
    chunk_timeout: float = 540.0
    """Seconds after which a message whose next chunk does not come is given up (RFC 7701 §6.1)."""

    @property
    def mark(self) -> int:
        """Octets in the queue above which a session is congested (RFC 7701 §6.4)."""
        return self.queue_octets * 4 // 5

    @property
    def short(self) -> int:
        """Octets in the queue at which it is not congested any more."""
        return self.queue_octets // 8


class SessionHandler(Protocol):
    """The owner of a session."""

    def session_bound(self, session: Session) -> None:
        """The peer has been heard on a connection, which is the session's from now on."""

    def session_unbound(self, session: Session, reason: str) -> None:
        """The session's connection is gone; another one may come and take its place."""

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        """A message begins (RFC 4975 §7.3.1).

        The sink gets the other pieces, where there are more; None accepts the
        message and lets them pass.
        """

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        """A request other than SEND and REPORT; None answers 200."""

    def session_congested(self, session: Session) -> None:
        """The peer does not read as fast as we are to write: its queue is nearly full.

        From now on `Session.forward` takes nothing (RFC 7701 §6.4).
        """

    def session_eased(self, session: Session, missed: int) -> None:
        """The queue of a congested session is short again; `missed` frames were not taken."""

    def response_received(self, session: Session, head: Head) -> None:
        """The peer answered a SEND of ours."""

    def report_received(self, session: Session, head: Head) -> None:
        """The peer reports on a message of ours (RFC 4975 §7.3.2)."""


class FrameWriter(Protocol):
    """The connection, as far as a session needs it.

    `secure`: whether it is TLS. `certificate`: what the peer has presented there, in DER, None
    for nothing. `shared`: whether several sessions are, or were, served on it.
    """

    shared: bool

    @property
    def secure(self) -> bool: ...
    @property
    def certificate(self) -> bytes | None: ...

    def wake(self, session: Session) -> None:
        """The session has frames to write, and had none."""

    def respond(self, head: Head, status: int, comment: str = "") -> None:
        """Answer a request on this connection."""

    def refuse(self, head: Head, refusal: Refusal) -> None:
        """Answer a request that is not served, if its sender wants to know."""

    def report(self, head: Head, report: OutgoingFrame) -> None:
        """Send a REPORT to the sender of the SEND `head`."""

    def detach(self, session: Session) -> None:
        """The session is no longer served here."""

    @property
    def peer_is_idle(self) -> bool:
        """Whether the peer has acknowledged all that was sent, and takes no more."""

    def hold(self, holder: Hashable) -> None:
        """Read nothing from the peer until `holder` releases it."""

    def release(self, holder: Hashable) -> None:
        """`holder` has no more reason not to read from the peer."""


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
        self.clock = clock
        self.limits = limits or Limits()
        self.connection: FrameWriter | None = None
        self.suffix = b""
        """What tells this session's transactions from others' on a shared connection."""
        self.queued = 0
        """Octets that wait to be written, the paths not counted."""
        self.written = 0
        """Octets that were taken to be written, in all."""
        self.congested = False
        """Whether the queue was nearly full, and has not become short since."""
        self.missed = 0
        """Frames that were not taken since the session is congested."""
        self.watched = False
        """Whether `eased` is to be called once the queue is short."""
        self.closed = False
        self.keeps = False
        """Whether what is sent before there is a connection waits for it."""
        self.on_drained: Callable[[], None] | None = None
        self.admits: Callable[[FrameWriter], Refusal | None] | None = None
        """Asked about a connection on which the peer has been heard, before it is taken."""
        # Octets above which `forward` takes nothing more: nothing at all while there is
        # no connection, or while congested.
        self._mark = -1
        self._queue_messages = self.limits.queue_messages
        self._watchers: list[Callable[[Session], None]] = []
        self._queue: deque[OutgoingFrame] = deque()
        # What may be overtaken: the parts of long messages, but for their beginnings.
        self._bulk: deque[OutgoingFrame] = deque()
        self._incoming = IncomingMessages()
        self._remote_path = b""
        self.remote_path = remote_path

    @property
    def secure(self) -> bool:
        """Whether the connection must be TLS: our URI says so (RFC 4975 §5.4)."""
        return self.local_path.startswith(b"msrps:")

    @property
    def remote_path(self) -> bytes:
        """The peer's URIs, a blank between each two: the To-Path of what we send."""
        return self._remote_path

    @remote_path.setter
    def remote_path(self, path: bytes) -> None:
        known, self._remote_path = self._remote_path, path
        if not known and path and self.queued and self.connection is not None:
            self.connection.wake(self)
        self.paths = b"To-Path: %b\r\nFrom-Path: %b\r\n" % (path, self.local_path)

    # What goes out.

    def forward(self, frame: OutgoingFrame) -> bool:
        """Queue a frame for the peer; False where it cannot be: unbound or congested."""
        waiting = self.queued
        queued = waiting + frame.size
        if queued > self._mark or len(self._queue) >= self._queue_messages:
            return self._refuse()
        self.queued = queued
        if frame.bulk:
            self._bulk.append(frame)
        else:
            self._queue.append(frame)
        if not waiting and self.connection is not None and self._remote_path:
            self.connection.wake(self)
        return True

    def forward_all(self, frames: Sequence[OutgoingFrame], octets: int) -> bool:
        """Queue several frames, of so many octets together: all of them, or none as `forward`."""
        room = self._queue_messages - len(frames)
        if self.queued + octets > self._mark or len(self._queue) > room:
            return self._refuse()
        return all(map(self.forward_last, frames))

    def forward_more(self, frames: Sequence[OutgoingFrame], octets: int) -> bool:
        """The same with further chunks of a message, which are taken also while congested."""
        if self.queued + octets > self.limits.queue_octets:
            return False
        return all(map(self.forward_last, frames))

    def forward_last(self, frame: OutgoingFrame) -> bool:
        """Queue a frame even where the queue is full, as the small one that ends a message."""
        connection = self.connection
        if connection is None and not self.keeps:
            return False
        waiting = self.queued
        self.queued = waiting + frame.size
        (self._bulk if frame.bulk else self._queue).append(frame)
        if not waiting and connection is not None and self._remote_path:
            connection.wake(self)
        return True

    def keep(self) -> None:
        """Keep what is sent until there is a connection, as much as may wait on one."""
        if self.connection is None and not self.closed:
            self.keeps = True
            self._mark = self.limits.mark

    def withdraw(self, key: bytes) -> None:
        """Take out of the queue what waits there of the message with that key of `send_frame`."""
        for queue in (self._queue, self._bulk):
            kept = [frame for frame in queue if not frame.transaction.startswith(key)]
            queue.clear()
            queue += kept
        self.queued = sum(frame.size for queue in (self._queue, self._bulk) for frame in queue)

    def next_frame(self) -> OutgoingFrame:
        """Take the frame that is to be written next out of the queue, which is not empty."""
        frame = (self._queue or self._bulk).popleft()
        size = frame.size
        self.queued -= size
        self.written += size
        return frame

    # How full the queue is.

    def _refuse(self) -> bool:
        """Count a frame that is not taken; the first of them makes the session congested."""
        if self.congested:
            self.missed += 1
        elif (self.connection is not None or self.keeps) and self.queued > self.limits.short:
            self.congested = self.watched = True
            self.missed = 1
            self._mark = -1
            self.handler.session_congested(self)
        return False

    @property
    def peer_is_idle(self) -> bool:
        """Whether it is not the network that keeps the peer from what is queued for it."""
        return self.connection is None or self.connection.peer_is_idle

    def watch(self, watcher: Callable[[Session], None]) -> None:
        """Have `watcher` called once, when the queue is short or the connection is gone."""
        self._watchers.append(watcher)
        self.watched = True

    def unwatch(self, watcher: Callable[[Session], None]) -> None:
        """Call `watcher` no more."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def eased(self) -> None:
        """Some of the queue was written: tell who waits for that if it is short now."""
        if self.queued > self.limits.short:
            return
        self.watched = False
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(self)
        if self.congested:
            self._no_longer_congested()
            self.handler.session_eased(self, self.missed)

    def _no_longer_congested(self) -> None:
        self.congested = False
        if self.connection is not None or self.keeps:
            self._mark = self.limits.mark

    # What the connection tells.

    def bind(self, connection: FrameWriter) -> None:
        """Take `connection` as the one that this session lives on (RFC 4975 §5.4)."""
        self.connection = connection
        self.keeps = False
        if not self.congested:
            self._mark = self.limits.mark
        if self.queued and self._remote_path:
            connection.wake(self)
        self.handler.session_bound(self)

    def connection_lost(self, reason: str) -> None:
        """The connection is gone: what waited to be written goes with it."""
        self.connection = None
        self._clear_queue()
        self._incoming.abort_all()
        if not self.closed:
            self.handler.session_unbound(self, reason)

    def release(self) -> None:
        """Let go of the connection: the peer's path has changed, and another one will come."""
        connection, self.connection = self.connection, None
        self._clear_queue()
        self._incoming.abort_all()
        if connection is not None:
            connection.detach(self)

    def close(self) -> None:
        """End the session: nothing more is taken or sent, but for what is queued.

        It lets go of who owns it, who mostly holds it too: both are freed by who lets go of them.
        """
        self.closed = True
        self.keeps = False
        connection, self.connection = self.connection, None
        self._mark = -1
        self._incoming.abort_all()
        self._dismiss_watchers()
        if connection is not None:
            connection.detach(self)
        else:
            self._clear_queue()
        self.handler = _ENDED
        self.admits = self.on_drained = None

    def _clear_queue(self) -> None:
        self.keeps = False
        self._mark = -1
        self._queue.clear()
        self._bulk.clear()
        self.queued = 0
        self.congested = False
        self._dismiss_watchers()

    def _dismiss_watchers(self) -> None:
        self.watched = False
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher(self)

    # What comes in.

    def send_begun(self, connection: FrameWriter, head: Head) -> SendReception:
        """A SEND begins on `connection`; return what takes its body and its end."""
        return self._incoming.send_begun(self, connection, head)


class _Ended:
    """The handler of a session that has ended: there is nobody to tell."""

    def __str__(self) -> str:
        return "who has gone"

    def session_bound(self, session: Session) -> None: ...

    def session_unbound(self, session: Session, reason: str) -> None: ...

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        return Refusal(481, "this session has ended")

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        return Refusal(481, "this session has ended")

    def session_congested(self, session: Session) -> None: ...

    def session_eased(self, session: Session, missed: int) -> None: ...

    def response_received(self, session: Session, head: Head) -> None: ...

    def report_received(self, session: Session, head: Head) -> None: ...


_ENDED = _Ended()
