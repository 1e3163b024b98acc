"""What can be asked of a server: router and OpenAPI description are made from this table."""

from __future__ import annotations

from attrs import frozen

from msrpconf.services.draining import MAX_DEADLINE
from msrpconf.services.management.schemas import MAX_LIMIT, SCHEMAS, Schema, text


@frozen
class Query:
    """A parameter of the query: its schema, and the value where it is left out."""

    name: str
    schema: Schema
    default: object = None


@frozen
class Operation:
    """One thing that can be asked for: `id` is the name of the function that does it.

    `body` and `answer` are names of schemas; `status` is that of success; `errors` are those
    besides what every operation may answer. `open` needs no token.
    """

    id: str
    method: str
    path: str
    summary: str
    answer: str | None = None
    body: str | None = None
    status: int = 200
    query: tuple[Query, ...] = ()
    errors: tuple[int, ...] = ()
    open: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.removeprefix("/").split("/"))


@frozen
class Interface:
    """All that can be asked of one kind of process; `about` says what it is about.

    `elsewhere` has beginnings of paths that other kinds of process serve, and says which.
    """

    operations: tuple[Operation, ...]
    schemas: dict[str, Schema]
    about: str
    elsewhere: tuple[tuple[str, str], ...] = ()


LIMIT = Query(
    "limit",
    {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LIMIT,
        "default": 100,
        "description": "items on one page",
    },
    100,
)
AFTER = Query("after", text("`next` of the page before", maxLength=1000))

DEADLINE = Query(
    "deadline",
    {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_DEADLINE,
        "description": "seconds after which rooms end, or go to other servers; else never",
    },
)

COMMON = (
    Operation("index", "GET", "/", "What there is", "Index"),
    Operation("openapi", "GET", "/openapi.json", "This description", "OpenAPI"),
    Operation("healthz", "GET", "/healthz", "Whether the process answers", "Health", open=True),
    Operation(
        "readyz",
        "GET",
        "/readyz",
        "Whether people are taken in: it listens, has its database, and is not draining",
        "Health",
        errors=(503,),
        open=True,
    ),
    Operation("metrics", "GET", "/metrics", "Metrics for Prometheus"),
    Operation(
        "reload",
        "POST",
        "/v1/reload",
        "Read the configuration and the static rooms again",
        "Reloaded",
        errors=(409, 503),
    ),
)
"""What every process answers that is managed."""

_ROOM = "/v1/rooms/{room}"

OPERATIONS = (
    *COMMON,
    Operation("status", "GET", "/v1/status", "The server at a glance", "Status"),
    Operation(
        "drain",
        "PUT",
        "/v1/drain",
        "Take nobody new in; who is in stays",
        "Drain",
        query=(DEADLINE,),
    ),
    Operation("undrain", "DELETE", "/v1/drain", "Take people in again", "Drain"),
    Operation("drained", "GET", "/v1/drain", "How many are still in", "Drain"),
    Operation(
        "rooms",
        "GET",
        "/v1/rooms",
        "The rooms, by their URIs",
        "Rooms",
        query=(
            Query("match", text("a part of the URI or of the subject", maxLength=255)),
            Query(
                "kind",
                {
                    "type": "string",
                    "enum": ["all", "static", "ad-hoc", "occupied"],
                    "default": "all",
                    "description": "which rooms",
                },
                "all",
            ),
            LIMIT,
            AFTER,
        ),
    ),
    Operation(
        "create_room",
        "POST",
        "/v1/rooms",
        "Set up a static room; an ad-hoc room of that URI becomes it",
        "Room",
        "NewRoom",
        201,
        errors=(409, 422, 503),
    ),
    Operation("room", "GET", _ROOM, "One room", "Room", errors=(404,)),
    Operation(
        "change_room",
        "PATCH",
        _ROOM,
        "Change a room; of one that nobody has set up, while it is there",
        "Room",
        "RoomChange",
        errors=(404, 409, 422, 503),
    ),
    Operation(
        "delete_room",
        "DELETE",
        _ROOM,
        "End a room: everybody in it is sent out, a static one is forgotten with its history",
        "Removed",
        errors=(404, 409, 503),
    ),
    Operation(
        "participants",
        "GET",
        f"{_ROOM}/participants",
        "Who is in a room, in the order of coming",
        "Participants",
        query=(LIMIT, AFTER),
        errors=(404,),
    ),
    Operation(
        "close_room",
        "DELETE",
        f"{_ROOM}/participants",
        "Send everybody out; a static room remains",
        "Removed",
        errors=(404,),
    ),
    Operation(
        "participant",
        "GET",
        f"{_ROOM}/participants/{{who}}",
        "The devices of a user, or one by its id",
        "Participants",
        errors=(404,),
    ),
    Operation(
        "remove_participant",
        "DELETE",
        f"{_ROOM}/participants/{{who}}",
        "Send a user out on all devices, or one device by its id",
        "Removed",
        errors=(404,),
    ),
    Operation(
        "user",
        "GET",
        f"{_ROOM}/users/{{user}}",
        "What a user is in a room, who need not be in it",
        "User",
        errors=(404, 422),
    ),
    Operation(
        "change_user",
        "PATCH",
        f"{_ROOM}/users/{{user}}",
        "Give a user a role, ban, mute; of a static room, roles are kept",
        "User",
        "UserChange",
        errors=(404, 409, 422, 503),
    ),
    Operation(
        "watchers",
        "GET",
        f"{_ROOM}/watchers",
        "Who watches a room, or asks to; first those who have gone undecided",
        "Watchers",
        query=(LIMIT, AFTER),
        errors=(404, 409),
    ),
    Operation(
        "decide_watcher",
        "PATCH",
        f"{_ROOM}/watchers/{{user}}",
        "Let a user watch a room, or not: it is written into the room's pres-rules documents",
        "WatcherDecided",
        "WatcherDecision",
        errors=(404, 409, 422, 503),
    ),
    Operation(
        "invitations",
        "GET",
        f"{_ROOM}/invitations",
        "Who was asked into a room, and what came of it",
        "Invitations",
        errors=(404,),
    ),
    Operation(
        "invite",
        "POST",
        f"{_ROOM}/invitations",
        "Ask people into a room, in its name",
        "Invited",
        "Invite",
        202,
        errors=(404, 422),
    ),
    Operation(
        "announce",
        "POST",
        f"{_ROOM}/announcements",
        "Say something in a room's name",
        "Announced",
        "Announcement",
        errors=(404, 422),
    ),
    Operation(
        "history",
        "GET",
        f"{_ROOM}/history",
        "What was said, the oldest first: the last `limit` messages",
        "History",
        query=(LIMIT,),
        errors=(404,),
    ),
    Operation(
        "clear_history",
        "DELETE",
        f"{_ROOM}/history",
        "Forget what was said",
        status=204,
        errors=(404, 503),
    ),
)

SERVER = Interface(
    OPERATIONS,
    SCHEMAS,
    "Rooms, who is in them, and the server that they are on.",
    (
        (
            "/v1/dispatcher/",
            "there is no dispatcher here: ask beside the one that you mean",
        ),
    ),
)
