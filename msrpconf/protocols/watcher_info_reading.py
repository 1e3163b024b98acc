"""Reading watcher information documents, also those of other servers (RFC 3858 §4)."""

from __future__ import annotations

from attrs import frozen
from lxml import etree

from msrpconf.protocols.watcher_info import EVENTS, NAMESPACE, STATUSES, Watcher
from msrpconf.protocols.xml import XmlError, parse_xml

MAX_OCTETS = 16 * 1024 * 1024
"""Octets of a document; a watcher has some 150."""

MAX_VERSION = 2**32 - 1

_NAME = "watcher information document"


@frozen
class WatcherDocument:
    """A document: `state` is ``full`` or ``partial``, `watchers` are those of all its lists."""

    state: str
    version: int
    watchers: tuple[Watcher, ...]


def read_watchers(octets: bytes, package: str, limit: int = MAX_OCTETS) -> WatcherDocument:
    """Read a document of at most `limit` octets, of it what is about the event package `package`.

    Raises `XmlError`.
    """
    root = parse_xml(octets, _NAME, limit)
    if root.tag != f"{{{NAMESPACE}}}watcherinfo":
        raise XmlError(f"expected a {_NAME}, found the root element {root.tag!r:.100}")
    version = _number(root.get("version"))
    if version is None or version > MAX_VERSION:
        raise XmlError(f"the {_NAME} needs a version from 0 to {MAX_VERSION}")
    state = root.get("state", "")
    if state not in ("full", "partial"):
        raise XmlError(f"state must be full or partial, not {state!r:.40}")
    watchers = [
        _watcher(element)
        for each in root.iterchildren(f"{{{NAMESPACE}}}watcher-list")
        if each.get("package") == package
        for element in each.iterchildren(f"{{{NAMESPACE}}}watcher")
    ]
    return WatcherDocument(state, version, tuple(watchers))


def _watcher(element: etree._Element) -> Watcher:
    id_, status, event = (element.get(each) or "" for each in ("id", "status", "event"))
    if not id_:
        raise XmlError(f"a <watcher> of the {_NAME} has no id")
    if status not in STATUSES:
        raise XmlError(f"a status must be one of {', '.join(STATUSES)}, not {status!r:.40}")
    return Watcher(
        id_,
        str(element.xpath("string()")).strip(),
        status,
        # Others may have words of their own for that (RFC 3858 §4.2.2).
        event if event in EVENTS else "",
        element.get("display-name"),
        _number(element.get("duration-subscribed")),
        _number(element.get("expiration")),
    )


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None
