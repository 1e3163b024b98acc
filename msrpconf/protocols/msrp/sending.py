"""Sending whole messages and learning what became of them (RFC 4975 §7.1.1, §7.2).

This is an endpoint's side: a client's, or whoever wants an answer. A switch does
not use it, since its copies ask for errors only.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.outgoing import (
    OutgoingFrame,
    abort_frame,
    bodiless_send,
    new_message_id,
    nickname_frame,
    send_frame,
)
from msrpconf.protocols.msrp.session import Session

CHUNK = 16384
"""Octets of body in one frame."""

HIGH_WATER = 131072
"""Octets in the session's queue above which no more chunks are made."""

RESPONSE_TIMEOUT = 30.0
"""Seconds to wait for the response to a chunk (RFC 4975 §7.1.1)."""


class SendError(Exception):
    """A message was not taken: the MSRP `status` and the peer's `comment`.

    A status of 408 is a time-out of our own (RFC 4975 §10.4), 481 a session that
    ended before the answer came.
    """

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(f"{status} {comment}")
        self.status = status
        self.comment = comment


class MessageSender:
    """Sends messages over one session, large ones in chunks that take turns.

    `response_received` and `session_lost` must be called for the session's events.
    """

    def __init__(self, session: Session, clock: IReactorTime) -> None:
        self._session = session
        self._clock = clock
        self._waiting: dict[bytes, _Sending] = {}
        self._unfinished: deque[_Sending] = deque()
        session.on_drained = self._send_more

    def send(self, content_type: str, body: bytes) -> Deferred[None]:
        """Send a message; the Deferred is done when the peer has taken all of it.

        It fails with `SendError`. Cancelling it aborts what is not sent yet.
        """
        sending = _Sending(self, content_type.encode("utf-8"), body)
        self._unfinished.append(sending)
        self._send_more()
        return sending.done

    def bind(self) -> Deferred[None]:
        """Send the empty SEND that binds the session to its connection (RFC 4975 §5.4)."""
        sending = _Sending(self, b"", b"")
        self._forward(sending, bodiless_send(sending.message_id))
        sending.position = 1
        return sending.done

    def use_nickname(self, nickname: str) -> Deferred[None]:
        """Send NICKNAME (RFC 7701 §7.1); done when the peer has granted it.

        Fails with `SendError`. Raises ValueError for what can be no nickname.
        """
        frame = nickname_frame(nickname)
        sending = _Sending(self, b"", b"")
        if not self._forward(sending, frame):
            sending.fail(SendError(481, "the session has no connection"))
        return sending.done

    def response_received(self, head: Head) -> None:
        """The peer answered a request."""
        sending = self._waiting.pop(head.transaction, None)
        if sending is None:
            return
        if head.status == 200:
            sending.answered()
        else:
            sending.fail(SendError(head.status, head.comment.decode("utf-8", "replace")))

    def take_back(self) -> None:
        """Send what has no answer yet once more, on the next connection, from its beginning.

        For a peer that was heard to its end: what it has not answered it has not taken.
        """
        waiting = {id(each): each for each in self._waiting.values()}
        self._waiting.clear()
        left = [each for each in self._unfinished if id(each) not in waiting]
        self._unfinished.clear()
        for sending in (*waiting.values(), *left):
            if sending.content_type:
                sending.begin_again()
                self._unfinished.append(sending)
            else:
                sending.fail(SendError(481, "the session has gone to another connection"))

    def session_lost(self, reason: str) -> None:
        """The connection is gone: nothing will be answered any more."""
        lost = {id(each): each for each in (*self._waiting.values(), *self._unfinished)}
        self._waiting.clear()
        self._unfinished.clear()
        for sending in lost.values():
            sending.fail(SendError(481, f"the session ended before the answer came: {reason}"))

    def _send_more(self) -> None:
        """Queue a chunk of each message in turn, as long as the queue is short."""
        unfinished = self._unfinished
        while unfinished and self._session.queued < HIGH_WATER:
            sending = unfinished.popleft()
            if sending.done.called:
                continue
            start = sending.position
            data = sending.body[start : start + CHUNK]
            sending.position = start + len(data)
            flag = Continuation.MORE
            if sending.position >= len(sending.body):
                flag = Continuation.COMPLETE
            frame = send_frame(
                sending.message_id,
                sending.content_type,
                (data,),
                start + 1,
                len(sending.body),
                flag,
                failure_report=b"yes",
            )
            if not self._forward(sending, frame):
                sending.fail(SendError(481, "the session has no connection"))
            elif flag is Continuation.MORE:
                unfinished.append(sending)

    def _forward(self, sending: _Sending, frame: OutgoingFrame) -> bool:
        # Under the name that the frame will have on the wire: a client's session
        # has its connection for itself.
        self._waiting[frame.transaction] = sending
        sending.sent()
        if self._session.forward(frame):
            return True
        del self._waiting[frame.transaction]
        return False

    def _forget(self, sending: _Sending) -> None:
        for transaction in [key for key, value in self._waiting.items() if value is sending]:
            del self._waiting[transaction]

    def _abort(self, sending: _Sending) -> None:
        """Say that the rest of a message will not come (RFC 4975 §7.3.2)."""
        if 0 < sending.position < len(sending.body):
            frame = abort_frame(sending.message_id, sending.content_type, sending.position + 1)
            self._session.forward_last(frame)


class _Sending:
    """One message on its way: how much of it is queued, and how many answers are missing."""

    def __init__(self, sender: MessageSender, content_type: bytes, body: bytes) -> None:
        self.message_id = new_message_id()
        self.content_type = content_type
        self.body = body
        self.position = 0
        self.done: Deferred[None] = Deferred(self._cancelled)
        self._sender = sender
        self._outstanding = 0
        self._timer: IDelayedCall | None = None

    def sent(self) -> None:
        self._outstanding += 1
        if self._timer is None:
            self._timer = self._sender._clock.callLater(RESPONSE_TIMEOUT, self._timed_out)
        else:
            self._timer.reset(RESPONSE_TIMEOUT)

    def begin_again(self) -> None:
        self.position = self._outstanding = 0

    def answered(self) -> None:
        self._outstanding -= 1
        if self._outstanding or self.position < len(self.body) or self.done.called:
            return
        self._stop_timer()
        self.done.callback(None)

    def fail(self, error: SendError) -> None:
        self._stop_timer()
        self._sender._forget(self)
        if not self.done.called:
            self._sender._abort(self)
            self.done.errback(error)

    def _timed_out(self) -> None:
        self._timer = None
        self.fail(SendError(408, f"no answer within {RESPONSE_TIMEOUT:g} s"))

    def _cancelled(self, _: Deferred[None]) -> None:
        self._stop_timer()
        self._sender._forget(self)
        self._sender._abort(self)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
