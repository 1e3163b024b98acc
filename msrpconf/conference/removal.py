"""Who is meant by the URI of a REFER with BYE (RFC 4579 §5.11)."""

from __future__ import annotations

from msrpconf.conference.identity import ANONYMOUS_DOMAIN
from msrpconf.conference.participant import Participant
from msrpconf.conference.room import Room
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.grammar import canonical_host
from msrpconf.protocols.sip.refer import ReferTo
from msrpconf.protocols.sip.uri import URI, SipURI, parse_uri


def named_by(room: Room, asked: ReferTo) -> list[Participant]:
    """The participants whom `asked` names; empty where there are none.

    A dialog names one device, and so does a Contact; an address of record names all
    devices of its user. Who is anonymous is named by the anonymous URI that the room
    shows, and by no other, so that nobody learns by trying who that is.
    """
    everybody = list(room.participants)
    if asked.call_id is not None or asked.tags:
        return [each for each in everybody if _has_dialog(each, asked)]
    uri = asked.uri
    of_user = [each for each in everybody if is_user(each, uri)]
    if _is_device(uri):
        devices = [each for each in everybody if is_contact(each, uri)]
        if devices:
            return devices
        if isinstance(uri, SipURI) and uri.has_parameter("gr"):
            return []  # a device of theirs that is not here (RFC 5627)
    if of_user:
        return of_user
    return [each for each in everybody if is_contact(each, uri)]


def users_of(participants: list[Participant]) -> set[str]:
    """The users whose devices these are."""
    return {each.identity.key for each in participants}


def is_user(participant: Participant, uri: URI) -> bool:
    """Whether `uri` is one that the room knows the participant's user by."""
    identity = participant.identity
    if _is_hidden(identity.uri):
        return uri.key == _key(identity.uri)
    # A From of one's choice, beside an asserted identity, must not make two users one.
    key, known = uri.key, identity.proven
    return key in known or (key.startswith("im:") and f"sip:{key[3:]}" in known)


def is_contact(participant: Participant, uri: URI) -> bool:
    """Whether `uri` is the Contact of the participant's device."""
    contact = participant.dialog.remote_target
    if not isinstance(uri, SipURI) or not isinstance(contact, SipURI):
        return contact.equivalent(uri)
    if uri.parameter("gr") != contact.parameter("gr"):
        return False
    # Parameters are lost on the way from a Contact into a Refer-To: they need not be there.
    return (uri.user, canonical_host(uri.host), uri.port) == (
        contact.user,
        canonical_host(contact.host),
        contact.port,
    )


def _is_device(uri: URI) -> bool:
    """Whether `uri` says more than who somebody is."""
    return isinstance(uri, SipURI) and (uri.port is not None or bool(uri.parameters))


def _has_dialog(participant: Participant, asked: ReferTo) -> bool:
    dialog = participant.dialog
    if asked.call_id is not None and asked.call_id != dialog.call_id:
        return False
    return asked.tags <= {dialog.local_tag, dialog.remote_tag}


def _is_hidden(uri: str) -> bool:
    return uri.partition("@")[2].partition(";")[0].lower() == ANONYMOUS_DOMAIN


def _key(uri: str) -> str:
    try:
        return parse_uri(uri).key
    except SipSyntaxError:
        return uri
