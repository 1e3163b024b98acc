"""Node selectors: which element or attribute of a document a URI is about (RFC 4825 §6.3, §6.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from msrpconf.protocols.text import shown
from msrpconf.xcap.errors import Refused, not_found
from msrpconf.xcap.tree import Attribute, Element, Name, TreeError, parse_tree

MAX_STEPS = 64
"""Steps of one selector."""

SEPARATOR = "~~"
"""The path segment between the document selector and the node selector."""

_XML = "http://www.w3.org/XML/1998/namespace"
_NCNAME = r"[^\W\d][\w.\-]*"
_QNAME = rf"(?:{_NCNAME}:)?{_NCNAME}"
_STEP = re.compile(
    rf"(?P<name>\*|{_QNAME})(?:\[(?P<position>[0-9]{{1,9}})\])?"
    rf"(?:\[@(?P<attribute>{_QNAME})=(?P<value>\"[^\"]*\"|'[^']*')\])?(?=/|$)"
)
_TERMINAL = re.compile(rf"@(?P<attribute>{_QNAME})$|namespace::\*$")
_SCHEME = re.compile(rf"\s*({_QNAME})\(")
_BINDING = re.compile(rf"\s*({_NCNAME})\s*=\s*(.*?)\s*", re.DOTALL)


@frozen
class Step:
    """Selects among the children of an element: by name, None for any, by what they have.

    `position` counts from 1 among those with the name.
    """

    name: Name | None
    position: int | None = None
    attribute: tuple[Name, str] | None = None

    def among(self, parent: Element) -> list[Element]:
        """The children of `parent` that are selected: one, if the selector is valid."""
        found = self.named(parent)
        if self.position is not None:
            found = found[self.position - 1 : self.position] if self.position else []
        if self.attribute is not None:
            name, value = self.attribute
            found = [
                each
                for each in found
                if (attribute := each.attributes.get(name)) is not None and attribute.value == value
            ]
        return found

    def named(self, parent: Element) -> list[Element]:
        """The children of `parent` that have the name."""
        return [each for each in parent.children if self.name in (None, each.name)]


@frozen
class NodeSelector:
    """The steps to an element; then the name of its attribute, or whether its namespaces."""

    steps: tuple[Step, ...]
    attribute: Name | None = None
    namespaces: bool = False

    @classmethod
    def parse(cls, text: str, query: str, default: str) -> NodeSelector:
        """Read a selector without percent-encoding, with the query of its URI.

        `default` is the namespace of elements without a prefix. Raises `Refused`: 404 for
        what is not known, 400 for a prefix that the query does not bind.
        """
        bindings = parse_bindings(query)
        steps: list[Step] = []
        position = 0
        while (match := _STEP.match(text, position)) is not None:
            steps.append(_step(match, bindings, default))
            position = match.end() + 1
            if position > len(text):
                return cls(tuple(steps))
            if len(steps) == MAX_STEPS:
                raise not_found(f"a node selector may have {MAX_STEPS} steps")
        terminal = _TERMINAL.match(text, position)
        if terminal is None or not steps:
            raise not_found(f"not a node selector that is known: {shown(text[position:])}")
        name = terminal["attribute"]
        if name is None:
            return cls(tuple(steps), namespaces=True)
        return cls(tuple(steps), _name(name, bindings, ""))

    def parent(self, document: Element) -> Element | None:
        """What the last step starts from; None where it is not there."""
        return _walk(document, self.steps[:-1])

    def element(self, document: Element) -> Element | None:
        """The one element that is selected, None for none."""
        return _walk(document, self.steps)

    def selected_attribute(self, document: Element) -> Attribute | None:
        """The attribute that is selected, None for none."""
        element = self.element(document)
        if element is None or self.attribute is None:
            return None
        return element.attributes.get(self.attribute)


def _walk(context: Element, steps: tuple[Step, ...]) -> Element | None:
    for step in steps:
        found = step.among(context)
        if len(found) != 1:
            return None
        (context,) = found
    return context


def _step(match: re.Match[str], bindings: Mapping[str, str], default: str) -> Step:
    name = None if match["name"] == "*" else _name(match["name"], bindings, default)
    position = None if match["position"] is None else int(match["position"])
    attribute = None
    if match["attribute"] is not None:
        value = attribute_value(match["value"].encode())
        if value is None:
            raise not_found(f"not an attribute's value: {shown(match['value'])}")
        attribute = _name(match["attribute"], bindings, ""), value
    return Step(name, position, attribute)


def _name(qname: str, bindings: Mapping[str, str], default: str) -> Name:
    prefix, colon, local = qname.rpartition(":")
    if not colon:
        return default, local
    if prefix not in bindings:
        raise Refused(
            400, f"the prefix {shown(prefix)} is not bound: add ?xmlns({prefix}=...) to the URI"
        )
    return bindings[prefix], local


def attribute_value(literal: bytes) -> str | None:
    """The value of an AttValue with its quotes (XML 1.0 §2.3), None for what is none."""
    try:
        (element,) = parse_tree(b"<a b=" + literal + b"/>").children
    except TreeError:
        return None
    if len(element.attributes) != 1 or element.namespaces or not element.is_empty_tag:
        return None
    attribute = element.attributes.get(("", "b"))
    return None if attribute is None else attribute.value


def parse_bindings(query: str) -> dict[str, str]:
    """The prefixes that a query binds by xmlns(); other schemes are passed over (RFC 4825 §6.4).

    `query` is without percent-encoding. Raises `Refused` 400.
    """
    bindings = {"xml": _XML}
    position = 0
    while position < len(query.rstrip()):
        match = _SCHEME.match(query, position)
        if match is None:
            raise Refused(400, f"expected xmlns(prefix=namespace) in the query: {shown(query)}")
        data, position = _scheme_data(query, match.end())
        if match[1] != "xmlns":
            continue
        binding = _BINDING.fullmatch(data)
        if binding is None:
            raise Refused(400, f"expected xmlns(prefix=namespace), got xmlns({shown(data)})")
        if binding[1] not in ("xml", "xmlns"):
            bindings[binding[1]] = binding[2]
    return bindings


def _scheme_data(query: str, start: int) -> tuple[str, int]:
    """The text up to the closing parenthesis, without escapes (XPointer Framework §3.1)."""
    data: list[str] = []
    depth = 1
    position = start
    while position < len(query):
        character = query[position]
        position += 1
        if character == "^" and query[position : position + 1] in ("^", "(", ")"):
            character = query[position]
            position += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return "".join(data), position
        data.append(character)
    raise Refused(400, f"a parenthesis is not closed in the query: {shown(query)}")
