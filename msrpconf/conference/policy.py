"""Who may do what. A decision is a value: None allows, `Denied` says why not.

Everything that a user asks of a room is decided here, whatever it is asked by: SIP,
MSRP or the management interface. Who refuses it says so in the log.
"""

from __future__ import annotations

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.conference.participant import State
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.roles import MAX_ASSIGNED, Role
from msrpconf.conference.room import Room
from msrpconf.conference.settings import ServerSettings

_LATER = (("Retry-After", "60"),)


# Coming in.


def may_join(
    settings: ServerSettings, registry: ConferenceRegistry, key: str, user: Identity
) -> Denied | None:
    """Whether `user` may enter the room `key`, or create it by doing so (RFC 4579 §5.1)."""
    if registry.draining:
        return Denied(503, "This server takes nobody new: try again later", _LATER)
    room = registry.rooms.get(key)
    if room is None:
        denied = may_create(settings, registry, user)
    else:
        denied = may_enter(room, user)
    if denied is None and len(registry.sessions) >= settings.max_sessions:
        text = f"This server has its {settings.max_sessions} participants: try again later"
        return Denied(503, text, _LATER)
    return denied


def may_create(
    settings: ServerSettings, registry: ConferenceRegistry, user: Identity
) -> Denied | None:
    """Whether `user` may bring another room into being."""
    if not settings.ad_hoc:
        return Denied(404, "No such room: ask the operator to set it up")
    if registry.ad_hoc_rooms >= settings.max_rooms:
        text = f"This server has its {settings.max_rooms} rooms: try again later"
        return Denied(503, text, _LATER)
    return None


