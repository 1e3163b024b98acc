"""What is told of a room and who is in it, as the values of conference-info (RFC 4575 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from msrpconf.conference.identity import ANONYMOUS_DOMAIN
from msrpconf.conference.invitation import Invitation, InvitationState
from msrpconf.protocols.conference_info import (
    Description,
    Endpoint,
    Execution,
    Host,
    Media,
    MediaEntry,
    UriEntry,
)
from msrpconf.protocols.sip.uri import URI, SipURI
from msrpconf.protocols.xml_writing import as_uri

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

MAX_TEXT = 255
"""Characters of a name, and of a reason, that are told to everybody."""

MAX_URI = 1024
"""Characters of a URI that is told to everybody."""

LABEL = "chat"
"""What the one stream of a room is called (RFC 4575 §5.3.4)."""

_BUSY = frozenset((486, 600))


@frozen
class JoinedDevice:
    """What is told of a participant, and the participant does not know.

    `number` tells devices of one Contact apart, `since` is in seconds of the epoch;
    `invitation` is what brought them here.
    """

    number: int
    since: float
    invitation: Invitation | None = None


def cut(text: str | None) -> str | None:
    """A text of a peer's as it is told to everybody; None for an empty one."""
    return None if text is None else text[:MAX_TEXT].strip() or None


def user_uri(uri: str | URI) -> str:
    """How a user is known: a URI without what belongs to one device."""
    if not isinstance(uri, str):
        uri = str(uri.aor) if isinstance(uri, SipURI) else uri.key
    entity = as_uri(uri)
    # Whom everybody would have to be told at such length is told as nobody (§5.6).
    return entity if len(entity) <= MAX_URI else f"sip:long-uri@{ANONYMOUS_DOMAIN}"


def description_of(room: Room) -> Description:
    """What a room is."""
    return Description(
        display_text=room.display_text,
        subject=room.subject,
        free_text=room.free_text,
        conf_uris=(UriEntry(room.uri, "participation"),),
        service_uris=(UriEntry(room.uri, "event"),),
        maximum_user_count=room.settings.max_participants,
        available_media=(MediaEntry(LABEL, "message", "sendrecv"),),
    )


def host_of(room: Room) -> Host:
    """Who hosts a room."""
    settings = room.settings
    return Host(settings.host or None, settings.host_page or None)


def roles_of(participant: Participant) -> tuple[str, ...]:
    """What a user is in the room, for people to read."""
    return (participant.role.text,)


def device_endpoint(participant: Participant, device: JoinedDevice, user: str) -> Endpoint:
    """A device of `user`, which is in."""
    invitation = device.invitation
    invited_by = None if invitation is None else invitation.inviter.uri
    return Endpoint(
        _contact(participant, device, user),
        _status(participant),
        referred=None if invitation is None else Execution(invitation.since, None, invited_by),
        # Also who was invited came by an INVITE of their own (RFC 4575 §5.7.4).
        joining_method="dialed-in",
        joining_info=Execution(device.since, None, invited_by),
        media=(Media("1", "message", LABEL, _direction(participant)),),
    )


def invitation_endpoint(invitation: Invitation) -> Endpoint:
    """The device of somebody who is invited, or could not be."""
    state, outcome = invitation.state, invitation.outcome
    endpoint = Endpoint(
        str(invitation.guest.uri)[:MAX_URI],
        state.value,
        referred=Execution(invitation.since, None, invitation.inviter.uri),
    )
    if state is not InvitationState.FAILED:
        return endpoint
    return Endpoint(
        endpoint.entity,
        "disconnected",
        referred=endpoint.referred,
        disconnection_method="busy" if outcome.status in _BUSY else "failed",
        disconnection_info=Execution(
            invitation.changed, cut(f'Reason: SIP;cause={outcome.status};text="{outcome.reason}"')
        ),
    )


def _contact(participant: Participant, device: JoinedDevice, user: str) -> str:
    """What tells a device from others of its user; who is anonymous shows no address."""
    contact = str(participant.dialog.remote_target)
    if participant.identity.anonymous or len(contact) > MAX_URI:
        return f"{user};device={device.number}"
    return contact


def _status(participant: Participant) -> str:
    agreement = participant.agreement
    if agreement is not None and not agreement.receives:
        return "on-hold"
    return "muted-via-focus" if participant.muted else "connected"


def _direction(participant: Participant) -> str:
    agreement = participant.agreement
    direction = "sendrecv" if agreement is None else agreement.direction
    sends = direction in {"sendrecv", "sendonly"} and not participant.muted
    receives = direction in {"sendrecv", "recvonly"}
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else "inactive"
