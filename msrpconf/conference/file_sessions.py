"""One file session: a dialog, and the transfer that it is for (RFC 5547)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from msrpconf.conference.file_descriptions import FileOffer
from msrpconf.conference.file_transfers import Transfer
from msrpconf.conference.files import StoredFile
from msrpconf.conference.identity import Identity
from msrpconf.conference.participant import State
from msrpconf.conference.policy import may_speak
from msrpconf.conference.rendition import Speaker
from msrpconf.conference.room import Room
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.sdp import Origin
from msrpconf.protocols.sip.dialog import Dialog


class SessionOwner(Protocol):
    """Who keeps a file session."""

    def moved(self, session: FileSession) -> None:
        """Some of the file has passed, or can pass now."""

    def done(self, session: FileSession, file: StoredFile) -> None:
        """All of a file has passed."""

    def failed(self, session: FileSession, status: int, reason: str) -> None:
        """No more of it will pass."""


class FileSession:
    """One dialog that a file is transferred by: `offer` is the client's last one."""

    def __init__(
        self,
        owner: SessionOwner,
        clock: IReactorTime,
        room: Room,
        identity: Identity,
        speaker: Speaker,
        dialog: Dialog,
        flow: str,
        offer: FileOffer,
    ) -> None:
        self.room = room
        self.identity = identity
        self.speaker = speaker
        """The user as the others in the room see it."""
        self.dialog = dialog
        self.flow = flow
        self.offer = offer
        self.state = State.EXPECTED
        self.unacknowledged: int | None = dialog.remote_cseq
        self.transfer: Transfer | None = None
        """None once a re-INVITE has ended it."""
        self.used: set[str | None] = set()
        """The transfer identifiers of this session so far (RFC 5547 §8.1)."""
        self._timer: IDelayedCall | None = None
        self._origin_id = secrets.randbelow(2**62)
        self._version = 0
        self._described = b""
        self._owner = owner
        self._clock = clock

    def __str__(self) -> str:
        return f"{self.identity} in {self.room.uri}"

    @property
    def sends(self) -> bool:
        """Whether the client sends the file."""
        return self.offer.sends

    # The owner of the transfer.

    def transfer_connected(self) -> None:
        self._owner.moved(self)

    def transfer_moved(self) -> None:
        self._owner.moved(self)

    def transfer_forbidden(self) -> str | None:
        denied = may_speak(self.room, self.identity)
        return None if denied is None else denied.reason

    def transfer_done(self, file: StoredFile) -> None:
        self._owner.done(self, file)

    def transfer_failed(self, status: int, reason: str) -> None:
        self._owner.failed(self, status, reason)

    # What it says, and what it waits for.

    def describe(self, settings: ServerSettings) -> bytes:
        """Our description, under a new version if it says anything new (RFC 3264 §8)."""
        transfer = self.transfer
        local = None if transfer is None else transfer.session.local_path.decode("ascii")

        def describe(version: int) -> bytes:
            origin = Origin.of(settings.msrp_host, self._origin_id, version, "msrpconf")
            return bytes(
                self.offer.answer(local, origin, self.room.settings, settings.fingerprints)
            )

        if describe(self._version) != self._described:
            self._version += 1
            self._described = describe(self._version)
        return self._described

    def wait(self, seconds: float, then: Callable[[], object]) -> None:
        """Wait for nothing but this."""
        self.stop_timer()
        self._timer = self._clock.callLater(seconds, then)

    def stop_timer(self) -> None:
        """Wait for nothing any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
