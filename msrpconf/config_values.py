"""What reads the values of the configuration's keys.

Each reader takes what TOML gave, and returns the value or raises `UnexpectedValue`, which says
what would be right. Where it was found is said by `msrpconf.config`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from msrpconf.conference.nicknames import Nickname
from msrpconf.conference.roles import Role
from msrpconf.listen import ListenAddress
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, bracket, unbracket
from msrpconf.protocols.sip.grammar import is_token, parse_host
from msrpconf.protocols.sip.locate import Destination, LocateError
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.storage.url import read_url

T = TypeVar("T")
Network = IPv4Network | IPv6Network

MIN_TOKEN = 16
"""Characters that a token must have: fewer can be guessed."""

MAX_TOKEN = 256

MAX_LINE = 255
"""Characters of a text that is shown to people, and of an address of a web page."""

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONTACT = ("auto", "conference", "address")


class UnexpectedValue(ValueError):
    """A value that a key must not have; `expected` is what would be right."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found


def boolean(value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise UnexpectedValue("true or false", value)
    return value


def session_expires(value: object) -> float:
    """Seconds that a session is good for, as RFC 4028 allows; 0 for any number."""
    seconds = seconds_or_never(value)
    if 0 < seconds < 90:
        raise UnexpectedValue("90 seconds or more, or 0 for never", value)
    return seconds


def count(value: object) -> int:
    """How many of something: at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise UnexpectedValue("a whole number greater than 0", value)
    return value


def count_or_none(value: object) -> int:
    """How many of something, which may be none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnexpectedValue("a whole number, 0 for none", value)
    return value


def rate(value: object) -> float:
    """How often something may happen in a second."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < 0
    ):
        raise UnexpectedValue("a number for each second, 0 for no limit", value)
    return float(value)


def seconds_or_never(value: object) -> float:
    """A duration, or 0 for never."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    try:
        return seconds(value)
    except UnexpectedValue:
        raise UnexpectedValue("a number of seconds, 0 for never", value) from None


def file(value: object) -> str:
    """The name of a file."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise UnexpectedValue('the name of a file, such as "server.pem"', value)
    return value


def seconds(value: object) -> float:
    """A duration, whole or not."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value <= 0
    ):
        raise UnexpectedValue("a number of seconds greater than 0", value)
    return float(value)


def list_of(
    read: Callable[[str], T], what: str, *, empty: bool
) -> Callable[[object], tuple[T, ...]]:
    """A reader of a list of strings, each of which `read` reads."""

    def read_list(value: object) -> tuple[T, ...]:
        expected = f"a list of {what}" if empty else f"a list of one or more {what}"
        if not isinstance(value, list) or not (value or empty):
            raise UnexpectedValue(expected, value)
        items = []
        for each in value:
            if not isinstance(each, str):
                raise UnexpectedValue(expected, each)
            item = read(each)
            if item in items:
                raise UnexpectedValue("each value once", each)
            items.append(item)
        return tuple(items)

    return read_list


def address(*transports: str) -> Callable[[str], Address]:
    """A reader of an address to listen at, with one of these transports."""
    port, last_port = (5060, 5061) if "udp" in transports else (2855, 2855)
    first, last = transports[0], transports[-1]
    expected = f'addresses such as "{first}:192.0.2.1:{port}" or "{last}:[2001:db8::1]:{last_port}"'

    def read(text: str) -> Address:
        try:
            listen = Address.parse(text)
        except ValueError:
            raise UnexpectedValue(expected, text) from None
        if listen.transport not in transports:
            raise UnexpectedValue(expected, text)
        try:
            ip_address(listen.host)
        except ValueError:
            raise UnexpectedValue(
                f'{expected}, not a name, which would be for the key "address"', text
            ) from None
        return listen

    return read


def management_address(value: object) -> ListenAddress:
    """Where the management interface listens."""
    expected = 'an address such as "127.0.0.1:8080" or "[::1]:8080", or "unix:/path/of/a/socket"'
    if not isinstance(value, str):
        raise UnexpectedValue(expected, value)
    try:
        return ListenAddress.parse(value)
    except ValueError:
        raise UnexpectedValue(expected, value) from None


def token(value: object) -> str:
    """A secret that is sent in a header."""
    expected = (
        f"{MIN_TOKEN} to {MAX_TOKEN} characters of ASCII without blanks, such as uuidgen prints"
    )
    if not isinstance(value, str) or not is_secret(value):
        # What it is, is nobody's business.
        raise UnexpectedValue(expected, "something else")
    return value


def is_secret(text: str) -> bool:
    """Whether `text` can be a token: long enough, and fit for a header."""
    fit = text.isascii() and text.isprintable() and " " not in text
    return fit and MIN_TOKEN <= len(text) <= MAX_TOKEN


def passwords(value: object) -> dict[str, str]:
    """The passwords of users by their canonical URIs."""
    expected = 'a table of passwords by SIP URIs, such as "sip:alice@example.com" = "secret"'
    if not isinstance(value, dict):
        raise UnexpectedValue(expected, value)
    found: dict[str, str] = {}
    for text, password in value.items():
        try:
            uri = SipURI.parse(text)
        except SipSyntaxError:
            raise UnexpectedValue(expected, text) from None
        if uri.user is None:
            raise UnexpectedValue(expected, text)
        if not isinstance(password, str) or not password:
            # What it is, is nobody's business.
            raise UnexpectedValue(expected, f"another password of {text}")
        if uri.key in found:
            raise UnexpectedValue("each user once", text)
        found[uri.key] = password
    return found