def may_enter(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may come in, with one more device."""
    denied = may_stay(room, user)
    if denied is not None:
        return denied
    if room.roles.locked and not _may_pass_lock(room, user):
        return Denied(403, "The room is locked: nobody new is let in")
    if len(room.participants) >= room.settings.max_participants:
        text = f"The room is full: it takes {room.settings.max_participants} participants"
        return Denied(486, text)
    return None


def may_stay(room: Room, user: Identity) -> Denied | None:
    """Whether `user`, once in, may remain: asked again when the room's roles change."""
    if _role(room, user) is Role.BANNED:
        return Denied(403, "You are banned from this room")
    if room.roles.members_only and not room.roles.has_member(user):
        return Denied(403, "The room is for its members only: ask an owner to make you one")
    return None


def may_stay_connected(room: Room, secure: bool) -> Denied | None:
    """Whether an MSRP session may go on, over TLS if `secure`: asked when settings change."""
    if room.settings.tls_only and not secure:
        return Denied(488, "The room takes MSRP over TLS alone now: offer TCP/TLS/MSRP")
    return None


# In the room.


def may_speak(room: Room, user: Identity) -> Denied | None:
    """Whether what `user` says goes to the room.

    For who is in it, `Participant.muted` is the same answer, ready to be used for each
    message.
    """
    if _role(room, user) <= Role.VISITOR:
        return Denied(403, "You have no voice here: ask a moderator for it")
    return None


def may_send_private(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may speak to one participant alone (RFC 7701 §6.2)."""
    if not room.settings.private_messages:
        return Denied(403, "Private messages are not served here")
    return may_speak(room, user)


def may_announce(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may speak in the room's name."""
    return _at_least(room, user, Role.MODERATOR, "speak in the room's name")


def may_change_subject(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may change the room's subject."""
    least = room.settings.may_change_subject
    return _at_least(room, user, least, "change the subject") or _present(room, user)


def may_see_others(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may be told who is in the room."""
    denied = may_stay(room, user)
    if denied is not None:
        return denied
    return _at_least(room, user, room.settings.may_see_others, "see who is in the room")


def may_invite(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may have the room call somebody (RFC 4579 §5.5).

    Strangers may not, or they could have any room call anybody. A room that is not open
    to all lets in whom its moderators and owners invite (`roles.welcome`).
    """
    if room.roles.members_only or room.roles.locked:
        which = "members-only" if room.roles.members_only else "locked"
        denied = _at_least(room, user, Role.MODERATOR, f"invite to a {which} room")
        if denied is not None:
            return denied
    denied = _at_least(room, user, room.settings.may_invite, "invite others")
    if denied is not None:
        return denied
    return _present(room, user)


def may_give_file(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may give the room a file, which is to say something there (RFC 5547)."""
    return may_fetch_file(room, user) or may_speak(room, user)


def may_fetch_file(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may have a file of the room's: who is in it may."""
    denied = may_stay(room, user)
    if denied is None and not (user.proven and _has_joined(room, user)):
        return Denied(403, "Files are for who is in the room: join it first")
    return denied


# About others.


def may_remove(room: Room, user: Identity, target: Identity) -> Denied | None:
    """Whether `user` may have `target` sent out (RFC 4579 §5.11): always oneself."""
    if _same(user, target):
        return None
    denied = _at_least(room, user, Role.MODERATOR, "remove others")
    return denied or _above(room, user, target)


def may_mute(room: Room, user: Identity, target: Identity) -> Denied | None:
    """Whether `user` may take `target`'s voice, or give it back."""
    denied = _at_least(room, user, Role.MODERATOR, "mute others") or _above(room, user, target)
    if denied is None and len(room.roles.muted) >= MAX_ASSIGNED:
        return Denied(403, f"The room has muted {MAX_ASSIGNED} users already")
    return denied


def may_assign(room: Room, user: Identity, target: Identity, role: Role) -> Denied | None:
    """Whether `user` may make `target` what `role` says, and so also ban it.

    Moderators give roles below their own to whose role is below their own; owners
    also make owners. Who is the only owner remains it.
    """
    if _same(user, target):
        if role > _role(room, user):
            return Denied(403, "You cannot give yourself more than you have")
        if role is not Role.OWNER and len(room.roles.owners) == 1 and _is_owner(room, user):
            return Denied(403, "You are the only owner: make somebody else an owner first")
        return None
    denied = _at_least(room, user, Role.MODERATOR, "change the roles of others")
    denied = denied or _above(room, user, target)
    if denied is not None:
        return denied
    if role >= _role(room, user) and not _is_owner(room, user):
        return Denied(403, f"Only an owner makes somebody {role.text}")
    if len(room.roles.assigned) >= MAX_ASSIGNED and not room.roles.has_member(target):
        return Denied(403, f"The room knows the roles of {MAX_ASSIGNED} users already")
    return None


def may_change_access(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may lock the room or open it, also to others than its members."""
    return _at_least(room, user, Role.OWNER, "change who is let in")


def may_edit_documents(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may read and write the documents that say who may watch the room."""
    return _at_least(room, user, Role.OWNER, "say who may watch the room")


def may_see_watchers(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may be told who watches the room, or asks to: who may decide about it."""
    return _at_least(room, user, Role.OWNER, "see who watches the room")


def may_end(room: Room, user: Identity) -> Denied | None:
    """Whether `user` may end the room for all; a static room is the operator's to end."""
    if room.static:
        return Denied(403, "The operator has set this room up: it cannot be ended here")
    return _at_least(room, user, Role.OWNER, "end the room")


# Helpers.


def _role(room: Room, user: Identity) -> Role:
    return room.roles.of(user)


def _is_owner(room: Room, user: Identity) -> bool:
    return _role(room, user) is Role.OWNER


def _same(one: Identity, other: Identity) -> bool:
    """Whether it is one user, whom somebody vouches for."""
    return not set(one.proven).isdisjoint(other.proven)


def _is_in(room: Room, user: Identity) -> bool:
    return bool(user.proven and room.devices_of(user.key))


def _has_joined(room: Room, user: Identity) -> bool:
    return any(each.state is State.JOINED for each in room.devices_of(user.key))


def _may_pass_lock(room: Room, user: Identity) -> bool:
    if _role(room, user) >= Role.MODERATOR:
        return True
    return room.roles.has_invited(user) or _is_in(room, user)


def _at_least(room: Room, user: Identity, least: Role, what: str) -> Denied | None:
    role = _role(room, user)
    if role >= least:
        return None
    if role is Role.BANNED:
        return Denied(403, "You are banned from this room")
    who = f"{least.text}s" + ("" if least is Role.OWNER else " and above")
    return Denied(403, f"Only {who} may {what} here; your role is {role.text}")


def _above(room: Room, user: Identity, target: Identity) -> Denied | None:
    role = _role(room, target)
    if role < _role(room, user):
        return None
    return Denied(403, f"Their role, {role.text}, is not below yours")


def _present(room: Room, user: Identity) -> Denied | None:
    """Whoever is no moderator has to be in the room."""
    if _role(room, user) >= Role.MODERATOR or _is_in(room, user):
        return None
    return Denied(403, "You are not in the room: join it first")
