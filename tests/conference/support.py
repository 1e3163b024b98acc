"""A server without sockets: its channel is a list, its clients' connections are in memory.

Requests are what the focus hands over: a client's, without Via and with the channel's
headers. `Client` is somebody at the other end, who joins, speaks and hears.
"""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from attrs import evolve, fields
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from msrpconf.conference.control import CONFERENCE, ConferenceControl
from msrpconf.conference.participant import Participant
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.room import Room
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.frame import Continuation, encode, new_transaction
from msrpconf.protocols.msrp.session import Limits, Session
from msrpconf.protocols.sdp import MediaDescription, SessionDescription
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.tls import Credentials
from tests.protocols.msrp.support import Frame, Peer

ROOM = "sip:conf1@conf.example.com"

CPIM_TYPES = "message/cpim text/plain"
TEXT_TYPES = "text/plain"

COMPLETE, MORE, ABORTED = Continuation.COMPLETE, Continuation.MORE, Continuation.ABORTED


def sdp(*lines: str, name: str = "alice") -> bytes:
    """A session description; `lines` are its media's, `alice` the host that it is from."""
    head = f"""\
        v=0
        o={name} 2890844526 2890844526 IN IP4 {name}.example.com
        s=-
        c=IN IP4 {name}.example.com
        t=0 0
    """
    return "\r\n".join([*dedent(head).split("\n")[:-1], *lines, ""]).encode()


def msrp_lines(
    *attributes: str,
    types: str = CPIM_TYPES,
    path: str = "msrp://alice.example.com:7654/jshA7weztas;tcp",
    protocol: str = "TCP/MSRP",
) -> tuple[str, ...]:
    """The lines of one MSRP media description."""
    return (
        f"m=message 7654 {protocol} *",
        f"a=accept-types:{types}",
        f"a=path:{path}",
        *(f"a={each}" for each in attributes),
    )


def request(
    method: str,
    uri: str = ROOM,
    *,
    from_: str = "Alice <sip:alice@home.com>;tag=887s",
    to: str = f"<{ROOM}>",
    call_id: str = "2366721e-b06febec@home.com",
    cseq: int = 101,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    content_type: str = "application/sdp",
) -> Request:
    """A request as the focus hands it over."""
    fields = [("From", from_), ("To", to), ("Call-ID", call_id), ("CSeq", f"{cseq} {method}")]
    fields += headers
    if body:
        fields.append(("Content-Type", content_type))
    return Request(method, parse_uri(uri), Headers(fields), body)


def cpim(
    text: str | bytes,
    *,
    from_: str | None = "<sip:alice@home.com>",
    to: tuple[str, ...] = (f"<{ROOM}>",),
    content_type: str = "text/plain; charset=utf-8",
    headers: tuple[str, ...] = (),
) -> bytes:
    """A message in its CPIM wrapper."""
    lines = [] if from_ is None else [f"From: {from_}"]
    lines += [f"To: {each}" for each in to]
    lines += [*headers, "DateTime: 2026-11-23T09:00:00Z", "", f"Content-Type: {content_type}", ""]
    head = "\r\n".join([*lines, ""]).encode()
    return head + (text.encode() if isinstance(text, str) else text)


def attributes(line: MediaDescription) -> dict[str, str | None]:
    """The attributes of our line but for its path."""
    return {name: value for name, value in line.attributes if name != "path"}


class FakeChannel:
    """The way to the focus: a list of what it was asked, each with the answer to come."""

    def __init__(self) -> None:
        self.sent: list[tuple[Request, Deferred[Response]]] = []

    def request(self, message: Request) -> Deferred[Response]:
        answer: Deferred[Response] = Deferred()
        self.sent.append((message, answer))
        return answer

    @property
    def requests(self) -> list[Request]:
        return [message for message, _ in self.sent]

    def answer(self, status: int = 200, reason: str | None = None) -> None:
        """Answer all that waits."""
        for message, answer in self.sent:
            if not answer.called:
                answer.callback(message.response(status, reason))


