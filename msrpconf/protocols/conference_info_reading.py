"""Reading conference-info documents, also those of other servers (RFC 4575 §4, §5).

What is read is what `conference_info` has values for; the rest of a document is skipped, as
extensions are meant to be. A document that is not one is a `XmlError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from attrs import frozen
from lxml import etree

from msrpconf.protocols.conference_info import (
    DISCONNECTION_METHODS,
    ENDPOINT_STATUSES,
    JOINING_METHODS,
    MAX_VERSION,
    MEDIA_STATUSES,
    NAMESPACE,
    XCON_NAMESPACE,
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    Host,
    Media,
    MediaEntry,
    UriEntry,
    User,
)
from msrpconf.protocols.xml import XmlError, parse_xml

MAX_OCTETS = 16 * 1024 * 1024
"""Octets of a document; one of a thousand users has some 600,000."""

_NAME = "conference-info document"
_NICKNAME = f"{{{XCON_NAMESPACE}}}nickname"
_PREFIX = f"{{{NAMESPACE}}}"
_LENGTH = len(_PREFIX)
_STATES = frozenset(("full", "partial", "deleted"))


@frozen
class UserPart:
    """A <user> of a document: its `state`, and those of the endpoints of `user`, in their order."""

    user: User
    state: str
    endpoint_states: tuple[str, ...]


@frozen
class UsersPart:
    """A <users> of a document."""

    state: str
    users: tuple[UserPart, ...]


@frozen
class Document:
    """A document: what it does not mention is None."""

    uri: str
    state: str
    version: int
    description: Description | None = None
    host: Host | None = None
    conference_state: ConferenceState | None = None
    users: UsersPart | None = None


def read_document(octets: bytes, limit: int = MAX_OCTETS) -> Document:
    """Read a document of at most `limit` octets. Raises `XmlError`."""
    root = parse_xml(octets, _NAME, limit)
    if root.tag != f"{{{NAMESPACE}}}conference-info":
        raise XmlError(f"expected a {_NAME}, found the root element {root.tag!r:.100}")
    version = root.get("version", "")
    if not (version.isascii() and version.isdigit()) or int(version[:11]) > MAX_VERSION:
        raise XmlError(f"the {_NAME} needs a version from 0 to {MAX_VERSION}: {version!r:.40}")
    description = _child(root, "conference-description")
    host = _child(root, "host-info")
    state = _child(root, "conference-state")
    users = _child(root, "users")
    return Document(
        _entity(root),
        _state(root),
        int(version),
        None if description is None else _description(description),
        None if host is None else _host(host),
        None if state is None else _conference_state(state),
        None if users is None else UsersPart(_state(users), tuple(_users(users))),
    )


_Parts = dict[str, list[etree._Element]]
"""The children of an element, by their names: it is looked through once, and not for each."""


def _parts(element: etree._Element) -> _Parts:
    parts: _Parts = {}
    for each in element:
        tag = each.tag
        if isinstance(tag, str) and tag.startswith(_PREFIX):
            parts.setdefault(tag[_LENGTH:], []).append(each)
    return parts


def _users(users: etree._Element) -> Iterator[UserPart]:
    for user in _children(users, "user"):
        parts = _parts(user)
        endpoints = parts.get("endpoint", ())
        roles = [entry for each in parts.get("roles", ()) for entry in _children(each, "entry")]
        value = User(
            _entity(user),
            _first(parts, "display-text"),
            user.get(_NICKNAME),
            tuple(map(_content, roles)),
            tuple(map(_endpoint, endpoints)),
        )
        yield UserPart(value, _state(user), tuple(map(_state, endpoints)))


def _endpoint(element: etree._Element) -> Endpoint:
    parts = _parts(element)
    return Endpoint(
        _entity(element),
        status=_word(parts, "status", ENDPOINT_STATUSES),
        display_text=_first(parts, "display-text"),
        referred=_execution(parts, "referred"),
        joining_method=_word(parts, "joining-method", JOINING_METHODS),
        joining_info=_execution(parts, "joining-info"),
        disconnection_method=_word(parts, "disconnection-method", DISCONNECTION_METHODS),
        disconnection_info=_execution(parts, "disconnection-info"),
        media=tuple(map(_media, parts.get("media", ()))),
    )


def _media(element: etree._Element) -> Media:
    parts = _parts(element)
    return Media(
        element.get("id", ""),
        _first(parts, "type"),
        _first(parts, "label"),
        _word(parts, "status", MEDIA_STATUSES),
        _first(parts, "display-text"),
    )


def _description(element: etree._Element) -> Description:
    media = _child(element, "available-media")
    return Description(
        _text(element, "display-text"),
        _text(element, "subject"),
        _text(element, "free-text"),
        _uris(element, "conf-uris"),
        _uris(element, "service-uris"),
        _number(element, "maximum-user-count"),
        ()
        if media is None
        else tuple(
            MediaEntry(
                each.get("label", ""),
                _text(each, "type") or "",
                _word(_parts(each), "status", MEDIA_STATUSES),
                _text(each, "display-text"),
            )
            for each in _children(media, "entry")
        ),
    )


def _host(element: etree._Element) -> Host:
    return Host(_text(element, "display-text"), _text(element, "web-page"), _uris(element, "uris"))


def _conference_state(element: etree._Element) -> ConferenceState:
    return ConferenceState(
        _number(element, "user-count"), _boolean(element, "active"), _boolean(element, "locked")
    )


def _uris(element: etree._Element, name: str) -> tuple[UriEntry, ...]:
    uris = _child(element, name)
    if uris is None:
        return ()
    return tuple(
        UriEntry(_text(each, "uri") or "", _text(each, "purpose"), _text(each, "display-text"))
        for each in _children(uris, "entry")
    )


def _execution(parts: _Parts, name: str) -> Execution | None:
    found = parts.get(name)
    if found is None:
        return None
    inside = _parts(found[0])
    when, reason, by = (_first(inside, each) for each in ("when", "reason", "by"))
    return Execution(_seconds(when), reason, by)


def _seconds(text: str | None) -> float | None:
    try:
        found = None if text is None else datetime.fromisoformat(text.strip())
        if found is None:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _state(element: etree._Element) -> str:
    state = element.get("state", "full")
    if state not in _STATES:
        raise XmlError(f"state must be full, partial or deleted, not {state!r:.40}")
    return state


def _entity(element: etree._Element) -> str:
    entity = element.get("entity")
    if not entity:
        name = etree.QName(element).localname
        raise XmlError(f"a <{name}> of the {_NAME} has no entity")
    return entity


def _child(element: etree._Element, name: str) -> etree._Element | None:
    return element.find(f"{{{NAMESPACE}}}{name}")


def _children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return element.iterchildren(f"{{{NAMESPACE}}}{name}")


def _content(element: etree._Element) -> str:
    # Comments may stand in the midst of text, and are none of it.
    return str(element.xpath("string()")) if len(element) else element.text or ""


def _text(element: etree._Element, name: str) -> str | None:
    found = _child(element, name)
    return None if found is None else _content(found)


def _first(parts: _Parts, name: str) -> str | None:
    found = parts.get(name)
    return None if found is None else _content(found[0])


def _word(parts: _Parts, name: str, words: frozenset[str]) -> str | None:
    """One of the words that the schema has; another is as good as none."""
    text = (_first(parts, name) or "").strip()
    return text if text in words else None


def _number(element: etree._Element, name: str) -> int | None:
    text = (_text(element, name) or "").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return min(int(text), MAX_VERSION)


def _boolean(element: etree._Element, name: str) -> bool | None:
    text = (_text(element, name) or "").strip()
    return {"true": True, "1": True, "false": False, "0": False}.get(text)
