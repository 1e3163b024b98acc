"""The conference server as a service: its ports, its connections, and the end of both."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.msrp.connecting import CONNECT_TIMEOUT
from msrpconf.protocols.sdp import SessionDescription
from msrpconf.protocols.sdp_msrp import msrp_media
from msrpconf.protocols.sip.flow import Address
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.services.server import CLOSE_TIMEOUT, FLUSH_TIMEOUT, ServerService
from tests.services.support import FakeChannel, sip

reactor: Any = import_module("twisted.internet.reactor")

ANY_PORT = Address("tcp", "127.0.0.1", 0)

OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message {port} TCP/MSRP *
a=accept-types:message/cpim text/plain
a=accept-wrapped-types:*
a=setup:{setup}
a=path:msrp://127.0.0.1:{port}/client{number};tcp
"""


def offer(setup: str = "active", port: int = 9, number: int = 1) -> bytes:
    return OFFER.format(setup=setup, port=port, number=number).replace("\n", "\r\n").encode("ascii")


def invite(body: bytes, number: int = 1) -> Request:
    return sip("INVITE", call_id=f"call-{number}", from_tag=f"a{number}", body=body)


def join(service: ServerService, body: bytes, number: int = 1) -> Response:
    """A client joins, as the focus tells it: the 200, after the ACK."""
    response = service.control.handle(invite(body, number))
    assert response.status == 200, response
    ack = sip("ACK", call_id=f"call-{number}", from_tag=f"a{number}", to_tag=response.to.tag)
    assert service.control.handle(ack).status == 200
    return response


def path_in(response: Response) -> str:
    [media] = msrp_media(SessionDescription.parse(response.body))
    return media.path[0]


def msrp(method: str, to: str, *, number: int = 1) -> bytes:
    return (
        f"MSRP t{number} {method}\r\nTo-Path: {to}\r\n"
        f"From-Path: msrp://127.0.0.1:9/client{number};tcp\r\n"
        f"Message-ID: m{number}\r\n-------t{number}$\r\n"
    ).encode("ascii")


