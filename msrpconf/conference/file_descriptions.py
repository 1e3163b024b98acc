"""What a file session's offer asks for, and our answer to it (RFC 5547 §8.3)."""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import evolve, frozen

from msrpconf.conference.capabilities import CPIM, accepts
from msrpconf.conference.file_transfers import OVERHEAD
from msrpconf.conference.files import StoredFile
from msrpconf.conference.negotiation import not_served
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.protocols.cpim import CpimAddress, build_cpim_head
from msrpconf.protocols.fingerprint import Fingerprint, matches
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.session import FrameWriter
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.sdp import Origin, SdpError, SessionDescription, answer
from msrpconf.protocols.sdp_file import (
    FILE_SELECTOR,
    FileDescription,
    FileSelector,
    is_for_file,
    mirrored,
)
from msrpconf.protocols.sdp_msrp import MsrpMedia, msrp_media, msrp_media_line


@frozen
class Form:
    """How a file goes out: `count` octets of it, from offset `first`, after `head`."""

    content_type: str
    head: bytes
    first: int
    count: int


@frozen
class FileOffer:
    """A client's description of a file session.

    `media` is its line, `file` what the line says of the file, `found` the room's file that it
    fetches; `ended` if the line ends the transfer.
    """

    description: SessionDescription
    media: MsrpMedia
    file: FileDescription
    ended: bool = False
    found: StoredFile | None = None

    @property
    def sends(self) -> bool:
        """Whether the client sends the file, and does not fetch it."""
        return self.media.direction == "sendonly"

    @property
    def connect_to(self) -> Destination | None:
        """Where we connect to; None where the client connects to us (RFC 6135)."""
        return self.media.destination if self.media.answering_setup == "active" else None

    def trusts(self, connection: FrameWriter) -> bool:
        """Whether the peer may be at the other end of a connection: see `Agreement.trusts`."""
        media = self.media
        if not media.secure or not media.fingerprints or media.relayed:
            return True
        certificate = connection.certificate
        return certificate is None or matches(media.fingerprints, certificate)

    def check_type(self, room: RoomSettings) -> None:
        """Raise SdpError for a file that the room does not take by its type."""
        media_type = self.file.selector.media_type
        if media_type is not None and not accepts(room.types, media_type):
            raise SdpError(f"{media_type} is not taken in this room: {', '.join(room.types)} are")

    def form_of(self, file: StoredFile, room_uri: str) -> Form:
        """How `file` is sent to this client. Raises SdpError where it cannot be.

        A client that names message/cpim gets it in that, as RFC 5547 shows it; one that names
        the file's type, or takes anything, gets it bare.
        """
        wanted = self.file.range
        first = 0 if wanted is None else wanted.start - 1
        last = file.size if wanted is None or wanted.stop is None else wanted.stop
        if last > file.size or first > file.size:
            raise SdpError(f"a=file-range: the file has {file.size} octets")
        types = self.media.accept_types
        wraps = CPIM in types and file.media_type not in types
        if not wraps and accepts(types, file.media_type):
            return Form(file.type, b"", first, last - first)
        if not accepts(types, CPIM) or not self.media.accepts_wrapped(file.media_type):
            raise SdpError(f"a=accept-types needs message/cpim or {file.media_type}")
        sender, room = CpimAddress(file.sender), CpimAddress(room_uri)
        date = datetime.fromtimestamp(file.sent, UTC).replace(microsecond=0)
        name = file.name.replace("\\", "\\\\").replace('"', '\\"')
        disposition = f'{self.file.disposition}; filename="{name}"; size={file.size}'
        head = build_cpim_head(
            sender, room, date, file.type, content_headers=[("Content-Disposition", disposition)]
        )
        return Form(CPIM, head, first, last - first)

    def answer(
        self,
        local_path: str | None,
        origin: Origin,
        room: RoomSettings,
        fingerprints: tuple[Fingerprint, ...] = (),
    ) -> SessionDescription:
        """Our answer; a `local_path` of None refuses the file with port 0.

        `fingerprints` are those of our certificate.
        """
        if local_path is None:
            return answer(self.description, None, None, origin=origin)
        offered = self.description.media[self.media.index]
        size = self.file.selector.size
        everything = "*" in room.types
        line = msrp_media_line(
            [MsrpURI.parse(local_path)],
            accept_types=[CPIM, *(["*"] if everything else room.types)],
            accept_wrapped_types=room.types,
            setup=self.media.answering_setup,
            max_size=(room.max_file_octets if size is None else size) + OVERHEAD,
            direction=self.media.answering_direction,
            cema=self.media.answering_cema,
            fingerprints=fingerprints if self.media.secure else (),
        )
        attributes = mirrored(offered) if self.sends else self._found_attributes()
        return answer(
            self.description,
            self.media.index,
            evolve(line, attributes=(*line.attributes, *attributes)),
            origin=origin,
        )

    def _found_attributes(self) -> tuple[tuple[str, str | None], ...]:
        """What we say of the file that is fetched (§8.3.2)."""
        selector = FileSelector() if self.found is None else self.found.selector
        file = FileDescription(selector, self.file.transfer_id, self.file.range)
        return file.attributes


def file_offer(
    description: bytes,
    settings: ServerSettings,
    room: RoomSettings,
    before: FileOffer | None = None,
) -> FileOffer | None:
    """What an offer asks for; None where it is not for a file, or not for that alone.

    `before` is the offer that this one follows in a dialog: its line is then the one that
    counts. Of several files the first is served, the others are refused. Raises SdpError.
    """
    parsed = SessionDescription.parse(description)
    if before is not None and before.media.index < len(parsed.media):
        line = parsed.media[before.media.index]
        if line.port == 0:
            return evolve(before, description=parsed, ended=True)
    media = msrp_media(parsed)
    if not media or not all(is_for_file(parsed.media[each.index]) for each in media):
        return None
    chosen = next((each for each in media if settings.serves(room, each.secure)), None)
    if chosen is None:
        raise SdpError(not_served(settings, room))
    file = FileDescription.of(parsed.media[chosen.index])
    assert file is not None
    if chosen.direction not in {"sendonly", "recvonly"}:
        raise SdpError("Say a=sendonly to send the file, or a=recvonly to fetch it")
    if chosen.direction == "sendonly" and file.range is not None:
        size = file.selector.size
        if file.range.start != 1 or file.range.stop not in (None, size):
            raise SdpError("a=file-range: only whole files are taken")
    return FileOffer(parsed, chosen, file)


def with_capability(description: bytes) -> bytes:
    """Our description, saying on its MSRP line that files are understood too (§8.5)."""
    parsed = SessionDescription.parse(description)
    media = tuple(
        evolve(line, attributes=(*line.attributes, (FILE_SELECTOR, None))) if line.port else line
        for line in parsed.media
    )
    return bytes(evolve(parsed, media=media))


def conflict(one: FileDescription, other: FileDescription) -> bool:
    """Whether two selectors of one transfer cannot mean the same file (§8.1)."""
    ours, theirs = one.selector, other.selector
    pairs = (
        (ours.name, theirs.name),
        (ours.size, theirs.size),
        (ours.media_type, theirs.media_type),
        *((each.digest, theirs.digest(each.algorithm)) for each in ours.hashes),
    )
    return any(a is not None and b is not None and a != b for a, b in pairs)
