"""Lists of people in requests: who shall be invited, who removed (RFC 5363, RFC 5366, RFC 5368)."""

from __future__ import annotations

from msrpconf.protocols.multipart import MultipartError, Part, find_by_content_id, parse_multipart
from msrpconf.protocols.resource_lists import (
    RECIPIENT_LIST,
    RESOURCE_LISTS,
    ResourceListError,
    parse_resource_lists,
)
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.message import Message
from msrpconf.protocols.sip.refer import ReferTo
from msrpconf.protocols.sip.uri import parse_uri


def recipients_in(message: Message, limit: int, content_id: str | None = None) -> list[ReferTo]:
    """Whom the list in a message's body names, `limit` at most; empty where it has none.

    `content_id` is the cid: URL of the list that is meant; without one it is the
    list whose disposition is recipient-list. Raises `ResourceListError`, whose text
    is for a 400.
    """
    document = _find(_parts(message), content_id)
    if document is None:
        return []
    recipients = []
    for entry in parse_resource_lists(document, limit):
        try:
            address = NameAddr(parse_uri(entry.uri), entry.display_name)
            recipients.append(ReferTo.of(address))
        except SipSyntaxError as error:
            raise ResourceListError(f"an <entry> of the list: {error.reason}") from None
    return recipients


def _parts(message: Message) -> list[Part]:
    content_type = message.content_type
    if not message.body or content_type is None:
        return []
    if content_type.type == "multipart":
        try:
            return parse_multipart(message.body, content_type)
        except MultipartError as error:
            raise ResourceListError(str(error)) from None
    named = ("Content-ID", "Content-Disposition")
    headers = tuple((name, value) for name in named for value in message.headers.get_all(name)[:1])
    return [Part(content_type, message.body, headers)]


def _find(parts: list[Part], content_id: str | None) -> bytes | None:
    lists = [each for each in parts if each.content_type.essence == RESOURCE_LISTS]
    if content_id is not None:
        # A body of one list needs no name to be the one that is meant.
        found = find_by_content_id(parts, content_id) or (lists[0] if len(lists) == 1 else None)
        return found.body if found in lists and found is not None else None
    for part in lists:
        if part.disposition in {None, RECIPIENT_LIST}:
            return part.body
    return None
