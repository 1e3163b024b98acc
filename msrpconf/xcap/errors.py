"""What an XCAP request cannot have: an HTTP status, or a conflict that says why (RFC 4825 §11)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from lxml import etree

ERROR_TYPE = "application/xcap-error+xml"
ERROR_NAMESPACE = "urn:ietf:params:xml:ns:xcap-error"

_NSMAP: Any = {None: ERROR_NAMESPACE}


@frozen
class Refused(Exception):
    """A refusal with that HTTP `status`; `detail` is for people."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


@frozen
class Conflict(Exception):
    """409: `condition` is the element that says what is wrong, `phrase` says it to people.

    `exists` is the field whose value is there already (RFC 4825 §11.1).
    """

    condition: str
    phrase: str
    exists: str | None = None

    @property
    def document(self) -> bytes:
        """The detailed conflict report."""
        root = etree.Element(f"{{{ERROR_NAMESPACE}}}xcap-error", nsmap=_NSMAP)
        error = etree.SubElement(root, f"{{{ERROR_NAMESPACE}}}{self.condition}")
        error.set("phrase", self.phrase)
        if self.exists is not None:
            etree.SubElement(error, f"{{{ERROR_NAMESPACE}}}exists").set("field", self.exists)
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def not_found(detail: str) -> Refused:
    """404."""
    return Refused(404, detail)
