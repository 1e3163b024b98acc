"""What a peer may take of us over connections, and what becomes of what is no message."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from msrpconf.protocols.sip.connection import ConnectionLimits
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import SipParseError
from msrpconf.protocols.sip.sender import TransportError
from tests.protocols.sip.peers import Element, TcpPeer, TransportTestCase, octets
from tests.protocols.sip.test_transport import outgoing

TCP = "tcp:127.0.0.1:0"


def bad(transport: str, sent_by: str = "127.0.0.1", parameters: str = "") -> bytes:
    """A request whose framing is right and whose CSeq is wrong."""
    good = octets(transport, sent_by, parameters=parameters)
    return good.replace(b"CSeq: 1 OPTIONS", b"CSeq: one OPTIONS")


class MalformedTests(TransportTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            if event["log_namespace"] == "msrpconf.protocols.sip.malformed":
                self.lines.append(formatEvent(event))

        observer = cast(ILogObserver, observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def test_answered_over_udp(self) -> None:
        element, address = await self.listening()
        peer = self.udp_peer()
        peer.send(bad("UDP", "10.0.0.1", ";rport"), address)
        data, _ = await peer.next()
        self.assertTrue(data.startswith(b"SIP/2.0 400 "))
        self.assertIn(b";rport=%d;received=127.0.0.1" % peer.endpoint[1], data)
        self.assertRegex(data.decode(), r"To: <sip:conf1@example.com>;tag=\w+\r\n")
        self.assertEqual(element.layer.malformed, 1)
        self.assertEqual(len(self.lines), 1)
        self.assertIn(f"udp:127.0.0.1:{peer.endpoint[1]}", self.lines[0])
        self.assertIn("call-1", self.lines[0])

    async def test_answered_over_tcp_and_the_next_message_is_read(self) -> None:
        element, address = await self.listening(TCP)
        peer = await self.connected(address)
        peer.wire.write(bad("TCP") + octets("TCP", "127.0.0.1", method="MESSAGE"))
        self.assertEqual((await peer.next()).status, 400)
        self.assertEqual((await element.next_request())[0].method, "MESSAGE")

    async def test_lost_framing_closes_the_connection_after_the_answer(self) -> None:
        _, address = await self.listening(TCP)
        peer = await self.connected(address)
        good = octets("TCP", "127.0.0.1")
        peer.wire.write(good.replace(b"Content-Length: 0", b"Content-Length: x") + good)
        self.assertEqual((await peer.next()).status, 400)
        await peer.lost
        self.assertEqual(peer.octets.count(b"SIP/2.0 "), 1)

    async def test_what_is_no_sip_is_dropped(self) -> None:
        element, address = await self.listening(TCP)
        peer = await self.connected(address)
        peer.wire.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await peer.lost
        self.assertEqual((peer.octets, element.layer.malformed), (b"", 1))

    async def test_a_hook_of_the_user(self) -> None:
        seen: list[tuple[int, Flow]] = []

        def on_malformed(error: SipParseError, flow: Flow) -> None:
            seen.append((error.status, flow))
            raise RuntimeError("a bug")

        element, address = await self.listening(on_malformed=on_malformed)
        peer = self.udp_peer()
        peer.send(bad("UDP"), address)
        peer.send(octets("UDP", "127.0.0.1"), address)
        await element.next()
        self.assertEqual(seen, [(400, Flow("udp", address.endpoint, peer.endpoint))])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_an_error_in_on_message_harms_nothing(self) -> None:
        element, address = await self.listening(TCP)
        deliver = element.layer.on_message

        def fail_once(message: Any, flow: Flow) -> None:
            element.layer.on_message = deliver
            raise RuntimeError("a bug")

        element.layer.on_message = fail_once
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "127.0.0.1") * 2)
        await element.next()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class TimeTests(TransportTestCase):
    async def start(self, **limits: Any) -> tuple[Element, Clock, TcpPeer]:
        """A connection from a peer, of which nothing has come yet."""
        clock = Clock()
        self.came = b""

        def trace(direction: str, flow: Flow, data: bytes) -> None:
            self.came += data if direction == "in" else b""

        element, address = await self.listening(
            TCP, clock=clock, limits=ConnectionLimits(**limits), trace=trace
        )
        peer = await self.connected(address)
        await self.until(lambda: element.layer.connections == 1)
        return element, clock, peer

    async def write(self, peer: TcpPeer, data: bytes) -> None:
        """Waits until it has arrived."""
        expected = len(self.came) + len(data)
        peer.wire.write(data)
        await self.until(lambda: len(self.came) == expected or peer.lost.called)

    async def assertAlive(self, peer: TcpPeer) -> None:
        """Answers a ping."""
        before = len(peer.octets)
        peer.wire.write(b"\r\n\r\n")
        await self.until(lambda: len(peer.octets) > before or peer.lost.called)
        self.assertFalse(peer.lost.called)

    async def test_idle(self) -> None:
        _, clock, peer = await self.start(idle_timeout=600)
        await self.write(peer, octets("TCP", "127.0.0.1"))
        for _ in range(2):
            clock.pump([5] * 119)
            await self.assertAlive(peer)
        clock.pump([5] * 121)
        await peer.lost

    async def test_what_we_send_keeps_it_too(self) -> None:
        element, clock, peer = await self.start(idle_timeout=600)
        peer.wire.write(octets("TCP", "127.0.0.1"))
        _, flow = await element.next()
        clock.pump([5] * 110)
        await element.layer.send_request(outgoing(), flow.peer, flow)
        clock.pump([5] * 110)
        await self.assertAlive(peer)

    async def test_half_a_message(self) -> None:
        _, clock, peer = await self.start(message_timeout=30)
        await self.write(peer, octets("TCP", "127.0.0.1") + b"OPTIONS sip:a")
        for _ in range(5):
            clock.pump([5])
            await self.write(peer, b"a")
        self.assertFalse(peer.lost.called)
        clock.pump([5] * 2)
        await peer.lost

    async def test_a_slow_message(self) -> None:
        element, clock, peer = await self.start(message_timeout=30)
        whole = octets("TCP", "127.0.0.1")
        await self.write(peer, whole[:100])
        clock.pump([5] * 5)
        await self.write(peer, whole[100:] + whole[:100])
        await element.next()
        clock.pump([5] * 5)
        await self.write(peer, whole[100:])
        await element.next()
        clock.pump([5] * 20)
        await self.assertAlive(peer)

    async def test_no_message_at_all(self) -> None:
        _, clock, peer = await self.start(message_timeout=30)
        clock.pump([5] * 7)
        await peer.lost

    async def test_line_breaks_are_no_half_message(self) -> None:
        _, clock, peer = await self.start(message_timeout=30)
        await self.write(peer, octets("TCP", "127.0.0.1"))
        await self.write(peer, b"\r\n")
        clock.pump([5] * 20)
        await self.assertAlive(peer)

    async def test_line_breaks_after_a_message_are_no_half_message_either(self) -> None:
        _, clock, peer = await self.start(message_timeout=30)
        await self.write(peer, octets("TCP", "127.0.0.1") + b"\r\n")
        clock.pump([5] * 20)
        await self.assertAlive(peer)

    async def test_a_body_that_never_begins(self) -> None:
        whole = octets("TCP", "127.0.0.1")
        for rest in (b"", b"\r\n"):
            _, clock, peer = await self.start(message_timeout=30)
            await self.write(peer, whole + whole.replace(b"Length: 0", b"Length: 99"))
            clock.pump([5] * 5)
            await self.write(peer, rest)
            self.assertFalse(peer.lost.called)
            clock.pump([5] * 2)
            await peer.lost

    async def test_a_connection_of_ours_owes_nothing(self) -> None:
        clock = Clock()
        element = self.element(clock=clock, limits=ConnectionLimits(message_timeout=30))
        server = self.tcp_server()
        await element.layer.send_request(outgoing(), server.address)
        peer = await server.next()
        clock.pump([5] * 20)
        await self.assertAlive(peer)

    async def test_closing_ends_though_the_peer_does_not_read(self) -> None:
        element, clock, peer = await self.start(unread=10**9, close_timeout=10)
        peer.wire.pauseProducing()
        peer.wire.write(octets("TCP", "127.0.0.1"))
        request, flow = await element.next_request()
        for _ in range(200):
            element.layer.send_response(request.response(200, body=bytes(100_000)), flow)
        stopped = element.layer.stop()
        clock.pump([5] * 1)
        self.assertFalse(stopped.called)
        clock.pump([5] * 2)
        await stopped
        peer.wire.resumeProducing()


class BoundTests(TransportTestCase):
    async def test_a_peer_that_does_not_read_is_disconnected(self) -> None:
        element, address = await self.listening(TCP, limits=ConnectionLimits(unread=100_000))
        peer, other = await self.connected(address), await self.connected(address)
        peer.wire.pauseProducing()
        peer.wire.write(octets("TCP", "127.0.0.1"))
        request, flow = await element.next_request()
        errors: list[TransportError] = []
        for _ in range(500):
            element.layer.send_response(
                request.response(200, body=bytes(50_000)), flow, errors.append
            )
            if errors:
                break
        self.assertIn("does not read", str(errors[0]))
        await self.until(lambda: element.layer.connections == 1)
        other.wire.write(octets("TCP", "127.0.0.1"))
        request, flow = await element.next_request()
        element.layer.send_response(request.response(200), flow)
        self.assertEqual((await other.next()).status, 200)
        peer.wire.resumeProducing()

    async def test_one_that_reads_may_get_any_amount(self) -> None:
        element, address = await self.listening(TCP, limits=ConnectionLimits(unread=300_000))
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "127.0.0.1"))
        request, flow = await element.next_request()
        for _ in range(100):
            element.layer.send_response(request.response(200, body=bytes(100_000)), flow, self.fail)
            self.assertEqual((await peer.next()).status, 200)

    async def test_one_that_reads_while_more_is_written(self) -> None:
        """What counts is what waits, not what was written since it last was nothing."""
        element, address = await self.listening(TCP, limits=ConnectionLimits(unread=300_000))
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "127.0.0.1"))
        request, flow = await element.next_request()
        connection: Any = element.layer._pool.find(flow)
        response = request.response(200, body=bytes(50_000))
        for _ in range(100):
            element.layer.send_response(response, flow, self.fail)
            connection.pauseProducing()  # as if the kernel never took quite all
            self.assertEqual((await peer.next()).status, 200)
        self.assertTrue(connection.usable)

    async def test_connections_of_one_host(self) -> None:
        element, address = await self.listening(
            TCP, limits=ConnectionLimits(connections_per_host=2)
        )
        peers = [await self.connected(address) for _ in range(3)]
        await peers[2].lost
        await self.gone_one(element, peers[0])
        again = await self.connected(address)
        again.wire.write(octets("TCP", "127.0.0.1"))
        await element.next()

    async def gone_one(self, element: Element, peer: TcpPeer) -> None:
        before = element.layer.connections
        peer.wire.abortConnection()
        await self.until(lambda: element.layer.connections == before - 1)

    async def test_all_connections(self) -> None:
        element, address = await self.listening(TCP, limits=ConnectionLimits(connections=1))
        first, second = await self.connected(address), await self.connected(address)
        await second.lost
        server = self.tcp_server()
        text = await self.assertTransportError(
            element.layer.send_request(outgoing(), server.address)
        )
        self.assertIn("no more connections", text)
        first.wire.write(octets("TCP", "127.0.0.1"))
        await element.next()

    async def test_size_of_a_message(self) -> None:
        limits = ConnectionLimits(max_headers=2000, max_body=1000)
        _, address = await self.listening(TCP, limits=limits)
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "127.0.0.1", body=bytes(1001)))
        self.assertEqual((await peer.next()).status, 513)
        await peer.lost
        peer = await self.connected(address)
        peer.wire.write(b"OPTIONS sip:a SIP/2.0\r\nX: " + bytes(3000))
        await peer.lost
