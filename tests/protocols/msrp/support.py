"""A recording owner of sessions, a connection without a socket, and frames to feed it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.connection import Flusher, MsrpConnection, session_id
from msrpconf.protocols.msrp.frame import Continuation, FrameParser, Head, encode, new_transaction
from msrpconf.protocols.msrp.session import Limits, MessageSink, Piece, Refusal, Session

COMPLETE, MORE, ABORTED = Continuation.COMPLETE, Continuation.MORE, Continuation.ABORTED

REMOTE = b"msrp://alice.example:7777/iau3;tcp"


def local(name: str) -> bytes:
    """Our URI of the session `name`."""
    return b"msrp://switch.example:2855/%b;tcp" % name.encode()


def send(
    data: bytes | None,
    message_id: bytes | None = b"m1",
    byte_range: bytes | None = None,
    flag: Continuation = COMPLETE,
    to: str = "s1",
    *,
    content_type: bytes | None = b"text/plain",
    transaction: bytes | None = None,
    failure: bytes | None = None,
    success: bytes | None = None,
) -> bytes:
    """The octets of a SEND; None leaves a header out. `failure` and `success` ask for reports."""
    fields = [(b"To-Path", local(to)), (b"From-Path", REMOTE)]
    if message_id is not None:
        fields.append((b"Message-ID", message_id))
    if byte_range is not None:
        fields.append((b"Byte-Range", byte_range))
    if failure is not None:
        fields.append((b"Failure-Report", failure))
    if success is not None:
        fields.append((b"Success-Report", success))
    if content_type is not None and data is not None:
        fields.append((b"Content-Type", content_type))
    return encode(b"SEND", transaction or new_transaction(), fields, data, flag)


def other(method: bytes, to: str = "s1", **headers: bytes) -> bytes:
    """The octets of a request without a body; `headers` are named with _ for -."""
    fields = [(b"To-Path", local(to)), (b"From-Path", REMOTE)]
    fields += [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return encode(method, new_transaction(), fields)


def body(number: int) -> bytes:
    """A recognizable body."""
    return b"%d:" % number + b"%d" % (number % 10) * 3000


@frozen
class Frame:
    """One frame that was written."""

    head: Head
    body: bytes
    flag: Continuation

    @property
    def text(self) -> str:
        """The status and comment of a response, or the method, for comparisons."""
        head = self.head
        if head.status:
            return f"{head.status} {head.comment.decode()}"
        return head.method.decode()


def frames(octets: bytes) -> list[Frame]:
    """Read whole frames back."""
    parser = FrameParser()
    found: list[Frame] = []
    head: Head | None = None
    body: list[bytes] = []
    for event in parser.receive_data(octets):
        if isinstance(event, Head):
            head, body = event, []
        elif isinstance(event, bytes):
            body.append(event)
        else:
            assert head is not None
            found.append(Frame(head, b"".join(body), event))
    assert parser.between_frames, "a frame is cut off"
    return found


@define(eq=False)
class Received:
    """A message as its owner saw it; as a sink, it takes the rest of it."""

    session: Session
    pieces: list[Piece] = field(factory=list)
    abortions: int = 0
    refuse_next: Refusal | None = None

    def piece_received(self, piece: Piece) -> Refusal | None:
        self.pieces.append(piece)
        return self.refuse_next

    def aborted(self) -> None:
        self.abortions += 1

    @property
    def data(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    @property
    def flags(self) -> list[Continuation]:
        return [piece.flag for piece in self.pieces]


class RecordingHandler:
    """Notes all that a session tells; takes all, unless `refusal` is set."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.bound = 0
        self.unbound: list[str] = []
        self.messages: list[Received] = []
        self.requests: list[Head] = []
        self.responses: list[Head] = []
        self.reports: list[Head] = []
        self.congested = 0
        self.eased: list[int] = []

    def session_bound(self, session: Session) -> None:
        self.bound += 1

    def session_unbound(self, session: Session, reason: str) -> None:
        self.unbound.append(reason)

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        received = Received(session, [piece])
        self.messages.append(received)
        return self.refusal or received

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        self.requests.append(head)
        return self.refusal

    def response_received(self, session: Session, head: Head) -> None:
        self.responses.append(head)

    def session_congested(self, session: Session) -> None:
        self.congested += 1

    def session_eased(self, session: Session, missed: int) -> None:
        self.eased.append(missed)

    def report_received(self, session: Session, head: Head) -> None:
        self.reports.append(head)


def make_session(
    name: str = "s1",
    handler: RecordingHandler | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> Session:
    """A session of ours with Alice."""
    return Session(local(name), REMOTE, handler or RecordingHandler(), clock or Clock(), limits)


def table(sessions: Iterable[Session]) -> dict[bytes, Session]:
    """What connections find sessions in."""
    return {session_id(session.local_path): session for session in sessions}


class Peer:
    """Whoever is at the other end of a connection that is made of no socket."""

    def __init__(
        self,
        sessions: dict[bytes, Session],
        clock: Clock,
        transport: StringTransport | None = None,
    ) -> None:
        self.clock = clock
        self.transport = transport or StringTransport()
        self.connection = MsrpConnection(sessions, Flusher(clock), clock)
        self.connection.makeConnection(self.transport)

    def says(self, *octets: bytes) -> None:
        """Send octets, each in a segment of its own."""
        for data in octets:
            self.connection.dataReceived(data)

    def hears(self) -> list[Frame]:
        """All that was written since the last time, once the reactor has turned."""
        self.clock.advance(0)
        octets = self.transport.value()
        self.transport.clear()
        return frames(octets)

    def hears_text(self) -> list[str]:
        """The same, in short."""
        return [frame.text for frame in self.hears()]

    def vanishes(self) -> None:
        """The transport reports the connection lost, as it does after it closed too."""
        self.connection.connectionLost(Failure(error.ConnectionLost("gone")))


BIND = send(None, b"binding", b"1-0/0")
"""The SEND that binds the session ``s1``."""


class SessionCase(SynchronousTestCase):
    """Two sessions of ours, and Alice, who has connected and not said anything."""

    limits = Limits(queue_octets=20000, message_octets=200000, chunk_timeout=540.0)

    def setUp(self) -> None:
        self.clock = Clock()
        self.handler = RecordingHandler()
        self.session = make_session("s1", self.handler, self.clock, self.limits)
        self.second_handler = RecordingHandler()
        self.second = make_session("s2", self.second_handler, self.clock, self.limits)
        self.sessions = table([self.session, self.second])
        self.alice = Peer(self.sessions, self.clock)

    def bind(self) -> None:
        """Alice makes the first session hers."""
        self.alice.says(BIND)
        self.assertEqual(self.alice.hears_text(), ["200 OK"])

    @property
    def message(self) -> Received:
        """The only message that the first session's owner was given."""
        (message,) = self.handler.messages
        return message

    def assertRefused(self, status: int, text: str = "") -> None:
        """Alice hears one answer, which is this."""
        (frame,) = self.alice.hears()
        self.assertEqual(frame.head.status, status)
        self.assertIn(text, frame.text)
