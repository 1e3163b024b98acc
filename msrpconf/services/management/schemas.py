"""The JSON of requests and answers, as JSON Schema: what is served is what is enforced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import fields

from msrpconf import config_values as values
from msrpconf.conference.operating import MAX_ANNOUNCEMENT
from msrpconf.conference.participant import State
from msrpconf.conference.roles import Role
from msrpconf.conference.settings import RoomSettings
from msrpconf.conference.static import MAX_LINE, MAX_TEXT, MAX_URI
from msrpconf.config import ConferenceConfig
from msrpconf.protocols.watcher_info import EVENTS

Schema = dict[str, Any]

MAX_USERS = 10000
"""Users in one list of a room."""

MAX_INVITED = 1000
"""Users in one request to invite."""

MAX_LIMIT = 1000
"""Items on one page of a list."""


def obj(properties: dict[str, Schema], *required: str, description: str = "") -> Schema:
    """An object of these properties and no others."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {**schema, "description": description} if description else schema


def whole(*names: str, **properties: Schema) -> Schema:
    """An object that has all of these properties, and no others."""
    return obj(properties, *(names or properties))


def array(items: Schema, **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def text(description: str, **more: object) -> Schema:
    """A string."""
    return {"type": "string", "description": description, **more}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def count(description: str) -> Schema:
    """How many."""
    return {"type": "integer", "minimum": 0, "description": description}


TIME = text("when, in UTC", format="date-time")
ROLE = text("what the user is in the room", enum=[role.text for role in Role])
OTHERS = text("what users without a role are", enum=["participant", "visitor"])
URI = text(
    "a URI; sip: may be left out",
    minLength=1,
    maxLength=MAX_URI,
    examples=["sip:lobby@example.com"],
)
FLAG: Schema = {"type": "boolean"}
USERS: Schema = {
    "type": "object",
    "description": "roles by users' URIs; *@example.com is everybody of a domain",
    "propertyNames": {"minLength": 1, "maxLength": MAX_URI},
    "maxProperties": MAX_USERS,
}

# What the readers of the configuration's keys take, as JSON Schema can say it.
_READ: dict[Callable[[object], object], Schema] = {
    values.boolean: FLAG,
    values.count: {"type": "integer", "minimum": 1},
    values.count_or_none: {"type": "integer", "minimum": 0},
    values.seconds: {"type": "number", "exclusiveMinimum": 0},
    values.rate: {"type": "number", "minimum": 0},
    values.line: {"type": "string", "maxLength": values.MAX_LINE},
    values.page: {"type": "string", "maxLength": values.MAX_LINE, "pattern": "^(https?://.+)?$"},
    values.role: {"type": "string", "enum": [role.text for role in Role if role]},
}


def _settings() -> dict[str, Schema]:
    names = {each.name for each in fields(RoomSettings)}
    strings = array({"type": "string", "minLength": 1}, uniqueItems=True)
    return {
        each.name: _READ.get(each.metadata["read"], strings)
        for each in fields(ConferenceConfig)
        if each.name in names
    }


SETTINGS = _settings()

_TEXTS = {
    "subject": text("what is talked about", maxLength=MAX_LINE),
    "display_text": text("what the room is called", maxLength=MAX_LINE),
    "free_text": text("what the room is for", maxLength=MAX_TEXT),
}
_ACCESS = {
    "others": OTHERS,
    "members_only": {**FLAG, "description": "only users with a role get in"},
    "locked": {**FLAG, "description": "nobody new gets in but moderators and owners"},
}

_SUMMARY = {
    "uri": text("the room's URI"),
    "static": {**FLAG, "description": "whether an operator has set it up"},
    "subject": text("what is talked about; may be empty"),
    "participants": count("devices in the room"),
    "members_only": FLAG,
    "locked": FLAG,
    "messages": count("said to all, since the room is there"),
    "private_messages": count("said to one"),
    "undelivered": count("copies that did not reach their recipients"),
}

_PARTICIPANT = {
    "id": text("names this device: the To tag of its dialog"),
    "user": text("the user's canonical URI, also of who is anonymous to others"),
    "uri": text("the URI that the others see"),
    "display_name": nullable(text("the name that the client gave")),
    "nickname": nullable(text("the nickname in use")),
    "anonymous": FLAG,
    "state": text("how far it is in the room", enum=[state.value for state in State]),
    "role": ROLE,
    "muted": {**FLAG, "description": "whether it has no voice, for whatever reason"},
    "connected": {**FLAG, "description": "whether it has an MSRP connection"},
    "congested": {**FLAG, "description": "whether it does not read what it is sent"},
    "queued_octets": count("wait to be sent to it"),
    "sent_octets": count("were sent to it"),
    "call_id": text("the Call-ID of its dialog, as in the log"),
}

SCHEMAS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": text("what is wrong, and what would be right"),
        },
        "required": ["type", "title", "status", "detail"],
    },
    "RoomSummary": whole(**_SUMMARY),
    "Rooms": obj(
        {
            "rooms": array(ref("RoomSummary")),
            "total": count("rooms that match, on all pages"),
            "next": nullable(text("the value of `after` for the next page; null on the last")),
        },
        "rooms",
        "total",
        "next",
    ),
    "Room": whole(
        **_SUMMARY,
        display_text={"type": "string"},
        free_text={"type": "string"},
        others=OTHERS,
        users={**USERS, "additionalProperties": ROLE},
        muted=array({"type": "string"}),
        invitations=count("open"),
        history=count("messages that who joins is sent"),
        settings=obj(SETTINGS, *SETTINGS, description="those in force"),
        overrides=obj(SETTINGS, description="those that the room's record has"),
        created=nullable(TIME),
        changed=nullable(TIME),
        revision=nullable(
            {"type": "integer", "description": "of the record; another when changed"}
        ),
    ),
    "NewRoom": obj(
        {
            "uri": URI,
            **_TEXTS,
            **_ACCESS,
            "users": {**USERS, "additionalProperties": ROLE},
            "settings": obj(SETTINGS, description="those that differ from [conference]"),
        },
        "uri",
    ),
    "RoomChange": {
        **obj(
            {
                **{name: nullable(schema) for name, schema in _TEXTS.items()},
                **_ACCESS,
                "users": {**USERS, "additionalProperties": nullable(ROLE)},
                "settings": obj({name: nullable(schema) for name, schema in SETTINGS.items()}),
                "revision": {
                    "type": "integer",
                    "description": "change the room only if it has this revision still",
                },
            },
            description="what is left out stays as it is; null takes it away (RFC 7396)",
        ),
        "minProperties": 1,
    },
    "Participant": whole(**_PARTICIPANT),
    "Participants": obj(
        {
            "participants": array(ref("Participant")),
            "total": count("participants in the room"),
            "next": nullable(text("the value of `after` for the next page; null on the last")),
        },
        "participants",
        "total",
        "next",
    ),
    "User": whole(
        user=text("the canonical URI"),
        role=nullable(ROLE),
        muted=FLAG,
        participants=count("devices of the user in the room"),
    ),
    "UserChange": {
        **obj(
            {
                "role": nullable(
                    {
                        **ROLE,
                        "description": "moderator, owner, member, …; banned sends the user out;"
                        " null takes the role away",
                    }
                ),
                "muted": {**FLAG, "description": "holds while the room is there"},
            }
        ),
        "minProperties": 1,
    },
    "Watcher": whole(
        id=text("names this subscription, as conference.winfo does"),
        user=text("the user's canonical URI, also of who is anonymous to others"),
        uri=text("the URI that owners see"),
        display_name=nullable(text("the name that the client gave")),
        anonymous=FLAG,
        status={"type": "string", "enum": ["pending", "active", "waiting"]},
        event={
            "type": "string",
            "enum": list(EVENTS),
            "description": "what brought it into that status (RFC 3857)",
        },
        duration=count("seconds since it began"),
        expires_in=nullable(count("seconds until it ends; null for who waits")),
    ),
    "Watchers": obj(
        {
            "watchers": array(ref("Watcher")),
            "total": count("those who watch the room, or ask to"),
            "next": nullable(text("the value of `after` for the next page; null on the last")),
        },
        "watchers",
        "total",
        "next",
    ),
    "WatcherDecision": obj(
        {"allowed": {**FLAG, "description": "whether the user may watch"}}, "allowed"
    ),
    "WatcherDecided": whole(
        user=text("the canonical URI"),
        handling={
            "type": "string",
            "enum": ["block", "confirm", "polite-block", "allow"],
            "description": "what the room's documents say now",
        },
        barred=nullable(text("why the room itself does not let the user watch, whatever they say")),
    ),
    "Removed": whole(removed=count("participants that were sent a BYE")),
    "Invite": obj(
        {"users": array(URI, minItems=1, maxItems=MAX_INVITED)},
        "users",
    ),
    "Invited": whole(invited=array({"type": "string"})),
    "Invitation": whole(
        user={"type": "string"},
        by=text("who has asked for it"),
        state={"type": "string", "enum": ["dialing-out", "pending", "joined", "failed"]},
        outcome=text("the last that was heard, as a SIP status line"),
        since=TIME,
        changed=TIME,
    ),
    "Invitations": whole(invitations=array(ref("Invitation"))),
    "Announcement": obj(
        {"text": text("what the room says", minLength=1, maxLength=MAX_ANNOUNCEMENT)}, "text"
    ),
    "Announced": whole(recipients=count("devices that it was sent to")),
    "Message": whole(
        **{
            "from": text("the URI of who said it, as the others see it"),
            "name": nullable({"type": "string"}),
            "at": TIME,
            "content_type": {"type": "string"},
            "octets": count("of the content"),
            "text": nullable(text("the content, where it is text")),
        }
    ),
    "History": whole(messages=array(ref("Message")), total=count("messages that are kept")),
    "Drain": whole(
        draining={**FLAG, "description": "whether nobody new is taken in"},
        deadline={
            **nullable(TIME),
            "description": "when rooms end that are there still, or go to other servers",
        },
        kept={**FLAG, "description": "whether that goes on after a restart"},
        rooms=count("rooms in which somebody is"),
        participants=count("devices that are in a room still"),
    ),
    "Reloaded": whole(
        changed=array(text("a key whose new value holds now, as sip.trusted")),
        restart=array(text("a key whose new value needs a restart")),
        static_rooms=count("static rooms"),
    ),
    "Status": whole(
        version={"type": "string"},
        server=text("[server] name"),
        ready=FLAG,
        reasons=array(text("why it is not ready")),
        draining=FLAG,
        since=TIME,
        uptime={"type": "number", "description": "seconds"},
        listening=array(text("what listens where", examples=["sip udp:127.0.0.1:5060"])),
        database=nullable(text("the database in use, without its password; null for none")),
        rooms=whole(total=count("all"), static=count("set up"), occupied=count("with somebody in")),
        participants=whole(
            total=count("devices"), joined=count("in"), congested=count("not reading")
        ),
        messages=count("said to all, since the start"),
        private_messages=count("said to one, since the start"),
        undelivered=count("copies lost, since the start"),
        octets_in=count("of MSRP received, since the start"),
        octets_out=count("of MSRP written, since the start"),
    ),
    "Health": whole(status=text("ok, or why not"), reasons=array({"type": "string"})),
}
