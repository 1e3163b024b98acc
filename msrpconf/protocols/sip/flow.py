"""Where SIP messages go and come from: addresses, and the flows between two of them."""

from __future__ import annotations

import ipaddress
import re

from attrs import field, frozen

TRANSPORTS = ("udp", "tcp", "tls")
"""The transports that an address may have (RFC 3261 section 18)."""

RELIABLE = frozenset({"tcp", "tls"})
"""Those of them that deliver what they are given, or break (RFC 3261 section 17)."""

Endpoint = tuple[str, int]
"""A numeric host, IPv6 without brackets, and a port."""

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")


def default_port(transport: str) -> int:
    """The port that a URI or a Via without one means (RFC 3261 sections 18.1.1, 19.1.2)."""
    return 5061 if transport == "tls" else 5060


def is_ipv6(host: str) -> bool:
    """Whether `host`, a numeric host or a name, is an IPv6 address."""
    return ":" in host


def is_numeric(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address, and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def quota_key(host: str) -> str:
    """What limits count a numeric host by: itself, or the /64 of IPv6, which one host may fill."""
    if not is_ipv6(host) or not is_numeric(host):
        return host
    return ipaddress.IPv6Address(host).packed[:8].hex()


def bracket(host: str) -> str:
    """`host` as URIs, Via and our own texts write it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def unbracket(host: str) -> str:
    """The inverse of `bracket`, for a host that comes from a URI or a Via."""
    return host[1:-1] if host.startswith("[") else host


def format_endpoint(endpoint: Endpoint) -> str:
    """`host:port`, with IPv6 in brackets."""
    return f"{bracket(endpoint[0])}:{endpoint[1]}"


def parse_endpoint(text: str) -> Endpoint:
    """`host:port`, where the host may be a name. Raises ValueError, which says what is wrong."""
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected host:port or [IPv6 address]:port, got {text!r}")
    ipv6, host, port = match.group(1), match.group(2), int(match.group(3))
    if port > 65535:
        raise ValueError(f"expected a port from 0 to 65535 in {text!r}")
    if ipv6 is not None:
        try:
            return str(ipaddress.IPv6Address(ipv6)), port
        except ValueError:
            raise ValueError(f"expected an IPv6 address in the brackets of {text!r}") from None
    if not is_numeric(host) and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"expected an address or a host name in {text!r}")
    return host.lower(), port


def _check_transport(instance: object, attribute: object, value: str) -> None:
    if value not in TRANSPORTS:
        raise ValueError(f"expected one of {', '.join(TRANSPORTS)} as transport, got {value!r}")


@frozen
class Address:
    """A place to listen at or to send to, as `udp:127.0.0.1:5060` or `tcp:[::1]:5060`.

    `transport` is one of `TRANSPORTS`; `host` is numeric, or a name that its user resolves,
    without brackets; port 0 lets the system choose one. `domain` is what was looked up to find
    it, where that is known: who is there by TLS must have a certificate for that.
    """

    transport: str = field(validator=_check_transport)
    host: str
    port: int
    domain: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads what `str()` writes. Raises ValueError, which says what is wrong."""
        transport, colon, rest = text.strip().partition(":")
        if not colon:
            raise ValueError(
                f"expected transport:host:port, such as udp:127.0.0.1:5060, got {text!r}"
            )
        return cls(transport.lower(), *parse_endpoint(rest))

    @property
    def endpoint(self) -> Endpoint:
        """Host and port."""
        return self.host, self.port

    @property
    def tls_name(self) -> str:
        """What the certificate of who is there must be for (RFC 5922 section 7.3)."""
        return self.domain or self.host

    @property
    def sent_by(self) -> str:
        """`host:port` as URIs and Via write it."""
        return format_endpoint(self.endpoint)

    @property
    def reliable(self) -> bool:
        """Whether the transport delivers what it is given (RFC 3261 section 17)."""
        return self.transport in RELIABLE

    def __str__(self) -> str:
        return f"{self.transport}:{self.sent_by}"


@frozen
class Flow:
    """The way that a message came by, and that others can go back by (RFC 5626 section 3.3).

    `serial` is the number of the connection, never given twice by one process, and 0 for UDP.
    `local` of UDP is what the socket is bound to, which may be the wildcard address. `str()`
    gives a token without spaces, commas or semicolons, which may be carried elsewhere and read
    back by `parse`; a flow whose connection is gone is no harm, it names none.
    """

    transport: str
    local: Endpoint
    remote: Endpoint
    serial: int = 0

    @classmethod
    def parse(cls, text: str) -> Flow:
        """Reads what `str()` writes. Raises ValueError, which says what is wrong."""
        parts = text.strip().split("/")
        if len(parts) != 4 or parts[0] not in TRANSPORTS:
            raise ValueError(f"expected transport/local/remote/serial, got {text!r}")
        transport, local, remote, serial = parts
        if not (serial.isascii() and serial.isdigit() and len(serial) <= 20):
            raise ValueError(f"expected a connection's number at the end of {text!r}")
        return cls(transport, parse_endpoint(local), parse_endpoint(remote), int(serial))

    @property
    def reliable(self) -> bool:
        """Whether the transport delivers what it is given (RFC 3261 section 17)."""
        return self.transport in RELIABLE

    @property
    def peer(self) -> Address:
        """The other end, as a target for new messages."""
        return Address(self.transport, *self.remote)

    def __str__(self) -> str:
        local, remote = format_endpoint(self.local), format_endpoint(self.remote)
        return f"{self.transport}/{local}/{remote}/{self.serial}"
