"""MSRP connections (RFC 4975 §5.4): the Twisted protocol and its factory.

A connection carries frames of any number of sessions. It finds the session of a
request by the session id in To-Path, binds a session to itself at the first
request for it, answers for sessions that are not here (481) or live on another
connection (506), and writes what its sessions have queued. A session whose URI is
`msrps` lives on a TLS connection and no other, and a session may ask for more.

How the octets get out is `StreamWriter`'s part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet import protocol
from twisted.internet.interfaces import IAddress, IDelayedCall, IHandshakeListener, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.msrp.frame import Continuation, FrameParser, Head, encode_response
from msrpconf.protocols.msrp.keepalive import ConnectionKeeper, KeepAlive, set_tcp_options
from msrpconf.protocols.msrp.outgoing import OutgoingFrame, bodiless_send, new_message_id
from msrpconf.protocols.msrp.reception import SendReception
from msrpconf.protocols.msrp.session import Refusal, Session
from msrpconf.protocols.msrp.writer import Flusher, StreamWriter, Trace
from msrpconf.protocols.tls import peer_certificate, why_no_tls
from msrpconf.visible import visible

__all__ = [
    "Flusher",
    "MsrpConnection",
    "MsrpFactory",
    "Trace",
    "describe_address",
    "session_id",
]

MAX_STRAY = 16
"""Requests for unknown sessions after which a connection is closed."""

CLOSE_TIMEOUT = 30.0
"""Seconds that a closing connection may take to write what waits."""


# What each record of a TLS handshake begins with, whatever its version.
_TLS_RECORD = b"\x16\x03"
_TLS_HERE = "this is TLS, and the port is for MSRP without: connect to that of the msrps URI"


@implementer(IHandshakeListener)
class MsrpConnection(StreamWriter):
    """One connection, from a peer or to a peer.

    `sessions` finds a session by its id; `flusher` calls for the writing;
    `bind_timeout` is how many seconds the connection may have no session;
    `keep_alive` when TCP gives it up, None for when the system does; `budget` is how
    many refusals are logged.
    """

    log = Logger()

    def __init__(
        self,
        sessions: Mapping[bytes, Session],
        flusher: Flusher,
        clock: IReactorTime,
        bind_timeout: float = 30.0,
        trace: Trace | None = None,
        keep_alive: KeepAlive | None = None,
        budget: LineBudget | None = None,
    ) -> None:
        super().__init__(flusher, trace)
        self._budget = budget or LineBudget(clock)
        self.on_lost: Callable[[MsrpConnection], None] | None = None
        self.on_ready: Callable[[Failure | None], None] | None = None
        """Told when the peer is known, or why it will not be; for one that we connected to."""
        self.heard = False
        """Whether anything has come since somebody set this to False."""
        self.quiet = 0
        self.asked = False
        self._keep_alive = keep_alive
        self._ready_to_serve = False
        self._why_lost = ""
        self._sessions = sessions
        self._clock = clock
        self._bind_timeout = bind_timeout
        self._parser = FrameParser()
        self._receiving: SendReception | None = None
        self._strays = 0
        self._ignoring = False
        self._bound: dict[Session, None] = {}
        self._bound_ever = 0
        self._unbound_timer: IDelayedCall | None = None
        self._close_timer: IDelayedCall | None = None

    # From Twisted.

    def connectionMade(self) -> None:
        self._start_writing()
        self.peer = describe_address(self._stream.getPeer())
        set_tcp_options(self.transport, self._keep_alive)
        self._ready_to_serve = not self.secure
        self._unbound_timer = self._clock.callLater(self._bind_timeout, self._never_bound)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self._stop_writing()
        self._stop_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._receiving = None
        if not self._ready_to_serve:
            self._not_secured(reason)
        bound, self._bound = self._bound, {}
        text = self._why_lost or reason.getErrorMessage()
        for session in bound:
            session.connection_lost(text)
        if self.on_lost is not None:
            self.on_lost(self)

    def handshakeCompleted(self) -> None:
        """TLS is there, and the peer's certificate, if it has one, is known."""
        self._ready_to_serve = True
        ready, self.on_ready = self.on_ready, None
        if ready is not None:
            ready(None)

    def _not_secured(self, reason: Failure) -> None:
        ready, self.on_ready = self.on_ready, None
        if ready is not None:
            ready(reason)
        elif not self._why_lost:
            self.log.info(
                "closing MSRP connection of {peer}: no TLS: {error}",
                peer=self.peer,
                error=why_no_tls(reason.value),
            )

    @property
    def certificate(self) -> bytes | None:
        """What the peer has presented, in DER; None for nothing."""
        return peer_certificate(self.transport) if self.secure and self._open else None

    def dataReceived(self, data: bytes) -> None:
        self.heard = True
        self._traffic.octets_in += len(data)
        if self._trace is not None:
            self._trace("<", self.peer, data)
        if not self._taking():
            return
        try:
            events = self._parser.receive_data(data)
        except MsrpSyntaxError as error:
            self.log.warn(
                "closing MSRP connection of {peer}: {error} (sessions: {sessions})",
                peer=self.peer,
                error=_TLS_HERE if data.startswith(_TLS_RECORD) and not self._bound else error,
                sessions=self._session_names(),
            )
            self._lose()
            return
        for event in events:
            if type(event) is bytes:
                if self._receiving is not None:
                    self._receiving.data_received(event)
            elif type(event) is Head:
                self._receiving = self._begun(event)
            elif type(event) is Continuation and self._receiving is not None:
                receiving, self._receiving = self._receiving, None
                receiving.ended(event)
            if not self._taking():
                return

    def _taking(self) -> bool:
        """False once the connection is about to close: nothing more is served on it."""
        return self._open and not self._closing and not self._ignoring

    def ignore(self) -> None:
        """Take nothing more from the peer, and answer nothing; it is noticed when it goes.

        What is queued for it is still written.
        """
        self._ignoring = True

    # Requests and responses.

    def _begun(self, head: Head) -> SendReception | None:
        session = self._sessions.get(session_id(head.to_path))
        if head.status:
            if session is not None and session.connection is self:
                session.handler.response_received(session, head)
            return None
        if session is None:
            self._stray(head)
            return None
        free = session.connection is None and not session.closed
        if free and head.method != b"REPORT":
            refusal = self._unfit(session)
            if refusal is not None:
                self._refuse_stray(head, refusal)
                return None
            self.attach(session)
        if session.closed:
            self._stray(head)
            return None
        if session.connection is not self:
            self.refuse(
                head, Refusal(506, "this session is bound to another connection: use that one")
            )
            return None
        if head.method == b"SEND":
            return session.send_begun(self, head)
        if head.method == b"REPORT":
            session.handler.report_received(session, head)
            return None
        self._other_request(session, head)
        return None

    def _other_request(self, session: Session, head: Head) -> None:
        refusal = session.handler.request_received(session, head)
        if refusal is None:
            self.respond(head, 200)
        else:
            self.refuse(head, refusal)

    def _unfit(self, session: Session) -> Refusal | None:
        """Why this connection cannot be the session's; None where it can."""
        if session.secure != self.secure:
            port = "the port of the msrps URI" if session.secure else "the port without TLS"
            return Refusal(403, f"this session is for {port}: connect as its URI says")
        return None if session.admits is None else session.admits(self)

    def _stray(self, head: Head) -> None:
        self._refuse_stray(head, Refusal(481, "no such session here: it has ended, or never was"))

    def _refuse_stray(self, head: Head, refusal: Refusal) -> None:
        self._strays += 1
        self.refuse(head, refusal)
        if self._strays >= MAX_STRAY and not self._bound:
            self.close()

    def respond(self, head: Head, status: int, comment: str = "") -> None:
        """Answer the request `head` on this connection (RFC 4975 §7.2)."""
        self._answer(encode_response(head, status, _line(comment) if comment else b""))

    def refuse(self, head: Head, refusal: Refusal) -> None:
        """Answer a request that is not served: not a REPORT, nor who wants no answer (§7.2)."""
        self._traffic.refused += 1
        note = self._budget.take(self.peer.rpartition(":")[0].strip("[]"))
        if note is not None:
            name = session_id(head.to_path)
            session = self._sessions.get(name)
            self.log.info(
                "refused: MSRP {method} of {owner}: {status} {comment} "
                "(session {session} at {peer}{note})",
                method=head.method.decode("ascii"),
                owner="nobody here" if session is None else str(session.handler),
                peer=self.peer,
                session=visible(name.decode("ascii", "replace")),
                status=refusal.status,
                comment=visible(_line(refusal.comment).decode("utf-8")),
                note=note,
            )
        if head.method != b"REPORT" and head.failure_report != b"no":
            self.respond(head, refusal.status, refusal.comment)

    def report(self, head: Head, report: OutgoingFrame) -> None:
        """Send a REPORT the way that the SEND `head` came (RFC 4975 §7.1.3)."""
        paths = b"To-Path: %b\r\nFrom-Path: %b\r\n" % (head.from_path, head.to_path)
        self._answer(b"".join((report.start, paths, report.middle, report.end)))

    # Sessions.

    def attach(self, session: Session) -> None:
        """Bind `session` to this connection: it is served here from now on (RFC 4975 §5.4)."""
        self._stop_timer()
        self._bound[session] = None
        self._bound_ever += 1
        self.shared = self._bound_ever > 1
        session.suffix = b".%d" % self._bound_ever
        session.bind(self)

    def detach(self, session: Session) -> None:
        """Write what `session` has queued and serve it no longer; without any session, close."""
        self._bound.pop(session, None)
        if not session.queued:
            # It may be served elsewhere soon: what it queues then is not ours to write.
            self._disown(session)
        if not self._bound:
            self.close()

    # Keeping it alive.

    def ask(self) -> bool:
        """Have the peer say something: a SEND without a body, which is to be answered."""
        if self._stalled or not self._taking():
            return False
        return any(
            session.remote_path and session.forward(bodiless_send(new_message_id()))
            for session in self._bound
        )

    def give_up(self, why: str) -> None:
        """The peer is gone: close without waiting for it."""
        self._why_lost = why
        self.log.info(
            "closing MSRP connection of {peer}: {why} (sessions: {sessions})",
            peer=self.peer,
            why=why,
            sessions=self._session_names(),
        )
        self.abort()

    # The end.

    def close(self) -> None:
        """Write what waits, then close."""
        if self._open and not self._closing:
            self._closing = True
            self._limit_closing()
            self.flush()

    def abort(self) -> None:
        """Close, whatever waits."""
        self._stream.abortConnection()

    def _lose(self) -> None:
        self._limit_closing()
        super()._lose()

    def _limit_closing(self) -> None:
        self._stop_timer()
        if self._close_timer is None:
            self._close_timer = self._clock.callLater(CLOSE_TIMEOUT, self._close_now)

    def _close_now(self) -> None:
        self._close_timer = None
        self._stream.abortConnection()

    def _never_bound(self) -> None:
        self._unbound_timer = None
        self._why_lost = "no session"
        self.log.info(
            "closing MSRP connection of {peer}: no session within {seconds:g} s",
            peer=self.peer,
            seconds=self._bind_timeout,
        )
        self._lose()

    def _stop_timer(self) -> None:
        timer, self._unbound_timer = self._unbound_timer, None
        if timer is not None:
            timer.cancel()

    def _session_names(self) -> str:
        names = [
            session_id(session.local_path).decode("ascii", "replace") for session in self._bound
        ]
        return ", ".join(names[:5]) or "none"


