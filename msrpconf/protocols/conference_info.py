"""Conference-info documents: values, and the XML that tells them (RFC 4575, RFC 6501 §4.6.5).

A document is joined of elements, each made by itself: who keeps those that do not change
makes a document of a thousand users by joining octets. Whatever a peer called itself, the
document is well-formed, and valid by the schema of RFC 4575 §6.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import frozen

from msrpconf.protocols.xml_writing import escaped, escaped_uri

__all__ = [
    "ConferenceState",
    "Description",
    "Endpoint",
    "Execution",
    "Host",
    "Media",
    "MediaEntry",
    "UriEntry",
    "User",
]

CONFERENCE_INFO = "application/conference-info+xml"
"""The media type of the documents (RFC 4575 §9.2)."""

NAMESPACE = "urn:ietf:params:xml:ns:conference-info"

XCON_NAMESPACE = "urn:ietf:params:xml:ns:xcon-conference-info"
"""Of the attribute ``nickname`` of a user (RFC 6501, RFC 7701 §7.4)."""

MAX_VERSION = 2**32 - 1

PRESENT = frozenset(("connected", "on-hold", "muted-via-focus"))
"""The statuses of an endpoint that is in the conference (RFC 4575 §5.7.3)."""

ENDPOINT_STATUSES = PRESENT | {
    *("pending", "alerting", "dialing-in", "dialing-out"),
    *("disconnecting", "disconnected"),
}
JOINING_METHODS = frozenset(("dialed-in", "dialed-out", "focus-owner"))
DISCONNECTION_METHODS = frozenset(("departed", "booted", "failed", "busy"))
MEDIA_STATUSES = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))


@frozen
class Execution:
    """What was done: `when`, in seconds of the epoch, for what `reason`, and `by` whose URI."""

    when: float | None = None
    reason: str | None = None
    by: str | None = None


@frozen
class Media:
    """One stream of an endpoint (RFC 4575 §5.8); `status` is the participant's view."""

    id: str
    type: str | None = None
    label: str | None = None
    status: str | None = None
    display_text: str | None = None


@frozen
class Endpoint:
    """A device of a user in the conference, or on its way there or out (RFC 4575 §5.7).

    `status`, `joining_method` and `disconnection_method` are words of the schema.
    """

    entity: str
    status: str | None = None
    display_text: str | None = None
    referred: Execution | None = None
    joining_method: str | None = None
    joining_info: Execution | None = None
    disconnection_method: str | None = None
    disconnection_info: Execution | None = None
    media: tuple[Media, ...] = ()


@frozen
class User:
    """A user (RFC 4575 §5.6), known by the URI `entity`."""

    entity: str
    display_text: str | None = None
    nickname: str | None = None
    roles: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def is_present(self) -> bool:
        """Whether a device of theirs is in the conference; also one that is on hold, or muted."""
        # Servers that tell nothing of devices tell of who is in.
        return not self.endpoints or any(each.status in PRESENT for each in self.endpoints)


@frozen
class UriEntry:
    """A URI of the conference, and what it is for (RFC 4575 §5.3.1, §5.3.2)."""

    uri: str
    purpose: str | None = None
    display_text: str | None = None


@frozen
class MediaEntry:
    """A stream that a participant can have (RFC 4575 §5.3.4)."""

    label: str
    type: str
    status: str | None = None
    display_text: str | None = None


@frozen
class Description:
    """What a conference is (RFC 4575 §5.3)."""

    display_text: str | None = None
    subject: str | None = None
    free_text: str | None = None
    conf_uris: tuple[UriEntry, ...] = ()
    service_uris: tuple[UriEntry, ...] = ()
    maximum_user_count: int | None = None
    available_media: tuple[MediaEntry, ...] = ()


@frozen
class Host:
    """Who hosts a conference (RFC 4575 §5.4)."""

    display_text: str | None = None
    web_page: str | None = None
    uris: tuple[UriEntry, ...] = ()


@frozen
class ConferenceState:
    """How a conference is (RFC 4575 §5.5)."""

    user_count: int | None = None
    active: bool | None = None
    locked: bool | None = None


# Writing.


def document(uri: str, state: str, version: int, parts: Iterable[bytes] = ()) -> bytes:
    """A document of the conference `uri`; `parts` are elements in the order of the schema."""
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<conference-info xmlns="{NAMESPACE}" xmlns:xcon="{XCON_NAMESPACE}"'
        f' entity="{escaped_uri(uri)}" state="{state}" version="{version & MAX_VERSION}">\n'
    )
    return b"".join((head.encode(), *parts, b"</conference-info>\n"))


