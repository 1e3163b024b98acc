"""Focus and server in one process, over loopback."""

from __future__ import annotations

import socket
from collections.abc import Generator
from importlib import import_module
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.conference.static import StaticRoom
from msrpconf.config import Config
from msrpconf.protocols.msrp.session import Limits
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.errors import SipParseError
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Message, Request, Response, parse_message
from msrpconf.protocols.sip.stream import KeepAlive, StreamParser
from msrpconf.services.compose import ConferenceService, make_service
from msrpconf.services.configured import focus_settings, server_settings
from msrpconf.services.focus_checks import FocusSettings
from msrpconf.services.focus_service import FocusService
from msrpconf.storage.errors import DatabaseError
from tests.services.support import sip
from tests.services.test_server import offer

reactor: Any = import_module("twisted.internet.reactor")

CONFIGURATION = """
[sip]
listen = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
{more}
[server]
listen = ["tcp:127.0.0.1:{msrp}"]
"""


class SettingsTests(SynchronousTestCase):
    def test_every_key_arrives(self) -> None:
        config = Config.parse(
            """
            [sip]
            domains = ["conf.example.com"]
            trusted = ["192.0.2.0/24"]
            contact = "address"
            require = ["gruu"]
            [focus]
            ack_timeout = 1.5
            [server]
            name = "eins"
            listen = ["tcp:0.0.0.0:2800"]
            address = "chat.example.com"
            msrp_timeout = 2.5
            grace = 3.5
            chunk_timeout = 4.5
            queue_octets = 5
            max_rooms = 7
            [conference]
            ad_hoc = false
            max_participants = 8
            plain_text = false
            max_message_octets = 6
            """,
            "the test",
        )
        focus = focus_settings(config)
        self.assertEqual(focus.domains, ("conf.example.com",))
        self.assertEqual(focus.trusted, (IPv4Network("192.0.2.0/24"),))
        self.assertEqual((focus.contact, focus.require), ("address", ("gruu",)))
        server = server_settings(config)
        self.assertEqual((server.name, server.msrp_host), ("eins", "chat.example.com"))
        self.assertEqual(server.msrp_port, 2800)
        self.assertEqual((server.ack_timeout, server.msrp_timeout, server.grace), (1.5, 2.5, 3.5))
        self.assertEqual((server.ad_hoc, server.room.plain_text), (False, False))
        self.assertEqual((server.max_rooms, server.room.max_participants), (7, 8))
        self.assertEqual(server.limits, Limits(queue_octets=5, chunk_timeout=4.5))
        self.assertEqual(server.room.max_message_octets, 6)
        self.assertIsNone(server.files)

    def test_files_are_beside_the_configuration(self) -> None:
        for files, directory in (("kept", "/etc/chat/kept"), ("/srv/files", "/srv/files")):
            text = f'[server]\nfiles = "{files}"\nmax_files_octets = 9'
            server = server_settings(Config.parse(text, "/etc/chat/x.toml"))
            self.assertEqual((server.files, server.max_files_octets), (directory, 9))


class Inbox:
    """Messages as they come, for who waits for them in order."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._waiting: list[Deferred[Any]] = []

    def put(self, message: Message) -> None:
        if self._waiting:
            self._waiting.pop(0).callback(message)
        else:
            self._messages.append(message)

    def next(self) -> Deferred[Any]:
        """The next message."""
        waiter: Deferred[Any] = Deferred()
        if self._messages:
            waiter.callback(self._messages.pop(0))
        else:
            self._waiting.append(waiter)
        return waiter


class UdpPeer(DatagramProtocol):
    """A SIP client's socket."""

    via = "SIP/2.0/UDP 127.0.0.1:{port};branch={{branch}}"
    parameter = ""

    def __init__(self, server: tuple[str, int]) -> None:
        self.inbox = Inbox()
        self._server = server

    def startProtocol(self) -> None:
        transport: Any = self.transport
        self.port = transport.getHost().port

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.inbox.put(parse_message(datagram))

    def send(self, octets: bytes) -> None:
        transport: Any = self.transport
        transport.write(octets, self._server)


