"""Private messages: from one participant to another (RFC 7701 §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msrpconf.conference.distribution import begin_transfer, deliver
from msrpconf.conference.rendition import Renderer
from msrpconf.protocols.cpim import CpimAddress, CpimHead, build_cpim_head
from msrpconf.protocols.msrp.frame import Continuation
from msrpconf.protocols.msrp.session import MessageSink, Piece, Refusal

if TYPE_CHECKING:
    from msrpconf.conference.participant import Participant
    from msrpconf.conference.room import Room


def route_private(
    room: Room, sender: Participant, piece: Piece, head: CpimHead, render: Renderer
) -> MessageSink | Refusal | None:
    """Send a message to all devices of the one it is to, and to the sender's other ones.

    Those are left out that could not tell it from what is said to all.
    """
    if not room.settings.private_messages:
        return Refusal(403, f"private messages are off in this room: CPIM To must be {room.uri}")
    uri = head.to[0].uri
    addressed = room.addressed(uri)
    if not addressed:
        return Refusal(404, "nobody in this room has the URI in CPIM To")
    others = [each for each in addressed if each is not sender]
    if not others:
        return Refusal(404, "CPIM To is yourself, and you have no other device here")
    recipients = [each for each in others if each.takes_private_messages]
    if not recipients:
        return Refusal(428, "the recipient's client does not know private messages")
    audiences = room.audiences_of(recipients)
    if not audiences:
        return Refusal(408, "the recipient has no connection at the moment: try again")
    if not any(render(reception) for reception in audiences):
        return Refusal(415, f"the recipient's client does not take {head.media_type}")
    assert head.from_ is not None
    piece.report_body = build_cpim_head(head.from_, CpimAddress(uri))
    copies = [
        each
        for each in room.devices_of(sender.identity.key)
        if room.settings.private_copies
        and each is not sender
        and each.takes_private_messages
        and each not in addressed
    ]
    room.private_messages += 1
    if piece.flag is Continuation.COMPLETE:
        # The recipient's devices apart: a copy that arrives does not make the message arrive.
        if not deliver(room, audiences, render, piece.data):
            return Refusal(408, "the recipient is congested: try again")
        deliver(room, room.audiences_of(copies), render, piece.data)
        return None
    audiences = room.audiences_of((*recipients, *copies))
    return begin_transfer(room, audiences, render, piece, sender.session)
