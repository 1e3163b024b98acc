"""Reading watcherinfo in tests: every document that a test reads is valid (RFC 3858 §4, §6)."""

from __future__ import annotations

from functools import cache

from attrs import define, field, frozen
from lxml import etree

from msrpconf.protocols.watcher_info import NAMESPACE
from tests.documents import SCHEMAS

NAMES = {"w": NAMESPACE}


@cache
def schema() -> etree.XMLSchema:
    """The schema of RFC 3858, with what it imports taken from beside it."""
    text = (SCHEMAS / "watcherinfo.xsd").read_bytes()
    text = text.replace(
        b"http://www.w3.org/2001/03/xml.xsd", (SCHEMAS / "xml.xsd").as_uri().encode()
    )
    return etree.XMLSchema(etree.fromstring(text, etree.XMLParser(no_network=True)))


@frozen
class Row:
    """A watcher as a document has it."""

    uri: str
    status: str
    event: str
    display_name: str | None
    duration: int | None = field(eq=False)
    expiration: int | None = field(eq=False)

    def __str__(self) -> str:
        """The watcher in short: ``bob pending by subscribe``."""
        name = self.uri.partition(":")[2].partition("@")[0]
        return f"{name} {self.status} by {self.event}"


def read(document: bytes) -> etree._Element:
    """The root of a document; AssertionError for one that is not valid."""
    root = etree.fromstring(document)
    found = schema()
    assert found.validate(root), f"{found.error_log}\n{document.decode()}"
    return root


def rows(root: etree._Element) -> dict[str, Row]:
    """The watchers of a document by id."""
    found = {}
    for each in root.iterfind("w:watcher-list/w:watcher", NAMES):
        name = each.get("id") or ""
        assert name not in found, f"two watchers of one id: {name}"
        found[name] = Row(
            each.text or "",
            each.get("status") or "",
            each.get("event") or "",
            each.get("display-name"),
            _number(each, "duration-subscribed"),
            _number(each, "expiration"),
        )
    return found


def _number(element: etree._Element, name: str) -> int | None:
    value = element.get(name)
    return None if value is None else int(value)


@define
class Table:
    """What somebody knows who follows the documents of one subscription (RFC 3858 §4)."""

    resource: str = ""
    version: int = -1
    rows: dict[str, Row] = field(factory=dict)

    def apply(self, document: bytes) -> list[str]:
        """Take the next document, which must be it; what it says, each watcher in short."""
        root = read(document)
        version = int(root.get("version") or "-1")
        assert version == self.version + 1, f"{version} follows {self.version}"
        self.version = version
        (of_room,) = root.iterfind("w:watcher-list", NAMES)
        self.resource = of_room.get("resource") or ""
        assert of_room.get("package") == "conference"
        told = rows(root)
        if root.get("state") == "full":
            self.rows = {}
        self.rows.update(told)
        self.rows = {name: each for name, each in self.rows.items() if each.status != "terminated"}
        return [f"{root.get('state')}:", *map(str, told.values())]

    @property
    def watchers(self) -> list[str]:
        """Who watches, each in short, in order."""
        return sorted(map(str, self.rows.values()))
