"""Typed views of header fields, shared by requests and responses.

Every accessor parses on first use and remembers; each raises `SipSyntaxError`, whose reason
begins with the header's name, for a value that is not what the standard asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from msrpconf.protocols.sip import grammar
from msrpconf.protocols.sip.dates import parse_date
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.fields import Headers
from msrpconf.protocols.sip.headers import CSeq, MediaType, NameAddr, Parameterized, Via
from msrpconf.protocols.text import shown

T = TypeVar("T")

MAX_FORWARDS = 255
MAX_EXPIRES = 2**32 - 1
MAX_CONTENT_LENGTH = 2**31 - 1

# Wider than callid in RFC 3261: it is opaque, and only list and parameter separators would be
# taken for something else in Replaces and In-Reply-To.
_CALL_ID = re.compile(r"[^\x00-\x20\x7f,;]+")


def _named(name: str, parse: Callable[[str], T], value: str) -> T:
    try:
        return parse(value)
    except SipSyntaxError as error:
        raise SipSyntaxError(f"{name}: {error.reason}") from None


def _optional(name: str, parse: Callable[[str], T]) -> Callable[[list[str]], T | None]:
    """A parser of a header field that may be there once."""

    def build(values: list[str]) -> T | None:
        if not values:
            return None
        if len(values) > 1:
            raise SipSyntaxError(f"{name}: expected once, given {len(values)} times")
        return _named(name, parse, values[0])

    return build


def _required(name: str, parse: Callable[[str], T]) -> Callable[[list[str]], T]:
    """A parser of a header field that must be there once."""
    optional = _optional(name, parse)

    def build(values: list[str]) -> T:
        value = optional(values)
        if value is None:
            raise SipSyntaxError(f"{name}: missing")
        return value

    return build


def _listed(name: str, parse: Callable[[str], T]) -> Callable[[list[str]], list[T]]:
    """A parser of a header field that is a list, in one field or several."""

    def build(values: list[str]) -> list[T]:
        return [
            _named(name, parse, element)
            for value in values
            for element in _named(name, grammar.split_list, value)
        ]

    return build


def _parse_call_id(value: str) -> str:
    if not _CALL_ID.fullmatch(value):
        raise SipSyntaxError(f"expected 'word@word' without spaces, got {shown(value)}")
    return value


def _number(maximum: int) -> Callable[[str], int]:
    return lambda value: grammar.parse_number(value, maximum)


_VIAS = _listed("Via", Via.parse)
_FROM = _required("From", NameAddr.parse)
_TO = _required("To", NameAddr.parse)
_CALL_IDS = _required("Call-ID", _parse_call_id)
_CSEQ = _required("CSeq", CSeq.parse)
_CONTACTS = _listed("Contact", NameAddr.parse)
_ROUTES = _listed("Route", NameAddr.parse)
_RECORD_ROUTES = _listed("Record-Route", NameAddr.parse)
_RAW_ROUTES = _listed("Route", str)
_RAW_RECORD_ROUTES = _listed("Record-Route", str)
_MAX_FORWARDS = _optional("Max-Forwards", _number(MAX_FORWARDS))
_EXPIRES = _optional("Expires", _number(MAX_EXPIRES))
_CONTENT_LENGTH = _optional("Content-Length", _number(MAX_CONTENT_LENGTH))
_CONTENT_TYPE = _optional("Content-Type", MediaType.parse)
_CONTENT_DISPOSITION = _optional("Content-Disposition", Parameterized.parse)
_DATE = _optional("Date", parse_date)
_EVENT = _optional("Event", Parameterized.parse)


def _contacts(values: list[str]) -> list[NameAddr]:
    return [] if values == ["*"] else _CONTACTS(values)


class TypedFields:
    """The typed accessors; a class that has them has `headers`."""

    __slots__ = ()

    headers: Headers

    @property
    def vias(self) -> list[Via]:
        """Every Via value, the top one first."""
        return list(self.headers.parsed("via", _VIAS))

    @property
    def top_via(self) -> Via:
        """The first Via value: where a response to this request goes."""
        vias = self.headers.parsed("via", _VIAS)
        if not vias:
            raise SipSyntaxError("Via: missing")
        return vias[0]

    def set_top_via(self, via: Via) -> None:
        """Replaces the first Via value and leaves all others as they are."""
        below = self.headers.parsed("via", _VIAS)[1:]
        first, *others = self.headers.get_all("Via") or [""]
        elements = grammar.split_list(first)
        self.headers.set_all("Via", [", ".join([str(via), *elements[1:]]), *others])
        # Each request is looked up by it next.
        self.headers.remember("via", _VIAS, [via, *below])

    @property
    def from_(self) -> NameAddr:
        """Who sent the request of this transaction."""
        return self.headers.parsed("from", _FROM)

    @property
    def to(self) -> NameAddr:
        """Whom the request of this transaction was meant for."""
        return self.headers.parsed("to", _TO)

    @property
    def call_id(self) -> str:
        """The Call-ID, which compares with case."""
        return self.headers.parsed("call-id", _CALL_IDS)

    @property
    def cseq(self) -> CSeq:
        """The number and method of the transaction's request."""
        return self.headers.parsed("cseq", _CSEQ)

    @property
    def contacts(self) -> list[NameAddr]:
        """Every Contact value; empty for `Contact: *`, which `contact_star` tells."""
        return list(self.headers.parsed("contact", _contacts))

    @property
    def contact_star(self) -> bool:
        """Whether the message has `Contact: *` (RFC 3261 section 10.2.2)."""
        return self.headers.get_all("Contact") == ["*"]

    @property
    def routes(self) -> list[NameAddr]:
        """The Route values, next hop first."""
        return list(self.headers.parsed("route", _ROUTES))

    @property
    def raw_routes(self) -> list[str]:
        """The Route values as written, one string for each hop."""
        return list(self.headers.parsed("route", _RAW_ROUTES))

    @property
    def record_routes(self) -> list[NameAddr]:
        """The Record-Route values in the order of the message."""
        return list(self.headers.parsed("record-route", _RECORD_ROUTES))

    @property
    def raw_record_routes(self) -> list[str]:
        """The Record-Route values as written, one string for each hop: for a dialog's route set."""
        return list(self.headers.parsed("record-route", _RAW_RECORD_ROUTES))

    @property
    def max_forwards(self) -> int | None:
        """How many more hops the request may take, 0 to 255; None where it does not say."""
        return self.headers.parsed("max-forwards", _MAX_FORWARDS)

    @property
    def expires(self) -> int | None:
        """The Expires header in seconds."""
        return self.headers.parsed("expires", _EXPIRES)

    @property
    def content_length(self) -> int | None:
        """The Content-Length as received, in octets; `bytes()` of a message writes its own."""
        return self.headers.parsed("content-length", _CONTENT_LENGTH)

    @property
    def content_type(self) -> MediaType | None:
        """What the body is; None where the message does not say."""
        return self.headers.parsed("content-type", _CONTENT_TYPE)

    @property
    def content_disposition(self) -> Parameterized | None:
        """What the body is for; None where the message does not say."""
        return self.headers.parsed("content-disposition", _CONTENT_DISPOSITION)

    @property
    def date(self) -> datetime | None:
        """The Date header, in UTC."""
        return self.headers.parsed("date", _DATE)

    @property
    def event(self) -> Parameterized | None:
        """The event package and its `id` (RFC 6665)."""
        return self.headers.parsed("event", _EVENT)

    def option_tags(self, name: str) -> list[str]:
        """The tokens of a list such as Require, Supported, Allow or Allow-Events, as written."""
        return [
            token
            for value in self.headers.get_all(name)
            for token in _named(name, grammar.parse_token_list, value)
        ]

    def name_addrs(self, name: str) -> list[NameAddr]:
        """The addresses of any other header field, such as P-Asserted-Identity or Refer-To."""
        return _listed(name, NameAddr.parse)(self.headers.get_all(name))
