"""Which of our addresses a message leaves from, and which one a peer is to know us by."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from msrpconf.protocols.sip.flow import Address, is_ipv6, is_numeric
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.sender import TransportError
from msrpconf.protocols.sip.sockets import WILDCARDS, is_loopback, source_host

SOURCE_TIME = 60.0
"""Seconds for which we know from which address of ours a host is reached."""


class LocalAddresses:
    """The addresses that we listen at, with their real ports.

    `advertised_host` is what others call us by instead of all of them, if it is not None.
    """

    def __init__(self, clock: IReactorTime, advertised_host: str | None = None) -> None:
        self._advertised_host = advertised_host
        self._listening: list[Address] = []
        self._sources: ShortMemory[str, str] = ShortMemory(clock, SOURCE_TIME)

    def add(self, address: Address) -> None:
        """We listen at `address`."""
        self._listening.append(address)

    def clear(self) -> None:
        """We listen nowhere any more."""
        self._listening.clear()

    def listener(self, transport: str, remote_host: str) -> Address:
        """The address that we listen at which is best for a peer. Raises `TransportError`."""
        ipv6 = is_ipv6(remote_host)
        loopback = is_loopback(remote_host)
        fitting = [
            address
            for address in self._listening
            if address.transport == transport
            and is_ipv6(address.host) == ipv6
            # Nothing leaves this machine from a loopback address.
            and (loopback or not is_loopback(address.host))
        ]
        if not fitting:
            raise TransportError(f"{transport}:{remote_host}: we listen at no address for it")
        if len(fitting) > 1:
            source = self.source(remote_host)
            fitting.sort(
                key=lambda address: (
                    address.host != source,
                    address.host not in WILDCARDS,
                    is_loopback(address.host) != loopback,
                )
            )
        return fitting[0]

    def port(self, transport: str, host: str) -> int | None:
        """The port at which we listen at our address `host`; None where we do not."""
        for address in self._listening:
            if address.transport == transport and address.host in (host, *WILDCARDS):
                return address.port
        return None

    def address_for(self, transport: str, remote_host: str) -> Address:
        """Where a peer reaches us. Raises `TransportError`."""
        listening = self.listener(transport, remote_host)
        host = self.known_host(listening.host, remote_host)
        return listening if host == listening.host else evolve(listening, host=host)

    def known_host(self, host: str, remote_host: str) -> str:
        """What a peer is to call us that we reach from `host`. Raises `TransportError`."""
        if self._advertised_host is not None:
            return self._advertised_host
        return self.source(remote_host) if host in WILDCARDS else host

    def source(self, remote_host: str) -> str:
        """The address that messages to a peer leave from. Raises `TransportError`."""
        source = self._sources.get(remote_host)
        if source is None:
            if not is_numeric(remote_host):
                raise TransportError(f"{remote_host}: not an address, and was not looked up")
            try:
                source = source_host(remote_host)
            except OSError as error:
                raise TransportError(f"{remote_host}: {error.strerror or error}") from None
            self._sources.put(remote_host, source)
        return source
