"""What can be asked of a dispatcher: its servers, and which of them has which room."""

from __future__ import annotations

from msrpconf.services.management.operations import (
    AFTER,
    COMMON,
    DEADLINE,
    LIMIT,
    Interface,
    Operation,
    Query,
)
from msrpconf.services.management.schemas import (
    FLAG,
    SCHEMAS,
    TIME,
    Schema,
    array,
    count,
    nullable,
    obj,
    ref,
    text,
    whole,
)
from msrpconf.services.servers_seen import STATES

_SERVERS = "/v1/dispatcher/servers"

OPERATIONS = (
    *COMMON,
    Operation("status", "GET", "/v1/status", "The dispatcher at a glance", "DispatcherStatus"),
    Operation("servers", "GET", _SERVERS, "The servers, by their names", "Servers"),
    Operation("server", "GET", f"{_SERVERS}/{{server}}", "One server", "Server", errors=(404,)),
    Operation(
        "drain_server",
        "PUT",
        f"{_SERVERS}/{{server}}/drain",
        "Have a server take nobody new in; who is in stays",
        "Server",
        query=(DEADLINE,),
        errors=(404, 409, 503),
    ),
    Operation(
        "undrain_server",
        "DELETE",
        f"{_SERVERS}/{{server}}/drain",
        "Have a server take people in again",
        "Server",
        errors=(404, 409, 503),
    ),
    Operation(
        "placed_rooms",
        "GET",
        "/v1/dispatcher/rooms",
        "The rooms that live, by their URIs, each with its server",
        "PlacedRooms",
        query=(
            Query("server", text("only those of this server", maxLength=255)),
            Query("match", text("a part of the URI", maxLength=255)),
            LIMIT,
            AFTER,
        ),
        errors=(404,),
    ),
)

_SERVER: dict[str, Schema] = {
    "name": nullable(text("[server] name; null where none was ever connected")),
    "address": nullable(
        text("where it is wanted; null for one in whose place there is another", maxLength=255)
    ),
    "state": text(
        "connecting: never had a link; lost: away, and may come back with its rooms; given up:"
        " its calls were sent a BYE",
        enum=list(STATES),
    ),
    "since": {
        **nullable(TIME),
        "description": "when the link came up, or was lost, or was first wanted",
    },
    "draining": {**FLAG, "description": "whether it takes no new rooms"},
    "capacity": count("rooms that it takes, which is its weight in placement"),
    "rooms": count("that live there"),
    "dialogs": count("calls and file sessions there"),
    "waiting": count("requests to it that have no answer yet"),
    "handling": count("requests of its own that have no answer yet"),
    "queued_octets": count("wait because it does not read"),
    "pinged": {**nullable(TIME), "description": "when it last answered PING"},
    "round_trip": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "seconds that it took to answer",
    },
    "error": nullable(text("why there was no link the last time")),
    "error_at": nullable(TIME),
    "connects": count("links that there were, since the start"),
    "octets_in": count("received, since the start"),
    "octets_out": count("written, since the start"),
}

_SCHEMAS: dict[str, Schema] = {
    **{name: SCHEMAS[name] for name in ("Problem", "Health", "Reloaded")},
    "DispatcherStatus": whole(
        version={"type": "string"},
        dispatcher=text("[dispatcher] name"),
        ready=FLAG,
        reasons=array(text("why it is not ready")),
        since=TIME,
        uptime={"type": "number", "description": "seconds"},
        listening=array(text("what listens where", examples=["sip udp:127.0.0.1:5060"])),
        servers=whole(
            total=count("all"), connected=count("with a link"), draining=count("of those")
        ),
        rooms=count("that live, on all servers"),
        dialogs=count("calls and file sessions, on all servers"),
        focuses=nullable(
            array(text("[focus] name of one that is connected; null where it is in this process"))
        ),
        given_up=count("servers that did not come back in time, since the start"),
    ),
    "Server": whole(**_SERVER),
    "Servers": whole(servers=array(ref("Server"))),
    "PlacedRoom": whole(
        uri=text("the room's canonical URI"),
        server=text("the name of its server"),
        connected={**FLAG, "description": "whether the server can be asked"},
        dialogs=count("calls and file sessions in it"),
    ),
    "PlacedRooms": obj(
        {
            "rooms": array(ref("PlacedRoom")),
            "total": count("rooms that match, on all pages"),
            "next": nullable(text("the value of `after` for the next page; null on the last")),
        },
        "rooms",
        "total",
        "next",
    ),
}

DISPATCHER = Interface(
    OPERATIONS,
    _SCHEMAS,
    "The servers that a dispatcher connects to, and which has which room.",
    (
        (
            "/v1/rooms",
            "rooms and who is in them are managed beside their server: /v1/dispatcher/rooms, or"
            " msrpconf server rooms, says which that is",
        ),
        ("/v1/drain", "it is servers that are drained: msrpconf server drain NAME"),
    ),
)
