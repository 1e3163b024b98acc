"""What a participant can tell the room to do, by a message: for clients that have no other way.

A regular message of plain text that begins with one of these words is not said to
the others, but done, by who may; its answer says what became of it::

    /subject What we talk about
    /mute bob@example.com
    /unmute bob@example.com

Anything else that begins with a slash is said like any text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msrpconf.conference.policy import may_mute
from msrpconf.conference.subject import change_subject
from msrpconf.conference.voice import tell
from msrpconf.protocols.msrp.session import Refusal

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room

MAX_OCTETS = 2048
"""Octets that a command may have; what is longer is said."""


def run_command(sender: Participant, octets: bytes) -> Refusal | bool:
    """Do what a message tells the room to; False for one that is to be said."""
    if len(octets) > MAX_OCTETS:
        return False
    word, _, rest = octets.decode("utf-8", "replace").strip().partition(" ")
    room = sender.room
    if word == "/subject":
        denied = change_subject(room, sender.identity, rest)
        return Refusal(denied.status, denied.reason) if denied is not None else True
    if word in {"/mute", "/unmute"} and rest.strip():
        return _mute(room, sender, rest.strip(), word == "/mute")
    return False


def _mute(room: Room, sender: Participant, name: str, muted: bool) -> Refusal | bool:
    targets = _find(room, name)
    if not targets:
        return Refusal(404, f"nobody here is called {name[:100]}: write their address")
    target = targets[0]
    denied = may_mute(room, sender.identity, target.identity)
    if denied is not None:
        return Refusal(denied.status, denied.reason)
    room.roles = room.roles.mute(target.identity.keys, muted)
    label = target.speaker.label
    if muted:
        tell(sender, f"{label} has no voice any more")
        said = f"{sender.speaker.label} has taken your voice: what you say is not sent"
    else:
        tell(sender, f"{label} has a voice again")
        said = f"{sender.speaker.label} has given you a voice again"
    for each in targets:
        tell(each, said)
    return True


def _find(room: Room, name: str) -> list[Participant]:
    """All devices of the one user with that URI, address or nickname."""
    for uri in (name, f"sip:{name}"):
        found = list(room.addressed(uri))
        if found:
            return found
    return [each for each in room.participants if room.nicknames.of(each) == name]
