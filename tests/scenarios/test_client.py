"""What two people do with the client library, besides talking."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredQueue, inlineCallbacks

from msrpconf.client import (
    Chat,
    Invited,
    JoinError,
    Message,
    Person,
    ReferError,
    SendError,
    UserAgent,
)
from tests.certificates import issue, write
from tests.scenarios.embedded import EmbeddedServerTestCase

Story = Generator[Deferred[Any], Any, None]


class Visitor:
    """Somebody in the room, and queues of what they are told."""

    chat: Chat

    def __init__(self) -> None:
        self.hears: DeferredQueue[Message] = DeferredQueue()
        self.told: DeferredQueue[Message] = DeferredQueue()
        self.files: DeferredQueue[Message] = DeferredQueue()
        self.typing: DeferredQueue[tuple[Person, bool]] = DeferredQueue()
        self.ended: DeferredQueue[str] = DeferredQueue()


class ClientTestCase(EmbeddedServerTestCase):
    @inlineCallbacks
    def enters(
        self, user: str, room: str | None = None, tls: bool = False, **options: Any
    ) -> Generator[Deferred[Any], Any, Visitor]:
        """Somebody joins the room."""
        visitor = Visitor()
        visitor.chat = yield self.agent(user, **options).join(
            room or self.room(),
            on_message=visitor.hears.put,
            on_notice=visitor.told.put,
            on_file=visitor.files.put,
            on_typing=lambda person, active: visitor.typing.put((person, active)),
            on_ended=visitor.ended.put,
            tls=tls,
        )
        return visitor


class SpeakingStories(ClientTestCase):
    @inlineCallbacks
    def test_a_private_message(self) -> Story:
        alice = yield self.enters("alice", display_name="Alice")
        bob = yield self.enters("bob")
        carol = yield self.enters("carol")
        yield alice.chat.send_private("sip:bob@example.com", "psst")
        yield alice.chat.send_private("bob@example.com", "bare")
        yield alice.chat.send("for all")

        for text, private in (("psst", True), ("bare", True), ("for all", False)):
            message = yield bob.hears.get()
            self.assertEqual((message.text, message.is_private), (text, private))
            self.assertEqual(message.person, Person("sip:alice@example.com", "Alice"))
        message = yield carol.hears.get()
        self.assertEqual(message.text, "for all")

    @inlineCallbacks
    def test_a_private_message_that_goes_nowhere(self) -> Story:
        alice = yield self.enters("alice")
        plain = yield self.enters("paul", plain=True)
        for who, to, status in (
            (alice, "sip:nobody@example.com", 404),
            (alice, "sip:paul@example.com", 428),
            (alice, "sip:<>", 400),
            (plain, "sip:alice@example.com", 415),
        ):
            error = yield self.assertFailure(who.chat.send_private(to, "psst"), SendError)
            self.assertEqual(error.status, status, to)

    @inlineCallbacks
    def test_nicknames(self) -> Story:
        alice = yield self.enters("alice")
        bob = yield self.enters("bob")
        yield alice.chat.use_nickname('Ally "the great"')
        self.assertEqual(alice.chat.nickname, 'Ally "the great"')
        notice = yield bob.told.get()
        self.assertEqual(
            notice.text, 'alice@example.com is now Ally "the great" <alice@example.com>'
        )
        self.assertEqual(notice.kind, "status")
        yield alice.chat.send("hi")
        message = yield bob.hears.get()
        self.assertEqual(message.name, 'Ally "the great"')

        for name, status in (('ally "THE great"', 425), ("a\r\nTo: b", 424), ("x" * 2000, 424)):
            error = yield self.assertFailure(bob.chat.use_nickname(name), SendError)
            self.assertEqual(error.status, status)
        self.assertIsNone(bob.chat.nickname)
        yield alice.chat.use_nickname("")
        self.assertIsNone(alice.chat.nickname)
        yield bob.chat.use_nickname('ally "THE great"')

    @inlineCallbacks
    def test_typing(self) -> Story:
        alice = yield self.enters("alice")
        bob = yield self.enters("bob")
        bob.chat.typing()
        bob.chat.typing()
        who, active = yield alice.typing.get()
        self.assertEqual((who.uri, active), ("sip:bob@example.com", True))
        yield bob.chat.send("hi")
        who, active = yield alice.typing.get()
        self.assertEqual((who.uri, active), ("sip:bob@example.com", False))
        message = yield alice.hears.get()
        self.assertEqual(message.text, "hi")
        bob.chat.typing()
        bob.chat.stop_typing()
        changes = [(yield alice.typing.get())[1], (yield alice.typing.get())[1]]
        self.assertEqual(changes, [True, False])
        self.assertEqual(alice.hears.pending, [])


class SparseRoomStories(ClientTestCase):
    server_keys = "[conference]\nnicknames = false\nprivate_messages = false\n"

    @inlineCallbacks
    def test_what_a_room_does_not_have(self) -> Story:
        alice = yield self.enters("alice")
        self.assertEqual(alice.chat.features, frozenset())
        error = yield self.assertFailure(alice.chat.use_nickname("Ally"), SendError)
        self.assertEqual(error.status, 403)
        error = yield self.assertFailure(
            alice.chat.send_private("sip:alice@example.com", "psst"), SendError
        )
        self.assertEqual(str(error), "403 private messages are off in this room")


class ReferringStories(ClientTestCase):
    """Alice made the room, so it is hers."""

    def expects_invitations(
        self, user: str, **options: Any
    ) -> tuple[UserAgent, DeferredQueue[Invited]]:
        """Somebody in no room, who can be reached."""
        invited: DeferredQueue[Invited] = DeferredQueue()
        agent = self.agent(user, listen="udp:127.0.0.1:0", on_invited=invited.put, **options)
        return agent, invited

    @inlineCallbacks
    def test_the_owner_removes_somebody(self) -> Story:
        alice = yield self.enters("alice")
        bob = yield self.enters("bob")
        outcome = yield alice.chat.remove("sip:bob@example.com")
        self.assertEqual(outcome.status, 200)
        why = yield bob.ended.get()
        self.assertEqual(why, "Removed by alice@example.com")
        self.assertTrue(bob.chat.ended)
        bob = yield self.enters("bob")
        outcome = yield alice.chat.remove("bob@example.com")
        self.assertEqual(outcome.status, 200)
        yield bob.ended.get()

    @inlineCallbacks
    def test_who_may_not_or_cannot(self) -> Story:
        alice = yield self.enters("alice")
        bob = yield self.enters("bob")
        for asking, status in (
            (bob.chat.remove("sip:alice@example.com"), 403),
            (alice.chat.remove("sip:carol@example.com"), 404),
            (alice.chat.remove("mailto:carol@example.com"), 416),
            (alice.chat.remove("sip:example.com"), 416),
        ):
            error = yield self.assertFailure(asking, ReferError)
            self.assertEqual(error.status, status)
        yield bob.chat.leave()
        error = yield self.assertFailure(bob.chat.remove("sip:alice@example.com"), ReferError)
        self.assertEqual(error.status, 481)

    @inlineCallbacks
    def test_an_invitation_is_accepted(self) -> Story:
        alice = yield self.enters("alice", display_name="Alice")
        bob, invited = self.expects_invitations("bob")
        yield bob.start()
        asking = alice.chat.invite(f"sip:bob@{bob.listening[0].sent_by}")
        invitation = yield invited.get()
        self.assertEqual(invitation.room, self.room())
        self.assertEqual(invitation.by, Person("sip:alice@example.com", "Alice"))
        hears: DeferredQueue[Message] = DeferredQueue()
        chat = yield invitation.accept(on_message=hears.put)
        outcome = yield asking
        self.assertEqual(outcome.status, 200)
        yield alice.chat.send("welcome")
        message = yield hears.get()
        self.assertEqual(message.text, "welcome")
        self.assertEqual(chat.room, alice.chat.room)
        error = yield self.assertFailure(invitation.accept(), JoinError)
        self.assertEqual(error.status, 487)

    @inlineCallbacks
    def test_invitations_that_come_to_nothing(self) -> Story:
        alice = yield self.enters("alice")
        bob, invited = self.expects_invitations("bob")
        carol, carol_invited = self.expects_invitations("carol")
        deaf = self.agent("dave", listen="udp:127.0.0.1:0")
        for each in (bob, carol, deaf):
            yield each.start()
        asking = alice.chat.invite(f"sip:bob@{bob.listening[0].sent_by}")
        (yield invited.get()).decline()
        error = yield self.assertFailure(asking, ReferError)
        self.assertEqual(error.status, 603)
        # Carol goes away instead of answering.
        asking = alice.chat.invite(f"sip:carol@{carol.listening[0].sent_by}")
        yield carol_invited.get()
        yield carol.stop()
        error = yield self.assertFailure(asking, ReferError)
        self.assertEqual(str(error), "480 The user has gone")
        asking = alice.chat.invite(f"sip:dave@{deaf.listening[0].sent_by}")
        error = yield self.assertFailure(asking, ReferError)
        self.assertEqual(error.status, 405)

    @inlineCallbacks
    def test_what_a_room_is_about_comes_with_the_invitation(self) -> Story:
        chat = yield self.agent("alice").join(self.room(), subject="The moon")
        bob, invited = self.expects_invitations("bob")
        yield bob.start()
        asking = chat.invite(f"sip:bob@{bob.listening[0].sent_by}")
        invitation = yield invited.get()
        self.assertEqual(invitation.subject, "The moon")
        invitation.decline()
        yield self.assertFailure(asking, ReferError)


class FileTestCase(ClientTestCase):
    tls = False

    @inlineCallbacks
    def gives_and_fetches(self) -> Story:
        """Alice gives a file, Bob is told of it and fetches it, both see how it goes."""
        directory = Path(self.mktemp())
        directory.mkdir()
        data = random.Random(1).randbytes(300_000)
        (directory / "photo.jpg").write_bytes(data)
        alice = yield self.enters("alice", tls=self.tls)
        bob = yield self.enters("bob", tls=self.tls)
        sent: list[tuple[int, int | None]] = []
        fetched: list[tuple[int, int | None]] = []

        given = yield alice.chat.send_file(
            directory / "photo.jpg", lambda *passed: sent.append(passed), name="me.jpg"
        )
        offered = yield bob.files.get()
        self.assertEqual(offered.file, given)
        self.assertEqual(given.name, "me.jpg")
        self.assertIn("alice@example.com sent a file: me.jpg", offered.text)
        yield bob.chat.fetch_file(
            offered.file, directory / "copy", lambda *passed: fetched.append(passed)
        )

        self.assertEqual((directory / "copy").read_bytes(), data)
        for progress in (sent, fetched):
            self.assertEqual(progress, sorted(progress))
            self.assertGreater(len(progress), 5)
            self.assertEqual(progress[-1], (len(data), len(data)))
        with self.assertRaises(FileExistsError):
            yield bob.chat.fetch_file(offered.file, directory / "copy")
        self.assertEqual((directory / "copy").read_bytes(), data)


class FileStories(FileTestCase):
    def test_alice_gives_a_file_and_bob_fetches_it(self) -> Any:
        return self.gives_and_fetches()

    @inlineCallbacks
    def test_to_break_it_off(self) -> Story:
        path = Path(self.mktemp())
        path.write_bytes(bytes(3_000_000))
        alice = yield self.enters("alice")
        begun: Deferred[None] = Deferred()

        def progress(passed: int, total: int | None) -> None:
            if passed and not begun.called:
                begun.callback(None)

        sending = alice.chat.send_file(path, progress)
        yield begun
        sending.cancel()
        yield self.assertFailure(sending, CancelledError)
        yield alice.chat.send("still here")
        self.assertEqual(self.service.server.control.files.sessions, {})

    @inlineCallbacks
    def test_a_file_that_is_not_there(self) -> Story:
        alice = yield self.enters("alice")
        yield self.assertFailure(alice.chat.send_file(Path("nowhere")), FileNotFoundError)


class SecureStories(FileTestCase):
    msrp_transports = ("tls",)
    tls = True

    def setUp(self) -> Any:
        directory = Path(self.mktemp())
        write(issue("127.0.0.1"), directory)
        self.source = str(directory / "msrpconf.toml")
        self.server_keys = '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
        return super().setUp()

    @inlineCallbacks
    def test_what_is_said_and_given_goes_over_tls(self) -> Story:
        yield self.gives_and_fetches()
        carol = yield self.enters("carol", tls=True)
        yield carol.chat.send_private("sip:alice@example.com", "psst")
        for connection in self.agents[0]._msrp.connections:
            self.assertTrue(connection.secure)
