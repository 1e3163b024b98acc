from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.channel import ChannelClosed, LocalChannel, local_pair
from msrpconf.protocols.sip.message import Headers, Request, Response
from msrpconf.protocols.sip.uri import parse_uri


def make(method: str = "INVITE", call_id: str = "call-1") -> Request:
    headers = Headers([("Call-ID", call_id), ("CSeq", f"1 {method}"), ("Flow", "udp/a/b/0")])
    return Request(method, parse_uri("sip:conf1@example.com"), headers)


class LocalPairTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.came: list[str] = []
        self.answers: list[Deferred[Response]] = []
        self.focus, self.server = local_pair(self.to_focus, self.to_server, clock=self.clock)

    def to_focus(self, request: Request) -> Response:
        self.came.append(f"focus {request.method}")
        return request.response(202)

    def to_server(self, request: Request) -> Response | Deferred[Response]:
        self.came.append(f"server {request.method} {request.call_id}")
        if request.method == "BYE":
            return request.response(200)
        answer: Deferred[Response] = Deferred()
        self.answers.append(answer)
        return answer

    def turns(self, count: int = 2) -> None:
        for _ in range(count):
            self.clock.advance(0)

    def test_both_ways(self) -> None:
        bye = self.focus.request(make("BYE"))
        refer = self.server.request(make("REFER"))
        self.turns()
        self.assertEqual(self.came, ["server BYE call-1", "focus REFER"])
        self.assertEqual(self.successResultOf(bye).status, 200)
        self.assertEqual(self.successResultOf(refer).status, 202)

    def test_nothing_happens_from_within_request(self) -> None:
        result = self.focus.request(make("BYE"))
        self.assertEqual(self.came, [])
        self.turns()
        self.successResultOf(result)

    def test_in_the_order_of_sending(self) -> None:
        for number in range(100):
            self.focus.request(make("BYE", f"call-{number}"))
        self.turns(1)
        self.assertEqual(self.came, [f"server BYE call-{number}" for number in range(100)])

    def test_answers_in_any_order(self) -> None:
        first = self.focus.request(make(call_id="a"))
        second = self.focus.request(make(call_id="b"))
        self.turns()
        self.answers[1].callback(make().response(486))
        self.turns()
        self.assertNoResult(first)
        self.assertEqual(self.successResultOf(second).status, 486)

    def test_nothing_happens_from_within_a_handler(self) -> None:
        story: list[str] = []

        def to_server(request: Request) -> Response:
            notify = self.server.request(make("NOTIFY"))
            notify.addCallback(lambda response: story.append("server has the answer"))
            story.append("server has handled it")
            return request.response(200)

        def to_focus(request: Request) -> Response:
            story.append("focus handles the other")
            return request.response(200)

        self.focus, self.server = local_pair(to_focus, to_server, clock=self.clock)
        self.focus.request(make()).addCallback(lambda _: story.append("focus has the answer"))
        self.turns()
        self.assertEqual(
            story,
            [
                "server has handled it",
                "focus handles the other",
                "focus has the answer",
                "server has the answer",
            ],
        )

    def test_neither_side_sees_what_the_other_does_to_a_message(self) -> None:
        kept: list[Response] = []

        def to_server(request: Request) -> Response:
            request.headers.set("Flow", "changed")
            kept.append(request.response(200))
            return kept[0]

        focus, _ = local_pair(self.to_focus, to_server, clock=self.clock)
        request = make()
        result = focus.request(request)
        request.headers.set("Call-ID", "changed later")
        self.turns()
        kept[0].headers.set("Call-ID", "changed later too")
        self.assertEqual(request.headers.get("Flow"), "udp/a/b/0")
        self.assertEqual(self.successResultOf(result).call_id, "call-1")

    def test_a_handler_that_raises_or_fails_is_500(self) -> None:
        def raising(request: Request) -> Response:
            raise RuntimeError("a bug")

        def failing(request: Request) -> Deferred[Response]:
            return succeed(request).addCallback(raising)

        for handler in (raising, failing):
            focus, _ = local_pair(self.to_focus, handler, clock=self.clock)
            result = focus.request(make())
            self.turns()
            self.assertEqual(self.successResultOf(result).status, 500)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_nobody_waits_any_more(self) -> None:
        result = self.focus.request(make())
        result.addErrback(lambda failure: None)
        self.turns()
        result.cancel()
        self.answers[0].callback(make().response(200))
        self.turns()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_close(self) -> None:
        for closing in ("focus", "server"):
            with self.subTest(closing):
                self.setUp()
                before = self.focus.request(make())
                self.turns()
                underway = self.server.request(make("REFER"))
                side: LocalChannel = getattr(self, closing)
                side.close()
                side.close()
                after = self.focus.request(make())
                for result in (before, underway, after):
                    self.failureResultOf(result, ChannelClosed)
                self.answers[0].callback(make().response(200))
                self.turns()
                self.assertEqual(self.came, ["server INVITE call-1"])
                self.assertEqual(self.clock.getDelayedCalls(), [])
