"""MOVE: a dispatcher asks a server to go on with a room of another (doc/channel.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.logger import Logger

from msrpconf.conference.arrivals import Arrival, Arrivals
from msrpconf.conference.decision import Denied
from msrpconf.dispatch.records import (
    Changes,
    DialogId,
    DialogRecord,
    RecordError,
    decode_changes,
    encode_changes,
)
from msrpconf.protocols.channel_hello import link_request
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.visible import visible

log = Logger()


def move_request(
    name: str, origin: str, room: str, state: str, records: Sequence[DialogRecord]
) -> Request:
    """The request of the dispatcher `name` to go on with `room`, which the server `origin` had.

    `state` is what that one told of it, `records` are dialogs of it.
    """
    headers = [("Origin", origin), ("Room", room), ("Content-Type", "application/json")]
    rooms = ((room, state),) if state else ()
    return link_request("MOVE", name, headers, encode_changes(Changes(tuple(records), rooms=rooms)))


def take_over(arrivals: Arrivals, request: Request) -> tuple[Response, list[DialogRecord]]:
    """Answer it; give the dialogs that are here now."""
    try:
        changes = decode_changes(request.body)
    except RecordError as error:
        text = "what is to move here cannot be read: {error}"
        log.error(text, error=visible(str(error)))
        return request.response(400, str(error)), []
    room = request.headers.get("Room") or ""
    records = [each for each in changes.dialogs if each.room == room]
    if not room or len(records) < len(changes.dialogs):
        return request.response(400, "Room: expected the key of the dialogs' room"), []
    coming = {each.id: Arrival(each.dialog, each.way, each.seat) for each in records}
    state = dict(changes.rooms).get(room, "")
    refused = arrivals.take(room, state, coming.values(), request.headers.get("Origin") or "")
    if isinstance(refused, Denied):
        return request.response(refused.status, refused.reason), []
    left = {each.dialog.id for each in refused}
    body = json.dumps({"refused": sorted(left, key=str)}).encode("ascii")
    response = request.response(200, body=body)
    return response, [each for each in records if each.id not in left]


def refused_of(response: Response) -> set[DialogId]:
    """The dialogs that the server has not taken, by its answer."""
    try:
        found = json.loads(response.body)["refused"]
        return {(call_id, ours, theirs) for call_id, ours, theirs in found}
    except (ValueError, TypeError, KeyError, RecursionError):
        return set()
