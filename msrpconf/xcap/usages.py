"""Application usages: what documents there are, and what is in them (RFC 4825 §5, RFC 5025 §9)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from attrs import frozen
from lxml import etree

from msrpconf.protocols.xml import XmlError, parse_xml
from msrpconf.xcap.errors import Conflict
from msrpconf.xcap.ruleset import COMMON_POLICY, MAX_OCTETS, MAX_RULES, PRES_RULES
from msrpconf.xcap.tree import NotUtf8, TreeError, parse_tree

CAPS = "xcap-caps"
CAPS_TYPE = "application/xcap-caps+xml"
CAPS_NAMESPACE = "urn:ietf:params:xml:ns:xcap-caps"

_CAPS_NSMAP: Any = {None: CAPS_NAMESPACE}


@frozen
class Usage:
    """An application usage: its AUID, and the namespace of names without a prefix in URIs."""

    auid: str
    default_namespace: str
    media_type: str = "application/auth-policy+xml"


USAGES = {
    each.auid: each
    for each in (
        Usage("pres-rules", PRES_RULES),
        Usage("org.openmobilealliance.pres-rules", COMMON_POLICY),
    )
}
"""Those whose documents rooms have."""


def capabilities() -> bytes:
    """The document that says what this server supports (RFC 4825 §12)."""
    root = etree.Element(f"{{{CAPS_NAMESPACE}}}xcap-caps", nsmap=_CAPS_NSMAP)
    for group, item, values in (
        ("auids", "auid", (CAPS, *USAGES)),
        ("extensions", "extension", ()),
        ("namespaces", "namespace", (CAPS_NAMESPACE, COMMON_POLICY, PRES_RULES)),
    ):
        parent = etree.SubElement(root, f"{{{CAPS_NAMESPACE}}}{group}")
        for value in values:
            etree.SubElement(parent, f"{{{CAPS_NAMESPACE}}}{item}").text = value
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def check_document(document: bytes) -> None:
    """Refuse what is no document: it must be well-formed, and UTF-8. Raises `Conflict`."""
    try:
        parse_tree(document)
        parse_xml(document, "document", MAX_OCTETS)
    except NotUtf8 as error:
        raise Conflict("not-utf-8", str(error)) from None
    except (TreeError, XmlError) as error:
        raise Conflict("not-well-formed", str(error)) from None


def validate(document: bytes) -> None:
    """Refuse what the usage does not allow, of what a change would leave (RFC 4825 §8.2.5).

    Raises `Conflict`.
    """
    if len(document) > MAX_OCTETS:
        raise Conflict("constraint-failure", f"a document may have {MAX_OCTETS} octets")
    try:
        root = parse_xml(document, "document", MAX_OCTETS)
    except XmlError as error:
        raise Conflict("constraint-failure", str(error)) from None
    _check_unique(root)
    problem = _schema_problem(root)
    if problem is not None:
        raise Conflict("schema-validation-error", problem)
    count = sum(1 for _ in root.iterchildren("*"))
    if count > MAX_RULES:
        raise Conflict("constraint-failure", f"a document may have {MAX_RULES} rules")


def _check_unique(root: etree._Element) -> None:
    """Rules have identifiers of their own (RFC 4745 §6.1)."""
    seen: set[str] = set()
    for number, rule in enumerate(root.iterchildren(f"{{{COMMON_POLICY}}}rule"), 1):
        name = rule.get("id")
        if name is not None and name in seen:
            path = quote(f"cp:ruleset/cp:rule[{number}]/@id", safe="/:@")
            raise Conflict(
                "uniqueness-failure",
                f"there is a rule {name} already",
                f"{path}?xmlns(cp={COMMON_POLICY})",
            )
        if name is not None:
            seen.add(name)


def _schema_problem(root: etree._Element) -> str | None:
    if root.tag != f"{{{COMMON_POLICY}}}ruleset":
        return f"the root element must be ruleset, of {COMMON_POLICY}"
    # The schema lets pass what it does not know, of whatever namespace.
    for element in root.iter(f"{{{PRES_RULES}}}*"):
        if element.tag not in _known():
            return f"line {element.sourceline}: {etree.QName(element).localname} is not known"
    schema = _schema()
    if schema.validate(root):
        return None
    log: Any = schema.error_log
    error = log[0]
    return f"line {error.line}: {error.message}"[:500]


@cache
def _known() -> frozenset[str]:
    root = etree.fromstring(_read("pres-rules.xsd"))
    names = root.iter("{http://www.w3.org/2001/XMLSchema}element")
    return frozenset(f"{{{PRES_RULES}}}{each.get('name')}" for each in names)


def _schema() -> etree.XMLSchema:
    # One for each call: it keeps what was wrong, and there are several threads.
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Local())
    root = etree.fromstring(_read("documents.xsd"), parser, base_url="schemas:documents.xsd")
    return etree.XMLSchema(root.getroottree())


class _Local(etree.Resolver):
    """Finds schemas among ours, and nowhere else."""

    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        """See lxml."""
        name = system_url.rpartition("/")[2].rpartition(":")[2]
        return self.resolve_string(_read(name), context, base_url=f"schemas:{name}")


@cache
def _read(name: str) -> bytes:
    return (files("msrpconf.xcap") / "schemas" / name).read_bytes()
