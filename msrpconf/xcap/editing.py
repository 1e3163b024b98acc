"""Reads and changes single nodes of a document, in its octets (RFC 4825 §7, §8).

A change is right if its URI then selects what was put there, and nothing after a deletion: else
it is refused as a conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import quoteattr

from msrpconf.xcap.errors import Conflict, not_found
from msrpconf.xcap.selector import NodeSelector, Step, attribute_value
from msrpconf.xcap.tree import Element, NotUtf8, TreeError, parse_tree

ELEMENT_TYPE = "application/xcap-el+xml"
ATTRIBUTE_TYPE = "application/xcap-att+xml"
NAMESPACES_TYPE = "application/xcap-ns+xml"


def node_type(node: NodeSelector) -> str:
    """The media type of what a selector selects."""
    if node.namespaces:
        return NAMESPACES_TYPE
    return ELEMENT_TYPE if node.attribute is None else ATTRIBUTE_TYPE


def get_node(document: bytes, node: NodeSelector) -> bytes:
    """A node as it is in the document. Raises `Refused` 404."""
    tree = parse_tree(document)
    element = node.element(tree)
    if element is None:
        raise _no_node()
    if node.namespaces:
        return f"<{element.qname}{_declarations(element)}/>".encode()
    if node.attribute is None:
        return document[element.start : element.end]
    attribute = element.attributes.get(node.attribute)
    if attribute is None:
        raise _no_node()
    return document[attribute.literal : attribute.end]


def put_node(document: bytes, node: NodeSelector, body: bytes) -> tuple[bytes, bool]:
    """The document with a node made, or replaced; whether it was made. Raises `Conflict`."""
    if node.attribute is not None:
        return _put_attribute(document, node, body)
    return _put_element(document, node, body)


def delete_node(document: bytes, node: NodeSelector) -> bytes:
    """The document without a node. Raises `Conflict`, and `Refused` 404."""
    tree = parse_tree(document)
    element = node.element(tree)
    if element is None:
        raise _no_node()
    if node.attribute is None:
        result = document[: element.start] + document[element.end :]
    else:
        attribute = element.attributes.get(node.attribute)
        if attribute is None:
            raise _no_node()
        result = document[: attribute.start] + document[attribute.end :]
    try:
        after = parse_tree(result)
    except TreeError:
        raise Conflict(
            "schema-validation-error", "without it nothing is left: delete the document"
        ) from None
    if node.attribute is None:
        parent = node.parent(after)
        if parent is not None and node.steps[-1].among(parent):
            raise Conflict("cannot-delete", "the selector would then select another element")
    return result


def _put_element(document: bytes, node: NodeSelector, body: bytes) -> tuple[bytes, bool]:
    tree = parse_tree(document)
    parent = node.parent(tree)
    if parent is None:
        raise Conflict("no-parent", "the element that it is to be in is not there")
    body = _fragment(body, parent)
    found = node.steps[-1].among(parent)
    if len(found) == 1:
        (old,) = found
        start = old.start
        result = document[:start] + body + document[old.end :]
    else:
        start, result = _insert(document, parent, _place(parent, node.steps[-1]), body)
    _check_inserted(result, lambda after: _is_at(node.element(after), start, len(body)))
    return result, len(found) != 1


def _is_at(element: Element | None, start: int, length: int) -> bool:
    return element is not None and (element.start, element.end) == (start, start + length)


def _place(parent: Element, step: Step) -> int:
    """Where a new element goes, so that the step selects it (RFC 4825 §8.2.3)."""
    siblings = step.named(parent)
    position = step.position
    if position is None:
        # As soon as there is none of that name after it; of any name, after all.
        if siblings and step.name is not None:
            return siblings[-1].end
        return parent.content_end
    if position == 1:
        return siblings[0].start if siblings else parent.content_end
    if position == 0 or len(siblings) < position - 1:
        raise Conflict("cannot-insert", f"there are {len(siblings)} such elements before it")
    return siblings[position - 2].end


def _insert(document: bytes, parent: Element, place: int, body: bytes) -> tuple[int, bytes]:
    if not parent.is_empty_tag:
        return place, document[:place] + body + document[place:]
    head = document[: parent.end - 2] + b">"
    tail = f"</{parent.qname}>".encode() + document[parent.end :]
    return len(head), head + body + tail


def _fragment(body: bytes, parent: Element) -> bytes:
    """The one element that a body is, which has the namespaces of its parent."""
    body = body.strip(b" \t\r\n")
    head = f"<w{_declarations(parent)}>".encode()
    try:
        (wrapper,) = parse_tree(head + body + b"</w>").children
    except NotUtf8 as error:
        raise Conflict("not-utf-8", str(error)) from None
    except TreeError as error:
        raise Conflict("not-xml-frag", f"the body is no element: {error}") from None
    children = wrapper.children
    if len(children) != 1 or not _is_at(children[0], len(head), len(body)):
        raise Conflict("not-xml-frag", "the body must be one element, and nothing else")
    return body


def _put_attribute(document: bytes, node: NodeSelector, body: bytes) -> tuple[bytes, bool]:
    tree = parse_tree(document)
    element = node.element(tree)
    if element is None or node.attribute is None:
        raise Conflict("no-parent", "the element whose attribute it is is not there")
    literal = _literal(body)
    value = attribute_value(literal)
    if value is None:
        raise Conflict("not-xml-att-value", 'the body must be a value such as "sip:a@example.com"')
    old = element.attributes.get(node.attribute)
    if old is not None:
        result = document[: old.literal] + literal + document[old.end :]
    else:
        end = element.attributes_end
        name = _attribute_name(element, node)
        result = document[:end] + f" {name}=".encode() + literal + document[end:]

    def is_there(after: Element) -> bool:
        found = node.selected_attribute(after)
        return found is not None and found.value == value

    _check_inserted(result, is_there)
    return result, old is None


def _literal(body: bytes) -> bytes:
    """A value with quotes; many clients leave them out."""
    body = body.strip(b" \t\r\n")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Conflict("not-utf-8", "the value is not UTF-8") from None
    if body[:1] in (b'"', b"'"):
        return body
    return b'"' + body.replace(b'"', b"&quot;") + b'"'


def _attribute_name(element: Element, node: NodeSelector) -> str:
    assert node.attribute is not None
    namespace, local = node.attribute
    if not namespace:
        return local
    for prefix, uri in element.namespaces.items():
        if prefix and uri == namespace:
            return f"{prefix}:{local}"
    raise Conflict("cannot-insert", f"the document has no prefix for {namespace} there")


def _check_inserted(result: bytes, is_there: Callable[[Element], bool]) -> None:
    try:
        done = is_there(parse_tree(result))
    except TreeError:
        done = False
    if not done:
        raise Conflict("cannot-insert", "the URI would not select what is to be put there")


def _declarations(element: Element) -> str:
    """The namespaces in scope, as they are declared in a tag."""
    return "".join(
        f" {f'xmlns:{prefix}' if prefix else 'xmlns'}={quoteattr(uri)}"
        for prefix, uri in element.namespaces.items()
    )


def _no_node() -> Exception:
    return not_found("the document has no such node, or more than one")
