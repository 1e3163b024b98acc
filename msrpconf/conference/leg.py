"""What a participant and a file session have in common: a dialog with somebody's device."""

from __future__ import annotations

import secrets
from typing import Protocol

from msrpconf.conference.decision import Denied
from msrpconf.conference.identity import Identity
from msrpconf.protocols.sip.dialog import Dialog, OutOfOrder
from msrpconf.protocols.sip.message import Request

CONFERENCE = "Conference"
"""Channel header: the conference URI that a request outside a dialog is for."""


class Leg(Protocol):
    """One dialog: `flow` is the focus's name for the connection that its client came on."""

    identity: Identity
    dialog: Dialog
    flow: str


def in_order(leg: Leg, request: Request) -> Denied | None:
    """Count a request in its dialog; 500 for one that others overtook (RFC 3261 §12.2.2)."""
    try:
        leg.dialog = leg.dialog.accept(request)
    except OutOfOrder as error:
        return Denied(500, str(error), (("Retry-After", str(secrets.randbelow(10))),))
    return None
