"""One room, as somebody in it sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.client.call import ACTIVE_PORT, reason_of
from msrpconf.client.chat_watch import ChatWatch
from msrpconf.client.composing import ISCOMPOSING, Composer, Composing, Typists
from msrpconf.client.files import Progress, fetch_file, send_file
from msrpconf.client.message import Message, Person
from msrpconf.client.referring import Referrals
from msrpconf.client.roster import Roster
from msrpconf.client.watching import OnEvents, Watch
from msrpconf.protocols.cpim import CpimAddress, CpimError, build_cpim_head
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.sending import MessageSender, SendError
from msrpconf.protocols.msrp.session import Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.protocols.sdp_msrp import msrp_media, msrp_media_line
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Response
from msrpconf.protocols.sip.transaction import ServerTransaction
from msrpconf.protocols.sipfrag import Fragment
from msrpconf.protocols.xml import XmlError
from msrpconf.visible import visible

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

TEXT = "text/plain; charset=utf-8"

NICKNAME = "nickname"
PRIVATE_MESSAGES = "private-messages"

OnMessage = Callable[[Message], None]
OnTyping = Callable[[Person, bool], None]
OnEnded = Callable[[str], None]


@frozen
class Listener:
    """Who is told of what happens in a room.

    - `on_message`: each message that somebody else says; `Message.is_private` if it was said
      to one alone.
    - `on_notice`: what the room itself tells, and what was said before one came.
    - `on_file`: that there is a file, which `Message.file` says how to fetch; without it that
      goes to `on_notice`.
    - `on_typing`: who is typing from now on, or is not any more (RFC 3994).
    - `on_events`: who comes, goes, is invited, and what else happens, as the room tells those who
      watch it; with it, one does from when one is in: see `Chat.watch`.
    - `on_ended`: called once if the room, or the way there, ends before `Chat.leave` is called;
      its text says why.
    """

    on_message: OnMessage | None = None
    on_notice: OnMessage | None = None
    on_ended: OnEnded | None = None
    on_typing: OnTyping | None = None
    on_file: OnMessage | None = None
    on_events: OnEvents | None = None


class Chat:
    """A room that one has joined: made by `UserAgent.join`.

    `room` and `user` are the URIs of both, `plain` whether messages go without
    message/cpim, `listener` is told of what happens. `address` is the room's URI as it was
    given, with port and transport. `nickname` is the one that the room has
    granted, `features` what it says that it has: "nickname", "private-messages" (RFC 7701 §8).
    """

    log = Logger()

    def __init__(self, agent: UserAgent, room: str, listener: Listener) -> None:
        self.room = room
        self.user = agent.user
        self.plain = agent.plain
        self.listener = listener
        self.dialog: Dialog | None = None
        self.flow: Flow | None = None
        self.contact = ""
        self.via: Address | None = None
        self.address = room
        self.session: Session
        self.sender: MessageSender
        self.ended = False
        self.nickname: str | None = None
        self.features: frozenset[str] = frozenset()
        self._unwatched: Deferred[None] = succeed(None)
        self._watch = ChatWatch(agent, self)
        self._agent = agent
        self._goodbye: IDelayedCall | None = None
        self.is_following = False
        self._composer = Composer(agent.clock, self._send_composing)
        self._typists = Typists(agent.clock, self._typing)
        self._referrals = Referrals(self, agent.clock, agent.send_in_dialog)

    # To the room.

    def send(self, text: str) -> Deferred[None]:
        """Say something; done when the room has taken it. Fails with `SendError`."""
        self._composer.said()
        return self.send_content(TEXT, text.encode("utf-8"))

    def send_private(self, to: str, text: str) -> Deferred[None]:
        """Say something to the participant with the URI `to`, on all devices, and to nobody else.

        Done when the room has taken it (RFC 7701 §6.2). Fails with `SendError`.
        """
        self._composer.said()
        return self.send_content(TEXT, text.encode("utf-8"), to=to)

    def send_content(
        self, content_type: str, body: bytes, *, to: str | None = None
    ) -> Deferred[None]:
        """Send content of any type, to all or to one; done when the room has taken all.

        Fails with `SendError`.
        """
        if to is not None:
            if self.plain:
                return fail(SendError(415, "private messages need message/cpim: do not be plain"))
            if PRIVATE_MESSAGES not in self.features:
                return fail(SendError(403, "private messages are off in this room"))
            if ":" not in to.partition("@")[0]:
                to = f"sip:{to}"
        elif self.plain:
            return self.sender.send(content_type, body)
        try:
            head = build_cpim_head(
                CpimAddress(self.user, self.nickname or self._agent.display_name),
                CpimAddress(to or self.room),
                datetime.now(UTC),
                content_type,
            )
        except CpimError as error:
            return fail(SendError(400, str(error)))
        return self.sender.send("message/cpim", head + body)

    def use_nickname(self, name: str) -> Deferred[None]:
        """Be known by a nickname, or with an empty one by none; done when that is granted.

        Fails with `SendError`: 424 for what can be none, 425 where it is somebody else's or
        reserved, 403 where the room has none (RFC 7701 §7).
        """
        try:
            asking = self.sender.use_nickname(name)
        except ValueError as error:
            return fail(SendError(424, str(error)))

        def granted(_: None) -> None:
            self.nickname = name or None

        return asking.addCallback(granted)

    def typing(self) -> None:
        """Tell the others that one is typing, to be called at each key (RFC 3994).

        That one is not any more they learn by the message, or 15 seconds after the last call.
        """
        if not self.plain and not self.ended:
            self._composer.typed()

    def stop_typing(self) -> None:
        """Tell the others that what one was typing will not be sent."""
        self._composer.stopped()

    # Files.

    def send_file(
        self,
        path: Path,
        progress: Progress | None = None,
        *,
        name: str | None = None,
        media_type: str | None = None,
    ) -> Deferred[FileSelector]:
        """Give the room the file at `path` (RFC 5547); done when it has all of it.

        `progress` is called with octets passed and octets in all as they pass; `name` and
        `media_type` are what others are told. Gives the selector that others fetch it by. Fails
        with `JoinError` where the room does not take it, with `FileTransferError` where it does
        not arrive, and OSError. Cancelling it breaks it off.
        """
        where = self._where()
        return send_file(
            self._agent, path=path, name=name, media_type=media_type, progress=progress, **where
        )

    def fetch_file(
        self, selector: FileSelector, path: Path, progress: Progress | None = None
    ) -> Deferred[FileSelector]:
        """Fetch the file that `selector` means to `path`, which must not exist.

        `progress` and failures are those of `send_file`; where it fails nothing is at `path`.
        """
        where = self._where()
        return fetch_file(self._agent, selector=selector, path=path, progress=progress, **where)

    def _where(self) -> dict[str, Any]:
        """How the room is called for a file: as it was for the chat."""
        return {"room": self.address, "tls": self.session.secure, "via": self.via}

    # About others.

    def watch(self) -> Watch:
        """Be told who is in the room from now on, as `Listener.on_events` and `roster` say.

        That the room tells nobody is no failure: `Watch.error` says it.
        """
        return self._watch.begin()

    @property
    def watching(self) -> Watch | None:
        """What `watch` has begun; another one once the room has gone on at another server."""
        return self._watch.watch

    @property
    def roster(self) -> Roster:
        """Who is in the room, as far as it has told: what `watch` keeps true."""
        return self._watch.roster

    def remove(self, uri: str) -> Deferred[Fragment]:
        """Have the user at `uri` removed, from all devices (RFC 4579 §5.11).

        Done when that is so. Fails with `ReferError`: 403 for who may not, 404 where there is
        no such user in the room.
        """
        return self._referrals.refer(uri, "BYE")

    def invite(self, uri: str) -> Deferred[Fragment]:
        """Have the user at `uri` asked into the room (RFC 4579 §5.5); done when they are in.

        Fails with `ReferError`: 603 for who declines, 408 where nobody answers, and so on.
        Cancelling it only means that one does not wait any more.
        """
        return self._referrals.refer(uri, "INVITE")

    def change_subject(self, text: str) -> Deferred[None]:
        """Have the room be about something else; about nothing, if `text` is empty.

        Done when that is so. Fails with `SendError`: 403 for who may not.
        """
        return self.send(f"/subject {text}")

    def mute(self, uri: str, muted: bool = True) -> Deferred[None]:
        """Take the voice of the user at `uri`, or give it back.

        Done when that is so. Fails with `SendError`: 403 for who may not, 404 where there is
        no such user in the room.
        """
        return self.send(f"/{'mute' if muted else 'unmute'} {uri}")

    def _send_composing(self, document: bytes) -> Deferred[None]:
        return self.send_content(ISCOMPOSING, document)

    def line(self, fingerprints: Sequence[Fingerprint]) -> MediaDescription:
        """The line of our offer (RFC 4975 §8, RFC 7701 §9.1)."""
        return msrp_media_line(
            [MsrpURI.parse(self.session.local_path.decode("ascii"))],
            accept_types=["text/plain"] if self.plain else ["message/cpim"],
            accept_wrapped_types=[] if self.plain else ["*"],
            setup="active",
            chatroom=None if self.plain else (NICKNAME, PRIVATE_MESSAGES),
            port=ACTIVE_PORT,
            fingerprints=fingerprints,
        )

    def answered(self, answer: Response) -> None:
        """What the room says that it has."""
        with suppress(SdpError):
            media = msrp_media(SessionDescription.parse(answer.body))
            self.features = frozenset((media[0].chatroom if media else None) or ())

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
        unwatched = self._unwatched
        return self._agent.send_in_dialog(bye, self.flow).addCallback(lambda _: unwatched)

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
        elif request.method == "UPDATE" and not request.body:
            # Somebody wants to know whether we are there (RFC 4028 §10).
            transaction.answer(200, headers=(("Contact", self.contact),))
        elif request.method == "INVITE":
            self._agent.followers.invited(self, transaction)
        elif request.method == "NOTIFY":
            self._referrals.notify(transaction)
        else:
            allowed = "INVITE, BYE, OPTIONS, ACK, NOTIFY, UPDATE"
            transaction.answer(405, headers=(("Allow", allowed),))

    # Following the room to another server: see `client.following`.

    def called_again(self) -> None:
        """The room is on another server, to which we are about to connect."""
        self.is_following = True
        self._stop_goodbye()

    def followed(self) -> None:
        """The room has us there."""
        self.is_following = False

    def lost(self, why: str) -> None:
        """We could not connect to it."""
        if not self.ended and self.dialog is not None:
            self.dialog, bye = self.dialog.request("BYE")
            self._agent.send_in_dialog(bye, self.flow)
            self._ended_by_peer(why)

    def _ended_by_peer(self, why: str) -> None:
        if not self.ended:
            self.end()
            if self.listener.on_ended is not None:
                self.listener.on_ended(why)

    def end(self) -> None:
        """Take nothing more from the room."""
        self.ended = True
        self._stop_goodbye()
        self._composer.said()
        self._typists.close()
        self._referrals.close()
        self._unwatched = self._watch.stop()
        self._agent.forget(self)
        self.sender.session_lost("you have left")
        self.session.close()

    def _stop_goodbye(self) -> None:
        goodbye, self._goodbye = self._goodbye, None
        if goodbye is not None and goodbye.active():
            goodbye.cancel()

    # From MSRP.

    def connection_broke(self, reason: str) -> None:
        """The MSRP connection is gone."""
        self.sender.session_lost(reason)
        # A BYE that says why may be on its way, or an INVITE to another server: either is given
        # a while to come first.
        if not self.ended and not self.is_following:
            self._goodbye = self._agent.clock.callLater(
                self._agent.patience, self._ended_by_peer, f"MSRP broke: {reason}"
            )

    def message_received(self, content_type: str, body: bytes) -> None:
        """A message is here, whole."""
        also = () if self.dialog is None else (str(self.dialog.remote_target),)
        try:
            message = Message.of(content_type, body, self.room, also)
            if message.media_type == ISCOMPOSING:
                self._typists.heard(message.person, Composing.parse(message.body))
                return
        except (CpimError, XmlError) as error:
            self.log.info("a message cannot be read: {error}", error=error)
            return
        if not message.kind:
            self._typists.said(message.person)
        listener = self.listener
        if message.file is not None and listener.on_file is not None:
            self._tell(listener.on_file, message)
        else:
            self._tell(listener.on_notice if message.kind else listener.on_message, message)

    def _typing(self, person: Person, active: bool) -> None:
        if self.listener.on_typing is not None and not self.ended:
            try:
                self.listener.on_typing(person, active)
            except Exception:
                self.log.failure("that somebody is typing was not understood")

    def _tell(self, listener: OnMessage | None, message: Message) -> None:
        if listener is not None and not self.ended:
            try:
                listener(message)
            except Exception:
                # A fault in what somebody makes of one message is no reason to leave the room.
                sender = visible(message.sender)
                self.log.failure("a message of {sender} was not understood", sender=sender)
