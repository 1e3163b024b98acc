"""File sessions: who gives a room what, who fetches it, and what is refused (RFC 5547)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import evolve

from msrpconf.conference.file_control import LINGER, MAX_OF_USER
from msrpconf.conference.file_transfers import Transfer
from msrpconf.conference.files import FileStore
from msrpconf.conference.static import StaticRoom, StaticRooms
from msrpconf.protocols.cpim import parse_cpim_head
from msrpconf.protocols.sdp_file import FileSelector
from msrpconf.protocols.sip.headers import Reason
from tests.conference.support import (
    ABORTED,
    COMPLETE,
    CPIM_TYPES,
    MORE,
    ROOM,
    TEXT_TYPES,
    Client,
    ControlTestCase,
    cpim,
    msrp_lines,
    reassembled,
    sdp,
)
from tests.protocols.msrp.support import Frame, Peer

DATA = bytes(range(256)) * 200


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest().upper()


def colons(digest: str) -> str:
    return bytes.fromhex(digest).hex(":").upper()


def selector_of(data: bytes, name: str = "photo.jpg", size: int | None = None) -> str:
    size = len(data) if size is None else size
    return f'name:"{name}" type:image/jpeg size:{size} hash:sha-1:{colons(sha1(data))}'


class Fetcher(Client):
    """Somebody's device that fetches a file: what it fetches begins as it connects."""

    def connect(self) -> Fetcher:
        self.begun: list[Frame] = []
        self.peer = Peer(self.case.registry.sessions, self.case.clock)
        self.say(b"", content_type=None)
        first, *self.begun = self.peer.hears()
        self.case.assertEqual(first.text, "200 OK")
        return self

    def hears(self) -> list[Frame]:
        begun, self.begun = self.begun, []
        return [*begun, *super().hears()]


