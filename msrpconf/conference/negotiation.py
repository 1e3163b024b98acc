"""Session descriptions between a client and a room (RFC 4975 §8, RFC 6135, RFC 7701 §8, §9.1).

The room takes the first MSRP line of an offer that it can serve, one with TLS before
others, and refuses all others with port 0. What is agreed is an `Agreement`: where to
send, in what form, and who connects. To an INVITE without an offer the room makes one,
and reads the answer in the ACK. What a dialog's descriptions have to keep in mind from
one to the next (RFC 3264 §8) is its `Negotiation`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen

from msrpconf.conference.capabilities import CPIM, TEXT, Reception
from msrpconf.conference.decision import Denied
from msrpconf.conference.settings import RoomSettings, ServerSettings
from msrpconf.protocols.fingerprint import Fingerprint, matches
from msrpconf.protocols.msrp.destination import Destination
from msrpconf.protocols.msrp.session import FrameWriter
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.multipart import MultipartError, parse_multipart
from msrpconf.protocols.sdp import (
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
    answer,
    offer,
)
from msrpconf.protocols.sdp_file import is_for_file
from msrpconf.protocols.sdp_msrp import (
    TCP_MSRP,
    TCP_TLS_MSRP,
    MsrpMedia,
    msrp_media,
    msrp_media_line,
)
from msrpconf.protocols.sip.headers import Warning_
from msrpconf.protocols.sip.message import Message

SDP = "application/sdp"

# RFC 7701 §8: what a=chatroom may say.
NICKNAME = "nickname"
PRIVATE_MESSAGES = "private-messages"


@frozen
class Choice:
    """A client's description, the line of it that the room serves, and what the client takes."""

    description: SessionDescription
    media: MsrpMedia
    reception: Reception


@frozen
class Agreement:
    """What the two sides agreed on for one MSRP session.

    `remote_path` are the peer's URIs, a blank between each two; `connect_to` is
    where we connect to, None where the peer connects to us; `secure` is whether by
    TLS, and `fingerprints` those of which the peer's certificate must match one; `receives` is
    whether the peer takes messages at the moment, `speaks_text` whether our
    description let it say text/plain without a wrapper; `private_messages` whether
    the peer can tell a private message from others (RFC 7701 §8). `direction` is the
    peer's view of where messages may go (RFC 8866 §6.7).
    """

    remote_path: bytes
    reception: Reception
    receives: bool
    speaks_text: bool
    private_messages: bool
    connect_to: Destination | None
    secure: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    direction: str = "sendrecv"

    def trusts(self, connection: FrameWriter) -> bool:
        """Whether the peer may be at the other end of a connection that it made (RFC 8122 §6.2).

        Who presents no certificate may: nobody else knows our session id (RFC 4975 §14.1). The
        certificate of a relay is not the peer's.
        """
        if not self.secure or not self.fingerprints or b" " in self.remote_path:
            return True
        certificate = connection.certificate
        return certificate is None or matches(self.fingerprints, certificate)


@define
class Negotiation:
    """Where the descriptions of one participant's session stand.

    `origin_id` and `version` are those of our own (RFC 8866 §5.2). `unacknowledged`
    is the CSeq of an INVITE that we answered with 200, until its ACK comes;
    `awaiting_answer`: that 200 had our offer, and the ACK brings the answer;
    `before`: what was agreed before that INVITE, should it be cancelled. `offered`: an
    INVITE of ours in the dialog has an offer that waits for its answer. `origin_host`: the
    address in our descriptions, where they began on another server.
    """

    origin_id: int
    version: int = 1
    unacknowledged: int | None = None
    awaiting_answer: bool = False
    before: Agreement | None = None
    offered: bool = False
    origin_host: str | None = None
    # The lines above and below ours in every later description (RFC 3264 §8).
    _above: tuple[MediaDescription, ...] = ()
    _below: tuple[MediaDescription, ...] = ()
    # Tells whether a description is the same as the one before.
    _digest: int | None = field(default=None, repr=False)

    def answer(
        self, choice: Choice, local_path: str, settings: ServerSettings, room: RoomSettings
    ) -> bytes:
        """The room's answer to an offer, as RFC 7701 §9.1 shows it."""
        media, cpim = choice.media, choice.reception.cpim
        line = msrp_media_line(
            [MsrpURI.parse(local_path)],
            accept_types=[CPIM if cpim else TEXT],
            accept_wrapped_types=room.types if cpim else [],
            setup=media.answering_setup,
            max_size=room.max_message_octets,
            chatroom=chatroom(room),
            direction=media.answering_direction,
            cema=media.answering_cema,
            fingerprints=settings.fingerprints if media.secure else (),
        )
        offered = choice.description
        refused = [each.refused() for each in offered.media]
        self._above = tuple(refused[: media.index])
        self._below = tuple(refused[media.index + 1 :])
        return self._versioned(
            lambda version: self._placed(
                answer(offered, media.index, line, origin=self._origin(settings, version)), settings
            )
        )

    def offer(self, local_path: str, settings: ServerSettings, room: RoomSettings) -> bytes:
        """The room's own offer, for an INVITE without one (RFC 3261 §13.2.1, §14.2)."""
        own = MsrpURI.parse(local_path)
        line = msrp_media_line(
            [own],
            accept_types=[CPIM, TEXT] if room.plain_text else [CPIM],
            accept_wrapped_types=room.types,
            setup="actpass",
            max_size=room.max_message_octets,
            chatroom=chatroom(room),
            cema=True,
            fingerprints=settings.fingerprints if own.secure else (),
        )
        media = [*self._above, line, *self._below]
        return self._versioned(
            lambda version: self._placed(
                offer(media, origin=self._origin(settings, version)), settings
            )
        )

    def _placed(self, description: SessionDescription, settings: ServerSettings) -> bytes:
        """A description as octets; its media are here, wherever the descriptions began."""
        if self.origin_host is not None:
            here = Origin.of(settings.msrp_host, 0, 0).connection
            description = evolve(description, connection=here)
        return bytes(description)

    def _origin(self, settings: ServerSettings, version: int) -> Origin:
        return Origin.of(
            self.origin_host or settings.msrp_host, self.origin_id, version, "msrpconf"
        )

    @property
    def refused(self) -> tuple[tuple[MediaDescription, ...], tuple[MediaDescription, ...]]:
        """The lines that are refused, above and below ours."""
        return self._above, self._below

    @classmethod
    def continuing(
        cls,
        origin: tuple[str, int, int],
        above: tuple[MediaDescription, ...],
        below: tuple[MediaDescription, ...],
    ) -> Negotiation:
        """Descriptions that go on from another server's (RFC 3264 §8).

        `origin` is the address, the id and the version of its last one, `above` and `below` are
        the lines that it refused.
        """
        host, origin_id, version = origin
        return cls(origin_id, version + 1, origin_host=host, above=above, below=below)

    def _versioned(self, describe: Callable[[int], bytes]) -> bytes:
        """A description under a new version, if it says anything new (RFC 4975 §8.4)."""
        description = describe(self.version)
        digest = hash(description)
        if self._digest is not None and digest != self._digest:
            self.version += 1
            description = describe(self.version)
            digest = hash(description)
        self._digest = digest
        return description


