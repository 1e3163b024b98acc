"""Changing what people are in a room, and sending out who may not be in it any more."""

from __future__ import annotations

from typing import Protocol

from msrpconf.conference.participant import Participant
from msrpconf.conference.policy import may_stay, may_stay_connected
from msrpconf.conference.roles import Roles
from msrpconf.conference.room import Room
from msrpconf.protocols.sip.headers import Reason


class Expeller(Protocol):
    """What sends people out: `ConferenceControl`."""

    def expel(self, participant: Participant, reason: Reason) -> object: ...


def set_roles(expeller: Expeller, room: Room, roles: Roles) -> None:
    """Give a room other roles, at once.

    Who may not be in it any more is sent out: who is banned by them, who is no member of
    what is for members only now, who has plain TCP in what is for TLS only now.
    Those of a static room hold until its record changes::

        set_roles(control, room, room.roles.assign(user.proven, Role.BANNED))
        set_roles(control, room, evolve(room.roles, locked=True))
    """
    room.roles = roles
    for each in list(room.participants):
        denied = may_stay(room, each.identity)
        if denied is None:
            denied = may_stay_connected(room, each.session.secure)
        if denied is not None:
            expeller.expel(each, Reason("SIP", denied.status, denied.reason))
