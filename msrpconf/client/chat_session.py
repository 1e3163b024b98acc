"""The MSRP session of a chat: what arrives on it, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal, Session

if TYPE_CHECKING:
    from msrpconf.client.chat import Chat

MAX_MESSAGE = 16777216
"""Octets of one message that a client keeps while it arrives."""


class ChatSession:
    """What arrives on the MSRP session of a chat: puts messages together."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def session_bound(self, session: Session) -> None:
        """The connection is there; what was said before it was, was not ours."""

    def session_unbound(self, session: Session, reason: str) -> None:
        self._chat.connection_broke(reason)

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        assembly = _Assembly(self._chat, piece)
        refusal = assembly.piece_received(piece)
        if refusal is not None or piece.flag is not Continuation.MORE:
            return refusal
        return assembly

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        return Refusal(501, "only SEND and REPORT are understood")

    def response_received(self, session: Session, head: Head) -> None:
        self._chat.sender.response_received(head)

    def session_congested(self, session: Session) -> None:
        """What is sent in chunks waits for the queue by itself."""

    def session_eased(self, session: Session, missed: int) -> None:
        """Nothing was missed."""

    def report_received(self, session: Session, head: Head) -> None:
        """Nothing here asks for reports."""


class _Assembly:
    """A message that arrives in pieces."""

    def __init__(self, chat: Chat, first: Piece) -> None:
        self._chat = chat
        self._content_type = first.head.content_type.decode("utf-8", "replace")
        self._body = bytearray()

    def piece_received(self, piece: Piece) -> Refusal | None:
        begin = piece.start - 1
        if begin + len(piece.data) > MAX_MESSAGE or begin > len(self._body):
            return Refusal(413, f"at most {MAX_MESSAGE} octets, in order, are kept here")
        # What overlaps takes the place of what was there (RFC 4975 §7.3.1).
        self._body[begin : begin + len(piece.data)] = piece.data
        if piece.flag is Continuation.COMPLETE:
            self._chat.message_received(self._content_type, bytes(self._body))
        return None

    def aborted(self) -> None:
        """Half a message is none."""
