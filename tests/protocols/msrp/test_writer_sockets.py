"""How octets get out of real sockets, also to who does not read them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from twisted.internet import protocol
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from msrpconf.protocols.msrp.connection import MsrpFactory
from msrpconf.protocols.msrp.outgoing import abort_frame, bodiless_send, send_frame
from msrpconf.protocols.msrp.session import Limits, Session
from msrpconf.protocols.msrp.writer import BATCH, MAX_ANSWERS, MAX_BUFFERS
from tests.protocols.msrp.support import (
    BIND,
    MORE,
    Frame,
    RecordingHandler,
    body,
    frames,
    local,
    send,
    table,
)


class CountingSocket:
    """A socket that notes how much of each `sendmsg` was taken."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.most_buffers = 0
        self.calls: list[tuple[int, int]] = []

    def sendmsg(self, buffers: Sequence[bytes]) -> int:
        offered = sum(map(len, buffers))
        self.most_buffers = max(self.most_buffers, len(buffers))
        try:
            taken = self._real.sendmsg(buffers)
        except BlockingIOError:
            self.calls.append((offered, 0))
            raise
        self.calls.append((offered, taken))
        return taken


class Reader(protocol.Protocol):
    """A client of few words that reads when it is told to."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)

    def pause(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()

    def say(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def vanish(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def frames(self) -> list[Frame]:
        return frames(bytes(self.received))


class LoopbackCase(TestCase):
    """Alice over a socket."""

    limits = Limits(queue_octets=400000)
    local_path = local("s1")
    most = 0
    alice: Reader

    def server_endpoint(self) -> IStreamServerEndpoint:
        return TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")

    def client_endpoint(self, port: int) -> IStreamClientEndpoint:
        return TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)

    async def connect(self) -> None:
        self.reactor: Any = _reactor
        self.handler = RecordingHandler()
        self.session = Session(
            self.local_path, b"msrp://a:1/a;tcp", self.handler, self.reactor, self.limits
        )
        self.factory = MsrpFactory(table([self.session]), self.reactor)
        port: IListeningPort = await self.server_endpoint().listen(self.factory)
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        client = self.client_endpoint(address.port)
        self.alice = cast(Reader, await client.connect(protocol.Factory.forProtocol(Reader)))
        self.addCleanup(self.leave)
        self.alice.say(BIND)
        await self.until(lambda: b"200 OK" in self.alice.received)
        self.alice.received.clear()
        (self.connection,) = self.factory.connections
        self.transport: Any = self.connection.transport

    async def leave(self) -> None:
        if not self.alice.lost.called:
            self.alice.resume()
            self.alice.vanish()
        await self.until(lambda: not self.factory.connections)

    async def until(self, condition: Any) -> None:
        """Let the reactor turn until `condition` holds; trial ends what takes too long."""
        while not condition():
            await deferLater(self.reactor, 0)

    def buffered(self) -> int:
        """Octets that Twisted's transport holds."""
        transport = self.transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    async def fill(self) -> int:
        """Queue numbered messages until nothing moves any more; return how many."""
        number = still = 0
        while still < 20:
            first = number
            while self.session.forward(send_frame(b"m", b"a/b", (body(number),))):
                number += 1
            still = still + 1 if number == first else 0
            await deferLater(self.reactor, 0)
            self.assertLessEqual(self.session.queued, self.limits.queue_octets)
            self.most = max(self.most, self.buffered())
        return number


