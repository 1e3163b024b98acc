"""The transport layer on loopback, with the real reactor."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Request, Response, parse_message
from msrpconf.protocols.sip.sender import TransportError
from tests.protocols.sip.fakes import make_request
from tests.protocols.sip.peers import TransportTestCase, octets

LOOPBACKS = ("127.0.0.1", "::1")


def unused_port() -> int:
    """A TCP port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def outgoing(method: str = "OPTIONS", body: bytes = b"") -> Request:
    """A request as a transaction hands it down."""
    request = make_request(method, sent_by="unsent.invalid", branch="z9hG4bKone")
    request.body = body
    return request


class ListenTests(TransportTestCase):
    async def test_udp_and_tcp_on_one_port(self) -> None:
        for host in LOOPBACKS:
            element, udp = await self.listening(str(Address("udp", host, 0)))
            tcp = await element.layer.listen(Address("tcp", host, udp.port))
            self.assertNotEqual(udp.port, 0)
            self.assertEqual(udp.endpoint, tcp.endpoint)

    async def test_both_wildcards_on_one_port(self) -> None:
        for transport in ("udp", "tcp"):
            element, address = await self.listening(f"{transport}:0.0.0.0:0")
            await element.layer.listen(Address(transport, "::", address.port))

    async def test_a_port_that_is_taken(self) -> None:
        for transport in ("udp", "tcp"):
            element, address = await self.listening(f"{transport}:127.0.0.1:0")
            await self.assertFailure(element.layer.listen(address), CannotListenError)

    async def test_tls_without_a_certificate(self) -> None:
        element = self.element()
        text = await self.assertTransportError(
            element.layer.listen(Address.parse("tls:127.0.0.1:0"))
        )
        self.assertIn("certificate", text)

    async def test_stopped(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "127.0.0.1"))
        await element.next()
        await element.layer.stop()
        await peer.lost
        _, same = await self.listening(str(address))
        self.assertEqual(same, address)
        await self.assertTransportError(element.layer.send_request(outgoing(), address))


class LocalAddressTests(TransportTestCase):
    async def test_where_we_listen(self) -> None:
        element, udp = await self.listening("udp:127.0.0.1:0")
        self.assertEqual(element.layer.local_address("udp", "127.0.0.1"), udp)
        self.assertEqual(element.layer.local_address("udp", "127.0.0.9"), udp)

    async def test_what_a_peer_sees_of_a_wildcard(self) -> None:
        for wildcard, host in (("0.0.0.0", "127.0.0.1"), ("::", "::1")):
            element, address = await self.listening(str(Address("tcp", wildcard, 0)))
            self.assertEqual(
                element.layer.local_address("tcp", host), Address("tcp", host, address.port)
            )

    async def test_the_better_of_several(self) -> None:
        element, wildcard = await self.listening("udp:0.0.0.0:0")
        exact = await element.layer.listen(Address("udp", "127.0.0.2", 0))
        local = element.layer.local_address
        self.assertEqual(local("udp", "127.0.0.1").port, wildcard.port)
        ipv6 = await element.layer.listen(Address("udp", "::1", 0))
        self.assertEqual(local("udp", "::1"), ipv6)
        self.assertNotEqual(exact.port, wildcard.port)

    async def test_a_host_that_others_know_us_by(self) -> None:
        for transport in ("udp", "tcp"):
            element, address = await self.listening(
                f"{transport}:0.0.0.0:0", advertised_host="sip.example.com"
            )
            self.assertEqual(
                element.layer.local_address(transport, "127.0.0.1"),
                Address(transport, "sip.example.com", address.port),
            )
            request = outgoing()
            server = self.udp_peer() if transport == "udp" else self.tcp_server()
            target = Address(transport, "127.0.0.1", server.port.getHost().port)
            await element.layer.send_request(request, target)
            self.assertEqual(
                (request.top_via.host, request.top_via.port), ("sip.example.com", address.port)
            )

    async def test_none(self) -> None:
        element, _ = await self.listening("udp:127.0.0.1:0")
        for transport, host in (("tcp", "127.0.0.1"), ("udp", "::1"), ("udp", "192.0.2.1")):
            with self.assertRaises(TransportError):
                element.layer.local_address(transport, host)

    async def test_can_reach(self) -> None:
        element, _ = await self.listening("udp:127.0.0.1:0")
        for text, reachable in (
            ("udp:127.0.0.1:5060", True),
            ("udp:[::1]:5060", False),
            ("tcp:127.0.0.1:5060", True),
            ("tcp:[::1]:5060", True),
            ("tcp:name.example:5060", False),
        ):
            with self.subTest(text):
                self.assertIs(element.layer.can_reach(Address.parse(text)), reachable)


