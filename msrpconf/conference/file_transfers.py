"""The MSRP side of a file session: one file comes in, or goes out (RFC 5547 §8.7).

A file is one MSRP message, in message/cpim or as it is. What comes in is written to disk as it
arrives; what goes out is read from there as fast as the client takes it, so neither takes more
memory than a few chunks, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message as MimeHeaders
from typing import IO, Protocol

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.capabilities import CPIM, accepts
from msrpconf.conference.connecting import NOT_THE_PEER
from msrpconf.conference.files import FileRefused, StoredFile, Upload
from msrpconf.conference.settings import RoomSettings
from msrpconf.protocols.cpim import MAX_HEAD, CpimError, parse_cpim_head
from msrpconf.protocols.msrp.frame import Continuation, Head
from msrpconf.protocols.msrp.outgoing import abort_frame, new_message_id, send_frame
from msrpconf.protocols.msrp.session import (
    FrameWriter,
    Limits,
    MessageSink,
    Piece,
    Refusal,
    Session,
)

CHUNK = 16384
"""Octets of a file in one frame."""

HIGH_WATER = 131072
"""Octets in the session's queue above which no more chunks are read."""

WINDOW = 64
"""Chunks that the client may have to answer at one time."""

OVERHEAD = MAX_HEAD
"""Octets that a message may have besides the file in it."""

_QUEUE = 4 * HIGH_WATER
_ENCODINGS = frozenset((None, "7bit", "8bit", "binary"))


class TransferOwner(Protocol):
    """Who keeps the dialog that a file is transferred for."""

    def transfer_connected(self) -> None:
        """The MSRP session has a connection."""

    def transfer_moved(self) -> None:
        """Some of the file has passed."""

    def transfer_forbidden(self) -> str | None:
        """Why the room does not take the file any more, now that all of it is here."""

    def transfer_done(self, file: StoredFile) -> None:
        """All of it has passed."""

    def transfer_failed(self, status: int, reason: str) -> None:
        """No more of it will pass."""


class Transfer:
    """What receiving and sending have in common. `local_path` and `remote_path` are octets.

    `over` once nothing more passes.
    """

    def __init__(
        self,
        owner: TransferOwner,
        local_path: bytes,
        remote_path: bytes,
        clock: IReactorTime,
        limits: Limits,
    ) -> None:
        self.over = False
        self.session = Session(local_path, remote_path, self, clock, limits)
        self._owner = owner
        self._clock = clock

    def __str__(self) -> str:
        return f"a file of {self._owner}"

    def stop(self) -> None:
        """Let nothing more pass."""
        self.over = True

    def fail(self, status: int, reason: str) -> None:
        """Give up, unless it is over already."""
        if not self.over:
            self.stop()
            self._owner.transfer_failed(status, reason)

    def admit_only(self, trusts: Callable[[FrameWriter], bool]) -> None:
        """Have the transfer fail on a connection that is not of the client (RFC 8122 §6.2)."""

        def admits(connection: FrameWriter) -> Refusal | None:
            if trusts(connection):
                return None
            self.fail(488, NOT_THE_PEER)
            return Refusal(403, NOT_THE_PEER)

        self.session.admits = admits

    def session_bound(self, session: Session) -> None:
        self._owner.transfer_connected()

    def session_unbound(self, session: Session, reason: str) -> None:
        self.fail(408, f"MSRP was lost ({' '.join(reason.split()).rstrip('.')})")

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        return Refusal(403, "this session is to fetch a file: nothing is taken")

    def request_received(self, session: Session, head: Head) -> Refusal | None:
        return Refusal(501, "only SEND and REPORT are understood")

    def session_congested(self, session: Session) -> None:
        """What we send waits for the queue by itself."""

    def session_eased(self, session: Session, missed: int) -> None:
        """Nothing was missed."""

    def response_received(self, session: Session, head: Head) -> None:
        """What is received is not answered by us with requests."""

    def report_received(self, session: Session, head: Head) -> None:
        """Nothing here asks for reports."""