def domains(value: object) -> tuple[str, ...]:
    """Domain names in lower case, or "*" alone for all."""
    names = list_of(_domain, "domain names", empty=False)(value)
    if "*" in names and len(names) > 1:
        raise UnexpectedValue('either "*", which is every domain, or domain names', value)
    return names


def domain(value: object) -> str:
    """The name of one domain, in lower case."""
    if not isinstance(value, str) or value == "*":
        raise UnexpectedValue('a domain name, such as "example.com"', value)
    return _domain(value)


def _domain(text: str) -> str:
    if text == "*":
        return text
    try:
        return parse_host(text)
    except SipSyntaxError:
        raise UnexpectedValue(
            'domain names such as "conference.example.com", or "*" for all', text
        ) from None


def network(text: str) -> Network:
    """A network; an address alone is the network of that one host."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise UnexpectedValue(
            'networks or addresses such as "192.0.2.0/24", "192.0.2.1" or "2001:db8::/32", or'
            ' names of certificates such as "tls:proxy.example.com"',
            text,
        ) from None
    raise UnexpectedValue(f'"{whole}" for the whole network', text)


def host(value: object) -> str:
    """A host name or address for others to reach us at; IPv6 with or without brackets."""
    expected = 'a host name or an address without a port, such as "chat.example.com"'
    if not isinstance(value, str):
        raise UnexpectedValue(expected, value)
    try:
        name = unbracket(parse_host(bracket(unbracket(value))))
    except SipSyntaxError:
        raise UnexpectedValue(expected, value) from None
    if is_wildcard(name):
        raise UnexpectedValue(f"{expected}, that others can reach", value)
    return name


def line(value: object) -> str:
    """A line of text, which may be empty."""
    if not isinstance(value, str) or len(value) > MAX_LINE or not value.isprintable():
        raise UnexpectedValue(f"a line of text of at most {MAX_LINE} characters", value)
    return value.strip()


def page(value: object) -> str:
    """The address of a web page; empty for none."""
    expected = 'the address of a web page such as "https://www.example.com/chat", or ""'
    if not isinstance(value, str) or len(value) > MAX_LINE:
        raise UnexpectedValue(expected, value)
    if value and not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?", value):
        raise UnexpectedValue(expected, value)
    return value


def proxy(value: object) -> SipURI:
    """The URI of a SIP proxy."""
    expected = 'a SIP URI without a user, such as "sip:proxy.example.com;transport=tcp"'
    if not isinstance(value, str):
        raise UnexpectedValue(expected, value)
    try:
        uri = SipURI.parse(value)
        Destination.of(uri)
    except (SipSyntaxError, LocateError):
        raise UnexpectedValue(expected, value) from None
    if uri.user is not None or uri.headers:
        raise UnexpectedValue(expected, value)
    return uri


def option_tag(text: str) -> str:
    """An option tag of SIP (RFC 3261 §19.2)."""
    if not is_token(text):
        raise UnexpectedValue('SIP option tags such as "gruu"', text)
    return text


def media_type(text: str) -> str:
    """A media type in lower case, or a pattern such as "image/*" or "*"."""
    kind, slash, subtype = text.partition("/")
    if text != "*" and not (slash and is_token(kind) and kind != "*" and is_token(subtype)):
        raise UnexpectedValue('media types such as "text/plain", "image/*" or "*"', text)
    return text.lower()


def nickname(text: str) -> str:
    """A nickname (RFC 8266)."""
    try:
        Nickname.prepare(text)
    except ValueError:
        raise UnexpectedValue('nicknames such as "Operator"', text) from None
    return text


def role(value: object) -> Role:
    """The least that one must be in a room to do something."""
    roles = {role.text: role for role in Role if role is not Role.BANNED}
    if not isinstance(value, str) or value not in roles:
        names = ", ".join(f'"{name}"' for name in roles)
        raise UnexpectedValue(f"one of {names}", value)
    return roles[value]


def database_url(value: object) -> str:
    """The URL of a database."""
    expected = (
        'a URL such as "sqlite:///msrpconf.sqlite", "postgresql://user:password@host/database"'
        ' or "mysql://user:password@host/database"'
    )
    if not isinstance(value, str):
        raise UnexpectedValue(expected, value)
    try:
        read_url(value)
    except ValueError:
        # Behind the scheme there may be a password, which nobody wants to see.
        scheme, colon, _ = value.partition(":")
        raise UnexpectedValue(expected, f"{scheme}:..." if colon else value) from None
    return value


def contact(value: object) -> str:
    """Which URI our Contact has."""
    if not isinstance(value, str) or value not in _CONTACT:
        close = get_close_matches(str(value), _CONTACT, 1)
        hint = f' (did you mean "{close[0]}"?)' if close else ""
        raise UnexpectedValue(f'"auto", "conference" or "address"{hint}', value)
    return value


def directory(value: object) -> str:
    """A directory, which need not be there yet."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise UnexpectedValue('a directory such as "/var/lib/msrpconf/files"', value)
    return value


def server_name(value: object) -> str:
    """The name of a server: it stands before a dot in the tags of its dialogs."""
    if not isinstance(value, str) or not _SERVER_NAME.fullmatch(value):
        raise UnexpectedValue("1 to 64 letters, digits, '-' or '_', without a dot", value)
    return value


def is_wildcard(host: str) -> bool:
    """Whether `host` is every address of this machine, and none that others can connect to."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(address: Address) -> bool:
    """Whether only this machine can come to an address, whose host is numeric."""
    return ip_address(address.host).is_loopback


def instead(name: str, known: list[str], what: str) -> str:
    """The end of a message about an unknown name: the one that was meant, else all there are."""
    close = get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; the {what} are {', '.join(known)}"


def found(value: object) -> str:
    """A value as the file has it, on one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