class TlsTransport(StringTransport):
    """TLS without any; the peer has presented the certificate of `presents`, None for none."""

    def __init__(self, presents: Credentials | None) -> None:
        super().__init__()
        self._presents = presents
        directlyProvides(self, ISSLTransport)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP."""

    def getPeerCertificate(self) -> X509 | None:
        presents = self._presents
        return None if presents is None else X509.from_cryptography(presents.certificate)


class Client:
    """Somebody's device: one dialog, and one MSRP connection at a time."""

    def __init__(self, case: ControlTestCase, name: str, device: str = "", **options: str) -> None:
        self.case = case
        self.name = name
        self.from_ = options.pop("from_", f"<sip:{name}@home.com>;tag={name}{device}tag")
        self.room = options.pop("room", ROOM)
        self.types = options.pop("types", CPIM_TYPES)
        self.attributes = tuple(filter(None, options.pop("attributes", "").split("\n")))
        self.call_id = f"{name}{device}@home.com"
        self.path = f"msrp://{name}{device}.example.com:7654/{name}{device}session;tcp"
        self.to = f"<{self.room}>"
        self.cseq = 100
        self.answer: Response | None = None
        self.peer: Peer | None = None
        self.heard: list[Frame] = []
        self.headers: tuple[tuple[str, str], ...] = (
            ("Contact", f"<sip:{name}@{name}{device}.example.com:5070>"),
        )
        assert not options, options

    # SIP.

    def offer(self, *attributes: str) -> bytes:
        lines = msrp_lines(*self.attributes, *attributes, types=self.types, path=self.path)
        return sdp(*lines, name=self.name)

    def send(
        self,
        method: str,
        body: bytes = b"",
        *,
        cseq: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        content_type: str = "application/sdp",
    ) -> Response:
        """Send a request; in the dialog once there is one."""
        if cseq is None:
            cseq = self.cseq if method in {"ACK", "CANCEL"} else self.cseq + 1
        self.cseq = max(self.cseq, cseq)
        channel = () if "tag=" in self.to else ((CONFERENCE, self.room),)
        return self.case.control.handle(
            request(
                method,
                self.room,
                from_=self.from_,
                to=self.to,
                call_id=self.call_id,
                cseq=cseq,
                headers=(*self.headers, *channel, *headers),
                body=body,
                content_type=content_type,
            )
        )

    def invite(self, body: bytes | None = None, **options: object) -> Response:
        """Send an INVITE, by default with an offer, and take up the dialog that it begins."""
        answer = self.send("INVITE", self.offer() if body is None else body, **options)  # type: ignore[arg-type]
        if answer.status == 200:
            self.answer = answer
            self.to = answer.headers.get("To") or ""
        return answer

    def join(self) -> Client:
        """Enter the room and connect: INVITE, ACK, and the SEND that binds the session."""
        answer = self.invite()
        self.case.assertEqual(answer.status, 200, answer.reason)
        self.send("ACK")
        return self.connect()

    @property
    def described(self) -> SessionDescription:
        """The room's last description."""
        assert self.answer is not None
        return SessionDescription.parse(self.answer.body)

    @property
    def line(self) -> MediaDescription:
        """The room's line that is not refused."""
        (line,) = [each for each in self.described.media if each.port]
        return line

    @property
    def tag(self) -> str:
        """The room's tag of this dialog."""
        assert self.answer is not None
        return self.answer.to.tag or ""

    @property
    def participant(self) -> Participant:
        """What the server knows of this device, which is in."""
        own_tag = self.from_.partition("tag=")[2] or None
        return self.case.registry.dialogs[self.call_id, self.tag, own_tag]

    @property
    def session(self) -> Session:
        return self.participant.session

    # MSRP.

    def connect(self) -> Client:
        """Bind the session to a connection of its own."""
        self.peer = Peer(self.case.registry.sessions, self.case.clock)
        self.say(b"", content_type=None)
        self.case.assertEqual(self.peer.hears_text(), ["200 OK"])
        return self

    def connect_as(self, *, secure: bool, presents: Credentials | None = None) -> Peer:
        """Connect, with a transport that is TLS or not; nothing is said yet."""
        transport = TlsTransport(presents) if secure else StringTransport()
        self.peer = Peer(self.case.registry.sessions, self.case.clock, transport)
        return self.peer

    def connect_and_hear(self) -> None:
        """The same, of a room that has something to say at once: `heard` has it."""
        self.peer = Peer(self.case.registry.sessions, self.case.clock)
        self.say(b"", content_type=None)
        frames = self.peer.hears()
        self.case.assertIn("200 OK", [each.text for each in frames])
        self.heard = [each for each in frames if each.text == "SEND"]

    @property
    def connected(self) -> Peer:
        assert self.peer is not None
        return self.peer

    def frame(
        self,
        data: bytes,
        message_id: str = "m1",
        byte_range: str | None = None,
        flag: Continuation = COMPLETE,
        *,
        content_type: str | None = "message/cpim",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> bytes:
        """The octets of a SEND."""
        fields = [
            (b"To-Path", (self.line.attribute("path") or "").encode()),
            (b"From-Path", self.path.encode()),
            (b"Message-ID", message_id.encode()),
            (b"Byte-Range", (byte_range or f"1-{len(data)}/{len(data)}").encode()),
            *headers,
        ]
        if content_type is None:
            return encode(b"SEND", new_transaction(), fields)
        fields.append((b"Content-Type", content_type.encode()))
        return encode(b"SEND", new_transaction(), fields, data, flag)

    def say(
        self,
        data: bytes,
        message_id: str = "m1",
        byte_range: str | None = None,
        flag: Continuation = COMPLETE,
        *,
        content_type: str | None = "message/cpim",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Send one SEND."""
        self.connected.says(
            self.frame(
                data, message_id, byte_range, flag, content_type=content_type, headers=headers
            )
        )

    def told(self) -> list[str]:
        """The answers that came since the last time, and nothing else may have come."""
        return self.connected.hears_text()

    def responds(self, frame: Frame, status: str) -> None:
        """Answer a SEND of the room's, such as ``481 No such session``."""
        head = frame.head
        self.connected.says(
            b"MSRP %b %b\r\nTo-Path: %b\r\nFrom-Path: %b\r\n-------%b$\r\n"
            % (head.transaction, status.encode(), head.from_path, head.to_path, head.transaction)
        )

    def hears(self) -> list[Frame]:
        """The SENDs that came since the last time, and nothing else may have come."""
        frames = self.connected.hears()
        self.case.assertEqual([each.text for each in frames if each.text != "SEND"], [])
        return frames

    def hears_text(self) -> list[str]:
        """The bodies of the SENDs that came since the last time."""
        return [frame.body.decode() for frame in self.hears()]

    def hears_whole(self) -> list[tuple[str, bytes]]:
        """The messages that came since the last time, put together by their Byte-Ranges."""
        return reassembled(self.hears())


def reassembled(frames: list[Frame]) -> list[tuple[str, bytes]]:
    """(Content-Type, octets) of each message; fails for one that is not whole and in order."""
    bodies: dict[bytes, bytearray] = {}
    whole: list[tuple[str, bytes]] = []
    for frame in frames:
        message_id = frame.head.message_id
        body = bodies.setdefault(message_id, bytearray())
        place = frame.head.byte_range
        assert place.start == len(body) + 1, (place, len(body))
        assert place.end in {None, len(body) + len(frame.body)}, (place, len(frame.body))
        body += frame.body
        if frame.flag is COMPLETE:
            assert place.total == len(body), (place, len(body))
            whole.append((frame.head.content_type.decode(), bytes(bodies.pop(message_id))))
        assert frame.flag is not ABORTED
    assert not bodies, "a message is cut off"
    return whole


class ControlTestCase(SynchronousTestCase):
    """A `ConferenceControl`, with a channel and clients that are made by `client`."""

    settings = ServerSettings(
        name="s1",
        msrp_host="msrp.example.com",
        msrp_port=8888,
        limits=Limits(queue_octets=100000),
        room=RoomSettings(max_message_octets=1000000, notices=False, rate=0.0),
    )

    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = ConferenceRegistry(self.clock)
        self.connects: list[tuple[Session, Destination]] = []
        self.control = ConferenceControl(
            self.registry, self.clock, self.settings, lambda *each: self.connects.append(each)
        )
        self.channel = FakeChannel()
        self.control.channel = self.channel
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def configure(self, **settings: object) -> None:
        """Change what the operator decided: about the server, or about all rooms."""
        names = {each.name for each in fields(RoomSettings)}
        of_rooms: dict[str, Any] = {key: settings.pop(key) for key in names & settings.keys()}
        room = evolve(self.control.settings.room, **of_rooms)
        self.control.settings = evolve(self.control.settings, room=room, **settings)  # type: ignore[arg-type]
        for each in self.registry.rooms.values():
            each.settings = room

    def client(self, name: str, device: str = "", **options: str) -> Client:
        return Client(self, name, device, **options)

    def joined(self, name: str, device: str = "", **options: str) -> Client:
        """Somebody who is in the room and connected."""
        return self.client(name, device, **options).join()

    @property
    def room(self) -> Room:
        """The room, of which there is one."""
        (room,) = self.registry.rooms.values()
        return room

    @property
    def logged(self) -> list[str]:
        """The log lines of rooms and participants, in order."""
        return [
            formatEvent(event)
            for event in self.events
            if str(event.get("log_namespace")).startswith("msrpconf.conference")
        ]

    def bye(self) -> Request:
        """The BYE that was sent, which is all that was sent."""
        (bye,) = self.channel.requests
        self.assertEqual(bye.method, "BYE")
        return bye

    def assertNobodyIsLeft(self) -> None:
        """Every table is empty."""
        tables = self.registry
        for table in (tables.rooms, tables.dialogs, tables.sessions, tables.pending):
            self.assertEqual(len(table), 0)
