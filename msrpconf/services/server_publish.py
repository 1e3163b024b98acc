"""What users publish of the rooms of a server apart from the focus (RFC 3903).

It comes over the channel like other requests. It holds as long as the server runs.
"""

from __future__ import annotations

from typing import Any

from msrpconf.conference.control import CONFERENCE, ConferenceControl
from msrpconf.conference.decision import Denied
from msrpconf.conference.states import Change, ConferenceInfo
from msrpconf.presence.publishing import Publishing
from msrpconf.presence.subscribing import Lifetimes
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import parse_uri


def serve_publish(control: ConferenceControl, clock: Any, lifetimes: Lifetimes) -> Publishing:
    """Have a server answer PUBLISH, for the rooms that it has."""
    publishing = Publishing(clock, control.registry.rooms.get, lifetimes)

    def publish(request: Request) -> Response | Denied:
        if request.to.tag is not None:
            return Denied(481, "PUBLISH belongs to no dialog: leave the tag of To out")
        uri = request.headers.get(CONFERENCE) or str(request.uri)
        return publishing.handle(request, parse_uri(uri).key)

    def changed(key: str, info: ConferenceInfo, change: Change | None) -> None:
        if change is None:
            publishing.room_ended(key)

    control.serve("PUBLISH", publish)
    control.registry.watch(changed)
    return publishing
