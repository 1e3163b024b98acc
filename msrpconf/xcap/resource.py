"""XCAP requests about the documents of rooms, and their answers (RFC 4825 §8); without HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol, TypeVar
from urllib.parse import quote

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from msrpconf.conference.identity import Identity
from msrpconf.conference.policy import may_edit_documents
from msrpconf.conference.room import Room
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.uri import parse_uri
from msrpconf.protocols.text import shown
from msrpconf.xcap.editing import delete_node, get_node, node_type, put_node
from msrpconf.xcap.errors import Conflict, Refused, not_found
from msrpconf.xcap.selector import SEPARATOR, NodeSelector
from msrpconf.xcap.store import MAX_DOCUMENT_URI, ROOT, Change, Stored, fits
from msrpconf.xcap.tree import TreeError
from msrpconf.xcap.usages import (
    CAPS,
    CAPS_NAMESPACE,
    CAPS_TYPE,
    USAGES,
    capabilities,
    check_document,
    validate,
)

T = TypeVar("T")

METHODS = ("GET", "HEAD", "PUT", "DELETE")

_READING = ("GET", "HEAD")
_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


@frozen
class XcapRequest:
    """A request. `segments` are those of the path below the root, without percent-encoding.

    Nor has the `query` any. The two conditions are the values of their headers, None for none.
    """

    method: str
    segments: tuple[str, ...]
    query: str = ""
    content_type: str = ""
    if_match: str | None = None
    if_none_match: str | None = None
    body: bytes = b""


@frozen
class XcapAnswer:
    """An answer; `etag` is without quotes, None where the document is not there any more."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    etag: str | None = None


@frozen
class Target:
    """What a request is about: a document at `uri`, or a node of it; None for no `room`."""

    uri: str
    media_type: str
    room: Room | None = None
    node: NodeSelector | None = None


class Documents(Protocol):
    """Where documents are: `RoomDocumentService`."""

    def get(self, uri: str) -> Deferred[Stored | None]:
        """A document, None for none."""

    def change(self, room: Room, uri: str, change: Change) -> Deferred[Stored | None]:
        """Put in the place of a document what `change` makes of it, all at once."""


class XcapResource:
    """Answers XCAP requests about `documents`; `room_of` finds a room by its key.

    Each request is first looked at with `find`, which says whether there is such a thing, then
    answered by `answer`, for who was authenticated meanwhile.
    """

    def __init__(self, room_of: Callable[[str], Room | None], documents: Documents) -> None:
        self._room_of = room_of
        self._documents = documents
        self._capabilities = capabilities()

    def find(self, request: XcapRequest) -> Target:
        """What a request is about. Raises `Refused`, and `Conflict`."""
        if request.method not in METHODS:
            raise _not_allowed(METHODS)
        path, node = _split(request.segments)
        auid = path[0] if path else ""
        if auid == CAPS:
            if path != (CAPS, "global", "index"):
                raise not_found(f"the one document of {CAPS} is {CAPS}/global/index")
            if request.method not in _READING:
                raise _not_allowed(_READING)
            uri, media_type, room, namespace = f"{ROOT}/{CAPS}", CAPS_TYPE, None, CAPS_NAMESPACE
        elif (usage := USAGES.get(auid)) is not None:
            room, name = self._room_and_name(path)
            uri = self._place(request, auid, room, name)
            media_type, namespace = usage.media_type, usage.default_namespace
        else:
            known = ", ".join((CAPS, *USAGES))
            raise not_found(f"no application usage {shown(auid)}: there are {known}")
        if node is None:
            return Target(uri, media_type, room)
        selector = NodeSelector.parse(node, request.query, namespace)
        if selector.namespaces and request.method not in _READING:
            raise _not_allowed(_READING)
        return Target(uri, media_type, room, selector)

    def answer(
        self, request: XcapRequest, target: Target, user: Identity | None
    ) -> Deferred[XcapAnswer]:
        """Do what a request asks for. `user` is who asks, None for the operator.

        Raises or fails with `Refused`, `Conflict`, `DatabaseError` or `NoSuchRoom`.
        """
        room = target.room
        if room is None:
            etag = sha256(self._capabilities).hexdigest()[:16]
            stored = Stored(target.uri, etag, self._capabilities)
            return succeed(_read(request, target, stored))
        if user is not None:
            denied = may_edit_documents(room, user)
            if denied is not None:
                raise Refused(403, denied.reason)
        if request.method in _READING:
            found = self._documents.get(target.uri)
            return found.addCallback(lambda stored: _read(request, target, stored))
        if request.method == "DELETE":
            return self._delete(request, target, room)
        return self._put(request, target, room)

    def _room_and_name(self, path: tuple[str, ...]) -> tuple[Room, tuple[str, ...]]:
        if len(path) < 3 or path[1] != "users":
            raise not_found("expected users/sip:room@domain/index after the application usage")
        key = _key(path[2])
        room = None if key is None else self._room_of(key)
        if room is None:
            raise not_found(f"there is no room {shown(path[2])}")
        if not fits(room.key):
            raise not_found("the URI of the room is too long for it to have documents")
        return room, path[3:]

    def _place(self, request: XcapRequest, auid: str, room: Room, name: tuple[str, ...]) -> str:
        if len(name) > 1 and request.method == "PUT":
            raise Conflict("no-parent", "there are no folders: write the document as index")
        if len(name) != 1 or not name[0]:
            raise not_found("the documents of a room have names, such as index, and no folders")
        file = quote(name[0], safe="!$&'()*+,;=:@")
        uri = f"{ROOT}/{auid}/users/{room.key}/{file}"
        if len(uri) > MAX_DOCUMENT_URI:
            raise not_found(f"the URI of a document may have {MAX_DOCUMENT_URI} characters")
        return uri

    def _put(self, request: XcapRequest, target: Target, room: Room) -> Deferred[XcapAnswer]:
        node = target.node
        expected = target.media_type if node is None else node_type(node)
        if request.content_type.partition(";")[0].strip().lower() != expected:
            raise Refused(415, f"Content-Type: expected {expected}")
        created = False

        def change(before: Stored | None) -> bytes:
            nonlocal created
            _check_conditions(request, before)
            if node is None:
                check_document(request.body)
                created = before is None
                document = request.body
            else:
                if before is None:
                    raise Conflict("no-parent", "there is no such document: write it first")
                document, created = _edited(before, lambda old: put_node(old, node, request.body))
            validate(document)
            return document

        done = self._documents.change(room, target.uri, change)
        return done.addCallback(lambda stored: _written(stored, 201 if created else 200))

    def _delete(self, request: XcapRequest, target: Target, room: Room) -> Deferred[XcapAnswer]:
        node = target.node

        def change(before: Stored | None) -> bytes | None:
            _check_conditions(request, before)
            if before is None:
                raise not_found("there is no such document")
            if node is None:
                return None
            document = _edited(before, lambda old: delete_node(old, node))
            validate(document)
            return document

        done = self._documents.change(room, target.uri, change)
        return done.addCallback(lambda stored: _written(stored, 200))