class TcpPeer(Protocol):
    """A SIP client's connection."""

    via = "SIP/2.0/TCP 127.0.0.1:{port};branch={{branch}}"
    parameter = ";transport=tcp"

    def __init__(self) -> None:
        self.inbox = Inbox()
        self._parser = StreamParser()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.port = transport.getHost().port

    def dataReceived(self, data: bytes) -> None:
        for event in self._parser.receive_data(data):
            assert not isinstance(event, SipParseError | KeepAlive), event
            self.inbox.put(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    def send(self, octets: bytes) -> None:
        transport: Any = self.transport
        transport.write(octets)


class ServiceTestCase(TestCase):
    """A service on free ports, and clients of bare sockets."""

    timeout = 20

    @inlineCallbacks
    def start(
        self, more: str = "", sip_port: int = 0, msrp_port: int = 0, **options: Any
    ) -> Generator[Deferred[Any], Any, ConferenceService]:
        config = Config.parse(
            CONFIGURATION.format(sip=sip_port, msrp=msrp_port, more=more), "the test"
        )
        service = make_service(config, reactor, **options)
        yield service.startService()
        self.addCleanup(service.stopService)
        self.ports = {address.transport: address.port for address in service.focus.listening}
        return service

    def udp(self) -> UdpPeer:
        peer = UdpPeer(("127.0.0.1", self.ports["udp"]))
        port = reactor.listenUDP(0, peer, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return peer

    @inlineCallbacks
    def tcp(self) -> Generator[Deferred[Any], Any, TcpPeer]:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.ports["tcp"])
        peer: TcpPeer = yield endpoint.connect(Factory.forProtocol(TcpPeer))

        def close() -> Deferred[None]:
            assert peer.transport is not None
            peer.transport.loseConnection()
            return peer.lost

        self.addCleanup(close)
        return peer

    def request(
        self, peer: UdpPeer | TcpPeer, method: str, *headers: str, **changes: Any
    ) -> Request:
        """A request of a peer's."""
        options: dict[str, Any] = {
            "vias": (peer.via.format(port=peer.port),),
            "contact": f"<sip:alice@127.0.0.1:{peer.port}{peer.parameter}>",
            **changes,
        }
        return sip(method, *headers, **options)

    @inlineCallbacks
    def join(
        self, peer: UdpPeer | TcpPeer, *headers: str, **changes: Any
    ) -> Generator[Deferred[Any], Any, tuple[Dialog, Response]]:
        """INVITE, 200, ACK: the client's dialog, and the 200."""
        invite = self.request(peer, "INVITE", *headers, body=offer(), **changes)
        peer.send(bytes(invite))
        response: Response = yield peer.inbox.next()
        self.assertEqual(response.status, 200)
        dialog = Dialog.from_response(invite, response)
        self.send(peer, dialog.ack(1))
        return dialog, response

    def send(self, peer: UdpPeer | TcpPeer, request: Request) -> None:
        """Send a request that a dialog has made."""
        branch = f"z9hG4bK{request.method}{request.cseq.number}"
        request.headers.prepend("Via", peer.via.format(port=peer.port).format(branch=branch))
        request.headers.add("Max-Forwards", "70")
        peer.send(bytes(request))


class PortTests(ServiceTestCase):
    @inlineCallbacks
    def test_what_listens_and_that_it_ends(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start()
        udp, tcp = self.ports["udp"], self.ports["tcp"]
        msrp = service.server.ports[0].getHost().port
        self.assertEqual(
            service.listening,
            [
                f"sip udp:127.0.0.1:{udp}",
                f"sip tcp:127.0.0.1:{tcp}",
                f"msrp tcp:127.0.0.1:{msrp}",
            ],
        )
        self.assertTrue(service.running)
        yield service.stopService()
        self.assertFalse(service.running)
        self.assertEqual(service.listening, [])
        for kind, port in ((socket.SOCK_DGRAM, udp), (socket.SOCK_STREAM, tcp)):
            self.assertFree(kind, port)
        self.assertFree(socket.SOCK_STREAM, msrp)

    def assertFree(self, kind: int, port: int) -> None:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if kind == socket.SOCK_STREAM:
                probe.listen()

    def taken(self, kind: int) -> int:
        """A port that somebody else has."""
        other = socket.socket(socket.AF_INET, kind)
        self.addCleanup(other.close)
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port: int = other.getsockname()[1]
        return port

    def free(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    @inlineCallbacks
    def test_a_taken_port_leaves_nothing_open(self) -> Generator[Deferred[Any], Any, None]:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            other = socket.SOCK_STREAM if kind == socket.SOCK_DGRAM else socket.SOCK_DGRAM
            for attempt in range(5):
                # As UDP, the first to be opened; as TCP, the second. MSRP is open by then.
                taken, msrp = self.taken(kind), self.free()
                yield self.assertFailure(self.start("", taken, msrp), CannotListenError)
                try:
                    self.assertFree(socket.SOCK_STREAM, msrp)
                    self.assertFree(other, taken)
                    break
                except OSError:
                    # Other tests run beside this one, and the system may have given them the port.
                    if attempt == 4:
                        raise

    @inlineCallbacks
    def test_a_taken_msrp_port_leaves_nothing_open(self) -> Generator[Deferred[Any], Any, None]:
        taken, free = self.taken(socket.SOCK_STREAM), self.free()
        yield self.assertFailure(self.start("", free, taken), CannotListenError)
        self.assertFree(socket.SOCK_STREAM, free)
        self.assertFree(socket.SOCK_DGRAM, free)

    @inlineCallbacks
    def test_a_focus_alone_leaves_nothing_open_either(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        taken, free = self.taken(socket.SOCK_STREAM), self.free()
        listen = [Address("udp", "127.0.0.1", free), Address("tcp", "127.0.0.1", taken)]
        service = FocusService(reactor, FocusSettings(), listen)
        yield self.assertFailure(service.startService(), CannotListenError)
        self.assertFree(socket.SOCK_DGRAM, free)
        self.assertEqual(service.listening, [])

    @inlineCallbacks
    def test_a_database_that_cannot_be_used_leaves_nothing_open(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        msrp = self.free()
        more = '[focus]\n[database]\nurl = "sqlite:////nowhere/x.sqlite"'
        yield self.assertFailure(self.start(more, 0, msrp), DatabaseError)
        self.assertFree(socket.SOCK_STREAM, msrp)

    @inlineCallbacks
    def test_static_rooms(self) -> Generator[Deferred[Any], Any, None]:
        more = f'[conference]\nad_hoc = false\n[database]\nurl = "sqlite:///{Path(self.mktemp()).absolute()}"'
        for count in range(2):
            service = yield self.start(more)
            self.assertEqual(len(service.registry.rooms), count)
            if not count:
                yield service.static_rooms.create(StaticRoom("sip:lobby@conf.example.com"))
            peer = yield self.tcp()
            yield self.join(peer)
            ended = service.stopService()
            bye = yield peer.inbox.next()
            peer.send(bytes(bye.response(200)))
            yield ended

    @inlineCallbacks
    def test_who_stops_it_while_it_starts(self) -> Generator[Deferred[Any], Any, None]:
        config = Config.parse(
            CONFIGURATION.format(sip=0, msrp=0, more='[database]\nurl = "sqlite://"'), "the test"
        )
        service = make_service(config, reactor)
        starting = service.startService()
        yield service.stopService()
        yield starting
        self.assertEqual(service.listening, [])

    @inlineCallbacks
    def test_an_application_embeds_it(self) -> Generator[Deferred[Any], Any, None]:
        application = MultiService()
        config = Config.parse(CONFIGURATION.format(sip=0, msrp=0, more=""), "the test")
        service = make_service(config, reactor)
        service.setServiceParent(application)
        application.startService()
        self.assertEqual(len(service.listening), 3)
        yield application.stopService()
        self.assertEqual(service.listening, [])


class CallTests(ServiceTestCase):
    @inlineCallbacks
    def test_join_and_leave(self) -> Generator[Deferred[Any], Any, None]:
        """Direct clients: our Contact is our address, and brings them to their room."""
        service = yield self.start('domains = ["conf.example.com"]')
        udp, tcp = self.udp(), (yield self.tcp())
        for peer, transport in ((udp, "udp"), (tcp, "tcp")):
            dialog, response = yield self.join(peer, call_id=transport)
            self.assertEqual(
                str(response.contacts[0].uri),
                f"sip:lobby@127.0.0.1:{self.ports[transport]}{peer.parameter}"
                ";room-domain=conf.example.com",
            )
            [room] = service.registry.rooms.values()
            self.assertEqual(room.uri, "sip:lobby@conf.example.com")
            self.send(peer, dialog.request("OPTIONS")[1])
            answer = yield peer.inbox.next()
            self.assertEqual((answer.status, answer.cseq.method), (200, "OPTIONS"))
            _, bye = dialog.request("BYE")
            self.send(peer, bye)
            answer = yield peer.inbox.next()
            self.assertEqual((answer.status, answer.cseq.method), (200, "BYE"))
            self.assertEqual(service.registry.rooms, {})

    @inlineCallbacks
    def test_the_address_that_others_know(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start('address = "chat.example.com"')
        peer = yield self.tcp()
        _, response = yield self.join(peer)
        self.assertEqual(
            str(response.contacts[0].uri),
            f"sip:lobby@chat.example.com:{self.ports['tcp']};transport=tcp"
            ";room-domain=conf.example.com",
        )
        ended = service.server.stopService()
        bye = yield peer.inbox.next()
        self.assertEqual(bye.top_via.host, "chat.example.com")
        peer.send(bytes(bye.response(200)))
        yield ended

    @inlineCallbacks
    def test_by_a_connection_that_we_made(self) -> Generator[Deferred[Any], Any, None]:
        """We listen for UDP alone: that is where we are to be reached, whatever was used."""
        listen = [Address("udp", "127.0.0.1", 0)]
        service = FocusService(reactor, FocusSettings(), listen)
        self.addCleanup(service.stopService)
        yield service.startService()
        flow = Flow("tcp", ("127.0.0.1", 40001), ("127.0.0.1", 40002), 1)
        self.assertEqual(service.local_address(flow), service.listening[0])

    @inlineCallbacks
    def test_no_ad_hoc_rooms(self) -> Generator[Deferred[Any], Any, None]:
        yield self.start("[conference]\nad_hoc = false")
        peer = self.udp()
        for method in ("INVITE", "OPTIONS"):
            peer.send(bytes(self.request(peer, method, branch=f"z9hG4bK{method}")))
            response = yield peer.inbox.next()
            self.assertEqual(response.status, 404)
            self.assertIn("No such room", response.reason)

    @inlineCallbacks
    def test_an_offer_that_cannot_be_served(self) -> Generator[Deferred[Any], Any, None]:
        yield self.start()
        peer = self.udp()
        audio = offer().replace(b"m=message 9 TCP/MSRP *", b"m=audio 9 RTP/AVP 0")
        peer.send(bytes(self.request(peer, "INVITE", body=audio)))
        response = yield peer.inbox.next()
        self.assertEqual(response.status, 488)
        self.assertRegex(response.headers.get("Warning") or "", r'^399 \S+ ".*m=message.*"$')

    @inlineCallbacks
    def test_in_dialogs_that_are_none(self) -> Generator[Deferred[Any], Any, None]:
        yield self.start()
        peer = self.udp()
        for method in ("BYE", "INVITE", "UPDATE"):
            request = self.request(peer, method, to_tag="local.none", branch=f"z9hG4bK{method}")
            peer.send(bytes(request))
            response = yield peer.inbox.next()
            self.assertEqual((response.status, response.cseq.method), (481, method))

    @inlineCallbacks
    def test_400_for_what_is_no_message(self) -> Generator[Deferred[Any], Any, None]:
        yield self.start()
        peer = self.udp()
        peer.send(bytes(self.request(peer, "INVITE")).replace(b"Forwards: 70", b"Forwards: x"))
        response = yield peer.inbox.next()
        self.assertEqual(response.status, 400)
        self.assertIn("Max-Forwards", response.reason)

    @inlineCallbacks
    def test_513_for_what_is_too_large(self) -> Generator[Deferred[Any], Any, None]:
        yield self.start()
        peer = yield self.tcp()
        head = bytes(self.request(peer, "INVITE"))
        peer.send(head.replace(b"Content-Length: 0", b"Content-Length: 300000"))
        response = yield peer.inbox.next()
        self.assertEqual(response.status, 513)
        yield peer.lost

    @inlineCallbacks
    def test_503_where_there_are_too_many(self) -> Generator[Deferred[Any], Any, None]:
        lines: list[str] = []
        observer: Any = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        yield self.start("max_transactions = 1")
        peer = self.udp()
        for number, expected in ((1, 200), (2, 503)):
            request = self.request(peer, "OPTIONS", call_id=f"{number}", branch=f"z9hG4bK{number}")
            peer.send(bytes(request))
            response = yield peer.inbox.next()
            self.assertEqual(response.status, expected)
        self.assertEqual(response.headers.get("Retry-After"), "10")
        [refusal] = [line for line in lines if line.startswith("refused: ")]
        self.assertIn(f"503 {response.reason} (Call-ID 2)", refusal)


class ByeTests(ServiceTestCase):
    """Requests of the server's, and how they find the client."""

    @inlineCallbacks
    def end(self, service: ConferenceService) -> Generator[Deferred[Any], Any, None]:
        """Have the server say goodbye to everybody."""
        yield service.server.stopService()

    @inlineCallbacks
    def test_the_connection_of_a_client_is_used(self) -> Generator[Deferred[Any], Any, None]:
        """Behind NAT its Contact leads nowhere."""
        service = yield self.start()
        peer = yield self.tcp()
        yield self.join(peer, contact="<sip:alice@client.invalid;transport=tcp>")
        ended = self.end(service)
        bye = yield peer.inbox.next()
        self.assertEqual(bye.method, "BYE")
        self.assertEqual(str(bye.uri), "sip:alice@client.invalid;transport=tcp")
        self.assertEqual(bye.top_via.port, self.ports["tcp"])
        self.assertNotIn("Flow", bye.headers)
        peer.send(bytes(bye.response(200)))
        yield ended

    @inlineCallbacks
    def test_where_it_is_closed_the_contact_is_used(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start()
        peer, elsewhere = (yield self.tcp()), self.udp()
        yield self.join(peer, contact=f"<sip:alice@127.0.0.1:{elsewhere.port}>")
        [participant] = service.registry.participants()
        flow = Flow.parse(participant.flow)
        self.assertTrue(service.focus.transport.is_alive(flow))
        peer.transport.loseConnection()
        while service.focus.transport.is_alive(flow):
            yield deferLater(reactor, 0)
        ended = self.end(service)
        bye = yield elsewhere.inbox.next()
        self.assertEqual((bye.method, bye.top_via.transport), ("BYE", "UDP"))
        elsewhere.send(bytes(bye.response(200)))
        yield ended

    @inlineCallbacks
    def test_routes_are_followed(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start()
        client, proxy = self.udp(), self.udp()
        routes = f"<sip:127.0.0.1:{proxy.port};lr>, <sip:edge.example.com;lr>"
        yield self.join(client, f"Record-Route: {routes}")
        ended = self.end(service)
        bye = yield proxy.inbox.next()
        self.assertEqual(str(bye.uri), f"sip:alice@127.0.0.1:{client.port}")
        self.assertEqual(", ".join(bye.raw_routes), routes)
        proxy.send(bytes(bye.response(200)))
        yield ended

    @inlineCallbacks
    def test_from_where_the_client_sends_if_it_listens_there(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start()
        sends, listens = self.udp(), self.udp()
        invite = self.request(
            sends,
            "INVITE",
            vias=(listens.via.format(port=listens.port),),
            contact=f"<sip:alice@127.0.0.1:{listens.port}>",
            body=offer(),
        )
        sends.send(bytes(invite))
        response = yield listens.inbox.next()
        self.assertEqual(response.status, 200)
        self.send(listens, Dialog.from_response(invite, response).ack(1))
        ended = self.end(service)
        bye = yield listens.inbox.next()
        self.assertEqual(bye.method, "BYE")
        listens.send(bytes(bye.response(200)))
        yield ended


class StopTests(ServiceTestCase):
    @inlineCallbacks
    def test_nobody_new_and_a_bye_for_everybody(self) -> Generator[Deferred[Any], Any, None]:
        service = yield self.start()
        alice, bob, carol = self.udp(), (yield self.tcp()), self.udp()
        yield self.join(alice, call_id="a")
        dialog, _ = yield self.join(bob, call_id="b")
        stopped = service.stopService()
        byes = [(yield alice.inbox.next()), (yield bob.inbox.next())]
        self.assertEqual([bye.method for bye in byes], ["BYE", "BYE"])
        self.assertIn("shutting down", byes[0].headers.get("Reason"))
        carol.send(bytes(self.request(carol, "INVITE", call_id="c", body=offer())))
        response = yield carol.inbox.next()
        self.assertEqual((response.status, response.headers.get("Retry-After")), (503, "10"))
        # A BYE that crosses ours is answered as ever.
        self.send(bob, dialog.request("BYE")[1])
        response = yield bob.inbox.next()
        self.assertEqual((response.status, response.cseq.method), (481, "BYE"))
        self.assertFalse(stopped.called)
        alice.send(bytes(byes[0].response(200)))
        bob.send(bytes(byes[1].response(200)))
        yield stopped
        yield bob.lost

    @inlineCallbacks
    def test_who_does_not_answer_is_not_waited_for(self) -> Generator[Deferred[Any], Any, None]:
        self.patch(import_module("msrpconf.services.server"), "CLOSE_TIMEOUT", 0.1)
        service = yield self.start()
        peer = self.udp()
        yield self.join(peer)
        stopped = service.stopService()
        bye = yield peer.inbox.next()
        self.assertEqual(bye.method, "BYE")
        yield stopped


class TraceTests(ServiceTestCase):
    @inlineCallbacks
    def test_every_message_is_told(self) -> Generator[Deferred[Any], Any, None]:
        traced: list[tuple[str, str, str, bytes]] = []
        service = yield self.start(trace=lambda *message: traced.append(message))
        peer = self.udp()
        peer.send(bytes(self.request(peer, "OPTIONS")))
        response = yield peer.inbox.next()
        self.assertEqual(response.status, 200)
        host = service.server.ports[0].getHost()
        dialled: Deferred[Any] = TCP4ClientEndpoint(reactor, host.host, host.port).connect(
            Factory.forProtocol(TcpPeer)
        )
        msrp = yield dialled
        msrp.dataReceived = lambda data: msrp.transport.loseConnection()
        msrp.send(
            b"MSRP t1 SEND\r\nTo-Path: msrp://127.0.0.1:1/none;tcp\r\n"
            b"From-Path: msrp://127.0.0.1:2/me;tcp\r\nMessage-ID: 1\r\n-------t1$\r\n"
        )
        yield msrp.lost
        told = [(kind, way, peer, octets[:12]) for kind, way, peer, octets in traced]
        self.assertEqual(
            told,
            [
                ("sip", "in", f"udp:127.0.0.1:{peer.port}", b"OPTIONS sip:"),
                ("sip", "out", f"udp:127.0.0.1:{peer.port}", b"SIP/2.0 200 "),
                ("msrp", "in", f"tcp:127.0.0.1:{msrp.port}", b"MSRP t1 SEND"),
                ("msrp", "out", f"tcp:127.0.0.1:{msrp.port}", b"MSRP t1 481 "),
            ],
        )
