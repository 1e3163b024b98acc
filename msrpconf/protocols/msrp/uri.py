"""MSRP URIs: `msrp://host.example.com:8493/asfd34;tcp` (RFC 4975 §6 and §9)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

from msrpconf.protocols.msrp.errors import MsrpSyntaxError
from msrpconf.protocols.text import shown

#: The port that the standard recommends, for a URI that names none (RFC 4975 §15.4).
DEFAULT_PORT = 2855

#: The longest URI that is read, in octets.
MAX_URI = 1024

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ALPHANUM = frozenset(_LETTERS + "0123456789")
# RFC 3986: what may stand in a host name and, with ":", in userinfo.
_HOST = _ALPHANUM | frozenset("-._~!$&'()*+,=%")
_USERINFO = _HOST | {":"}
_TOKEN = _ALPHANUM | frozenset("!#$%&'*+-.^_`{|}~")
# RFC 4975 §9 has unreserved, "+", "=" and "/"; clients are known to use more of what URIs allow.
_SESSION_ID = _HOST | frozenset(":@/?[]")
_ESCAPED_UNRESERVED = re.compile(
    "%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])"
)


@frozen
class MsrpURI:
    """An MSRP URI, spelled as it came.

    - `scheme`: "msrp", or "msrps" for a connection that must be TLS.
    - `host`: a name or an address; an IPv6 address is in brackets, "[::1]".
    - `port`: None if the URI has none.
    - `session_id`: what names the session at that host; None in the URI of a relay.
    - `transport`: "tcp", or another name such as "ws".
    - `parameters`: (name, value or None) of those after the transport.
    - `userinfo`: what stands before "@", None as a rule; never compared.
    """

    scheme: str
    host: str
    port: int | None = None
    session_id: str | None = None
    transport: str = "tcp"
    parameters: tuple[tuple[str, str | None], ...] = ()
    userinfo: str | None = None

    @classmethod
    def parse(cls, text: str | bytes) -> MsrpURI:
        """Read one URI. Raises MsrpSyntaxError."""
        if len(text) > MAX_URI:
            raise MsrpSyntaxError(f"MSRP URI must not be longer than {MAX_URI} octets")
        if isinstance(text, bytes):
            try:
                text = text.decode("ascii")
            except UnicodeDecodeError:
                raise MsrpSyntaxError(f"MSRP URI must be ASCII: {shown(text)}") from None
        scheme, separator, rest = text.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in {"msrp", "msrps"}:
            raise MsrpSyntaxError(f"MSRP URI must start with msrp:// or msrps://: {shown(text)}")
        rest, semicolon, after = rest.partition(";")
        if not semicolon:
            raise MsrpSyntaxError(f"MSRP URI must name its transport, ';tcp': {shown(text)}")
        transport, *parameters = after.split(";")
        if not transport or not _ALPHANUM.issuperset(transport):
            raise MsrpSyntaxError(
                f"MSRP URI must have the transport first after ';', ';tcp': {shown(text)}"
            )
        authority, _, session_id = rest.partition("/")
        if not _SESSION_ID.issuperset(session_id):
            raise MsrpSyntaxError(
                f"MSRP URI has a character that a session id must not have: {shown(text)}"
            )
        userinfo, at, host_port = authority.rpartition("@")
        if not _USERINFO.issuperset(userinfo):
            raise MsrpSyntaxError(f"MSRP URI has wrong characters before '@': {shown(text)}")
        host, port = _host_port(host_port, text)
        return cls(
            scheme,
            host,
            port,
            session_id or None,
            transport,
            tuple(_parameter(parameter, text) for parameter in parameters),
            userinfo if at else None,
        )

    def __str__(self) -> str:
        userinfo = "" if self.userinfo is None else f"{self.userinfo}@"
        port = "" if self.port is None else f":{self.port}"
        session_id = "" if self.session_id is None else f"/{self.session_id}"
        parameters = "".join(
            f";{name}" if value is None else f";{name}={value}" for name, value in self.parameters
        )
        return (
            f"{self.scheme}://{userinfo}{self.host}{port}{session_id};{self.transport}{parameters}"
        )

    def __bytes__(self) -> bytes:
        return str(self).encode("ascii")

    @property
    def secure(self) -> bool:
        """Whether the connection must be TLS."""
        return self.scheme == "msrps"

    @property
    def connect_port(self) -> int:
        """The port to connect to: `port`, or 2855 if there is none."""
        return DEFAULT_PORT if self.port is None else self.port

    def equivalent(self, other: MsrpURI) -> bool:
        """Whether both name the same session at the same place (RFC 4975 §6.1).

        The session id is compared with the case of its letters; host, scheme and transport
        without. Userinfo and the parameters after the transport do not count. A URI with a port
        never equals one without.
        """
        return (
            self.session_id == other.session_id
            and self.port == other.port
            and self.scheme == other.scheme
            and self.transport.lower() == other.transport.lower()
            and _comparable_host(self.host) == _comparable_host(other.host)
        )


def _host_port(text: str, uri: str) -> tuple[str, int | None]:
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        try:
            IPv6Address(address if bracket and _USERINFO.issuperset(address) else "")
        except ValueError:
            raise MsrpSyntaxError(
                f"MSRP URI must have an IPv6 address in its brackets: {shown(uri)}"
            ) from None
        host = f"[{address}]"
        colon, port = rest[:1], rest[1:]
        if colon not in {"", ":"}:
            raise MsrpSyntaxError(f"MSRP URI must have nothing but a port after ']': {shown(uri)}")
    else:
        host, colon, port = text.partition(":")
        if not host or not _HOST.issuperset(host):
            raise MsrpSyntaxError(f"MSRP URI must have a host name or address: {shown(uri)}")
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF):
        raise MsrpSyntaxError(f"MSRP URI must have a port from 0 to 65535: {shown(uri)}")
    return host, int(port)


def _parameter(text: str, uri: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or not _TOKEN.issuperset(name) or not _TOKEN.issuperset(value):
        raise MsrpSyntaxError(f"MSRP URI has a parameter that is no 'name=value': {shown(uri)}")
    return name, value if equals else None


def _comparable_host(host: str) -> IPv4Address | IPv6Address | str:
    if "%" in host:
        host = _ESCAPED_UNRESERVED.sub(lambda match: chr(int(match[1], 16)), host)
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return host.lower()