def _edited(before: Stored, edit: Callable[[bytes], T]) -> T:
    try:
        return edit(before.document)
    except TreeError as error:
        raise Conflict("no-parent", f"the document cannot be read: {error}") from None


def _read(request: XcapRequest, target: Target, stored: Stored | None) -> XcapAnswer:
    if stored is None:
        raise not_found("there is no such document")
    body, media_type = stored.document, target.media_type
    if target.node is not None:
        try:
            body = get_node(stored.document, target.node)
        except TreeError as error:
            raise not_found(f"the document cannot be read: {error}") from None
        media_type = node_type(target.node)
    if request.if_match is not None and not _matches(request.if_match, stored, weak=False):
        raise _changed()
    if request.if_none_match is not None and _matches(request.if_none_match, stored, weak=True):
        return XcapAnswer(304, etag=stored.etag)
    return XcapAnswer(200, body, media_type, stored.etag)


def _written(stored: Stored | None, status: int) -> XcapAnswer:
    return XcapAnswer(status, etag=None if stored is None else stored.etag)


def _check_conditions(request: XcapRequest, before: Stored | None) -> None:
    """The conditions on a change (RFC 4825 §8.2.6): of a node, those on its document."""
    if request.if_match is not None and not _matches(request.if_match, before, weak=False):
        raise _changed()
    if request.if_none_match is not None and _matches(request.if_none_match, before, weak=True):
        raise Refused(412, "If-None-Match: the document is there as that says it must not be")


def _changed() -> Refused:
    return Refused(412, "If-Match: the document has changed: fetch it again")


def _matches(header: str, stored: Stored | None, *, weak: bool) -> bool:
    if stored is None:
        return False
    if header.strip() == "*":
        return True
    return any(
        tag == stored.etag and (weak or not is_weak) for is_weak, tag in _TAG.findall(header)
    )


def _split(segments: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The document selector, and the node selector, None for none (RFC 4825 §6)."""
    if SEPARATOR not in segments:
        return segments, None
    place = segments.index(SEPARATOR)
    return segments[:place], "/".join(segments[place + 1 :])


def _key(xui: str) -> str | None:
    """The key of a room by the XUI, which may be without the scheme."""
    text = xui if xui.lower().startswith(("sip:", "sips:")) else f"sip:{xui}"
    try:
        return parse_uri(text).key
    except SipSyntaxError:
        return None


def _not_allowed(methods: tuple[str, ...]) -> Refused:
    return Refused(
        405, f"the methods here are {', '.join(methods)}", (("Allow", ", ".join(methods)),)
    )
