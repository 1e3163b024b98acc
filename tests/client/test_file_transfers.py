"""What a room may do wrong while a file is fetched from it."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import FileTransferError, JoinError
from msrpconf.client.file_transfers import STALLED, Fetching
from msrpconf.client.files import safe_name
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.session import Piece, Refusal
from msrpconf.protocols.sdp_file import SHA_1, FileHash, FileSelector
from msrpconf.protocols.sip.message import Headers, Response

DATA = b"a file of some octets"
HASH = (FileHash(SHA_1, hashlib.sha1(DATA).digest()),)

ANSWER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message 2855 TCP/MSRP *
a=path:msrp://127.0.0.1:2855/abc;tcp
a=accept-types:*
a=sendonly
a=file-selector:{}
"""


class Agent:
    """What a transfer needs of a user agent."""

    def __init__(self) -> None:
        self.clock = Clock()

    def forget(self, _: object) -> None:
        """The dialog is over."""


class FetchingTests(SynchronousTestCase):
    def begin(self, found: FileSelector, wanted: FileSelector | None = None) -> None:
        self.agent = Agent()
        self.octets = BytesIO()
        path = "msrp://127.0.0.1:9/def;tcp"
        agent: Any = self.agent
        self.fetching = Fetching(agent, path, wanted or FileSelector("a"), self.octets)
        body = ANSWER.format(found).replace("\n", "\r\n").encode("utf-8")
        self.fetching.answered(Response(200, "OK", Headers([]), body))
        self.sink: Any = None

    def receive(
        self, data: bytes, flag: Continuation = Continuation.MORE, content_type: bytes = b"a/b"
    ) -> Refusal | None:
        receiver = self.fetching.session.handler
        head = Head(b"tx", b"SEND", 0, b"", {b"content-type": content_type})
        piece = Piece(head, b"m1", 1, data, None, flag)
        if self.sink is not None:
            result: Refusal | None = self.sink.piece_received(piece)
            return result
        begun = receiver.message_begun(self.fetching.session, piece)
        if isinstance(begun, Refusal):
            return begun
        self.sink = begun
        return None

    def why_not(self) -> str:
        return str(self.failureResultOf(self.fetching.done, FileTransferError).value)

    def test_all_is_well(self) -> None:
        for wrapper, content_type in (
            (b"", b"image/jpeg"),
            (b"From: <sip:a@b>\r\n\r\nContent-Type: image/jpeg\r\n\r\n", b"message/cpim"),
        ):
            self.begin(FileSelector("a", None, len(DATA), HASH))
            message = wrapper + DATA
            self.receive(message[:10], content_type=content_type)
            self.receive(message[10:], Continuation.COMPLETE)
            self.agent.clock.advance(0)
            self.successResultOf(self.fetching.done)
            self.assertEqual(self.octets.getvalue(), DATA)

    def test_more_comes_than_the_file_has(self) -> None:
        self.begin(FileSelector("a", None, 10))
        self.assertIsNone(self.receive(DATA[:10]))
        refusal = self.receive(DATA[10:])
        assert refusal is not None
        self.assertEqual(refusal.status, 413)
        self.assertIn("more came than the 10 octets", self.why_not())
        self.assertEqual(self.octets.getvalue(), DATA[:10])

    def test_less_comes(self) -> None:
        self.begin(FileSelector("a", None, 100))
        self.receive(DATA, Continuation.COMPLETE)
        self.assertIn("21 octets came, and the file has 100", self.why_not())

    def test_something_else_comes(self) -> None:
        self.begin(FileSelector("a", None, None, HASH))
        self.receive(b"b" + DATA[1:], Continuation.COMPLETE)
        self.assertIn("has not the hash", self.why_not())

    def test_another_file_than_was_asked_for(self) -> None:
        for found in (
            FileSelector("a", None, 22, HASH),
            FileSelector("a", None, 21, (FileHash(SHA_1, bytes(20)),)),
            FileSelector("b"),
        ):
            with self.assertRaises(JoinError):
                self.begin(found, FileSelector("a", None, 21, HASH))

    def test_it_is_broken_off(self) -> None:
        self.begin(FileSelector("a"))
        self.receive(DATA)
        self.receive(b"", Continuation.ABORTED)
        self.agent.clock.advance(1)
        self.assertIn("broke it off", self.why_not())

    def test_nothing_more_comes(self) -> None:
        self.begin(FileSelector("a"))
        self.receive(DATA)
        self.agent.clock.advance(STALLED)
        self.assertIn("no progress for 60 s", self.why_not())

    def test_a_wrapper_that_cannot_be_read(self) -> None:
        self.begin(FileSelector("a"))
        refusal = self.receive(b"From\r\n\r\n\r\n", content_type=b"message/cpim")
        self.assertIsInstance(refusal, Refusal)
        self.why_not()

    def test_a_fault_of_who_sees_how_it_goes(self) -> None:
        def progress(*_: object) -> None:
            raise ValueError("what a program does not expect")

        self.begin(FileSelector("a"))
        self.fetching.progress = progress
        self.receive(DATA)
        self.receive(DATA)
        self.assertNoResult(self.fetching.done)
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 0)


class SafeNameTests(SynchronousTestCase):
    def test_a_name_is_a_name(self) -> None:
        for name, safe in (
            ("photo.jpg", "photo.jpg"),
            ("Grüße 你好.txt", "Grüße 你好.txt"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/", "file"),
            ("...", "file"),
            (" . ", "file"),
            (None, "file"),
            ("a\x00\x1b[2J\n\u202eb", "a[2Jb"),
            ("é" * 200 + ".jpeg", "é" * 97 + ".jpeg"),
            ("x" * 300 + "." + "y" * 300, "x" * 200),
        ):
            self.assertEqual(safe_name(name), safe)
