"""A room that calls again: an INVITE in the dialog of a chat (RFC 3261 §14.2).

    room --INVITE, another path--> us       the room is on another server now
    room <--200------------------- us       until its ACK
         <==MSRP, to there======== us       the connection to the old one is left

With the path that there is, it only refreshes the session.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from msrpconf.protocols.msrp.connecting import MsrpConnectError
from msrpconf.protocols.msrp.connection import MsrpConnection
from msrpconf.protocols.msrp.sending import SendError
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Origin, SdpError, SessionDescription, answer
from msrpconf.protocols.sdp_msrp import MsrpMedia, msrp_media
from msrpconf.protocols.sip.message import Request
from msrpconf.protocols.sip.repeating import Repeater
from msrpconf.protocols.sip.timers import AlarmClock, Timers
from msrpconf.protocols.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent
    from msrpconf.client.call import Leg
    from msrpconf.client.chat import Chat

QUIET = 0.05
"""Seconds without a word on the old connection, after which all that was sent there is here."""

MAX_QUIET = 100
"""How often that is waited for."""


class Followers:
    """Has the chats of a user agent follow their rooms to other servers."""

    def __init__(self, agent: UserAgent) -> None:
        self._agent = agent
        self._alarms = AlarmClock(agent.clock)
        self._repeater = Repeater(self._alarms, Timers())
        self._versions: dict[Leg, int] = {}
        self._following: dict[Leg, Deferred[None]] = {}

    def acknowledged(self, ack: Request) -> None:
        """An ACK has come."""
        self._repeater.acknowledged(ack)

    def forget(self, leg: Leg) -> None:
        """A chat has ended, or another dialog with a room."""
        self._versions.pop(leg, None)
        following = self._following.pop(leg, None)
        if following is not None:
            following.cancel()
        dialog = leg.dialog
        if dialog is not None:
            self._repeater.ended((dialog.call_id, dialog.local_tag, dialog.remote_tag or ""))

    def stop(self) -> None:
        """Say nothing more."""
        self._repeater.stop()
        self._alarms.stop()

    def invited(self, chat: Chat, transaction: ServerTransaction) -> None:
        """Answer an INVITE in the dialog of a chat, and follow it."""
        request = transaction.request
        assert chat.dialog is not None
        try:
            media, body = self._answer(chat, request)
        except SdpError as error:
            transaction.answer(488, str(error))
            return
        headers = [("Contact", chat.contact), ("Content-Type", "application/sdp")]
        response = request.response(200, headers=headers, body=body, to_tag=transaction.tag)
        chat.dialog = chat.dialog.refresh_target(request)
        transaction.respond(response)
        self._repeater.repeat(transaction, response)
        path = " ".join(media.path).encode("ascii")
        if path != chat.session.remote_path:
            before = self._following.pop(chat, None)
            if before is not None:
                before.cancel()
            chat.called_again()
            following = self._following[chat] = self._follow(chat, media, path)
            following.addErrback(self._lost, chat)

    def _answer(self, chat: Chat, request: Request) -> tuple[MsrpMedia, bytes]:
        """The line of the room's offer that we take, and our answer to it."""
        offered = SessionDescription.parse(request.body)
        found = [each for each in msrp_media(offered) if each.secure == chat.session.secure]
        media = next(iter(found), None)
        if media is None:
            raise SdpError("No MSRP line as this session has it")
        if media.setup == "active":
            raise SdpError("a=setup: this client connects, and does not listen")
        self._versions[chat] = version = self._versions.get(chat, 1) + 1
        line = chat.line(self._agent.fingerprints if media.secure else ())
        own = MsrpURI.parse(chat.session.local_path.decode("ascii"))
        origin = Origin.of(own.host, 1, version)
        return media, bytes(answer(offered, media.index, line, origin=origin))

    @inlineCallbacks
    def _follow(
        self, chat: Chat, media: MsrpMedia, path: bytes
    ) -> Generator[Deferred[Any], Any, None]:
        """Connect to where the room is now, and leave the old connection."""
        connection: MsrpConnection = yield self._agent.connector.connect(media.destination)
        session = chat.session
        if session.connection is not None:
            yield self._hear_out(session)
        if session.connection is None:
            chat.sender.session_lost("the room has moved to another server")
        else:
            # Who lives and has not answered has not taken it either.
            chat.sender.take_back()
        session.release()
        session.remote_path = path
        connection.attach(session)
        yield chat.bind()
        del self._following[chat]
        chat.followed()

    @inlineCallbacks
    def _hear_out(self, session: Session) -> Generator[Deferred[Any], Any, None]:
        """Wait until nothing more comes from the old server."""
        old = session.connection
        for _ in range(MAX_QUIET):
            if not isinstance(old, MsrpConnection):
                return
            old.heard = False
            yield deferLater(self._agent.reactor, QUIET)
            if not old.heard or session.connection is not old:
                return

    def _lost(self, failure: Failure, chat: Chat) -> None:
        if failure.check(CancelledError) is not None:
            return  # the chat has ended, or is called once more
        failure.trap(MsrpConnectError, SendError)
        self._following.pop(chat, None)
        chat.lost(f"the room has moved, and cannot be reached there: {failure.getErrorMessage()}")
