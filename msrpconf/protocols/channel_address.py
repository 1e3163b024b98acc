"""Where the other end of a link listens: ``tls:host:port`` or ``unix:/path``."""

from __future__ import annotations

import re

from attrs import frozen

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import bracket, unbracket
from msrpconf.protocols.sip.grammar import parse_host

_MAX_PATH = 100
"""Octets of a socket's path: the kernel takes 107, and the lock beside it has a name, too."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE = re.compile(rf"_{_LABEL}\._{_LABEL}(?:\.{_LABEL})+")


@frozen
class ChannelAddress:
    """A `host`, name or address without brackets, and a `port`, for TLS; or a socket's `path`."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> ChannelAddress:
        """Read an address. Raises ValueError."""
        kind, _, rest = text.partition(":")
        if kind == "unix":
            if not rest.startswith("/") or "\0" in rest or len(rest.encode()) > _MAX_PATH:
                raise ValueError(f"not the path of a socket: {rest!r}")
            return cls(path=rest)
        host, _, port = rest.rpartition(":")
        if kind != "tls" or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"neither tls:host:port nor unix:/path: {text!r}")
        try:
            return cls(unbracket(parse_host(host)), int(port))
        except SipSyntaxError as error:
            raise ValueError(str(error)) from None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tls:{bracket(self.host)}:{self.port}"


@frozen
class ChannelService:
    """A service whose SRV records (RFC 2782) say where servers are, by TLS.

    `name` is such as ``_msrpconf._tls.example.com``, in lower case.
    """

    name: str

    @classmethod
    def parse(cls, text: str) -> ChannelService:
        """Read ``srv:_msrpconf._tls.example.com``. Raises ValueError."""
        kind, _, name = text.lower().rstrip(".").partition(":")
        if kind != "srv" or not _SERVICE.fullmatch(name) or len(name) > 253:
            raise ValueError(f"not srv:_service._tls.domain: {text!r}")
        return cls(name)

    @property
    def domain(self) -> str:
        """The domain whose service it is."""
        return self.name.split(".", 2)[2]

    def has(self, host: str) -> bool:
        """Whether a host is one of the domain's."""
        return host == self.domain or host.endswith(f".{self.domain}")

    def __str__(self) -> str:
        return f"srv:{self.name}"
