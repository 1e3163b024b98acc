"""Lists of people to invite: application/resource-lists+xml (RFC 4826, RFC 5363, RFC 5364).

An INVITE or REFER carries a flat list of URIs; hierarchical lists and references into an XCAP
tree are not for that (RFC 5366 §4, RFC 5368 §6) and are refused, so that nobody believes to have
invited who was not read. Attributes and elements of other namespaces, such as copyControl, are
passed over.
"""

from __future__ import annotations

from attrs import frozen
from lxml import etree

from msrpconf.protocols.text import shown
from msrpconf.protocols.xml import XmlError, parse_xml

RESOURCE_LISTS = "application/resource-lists+xml"
RECIPIENT_LIST = "recipient-list"

MAX_OCTETS = 262144
"""The longest document that is read."""

MAX_URI = 1024
"""Characters of one URI."""

MAX_NAME = 256
"""Characters of a display name that are kept."""

_NAMESPACE = "urn:ietf:params:xml:ns:resource-lists"
_ROOT = f"{{{_NAMESPACE}}}resource-lists"
_LIST = f"{{{_NAMESPACE}}}list"
_ENTRY = f"{{{_NAMESPACE}}}entry"
_NAME = f"{{{_NAMESPACE}}}display-name"
_COPY_CONTROL = "{urn:ietf:params:xml:ns:copycontrol}"


class ResourceListError(ValueError):
    """A list that is not read. The text says why; in a request it becomes a 400."""


@frozen
class Entry:
    """One of a list: the URI as written, and the name that goes with it.

    `copy_control` is ``to``, ``cc``, ``bcc`` or None; `anonymize` whether the others shall not
    learn of the entry (RFC 5364).
    """

    uri: str
    display_name: str | None = None
    copy_control: str | None = None
    anonymize: bool = False


def parse_resource_lists(document: bytes, limit: int) -> list[Entry]:
    """The entries of all lists of a document, `limit` at most, in their order.

    Raises `ResourceListError`: for what is not XML, or has a DOCTYPE; for a list in a list, a
    reference in place of an entry, and an entry without a URI.
    """
    try:
        root = parse_xml(document, "list of recipients", MAX_OCTETS)
    except XmlError as error:
        raise ResourceListError(str(error)) from None
    if root.tag != _ROOT:
        raise ResourceListError(
            f"expected <resource-lists xmlns='{_NAMESPACE}'>, got {shown(str(root.tag))}"
        )
    entries: list[Entry] = []
    for child in root.iterchildren(_LIST):
        for element in child.iterchildren(f"{{{_NAMESPACE}}}*"):
            if element.tag == _NAME:
                continue
            if element.tag != _ENTRY:
                name = etree.QName(element).localname
                raise ResourceListError(
                    f"<{name[:40]}> in a list is not served: write one flat list of <entry uri=…>"
                )
            if len(entries) == limit:
                raise ResourceListError(f"at most {limit} can be named in one list")
            entries.append(_entry(element))
    return entries


def _entry(element: etree._Element) -> Entry:
    uri = (element.get("uri") or "").strip()
    if not uri or len(uri) > MAX_URI:
        raise ResourceListError(
            f"an <entry> needs a uri of 1 to {MAX_URI} characters, got {shown(uri)}"
        )
    name = " ".join((element.findtext(_NAME) or "").split())[:MAX_NAME] or None
    return Entry(
        uri,
        name,
        element.get(f"{_COPY_CONTROL}copyControl"),
        element.get(f"{_COPY_CONTROL}anonymize") in {"true", "1"},
    )
