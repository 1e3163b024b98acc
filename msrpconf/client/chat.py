"""One room, as somebody in it sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.client.call import ACTIVE_PORT
from msrpconf.client.message import Message
from msrpconf.protocols.cpim import CpimAddress, CpimError, build_cpim_head
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.sending import MessageSender
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal, Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import MediaDescription
from msrpconf.protocols.sdp_msrp import msrp_media_line
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.headers import Reason
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

TEXT = "text/plain; charset=utf-8"

MAX_MESSAGE = 16777216
"""Octets of one message that a client keeps while it arrives."""

GOODBYE = 1.0
"""Seconds that the BYE may come after the end of the MSRP connection."""

OnMessage = Callable[[Message], None]
OnEnded = Callable[[str], None]


@frozen
class Listener:
    """Who is told of what happens in a room.

    `on_message` is called with each message that somebody else says, `on_notice`
    with what the room itself tells and what was said before one came. `on_ended` is
    called once if the room, or the way there, ends before `Chat.leave` is called;
    its text says why.
    """

    on_message: OnMessage | None = None
    on_notice: OnMessage | None = None
    on_ended: OnEnded | None = None


class Chat:
    """A room that one has joined: made by `UserAgent.join`.

    `room` and `user` are the URIs of both, `plain` whether messages go without
    message/cpim, `listener` is told of what happens.
    """

    log = Logger()

    def __init__(self, agent: UserAgent, room: str, listener: Listener) -> None:
        self.room = room
        self.user = agent.user
        self.plain = agent.plain
        self.listener = listener
        self.dialog: Dialog | None = None
        self.flow: Flow | None = None
        self.session: Session
        self.sender: MessageSender
        self.ended = False
        self._agent = agent
        self._goodbye: IDelayedCall | None = None

    def send(self, text: str) -> Deferred[None]:
        """Say something; done when the room has taken it. Fails with `SendError`."""
        return self.send_content(TEXT, text.encode("utf-8"))

    def send_content(self, content_type: str, body: bytes) -> Deferred[None]:
        """Send content of any type; done when the room has taken all. Fails with `SendError`."""
        if self.plain:
            return self.sender.send(content_type, body)
        head = build_cpim_head(
            CpimAddress(self.user, self._agent.display_name),
            CpimAddress(self.room),
            datetime.now(UTC),
            content_type,
        )
        return self.sender.send("message/cpim", head + body)

    def line(self, fingerprints: Sequence[Fingerprint]) -> MediaDescription:
        """The line of our offer (RFC 4975 §8, RFC 7701 §9.1)."""
        return msrp_media_line(
            [MsrpURI.parse(self.session.local_path.decode("ascii"))],
            accept_types=["text/plain"] if self.plain else ["message/cpim"],
            accept_wrapped_types=[] if self.plain else ["*"],
            setup="active",
            chatroom=None if self.plain else (),
            port=ACTIVE_PORT,
            fingerprints=fingerprints,
        )

    def answered(self, answer: Response) -> None:
        """There is nothing else that we must know."""

    def bind(self) -> Deferred[None]:
        """Begin on the connection; done once the room has taken it. Fails with `SendError`."""
        return self.sender.bind()

    def leave(self) -> Deferred[None]:
        """Say goodbye; done when the room has answered, or will not."""
        if self.ended or self.dialog is None:
            self.end()
            return succeed(None)
        self.end()
        self.dialog, bye = self.dialog.request("BYE")
        return self._agent.send_in_dialog(bye, self.flow).addCallback(lambda _: None)

    # From SIP.

    def request_received(self, transaction: ServerTransaction) -> None:
        """Answer a request in this room's dialog."""
        request = transaction.request
        if request.method == "BYE":
            # First: who is told of the end may well stop the agent.
            transaction.answer(200)
            self._ended_by_peer(reason_of(request) or "the room said goodbye")
        elif request.method == "OPTIONS":
            transaction.answer(200)
        else:
            transaction.answer(405, headers=(("Allow", "BYE, OPTIONS, ACK"),))

    def _ended_by_peer(self, why: str) -> None:
        if not self.ended:
            self.end()
            if self.listener.on_ended is not None:
                self.listener.on_ended(why)

    def end(self) -> None:
        """Take nothing more from the room."""
        self.ended = True
        goodbye, self._goodbye = self._goodbye, None
        if goodbye is not None and goodbye.active():
            goodbye.cancel()
        self._agent.forget(self)
        self.sender.session_lost("you have left")
        self.session.close()

    # From MSRP.

    def connection_broke(self, reason: str) -> None:
        """The MSRP connection is gone."""
        self.sender.session_lost(reason)
        # A BYE that says why may be on its way: it is given a moment to come first.
        if not self.ended:
            self._goodbye = self._agent.clock.callLater(
                GOODBYE, self._ended_by_peer, f"MSRP broke: {reason}"
            )

    def message_received(self, content_type: str, body: bytes) -> None:
        """A message is here, whole."""
        try:
            message = Message.of(content_type, body, self.room)
            sender = visible(message.sender)
        except CpimError as error:
            self.log.info("a message cannot be read: {error}", error=error)
            return
        listener = self.listener
        tell = listener.on_notice if message.kind else listener.on_message
        if tell is not None and not self.ended:
            try:
                tell(message)
            except Exception:
                # A fault in what somebody makes of one message is no reason to leave the room.
                self.log.failure("a message of {sender} was not understood", sender=sender)


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


def reason_of(request: Request) -> str | None:
    """What the Reason of a BYE says, None where it has none."""
    value = request.headers.get("Reason")
    if value is None:
        return None
    try:
        return Reason.parse(value).text
    except SipSyntaxError:
        return value
