"""Idle connections: who is still there, and who is not (RFC 4975 §7.1)."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from msrpconf.protocols.msrp.connection import MsrpConnection, MsrpFactory
from msrpconf.protocols.msrp.frame import Head, encode_response
from msrpconf.protocols.msrp.keepalive import PROBES, KeepAlive, set_tcp_options
from msrpconf.protocols.msrp.outgoing import send_frame
from tests.protocols.msrp.support import BIND, REMOTE, SessionCase, frames, send

TIMES = KeepAlive(60.0, 20.0)


class Alive(StringTransport):
    """A transport that reports its end as real ones do."""

    protocol: MsrpConnection

    def abortConnection(self) -> None:
        super().abortConnection()
        self.protocol.connectionLost(Failure(ConnectionAborted()))


class KeepAliveCase(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice.vanishes()
        self.factory = MsrpFactory(self.sessions, self.clock, keep_alive=TIMES)
        self.connection, self.transport = self.connected()

    def connected(self) -> tuple[MsrpConnection, Alive]:
        connection = self.factory.buildProtocol(None)
        assert connection is not None
        transport = Alive()
        transport.protocol = connection
        connection.makeConnection(transport)
        return connection, transport

    def bind(self) -> None:
        self.connection.dataReceived(BIND)
        self.assertEqual(self.heard(), ["200 OK"])

    def heard(self) -> list[str]:
        """What was written since the last time."""
        self.clock.advance(0)
        octets = self.transport.value()
        self.transport.clear()
        self.last = frames(octets)
        return [each.text for each in self.last]

    def wait(self, seconds: float) -> None:
        """Let time pass, as it does: a second at a time."""
        for _ in range(round(seconds)):
            self.clock.advance(1)


class KeepAliveTests(KeepAliveCase):
    def test_asked_when_idle(self) -> None:
        self.bind()
        self.wait(59)
        self.assertEqual(self.heard(), [])
        self.wait(7)
        self.assertEqual(self.heard(), ["SEND"])
        head = self.last[0].head
        self.assertEqual((head.to_path, self.last[0].body, head.content_type), (REMOTE, b"", b""))
        self.assertEqual(head.failure_report, b"yes", "it is to be answered")
        self.assertEqual(bytes(head.byte_range), b"1-0/0")

    def answered(self, status: int) -> None:
        self.wait(66)
        self.assertEqual(self.heard(), ["SEND"])
        head = self.last[0].head
        question = Head(
            head.transaction,
            b"SEND",
            0,
            b"",
            {b"to-path": self.session.local_path, b"from-path": self.session.local_path},
        )
        self.connection.dataReceived(encode_response(question, status))

    def test_any_answer_will_do(self) -> None:
        self.bind()
        for status in (200, 400, 403, 415, 501):
            self.answered(status)
            self.wait(1)
            self.assertFalse(self.transport.disconnected, str(status))
            self.assertEqual(self.heard(), [])
        self.assertEqual(self.handler.unbound, [])

    def test_any_octet_will_do(self) -> None:
        self.bind()
        self.wait(66)
        self.connection.dataReceived(b"\r\n")
        self.wait(30)
        self.assertFalse(self.transport.disconnected)

    def test_who_says_nothing_is_cut_off(self) -> None:
        self.bind()
        with capturedLogs() as captured:
            self.wait(66 + 18)
            self.assertFalse(self.transport.disconnected)
            self.wait(8)
        self.assertTrue(self.transport.disconnected)
        why = "it did not answer a keep-alive within 20 s"
        self.assertEqual(self.handler.unbound, [why])
        lines = [formatEvent(event) for event in captured]
        self.assertEqual(
            lines, [f"closing MSRP connection of {self.connection.peer}: {why} (sessions: s1)"]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [], "nothing is left of it")

    def test_writing_to_who_was_asked_is_no_answer(self) -> None:
        self.bind()
        self.wait(66)
        for _ in range(30):
            self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
            self.wait(1)
        self.assertTrue(self.transport.disconnected)

    def test_not_asked_while_something_comes_or_goes(self) -> None:
        self.bind()
        for _ in range(10):
            self.wait(40)
            self.connection.dataReceived(send(b"Hi", failure=b"no"))
            self.wait(40)
            self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.assertEqual(set(self.heard()), {"SEND"})
        self.assertEqual({each.body for each in self.last}, {b"x"})

    def test_not_asked_while_it_does_not_read(self) -> None:
        """No question would arrive: that is TCP's to find out."""
        self.bind()
        self.connection.pauseProducing()
        self.wait(300)
        self.assertEqual(self.heard(), [])
        self.assertFalse(self.transport.disconnected)

    def test_who_is_not_read_from_is_not_given_up(self) -> None:
        """What it says waits in the kernel: its answer, too, where it was asked before."""
        self.bind()
        self.connection.hold(self)
        self.wait(300)
        self.assertFalse(self.transport.disconnected)
        self.connection.release(self)
        self.wait(66)
        self.assertEqual(self.heard(), ["SEND"])
        self.connection.hold(self)
        self.wait(300)
        self.assertFalse(self.transport.disconnected)
        self.connection.release(self)
        self.wait(66 + 30)
        self.assertTrue(self.transport.disconnected)

    def test_not_asked_before_the_path_is_known(self) -> None:
        """Of an INVITE without an offer, whose answer has not come."""
        self.session.remote_path = b""
        self.bind()
        self.wait(300)
        self.assertEqual(self.heard(), [])

    def test_one_timer_for_all(self) -> None:
        self.bind()
        for _ in range(100):
            self.connected()
        # Each has one that ends its wait for a session.
        self.assertEqual(len(self.clock.getDelayedCalls()), 101)
        for connection in list(self.factory.connections):
            connection.connectionLost(Failure(ConnectionAborted()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        self.factory = MsrpFactory(self.sessions, self.clock)
        self.connection, self.transport = self.connected()
        self.bind()
        self.clock.advance(10000)
        self.assertEqual(self.heard(), [])


class TcpOptionTests(SessionCase):
    def options(self, times: KeepAlive | None) -> list[int]:
        with socket.socket() as tcp:

            class Transport:
                def getHandle(self) -> Any:
                    return tcp

            set_tcp_options(Transport(), times)
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            return [
                tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(tcp.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names),
            ]

    def test_they_follow_the_times(self) -> None:
        self.assertEqual(self.options(KeepAlive(60, 30)), [1, 60, 10, PROBES, 180_000])

    def test_times_that_the_kernel_does_not_take(self) -> None:
        self.assertEqual(self.options(KeepAlive(1e7, 0.1)), [1, 32767, 1, PROBES, 2**31 - 1])

    def test_without_times(self) -> None:
        on, *others = self.options(None)
        self.assertEqual(on, 1)
        self.assertEqual(others[-1], 0)

    def test_what_is_no_tcp(self) -> None:
        set_tcp_options(StringTransport(), KeepAlive())
        set_tcp_options(None, KeepAlive())
