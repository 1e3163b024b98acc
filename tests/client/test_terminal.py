from __future__ import annotations

import os
from collections.abc import Callable, Generator
from importlib import import_module
from io import StringIO
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from msrpconf.client import Chat, JoinError, Message, SendError
from msrpconf.client.rendering import Fragments, plain
from msrpconf.client.terminal import Action, ChatEnded, LineConsole, TerminalChat, read_line

ROOM = "sip:lobby@example.com"


class FakeChat:
    """A room: what was said in it, and the answers, which the test gives."""

    room = ROOM
    user = "sip:alice@example.com"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: list[Deferred[None]] = []

    def send(self, text: str) -> Deferred[None]:
        self.said.append(text)
        self.answers.append(Deferred())
        return self.answers[-1]


class FakeAgent:
    """Lets its user into a room when the test says so."""

    user = "sip:alice@example.com"
    display_name: str | None = None

    def __init__(self) -> None:
        self.joining: Deferred[Chat] = Deferred()

    def join(
        self,
        room: str,
        *,
        on_message: Callable[[Message], None],
        on_notice: Callable[[Message], None],
        on_ended: Callable[[str], None],
    ) -> Deferred[Chat]:
        self.room, self.on_message, self.on_ended = room, on_message, on_ended
        return self.joining