class Receiving(Transfer):
    """A file that comes in, from `sender`; it is the sink of the one message it comes in."""

    def __init__(
        self,
        owner: TransferOwner,
        local_path: bytes,
        remote_path: bytes,
        clock: IReactorTime,
        limits: Limits,
        upload: Upload,
        settings: RoomSettings,
        sender: str,
    ) -> None:
        super().__init__(owner, local_path, remote_path, clock, limits)
        self.octets = 0
        self._upload = upload
        self._settings = settings
        self._sender = sender
        self._begun = False
        # The beginning of a message whose CPIM headers are not complete; None once they are.
        self._head: bytes | None = None
        self._name = ""
        self._type = ""

    def stop(self) -> None:
        if not self.over:
            super().stop()
            self._upload.drop()

    def message_begun(self, session: Session, piece: Piece) -> MessageSink | Refusal | None:
        if self._begun or self.over:
            return Refusal(403, "this session is for one file: begin another session")
        self._begun = True
        content_type = piece.head.content_type.decode("utf-8", "replace")
        if content_type.partition(";")[0].strip().lower() == CPIM:
            self._head = b""
        else:
            self._type = content_type if content_type.isprintable() else ""
            disposition = piece.head.headers.get(b"content-disposition", b"")
            self._name = _filename(disposition.decode("utf-8", "replace"))
        return self.piece_received(piece) or self

    def piece_received(self, piece: Piece) -> Refusal | None:
        """Write a piece; at the last one, see whether the file is what was promised."""
        if self.over:
            return Refusal(403, "this file is not taken any more")
        try:
            if piece.flag is Continuation.ABORTED:
                self.fail(487, "the sender broke it off")
                return None
            data = piece.data if self._head is None else self._without_head(piece.data)
            if data:
                self._upload.write(data)
            if piece.flag is Continuation.MORE:
                self._owner.transfer_moved()
            else:
                self._finish()
        except FileRefused as error:
            self.fail(error.status, error.reason)
            return Refusal(error.status, error.reason)
        return None

    def aborted(self) -> None:
        """The rest will not come."""
        self.fail(408, "the rest of the file did not come")

    def _without_head(self, data: bytes) -> bytes:
        """What of a piece is the file's; nothing until the CPIM headers are complete."""
        begun = (self._head or b"") + data
        try:
            head = parse_cpim_head(begun)
        except CpimError as error:
            raise FileRefused(error.status, str(error)) from None
        if head is None:
            self._head = begun
            return b""
        encoding = head.content_header("Content-Transfer-Encoding")
        if (encoding.strip().lower() if encoding else None) not in _ENCODINGS:
            raise FileRefused(415, "Content-Transfer-Encoding must be binary: MSRP carries octets")
        self._head = None
        self._type = head.content_type
        self._name = _filename(head.content_header("Content-Disposition") or "")
        return begun[head.body_offset :]

    def _finish(self) -> None:
        if self._head is not None:
            raise FileRefused(400, "the CPIM headers do not end with an empty line")
        media_type = self._type.partition(";")[0].strip().lower()
        if self._upload.selector.type is None and not accepts(self._settings.types, media_type):
            raise FileRefused(415, f"only {', '.join(self._settings.types)} is taken in this room")
        forbidden = self._owner.transfer_forbidden()
        if forbidden is not None:
            raise FileRefused(403, forbidden)
        file = self._upload.finish(
            self._settings,
            name=self._name,
            type=self._type,
            sender=self._sender,
            now=self._clock.seconds(),
        )
        self.over = True
        self._owner.transfer_done(file)


