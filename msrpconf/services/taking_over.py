"""MOVE: a dispatcher asks a server to go on with a room of another (doc/channel.md)."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable

from twisted.logger import Logger

from msrpconf.conference.arrivals import Arrival, Arrivals
from msrpconf.conference.decision import Denied
from msrpconf.conference.history import Said
from msrpconf.conference.room import Room
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
from msrpconf.storage.history import StoredMessage
from msrpconf.storage.said import read_said, write_said
from msrpconf.visible import visible

MAX_SAID = 400_000
"""Octets of what was said in a room that go along with it; the oldest stay behind."""

log = Logger()


def move_request(name: str, origin: str, room: str, changes: Changes) -> Request:
    """The request of who is called `name` to go on with `room`, which the server `origin` had.

    `changes` have its dialogs, what the server told of it, and what was said last.
    """
    headers = [("Origin", origin), ("Room", room), ("Content-Type", "application/json")]
    return link_request("MOVE", name, headers, encode_changes(changes))


def write_history(room: Room) -> tuple[tuple[str, str, str], ...]:
    """What was said in a room, the oldest first, as much as MOVE may have of it."""
    told: list[tuple[str, str, str]] = []
    left = MAX_SAID
    for said in reversed(room.history.messages()):
        stored = write_said(said)
        content = b64encode(stored.content).decode("ascii")
        left -= len(content) + len(stored.head) + 100
        if left < 0:
            break
        told.append((str(stored.at), stored.head.decode("ascii"), content))
    return tuple(reversed(told))


def read_history(told: Iterable[tuple[str, str, str]]) -> list[Said]:
    """What `write_history` wrote. Raises `ValueError`."""
    return [
        read_said(StoredMessage(float(at), head.encode(), b64decode(content)))
        for at, head, content in told
    ]


def take_over(
    arrivals: Arrivals,
    request: Request,
    expected: Callable[[Iterable[DialogRecord]], None] = lambda records: None,
) -> tuple[Response, list[DialogRecord]]:
    """Answer it; give the dialogs that are here now. `expected` is told first which may come."""
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
    try:
        said = read_history(changes.said)
    except ValueError as error:
        return request.response(400, f"said: {error}"), []
    origin = request.headers.get("Origin") or ""
    expected(records)
    refused = arrivals.take(room, state, coming.values(), origin, said)
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
