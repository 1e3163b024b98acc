"""A SIP user agent that joins chat rooms: for bots, tests, load and the command line.

agent = UserAgent(reactor, "sip:alice@example.com")
chat = await agent.join("sip:lobby@conf.example.com", on_message=print)
await chat.send("Hi, I'm Alice!")
await agent.stop()
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime

from msrpconf import __version__
from msrpconf.client.call import (
    ACTIVE_PORT,
    GOODBYE,
    Call,
    JoinError,
    Leg,
    Unreached,
    answered_media,
    room_uri,
)
from msrpconf.client.chat import Chat, Listener, OnEnded, OnMessage, OnTyping
from msrpconf.client.chat_session import ChatSession
from msrpconf.client.following import Followers
from msrpconf.client.invited import Invitations, OnInvited
from msrpconf.client.registration import Registration
from msrpconf.client.sip_end import SipEnd
from msrpconf.client.subscription import Subscription
from msrpconf.client.watchers import OnWatchers, WatchersWatch
from msrpconf.client.watching import Following, OnEvents, Watch, WatchError
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.connecting import MsrpConnectError, MsrpConnector
from msrpconf.protocols.msrp.connection import MsrpFactory, session_id
from msrpconf.protocols.msrp.sending import MessageSender, SendError
from msrpconf.protocols.msrp.session import Limits, Session, new_session_id
from msrpconf.protocols.sdp import MediaDescription, Origin, offer
from msrpconf.protocols.sip.answering import Answering
from msrpconf.protocols.sip.dialog import OutOfOrder
from msrpconf.protocols.sip.dns import Dns
from msrpconf.protocols.sip.flow import Address, Flow, bracket
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.locate import LocateError
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.transaction import (
    ServerTransaction,
    new_call_id,
    new_tag,
)
from msrpconf.protocols.sip.uri import SipURI, parse_uri
from msrpconf.protocols.tls import Tls

Trace = Callable[[str, str, str, bytes], None]
"""Told of every message: ``sip`` or ``msrp``, ``in`` or ``out``, the peer, the octets."""


FIRST_WORD = 4.0
"""Seconds for any answer to an INVITE, where there are other addresses to try."""


class UserAgent:
    """A user who may join any number of rooms.

    `user` is the user's URI, with or without ``sip:``; `listen` the address of our
    end of SIP (``udp:127.0.0.1:0``), chosen to suit the peer where it is None;
    `proxy` where requests go first, an address whose host may be a name, or a SIP URI; `plain`
    has messages go without message/cpim. Joins over the transport that the room's
    URI names, at the first of its addresses that answers. `on_invited` is called with an
    `Invited` when somebody asks the user into a room; without it, invitations are refused.
    `password` is what proxies and rooms are answered with that ask for one (RFC 8760);
    `headers` are more header fields of each INVITE. `tls` has our certificate, if we have one, and
    the authorities of others, for SIP and MSRP; `dns` says which servers domains have, by the
    system's nameservers unless it is given. `patience` are the seconds after which a chat
    is over whose MSRP connection broke, if the room has not called again or said why until then.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        *,
        display_name: str | None = None,
        listen: str | None = None,
        proxy: str | None = None,
        plain: bool = False,
        trace: Trace | None = None,
        tls: Tls | None = None,
        on_invited: OnInvited | None = None,
        password: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        dns: Dns | None = None,
        patience: float = GOODBYE,
    ) -> None:
        uri = parse_uri(user if ":" in user.partition("@")[0] else f"sip:{user}")
        if not isinstance(uri, SipURI) or not uri.user:
            raise ValueError(f"a user is sip:name@domain, got {user!r}")
        self.user = str(uri.aor)
        self.display_name = display_name
        self.answering = None if password is None else Answering(uri.user, password)
        self.plain = plain
        self.patience = patience
        self.clock: IReactorTime = reactor
        self.reactor = reactor
        self._headers = tuple(headers)
        self._listen = None if listen is None else Address.parse(listen)
        self.on_invited = on_invited
        self._invitations = Invitations(self)
        self.watches: set[Following[Any]] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self._calls: set[Call] = set()
        self._registration: Registration | None = None
        self._legs: dict[tuple[str, str, str | None], Leg] = {}
        self._sessions: dict[bytes, Session] = {}
        self._tls = tls or Tls()
        self._sip = SipEnd(
            reactor,
            self.user,
            self._requested,
            lambda ack, flow: self.followers.acknowledged(ack),
            self._count,
            proxy=proxy,
            tls=self._tls,
            dns=dns,
            trace=None if trace is None else _sip_trace(trace),
            answering=self.answering,
        )
        self.layer = self._sip.layer
        self._ends = self._sip.ends
        self._msrp = MsrpFactory(
            self._sessions, reactor, trace=None if trace is None else _msrp_trace(trace)
        )
        self.connector = MsrpConnector(reactor, self._msrp, self._tls)
        self.followers = Followers(self)
        """What has chats follow their rooms to other servers."""

    @property
    def listening(self) -> list[Address]:
        """Where our end of SIP is, with real ports."""
        return self._ends.addresses

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Listen, where an address was given; otherwise joining does."""
        if self._listen is not None:
            yield self._ends.at(self._listen)
            self._listen = None

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Leave all rooms, then close everything. Joining that goes on fails."""
        for call in list(self._calls):
            call.give_up(JoinError(487, "the user agent was stopped"))
        leaving = [leg.leave() for leg in list(self._legs.values())]
        leaving += [watch.stop() for watch in list(self.watches)]
        yield DeferredList([*leaving, self._invitations.close()])
        if self._registration is not None:
            yield self._registration.end()
        for connection in list(self._msrp.connections):
            connection.close()
        self.followers.stop()
        yield self._sip.stop()

    @inlineCallbacks
    def register(self, expires: float = 3600.0) -> Generator[Deferred[Any], Any, None]:
        """Tell the registrar of the user's domain where we are, until `stop` (RFC 3261 §10).

        Others reach the user then by that domain's proxy: it is how invitations come. `expires`
        are seconds; it is done again in time. Fails with `RegisterError`.
        """
        if self._registration is None:
            yield self.start()
            self._registration = Registration(self, expires)
        yield self._registration.begin()

    def locate_proxy(self, uri: SipURI) -> Deferred[list[Address]]:
        """Where requests for `uri` go first."""
        return self._sip.locate(uri)

    def contact_towards(self, address: Address, *, sips: bool = False) -> Deferred[str]:
        """The value of our Contact for who is at an address; fails with `TransportError`.

        `sips` is whether we are to be reached by TLS alone.
        """
        reached = self._ends.towards(address)
        return reached.addCallback(lambda local: self._ends.contact(local, sips=sips))

    def send_to(self, request: Request, address: Address) -> Deferred[Response]:
        """Send a request in no dialog to an address; give its final response."""
        return self._sip.send(request, None, [address])

    @inlineCallbacks
    def join(
        self,
        room: str,
        *,
        on_message: OnMessage | None = None,
        on_notice: OnMessage | None = None,
        on_ended: OnEnded | None = None,
        on_typing: OnTyping | None = None,
        on_file: OnMessage | None = None,
        on_events: OnEvents | None = None,
        tls: bool = False,
        subject: str | None = None,
        via: Address | Sequence[Address] | None = None,
    ) -> Generator[Deferred[Any], Any, Chat]:
        """Enter the room at the URI `room`; done when one can be heard there.

        What is called when is as `Listener` has it. `subject` is what the room is to be about,
        if joining makes it. `via` is where it is reached, instead of what its URI says; if those
        are several, one after another is tried.
        `tls` is whether MSRP goes over TLS: there must be that, or one gets in nowhere.
        Fails with `JoinError`, whose reason says what is in the way.
        """
        listener = Listener(on_message, on_notice, on_ended, on_typing, on_file, on_events)

        def begin(room: str, path: str) -> Chat:
            chat = Chat(self, room, listener)
            limits = Limits(message_octets=2**40)
            chat.session = Session(path.encode("ascii"), b"", ChatSession(chat), self.clock, limits)
            chat.sender = MessageSender(chat.session, self.clock)
            return chat

        chat: Chat = yield self.call(room, begin, tls=tls, via=via, subject=subject)
        chat.address = room
        if on_events is not None:
            chat.watch()
        return chat

    @inlineCallbacks
    def watch(
        self, room: str, *, on_events: OnEvents | None = None, via: Address | None = None
    ) -> Generator[Deferred[Any], Any, Watch]:
        """Be told who is in the room at the URI `room`, without being in it (RFC 4575).

        Done when that is known, or when somebody has yet to allow it; until `Watch.stop`, the
        `roster` of the `Watch` that is given is kept true, and `on_events` called with what
        happens. `via` is where the room is reached, instead of what its URI says. Fails with
        `WatchError`, whose reason says what is in the way.
        """
        watch = Watch(self, self._watched_room(room), via, on_events)
        yield self.start()
        watch.begin()
        yield watch.begun
        return watch

    @inlineCallbacks
    def watch_watchers(
        self, room: str, *, on_events: OnWatchers | None = None, via: Address | None = None
    ) -> Generator[Deferred[Any], Any, WatchersWatch]:
        """Be told who watches one's own room at the URI `room`, and who asks to (RFC 3857).

        Begins, ends and fails as `watch` does: with 403 for who is no owner.
        """
        watch = WatchersWatch(self, self._watched_room(room), via, on_events)
        yield self.start()
        watch.begin()
        yield watch.begun
        return watch

    def _watched_room(self, room: str) -> SipURI:
        try:
            return room_uri(room)
        except JoinError as error:
            raise WatchError(error.status, error.reason) from None

    @inlineCallbacks
    def call(
        self,
        room: str,
        begin: Callable[[str, str], Leg],
        *,
        tls: bool = False,
        via: Address | Sequence[Address] | None = None,
        subject: str | None = None,
    ) -> Generator[Deferred[Any], Any, Any]:
        """Have a dialog with the room at the URI `room`, and an MSRP session there.

        `begin` makes our side of it, from the room's URI and from our own MSRP URI; that is
        given back. Fails with `JoinError`.
        """
        uri = room_uri(room)
        yield self.start()
        try:
            if isinstance(via, Address):
                via = [via]
            addresses = via or (yield self.locate_proxy(uri))
        except LocateError as error:
            raise JoinError(503, str(error)) from None
        failures: list[JoinError] = []
        for address in addresses:
            patience = None if address is addresses[-1] else FIRST_WORD
            try:
                called = yield self._call(uri, address, patience, begin, tls, subject)
                break
            except Unreached as error:
                failures.append(error)
        else:
            raise JoinError(failures[-1].status, "; ".join(each.reason for each in failures))
        leg: Leg = called[0]
        try:
            leg.answered(called[1])
            yield self._connect(leg, called[1])
        except JoinError:
            yield leg.leave()
            raise
        return leg

    @inlineCallbacks
    def _call(
        self,
        uri: SipURI,
        address: Address,
        patience: float | None,
        begin: Callable[[str, str], Leg],
        tls: bool,
        subject: str | None,
    ) -> Generator[Deferred[Any], Any, tuple[Leg, Response]]:
        """Send an INVITE to one address; give our side of the dialog, and the answer.

        Fails with `Unreached` where another address may do (RFC 3263 §4.3).
        """
        try:
            local = yield self._ends.towards(address)
        except (TransportError, CannotListenError) as error:
            raise Unreached(503, str(error)) from None
        scheme = "msrps" if tls else "msrp"
        path = f"{scheme}://{bracket(local.host)}:{ACTIVE_PORT}/{new_session_id()};tcp"
        leg = begin(str(uri.aor), path)
        line = leg.line(self.fingerprints if tls else ())
        leg.contact = self._ends.contact(local, sips=uri.scheme == "sips")
        leg.via = address
        invite = self._invite(uri, local.host, leg.contact, line)
        if self.answering is not None:
            self.answering.prepare(invite)
        if subject:
            invite.headers.add("Subject", " ".join(subject.split()))
        call = Call(self, invite, address, patience)
        self._calls.add(call)
        try:
            answer, dialog, leg.flow = yield call.answered
        finally:
            self._calls.discard(call)
        leg.dialog = dialog
        self._legs[dialog.id] = leg
        return leg, answer

    def _invite(self, uri: SipURI, host: str, contact: str, line: MediaDescription) -> Request:
        """The INVITE that offers an MSRP session."""
        body = bytes(offer([line], origin=Origin.of(host, 1, 1)))
        user = NameAddr(parse_uri(self.user), self.display_name)
        headers = Headers(
            [
                ("From", str(user.with_tag(new_tag()))),
                ("To", f"<{uri.aor}>"),
                ("Call-ID", new_call_id()),
                ("CSeq", "1 INVITE"),
                ("Contact", contact),
                ("Allow", self._allow),
                ("User-Agent", f"msrpconf/{__version__}"),
                *self._headers,
                ("Content-Type", "application/sdp"),
            ]
        )
        return Request("INVITE", uri, headers, body)

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """Those of our certificate."""
        return self._tls.fingerprints

    @property
    def _allow(self) -> str:
        methods = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, NOTIFY"
        return methods if self.on_invited is None else f"{methods}, REFER"

    def contact(self, flow: Flow) -> str:
        """The value of our Contact for who has come by `flow`."""
        return self._ends.contact(self._ends.of(flow))

    @inlineCallbacks
    def _connect(self, leg: Leg, answer: Response) -> Generator[Deferred[Any], Any, None]:
        """Connect to where the room's answer says, and bind the session there."""
        media = answered_media(answer)
        session = leg.session
        session.remote_path = " ".join(media.path).encode("utf-8")
        self._sessions[session_id(session.local_path)] = session
        if session.secure and not media.secure:
            raise JoinError(488, "the room's answer has no TLS")
        try:
            connection = yield self.connector.connect(media.destination)
        except MsrpConnectError as error:
            raise JoinError(
                503,
                f"the room's MSRP address {media.destination} cannot be reached: {error}",
            ) from None
        connection.attach(session)
        try:
            yield leg.bind()
        except SendError as error:
            raise JoinError(503, f"the room does not take the MSRP session: {error}") from None

    # In dialogs.

    def send_in_dialog(self, request: Request, flow: Flow | None) -> Deferred[Response]:
        """Send a request of a dialog's; give its final response, a 408 of our own at worst."""
        return self._sip.send(request, None if "Route" in request.headers else flow)

    def _count(self, request: Request) -> None:
        """Have a dialog of ours go on counting from a request that goes again."""
        leg = self._legs.get((request.call_id, request.from_.tag or "", request.to.tag))
        if leg is not None and leg.dialog is not None:
            number = max(leg.dialog.local_cseq, request.cseq.number)
            leg.dialog = evolve(leg.dialog, local_cseq=number)

    def send_ack(self, ack: Request, flow: Flow | None) -> None:
        """Acknowledge a 2xx; what cannot be sent will be asked for again."""
        self._sip.send_ack(ack, flow)

    def forget(self, leg: Leg) -> None:
        """A dialog has ended."""
        if leg.dialog is not None:
            self._legs.pop(leg.dialog.id, None)
        self.followers.forget(leg)
        self._sessions.pop(session_id(leg.session.local_path), None)

    def _requested(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        key = (request.call_id, request.to.tag or "", request.from_.tag)
        leg = self._legs.get(key)
        if leg is not None and leg.dialog is not None:
            try:
                leg.dialog = leg.dialog.accept(request)
            except OutOfOrder as error:
                # Of a server, say, that has come back and does not know that the room has moved.
                transaction.answer(500, str(error))
                return
            leg.request_received(transaction)
        elif request.call_id in self.subscriptions and request.to.tag is not None:
            self.subscriptions[request.call_id].received(transaction)
        elif request.method == "OPTIONS" and request.to.tag is None:
            transaction.answer(200, headers=(("Allow", self._allow),))
        elif request.method == "REFER" and request.to.tag is None:
            if self.on_invited is None:
                transaction.refuse(405, headers=(("Allow", self._allow),))
            else:
                self._invitations.referred(transaction, self.on_invited)
        else:
            transaction.answer(481)


def _sip_trace(trace: Trace) -> Callable[[str, Flow, bytes], None]:
    return lambda direction, flow, octets: trace("sip", direction, str(flow.peer), octets)


def _msrp_trace(trace: Trace) -> Callable[[str, str, bytes], None]:
    def tell(direction: str, peer: str, octets: bytes) -> None:
        trace("msrp", "in" if direction == "<" else "out", f"tcp:{peer}", octets)

    return tell