def users_element(elements: Iterable[bytes], state: str = "full") -> bytes:
    """The users whose `elements` these are."""
    return b"".join((f'<users state="{state}">\n'.encode(), *elements, b"</users>\n"))


def user_element(user: User) -> bytes:
    """All of one user."""
    attributes = f' entity="{escaped_uri(user.entity)}" state="full"'
    if user.nickname is not None:
        attributes += f' xcon:nickname="{escaped(user.nickname)}"'
    roles = "".join(_text("entry", role) for role in user.roles)
    inner = (
        _text("display-text", user.display_text),
        f"<roles>{roles}</roles>" if roles else "",
        *map(_endpoint, user.endpoints),
    )
    return f"<user{attributes}>{''.join(inner)}</user>\n".encode()


def deleted_user_element(entity: str) -> bytes:
    """One user less, in a partial document."""
    return f'<user entity="{escaped_uri(entity)}" state="deleted"/>\n'.encode()


def description_element(description: Description) -> bytes:
    """What the conference is; atomic, so all of it is told whenever any is."""
    media = "".join(
        f'<entry label="{escaped(each.label)}">{_text("display-text", each.display_text)}'
        f"{_text('type', each.type)}{_text('status', each.status)}</entry>"
        for each in description.available_media
    )
    maximum = description.maximum_user_count
    inner = (
        _text("display-text", description.display_text),
        _text("subject", description.subject),
        _text("free-text", description.free_text),
        _uris("conf-uris", description.conf_uris),
        _uris("service-uris", description.service_uris),
        _text("maximum-user-count", None if maximum is None else str(maximum)),
        f"<available-media>{media}</available-media>" if media else "",
    )
    return f"<conference-description>{''.join(inner)}</conference-description>\n".encode()


def host_element(host: Host) -> bytes:
    """Who hosts the conference; no octets where nothing is known of that."""
    page = host.web_page
    inner = (
        _text("display-text", host.display_text),
        "" if page is None else f"<web-page>{escaped_uri(page)}</web-page>",
        _uris("uris", host.uris),
    )
    return f"<host-info>{''.join(inner)}</host-info>\n".encode() if any(inner) else b""


def state_element(state: ConferenceState) -> bytes:
    """How the conference is."""
    count = state.user_count
    inner = (
        _text("user-count", None if count is None else str(count)),
        _text("active", _boolean(state.active)),
        _text("locked", _boolean(state.locked)),
    )
    return f"<conference-state>{''.join(inner)}</conference-state>\n".encode()


def _endpoint(endpoint: Endpoint) -> str:
    inner = (
        _text("display-text", endpoint.display_text),
        _execution("referred", endpoint.referred),
        _text("status", endpoint.status),
        _text("joining-method", endpoint.joining_method),
        _execution("joining-info", endpoint.joining_info),
        _text("disconnection-method", endpoint.disconnection_method),
        _execution("disconnection-info", endpoint.disconnection_info),
        *map(_media, endpoint.media),
    )
    entity = escaped(endpoint.entity)
    return f'<endpoint entity="{entity}" state="full">{"".join(inner)}</endpoint>'


def _media(media: Media) -> str:
    inner = (
        _text("display-text", media.display_text),
        _text("type", media.type),
        _text("label", media.label),
        _text("status", media.status),
    )
    return f'<media id="{escaped(media.id)}">{"".join(inner)}</media>'


def _execution(name: str, execution: Execution | None) -> str:
    if execution is None:
        return ""
    when, by = execution.when, execution.by
    inner = (
        _text("when", None if when is None else date_time(when)),
        _text("reason", execution.reason),
        "" if by is None else f"<by>{escaped_uri(by)}</by>",
    )
    return f"<{name}>{''.join(inner)}</{name}>"


def _uris(name: str, entries: tuple[UriEntry, ...]) -> str:
    inner = "".join(
        f"<entry><uri>{escaped_uri(each.uri)}</uri>{_text('display-text', each.display_text)}"
        f"{_text('purpose', each.purpose)}</entry>"
        for each in entries
    )
    return f"<{name}>{inner}</{name}>" if inner else ""


def date_time(seconds: float) -> str:
    """A time of the epoch, in seconds, as xs:dateTime in UTC: ``2026-11-23T09:00:00Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _boolean(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _text(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{escaped(text)}</{name}>"