class FakeConsole:
    """What was shown, and the hands of who types."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.notices: list[str] = []
        self.stopped = 0

    def start(self, on_line: Callable[[str], Deferred[None]], on_end: Callable[[], None]) -> None:
        self.types, self.ends = on_line, on_end

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)

    def show(self, fragments: Fragments) -> None:
        self.shown.append(plain(fragments)[len("HH:MM ") :])

    def show_own(self, fragments: Fragments) -> None:
        self.show(fragments)

    def notice(self, fragments: Fragments) -> None:
        self.notices.append(plain(fragments))


class ReadLineTests(SynchronousTestCase):
    def test_text_is_said(self) -> None:
        self.assertEqual(read_line("hi there\r\n"), (Action.SAY, "hi there"))
        self.assertEqual(read_line("  a\n/b "), (Action.SAY, "  a\n/b "))

    def test_two_slashes_say_one(self) -> None:
        self.assertEqual(read_line("//leave"), (Action.SAY, "/leave"))
        self.assertEqual(read_line("//"), (Action.SAY, "/"))

    def test_commands(self) -> None:
        for line in ("/leave", "/LEAVE", "/quit  now"):
            self.assertEqual(read_line(line), (Action.LEAVE, ""))
        self.assertEqual(read_line("/help"), (Action.HELP, ""))
        self.assertEqual(read_line("/me laughs"), (Action.UNKNOWN, "/me"))
        self.assertEqual(read_line("/"), (Action.UNKNOWN, "/"))

    def test_nothing_is_nothing(self) -> None:
        for line in ("", "\n", "  \t "):
            self.assertEqual(read_line(line), (Action.NOTHING, ""))

    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters()))
    def test_any_line_gives_a_text_that_can_be_sent(self, line: str) -> None:
        read_line(line)[1].encode("utf-8")

    def test_what_cannot_be_encoded_is_replaced(self) -> None:
        self.assertEqual(read_line("a\udcffb"), (Action.SAY, "a?b"))


class TerminalChatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent, self.console, self.chat = FakeAgent(), FakeConsole(), FakeChat()
        self.running = TerminalChat(self.agent, ROOM, self.console).run()

    def enter(self) -> None:
        self.agent.joining.callback(cast(Chat, self.chat))

    def test_who_is_not_let_in_learns_why(self) -> None:
        self.agent.joining.errback(JoinError(403, "Forbidden"))
        self.assertEqual(self.failureResultOf(self.running, JoinError).value.status, 403)

    def test_people_talk(self) -> None:
        self.enter()
        self.assertEqual(self.agent.room, ROOM)
        self.assertEqual(len(self.console.notices), 1)
        said = self.console.types("hi")
        self.agent.on_message(Message("sip:bob@example.com", None, ROOM, "text/plain", b"ho"))
        self.assertEqual(self.chat.said, ["hi"])
        self.assertEqual(self.console.shown, ["alice: hi", "bob: ho"])
        self.assertNoResult(said)
        self.chat.answers[0].callback(None)
        self.successResultOf(said)
        self.assertNoResult(self.running)

    def test_to_leave_waits_for_what_was_said(self) -> None:
        self.enter()
        self.console.types("hi")
        self.console.types("/leave")
        self.assertEqual(self.console.stopped, 1)
        self.assertNoResult(self.running)
        self.console.types("too late")
        self.assertEqual(self.chat.said, ["hi"])
        self.chat.answers[0].callback(None)
        self.assertEqual(self.successResultOf(self.running), 0)

    def test_the_end_of_input_is_to_leave(self) -> None:
        self.enter()
        self.console.ends()
        self.console.ends()
        self.assertEqual(self.successResultOf(self.running), 0)

    def test_to_cancel_is_to_leave(self) -> None:
        self.enter()
        self.running.cancel()
        self.assertEqual(self.console.stopped, 1)
        self.assertEqual(self.successResultOf(self.running), 0)

    def test_what_was_not_delivered_is_told_and_counted(self) -> None:
        self.enter()
        self.console.types("x" * 100)
        self.chat.answers[0].errback(SendError(413, "Too \x1blong"))
        self.assertEqual(
            self.console.notices[1], f"* Not delivered: {'x' * 60}... (413 Too \\x1blong)"
        )
        self.console.ends()
        self.assertEqual(self.successResultOf(self.running), 1)

    def test_a_room_that_ends_says_why(self) -> None:
        self.enter()
        self.console.types("hi")
        self.agent.on_ended("the server is tired")
        self.agent.on_ended("MSRP broke")
        self.assertEqual(
            str(self.failureResultOf(self.running, ChatEnded).value), "the server is tired"
        )
        self.assertEqual(self.console.stopped, 1)
        self.chat.answers[0].errback(SendError(481, "gone"))

    def test_help_and_unknown_commands_are_not_said(self) -> None:
        self.enter()
        self.console.types("/help")
        self.assertIn("//text", self.console.notices[1])
        self.console.types("/\x1b[2Jkick bob")
        self.assertIn(r"There is no /\x1b[2Jkick here", self.console.notices[2])
        self.assertEqual(self.chat.said, [])

    def test_a_typing_notice_is_not_shown(self) -> None:
        self.enter()
        typing = "application/im-iscomposing+xml"
        self.agent.on_message(Message("sip:bob@example.com", None, ROOM, typing, b""))
        self.assertEqual(self.console.shown, [])


class LineConsoleTests(TestCase):
    def setUp(self) -> None:
        self.source, self.input = os.pipe()
        self.addCleanup(os.close, self.source)
        self.output, self.notices = StringIO(), StringIO()
        self.reactor: Any = import_module("twisted.internet.reactor")
        self.console = LineConsole(self.reactor, self.source, self.output, self.notices)

    def write(self, octets: bytes) -> None:
        """Writes all of the input."""
        os.write(self.input, octets)
        os.close(self.input)

    @inlineCallbacks
    def test_a_line_waits_until_the_one_before_is_dealt_with(
        self,
    ) -> Generator[Deferred[Any], Any, None]:
        events: list[str] = []
        ended: Deferred[None] = Deferred()

        def line(text: str) -> Deferred[None]:
            events.append(f"begin {text}")
            done: Deferred[None] = Deferred()
            # The thread would have gone on with the next line at once.
            self.reactor.callLater(0.01, done.callback, None)
            return done.addCallback(lambda _: events.append(f"end {text}"))

        self.write("a\r\n\nbé\xff".encode("latin-1"))
        self.console.start(line, lambda: ended.callback(None))
        yield ended.addTimeout(10, self.reactor)
        lines = ["a\r", "", "b\ufffd\ufffd"]
        self.assertEqual(events, [f"{what} {each}" for each in lines for what in ("begin", "end")])

    def test_what_others_say_goes_to_the_output(self) -> None:
        self.console.show([("class:time", "09:25 "), ("", "bob: hi")])
        self.console.show_own([("", "alice: hi")])
        self.console.notice([("class:notice", "* hello")])
        self.assertEqual(self.output.getvalue(), "09:25 bob: hi\n")
        self.assertEqual(self.notices.getvalue(), "* hello\n")
        os.close(self.input)

    def test_an_output_that_nobody_reads_is_the_end_of_input(self) -> None:
        read, write = os.pipe()
        os.close(read)
        os.close(self.input)
        ended: list[None] = []
        with open(write, "w") as output:
            console = LineConsole(self.reactor, self.source, output, self.notices)
            console.show([("", "hi")])
            console.start(lambda _: succeed(None), lambda: ended.append(None))
            console.show([("", "hi")])
            console.notice([("", "hi")])
        self.assertEqual(ended, [None])
        self.assertEqual(self.notices.getvalue(), "")
