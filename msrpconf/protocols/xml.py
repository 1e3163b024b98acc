"""XML from the network, read so that it can do no harm."""

from __future__ import annotations

from lxml import etree

from msrpconf.protocols.text import shown


class XmlError(ValueError):
    """A document that is not read. The text says what is wrong with it."""


def parse_xml(document: bytes, name: str, limit: int) -> etree._Element:
    """The root element of a document of at most `limit` octets, which errors call `name`.

    The document is UTF-8, whatever it says of itself. Entities, external documents and
    DOCTYPEs are refused. Raises `XmlError`.
    """
    if len(document) > limit:
        raise XmlError(f"the {name} may have {limit} octets at most")
    # Looked for in the octets, before any parser has begun to make something of it; the encoding
    # is therefore ours to say, and not the document's.
    if b"<!DOCTYPE" in document:
        raise XmlError(f"the {name} must not have a DOCTYPE: leave it out")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    try:
        return etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        why = " ".join(str(error).split())
        raise XmlError(f"the {name} is not well-formed XML: {shown(why, 150)}") from None
