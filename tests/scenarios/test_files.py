"""Files in a room, with the client library and by hand: who gives what, who fetches it."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import deferLater

from msrpconf.client import Chat, JoinError, Message, UserAgent, files
from msrpconf.client.files import FileTransferError, describe, fetch_file, send_file
from msrpconf.protocols.sdp_file import FileHash, FileSelector
from tests.scenarios.embedded import EmbeddedServerTestCase, Heard, joined

Story = Generator[Deferred[Any], Any, None]


class FileStories(EmbeddedServerTestCase):
    def setUp(self) -> Any:
        self.data = random.Random(5547).randbytes(5_000_000)
        self.photo = self.file("photo.jpg", self.data)
        return self.start_server()

    def file(self, name: str, data: bytes) -> Path:
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / name
        path.write_bytes(data)
        return path

    @inlineCallbacks
    def visitor(
        self, name: str, transport: str = "udp", **options: Any
    ) -> Generator[Deferred[Any], Any, tuple[UserAgent, Chat, Heard, Heard]]:
        """Somebody in the room: what is said to them, and what the room tells them."""
        agent, told = self.agent(name, **options), Heard()
        room = self.room(transport=transport)
        chat, hears = yield joined(agent, room, on_notice=told.message)
        return agent, chat, hears, told

    @inlineCallbacks
    def told_of_file(self, told: Heard) -> Generator[Deferred[Any], Any, Message]:
        """What the room tells of the next file; it tells of other things too."""
        while True:
            message: Message = yield told.next()
            if " sent a file: " in message.text:
                return message

    def kept(self) -> list[Path]:
        """The files on the server's disk."""
        store = self.service.server.control.files.store
        return [each for each in store.directory.rglob("*") if each.is_file()]

    @inlineCallbacks
    def test_alice_gives_a_file_and_bob_fetches_it(self) -> Story:
        alice, chat, _, alice_told = yield self.visitor("alice")
        bob, _, bob_hears, bob_told = yield self.visitor("bob")
        _, _, _, carol_told = yield self.visitor("carol", plain=True)

        given = yield send_file(alice, self.room(), self.photo)

        self.assertEqual((given.name, given.type, given.size), ("photo.jpg", "image/jpeg", 5000000))
        line = "alice@example.com sent a file: photo.jpg (5.0 MB, image/jpeg)."
        for each, selector in ((alice_told, given), (bob_told, given), (carol_told, None)):
            message = yield self.told_of_file(each)
            self.assertIn(line, message.text)
            self.assertEqual(message.file, selector)

        copy = Path(self.mktemp())
        fetched = yield fetch_file(bob, self.room(), FileSelector("photo.jpg"), copy)
        self.assertEqual(copy.read_bytes(), self.data)
        self.assertEqual(fetched, given)
        yield chat.send("the chat goes on")
        message = yield bob_hears.next()
        self.assertEqual(message.text, "the chat goes on")

    @inlineCallbacks
    def test_many_at_once_beside_the_chat(self) -> Story:
        """What is said arrives while files pass, and the files are whole."""
        alice, chat, _, _ = yield self.visitor("alice", "tcp")
        bob, _, bob_hears, _ = yield self.visitor("bob", "tcp")
        room = self.room(transport="tcp")
        yield send_file(alice, room, self.photo)
        copies = [Path(self.mktemp()) for _ in range(3)]

        fetching = [fetch_file(bob, room, FileSelector(size=5_000_000), each) for each in copies]
        sending = send_file(alice, room, self.file("second", self.data[:3_000_000]))
        yield chat.send("meanwhile")
        message = yield bob_hears.next()
        self.assertEqual(message.text, "meanwhile")
        yield gatherResults([sending, *fetching])

        for each in copies:
            self.assertEqual(each.read_bytes(), self.data)
        self.assertEqual(len(self.kept()), 2)
        self.assertEqual(self.service.server.control.files.sessions, {})

    @inlineCallbacks
    def test_by_its_hash(self) -> Story:
        alice = self.agent("alice")
        yield joined(alice, self.room())
        yield send_file(alice, self.room(), self.file("empty", b""), media_type="text/plain")
        given = yield send_file(alice, self.room(), self.file("a/b"[2:], b"abc"))
        copy = Path(self.mktemp())
        yield fetch_file(alice, self.room(), FileSelector(hashes=given.hashes), copy)
        self.assertEqual(copy.read_bytes(), b"abc")
        copy = Path(self.mktemp())
        yield fetch_file(alice, self.room(), FileSelector("empty"), copy)
        self.assertEqual(copy.read_bytes(), b"")

    @inlineCallbacks
    def test_a_file_that_is_not_what_its_sender_says(self) -> Story:
        alice, _, _, told = yield self.visitor("alice")
        honest = describe(self.photo)
        wrong = FileSelector(honest.name, honest.type, honest.size, (FileHash("sha-1", bytes(20)),))
        self.patch(files, "describe", lambda *_: wrong)
        error = yield self.assertFailure(
            send_file(alice, self.room(), self.photo), FileTransferError
        )
        self.assertIn("sha-1 is not what its selector says", str(error))
        self.assertEqual((told.messages, self.kept()), ([], []))

    @inlineCallbacks
    def test_what_is_refused(self) -> Story:
        alice, eve = self.agent("alice"), self.agent("eve")
        chat, _ = yield joined(alice, self.room())
        yield send_file(alice, self.room(), self.file("secret", b"abc"))
        target = Path(self.mktemp())

        def fetched_by(agent: Any, name: str) -> Deferred[Any]:
            selector = FileSelector(name)
            return self.assertFailure(fetch_file(agent, self.room(), selector, target), JoinError)

        error = yield fetched_by(eve, "secret")
        self.assertEqual(error.status, 403)
        self.assertIn("join it first", error.reason)
        error = yield self.assertFailure(send_file(eve, self.room(), self.photo), JoinError)
        self.assertEqual(error.status, 403)
        error = yield fetched_by(alice, "other")
        self.assertEqual(error.status, 488)
        self.assertIn("no such file", error.reason)

        control = self.service.server.control
        (room,) = control.registry.rooms.values()
        room.settings = evolve(room.settings, max_file_octets=1_000_000)
        error = yield self.assertFailure(send_file(alice, self.room(), self.photo), JoinError)
        self.assertEqual(error.status, 488)
        self.assertIn("too large: this room takes 1000000 octets", error.reason)

        yield chat.leave()
        error = yield fetched_by(alice, "secret")
        self.assertEqual(error.status, 404)
        self.assertEqual(self.kept(), [])
        self.assertFalse(target.exists())

    @inlineCallbacks
    def test_the_room_ends_in_the_middle(self) -> Story:
        alice = self.agent("alice")
        chat, _ = yield joined(alice, self.room())
        sending = send_file(alice, self.room(), self.photo)
        while not self.service.server.control.files.sessions:
            yield deferLater(reactor, 0)
        yield chat.leave()
        yield self.assertFailure(sending, FileTransferError, JoinError)
        self.assertEqual(self.kept(), [])
        self.assertEqual(len(self.service.registry.sessions), 0)

    @inlineCallbacks
    def test_a_temporary_directory_goes_with_the_server(self) -> Story:
        alice = self.agent("alice")
        yield joined(alice, self.room())
        yield send_file(alice, self.room(), self.photo)
        directory = self.service.server.control.files.store.directory
        self.assertTrue(directory.exists())
        yield self.end_everything()
        self.assertFalse(directory.exists())
        yield self.start_server()
