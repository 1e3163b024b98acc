"""Files to a room and from it (RFC 5547), as somebody in the room sends and fetches them.

    await send_file(agent, "sip:lobby@conf.example.com", Path("photo.jpg"))
    await fetch_file(agent, "sip:lobby@conf.example.com", FileSelector("photo.jpg"), Path("it.jpg"))

Each is a dialog of its own beside that of the chat, which must be there. Neither takes
more memory than a few chunks, whatever the file's size.
"""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.interfaces import IDelayedCall

from msrpconf.client.call import ACTIVE_PORT, JoinError
from msrpconf.client.chat import GOODBYE, reason_of
from msrpconf.conference.file_transfers import Sending
from msrpconf.conference.files import OCTETS, StoredFile
from msrpconf.protocols.cpim import CpimError, parse_cpim_head
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.outgoing import bodiless_send, new_message_id
from msrpconf.protocols.msrp.session import Limits, MessageSink, Piece, Refusal, Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_file import SHA_1, FileDescription, FileHash, FileSelector
from msrpconf.protocols.sdp_msrp import msrp_media_line
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Response
from msrpconf.protocols.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

STALLED = 60.0
"""Seconds without any progress after which a transfer is given up."""

_PIECE = 65536


class FileTransferError(Exception):
    """A file did not pass, or not whole; the text says why."""


@inlineCallbacks
def send_file(
    agent: UserAgent,
    room: str,
    path: Path,
    *,
    name: str | None = None,
    media_type: str | None = None,
    tls: bool = False,
) -> Generator[Deferred[Any], Any, FileSelector]:
    """Give the room at the URI `room` the file at `path`; done when it has all of it.

    `name` and `media_type` are what others are told, by default the file's own and what the
    name suggests. Gives the selector that others fetch it by. Fails with `JoinError` where the
    room does not take it, with `FileTransferError` where it does not arrive, and OSError.
    """
    selector = describe(path, name, media_type)
    with path.open("rb", buffering=0) as octets:
        yield _run(agent, room, lambda uri: _Giving(agent, uri, selector, octets), tls)
    return selector


