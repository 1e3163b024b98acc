"""The header fields of a message, in their order and spelling (RFC 3261 section 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.text import shown

T = TypeVar("T")

#: One-letter names (RFC 3261 section 7.3.3 and the IANA registry).
COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_COMMON = (
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Allow",
    "Allow-Events",
    "Authorization",
    "Call-ID",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Date",
    "Event",
    "Expires",
    "From",
    "Max-Forwards",
    "MIME-Version",
    "Min-SE",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Privacy",
    "Proxy-Authorization",
    "Reason",
    "Record-Route",
    "Refer-To",
    "Referred-By",
    "Require",
    "Route",
    "Server",
    "Session-Expires",
    "Subject",
    "Subscription-State",
    "Supported",
    "Timestamp",
    "To",
    "User-Agent",
    "Via",
    "WWW-Authenticate",
)

#: Keys of spellings seen all the time, to spare the general way for them.
KNOWN_NAMES = {
    **{name: name.lower() for name in _COMMON},
    **{name.lower(): name.lower() for name in _COMMON},
    **COMPACT,
    **{short.upper(): name for short, name in COMPACT.items()},
}


def header_key(name: str) -> str:
    """The long name of a header field in lower case, for any spelling of it."""
    key = KNOWN_NAMES.get(name)
    if key is None:
        key = name.lower()
        key = COMPACT.get(key, key)
    return key


class Headers:
    """An ordered list of header fields, found by name in any case and in compact form.

    Values are text without folding; octets that are not UTF-8 are kept as surrogates
    ("surrogateescape"), so that they come out as they went in. Changing methods raise
    `SipSyntaxError` for a name that is not a token or a value that holds a line break: nothing
    that a peer wrote can add a line to what we send.
    """

    __slots__ = ("_index", "_items", "_parsed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] = {}
        self._parsed: dict[tuple[str, object], Any] = {}
        for name, value in items:
            self.add(name, value)

    @classmethod
    def from_wire(cls, items: list[tuple[str, str]]) -> Headers:
        """Headers of names and values that the message parser has checked already."""
        headers = cls.__new__(cls)
        headers._items = items
        headers._parsed = {}
        headers._reindex()
        return headers

    def _reindex(self) -> None:
        index: dict[str, list[str]] = {}
        keys = KNOWN_NAMES
        for name, value in self._items:
            key = keys.get(name) or header_key(name)
            if key in index:
                index[key].append(value)
            else:
                index[key] = [value]
        self._index = index

    def _changed(self, key: str) -> None:
        for entry in [entry for entry in self._parsed if entry[0] == key]:
            del self._parsed[entry]

    def get(self, name: str) -> str | None:
        """The first value of that name; None where there is none."""
        values = self._index.get(KNOWN_NAMES.get(name) or header_key(name))
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Every value of that name in order, one for each header field; lists are not split."""
        return list(self._index.get(KNOWN_NAMES.get(name) or header_key(name), ()))

    def add(self, name: str, value: str) -> None:
        """Appends a header field."""
        _check(name, value)
        key = header_key(name)
        self._items.append((name, value))
        self._index.setdefault(key, []).append(value)
        self._changed(key)

    def prepend(self, name: str, value: str) -> None:
        """Puts a header field before all others."""
        _check(name, value)
        key = header_key(name)
        self._items.insert(0, (name, value))
        self._index.setdefault(key, []).insert(0, value)
        self._changed(key)

    def set(self, name: str, value: str) -> None:
        """Replaces all header fields of that name by one, where the first was or at the end."""
        self.set_all(name, (value,))

    def set_all(self, name: str, values: Iterable[str]) -> None:
        """Replaces all header fields of that name, in the place of the first or at the end."""
        new = [(name, value) for value in values]
        for pair in new:
            _check(*pair)
        key = header_key(name)
        place = len(self._items)
        if self._index.get(key):
            place = next(n for n, item in enumerate(self._items) if header_key(item[0]) == key)
            self.remove(name)
        self._items[place:place] = new
        self._index[key] = [value for _, value in new]
        self._changed(key)

    def remove(self, *names: str) -> None:
        """Removes all header fields of these names, if there are any."""
        gone = {key for key in map(header_key, names) if self._index.pop(key, None)}
        if not gone:
            return
        known = KNOWN_NAMES
        self._items = [
            item for item in self._items if (known.get(item[0]) or header_key(item[0])) not in gone
        ]
        self._parsed = {
            entry: value for entry, value in self._parsed.items() if entry[0] not in gone
        }

    def copy(self) -> Headers:
        """An independent copy."""
        headers = Headers.__new__(Headers)
        headers._items = list(self._items)
        headers._index = {key: list(values) for key, values in self._index.items()}
        headers._parsed = dict(self._parsed)
        return headers

    def parsed(self, name: str, parse: Callable[[list[str]], T]) -> T:
        """`parse` of all values of that name, remembered until one of them changes.

        `name` is a long name in lower case; `parse` gets an empty list where there is none.
        """
        entry = (name, parse)
        if entry not in self._parsed:
            self._parsed[entry] = parse(self._index.get(name, []))
        result: T = self._parsed[entry]
        return result

    def remember(self, name: str, parse: Callable[[list[str]], T], result: T) -> None:
        """Notes what `parse` makes of the values of that name, for who knows it anyway."""
        self._parsed[name, parse] = result

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._index.get(header_key(name)))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def _check(name: str, value: str) -> None:
    if name not in KNOWN_NAMES and not grammar.is_token(name):
        raise SipSyntaxError(f"a header name must be a token, got {shown(name)}")
    if "\n" in value or "\r" in value:
        raise SipSyntaxError(f"a header value cannot hold a line break: {shown(value)}")