class ServerTestCase(SynchronousTestCase):
    """A server whose reactor is memory, on a clock."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.channel = FakeChannel()
        self.service = ServerService(
            self.reactor, ServerSettings(), [Address("tcp", "127.0.0.1", 2855)]
        )
        self.service.use_channel(self.channel)
        self.service.startService()

    def test_files_that_can_be_nowhere(self) -> None:
        at = Path(self.mktemp())
        at.touch()
        service = ServerService(self.reactor, ServerSettings(files=str(at)), [])
        self.addCleanup(service.stopService)
        error = self.assertRaises(OSError, service.startService)
        self.assertEqual(str(error), f"[server] files: {at}: File exists")

    def connect(self) -> tuple[Protocol, StringTransport]:
        """Somebody connects to the MSRP port."""
        factory = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40001))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


class StopTests(ServerTestCase):
    def test_without_anybody(self) -> None:
        self.successResultOf(self.service.stopService())
        self.assertFalse(self.service.running)
        self.assertEqual(self.service.ports, [])

    def test_everybody_gets_a_bye_and_may_answer(self) -> None:
        join(self.service, offer(), 1)
        join(self.service, offer(), 2)
        stopped = self.service.stopService()
        self.assertEqual(self.channel.methods, ["BYE", "BYE"])
        for bye in self.channel.asked:
            self.assertEqual(
                bye.headers.get("Reason"),
                'SIP;cause=503;text="The conference server is shutting down"',
            )
        self.channel.answer()
        self.assertNoResult(stopped)
        self.channel.answer(481)
        self.successResultOf(stopped)
        self.assertEqual(self.service.registry.rooms, {})

    def test_answers_are_not_waited_for_for_ever(self) -> None:
        join(self.service, offer())
        stopped = self.service.stopService()
        self.reactor.advance(CLOSE_TIMEOUT - 0.1)
        self.assertNoResult(stopped)
        self.reactor.advance(0.2)
        self.successResultOf(stopped)
        # The BYE is not taken back; its answer, if it comes, finds somebody.
        self.channel.answer()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_without_a_channel(self) -> None:
        join(self.service, offer())
        self.service.control.channel = None
        self.successResultOf(self.service.stopService())

    def test_connections_are_closed(self) -> None:
        response = join(self.service, offer())
        bound, bound_transport = self.connect()
        bound.dataReceived(msrp("SEND", path_in(response)))
        self.reactor.advance(0)
        self.assertIn(b"MSRP t1 200", bound_transport.value())
        unbound, unbound_transport = self.connect()
        stopped = self.service.stopService()
        self.channel.answer()
        self.reactor.advance(0)
        self.assertTrue(bound_transport.disconnecting)
        self.assertTrue(unbound_transport.disconnecting)
        self.assertNoResult(stopped)
        for protocol in (bound, unbound):
            protocol.connectionLost(Failure(connectionDone.value))
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_does_not_read_is_cut_off(self) -> None:
        protocol, transport = self.connect()
        stopped = self.service.stopService()
        self.reactor.advance(FLUSH_TIMEOUT - 0.1)
        self.assertFalse(transport.disconnected)
        self.reactor.advance(0.2)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(connectionDone.value))
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ConnectTests(ServerTestCase):
    """The client waits for our connection (RFC 6135 §4.2)."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        observer: Any = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def test_not_before_the_ack(self) -> None:
        response = self.service.control.handle(invite(offer("passive", 40000)))
        self.assertIn(b"a=setup:active\r\n", response.body)
        self.assertEqual(self.reactor.tcpClients, [])
        self.service.control.handle(sip("ACK", from_tag="a1", to_tag=response.to.tag))
        host, port, _, timeout, _ = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), ("127.0.0.1", 40000, CONNECT_TIMEOUT))

    def test_an_active_client_is_waited_for(self) -> None:
        response = join(self.service, offer("active"))
        self.assertIn(b"a=setup:passive\r\n", response.body)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_an_attempt_ends_with_the_service(self) -> None:
        join(self.service, offer("passive", 40000))
        [connector] = self.reactor.connectors
        stopped = self.service.stopService()
        self.assertTrue(connector.stoppedConnecting)
        self.channel.answer()
        self.successResultOf(stopped)
        self.assertFalse([line for line in self.lines if "no MSRP connection" in line])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_left_meanwhile_gets_no_connection(self) -> None:
        response = join(self.service, offer("passive", 40000))
        bye = sip("BYE", from_tag="a1", to_tag=response.to.tag, cseq=2)
        self.assertEqual(self.service.control.handle(bye).status, 200)
        factory = self.reactor.tcpClients[0][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.reactor.advance(0)
        self.assertTrue(transport.disconnecting)
        self.assertEqual(transport.value(), b"")

    def test_who_moved_meanwhile_gets_no_connection(self) -> None:
        response = join(self.service, offer("passive", 40000))
        update = sip(
            "UPDATE", from_tag="a1", to_tag=response.to.tag, cseq=2, body=offer("passive", 40001)
        )
        self.assertEqual(self.service.control.handle(update).status, 200)
        transports = []
        for each in self.reactor.tcpClients:
            protocol = each[2].buildProtocol(IPv4Address("TCP", "127.0.0.1", each[1]))
            transports.append(StringTransport())
            protocol.makeConnection(transports[-1])
        self.reactor.advance(0)
        self.assertEqual([each.disconnecting for each in transports], [True, False])
        self.assertEqual(transports[0].value(), b"")
        self.assertIn(b"To-Path: msrp://127.0.0.1:40001/", transports[1].value())


class MsrpListener(Protocol):
    """A client that waits for a connection, and what it hears on it."""

    def __init__(self, heard: Deferred[bytes]) -> None:
        self._heard = heard
        self._data = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if self._data.endswith(b"$\r\n") and not self._heard.called:
            self._heard.callback(self._data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class SocketTests(TestCase):
    """The same over loopback."""

    timeout = 20

    def start(self, *listen: Address, settings: ServerSettings | None = None) -> ServerService:
        service = ServerService(reactor, settings or ServerSettings(), listen or [ANY_PORT])
        self.channel = FakeChannel()
        service.use_channel(self.channel)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    @inlineCallbacks
    def test_ports_open_and_close(self) -> Generator[Deferred[Any], Any, None]:
        service = self.start(ANY_PORT, Address("tcp", "127.0.0.2", 0))
        first, second = (port.getHost() for port in service.ports)
        self.assertEqual((first.host, second.host), ("127.0.0.1", "127.0.0.2"))
        # Clients are told the first.
        response = service.control.handle(invite(offer()))
        self.assertTrue(path_in(response).startswith(f"msrp://127.0.0.1:{first.port}/"))
        for host in (first, second):
            client = yield self.dial(host.host, host.port)
            client.transport.loseConnection()
            yield client.lost
        stopping = service.stopService()
        self.channel.answer()
        yield stopping
        for host in (first, second):
            yield self.assertFailure(self.dial(host.host, host.port), ConnectionRefusedError)

    def dial(self, host: str, port: int) -> Deferred[Any]:
        factory = Factory.forProtocol(lambda: MsrpListener(Deferred()))
        return TCP4ClientEndpoint(reactor, host, port).connect(factory)

    @inlineCallbacks
    def test_a_taken_port(self) -> Generator[Deferred[Any], Any, None]:
        taken = self.start().ports[0].getHost().port
        service = ServerService(
            reactor, ServerSettings(), [ANY_PORT, Address("tcp", "127.0.0.1", taken)]
        )
        self.assertRaises(CannotListenError, service.startService)
        first = service.ports[0].getHost().port
        yield service.stopService()
        yield self.assertFailure(self.dial("127.0.0.1", first), ConnectionRefusedError)

    @inlineCallbacks
    def test_a_passive_client_is_connected_to(self) -> Generator[Deferred[Any], Any, None]:
        service = self.start()
        heard: Deferred[bytes] = Deferred()
        client = MsrpListener(heard)
        port = reactor.listenTCP(
            0,
            Factory.forProtocol(lambda: client),
            interface="127.0.0.1",
        )
        self.addCleanup(port.stopListening)
        response = join(service, offer("passive", port.getHost().port))
        frame = yield heard
        self.assertRegex(frame, rb"^MSRP \S+ SEND\r\nTo-Path: msrp://127\.0\.0\.1:\d+/client1;tcp")
        self.assertIn(f"From-Path: {path_in(response)}\r\n".encode("ascii"), frame)
        self.assertNotIn(b"Content-Type", frame)
        [participant] = service.registry.participants()
        assert participant.session is not None
        self.assertIsNotNone(participant.session.connection)
        stopping = service.stopService()
        self.channel.answer()
        yield stopping
        yield client.lost

    @inlineCallbacks
    def test_a_client_that_cannot_be_connected_to(self) -> Generator[Deferred[Any], Any, None]:
        """It is in the log, and the participant's MSRP timer ends the wait.

        The refusal comes after 0.3 s, when Twisted would have tried another address.
        """
        service = self.start(settings=evolve(ServerSettings(), msrp_timeout=2.0))
        closed = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        port = closed.getHost().port
        yield closed.stopListening()
        said: Deferred[str] = Deferred()
        left: Deferred[str] = Deferred()

        def look(event: Any) -> None:
            line = formatEvent(event)
            if "no MSRP connection" in line:
                said.callback(line)
            elif line.startswith("dropped: "):
                # The BYE follows what is said of it.
                reactor.callLater(0, left.callback, line)

        observer: Any = look
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        join(service, offer("passive", port))
        line = yield said
        uri = f"tcp:127.0.0.1:{port}"
        self.assertIn(f"no MSRP connection to {uri} of sip:alice@example.com in sip:", line)
        self.assertRegex(line, r" \(session [0-9a-f]{30}\)$")
        self.assertIn("refused", line)
        yield left
        [bye] = self.channel.asked
        self.assertEqual(bye.method, "BYE")
        self.assertIn("SIP;cause=408", bye.headers.get("Reason") or "")
        self.assertEqual(service.registry.rooms, {})