@inlineCallbacks
def fetch_file(
    agent: UserAgent, room: str, selector: FileSelector, path: Path, *, tls: bool = False
) -> Generator[Deferred[Any], Any, FileSelector]:
    """Fetch the file that `selector` means from the room, to `path`, which must not exist.

    Gives what the room says of the file. Fails as `send_file` does; then nothing is at `path`.
    """
    with path.open("xb") as octets:
        try:
            fetching: _Fetching = yield _run(
                agent, room, lambda uri: _Fetching(agent, uri, selector, octets), tls
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return fetching.found


def describe(path: Path, name: str | None = None, media_type: str | None = None) -> FileSelector:
    """The selector of a file on disk: all of it is read for the hash. Raises OSError."""
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    with path.open("rb") as octets:
        while data := octets.read(_PIECE):
            digest.update(data)
            size += len(data)
    guessed = media_type or mimetypes.guess_type(name or path.name)[0] or OCTETS
    return FileSelector(name or path.name, guessed, size, (FileHash(SHA_1, digest.digest()),))


class _Transfer:
    """A dialog for one file, and its MSRP session: `done` when the file has passed."""

    direction = ""

    def __init__(self, agent: UserAgent, path: str, selector: FileSelector) -> None:
        self.selector = selector
        self.dialog: Dialog | None = None
        self.flow: Flow | None = None
        self.contact = ""
        self.via: Address | None = None
        self.session: Session
        self.done: Deferred[None] = Deferred()
        self.path = path
        self._agent = agent
        self._ended = False
        self._timer: IDelayedCall | None = None

    def line(self, fingerprints: Sequence[Fingerprint]) -> MediaDescription:
        """The line of our offer."""
        file = FileDescription(self.selector, secrets.token_hex(16))
        line = msrp_media_line(
            [MsrpURI.parse(self.path)],
            accept_types=["*"],
            setup="active",
            direction=self.direction,
            port=ACTIVE_PORT,
            fingerprints=fingerprints,
        )
        return evolve(line, attributes=(*line.attributes, *file.attributes))

    def answered(self, answer: Response) -> None:
        """What the room says of the file. Raises `JoinError`."""

    def bind(self) -> Deferred[None]:
        """Say the first word on the connection; what is to pass begins with it."""
        self.transfer_moved()
        return succeed(None)

    def leave(self) -> Deferred[None]:
        """Say goodbye; done when the room has answered, or will not."""
        self.fail("it was given up")
        return self.hang_up()

    def hang_up(self) -> Deferred[None]:
        """End the dialog, unless it has ended."""
        if self._ended or self.dialog is None:
            self.end()
            return succeed(None)
        self.end()
        self.dialog, bye = self.dialog.request("BYE")
        return self._agent.send_in_dialog(bye, self.flow).addCallback(lambda _: None)

    def end(self) -> None:
        """Take nothing more from the room."""
        self._ended = True
        self._stop_timer()
        self._agent.forget(self)
        self.session.close()

    def fail(self, why: str) -> None:
        """Nothing more passes."""
        self._stop_timer()
        if not self.done.called:
            self.done.errback(FileTransferError(why))

    def fail_soon(self, why: str) -> None:
        """The same, unless a BYE that says more is on its way."""
        self._stop_timer()
        if not self.done.called:
            self._timer = self._agent.clock.callLater(GOODBYE, self.fail, why)

    def succeed_soon(self) -> None:
        """All has passed, and the last answer goes out before the BYE."""
        self._stop_timer()
        self._timer = self._agent.clock.callLater(0, self.succeed)

    def succeed(self) -> None:
        """All has passed."""
        self._stop_timer()
        if not self.done.called:
            self.done.callback(None)

    def request_received(self, transaction: ServerTransaction) -> None:
        """Answer a request in the dialog."""
        request = transaction.request
        if request.method == "BYE":
            transaction.answer(200)
            self.end()
            self.fail(reason_of(request) or "the room said goodbye")
        elif request.method == "OPTIONS":
            transaction.answer(200)
        else:
            transaction.answer(405, headers=(("Allow", "BYE, OPTIONS, ACK"),))

    def transfer_moved(self) -> None:
        """Some of the file has passed."""
        self._stop_timer()
        if not self.done.called:
            why = f"there was no progress for {STALLED:g} s"
            self._timer = self._agent.clock.callLater(STALLED, self.fail, why)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class _Giving(_Transfer):
    """Sends the room what `octets` has."""

    direction = "sendonly"

    def __init__(
        self, agent: UserAgent, path: str, selector: FileSelector, octets: IO[bytes]
    ) -> None:
        super().__init__(agent, path, selector)
        size, media_type = selector.size or 0, selector.content_type or OCTETS
        file = StoredFile("", selector.name or "", media_type, size, "", "", agent.user, 0.0)
        self._sending = Sending(
            self,
            path.encode("ascii"),
            b"",
            agent.clock,
            Sending.limits(Limits()),
            file,
            octets,
            size,
            media_type,
        )
        self.session = self._sending.session

    def end(self) -> None:
        self._sending.stop()
        super().end()

    # The owner of the sending.

    def transfer_connected(self) -> None:
        """What is to be sent goes out from now on."""

    def transfer_forbidden(self) -> str | None:
        return None

    def transfer_done(self, file: object) -> None:
        self.succeed()

    def transfer_failed(self, status: int, reason: str) -> None:
        self.fail_soon(reason)


class _Fetching(_Transfer):
    """Writes to `octets` what the room sends; `found` is what it says of the file."""

    direction = "recvonly"

    def __init__(
        self, agent: UserAgent, path: str, selector: FileSelector, octets: IO[bytes]
    ) -> None:
        super().__init__(agent, path, selector)
        self.found = selector
        handler = _Receiver(self, octets)
        limits = Limits(message_octets=2**40)
        self.session = Session(path.encode("ascii"), b"", handler, agent.clock, limits)

    def answered(self, answer: Response) -> None:
        try:
            lines = SessionDescription.parse(answer.body).media
            described = [FileDescription.of(each) for each in lines if each.port]
        except SdpError as error:
            raise JoinError(488, f"the room's answer is wrong: {error}") from None
        self.found = next((each.selector for each in described if each), self.selector)

    def bind(self) -> Deferred[None]:
        self.session.forward(bodiless_send(new_message_id()))
        return super().bind()


class _Receiver:
    """What arrives on the MSRP session of a file that is fetched."""

    def __init__(self, fetching: _Fetching, octets: IO[bytes]) -> None:
        self._fetching = fetching
        self._octets = octets
        self._size = 0
        self._digest = hashlib.sha1(usedforsecurity=False)
        # The beginning of a message whose CPIM headers are not complete; None once they are.
        self._head: bytes | None = None

    def session_bound(self, session: Session) -> None:
        """The file comes by itself."""

    def session_unbound(self, session: Session, reason: str) -> None:
        self._fetching.fail_soon(f"MSRP broke: {reason}")

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        return Refusal(501, "only SEND and REPORT are understood")

    def session_congested(self, session: Session) -> None:
        """Nothing is said here."""

    def session_eased(self, session: Session, missed: int) -> None:
        """Nothing is said here."""

    def response_received(self, session: Session, head: Head) -> None:
        """Only the first word is answered."""

    def report_received(self, session: Session, head: Head) -> None:
        """Nothing here asks for reports."""

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        content_type = piece.head.content_type.partition(b";")[0].strip().lower()
        self._head = b"" if content_type == b"message/cpim" else None
        return self.piece_received(piece) or self

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Write a piece; at the last one, see whether the file is what it should be."""
        fetching = self._fetching
        if fetching.done.called:
            return Refusal(413, "this file is not wanted any more")
        try:
            data = piece.data if self._head is None else self._without_head(piece.data)
            self._octets.write(data)
        except (CpimError, OSError) as error:
            fetching.fail(str(error))
            return Refusal(413, "the file cannot be kept here")
        self._size += len(data)
        self._digest.update(data)
        if piece.flag is Continuation.ABORTED:
            self.aborted()
        elif piece.flag is Continuation.COMPLETE:
            self._finish()
        else:
            fetching.transfer_moved()
        return None

    def aborted(self) -> None:
        """The rest will not come."""
        self._fetching.fail_soon("the room broke it off")

    def _without_head(self, data: bytes) -> bytes:
        begun = (self._head or b"") + data
        head = parse_cpim_head(begun)
        self._head = begun if head is None else None
        return b"" if head is None else begun[head.body_offset :]

    def _finish(self) -> None:
        fetching, found = self._fetching, self._fetching.found
        if found.size not in (None, self._size):
            fetching.fail(f"{self._size} octets came, and the file has {found.size}")
        elif found.digest(SHA_1) not in (None, self._digest.digest()):
            fetching.fail("what came has not the hash of the file")
        else:
            self._octets.flush()
            fetching.succeed_soon()


@inlineCallbacks
def _run(
    agent: UserAgent, room: str, make: Callable[[str], _Transfer], tls: bool
) -> Generator[Deferred[Any], Any, _Transfer]:
    """Call the room for a file, wait until it has passed, and hang up."""
    begun: list[_Transfer] = []

    def begin(_: str, path: str) -> _Transfer:
        begun.append(make(path))
        return begun[-1]

    try:
        transfer: _Transfer = yield agent.call(room, begin, tls=tls)
    except JoinError:
        for each in begun:
            each.done.addErrback(lambda _: None)  # what is raised says it all
        raise
    try:
        yield transfer.done
    finally:
        yield transfer.hang_up()
    return transfer
