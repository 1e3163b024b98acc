"""Which servers there are: those that the configuration names, and those that DNS does (RFC 2782).

A configuration has ``srv:_msrpconf._tls.example.com``; its records have the hosts and ports of the
servers, with their priorities and weights. They are asked for again as soon as they do not hold
any more, as far as `NameServers` remembers them.

Who could change what DNS says must not get our calls: a target must be in the domain of the
service, here ``example.com``, and its certificate, by our own authority, for that target.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from msrpconf.protocols.channel_address import ChannelAddress, ChannelService
from msrpconf.protocols.sip.dns import LookupFailed, Srv
from msrpconf.services.server_ends import Wanted
from msrpconf.visible import visible

ASK = 15.0
"""Seconds from one question to the next; what still holds is answered from memory."""

LEAST = 0.01
"""The share of an average server that one of weight 0 counts for."""

log = Logger()


class Records(Protocol):
    """Gives the SRV records of a name: see `msrpconf.protocols.sip.dns`."""

    def srv(self, name: str) -> Deferred[list[Srv]]: ...


class ServerList(Service):
    """Tells `use` which servers there are, at the start and whenever that changes.

    `servers` are addresses, and names of services that `dns` is asked for; `clock` keeps time.
    `use` is also told whether all services were found out about.
    """

    name = "msrpconf-servers"

    def __init__(
        self,
        clock: Any,
        dns: Records,
        use: Callable[[Sequence[Wanted], bool], None],
        servers: Iterable[ChannelAddress | ChannelService],
    ) -> None:
        self._dns = dns
        self._use = use
        self._servers = tuple(servers)
        self._found: dict[ChannelService, list[Wanted]] = {}
        self._said: dict[ChannelService, str] = {}
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Tell which servers there are, and look for others."""
        Service.startService(self)
        self._tell()
        self._loop.start(ASK)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()

    def change(self, servers: Iterable[ChannelAddress | ChannelService]) -> None:
        """Have other servers from now on."""
        self._servers = tuple(servers)
        self._found = {each: found for each, found in self._found.items() if each in self._servers}
        if self.running:
            self._tell()
            self._loop.stop()
            self._loop.start(ASK)

    @property
    def _services(self) -> list[ChannelService]:
        return [each for each in self._servers if isinstance(each, ChannelService)]

    def _tell(self) -> None:
        wanted: list[Wanted] = []
        for each in self._servers:
            if isinstance(each, ChannelService):
                wanted += self._found.get(each, ())
            else:
                wanted.append(Wanted(each))
        self._use(wanted, all(each in self._found for each in self._services))

    @inlineCallbacks
    def _look(self) -> Generator[Deferred[Any], Any, None]:
        for service in self._services:
            try:
                records = yield self._dns.srv(service.name)
            except LookupFailed as error:
                self._say(service, str(error))
                continue
            if not self.running or service not in self._servers:
                continue
            self._answered(service, records)

    def _answered(self, service: ChannelService, records: Sequence[Srv]) -> None:
        if not records:
            self._say(service, f"{service.name} has no SRV records")
            return
        found, wrong = servers_of(service, records)
        if wrong:
            self._say(service, f"{', '.join(wrong)}: not in the domain {service.domain}")
        else:
            self._said.pop(service, None)
        if found != self._found.get(service):
            self._found[service] = found
            log.info(
                "{service} has the servers {servers}",
                service=str(service),
                servers=", ".join(str(each.address) for each in found) or "none",
            )
            self._tell()

    def _say(self, service: ChannelService, why: str) -> None:
        """What is wrong, unless that was said. Servers that were found before stay."""
        if self._said.get(service) != why:
            self._said[service] = why
            text = "[dispatcher] servers: {service}: {why}"
            log.error(text, service=str(service), why=visible(why))


def servers_of(service: ChannelService, records: Iterable[Srv]) -> tuple[list[Wanted], list[str]]:
    """The servers of a service, and the targets that cannot be any; in one order for all answers.

    A weight is made a share of the average of its priority.
    """
    found: dict[ChannelAddress, Srv] = {}
    wrong = []
    for each in records:
        target = each.target.rstrip(".").lower()
        if not target:
            continue  # ".": there are none
        if not service.has(target):
            wrong.append(visible(target))
            continue
        try:
            address = ChannelAddress.parse(f"tls:{target}:{each.port}")
        except ValueError:
            wrong.append(visible(target))
        else:
            found[address] = each
    wanted = []
    for address, each in sorted(found.items(), key=lambda item: str(item[0])):
        same = [one.weight for one in found.values() if one.priority == each.priority]
        average = sum(same) / len(same)
        weight = max(each.weight / average, LEAST) if average else 1.0
        wanted.append(Wanted(address, each.priority, weight))
    return wanted, sorted(wrong)