class Sending(Transfer):
    """A file that goes out: `count` octets of `octets` from where it stands.

    `head` is what goes before them in the message, whose type is `content_type`. Each chunk is
    to be answered (RFC 4975 §7.1.1): so we know when the client has all.
    """

    def __init__(
        self,
        owner: TransferOwner,
        local_path: bytes,
        remote_path: bytes,
        clock: IReactorTime,
        limits: Limits,
        file: StoredFile,
        octets: IO[bytes],
        count: int,
        content_type: str,
        head: bytes = b"",
    ) -> None:
        super().__init__(owner, local_path, remote_path, clock, limits)
        self._file = file
        self._octets = octets
        self._content_type = content_type.encode("utf-8")
        self._message_id = new_message_id()
        self._head = head
        self._total = len(head) + count
        self._position = 0
        self._complete = False
        self.passed = 0
        """Octets of the message that the client has answered."""
        self._unanswered: dict[bytes, int] = {}
        self._pumping: IDelayedCall | None = None
        self.session.on_drained = self._drained

    @staticmethod
    def limits(limits: Limits) -> Limits:
        """The limits of such a session: its queue is filled by us alone."""
        return evolve(limits, queue_octets=_QUEUE)

    def stop(self) -> None:
        if self.over:
            return
        super().stop()
        self.session.on_drained = None
        if self._pumping is not None:
            self._pumping.cancel()
            self._pumping = None
        self._octets.close()
        if self._position > 0 and not self._complete:
            # RFC 5547 §8.4: the client is told that no more will come.
            frame = abort_frame(self._message_id, self._content_type, self._position + 1)
            self.session.forward_last(frame)

    def session_bound(self, session: Session) -> None:
        super().session_bound(session)
        self._pump_soon()

    def response_received(self, session: Session, head: Head) -> None:
        # On a connection of several sessions our name of a chunk has a suffix.
        name = head.transaction.removesuffix(session.suffix)
        if name not in self._unanswered or self.over:
            return
        if head.status != 200:
            comment = " ".join(head.comment.decode("utf-8", "replace").split())
            self.fail(head.status, f"the client answered {head.status} {comment}".rstrip())
            return
        self.passed += self._unanswered.pop(name)
        self._owner.transfer_moved()
        if not self._complete:
            self._pump_soon()
        elif not self._unanswered:
            self.stop()
            self._owner.transfer_done(self._file)

    def _drained(self) -> None:
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Go on at the next turn of the reactor: others shall have theirs between two chunks."""
        if self._pumping is None and not self.over and not self._complete:
            self._pumping = self._clock.callLater(0, self._pump)

    def _pump(self) -> None:
        """Queue chunks as long as the queue is short and the client answers them."""
        self._pumping = None
        session = self.session
        while (
            not self._complete
            and session.connection is not None
            and session.queued < HIGH_WATER
            and len(self._unanswered) < WINDOW
        ):
            start = self._position
            data = self._next_chunk()
            if data is None:
                self.fail(500, "the file cannot be read any more")
                return
            self._position = start + len(data)
            self._complete = self._position >= self._total
            frame = send_frame(
                self._message_id,
                self._content_type,
                (data,),
                start + 1,
                self._total,
                Continuation.COMPLETE if self._complete else Continuation.MORE,
                failure_report=b"yes",
            )
            self._unanswered[frame.transaction] = len(data)
            session.forward(frame)

    def _next_chunk(self) -> bytes | None:
        """The next octets of the message; None where the file does not have them."""
        head = self._head[self._position : self._position + CHUNK]
        wanted = min(CHUNK - len(head), self._total - self._position - len(head))
        try:
            data = self._octets.read(wanted) if wanted else b""
        except OSError:
            return None
        return head + data if len(data) == wanted else None


def _filename(disposition: str) -> str:
    """The file name in a Content-Disposition (RFC 2183); empty where there is none."""
    headers = MimeHeaders()
    headers["Content-Disposition"] = " ".join(disposition.split())
    try:
        return headers.get_filename("") or ""
    except (ValueError, LookupError):
        return ""
