"""A document as a tree of elements that know their places in its octets.

XCAP changes single nodes and must leave all else as it is, white space, comments and namespace
declarations too (RFC 4825 §6.3, §8.2.3). So changes are made in the octets, and the tree says
where.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from attrs import define, field, frozen

Name = tuple[str, str]
"""A namespace, empty for none, and a local name."""

_SEPARATOR = "\x1f"  # is in no document
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")


class TreeError(ValueError):
    """Octets that are no document. The text says why."""


class NotUtf8(TreeError):
    """A document that is not in UTF-8."""


@frozen
class Attribute:
    """An attribute: its value, and where it is in the octets.

    From `start`, with the white space before it, to `end`; the literal with its quotes begins
    at `literal`.
    """

    value: str
    start: int
    literal: int
    end: int


@define(eq=False)
class Element:
    """An element: its places in the octets, and what is in it.

    The start tag ends before `content`, the end tag begins at `content_end`; of an empty-element
    tag both are `end`. `namespaces` are the bindings in scope.
    """

    name: Name
    qname: str
    namespaces: dict[str, str]
    start: int = 0
    content: int = 0
    content_end: int = 0
    end: int = 0
    is_empty_tag: bool = False
    attributes: dict[Name, Attribute] = field(factory=dict)
    children: list[Element] = field(factory=list)

    @property
    def attributes_end(self) -> int:
        """Where another attribute can be written."""
        return max(
            (each.end for each in self.attributes.values()),
            default=self.start + 1 + len(self.qname.encode()),
        )


def parse_tree(octets: bytes) -> Element:
    """The document node, whose only child is the root element. Raises `TreeError`."""
    return _Builder(octets).document


class _Builder:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.document = Element(("", ""), "", {}, 0, 0, len(octets), len(octets))
        self._open = [self.document]
        self._declared: dict[str, str] = {}
        # Whatever it declares: what is in the table is UTF-8.
        parser: Any = expat.ParserCreate("UTF-8", _SEPARATOR)
        parser.namespace_prefixes = True
        parser.ordered_attributes = True
        parser.XmlDeclHandler = _declaration
        parser.StartDoctypeDeclHandler = _doctype
        parser.StartNamespaceDeclHandler = self._declare
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self._parser = parser
        _check_encoding(octets)
        try:
            parser.Parse(octets, True)
        except expat.ExpatError as error:
            raise TreeError(f"not well-formed XML: {error}") from None

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _start(self, name: str, attributes: list[str]) -> None:
        parent = self._open[-1]
        namespaces = parent.namespaces
        if self._declared:
            namespaces = {**namespaces, **self._declared}
            self._declared = {}
        start = self._parser.CurrentByteIndex
        parts = name.split(_SEPARATOR)
        qname = f"{parts[2]}:{parts[1]}" if len(parts) == 3 else parts[-1]
        element = Element(_expanded(parts), qname, namespaces, start)
        position = start + 1 + len(qname.encode())
        names = iter(attributes[::2])
        values = iter(attributes[1::2])
        while (match := _ATTRIBUTE.match(self._octets, position)) is not None:
            position = match.end()
            if match[1] == b"xmlns" or match[1].startswith(b"xmlns:"):
                continue
            expanded = _expanded(next(names).split(_SEPARATOR))
            element.attributes[expanded] = Attribute(
                next(values), match.start(), match.start(2), match.end()
            )
        close = self._octets.index(b">", position)
        element.content = element.content_end = element.end = close + 1
        element.is_empty_tag = self._octets[close - 1] == ord("/")
        parent.children.append(element)
        self._open.append(element)

    def _end(self, name: str) -> None:
        element = self._open.pop()
        if not element.is_empty_tag:
            element.content_end = self._parser.CurrentByteIndex
            element.end = self._octets.index(b">", element.content_end) + 1


def _expanded(parts: list[str]) -> Name:
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])


def _check_encoding(octets: bytes) -> None:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUtf8("not UTF-8") from None


def _declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.lower() != "utf-8":
        raise NotUtf8(f"it declares to be {encoding!r}, and must be UTF-8")


def _doctype(*_: object) -> None:
    raise TreeError("a document must not have a DOCTYPE")
