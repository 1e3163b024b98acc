"""Reading conference-info in tests: every document that a test reads is valid (RFC 4575 §6)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from lxml import etree

from msrpconf.protocols.conference_info import NAMESPACE, XCON_NAMESPACE

SCHEMAS = Path(__file__).parent / "schemas"

# xs:anyURI may have the brackets of an IPv6 address (RFC 2732); libxml2 takes them in http alone.
_LITERAL = re.compile(rb"\[[0-9A-Fa-f:.]+\]")

NAMES = {"c": NAMESPACE}
NICKNAME = f"{{{XCON_NAMESPACE}}}nickname"


@cache
def schema() -> etree.XMLSchema:
    """The schema of RFC 4575, with what it imports taken from beside it."""
    text = (SCHEMAS / "conference-info.xsd").read_bytes()
    text = text.replace(
        b"http://www.w3.org/2001/03/xml.xsd", (SCHEMAS / "xml.xsd").as_uri().encode()
    )
    return etree.XMLSchema(etree.fromstring(text, etree.XMLParser(no_network=True)))


def read(document: bytes) -> etree._Element:
    """The root of a document; AssertionError for one that is not valid."""
    validated = etree.fromstring(_LITERAL.sub(b"host", document))
    found = schema()
    assert found.validate(validated), f"{found.error_log}\n{document.decode()}"
    entities = [each.get("entity") for each in validated.iterfind("c:users/c:user", NAMES)]
    assert len(set(entities)) == len(entities), f"two users of one entity: {entities}"
    return etree.fromstring(document)


def text(element: etree._Element, path: str) -> str | None:
    """The text of the one element at ``user/endpoint/status``, None without it."""
    found = element.findall("/".join(f"c:{each}" for each in path.split("/")), NAMES)
    assert len(found) <= 1, f"{len(found)} of {path}"
    return (found[0].text or "") if found else None


def texts(element: etree._Element, path: str) -> list[str]:
    """The texts of all elements at a path."""
    found = element.findall("/".join(f"c:{each}" for each in path.split("/")), NAMES)
    return [each.text or "" for each in found]


def users(root: etree._Element) -> dict[str, etree._Element]:
    """The users of a document by entity."""
    return {each.get("entity", ""): each for each in root.iterfind("c:users/c:user", NAMES)}


def endpoints(user: etree._Element) -> dict[str, str | None]:
    """The statuses of a user's devices."""
    return {
        each.get("entity", ""): text(each, "status") for each in user.findall("c:endpoint", NAMES)
    }
