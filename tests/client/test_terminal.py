from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import (
    Chat,
    Happening,
    Invited,
    JoinError,
    Message,
    Person,
    ReferError,
    RoomEvent,
    Roster,
    SendError,
    WatchError,
    WatchState,
)
from msrpconf.client.rendering import Fragments, plain
from msrpconf.client.terminal import ChatEnded, TerminalChat
from msrpconf.protocols.conference_info import (
    Endpoint,
    User,
    document,
    user_element,
    users_element,
)
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.protocols.sipfrag import Fragment

HERE = Endpoint("e", "connected")
ROOM = "sip:lobby@example.com"
BOB = "sip:bob@example.com"


class FakeChat:
    """A room: what was said and asked in it, and the answers, which the test gives."""

    room = ROOM
    user = "sip:alice@example.com"

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[Deferred[Any]] = []
        self.types = 0

    def send(self, text: str) -> Deferred[None]:
        self.said.append(text)
        return self._answer()

    def __getattr__(self, name: str) -> Callable[..., Deferred[Any]]:
        def ask(*arguments: Any) -> Deferred[Any]:
            self.asked.append((name, *arguments))
            return self._answer()

        return ask

    def typing(self) -> None:
        self.types += 1

    def stop_typing(self) -> None:
        self.types = 0

    def _answer(self) -> Deferred[Any]:
        self.answers.append(Deferred())
        return self.answers[-1]


class FakeWatch:
    """What a room tells; the test tells it."""

    def __init__(self) -> None:
        self.roster = Roster()
        self.state = WatchState.ASKING
        self.error: WatchError | None = None


class FakeAgent:
    """Lets its user into a room when the test says so."""

    user = "sip:alice@example.com"
    display_name: str | None = None
    tls = False

    def __init__(self) -> None:
        self.joining: Deferred[Chat] = Deferred()
        self.on_invited: Callable[[Invited], None] | None = None

    def join(self, room: str, **listening: Any) -> Deferred[Chat]:
        self.room, self.hears = room, listening
        return self.joining


class FakeInvitation:
    """An invitation to another room."""

    room = "sip:moon@example.net"
    subject = "The \x1bmoon"
    by = Person("sip:carol@example.net", "Carol")
    open = True

    def __init__(self) -> None:
        self.joining: Deferred[Chat] = Deferred()
        self.declined = False

    def accept(self, **listening: Any) -> Deferred[Chat]:
        self.hears = listening
        return self.joining

    def decline(self) -> None:
        self.open, self.declined = False, True


class FakeConsole:
    """What was shown, and the hands of who types."""

    has_status = True
    has_panel = False

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.notices: list[str] = []
        self.stopped = 0

    def start(
        self,
        on_line: Callable[[str], Deferred[None]],
        on_end: Callable[[], None],
        on_edit: Callable[[str], None] | None = None,
        complete: Callable[[str], tuple[int, Sequence[str]]] | None = None,
    ) -> None:
        self.types, self.ends, self.edits = on_line, on_end, cast(Any, on_edit)

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)

    def show(self, fragments: Fragments) -> None:
        self.shown.append(plain(fragments)[len("HH:MM ") :])

    def show_own(self, fragments: Fragments) -> None:
        self.show(fragments)

    def notice(self, fragments: Fragments) -> None:
        self.notices.append(plain(fragments))

    def status(self, fragments: Fragments) -> None:
        self.activity = plain(fragments)

    def panel(self, lines: Callable[[], list[Fragments]]) -> None:
        self.people = [plain(each) for each in lines()]


class TerminalChatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.watch = FakeWatch()
        self.agent, self.console, self.chat = FakeAgent(), FakeConsole(), FakeChat()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.now = 0.0
        chat = TerminalChat(self.agent, ROOM, self.console, self.directory, lambda: self.now)
        self.running = chat.run()

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
        self.agent.hears["on_message"](
            Message("sip:bob@example.com", None, ROOM, "text/plain", b"ho")
        )
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
        self.agent.hears["on_ended"]("the server is tired")
        self.agent.hears["on_ended"]("MSRP broke")
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

    # What is said to one.

    def hear(self, text: str = "hi", uri: str = BOB, name: str | None = None, **more: Any) -> None:
        self.agent.hears["on_message"](
            Message(uri, name, ROOM, "text/plain", text.encode("utf-8"), **more)
        )

    def tell(self, text: str) -> None:
        message = Message(ROOM, None, ROOM, "text/plain", text.encode("utf-8"), kind="status")
        self.agent.hears["on_notice"](message)

    def watches(self, *users: User) -> None:
        """The room tells for the first time who is in it."""
        elements = map(user_element, users)
        self.watch.roster.apply(document(ROOM, "full", 0, (users_element(elements),)))
        self.watch.state = WatchState.ACTIVE
        self.happens(Happening.STATE)

    def happens(self, what: Happening, user: User | None = None, **more: Any) -> None:
        """The room tells of something."""
        self.agent.hears["on_events"](self.watch, [RoomEvent(what, user, **more)])

    def types(self, line: str) -> str:
        """Type a line; give what the program says to that."""
        before = len(self.console.notices)
        self.console.types(line)
        return "\n".join(self.console.notices[before:])

    def test_a_private_message(self) -> None:
        self.enter()
        self.hear(name="Bob")
        self.assertEqual(self.types("/msg bob  hello you"), "")
        self.assertEqual(self.chat.asked, [("send_private", BOB, "hello you")])
        self.assertEqual(self.console.shown[-1], "alice (only to Bob): hello you")
        self.chat.answers[0].errback(SendError(404, "nobody"))
        self.assertIn("Not delivered: hello you (404 nobody)", self.console.notices[-1])

    def test_to_nobody_or_too_many(self) -> None:
        self.enter()
        self.assertIn("Nobody called bob is here", self.types("/msg bob hello"))
        self.hear()
        self.hear(uri="sip:eve@example.net", name="bob")
        self.assertIn(
            "bob may be bob@example.com or eve@example.net: name one", self.types("/msg bob hello")
        )
        self.assertIn("Whom to tell what?", self.types("/msg bob"))
        self.assertEqual(self.chat.asked, [])
        self.types("/msg eve@example.net hello")
        self.assertEqual(self.chat.asked, [("send_private", "sip:eve@example.net", "hello")])

    def test_who(self) -> None:
        self.enter()
        self.assertIn("Nobody was heard here yet", self.types("/who"))
        self.hear(name="Bob")
        self.tell("carol@example.com has joined")
        self.assertIn("  Bob <bob@example.com>\n    carol@example.com", self.types("/who"))

    def test_who_as_the_room_tells(self) -> None:
        self.enter()
        self.watches(User(BOB, "Bob", roles=("owner",), endpoints=(HERE,)))
        self.assertEqual(self.console.notices[-1][len("HH:MM ") :], "* Here already: Bob")
        self.assertIn("1 here:\n    Bob <bob@example.com>, owner", self.types("/who"))
        self.assertEqual(self.types("/msg bob hello"), "")
        self.assertEqual(self.chat.asked, [("send_private", BOB, "hello")])
        self.assertEqual(self.console.activity, "lobby@example.com  |  1 here")

    def test_who_comes_and_goes_is_told_once(self) -> None:
        self.enter()
        self.watches()
        before = len(self.console.notices)
        carol = "sip:carol@example.com"
        self.happens(Happening.CAME, User(carol, endpoints=(HERE,)))
        self.tell("carol@example.com has joined")
        self.tell("dave@example.com has joined")
        self.happens(Happening.CAME, User("sip:dave@example.com", endpoints=(HERE,)))
        self.happens(Happening.INVITED, User("sip:eve@example.com"))
        told = [each[len("HH:MM ") :] for each in self.console.notices[before:]]
        self.assertEqual(told, ["* carol has joined", "* eve is invited"])
        self.assertEqual(self.console.shown, ["* dave@example.com has joined"])

    def test_beside_a_panel(self) -> None:
        self.console.has_panel = True
        self.enter()
        self.watches(User(BOB, "Bob", roles=("owner",), endpoints=(HERE,)))
        before = len(self.console.notices)
        self.happens(Happening.CAME, User("sip:carol@example.com", endpoints=(HERE,)))
        self.assertEqual(len(self.console.notices), before)
        self.assertEqual(self.console.people, ["1 here", " Bob owner"])
        self.happens(Happening.UNWATCHED, reason="the server is tired")
        self.assertIn("is not told any more: the server is tired", self.console.notices[-1])

    def test_a_room_that_does_not_tell(self) -> None:
        self.enter()
        self.watch.error = WatchError(403, "You may not")
        self.happens(Happening.UNWATCHED, reason="You may not")
        self.assertEqual(len(self.console.notices), 1)
        self.assertIn("does not tell who is here (403 You may not)", self.types("/who"))
        self.watch.error, self.watch.state = None, WatchState.PENDING
        self.assertIn("yet to let you see who is here", self.types("/who"))

    def test_a_nickname(self) -> None:
        self.enter()
        self.assertEqual(self.types("/nick  Ally B. "), "")
        self.assertEqual(self.chat.asked, [("use_nickname", "Ally B.")])
        self.chat.answers[0].callback(None)
        self.assertEqual(self.console.notices[-1], "* You are called Ally B. now.")
        self.assertEqual(self.console.activity, "lobby@example.com as Ally B.")
        self.types("hi")
        self.assertEqual(self.console.shown[-1], "Ally B.: hi")
        self.types("/nick bob")
        self.chat.answers[-1].errback(SendError(425, "taken"))
        self.assertEqual(self.console.notices[-1], "* No nickname (425 taken)")
        self.types("/nick")
        self.chat.answers[-1].callback(None)
        self.assertEqual(self.console.notices[-1], "* You have no nickname now.")

    # Who is typing.

    def test_typing_is_told(self) -> None:
        self.enter()
        self.console.edits("h")
        self.console.edits("hi")
        self.assertEqual(self.chat.types, 2)
        self.console.edits("")
        self.assertEqual(self.chat.types, 0)
        for line in ("/m", "/msg bob", " "):
            self.console.edits(line)
        self.assertEqual(self.chat.types, 0)
        self.console.edits("//leave")
        self.assertEqual(self.chat.types, 1)

    def test_who_types_is_shown(self) -> None:
        self.enter()
        self.assertEqual(self.console.activity, "lobby@example.com")
        types = self.agent.hears["on_typing"]
        types(Person(BOB, "Bob"), True)
        self.assertIn("|  Bob is typing...", self.console.activity)
        types(Person("sip:carol@example.com"), True)
        self.assertIn("Bob and carol are typing...", self.console.activity)
        for number in range(3):
            types(Person(f"sip:{number}@example.com"), True)
        self.assertIn("5 people are typing...", self.console.activity)
        types(Person(BOB), False)
        self.assertIn("4 people are typing...", self.console.activity)

    # Files.

    def offer(self, name: str) -> FileSelector:
        selector = FileSelector(name, "image/jpeg", 51200)
        text = f'bob sent a file: {name} (51 kB). To fetch it, ask sip:lobby for "{name}" with'
        message = Message(ROOM, None, ROOM, "text/plain", text.encode(), file=selector)
        self.agent.hears["on_file"](message)
        return selector

    def test_a_file_is_given(self) -> None:
        self.enter()
        photo = self.directory / "photo.jpg"
        photo.write_bytes(b"abc")
        self.types(f"/send {photo}")
        [(what, path, progress)] = self.chat.asked
        self.assertEqual((what, path), ("send_file", photo))
        self.assertIn("|  photo.jpg [--------------------] 0%", self.console.activity)
        self.now = 1.0
        progress(128, 512)
        self.assertIn("|  photo.jpg [#####---------------] 25%", self.console.activity)
        self.chat.answers[0].callback(None)
        self.assertEqual(self.console.activity, "lobby@example.com")
        self.assertEqual(self.console.notices[-1], "* photo.jpg was given to the room.")

    def test_a_file_that_is_not_given(self) -> None:
        self.enter()
        self.assertIn("There is no file nowhere", self.types("/send nowhere"))
        self.assertIn("There is no file", self.types(f"/send {self.directory}"))
        self.assertIn("Which file?", self.types("/send"))
        photo = self.directory / "photo.jpg"
        photo.write_bytes(b"abc")
        self.types(f"/send {photo}")
        self.chat.answers[0].errback(JoinError(488, "The file is too large"))
        self.assertIn("photo.jpg was not given (488 The file", self.console.notices[-1])
        self.console.ends()
        self.assertEqual(self.successResultOf(self.running), 1)

    def test_without_a_status_there_are_lines(self) -> None:
        self.console.has_status = False
        self.enter()
        photo = self.directory / "photo.jpg"
        photo.write_bytes(b"abc")
        self.types(f"/send {photo}")
        progress = self.chat.asked[0][2]
        for octets in range(100):
            self.now += 0.5
            progress(octets, 100)
        percent = [each for each in self.console.notices if "%" in each]
        self.assertEqual(percent, [f"* photo.jpg: {n}%" for n in range(10, 100, 10)])

    def test_a_file_is_fetched(self) -> None:
        self.enter()
        photo = self.offer("photo.jpg")
        self.assertEqual(
            self.console.shown[-1], "* bob sent a file: photo.jpg (51 kB). /get 1 fetches it."
        )
        self.assertIn("1  photo.jpg  51 kB  image/jpeg", self.types("/files"))
        for line, path in (
            ("/get photo.jpg", self.directory / "photo.jpg"),
            ("/get 1", self.directory / "photo.jpg"),
            (f"/get 1 {self.directory}/other", self.directory / "other"),
        ):
            self.types(line)
            what, selector, target, _ = self.chat.asked[-1]
            self.assertEqual((what, selector, target), ("fetch_file", photo, path))
            self.chat.answers[-1].callback(None)
            self.assertEqual(self.console.notices[-1], f"* {path} is there.")

    def test_no_file_of_ours_is_overwritten(self) -> None:
        self.enter()
        self.offer("photo.jpg")
        (self.directory / "photo.jpg").write_bytes(b"ours")
        self.assertIn("photo.jpg is there already", self.types("/get photo.jpg"))
        self.assertIn("You were told of no file 2", self.types("/get 2"))
        self.assertIn("Which file?", self.types("/get"))
        self.assertEqual(self.chat.asked, [])

    def test_a_file_from_before_one_came(self) -> None:
        self.enter()
        self.types('/get "old photo.jpg"')
        path = self.directory / "old photo.jpg"
        self.assertEqual(
            self.chat.asked[-1][:3], ("fetch_file", FileSelector("old photo.jpg"), path)
        )
        self.chat.answers[0].errback(JoinError(488, "This room has no such file"))
        self.assertIn("was not fetched (488 This room has no", self.console.notices[-1])

    def test_a_name_leads_nowhere_else(self) -> None:
        self.enter()
        for number, (name, safe) in enumerate(
            (
                ("../../etc/passwd", "passwd"),
                ("C:\\boot.ini", "boot.ini"),
                (".bashrc", "bashrc"),
                ("..", "file"),
                ("a\u202egpj.exe", "agpj.exe"),
                ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
            ),
            1,
        ):
            self.offer(name)
            self.types(f"/get {number}")
            self.assertEqual(self.chat.asked[-1][2], self.directory / safe)

    def test_files_do_not_keep_from_leaving(self) -> None:
        self.enter()
        self.offer("photo.jpg")
        self.types("/get photo.jpg")
        self.types("/leave")
        self.successResultOf(self.running)
        self.assertIn("photo.jpg was not fetched (broken off)", self.console.notices[-1])

    # Others.

    def test_somebody_is_muted(self) -> None:
        self.enter()
        self.hear()
        for command, muted in (("/mute", True), ("/unmute", False)):
            self.types(f"{command} bob")
            self.assertEqual(self.chat.asked[-1], ("mute", BOB, muted))
            self.assertIn("Whom?", self.types(command))

    def test_the_subject_is_changed(self) -> None:
        self.enter()
        self.types("/subject  What we talk about ")
        self.assertEqual(self.chat.asked[-1], ("change_subject", "What we talk about"))
        self.chat.answers[-1].errback(SendError(403, "Only moderators may"))
        self.assertEqual(
            self.console.notices[-1], "* The subject was not changed (403 Only moderators may)"
        )
        self.types("/subject")
        self.assertEqual(self.chat.asked[-1], ("change_subject", ""))
        self.chat.answers[-1].callback(None)
        self.assertEqual(self.console.notices[-1], "* There is no subject any more.")

    def test_somebody_is_removed(self) -> None:
        self.enter()
        self.hear()
        self.types("/kick bob")
        self.assertEqual(self.chat.asked, [("remove", BOB)])
        self.chat.answers[0].errback(ReferError(403, "Only moderators may"))
        self.assertEqual(
            self.console.notices[-1], "* bob@example.com was not removed (403 Only moderators may)"
        )
        self.types("/kick bob")
        self.chat.answers[1].callback(Fragment.of(200))
        self.assertEqual(self.console.notices[-1], "* bob@example.com was removed.")
        self.assertIn("Whom?", self.types("/kick"))

    def test_somebody_is_invited(self) -> None:
        self.enter()
        said = self.console.types("/invite dave@example.com")
        self.successResultOf(said)
        self.assertEqual(self.chat.asked, [("invite", "sip:dave@example.com")])
        self.chat.answers[0].callback(Fragment.of(200))
        self.assertEqual(self.console.notices[-1], "* dave@example.com has accepted.")
        self.types("/invite sip:dave@example.com")
        self.chat.answers[1].errback(ReferError(603, "Decline"))
        self.assertEqual(self.console.notices[-1], "* dave@example.com does not come (603 Decline)")
        self.assertIn("Whom?", self.types("/invite"))

    def test_who_leaves_does_not_wait_for_who_is_invited(self) -> None:
        self.enter()
        self.types("/invite dave@example.com")
        self.types("/leave")
        self.assertEqual(self.successResultOf(self.running), 0)

    # Being invited.

    def invite(self) -> FakeInvitation:
        invited = FakeInvitation()
        assert self.agent.on_invited is not None
        self.agent.on_invited(cast(Invited, invited))
        return invited

    def test_an_invitation_is_shown_and_declined(self) -> None:
        self.enter()
        self.assertIn("Nobody has asked you", self.types("/accept"))
        invited = self.invite()
        self.assertIn(
            r"Carol <carol@example.net> asks you into sip:moon@example.net, about: The \x1bmoon.",
            self.console.notices[-1],
        )
        self.assertIn("/accept", self.console.notices[-1])
        self.types("/decline")
        self.assertTrue(invited.declined)
        self.assertIn("Nobody has asked you", self.types("/decline"))

    def test_an_invitation_is_accepted(self) -> None:
        self.enter()
        invited = self.invite()
        self.types("/accept")
        # Until one is in, one is where one was.
        self.types("hi")
        self.assertEqual(self.chat.said, ["hi"])
        moon = FakeChat()
        moon.room = invited.room
        invited.joining.callback(cast(Chat, moon))
        self.assertEqual(self.chat.asked, [("leave",)])
        self.assertIn("You are in sip:moon@example.net", self.console.notices[-1])
        self.assertEqual(self.console.activity, "moon@example.net")
        self.types("hello")
        self.assertEqual(moon.said, ["hello"])
        invited.hears["on_message"](
            Message("sip:carol@example.net", "Carol", invited.room, "text/plain", b"welcome")
        )
        self.assertEqual(self.console.shown[-1], "Carol: welcome")
        # The end of the other room is nothing to us any more.
        self.agent.hears["on_ended"]("over")
        self.assertNoResult(self.running)
        invited.hears["on_ended"]("over, too")
        self.failureResultOf(self.running, ChatEnded)

    def test_a_room_that_does_not_let_in_leaves_one_where_one_was(self) -> None:
        self.enter()
        invited = self.invite()
        self.types("/join")
        invited.joining.errback(JoinError(486, "The room is full"))
        self.assertIn("You are not let into sip:moon@example.net", self.console.notices[-1])
        self.types("hi")
        self.assertEqual(self.chat.said, ["hi"])
