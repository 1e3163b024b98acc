"""XML from the network, read so that it can do no harm."""

from __future__ import annotations

from lxml import etree


class XmlError(ValueError):
    """A document that is not read. The text says what is wrong with it."""


def parse_xml(document: bytes, name: str, limit: int) -> etree._Element:
    """The root element of a document of at most `limit` octets, which errors call `name`.

    Entities, external documents and DOCTYPEs are refused. Raises `XmlError`.
    """
    if len(document) > limit:
        raise XmlError(f"the {name} may have {limit} octets at most")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise XmlError(f"the {name} is not well-formed XML: {error.msg}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise XmlError(f"the {name} must not have a DOCTYPE")
    return root