def description_in(message: Message) -> bytes | None:
    """The session description in a message's body; None where there is none (RFC 5621 §8).

    Raises `SdpError` for a multipart body that cannot be read.
    """
    content_type = message.content_type
    if not message.body or content_type is None:
        return None
    if content_type.essence == SDP:
        return message.body
    if content_type.type != "multipart":
        return None
    try:
        parts = parse_multipart(message.body, content_type)
    except MultipartError as error:
        raise SdpError(str(error)) from None
    for part in parts:
        if part.content_type.essence == SDP and part.disposition in {None, "session"}:
            return part.body
    return None


def chatroom(room: RoomSettings) -> tuple[str, ...]:
    """The tokens of a=chatroom that say what the room allows (RFC 7701 §8)."""
    allowed = (NICKNAME, room.nicknames), (PRIVATE_MESSAGES, room.private_messages)
    return tuple(token for token, is_allowed in allowed if is_allowed)


def choose(
    description: bytes, settings: ServerSettings, room: RoomSettings, secure: bool | None = None
) -> Choice:
    """The line of a client's description that the room can serve.

    `secure` is whether we offered TLS, where the description answers our offer. Raises
    `SdpError`, whose text says what an offer needs.
    """
    parsed = SessionDescription.parse(description)
    # A file beside the chat is refused: it has a dialog of its own (RFC 5547 §8.7).
    media = [each for each in msrp_media(parsed) if not is_for_file(parsed.media[each.index])]
    if not media:
        raise SdpError("No m=message line with TCP/MSRP: this is a chat room")
    served = [
        each
        for each in media
        if settings.serves(room, each.secure) and secure in {None, each.secure}
    ]
    for each in sorted(served, key=lambda each: not each.secure):
        # A client that takes all that the room does is not told apart from others.
        limited = each.max_size is not None and each.max_size < room.max_message_octets
        reception = Reception.of(
            each.accept_types,
            each.accept_wrapped_types,
            room.plain_text,
            each.max_size if limited else None,
            len(each.path) > 1,
        )
        if reception is not None:
            return Choice(parsed, each, reception)
    if not served:
        raise SdpError(not_served(settings, room, secure))
    if room.plain_text:
        raise SdpError("a=accept-types needs message/cpim or text/plain")
    raise SdpError("a=accept-types needs message/cpim")


def not_served(settings: ServerSettings, room: RoomSettings, secure: bool | None = None) -> str:
    """Why no line of an offer is served, with TLS or without."""
    if secure is not None:
        return f"{TCP_TLS_MSRP if secure else TCP_MSRP} was offered: answer with that"
    if settings.serves(room, True):
        return "TCP/MSRP is not served in this room: offer TCP/TLS/MSRP"
    if settings.serves(room, False):
        return "TCP/TLS/MSRP is not served here: offer TCP/MSRP"
    return "This room takes MSRP over TLS alone, and its server has no TLS"


def agree(choice: Choice, room: RoomSettings, *, we_offered: bool) -> Agreement:
    """What follows from the client's chosen line, in its offer or in its answer to ours."""
    media = choice.media
    if we_offered:
        # RFC 6135 §4.2.2: who does not know a=setup waits, as RFC 4975 §8.5 has it.
        we_connect = media.setup != "active"
    else:
        we_connect = media.answering_setup == "active"
    return Agreement(
        " ".join(media.path).encode("ascii"),
        choice.reception,
        media.direction in {"sendrecv", "recvonly"},
        not choice.reception.cpim or (we_offered and room.plain_text),
        PRIVATE_MESSAGES in (media.chatroom or ()),
        media.destination if we_connect else None,
        media.secure,
        media.fingerprints,
        media.direction,
    )


def not_acceptable(error: SdpError, settings: ServerSettings) -> Denied:
    """The 488 that says why a description cannot be served (RFC 3261 §21.4.26, §20.43)."""
    warning = Warning_(399, settings.name, str(error))
    return Denied(488, str(error), (("Warning", str(warning)),))
