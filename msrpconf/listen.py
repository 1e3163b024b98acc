"""Where the management interface listens."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import frozen

from msrpconf.protocols.sip.flow import bracket

UNIX = "unix:"


@frozen
class ListenAddress:
    """A `host`, which is numeric, and a `port`; or the `path` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read ``127.0.0.1:8080``, ``[::1]:8080`` or ``unix:/path``. Raises `ValueError`."""
        if text.startswith(UNIX):
            path = text.removeprefix(UNIX)
            if not path.startswith("/") or "\0" in path or len(path.encode()) > 107:
                raise ValueError(f"not the path of a socket: {path!r}")
            return cls(path=path)
        parts = urlsplit(f"//{text}")
        if parts.netloc != text or parts.hostname is None or parts.port is None or "@" in text:
            raise ValueError(f"not an address with a port: {text!r}")
        address = ip_address(parts.hostname)
        return cls(str(address), parts.port)

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        return self.path is not None or ip_address(self.host).is_loopback

    def url(self, port: int) -> str:
        """As a browser has it."""
        return f"http://{bracket(self.host)}:{port}"

    def __str__(self) -> str:
        return (
            f"{UNIX}{self.path}" if self.path is not None else f"{bracket(self.host)}:{self.port}"
        )
