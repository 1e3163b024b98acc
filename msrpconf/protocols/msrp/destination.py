"""Where an MSRP connection of ours goes, and who must be there."""

from __future__ import annotations

from attrs import frozen

from msrpconf.protocols.fingerprint import Fingerprint


@frozen
class Destination:
    """A place to connect to.

    - `host`: a name or an address, IPv6 without brackets. `port`: that of TCP.
    - `secure`: whether by TLS. `server_name`: whom the peer's certificate must name, if there are
      no `fingerprints`, which it must match else. It differs from `host` where the way leads
      through a middlebox (RFC 6714).
    """

    host: str
    port: int
    secure: bool = False
    server_name: str = ""
    fingerprints: tuple[Fingerprint, ...] = ()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.secure else 'tcp'}:{host}:{self.port}"