class UdpTests(TransportTestCase):
    async def test_a_request_and_its_response(self) -> None:
        for host in LOOPBACKS:
            element, address = await self.listening(str(Address("udp", host, 0)))
            peer = self.udp_peer(host)
            sent_by = Address("udp", "10.0.0.1", 4540).sent_by
            peer.send(octets("UDP", sent_by, parameters=";rport"), address)
            request, flow = await element.next_request()
            self.assertEqual(flow, Flow("udp", address.endpoint, peer.endpoint))
            self.assertEqual(request.top_via.received, host)
            self.assertEqual(request.top_via.rport, peer.endpoint[1])
            sent = element.layer.send_response(request.response(200), flow)
            data, source = await peer.next()
            self.assertEqual((data, source), (sent.octets, address.endpoint))

    async def test_without_rport_the_response_goes_to_the_port_of_sent_by(self) -> None:
        element, address = await self.listening()
        sender, listener = self.udp_peer(), self.udp_peer()
        sender.send(octets("UDP", f"localhost:{listener.endpoint[1]}"), address)
        request, flow = await element.next_request()
        sent = element.layer.send_response(request.response(200), flow)
        data, _ = await listener.next()
        self.assertEqual(data, sent.octets)
        self.assertEqual(sent.flow.remote, listener.endpoint)
        element.layer.repeat(sent)
        self.assertEqual((await listener.next())[0], data)

    async def test_a_request_of_ours(self) -> None:
        for host in LOOPBACKS:
            element, address = await self.listening(str(Address("udp", host, 0)))
            peer = self.udp_peer(host)
            flow = await element.layer.send_request(outgoing(), Address("udp", *peer.endpoint))
            self.assertEqual(flow, Flow("udp", address.endpoint, peer.endpoint))
            data, source = await peer.next()
            self.assertEqual(source, address.endpoint)
            request = parse_message(data)
            self.assertEqual(
                str(request.top_via), f"SIP/2.0/UDP {address.sent_by};branch=z9hG4bKone;rport"
            )
            assert isinstance(request, Request)
            peer.send(bytes(request.response(200)), address)
            response, _ = await element.next()
            assert isinstance(response, Response)
            self.assertEqual(response.status, 200)

    async def test_a_flow_is_better_than_a_target(self) -> None:
        # As behind NAT, where the address of a Contact leads nowhere.
        element, _ = await self.listening()
        other = await element.layer.listen(Address("udp", "127.0.0.1", 0))
        peer = self.udp_peer()
        peer.send(octets("UDP", "10.0.0.1"), other)
        _, flow = await element.next()
        target = Address("udp", "127.0.0.1", 9)
        self.assertTrue(element.layer.is_alive(flow))
        self.assertEqual(await element.layer.send_request(outgoing("BYE"), target, flow), flow)
        data, source = await peer.next()
        self.assertEqual((data[:3], source), (b"BYE", other.endpoint))

    async def test_the_via_of_a_wildcard_names_an_address(self) -> None:
        element, address = await self.listening("udp:0.0.0.0:0")
        peer = self.udp_peer()
        await element.layer.send_request(outgoing(), Address("udp", *peer.endpoint))
        data, _ = await peer.next()
        via = parse_message(data).top_via
        self.assertEqual((via.host, via.port), ("127.0.0.1", address.port))

    async def test_no_socket_for_it(self) -> None:
        element, _ = await self.listening()
        for target in ("udp:[::1]:5060", "udp:192.0.2.1:5060", "udp:name.example:5060"):
            await self.assertTransportError(
                element.layer.send_request(outgoing(), Address.parse(target))
            )

    async def test_a_response_that_is_too_large(self) -> None:
        element, address = await self.listening()
        peer = self.udp_peer()
        peer.send(octets("UDP", "127.0.0.1", parameters=";rport"), address)
        request, flow = await element.next_request()
        errors: list[TransportError] = []
        response = request.response(200, body=bytes(70_000))
        element.layer.send_response(response, flow, errors.append)
        self.assertEqual(len(errors), 1)
        self.assertIn("Message too long", str(errors[0]))

    async def test_what_keeps_a_nat_open_is_nothing(self) -> None:
        element, address = await self.listening()
        peer = self.udp_peer()
        for nothing in (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0\1\0\0\x21\x12\xa4\x42"):
            peer.send(nothing, address)
        peer.send(b"\r\n\r\n" + octets("UDP", "127.0.0.1"), address)
        request, _ = await element.next_request()
        self.assertEqual(request.method, "OPTIONS")
        self.assertEqual(element.layer.malformed, 0)

    async def test_a_large_datagram(self) -> None:
        element, address = await self.listening()
        peer = self.udp_peer()
        body = bytes(60_000)
        peer.send(octets("UDP", "127.0.0.1", body=body), address)
        request, _ = await element.next_request()
        self.assertEqual(request.body, body)


class LargeRequestTests(TransportTestCase):
    """RFC 3261 section 18.1.1: above 1300 octets by TCP, and by UDP where TCP is refused."""

    async def test_by_tcp(self) -> None:
        element, address = await self.listening()
        await element.layer.listen(Address("tcp", *address.endpoint))
        server = self.tcp_server()
        target = Address("udp", *server.address.endpoint)
        flow = await element.layer.send_request(outgoing(body=bytes(1300)), target)
        self.assertEqual((flow.transport, flow.remote), ("tcp", server.address.endpoint))
        peer = await server.next()
        request = await peer.next()
        self.assertEqual(
            str(request.top_via), f"SIP/2.0/TCP {address.sent_by};branch=z9hG4bKone;rport"
        )

    async def test_a_small_one_by_udp(self) -> None:
        element, _ = await self.listening()
        peer = self.udp_peer()
        flow = await element.layer.send_request(outgoing(), Address("udp", *peer.endpoint))
        self.assertEqual(flow.transport, "udp")

    async def test_by_udp_where_tcp_is_refused(self) -> None:
        element, _ = await self.listening()
        peer = self.udp_peer()
        target = Address("udp", *peer.endpoint)
        flow = await element.layer.send_request(outgoing(body=bytes(2000)), target)
        self.assertEqual(flow.transport, "udp")
        request = parse_message((await peer.next())[0])
        self.assertEqual((request.top_via.transport, len(request.body)), ("UDP", 2000))

    async def test_what_was_refused_is_remembered(self) -> None:
        clock = Clock()
        element, _ = await self.listening(clock=clock)
        peer = self.udp_peer()
        target = Address("udp", *peer.endpoint)
        await element.layer.send_request(outgoing(body=bytes(2000)), target)
        server = self.tcp_server(port=peer.endpoint[1])
        flow = await element.layer.send_request(outgoing(body=bytes(2000)), target)
        self.assertEqual((flow.transport, server.accepted), ("udp", 0))
        clock.advance(301)
        flow = await element.layer.send_request(outgoing(body=bytes(2000)), target)
        self.assertEqual(flow.transport, "tcp")

    async def test_not_sent_once_nobody_wants_it(self) -> None:
        element, _ = await self.listening()
        peer = self.udp_peer()
        target = Address("udp", *peer.endpoint)
        sending = element.layer.send_request(outgoing(body=bytes(2000)), target)
        sending.addErrback(lambda failure: None)
        sending.cancel()
        await element.layer.send_request(outgoing("MESSAGE"), target)
        self.assertTrue((await peer.next())[0].startswith(b"MESSAGE"))


class TcpTests(TransportTestCase):
    async def test_the_response_goes_back_by_the_connection(self) -> None:
        for host in LOOPBACKS:
            element, address = await self.listening(str(Address("tcp", host, 0)))
            peer = await self.connected(address)
            peer.wire.write(octets("TCP", "client.example:9"))
            request, flow = await element.next_request()
            self.assertEqual((flow.transport, flow.local), ("tcp", address.endpoint))
            self.assertEqual(flow.remote[1], peer.wire.getHost().port)
            self.assertEqual(request.top_via.received, host)
            element.layer.send_response(request.response(200), flow)
            self.assertEqual((await peer.next()).status, 200)

    async def test_requests_of_ours_use_the_flow(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "client.example"))
        _, flow = await element.next()
        token = str(flow)
        target = Address("tcp", "127.0.0.1", unused_port())
        used = await element.layer.send_request(outgoing("BYE"), target, Flow.parse(token))
        self.assertEqual(used, flow)
        bye = await peer.next()
        self.assertEqual(str(bye.top_via), f"SIP/2.0/TCP {address.sent_by};branch=z9hG4bKone;rport")

    async def test_a_flow_that_is_gone(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        server = self.tcp_server()
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "client.example"))
        _, flow = await element.next()
        await self.gone(element, peer)
        again = await self.connected(address)
        again.wire.write(octets("TCP", "client.example"))
        _, alive = await element.next()
        self.assertTrue(element.layer.is_alive(alive))
        # A flow of another process, with the number of one that is alive here.
        other = Flow("tcp", flow.local, ("192.0.2.1", 1), alive.serial)
        for gone in (flow, other):
            self.assertFalse(element.layer.is_alive(gone))
            used = await element.layer.send_request(outgoing(), server.address, gone)
            self.assertEqual(used.remote, server.address.endpoint)

    async def test_one_connection_for_one_target(self) -> None:
        element = self.element()
        server = self.tcp_server()
        sending = [
            element.layer.send_request(outgoing(method), server.address)
            for method in ("OPTIONS", "MESSAGE")
        ]
        flows = [await result for result in sending]
        flows.append(await element.layer.send_request(outgoing("INFO"), server.address))
        peer = await server.next()
        methods = [(await peer.next()).method for _ in range(3)]
        self.assertEqual(methods, ["OPTIONS", "MESSAGE", "INFO"])
        self.assertEqual((len(set(flows)), server.accepted), (1, 1))

    async def test_one_of_two_that_wait_leaves(self) -> None:
        element = self.element()
        server = self.tcp_server()
        sending = [
            element.layer.send_request(outgoing(method), server.address)
            for method in ("OPTIONS", "MESSAGE")
        ]
        sending[0].addErrback(lambda failure: None)
        sending[0].cancel()
        await sending[1]
        self.assertEqual((await (await server.next()).next()).method, "MESSAGE")

    async def test_all_that_wait_leave(self) -> None:
        element = self.element()
        server = self.tcp_server()
        sending = element.layer.send_request(outgoing(), server.address)
        sending.addErrback(lambda failure: None)
        sending.cancel()
        flow = await element.layer.send_request(outgoing("MESSAGE"), server.address)
        self.assertEqual(flow.remote, server.address.endpoint)

    async def test_an_accepted_connection_serves_for_its_address_too(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", "client.example"))
        _, flow = await element.next()
        used = await element.layer.send_request(outgoing(), flow.peer)
        self.assertEqual(used, flow)

    async def test_without_a_listener_via_names_the_connection(self) -> None:
        element = self.element()
        server = self.tcp_server()
        flow = await element.layer.send_request(outgoing(), server.address)
        request = await (await server.next()).next()
        self.assertEqual((request.top_via.host, request.top_via.port), flow.local)

    async def test_connections_are_made_from_where_we_listen(self) -> None:
        element, _ = await self.listening("tcp:127.0.0.3:0")
        server = self.tcp_server()
        flow = await element.layer.send_request(outgoing(), server.address)
        self.assertEqual(flow.local[0], "127.0.0.3")

    async def test_refused(self) -> None:
        element = self.element()
        target = Address("tcp", "127.0.0.1", unused_port())
        text = await self.assertTransportError(element.layer.send_request(outgoing(), target))
        self.assertEqual(text, f"{target}: Connection refused")

    async def test_a_response_by_a_new_connection(self) -> None:
        """RFC 3261 section 18.2.2: to the address of received and the port of sent-by."""
        element, address = await self.listening("tcp:127.0.0.1:0")
        server = self.tcp_server()
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", f"client.example:{server.address.port}"))
        request, flow = await element.next_request()
        await self.gone(element, peer)
        element.layer.send_response(request.response(200), flow, self.fail)
        self.assertEqual((await (await server.next()).next()).status, 200)

    async def test_a_response_that_cannot_be_delivered(self) -> None:
        element, address = await self.listening("tcp:127.0.0.1:0")
        peer = await self.connected(address)
        peer.wire.write(octets("TCP", f"client.example:{unused_port()}"))
        request, flow = await element.next_request()
        await self.gone(element, peer)
        errors: list[TransportError] = []
        sent = element.layer.send_response(request.response(200), flow, errors.append)
        await self.until(lambda: bool(errors))
        self.assertIn("Connection refused", str(errors[0]))
        element.layer.repeat(sent)

    async def test_keep_alive(self) -> None:
        """RFC 5626 section 3.5.1."""
        element, address = await self.listening("tcp:127.0.0.1:0")
        peer = await self.connected(address)
        peer.wire.write(b"\r\n\r\n" + octets("TCP", "client.example"))
        request, flow = await element.next_request()
        element.layer.send_response(request.response(200), flow)
        await peer.next()
        self.assertTrue(peer.octets.startswith(b"\r\nSIP/2.0 200"), peer.octets)

    async def test_trace(self) -> None:
        for transport in ("udp", "tcp"):
            seen: list[tuple[str, bytes]] = []
            element, address = await self.listening(
                f"{transport}:127.0.0.1:0",
                trace=lambda direction, flow, data, seen=seen: seen.append((direction, data)),
            )
            if transport == "udp":
                peer: Any = self.udp_peer()
                peer.send(octets("UDP", "127.0.0.1", parameters=";rport"), address)
            else:
                peer = await self.connected(address)
                peer.wire.write(octets("TCP", "127.0.0.1"))
            request, flow = await element.next_request()
            sent = element.layer.send_response(request.response(200), flow)
            await peer.next()
            self.assertEqual([direction for direction, _ in seen], ["in", "out"])
            self.assertTrue(seen[0][1].startswith(b"OPTIONS"))
            self.assertEqual(seen[1][1], sent.octets)
