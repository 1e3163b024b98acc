"""Which TLS connections serve for requests to which addresses (RFC 5923 section 8)."""

from __future__ import annotations

from collections import defaultdict
from typing import Generic, Protocol, TypeVar

from msrpconf.protocols.sip.flow import Address, Endpoint
from msrpconf.protocols.sip.identities import is_identity

MAX_ALIASES = 4
"""Addresses that one connection may serve for: a peer listens at one, most often."""


class Certified(Protocol):
    """A connection whose peer has proved to be some SIP domains, if any."""

    @property
    def identities(self) -> frozenset[str]: ...

    @property
    def dialled(self) -> Address | None: ...


C = TypeVar("C", bound=Certified)


class Aliases(Generic[C]):
    """Connections by the address at which their peers are, or say that they listen.

    Whatever a peer says of itself, a connection serves for those domains alone that it has proved
    to be (section 9.3), and for what we have connected to.
    """

    def __init__(self) -> None:
        self._connections: defaultdict[Endpoint, dict[C, None]] = defaultdict(dict)
        self._endpoints: defaultdict[C, set[Endpoint]] = defaultdict(set)

    def __len__(self) -> int:
        return sum(map(len, self._endpoints.values()))

    def add(self, endpoint: Endpoint, connection: C) -> None:
        """Have `connection` serve for who is at `endpoint`, if its peer has proved to be anybody.

        A forged alias leads nowhere: without a certificate it is left out (section 9.2).
        """
        if not connection.identities and connection.dialled is None:
            return
        known = self._endpoints[connection]
        if endpoint in known or len(known) >= MAX_ALIASES:
            return
        known.add(endpoint)
        self._connections[endpoint][connection] = None

    def find(self, target: Address) -> C | None:
        """The newest connection that serves for `target`; None where there is none."""
        for connection in reversed(self._connections.get(target.endpoint, {})):
            if connection.dialled == target or is_identity(connection.identities, target.tls_name):
                return connection
        return None

    def discard(self, connection: C) -> None:
        """`connection` is gone."""
        for endpoint in self._endpoints.pop(connection, ()):
            those = self._connections[endpoint]
            del those[connection]
            if not those:
                del self._connections[endpoint]
