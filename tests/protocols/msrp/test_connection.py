"""Connections: whose a request is, and how it all ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.msrp.connection import (
    CLOSE_TIMEOUT,
    MAX_STRAY,
    MsrpConnection,
    MsrpFactory,
    describe_address,
    session_id,
)
from msrpconf.protocols.msrp.frame import Head, encode_response
from msrpconf.protocols.msrp.outgoing import bodiless_send, send_frame
from msrpconf.protocols.msrp.session import Refusal
from tests.protocols.msrp.support import (
    BIND,
    MORE,
    REMOTE,
    Peer,
    SessionCase,
    frames,
    local,
    other,
    send,
)


class BindingTests(SessionCase):
    def test_bound_by_the_first_send(self) -> None:
        """RFC 4975 §5.4."""
        self.assertFalse(self.session.forward(send_frame(b"m", b"a/b", (b"x",))))
        self.bind()
        self.assertEqual((self.handler.bound, self.session.connection), (1, self.alice.connection))
        self.assertIsNone(self.second.connection)
        self.alice.says(BIND, send(b"Hi"))
        self.assertEqual(self.handler.bound, 1)
        self.assertTrue(self.session.forward(send_frame(b"m", b"a/b", (b"x",))))
        self.assertEqual(self.alice.hears_text(), ["200 OK", "200 OK", "SEND"])

    def test_first_send_may_say_something(self) -> None:
        self.alice.says(send(b"Hi"))
        self.assertEqual(self.handler.messages[0].data, b"Hi")
        self.assertEqual(self.handler.bound, 1)

    def test_report_does_not_bind(self) -> None:
        self.alice.says(other(b"REPORT"))
        self.assertEqual((self.handler.bound, self.handler.reports), (0, []))
        self.assertEqual(self.alice.hears(), [])

    def test_found_by_session_id_alone(self) -> None:
        """Paths, proxies and addresses may say anything else."""
        for uri in (
            b"msrps://user@other.example:1/s1;tcp",
            b"msrp://[::1]/s1;tcp;x=y",
            b"path:msrp://a/s1;TCP",
        ):
            self.alice.says(BIND.replace(local("s1"), uri))
            (answer,) = self.alice.hears()
            self.assertEqual((answer.text, answer.head.from_path), ("200 OK", uri))

    def test_unknown_session(self) -> None:
        """RFC 4975 §7.3: also for several URIs in To-Path, of which we are no relay."""
        for uri in (local("s3"), b"msrp://switch.example:2855", local("s1") + b" " + local("s2")):
            self.alice.says(send(b"Hi").replace(local("s1"), uri))
            self.assertEqual([each.head.status for each in self.alice.hears()], [481], uri)
        self.alice.says(send(b"Hi", to="s3", failure=b"no"), other(b"REPORT", "s3"))
        self.assertEqual(self.alice.hears(), [])
        self.assertEqual(self.handler.bound, 0)

    def test_closed_session(self) -> None:
        self.session.close()
        self.alice.says(BIND)
        self.assertEqual([each.head.status for each in self.alice.hears()], [481])
        self.assertEqual(self.handler.bound, 0)

    def test_stray_limit(self) -> None:
        for _ in range(MAX_STRAY - 1):
            self.alice.says(send(b"Hi", to="s3"))
        self.assertEqual(len(self.alice.hears()), MAX_STRAY - 1)
        self.assertFalse(self.alice.transport.disconnecting)
        self.alice.says(send(b"Hi", to="s3") + BIND)
        self.assertTrue(self.alice.transport.disconnecting)
        self.assertEqual([each.head.status for each in self.alice.hears()], [481])
        self.assertEqual(self.handler.bound, 0, "nothing is served on a closing connection")

    def test_the_wrong_kind_of_connection(self) -> None:
        """A session of an msrps URI is for TLS; asking again and again is of no use."""
        self.session.local_path = self.session.local_path.replace(b"msrp:", b"msrps:")
        for _ in range(MAX_STRAY):
            self.alice.says(BIND)
        self.assertEqual({each.head.status for each in self.alice.hears()}, {403})
        self.assertTrue(self.alice.transport.disconnecting)
        self.assertEqual((self.handler.bound, self.session.connection), (0, None))

    def test_a_session_may_not_like_a_connection(self) -> None:
        asked: list[object] = []

        def admits(connection: object) -> Refusal:
            asked.append(connection)
            return Refusal(403, "not you")

        self.session.admits = admits
        self.alice.says(BIND)
        self.assertEqual(self.alice.hears_text(), ["403 not you"])
        self.assertEqual(asked, [self.alice.connection])
        self.assertEqual(self.handler.bound, 0)
        self.session.admits = lambda connection: None
        self.bind()

    def test_strays_of_who_has_a_session(self) -> None:
        """Late chunks to a session that has ended do not cost a relay its other sessions."""
        self.bind()
        for _ in range(2 * MAX_STRAY):
            self.alice.says(send(b"Hi", to="s3"))
        self.assertFalse(self.alice.transport.disconnecting)

    def test_second_connection(self) -> None:
        """RFC 4975 §5.4: 506, and the first keeps the session."""
        self.bind()
        mallory = Peer(self.sessions, self.clock)
        mallory.says(BIND, send(b"Hi"), send(b"Hi", failure=b"no"), other(b"REPORT"))
        mallory.says(other(b"NICKNAME"))
        self.assertEqual([each.head.status for each in mallory.hears()], [506, 506, 506])
        self.assertEqual(self.handler.messages + self.handler.reports + self.handler.requests, [])
        self.assertIs(self.session.connection, self.alice.connection)
        mallory.says(encode_response(answered(BIND), 200).replace(REMOTE, local("s1")))
        self.assertEqual(self.handler.responses, [], "nor does it answer in the first's name")

    def test_connection_lost(self) -> None:
        self.bind()
        self.alice.says(send(None, to="s2"))
        self.alice.vanishes()
        for handler, session in (
            (self.handler, self.session),
            (self.second_handler, self.second),
        ):
            self.assertEqual(len(handler.unbound), 1)
            self.assertIsNone(session.connection)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        again = Peer(self.sessions, self.clock)
        again.says(BIND)
        self.assertEqual((again.hears_text(), self.handler.bound), (["200 OK"], 2))

    def test_never_bound(self) -> None:
        with capturedLogs() as logs:
            self.clock.advance(29)
            self.assertFalse(self.alice.transport.disconnecting)
            self.clock.advance(1)
            self.assertTrue(self.alice.transport.disconnecting)
            self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.alice.transport.disconnected, "aborted in the end")
        self.assertEqual([each["seconds"] for each in logs], [30.0])

    def test_bound_in_time(self) -> None:
        self.bind()
        self.clock.advance(1000)
        self.assertFalse(self.alice.transport.disconnecting)

    def test_session_of_ours_that_connects(self) -> None:
        """RFC 6135: we connect, so we speak first."""
        self.alice.connection.attach(self.session)
        self.session.forward(bodiless_send(b"b1"))
        self.assertEqual((self.handler.bound, self.alice.hears_text()), (1, ["SEND"]))
        self.clock.advance(1000)
        self.assertFalse(self.alice.transport.disconnecting)

    def test_handler_ends_the_session_as_it_is_bound(self) -> None:
        self.patch(self.handler, "session_bound", lambda session: session.close())
        self.alice.says(BIND + BIND)
        self.assertNotIn("200 OK", self.alice.hears_text())
        self.assertTrue(self.alice.transport.disconnecting)


def answered(octets: bytes) -> Head:
    """The head of a request, to be answered."""
    return frames(octets)[0].head


class RequestTests(SessionCase):
    def test_unknown_method(self) -> None:
        """RFC 4975 §10.9: the owner says what it knows."""
        self.handler.refusal = Refusal(501, "what?")
        self.alice.says(other(b"DANCE"))
        (answer,) = self.alice.hears()
        self.assertEqual(answer.text, "501 what?")
        self.assertEqual([head.method for head in self.handler.requests], [b"DANCE"])

    def test_known_method(self) -> None:
        self.alice.says(other(b"NICKNAME", Use_Nickname=b'"Ally"'))
        self.assertEqual(self.alice.hears_text(), ["200 OK"])
        self.assertEqual(self.handler.requests[0].headers[b"use-nickname"], b'"Ally"')

    def test_body_of_another_request(self) -> None:
        self.alice.says(send(b"x" * 5000).replace(b" SEND\r\n", b" DANCE\r\n"), send(b"Hi"))
        self.assertEqual([each.data for each in self.handler.messages], [b"Hi"])

    def test_report_is_never_answered(self) -> None:
        """RFC 4975 §7.1.2."""
        self.bind()
        self.alice.says(other(b"REPORT", Message_ID=b"m7", Status=b"000 200 OK"))
        self.alice.says(other(b"REPORT", "s3"))
        self.assertEqual([head.message_id for head in self.handler.reports], [b"m7"])
        self.assertEqual(self.alice.hears(), [])

    def test_answers(self) -> None:
        self.bind()
        self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        (frame,) = self.alice.hears()
        self.alice.says(encode_response(frame.head, 413, b"Enough"))
        (head,) = self.handler.responses
        self.assertEqual((head.transaction, head.status), (frame.head.transaction, 413))
        self.assertEqual(self.alice.hears(), [], "an answer is not answered")
        self.alice.says(encode_response(frame.head, 200).replace(local("s1"), local("s3")))
        self.assertEqual((self.alice.hears(), len(self.handler.responses)), ([], 1))


class SharedTests(SessionCase):
    """Several sessions on one connection (RFC 4975 §5.4, RFC 4976)."""

    def setUp(self) -> None:
        super().setUp()
        self.bind()
        self.alice.says(send(None, to="s2"))
        self.assertEqual(self.alice.hears_text(), ["200 OK"])

    def test_each_gets_its_own(self) -> None:
        self.alice.says(send(b"one"), send(b"two", to="s2"), send(b"three"))
        self.assertEqual([each.data for each in self.handler.messages], [b"one", b"three"])
        self.assertEqual([each.data for each in self.second_handler.messages], [b"two"])

    def test_transactions_are_distinct_and_answers_find_their_session(self) -> None:
        frame = send_frame(b"m", b"a/b", (b"Hi",))
        self.session.forward(frame)
        self.second.forward(frame)
        first, second = self.alice.hears()
        self.assertEqual((first.body, second.body), (b"Hi", b"Hi"))
        self.assertEqual((first.head.from_path, second.head.from_path), (local("s1"), local("s2")))
        self.assertNotEqual(first.head.transaction, second.head.transaction)
        self.alice.says(encode_response(second.head, 415))
        self.assertEqual((len(self.handler.responses), len(self.second_handler.responses)), (0, 1))

    def test_transactions_stay_distinct_when_one_leaves(self) -> None:
        frame = send_frame(b"m", b"a/b", (b"Hi",))
        self.session.forward(frame)
        self.second.forward(frame)
        self.session.close()
        first, second = self.alice.hears()
        self.assertNotEqual(first.head.transaction, second.head.transaction)

    def test_they_take_turns(self) -> None:
        for number in range(3):
            self.session.forward(send_frame(b"m", b"a/b", (b"a%d" % number,)))
        for number in range(2):
            self.second.forward(send_frame(b"m", b"a/b", (b"b%d" % number,)))
        self.assertEqual(
            [frame.body for frame in self.alice.hears()], [b"a0", b"b0", b"a1", b"b1", b"a2"]
        )

    def test_one_leaves(self) -> None:
        self.session.forward(send_frame(b"m", b"a/b", (b"bye",)))
        self.session.close()
        self.assertFalse(self.alice.transport.disconnecting)
        self.alice.says(send(b"Hi"), send(b"Ho", to="s2"))
        self.assertEqual(
            [each.text[:6] for each in self.alice.hears()], ["481 no", "200 OK", "SEND"]
        )
        self.second.close()
        self.assertTrue(self.alice.transport.disconnecting, "nobody is left")


class FaultTests(SessionCase):
    def test_garbage_closes_with_one_log_line(self) -> None:
        self.bind()
        with capturedLogs() as logs:
            self.alice.says(b"GET / HTTP/1.1\r\n\r\n", b"Host: example\r\n\r\n", BIND)
            self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.alice.transport.disconnected)
        (line,) = logs
        self.assertEqual(line["log_level"], LogLevel.warn)
        self.assertIn("start of a frame", str(line["error"]))
        self.assertEqual((line["peer"], line["sessions"]), ("192.168.1.1:54321", "s1"))
        self.alice.vanishes()
        self.assertEqual(len(self.handler.unbound), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_garbage_at_once(self) -> None:
        with capturedLogs() as logs:
            self.alice.says(b"\x16\x03\x01\x02\x00")
            self.clock.advance(1000)
        self.assertEqual(len(logs), 1, "and none for not being bound")
        self.assertEqual(logs[0]["sessions"], "none")

    def test_refusals_are_logged(self) -> None:
        self.handler.refusal = Refusal(403, "not\r\nyou \ud800")
        with capturedLogs() as logs:
            self.alice.says(send(b"Hi", failure=b"no"))
        (line,) = logs
        self.assertEqual((line["status"], line["comment"]), (403, "not you ?"))
        self.assertEqual((line["session"], line["method"]), ("s1", "SEND"))

    @given(
        pieces=st.lists(
            st.one_of(
                st.binary(max_size=30),
                st.sampled_from(
                    [
                        BIND,
                        send(b"Hi"),
                        send(b"x" * 40, b"m1", b"1-*/*", MORE),
                        send(b"x" * 40, b"m1", b"90-*/*", MORE),
                        send(b"x", b"m1", b"41-41/41"),
                        send(b"x", to="s2", success=b"yes"),
                        send(b"x", b"\xff" * 9, b"1-1/1\xff", content_type=b"\xff", success=b"yes"),
                        other(b"REPORT"),
                        other(b"NICKNAME"),
                        encode_response(answered(BIND), 481, b"\xff"),
                        b"MSRP tid1 SEND\r\nTo-Path: \xff://x/s1;tcp\r\nFrom-Path: \xff\r\n",
                        b"Content-Type: a/b\r\n\r\n",
                        b"\r\n-------tid1",
                        b"$\r\n",
                    ]
                ),
            ),
            max_size=12,
        ),
        refuse=st.booleans(),
    )
    @settings(deadline=None, max_examples=200)
    def test_any_octets(self, pieces: list[bytes], refuse: bool) -> None:
        """Nothing that arrives raises out of the connection, or leaves a timer behind."""
        self.setUp()
        self.handler.refusal = Refusal(403, "no") if refuse else None
        self.alice.says(*pieces)
        self.alice.hears()
        self.alice.vanishes()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ClosingTests(SessionCase):
    def test_writes_what_waits(self) -> None:
        self.bind()
        self.session.forward(send_frame(b"m", b"a/b", (b"last words",)))
        self.alice.says(send(b"Hi"))
        self.session.close()
        self.assertTrue(self.alice.transport.disconnecting)
        self.assertIsNone(self.alice.transport.producer, "else TLS would not close")
        self.assertEqual(self.alice.hears_text(), ["200 OK", "SEND"])
        self.alice.vanishes()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_writes_what_waits_once_the_peer_reads(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        self.session.forward(send_frame(b"m", b"a/b", (b"last words",)))
        self.session.close()
        self.alice.connection.close()
        self.assertEqual(self.alice.hears(), [])
        self.assertFalse(self.alice.transport.disconnecting)
        self.alice.connection.resumeProducing()
        self.assertTrue(self.alice.transport.disconnecting)
        self.assertEqual(self.alice.hears_text(), ["SEND"])

    def test_does_not_wait_for_ever(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.session.close()
        self.clock.advance(CLOSE_TIMEOUT - 1)
        self.assertFalse(self.alice.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.alice.transport.disconnected)
        self.alice.vanishes()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_serves_nothing_more(self) -> None:
        self.bind()
        self.alice.connection.pauseProducing()
        self.session.forward(send_frame(b"m", b"a/b", (b"x",)))
        self.session.close()
        self.alice.says(send(None, to="s2"))
        self.assertIsNone(self.second.connection)

    def test_closed_with_sessions(self) -> None:
        """As a server stops: its sessions hear it from the transport."""
        self.bind()
        self.alice.connection.close()
        self.assertTrue(self.alice.transport.disconnecting)
        self.assertEqual(self.handler.unbound, [])
        self.alice.vanishes()
        self.assertEqual(len(self.handler.unbound), 1)

    def test_closed_as_the_queue_drains(self) -> None:
        """By a callback from the midst of writing: what was gathered goes out first."""
        self.bind()
        self.session.on_drained = self.session.close
        for data in (b"1", b"2"):
            self.session.forward(send_frame(b"m", b"a/b", (data,)))
        self.assertEqual([frame.body for frame in self.alice.hears()], [b"1", b"2"])
        self.assertTrue(self.alice.transport.disconnecting)

    def test_closed_while_reading_is_paused(self) -> None:
        """TLS ends by an exchange, and must read for it."""
        self.bind()
        self.alice.connection.pauseProducing()
        while self.alice.transport.producerState == "producing":
            self.alice.says(BIND)
        self.session.close()
        self.alice.connection.resumeProducing()
        self.assertEqual(self.alice.transport.producerState, "producing")
        self.assertTrue(self.alice.transport.disconnecting)


class FactoryTests(SynchronousTestCase):
    def test_connections_are_counted(self) -> None:
        clock = Clock()
        factory = MsrpFactory({}, clock, max_connections=2)
        made: list[MsrpConnection] = []
        for _ in range(2):
            connection = factory.buildProtocol(None)
            assert connection is not None
            connection.makeConnection(StringTransport())
            made.append(connection)
        self.assertEqual(factory.connections, set(made))
        with capturedLogs() as logs:
            self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 5)))
        self.assertEqual((logs[0]["peer"], logs[0]["count"]), ("10.0.0.1:5", 2))
        made[0].connectionLost()
        self.assertEqual(factory.connections, {made[1]})
        self.assertIsNotNone(factory.buildProtocol(None))


class HelperTests(SynchronousTestCase):
    def test_session_id(self) -> None:
        for uri, expected in (
            (b"msrp://host:2855/abc;tcp", b"abc"),
            (b"msrps://u@[::1]:1/a/b+=;tcp;x=/y", b"a/b+="),
            (b"msrp://host:2855;tcp", b""),
            (b"msrp://host", b""),
            (b"", b""),
            (b"msrp://h/a;tcp msrp://h/b;tcp", b""),
        ):
            self.assertEqual(session_id(uri), expected, uri)

    def test_addresses(self) -> None:
        for address, text in (
            (IPv4Address("TCP", "127.0.0.1", 2855), "127.0.0.1:2855"),
            (IPv6Address("TCP", "::1", 2855), "[::1]:2855"),
            (None, "None"),
        ):
            self.assertEqual(describe_address(address), text)
        self.assertIn("/run/x", describe_address(UNIXAddress("/run/x")))