class FileCase(ControlTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = self.control.files.store
        self.addCleanup(self.store.close)
        self.alice = self.joined("alice")

    def pushing(self, selector: str, name: str = "alice", device: str = "file") -> Client:
        attributes = f"sendonly\nfile-selector:{selector}\nfile-transfer-id:t1"
        return self.client(name, device, attributes=attributes, types="*")

    def pulling(
        self,
        selector: str,
        name: str = "bob",
        device: str = "file",
        types: str = "*",
        more: str = "",
    ) -> Fetcher:
        attributes = f"recvonly\nfile-selector:{selector}\nfile-transfer-id:t2{more}"
        return Fetcher(self, name, device, attributes=attributes, types=types)

    def pushed(self, data: bytes = DATA, name: str = "photo.jpg", by: str = "alice") -> Client:
        """Somebody's session by which a file was given."""
        client = self.pushing(selector_of(data, name), by, f"push{name}").join()
        client.say(data, content_type="image/jpeg")
        self.assertEqual(client.told(), ["200 OK"])
        return client

    def assertNothingIsLeft(self) -> None:
        """Nothing of any file session."""
        files = self.control.files
        self.assertEqual((files.sessions, files._pending, files._by_room), ({}, {}, {}))
        self.assertEqual(len(self.registry.sessions), len(self.registry.participants()))

    def on_disk(self) -> list[Path]:
        return [each for each in self.store.directory.rglob("*") if each.is_file()]

    def assertFailed(self, client: Client, reason: str) -> None:
        """The server ended the session with a BYE that says why, and kept nothing."""
        self.clock.advance(0)
        bye = self.bye()
        self.assertEqual(bye.call_id, client.call_id)
        self.assertIn(reason, bye.headers.get("Reason") or "")
        self.assertEqual(self.on_disk(), [])
        self.assertEqual(self.store.octets, 0)
        self.assertNothingIsLeft()

    def assertInviteRefused(self, client: Client, status: int, reason: str) -> None:
        answer = client.invite()
        self.assertEqual((answer.status, answer.reason), (status, answer.reason))
        self.assertIn(reason, answer.reason)
        if status == 488:
            self.assertIn(reason, answer.headers.get("Warning") or "")
        self.assertIn(f"{status} {answer.reason}", self.logged[-1])


class PushTests(FileCase):
    def test_the_answer(self) -> None:
        selector = selector_of(DATA)
        client = self.pushing(selector)
        self.assertEqual(client.invite().status, 200)
        attributes = dict(client.line.attributes)
        self.assertIn("recvonly", attributes)
        self.assertEqual(attributes["file-selector"], selector)
        self.assertEqual(attributes["file-transfer-id"], "t1")
        self.assertEqual(attributes["accept-types"], "message/cpim *")
        self.assertEqual(attributes["max-size"], str(len(DATA) + 8192))
        self.assertNotIn("chatroom", attributes)

    def test_everybody_hears_of_it(self) -> None:
        bob = self.joined("bob")
        carol = self.joined("carol", types=TEXT_TYPES)
        self.pushed()
        text = (
            "alice@home.com sent a file: photo.jpg (51 kB, image/jpeg). To fetch it, ask "
            f'{ROOM} for "photo.jpg" with a client that has file transfer (RFC 5547).'
        )
        for each in (self.alice, bob):
            (message,) = each.hears_text()
            head = parse_cpim_head(message.encode())
            assert head is not None and head.from_ is not None
            self.assertEqual(head.from_.uri, ROOM)
            self.assertEqual(message[head.body_offset :], text)
            (value,) = head.get_all(
                "File-Selector", "urn:uuid:6ab65d2e-5a5c-4d57-9c3d-3b1d0f7c2a55"
            )
            self.assertEqual(FileSelector.parse(value), FileSelector.parse(selector_of(DATA)))
        self.assertEqual(carol.hears_text(), [f"*** {text}"])

    def test_nobody_joins_by_it(self) -> None:
        client = self.pushed()
        self.assertEqual(len(self.room.participants), 1)
        self.alice.hears()
        self.alice.say(cpim("Hi"))
        self.assertEqual(self.alice.told(), ["200 OK"])
        self.assertEqual(client.hears(), [])

    def test_in_chunks_and_in_a_wrapper(self) -> None:
        wrapped = cpim(
            DATA,
            content_type='image/png\r\nContent-Disposition: attachment; filename="from cpim.png"',
        )
        client = self.pushing("size:51200").join()
        for start in range(0, len(wrapped), 20000):
            chunk = wrapped[start : start + 20000]
            last = start + 20000 >= len(wrapped)
            client.say(
                chunk,
                byte_range=f"{start + 1}-*/{len(wrapped)}",
                flag=COMPLETE if last else MORE,
            )
        self.assertEqual(set(client.told()), {"200 OK"})
        (file,) = self.control.files.files_of(self.room).files
        self.assertEqual((file.name, file.type, file.size), ("from cpim.png", "image/png", 51200))
        self.assertEqual(file.sha1.upper(), sha1(DATA))

    def test_cpim_headers_in_pieces(self) -> None:
        wrapped = cpim(b"abc", content_type="a/b")
        client = self.pushing("type:a/b").join()
        for position in range(len(wrapped)):
            client.say(
                wrapped[position : position + 1],
                byte_range=f"{position + 1}-{position + 1}/{len(wrapped)}",
                flag=COMPLETE if position == len(wrapped) - 1 else MORE,
            )
        self.assertEqual(set(client.told()), {"200 OK"})
        (file,) = self.control.files.files_of(self.room).files
        self.assertEqual((file.name, file.size), ("file", 3))

    def test_success_report(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA, content_type="image/jpeg", headers=((b"Success-Report", b"yes"),))
        self.assertEqual(client.told(), ["200 OK", "REPORT"])

    def test_the_end_by_the_client(self) -> None:
        client = self.pushed()
        self.assertEqual(client.send("BYE").status, 200)
        self.assertNothingIsLeft()
        self.assertEqual(client.send("BYE").status, 481)
        self.assertEqual(self.channel.requests, [])
        self.assertEqual(len(self.on_disk()), 1)

    def test_the_end_by_us(self) -> None:
        self.pushed()
        self.clock.advance(LINGER)
        self.assertIn("cause=200", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()
        self.assertEqual(len(self.on_disk()), 1)

    def test_empty_file(self) -> None:
        client = self.pushing('name:"empty" size:0').join()
        client.say(b"", byte_range="1-0/0", content_type="text/plain")
        self.assertEqual(client.told(), ["200 OK"])
        (file,) = self.control.files.files_of(self.room).files
        self.assertEqual((file.name, file.size), ("empty", 0))

    def test_one_file_a_session(self) -> None:
        client = self.pushed()
        client.say(DATA, "m2", content_type="image/jpeg")
        (answer,) = client.told()
        self.assertIn("403 this session is for one file", answer)


class BadPushTests(FileCase):
    def test_wrong_hash(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA[:-1] + b"!", content_type="image/jpeg")
        (answer,) = client.told()
        self.assertIn("400 the file's sha-1 is not what its selector says", answer)
        self.assertEqual(self.alice.hears(), [])
        self.assertFailed(client, "sha-1")

    def test_wrong_size(self) -> None:
        client = self.pushing("size:3").join()
        client.say(b"ab", content_type="a/b")
        (answer,) = client.told()
        self.assertIn("400 the file has 2 octets", answer)
        self.assertFailed(client, "2 octets")

    def test_more_than_was_promised(self) -> None:
        client = self.pushing("size:3").join()
        client.say(b"x" * 20, content_type="a/b", byte_range="1-*/*")
        (answer,) = client.told()
        self.assertIn("413 the file is larger than the 3 octets", answer)
        self.assertFailed(client, "larger")

    def test_nothing_is_said_where_no_answer_is_wanted(self) -> None:
        client = self.pushing("size:3").join()
        client.say(b"ab", content_type="a/b", headers=((b"Failure-Report", b"no"),))
        self.assertEqual(client.told(), [])
        self.assertFailed(client, "2 octets")

    def test_broken_off(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        client.say(b"", byte_range=f"30001-*/{len(DATA)}", flag=ABORTED, content_type="a/b")
        self.assertFailed(client, "the sender broke it off")

    def test_connection_lost(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        self.assertEqual(len(self.on_disk()), 1)
        client.connected.vanishes()
        self.assertFailed(client, "")

    def test_bye_in_the_middle(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        self.assertEqual(client.send("BYE").status, 200)
        self.assertEqual((self.on_disk(), self.store.octets), ([], 0))
        self.assertNothingIsLeft()

    def test_no_more_of_it_comes(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        self.clock.advance(539)
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        self.clock.advance(539)
        self.assertEqual(self.channel.requests, [])
        self.clock.advance(1)
        self.assertFailed(client, "No more of the file within 540 s")

    def test_nothing_comes_at_all(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        self.clock.advance(540)
        self.assertFailed(client, "No more of the file within 540 s")

    def test_no_ack_and_no_msrp(self) -> None:
        client = self.pushing(selector_of(DATA))
        client.invite()
        self.clock.advance(5)
        self.assertFailed(client, "No ACK within 5 s")
        self.channel.sent.clear()
        client = self.pushing(selector_of(DATA), device="2")
        client.invite()
        client.send("ACK")
        self.clock.advance(15)
        self.assertFailed(client, "No MSRP connection within 15 s")

    def test_wrong_content(self) -> None:
        for number, (data, status) in enumerate(
            (
                (b"no headers", 400),
                (b"x" * 9000, 413),
                (cpim(b"YWJj", content_type="a/b\r\nContent-Transfer-Encoding: base64"), 415),
            )
        ):
            client = self.pushing("type:a/b", device=str(number)).join()
            client.say(data)
            (answer,) = client.told()
            self.assertTrue(answer.startswith(str(status)), answer)
            self.assertFailed(client, "")
            self.channel.sent.clear()

    def test_other_requests(self) -> None:
        client = self.pushing("type:a/b").join()
        path = (client.line.attribute("path") or "").encode()
        client.connected.says(
            b"MSRP abcd NICKNAME\r\nTo-Path: %b\r\nFrom-Path: %b\r\n-------abcd$\r\n"
            % (path, client.path.encode())
        )
        (answer,) = client.told()
        self.assertTrue(answer.startswith("501"))


class RefusedTests(FileCase):
    def test_strangers(self) -> None:
        self.assertInviteRefused(self.pushing("size:1", "eve"), 403, "join it first")
        self.assertInviteRefused(self.pulling("size:1", "eve"), 403, "join it first")

    def test_who_is_not_in_yet(self) -> None:
        self.client("bob").invite()
        self.assertInviteRefused(self.pulling("size:1", "bob"), 403, "join it first")

    def test_no_such_room(self) -> None:
        client = self.pushing("size:1")
        client.room = "sip:other@conf.example.com"
        client.to = f"<{client.room}>"
        self.assertInviteRefused(client, 404, "No such room")
        self.assertEqual(len(self.registry.rooms), 1)

    def test_too_large(self) -> None:
        self.configure(max_file_octets=1000)
        self.assertInviteRefused(
            self.pushing("size:1001"), 488, "The file is too large: this room takes 1000 octets"
        )
        self.assertNothingIsLeft()

    def test_no_files_here(self) -> None:
        self.configure(files=False)
        self.assertInviteRefused(self.pushing("size:1"), 488, "takes no files")

    def test_types(self) -> None:
        self.configure(types=("text/*",))
        self.assertInviteRefused(self.pushing("type:image/png"), 488, "image/png is not taken")
        self.assertEqual(self.pushing("type:text/html", device="2").invite().status, 200)
        client = self.pushing("size:1", device="3").join()
        client.say(b"x", content_type="image/png")
        self.assertIn("415 only text/* is taken", client.told()[0])

    def test_no_such_file(self) -> None:
        self.assertInviteRefused(self.pulling('name:"x"', "alice"), 488, "no such file")

    def test_no_direction(self) -> None:
        client = self.client("alice", "file", attributes="file-selector:size:1", types="*")
        self.assertInviteRefused(client, 488, "Say a=sendonly")

    def test_parts_of_files_are_not_taken(self) -> None:
        client = self.pushing("size:10")
        client.attributes += ("file-range:5-10",)
        self.assertInviteRefused(client, 488, "only whole files")

    def test_selectors_that_cannot_be_read(self) -> None:
        self.assertInviteRefused(self.pushing("nonsense"), 488, "a=file-selector must have")

    def test_too_many_of_a_user(self) -> None:
        clients = [self.pushing("size:1", device=str(n)) for n in range(MAX_OF_USER + 1)]
        for each in clients[:-1]:
            self.assertEqual(each.invite().status, 200)
        self.assertInviteRefused(clients[-1], 486, "files under way in this room")
        clients[0].send("ACK")
        clients[0].send("BYE")
        self.assertEqual(clients[-1].invite().status, 200)

    def test_too_many_sessions(self) -> None:
        self.configure(max_sessions=1)
        self.assertInviteRefused(self.pushing("size:1"), 503, "try again later")

    def test_cancel(self) -> None:
        client = self.pushing("size:1")
        client.invite()
        tagged, client.to = client.to, f"<{ROOM}>"
        self.assertEqual(client.send("CANCEL", cseq=7).status, 481)
        self.assertEqual(client.send("CANCEL", cseq=101).status, 200)
        self.assertNothingIsLeft()
        client.to = tagged
        self.assertEqual(client.send("ACK").status, 481)

    def test_beside_the_chat_a_file_is_refused(self) -> None:
        """The chat's line is served, wherever it stands."""
        file_line = msrp_lines("sendonly", "file-selector:size:1", "file-transfer-id:t", types="*")
        chat_line = msrp_lines(types=CPIM_TYPES)
        for number, lines in enumerate(((*file_line, *chat_line), (*chat_line, *file_line))):
            client = self.client("bob", str(number))
            self.assertEqual(client.invite(sdp(*lines)).status, 200)
            (refused,) = [each for each in client.described.media if not each.port]
            self.assertEqual(refused.attribute("file-selector"), "size:1")
            self.assertEqual(refused.attribute("file-transfer-id"), "t")

    def test_options_say_that_files_are_understood(self) -> None:
        client = self.client("bob")
        client.answer = client.send("OPTIONS")
        self.assertEqual(client.line.attribute("file-selector"), "")
        self.configure(files=False)
        client.answer = client.send("OPTIONS")
        self.assertIsNone(client.line.attribute("file-selector"))


class PullTests(FileCase):
    def setUp(self) -> None:
        super().setUp()
        self.bob = self.joined("bob")
        self.pushed().send("BYE")
        self.bob.hears()

    def fetched(self, client: Client) -> list[tuple[str, bytes]]:
        """Answer all that comes, until nothing more does."""
        frames: list[Frame] = []
        while True:
            self.clock.advance(0)
            new = [each for each in client.hears() if each.head.content_type]
            if not new:
                return reassembled(frames)
            frames += new
            for each in new:
                client.responds(each, "200 OK")

    def test_the_answer(self) -> None:
        client = self.pulling('name:"photo.jpg"')
        self.assertEqual(client.invite().status, 200)
        attributes = dict(client.line.attributes)
        self.assertIn("sendonly", attributes)
        self.assertEqual(attributes["file-selector"], selector_of(DATA))
        self.assertEqual(attributes["file-transfer-id"], "t2")

    def test_the_same_octets_come_out(self) -> None:
        for number, selector in enumerate(
            ('name:"photo.jpg"', "size:51200", f"hash:sha-1:{colons(sha1(DATA))}")
        ):
            client = self.pulling(selector, device=str(number)).join()
            self.assertEqual(self.fetched(client), [("image/jpeg", DATA)])
            self.assertEqual(client.send("BYE").status, 200)
            self.assertNothingIsLeft()

    def test_in_a_wrapper(self) -> None:
        client = self.pulling("size:51200", types="message/cpim *").join()
        ((content_type, body),) = self.fetched(client)
        self.assertEqual(content_type, "message/cpim")
        head = parse_cpim_head(body)
        assert head is not None and head.from_ is not None
        self.assertEqual(head.from_.uri, "sip:alice@home.com")
        self.assertEqual(head.content_type, "image/jpeg")
        self.assertEqual(
            head.content_header("Content-Disposition"),
            'render; filename="photo.jpg"; size=51200',
        )
        self.assertEqual(body[head.body_offset :], DATA)

    def test_a_part_of_it(self) -> None:
        for number, (text, data) in enumerate((("101-*", DATA[100:]), ("1-10", DATA[:10]))):
            client = self.pulling("size:51200", device=str(number), more=f"\nfile-range:{text}")
            client.join()
            self.assertEqual(client.line.attribute("file-range"), text)
            self.assertEqual(self.fetched(client), [("image/jpeg", data)])
        client = self.pulling("size:51200", device="x", more="\nfile-range:1-51201")
        self.assertInviteRefused(client, 488, "the file has 51200 octets")

    def test_types_that_the_client_does_not_take(self) -> None:
        client = self.pulling("size:51200", types="text/plain")
        self.assertInviteRefused(client, 488, "needs message/cpim or image/jpeg")

    def test_an_empty_file(self) -> None:
        self.pushing('name:"empty" size:0').join().say(b"", byte_range="1-0/0", content_type="a/b")
        client = self.pulling('name:"empty"').join()
        self.assertEqual(self.fetched(client), [("a/b", b"")])

    def test_only_so_much_is_on_its_way(self) -> None:
        """What the client does not answer keeps the rest on disk."""
        data = bytes(5_000_000)
        self.pushed(data, "large")
        client = self.pulling('name:"large"').join()
        frames: list[Frame] = []
        for _ in range(200):
            self.clock.advance(0)
            frames += [each for each in client.hears() if each.head.content_type]
        self.assertEqual(len(frames), 64)
        self.assertEqual(client.connected.connection._answers_size, 0)
        client.responds(frames[0], "200 OK")
        self.clock.advance(0)
        self.assertEqual(len(client.hears()), 1)

    def test_the_client_takes_no_more(self) -> None:
        client = self.pulling("size:51200").join()
        self.clock.advance(0)
        frame = client.hears()[0]
        client.responds(frame, "413 Enough")
        self.clock.advance(0)
        self.assertIn("answered 413 Enough", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()
        self.assertEqual(len(self.on_disk()), 1)

    def test_the_client_answers_nothing(self) -> None:
        self.pulling("size:51200").join()
        self.clock.advance(540)
        self.assertIn("No more of the file", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()

    def test_it_says_nothing_itself(self) -> None:
        client = self.pulling("size:51200").join()
        client.hears()
        client.say(b"abc", content_type="text/plain")
        self.assertTrue(any(each.startswith("403") for each in client.told()))

    def test_the_end_after_a_while(self) -> None:
        client = self.pulling("size:51200").join()
        self.fetched(client)
        self.clock.advance(LINGER)
        self.assertIn("cause=200", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()

    def test_a_client_that_waits_is_connected_to(self) -> None:
        client = self.pulling("size:51200", more="\nsetup:passive")
        client.invite()
        self.assertEqual(self.connects, [])
        client.send("ACK")
        ((session, uri),) = self.connects
        self.assertEqual(str(uri), "tcp:bobfile.example.com:7654")
        self.assertEqual(session.remote_path.decode(), client.path)
        self.control.untrusted(session, "it is somebody else")
        self.clock.advance(0)
        self.assertIn("somebody else", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()

    def test_a_connection_of_somebody_else(self) -> None:
        client = self.pulling("size:51200")
        client.invite()
        client.send("ACK")
        (session,) = [
            each for each in self.registry.sessions.values() if isinstance(each.handler, Transfer)
        ]
        session.handler.admit_only(lambda connection: False)  # type: ignore[attr-defined]
        client.peer = Peer(self.registry.sessions, self.clock)
        client.say(b"", content_type=None)
        self.assertIn("403 The TLS certificate", client.told()[0])
        self.assertIn("does not match a=fingerprint", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()

    def test_a_file_that_was_cut(self) -> None:
        (path,) = self.on_disk()
        client = self.pulling("size:51200")
        client.invite()
        path.write_bytes(b"short")
        client.send("ACK")
        client.connect()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertIn("cannot be read", self.bye().headers.get("Reason") or "")


class AnonymityTests(FileCase):
    def test_a_file_tells_no_more_of_its_sender_than_the_chat(self) -> None:
        """RFC 7701 §5.2: also where the client forgets to ask for it again."""
        asserted = ("P-Asserted-Identity", "<sip:zoe@home.com>")
        zoe = self.client("zoe", from_="<sip:anonymous@anonymous.invalid>;tag=z")
        zoe.headers += (asserted,)
        zoe.join()
        file = self.pushing("size:1", "zoe")
        file.headers += (asserted,)
        file.join().say(b"x", content_type="a/b")
        self.assertEqual(file.told(), ["200 OK"])
        (kept,) = self.control.files.files_of(self.room).files
        self.assertIn("@anonymous.invalid", kept.sender)
        told = "".join(self.alice.hears_text())
        self.assertIn("@anonymous.invalid sent a file", told)
        self.assertNotIn("zoe", told)


class RoleTests(FileCase):
    def mute(self, *users: str) -> None:
        self.room.roles = evolve(self.room.roles, muted=frozenset(users))

    def test_who_has_no_voice_gives_no_files(self) -> None:
        self.joined("bob")
        self.pushed()
        self.mute("sip:bob@home.com")
        self.assertInviteRefused(self.pushing("size:1", "bob", "1"), 403, "no voice")
        self.assertEqual(self.pulling("size:51200", "bob", "2").invite().status, 200)

    def test_who_loses_the_voice_meanwhile(self) -> None:
        self.joined("bob")
        client = self.pushing("size:1", "bob").join()
        self.mute("sip:bob@home.com")
        client.say(b"x", content_type="a/b")
        self.assertIn("403 You have no voice here", client.told()[0])
        self.assertFailed(client, "no voice")

    def test_nobody_is_in_by_being_anonymous(self) -> None:
        hidden = "<sip:anonymous@anonymous.invalid>;tag=h"
        self.client("x", from_=hidden).join()
        self.assertInviteRefused(
            Fetcher(
                self,
                "y",
                from_=hidden + "2",
                attributes="recvonly\nfile-selector:size:1\nfile-transfer-id:a",
            ),
            403,
            "join it first",
        )


class StaticRoomTests(FileCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = self.control.files.store = FileStore(self.mktemp())
        self.static = StaticRooms(self.control)
        self.static.put(StaticRoom(ROOM))

    def test_its_files_outlive_its_participants_and_the_server(self) -> None:
        self.pushed()
        self.alice.send("BYE")
        (file,) = self.control.files.files_of(self.room).files
        self.store.close()

        store = FileStore(str(self.store.directory))
        store.open()
        self.assertEqual(store.room(self.room.key, lasting=True).files, [file])

    def test_its_files_go_with_it(self) -> None:
        self.pushed()
        self.static.remove(self.room.key)
        self.assertEqual((self.on_disk(), self.store.octets), ([], 0))
        self.assertNothingIsLeft()

    def test_it_becomes_one_that_does_not_last(self) -> None:
        self.pushed()
        self.assertEqual(len(self.on_disk()), 2)
        self.room.static = False
        self.control.files.files_of(self.room)
        self.assertEqual(len(self.on_disk()), 1)


class EndTests(FileCase):
    def test_with_the_room(self) -> None:
        self.pushed()
        client = self.pushing("size:1", device="2").join()
        self.assertEqual(len(self.on_disk()), 2)
        self.alice.send("BYE")
        self.assertEqual((self.on_disk(), self.store.octets), ([], 0))
        reasons = [each.headers.get("Reason") or "" for each in self.channel.requests]
        self.assertEqual(len(reasons), 2)
        self.assertIn("The room has ended", reasons[1])
        self.assertNobodyIsLeft()
        self.assertNothingIsLeft()
        self.assertEqual(client.send("BYE").status, 481)
        self.assertInviteRefused(self.pulling('name:"photo.jpg"', "alice", "3"), 404, "ended")

    def test_with_its_user(self) -> None:
        bob = self.joined("bob")
        phone = self.joined("bob", "phone")
        self.pushing("size:1", "bob").join()
        bob.send("BYE")
        self.assertEqual(self.channel.requests, [])
        phone.send("BYE")
        self.assertIn("not in the room any more", self.bye().headers.get("Reason") or "")
        self.assertNothingIsLeft()

    def test_with_the_server(self) -> None:
        self.pushing("size:1").join()
        done = self.control.close(Reason("SIP", 503, "The end"))
        self.assertEqual(len(self.channel.requests), 2)
        self.assertNoResult(done)
        self.channel.answer()
        self.successResultOf(done)
        self.assertNothingIsLeft()


class RenegotiationTests(FileCase):
    def test_the_same_again(self) -> None:
        """RFC 5547 §8.1: a refresh is no new transfer."""
        client = self.pushing(selector_of(DATA)).join()
        first = client.described
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        client.told()
        for method in ("INVITE", "UPDATE"):
            answer = client.send(method, client.offer())
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.body, bytes(first))
            if method == "INVITE":
                client.send("ACK")
        self.assertEqual(client.send("UPDATE").status, 200)
        self.assertEqual(client.send("OPTIONS").status, 200)
        client.say(DATA[30000:], byte_range=f"30001-*/{len(DATA)}", content_type="a/b")
        self.assertEqual(client.told(), ["200 OK"])
        self.assertEqual(len(self.control.files.files_of(self.room).files), 1)

    def test_another_file_in_the_same_dialog(self) -> None:
        """RFC 5547 §9.2: fetch one, then give one."""
        client = Fetcher(
            self,
            "alice",
            attributes=f"sendonly\nfile-selector:{selector_of(DATA)}\nfile-transfer-id:t1",
            types="*",
            device="file",
        ).join()
        client.say(DATA, content_type="image/jpeg")
        self.assertEqual(client.told(), ["200 OK"])
        old = client.line.attribute("path")
        client.attributes = ("recvonly", 'file-selector:name:"photo.jpg"', "file-transfer-id:t9")
        client.path = client.path.replace("session", "second")
        self.assertEqual(client.invite().status, 200)
        client.send("ACK")
        self.assertNotEqual(client.line.attribute("path"), old)
        self.assertIn("sendonly", dict(client.line.attributes))
        client.connect()
        self.clock.advance(0)
        self.assertEqual(client.hears()[0].head.content_type, b"image/jpeg")
        self.assertEqual(client.send("BYE").status, 200)
        self.assertNothingIsLeft()

    def test_another_file_that_is_refused(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.attributes = ("recvonly", 'file-selector:name:"none"', "file-transfer-id:t9")
        self.assertEqual(client.send("INVITE", client.offer()).status, 488)
        client.say(DATA, content_type="image/jpeg")
        self.assertEqual(client.told(), ["200 OK"])

    def test_the_end_by_port_0(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.say(DATA[:30000], byte_range=f"1-*/{len(DATA)}", flag=MORE, content_type="a/b")
        body = client.offer().replace(b"m=message 7654", b"m=message 0")
        answer = client.invite(body)
        self.assertEqual(answer.status, 200)
        self.assertEqual(client.described.media[0].port, 0)
        self.assertEqual(client.described.media[0].attribute("file-transfer-id"), "t1")
        self.assertEqual(self.on_disk(), [])
        client.send("ACK")
        self.clock.advance(LINGER)
        self.bye()
        self.assertNothingIsLeft()

    def test_one_identifier_for_two_files(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.attributes = ("sendonly", "file-selector:size:7", "file-transfer-id:t1")
        answer = client.invite()
        self.assertEqual(answer.status, 200)
        self.assertEqual(client.described.media[0].port, 0)
        self.assertEqual(self.on_disk(), [])

    def test_a_chat_is_another_dialog(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        client.attributes = ()
        self.assertEqual(client.send("INVITE", client.offer()).status, 488)

    def test_without_an_offer(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        before = client.described
        answer = client.invite(b"")
        self.assertEqual((answer.status, answer.body), (200, bytes(before)))
        client.send("ACK")

    def test_out_of_order(self) -> None:
        client = self.pushing(selector_of(DATA)).join()
        self.assertEqual(client.send("UPDATE", cseq=1).status, 500)
        self.assertEqual(client.send("MESSAGE").status, 501)
