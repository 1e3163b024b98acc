"""The dialog and the MSRP session for one file, which comes or goes (RFC 5547 §8)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.client.call import ACTIVE_PORT, GOODBYE, JoinError, reason_of
from msrpconf.conference.file_descriptions import conflict
from msrpconf.conference.file_transfers import Sending
from msrpconf.conference.files import OCTETS, StoredFile
from msrpconf.protocols.cpim import CpimError, parse_cpim_head
from msrpconf.protocols.fingerprint import Fingerprint
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.outgoing import bodiless_send, new_message_id
from msrpconf.protocols.msrp.session import Limits, MessageSink, Piece, Refusal, Session
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import MediaDescription, SdpError, SessionDescription
from msrpconf.protocols.sdp_file import SHA_1, FileDescription, FileSelector
from msrpconf.protocols.sdp_msrp import msrp_media_line
from msrpconf.protocols.sip.dialog import Dialog
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.message import Response
from msrpconf.protocols.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from msrpconf.client.agent import UserAgent

log = Logger()

STALLED = 60.0
"""Seconds without any progress after which a transfer is given up."""

Progress = Callable[[int, int | None], None]
"""Called with the octets that have passed, and how many there are in all, None if unknown."""


class FileTransferError(Exception):
    """A file did not pass, or not whole; the text says why."""


class Transfer:
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
        self.progress: Progress | None = None
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
        self._tell_progress()
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

    @property
    def passed(self) -> int:
        """Octets of the file that have passed."""
        return 0

    @property
    def total(self) -> int | None:
        """Octets of the file, where that is known."""
        return self.selector.size

    def transfer_moved(self) -> None:
        """Some of the file has passed."""
        self._tell_progress()
        self._stop_timer()
        if not self.done.called:
            why = f"there was no progress for {STALLED:g} s"
            self._timer = self._agent.clock.callLater(STALLED, self.fail, why)

    def _tell_progress(self) -> None:
        if self.progress is not None and not self.done.called:
            try:
                self.progress(self.passed, self.total)
            except Exception:
                log.failure("the progress of a file was not understood")

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class Giving(Transfer):
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

    @property
    def passed(self) -> int:
        return self._sending.passed

    # The owner of the sending.

    def transfer_connected(self) -> None:
        """What is to be sent goes out from now on."""

    def transfer_forbidden(self) -> str | None:
        return None

    def transfer_done(self, file: object) -> None:
        self.succeed()

    def transfer_failed(self, status: int, reason: str) -> None:
        self.fail_soon(reason)


class Fetching(Transfer):
    """Writes to `octets` what the room sends; `found` is what it says of the file."""

    direction = "recvonly"

    def __init__(
        self, agent: UserAgent, path: str, selector: FileSelector, octets: IO[bytes]
    ) -> None:
        super().__init__(agent, path, selector)
        self.found = selector
        self._receiver = Receiver(self, octets)
        limits = Limits(message_octets=2**40)
        self.session = Session(path.encode("ascii"), b"", self._receiver, agent.clock, limits)

    @property
    def passed(self) -> int:
        return self._receiver.size

    @property
    def total(self) -> int | None:
        return self.found.size

    def answered(self, answer: Response) -> None:
        try:
            lines = SessionDescription.parse(answer.body).media
            described = [FileDescription.of(each) for each in lines if each.port]
        except SdpError as error:
            raise JoinError(488, f"the room's answer is wrong: {error}") from None
        self.found = next((each.selector for each in described if each), self.selector)
        if conflict(FileDescription(self.selector), FileDescription(self.found)):
            raise JoinError(488, "the room's answer is for another file")

    def bind(self) -> Deferred[None]:
        self.session.forward(bodiless_send(new_message_id()))
        return super().bind()


class Receiver:
    """What arrives on the MSRP session of a file that is fetched."""

    def __init__(self, fetching: Fetching, octets: IO[bytes]) -> None:
        self._fetching = fetching
        self._octets = octets
        self.size = 0
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
            size = fetching.found.size
            if size is not None and self.size + len(data) > size:
                fetching.fail(f"more came than the {size} octets that the file has")
                return Refusal(413, "that is more than the file has")
            self._octets.write(data)
        except (CpimError, OSError) as error:
            fetching.fail(str(error))
            return Refusal(413, "the file cannot be kept here")
        self.size += len(data)
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
        if found.size not in (None, self.size):
            fetching.fail(f"{self.size} octets came, and the file has {found.size}")
        elif found.digest(SHA_1) not in (None, self._digest.digest()):
            fetching.fail("what came has not the hash of the file")
        else:
            self._octets.flush()
            fetching.succeed_soon()
