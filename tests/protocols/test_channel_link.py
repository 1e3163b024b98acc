"""Links: two ends in memory, whose octets are passed by `turn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.channel import ChannelClosed
from msrpconf.protocols.channel_codec import VERSION, ChannelParser, encode
from msrpconf.protocols.channel_hello import DISPATCHER, SERVER, Hello, link_request
from msrpconf.protocols.channel_link import ChannelTimeout, Link, LinkSettings
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.message import Request, Response
from tests.services.support import sip


class Owner:
    """Has one link, and takes whoever is not on its list."""

    def __init__(self, hello: Hello) -> None:
        self.said = hello
        self.refusal: str | None = None
        self.story: list[str] = []

    def hello(self) -> Hello:
        return self.said

    def trusts(self, link: Link) -> str | None:
        return None

    def admit(self, link: Link, hello: Hello) -> str | None:
        return self.refusal

    def link_up(self, link: Link) -> None:
        assert link.peer is not None
        self.story.append(f"up: {link.peer.role} {link.peer.name}")

    def link_down(self, link: Link, why: str) -> None:
        self.story.append(f"down: {why}")


class Wire(StringTransport):
    """A transport that says when it was cut."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class LinkTestCase(SynchronousTestCase):
    settings = LinkSettings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.came: list[Request] = []
        self.answers: list[Deferred[Response]] = []
        self.answering: Callable[[Request], Any] = lambda request: request.response(200)
        self.owners = [Owner(Hello("east", SERVER, 7)), Owner(Hello("focus-1", DISPATCHER))]
        self.wires = [Wire(), Wire()]
        self.links = [
            Link(
                self.clock,
                owner,
                self.handle,
                f"tls:{owner.said.name}:1",
                secure=False,
                settings=self.settings,
            )
            for owner in self.owners
        ]
        self.server, self.dispatcher = self.links
        self.lost = [False, False]

    def handle(self, request: Request) -> Any:
        self.came.append(request)
        return self.answering(request)

    def connect(self) -> None:
        for link, wire in zip(self.links, self.wires, strict=True):
            link.makeConnection(wire)
        self.turn()

    def turn(self) -> None:
        """Pass octets, and what became of the connection."""
        for _ in range(20):
            for mine, other in ((0, 1), (1, 0)):
                octets = self.wires[mine].value()
                self.wires[mine].clear()
                if octets and not self.lost[other]:
                    self.links[other].dataReceived(octets)
            closing = any(wire.disconnecting or wire.aborted for wire in self.wires)
            if closing and not any(wire.value() for wire in self.wires):
                for place, link in enumerate(self.links):
                    if not self.lost[place]:
                        self.lost[place] = True
                        link.connectionLost()

    def seconds(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.turn()


class GreetingTests(LinkTestCase):
    def test_both_say_hello(self) -> None:
        self.connect()
        self.assertEqual(self.owners[0].story, ["up: dispatcher focus-1"])
        self.assertEqual(self.owners[1].story, ["up: server east"])
        self.assertEqual(self.dispatcher.peer, Hello("east", SERVER, 7))
        self.successResultOf(self.server.when_up())

    def test_names_and_numbers_of_all_kinds(self) -> None:
        self.owners[0].said = Hello("East_1-x", SERVER, 10**12)
        self.owners[1].said = Hello("2001:db8::1", DISPATCHER)
        self.connect()
        self.assertEqual(self.owners[0].story, ["up: dispatcher 2001:db8::1"])
        self.assertEqual(self.dispatcher.peer, Hello("East_1-x", SERVER, 999_999_999))

    def test_another_version_is_refused_and_both_logs_say_why(self) -> None:
        self.owners[0].said = evolve(self.owners[0].said, version=VERSION + 1)
        self.connect()
        why = (
            f"505 server east speaks version {VERSION + 1} of the channel, we speak {VERSION}: "
            "run the same version of msrpconf on both"
        )
        self.assertEqual(self.owners[1].story, [f"down: refused: {why}"])
        self.assertEqual(self.owners[0].story, [f"down: it refused us: {why}"])
        self.failureResultOf(self.dispatcher.when_up(), ChannelClosed)

    def test_who_is_not_admitted(self) -> None:
        self.owners[0].refusal = "its certificate is not for focus-1"
        self.connect()
        self.assertEqual(
            [owner.story for owner in self.owners],
            [
                ["down: refused: 403 its certificate is not for focus-1"],
                ["down: it refused us: 403 its certificate is not for focus-1"],
            ],
        )

    def test_hello_comes_first(self) -> None:
        self.server.makeConnection(self.wires[0])
        self.wires[0].clear()
        self.server.dataReceived(encode(sip("INVITE"), "1"))
        (answer,) = ChannelParser().receive(self.wires[0].value())
        self.assertEqual(getattr(answer.message, "status", None), 403)
        self.assertTrue(self.wires[0].disconnecting)
        self.assertEqual(self.came, [])

    def test_hello_comes_in_time(self) -> None:
        self.server.makeConnection(self.wires[0])
        self.clock.advance(self.settings.greeting)
        self.assertTrue(self.wires[0].aborted)
        self.server.connectionLost()
        self.assertEqual(self.owners[0].story, ["down: no HELLO within 10 s"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hello_that_cannot_be_read(self) -> None:
        for headers in ([("Name", "a b")], [("Name", "a"), ("Version", "x")], []):
            self.setUp()
            self.server.makeConnection(self.wires[0])
            self.wires[0].clear()
            self.server.dataReceived(encode(link_request("HELLO", "x", headers), "1"))
            (answer,) = ChannelParser().receive(self.wires[0].value())
            self.assertEqual(getattr(answer.message, "status", None), 400)
            self.assertTrue(self.wires[0].disconnecting)

    def test_hello_comes_once(self) -> None:
        self.connect()
        hello = self.owners[1].said
        self.server.dataReceived(encode(link_request("HELLO", hello.name, hello.headers), "9"))
        self.assertTrue(self.wires[0].disconnecting)

    def test_what_is_not_the_channel(self) -> None:
        self.server.makeConnection(self.wires[0])
        self.server.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(self.wires[0].aborted)
        self.server.connectionLost()
        self.assertIn("does not speak our protocol: Content-Length", self.owners[0].story[0])


class RequestTests(LinkTestCase):
    settings = LinkSettings(max_outstanding=5, max_handling=3, max_queued=10000)

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def later(self, request: Request) -> Deferred[Response]:
        answer: Deferred[Response] = Deferred()
        self.answers.append(answer)
        return answer

    def test_either_asks(self) -> None:
        for link in self.links:
            answer = link.request(sip("BYE", body=b"x"))
            self.turn()
            self.assertEqual(self.successResultOf(answer).status, 200)
        self.assertEqual([request.body for request in self.came], [b"x", b"x"])

    def test_answers_in_any_order(self) -> None:
        self.answering = self.later
        first, second = (self.dispatcher.request(sip(call_id=name)) for name in "ab")
        self.turn()
        self.answers[1].callback(self.came[1].response(486))
        self.turn()
        self.assertNoResult(first)
        self.assertEqual(self.successResultOf(second).status, 486)
        self.answers[0].callback(self.came[0].response(200))
        self.turn()
        self.assertEqual(self.successResultOf(first).call_id, "a")

    def test_what_is_told_of_all_that_was_read_goes_before_the_answers(self) -> None:
        def tell() -> None:
            self.server.on_read = lambda: None
            self.server.request(sip("PUBLISH"))

        self.server.on_read = tell
        self.server.dataReceived(encode(sip("OPTIONS"), "a") + encode(sip("OPTIONS"), "b"))
        written = [each.message for each in ChannelParser().receive(self.wires[0].value())]
        kinds = [each.method if isinstance(each, Request) else each.status for each in written]
        self.assertEqual(kinds, ["PUBLISH", 200, 200])

    def test_an_answer_comes_in_time_or_not_at_all(self) -> None:
        self.answering = self.later
        answer = self.dispatcher.request(sip())
        self.seconds(self.settings.answer)
        error = self.failureResultOf(answer, ChannelTimeout).value
        self.assertIn("tls:focus-1:1 has not answered INVITE for 60 s", str(error))
        self.answers[0].callback(self.came[0].response(200))
        self.turn()

    def test_nobody_waits_any_more(self) -> None:
        self.answering = self.later
        answer = self.dispatcher.request(sip())
        answer.addErrback(lambda failure: None)
        self.turn()
        answer.cancel()
        self.answers[0].callback(self.came[0].response(200))
        self.turn()

    def test_a_handler_that_fails(self) -> None:
        def raising(request: Request) -> Response:
            raise RuntimeError("a bug")

        self.answering = raising
        answer = self.dispatcher.request(sip())
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_what_cannot_be_read_is_no_traceback(self) -> None:
        def reading(request: Request) -> Response:
            raise SipSyntaxError("To: missing")

        self.answering = reading
        answer = self.dispatcher.request(sip())
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 400)

    def test_so_many_requests_wait_for_an_answer(self) -> None:
        self.answering = self.later
        for _ in range(5):
            self.dispatcher.request(sip()).addErrback(lambda failure: None)
        error = self.failureResultOf(self.dispatcher.request(sip()), ChannelClosed).value
        self.assertEqual(str(error), "5 requests wait for tls:focus-1:1")

    def test_so_many_requests_are_answered_at_one_time(self) -> None:
        self.answering = self.later
        answers = [self.dispatcher.request(sip()) for _ in range(4)]
        self.turn()
        self.assertEqual(len(self.answers), 3)
        refused = self.successResultOf(answers[3])
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.reason, "3 requests of yours are being answered")

    def test_who_does_not_read_is_asked_no_more(self) -> None:
        self.dispatcher.pauseProducing()
        waiting = self.dispatcher.request(sip(body=b"x" * 6000))
        self.turn()
        self.assertEqual(self.came, [])
        error = self.failureResultOf(self.dispatcher.request(sip()), ChannelClosed).value
        self.assertIn("does not read", str(error))
        self.dispatcher.resumeProducing()
        self.turn()
        self.assertEqual(self.successResultOf(waiting).status, 200)

    def test_who_reads_no_answers_is_cut_off(self) -> None:
        self.answering = lambda request: request.response(200, body=b"x" * 6000)
        self.server.pauseProducing()
        for _ in range(2):
            self.dispatcher.request(sip()).addErrback(lambda failure: None)
        self.turn()
        self.assertIn("octets wait for it to read", self.owners[0].story[-1])

    def test_a_request_that_is_too_long(self) -> None:
        answer = self.dispatcher.request(sip("INVITE", f"X: {'x' * 70000}"))
        self.assertIn("above 65536", str(self.failureResultOf(answer, ChannelClosed).value))

    def test_an_answer_that_is_too_long(self) -> None:
        self.answering = lambda request: request.response(200, headers=[("X", "x" * 70000)])
        answer = self.dispatcher.request(sip())
        self.turn()
        self.assertEqual(self.successResultOf(answer).status, 500)

    def test_the_link_is_lost(self) -> None:
        self.answering = self.later
        answer = self.dispatcher.request(sip())
        self.dispatcher.connectionLost(Failure(OSError("no route")))
        self.assertIn("no route", str(self.failureResultOf(answer, ChannelClosed).value))
        self.failureResultOf(self.dispatcher.request(sip()), ChannelClosed)
        self.assertEqual(self.owners[1].story[-1], "down: no route")

    def test_close_says_what_waits_first(self) -> None:
        self.server.pauseProducing()
        bye = self.server.request(sip("BYE"))
        self.server.close("the end")
        self.turn()
        self.assertEqual([request.method for request in self.came], ["BYE"])
        self.failureResultOf(bye, ChannelClosed)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PingTests(LinkTestCase):
    def test_who_answers_stays(self) -> None:
        self.connect()
        self.seconds(100)
        self.assertTrue(self.server.up and self.dispatcher.up)
        self.assertEqual(self.came, [])

    def test_who_is_silent_goes(self) -> None:
        self.connect()
        for _ in range(15):
            self.clock.advance(1)  # octets are lost
        self.turn()
        self.assertEqual(self.owners[0].story[-1], "down: it has said nothing for 15 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])