class SocketTests(LoopbackCase):
    """Over TCP."""

    def make_small(self) -> CountingSocket:
        real = self.transport.getHandle()
        real.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        counting: Any = CountingSocket(real)
        self.connection._socket = counting
        result: CountingSocket = counting
        return result

    async def test_peer_that_does_not_read(self) -> None:
        await self.connect()
        calls = self.make_small().calls
        self.alice.pause()
        number = await self.fill()
        self.assertGreater(self.session.queued, self.limits.short)
        self.assertGreater(self.most, 0)
        self.assertLess(self.most, BATCH + 4000)
        last = abort_frame(b"m", b"a/b", 7)
        self.session.forward_last(last)
        self.alice.resume()
        await self.until(lambda: self.alice.received.endswith(last.end))
        heard = self.alice.frames()
        self.assertEqual(
            [frame.body for frame in heard], [body(each) for each in range(number)] + [b""]
        )
        self.assertEqual((self.session.queued, self.buffered()), (0, 0))
        self.assertTrue([1 for offered, taken in calls if 0 < taken < offered], "none was partial")
        # And it goes on as before, the short way.
        self.alice.received.clear()
        del calls[:]
        self.session.forward(send_frame(b"m", b"a/b", (b"again",)))
        await self.until(lambda: self.alice.received)
        self.assertEqual([frame.body for frame in self.alice.frames()], [b"again"])
        self.assertEqual(len(calls), 1)

    async def test_peer_that_reads_no_answers(self) -> None:
        """It is not read from, until it does."""
        await self.connect()
        self.make_small()
        self.alice.pause()
        count = 20000
        self.alice.say(send(b"x", failure=b"yes") * count)
        await self.until(lambda: self.connection.deaf and self.connection._stalled)
        for _ in range(50):
            await deferLater(self.reactor, 0)
        self.assertTrue(self.connection.deaf)
        self.assertLess(len(self.handler.messages), count)
        self.assertLess(self.connection._answers_size + self.buffered(), 4 * MAX_ANSWERS)
        self.alice.resume()
        await self.until(lambda: len(self.handler.messages) == count)
        await self.until(lambda: self.alice.received.count(b"$\r\n") == count)
        self.assertEqual({frame.text for frame in self.alice.frames()}, {"200 OK"})

    async def test_many_small_frames(self) -> None:
        """More buffers than one `sendmsg` takes."""
        await self.connect()
        counting = self.make_small()
        sent = [bodiless_send(b"m%d" % number) for number in range(1500)]
        for frame in sent:
            self.session.forward(frame)
        await self.until(lambda: self.alice.received.endswith(sent[-1].end))
        self.assertEqual(
            [frame.head.transaction for frame in self.alice.frames()],
            [frame.transaction for frame in sent],
        )
        self.assertEqual(counting.most_buffers, MAX_BUFFERS)
        self.assertGreater(counting.calls[0][1], 0, "the kernel refused so many")

    async def test_peer_vanishes_while_stalled(self) -> None:
        await self.connect()
        self.make_small()
        self.alice.pause()
        while not self.connection._stalled:
            while self.session.forward(send_frame(b"m", b"a/b", (body(1),))):
                pass
            await deferLater(self.reactor, 0)
        self.alice.vanish()
        await self.until(lambda: self.handler.unbound)
        self.assertEqual(self.session.queued, 0)
        self.assertEqual(self.factory.connections, set())

    async def test_close_writes_what_waits(self) -> None:
        await self.connect()
        self.make_small()
        self.alice.pause()
        number = await self.fill()
        self.session.close()
        self.alice.resume()
        await self.alice.lost
        self.assertEqual(
            [frame.body for frame in self.alice.frames()], [body(each) for each in range(number)]
        )

    async def test_small_message_passes_a_transfer(self) -> None:
        """A transfer that fills the queue delays what people say by what is on its way only."""
        await self.connect()
        self.make_small()
        self.alice.pause()
        position = 1
        full = False
        while not (full and self.connection._stalled):
            full = False
            while not full:
                piece = send_frame(b"m", b"a/b", (b"x" * 16384,), position, None, MORE)
                full = not self.session.forward(piece)
                position += 0 if full else 16384
            await deferLater(self.reactor, 0)
        waiting = self.session.queued
        self.session.forward_last(send_frame(b"m", b"a/b", (b"Hi",)))
        self.alice.resume()
        total = position // 16384 + 1
        await self.until(lambda: self.alice.received.count(b"\r\n-------") == total)
        bodies = [frame.body for frame in self.alice.frames()]
        behind = len(bodies) - 1 - bodies.index(b"Hi")
        self.assertGreater(behind * 17000, waiting - BATCH - 17000)


class TlsTests(LoopbackCase):
    """Over TLS, which has no short way and closes by an exchange."""

    local_path = local("s1").replace(b"msrp:", b"msrps:")
    timeout = 20.0  # below what an exchange that fails is given

    def server_endpoint(self) -> IStreamServerEndpoint:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "switch.example")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        options = CertificateOptions(
            privateKey=PKey.from_cryptography_key(key),
            certificate=X509.from_cryptography(certificate),
        )
        return SSL4ServerEndpoint(self.reactor, 0, options, interface="127.0.0.1")

    def client_endpoint(self, port: int) -> IStreamClientEndpoint:
        return SSL4ClientEndpoint(self.reactor, "127.0.0.1", port, CertificateOptions())

    def buffered(self) -> int:
        transport = self.transport.transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    async def test_closes(self) -> None:
        await self.connect()
        self.session.forward(send_frame(b"m", b"a/b", (b"bye",)))
        self.session.close()
        await self.alice.lost
        self.assertEqual([frame.body for frame in self.alice.frames()], [b"bye"])
        await self.until(lambda: not self.factory.connections)

    async def test_garbage(self) -> None:
        await self.connect()
        self.alice.say(b"GET / HTTP/1.1\r\n\r\n")
        await self.alice.lost
        await self.until(lambda: not self.factory.connections)

    async def test_peer_that_does_not_read(self) -> None:
        await self.connect()
        self.alice.pause()
        number = await self.fill()
        self.assertGreater(self.session.queued, self.limits.short)
        self.assertLess(self.most, 3 * BATCH)
        self.session.close()
        self.alice.resume()
        await self.alice.lost
        self.assertEqual(
            [frame.body for frame in self.alice.frames()], [body(each) for each in range(number)]
        )
