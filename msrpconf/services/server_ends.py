"""The servers that a dispatcher is to connect to, as its operator changes them.

    wanted --connect--> in use --not wanted any more--> leaving --its last dialog ends--> no more

A server that leaves gets no new rooms from this dispatcher, and serves those it has to their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from msrpconf.protocols.channel_address import ChannelAddress
from msrpconf.protocols.channel_tls import ChannelTls
from msrpconf.services.server_end import ServerEnd

if TYPE_CHECKING:
    from msrpconf.services.dispatcher import DispatcherService

MAX_SERVERS = 1000
"""Servers of one dispatcher; of more, the first are taken."""

LOOK = 1.0
"""Seconds from one look at those that leave to the next."""

WHY_LEFT = "it is not among [dispatcher] servers any more, and has no calls left"


@frozen
class Wanted:
    """A server that is to be connected to, and how it counts beside others.

    New rooms go to those of the lowest `priority` first; `weight` is by how much more or fewer of
    them it gets than its capacity says.
    """

    address: ChannelAddress
    priority: int = 0
    weight: float = 1.0


class ServerEnds:
    """Our ends of the links to all servers of a dispatcher, connected or not."""

    log = Logger()

    def __init__(
        self, dispatcher: DispatcherService, reactor: Any, tls: ChannelTls | None = None
    ) -> None:
        self.all: list[ServerEnd] = []
        self.tls = tls
        """What links by TLS are made with from now on."""
        self._dispatcher = dispatcher
        self._reactor = reactor
        self._later: IDelayedCall | None = None

    def start(self) -> None:
        """Connect to all."""
        for end in self.all:
            end.start()

    def stop(self) -> Deferred[Any]:
        """Connect no more."""
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        return DeferredList([end.stop("the dispatcher ends") for end in self.all])

    def use(self, wanted: Sequence[Wanted]) -> None:
        """Connect to these and to no others."""
        new: dict[ChannelAddress, Wanted] = {}
        for each in wanted[:MAX_SERVERS]:
            new.setdefault(each.address, each)
        for end in self.all:
            found = new.pop(end.address, None)
            if found is not None:
                end.wanted_as = found
            elif end.wanted_as is not None:
                end.wanted_as = None
                text = "server {name} at {address} leaves: it gets no new rooms"
                self.log.info(text, name=end.name or "without a name", address=end.address)
            self.rate(end)
        for each in new.values():
            end = ServerEnd(self._dispatcher, self._reactor, each, self.tls)
            self.all.append(end)
            if self._dispatcher.running:
                end.start()
        if self._later is None:
            self._look()

    def rate(self, end: ServerEnd) -> None:
        """Have the tables know how the server at one end counts."""
        entry = None if end.current is None else self._dispatcher.tables.servers.get(end.name or "")
        if entry is None:
            return
        wanted = end.wanted_as
        entry.leaving = wanted is None
        if wanted is not None:
            entry.priority, entry.weight = wanted.priority, wanted.weight

    def _look(self) -> None:
        """Let go of those that leave and have nothing left; look again while there are others."""
        self._later = None
        for end in [each for each in self.all if each.wanted_as is None]:
            if self._is_done(end):
                self.all.remove(end)
                self._dispatcher.let_go(end)
                end.stop(WHY_LEFT)
                text = "server {name} at {address} has left"
                self.log.info(text, name=end.name or "without a name", address=end.address)
        if any(each.wanted_as is None for each in self.all):
            self._later = self._reactor.callLater(LOOK, self._look)

    def _is_done(self, end: ServerEnd) -> bool:
        entry = self._dispatcher.tables.servers.get(end.name or "")
        if entry is None or self._is_of_another(end):
            return True
        if entry.dialogs or entry.offered:
            return False
        link = end.current
        return link is None or (entry.has_told and not (link.waiting or link.handling))

    def _is_of_another(self, end: ServerEnd) -> bool:
        """Whether its server is connected at another address."""
        return end.current is None and (end.name or "") in self._dispatcher.links