class MsrpFactory(protocol.Factory):
    """Makes connections that share a table of sessions.

    `max_connections` bounds those that exist at once; more are closed at once.
    `keep_alive` is when they are asked whether they still are, None for never.
    """

    log = Logger()

    def __init__(
        self,
        sessions: Mapping[bytes, Session],
        clock: IReactorTime,
        max_connections: int = 100000,
        bind_timeout: float = 30.0,
        trace: Trace | None = None,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        self.connections: set[MsrpConnection] = set()
        self._keep_alive = keep_alive
        self._keeper = (
            None if keep_alive is None else ConnectionKeeper(self.connections, clock, keep_alive)
        )
        self._sessions = sessions
        self._clock = clock
        self._flusher = Flusher(clock)
        self.traffic = self._flusher.traffic
        """What has gone over all connections."""
        self._max_connections = max_connections
        self._bind_timeout = bind_timeout
        self._trace = trace
        self._budget = LineBudget(clock)

    def buildProtocol(self, addr: IAddress | None) -> MsrpConnection | None:
        """A connection of this factory's; None (which closes it) where there are too many."""
        if len(self.connections) >= self._max_connections:
            self.log.warn(
                "MSRP connection from {peer} refused: {count} are open",
                peer=describe_address(addr),
                count=len(self.connections),
            )
            return None
        connection = MsrpConnection(
            self._sessions,
            self._flusher,
            self._clock,
            self._bind_timeout,
            self._trace,
            self._keep_alive,
            self._budget,
        )
        connection.factory = self
        connection.on_lost = self._lost
        self.connections.add(connection)
        if self._keeper is not None:
            self._keeper.start()
        return connection

    def _lost(self, connection: MsrpConnection) -> None:
        self.connections.discard(connection)
        if self._keeper is not None and not self.connections:
            self._keeper.stop()


def session_id(uri: bytes) -> bytes:
    """The session id of one MSRP URI, without reading the rest of it (RFC 4975 §6).

    Empty where there is none, and for a list of several URIs, which a request
    that has arrived does not have (§7.3).
    """
    if b" " in uri:
        return b""
    return uri.partition(b"://")[2].partition(b"/")[2].partition(b";")[0]


def _line(comment: str) -> bytes:
    """A comment as it may stand on the wire and in a log, whatever a peer put into it."""
    return " ".join(comment.split()).encode("utf-8", "replace")


def describe_address(address: IAddress | None) -> str:
    """``127.0.0.1:2855`` or ``[::1]:2855``, for logs."""
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    port = getattr(address, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
