"""Session descriptions between a client and a room (RFC 4975 §8, RFC 6135, RFC 7701 §8, §9.1).

The room takes the first MSRP line of an offer that it can serve and refuses all
others with port 0. What is agreed is an `Agreement`: where to send, in what form,
and who connects. To an INVITE without an offer the room makes one, and reads the
answer in the ACK.
"""

from __future__ import annotations

from attrs import define, frozen

from msrpconf.conference.capabilities import CPIM, Reception, accepts
from msrpconf.conference.decision import Denied
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.msrp.uri import MsrpURI
from msrpconf.protocols.multipart import MultipartError, parse_multipart
from msrpconf.protocols.sdp import Origin, SdpError, SessionDescription, answer, offer
from msrpconf.protocols.sdp_msrp import MsrpMedia, msrp_media, msrp_media_line
from msrpconf.protocols.sip.message import Message

SDP = "application/sdp"
TEXT = "text/plain"


@frozen
class Agreement:
    """What the two sides agreed on for one MSRP session.

    `remote_path` are the peer's URIs, a blank between each two; `connect_to` is the
    URI that we connect to, None where the peer connects to us; `receives` is
    whether the peer takes messages at the moment.
    """

    remote_path: bytes
    reception: Reception
    receives: bool
    connect_to: MsrpURI | None


@define
class Negotiation:
    """Where the descriptions of one participant's session stand.

    `origin_id` and `version` are those of our own (RFC 8866 §5.2). `awaiting_answer`:
    we made an offer, and the ACK brings the answer. `connect_to`: the URI that we
    connect to once the offer and the answer are complete.
    """

    origin_id: int
    version: int = 0
    awaiting_answer: bool = False
    connect_to: MsrpURI | None = None


def description_in(message: Message) -> bytes | None:
    """The session description in a message's body; None where there is none (RFC 5621 §8).

    Raises `SdpError` for a multipart body that cannot be read.
    """
    content_type = message.content_type
    if not message.body or content_type is None:
        return None
    if content_type.essence == SDP:
        return message.body
    if content_type.type.lower() != "multipart":
        return None
    try:
        parts = parse_multipart(message.body, content_type)
    except MultipartError as error:
        raise SdpError(str(error)) from None
    for part in parts:
        if part.content_type.essence == SDP:
            return part.body
    return None


def choose(description: bytes, settings: ServerSettings) -> tuple[SessionDescription, MsrpMedia]:
    """The description of a client, and the line of it that the room can serve.

    Raises `SdpError`, whose text says what an offer needs.
    """
    parsed = SessionDescription.parse(description)
    media = msrp_media(parsed)
    if not media:
        raise SdpError("No m=message line with TCP/MSRP: this is a chat room")
    for each in media:
        if not each.secure and _servable(each, settings):
            return parsed, each
    if all(each.secure for each in media):
        raise SdpError("TCP/TLS/MSRP is not served here: offer TCP/MSRP")
    if settings.plain_text:
        raise SdpError("a=accept-types needs message/cpim or text/plain")
    raise SdpError("a=accept-types needs message/cpim")


def _servable(media: MsrpMedia, settings: ServerSettings) -> bool:
    if accepts(media.accept_types, CPIM):
        return True
    return settings.plain_text and accepts(media.accept_types, TEXT)


def agree(media: MsrpMedia, *, we_offered: bool) -> Agreement:
    """What follows from the client's chosen line, in its offer or in its answer to ours."""
    # RFC 6135 §4.2: the offerer is active unless it says otherwise; who answers
    # our actpass says which it is, and is taken for active where it does not.
    we_connect = media.setup == "passive"
    if not we_offered:
        we_connect = media.answering_setup == "active"
    return Agreement(
        " ".join(media.path).encode("utf-8"),
        Reception.of(media.accept_types, media.accept_wrapped_types),
        media.direction in {"sendrecv", "recvonly"},
        MsrpURI.parse(media.path[0]) if we_connect else None,
    )


def answer_to(
    description: SessionDescription,
    media: MsrpMedia,
    local_path: str,
    settings: ServerSettings,
    origin: Origin,
) -> bytes:
    """The room's answer, as RFC 7701 §9.1 shows it."""
    cpim = accepts(media.accept_types, CPIM)
    line = msrp_media_line(
        [MsrpURI.parse(local_path)],
        accept_types=[CPIM if cpim else TEXT],
        accept_wrapped_types=["*"] if cpim else [],
        setup=media.answering_setup,
        max_size=settings.limits.message_octets,
        chatroom=(),
        direction=media.answering_direction,
    )
    return bytes(answer(description, media.index, line, origin=origin))


def offer_of(local_path: str, settings: ServerSettings, origin: Origin) -> bytes:
    """The room's own offer, for an INVITE without one (RFC 3261 §13.2.1) and for OPTIONS."""
    line = msrp_media_line(
        [MsrpURI.parse(local_path)],
        accept_types=[CPIM, TEXT] if settings.plain_text else [CPIM],
        accept_wrapped_types=["*"],
        setup="actpass",
        max_size=settings.limits.message_octets,
        chatroom=(),
    )
    return bytes(offer([line], origin=origin))


def not_acceptable(error: SdpError, settings: ServerSettings) -> Denied:
    """The 488 that says why a description cannot be served (RFC 3261 §21.4.26, §20.43)."""
    text = str(error).replace("\\", "/").replace('"', "'")
    return Denied(488, text, (("Warning", f'399 {settings.name} "{text}"'),))
