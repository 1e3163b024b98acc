from __future__ import annotations

from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.line_budget import LineBudget
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.malformed import answer_malformed, log_malformed
from msrpconf.protocols.sip.message import SipParseError, parse_message

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5070))


def parse_error(data: bytes) -> SipParseError:
    try:
        parse_message(data)
    except SipParseError as error:
        return error
    raise AssertionError("expected a bad message")


def bad_options(call_id: str = "call-1") -> SipParseError:
    return parse_error(
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
        b"Call-ID: " + call_id.encode() + b"\r\nCSeq: none OPTIONS\r\n\r\n"
    )


class AnswerTests(SynchronousTestCase):
    def test_what_can_be_answered(self) -> None:
        response = answer_malformed(bad_options())
        assert response is not None
        self.assertEqual(response.status, 400)
        self.assertIn("CSeq", response.reason)
        self.assertEqual(response.headers.get("Via"), "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx")
        self.assertRegex(response.headers.get("To") or "", r"^<sip:a@b>;tag=\w+$")

    def test_the_same_again(self) -> None:
        answers = [bytes(answer_malformed(bad_options()) or b"") for _ in range(2)]
        self.assertEqual(answers[0], answers[1])

    def test_what_cannot(self) -> None:
        self.assertIsNone(answer_malformed(parse_error(b"hello\r\n\r\n")))
        self.assertIsNone(answer_malformed(parse_error(b"SIP/2.0 200 OK\r\n\r\n")))


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[dict[str, object]] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()

    def lines(self) -> list[str]:
        return [
            str(event["log_format"]).format(**event)
            for event in self.events
            if event.get("log_namespace") == "msrpconf.protocols.sip.malformed"
        ]

    def test_one_line_tells_who_and_which_call(self) -> None:
        log_malformed(LineBudget(self.clock), bad_options(), FLOW)
        [line] = self.lines()
        for part in ("udp:192.0.2.9:5070", "answered 400", "CSeq", "call-1"):
            self.assertIn(part, line)

    def test_nothing_of_the_peer_breaks_the_line(self) -> None:
        log_malformed(LineBudget(self.clock), bad_options("a\x1b[2Jb\x07\xff"), FLOW)
        [line] = self.lines()
        self.assertTrue(line.isascii() and line.isprintable(), line)

    def test_nothing_is_known_of_the_call(self) -> None:
        log_malformed(LineBudget(self.clock), parse_error(b"hello\r\n\r\n"), FLOW)
        [line] = self.lines()
        self.assertIn("dropped", line)
        self.assertIn("unknown", line)

    def test_one_peer_fills_no_disk(self) -> None:
        budget = LineBudget(self.clock, lines=3)
        for _ in range(100):
            log_malformed(budget, bad_options(), FLOW)
        self.assertEqual(len(self.lines()), 3)
        self.clock.advance(61)
        log_malformed(budget, bad_options(), FLOW)
        self.assertIn("97 such lines were left out", self.lines()[3])

    def test_nor_do_many_that_are_made_up(self) -> None:
        budget = LineBudget(self.clock, lines=3, all_lines=50)
        taken = [budget.take(f"192.0.{number // 250}.{number % 250}") for number in range(1000)]
        self.assertEqual(sum(note is not None for note in taken), 50)

    def test_peers_are_counted_apart(self) -> None:
        budget = LineBudget(self.clock, lines=1)
        taken = [budget.take(host) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
        self.assertEqual(taken, ["", "", None])
