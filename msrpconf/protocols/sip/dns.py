"""The records that lead from a domain to its SIP servers (RFC 3263): NAPTR, SRV, A and AAAA."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    gatherResults,
    inlineCallbacks,
    succeed,
)
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.names import client, dns
from twisted.names.error import DNSNameError
from twisted.names.hosts import searchFileForAll
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface import implementer

from msrpconf.protocols.sip.flow import Endpoint, is_numeric
from msrpconf.protocols.sip.memory import ShortMemory
from msrpconf.protocols.sip.sender import TransportError

R = TypeVar("R")

TIMEOUTS = (1, 2)
"""Seconds that each nameserver has for an answer, the first time and the second."""

MAX_TTL = 300.0
"""Seconds that an answer is kept at most, however long it holds."""

NEGATIVE_TTL = 10.0
"""Seconds for which what was not there is not asked for again."""

MAX_RECORDS = 64
"""Records of an answer that are looked at."""

MAX_ADDRESSES = 8
"""Addresses of one name."""

HOSTS = Path("/etc/hosts")
"""Where the system has hosts of its own."""

RESOLV_CONF = Path("/etc/resolv.conf")
"""Where the system names its nameservers."""


class LookupFailed(TransportError):
    """Nobody could say which records there are. The text says why."""


@frozen
class Naptr:
    """A rule that says which services a domain has (RFC 3403): `service` such as ``SIP+D2U``."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


@frozen
class Srv:
    """A server of a service (RFC 2782). `target` is ``.`` where the service is not there."""

    priority: int
    weight: int
    port: int
    target: str


class Dns(Protocol):
    """Gives records, none where there are none. Fails with `LookupFailed` where that is unknown."""

    def naptr(self, name: str) -> Deferred[list[Naptr]]: ...

    def srv(self, name: str) -> Deferred[list[Srv]]: ...

    def addresses(self, name: str) -> Deferred[list[str]]:
        """Numeric hosts, the best first."""


class HostNames:
    """Addresses as the system finds them, and no other records.

    `reactor` is an `IReactorPluggableNameResolver`.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def naptr(self, name: str) -> Deferred[list[Naptr]]:
        """None."""
        return succeed([])

    def srv(self, name: str) -> Deferred[list[Srv]]:
        """None."""
        return succeed([])

    def addresses(self, name: str) -> Deferred[list[str]]:
        """As `Dns`; the system knows of more than nameservers, such as /etc/hosts."""
        result: Deferred[list[str]] = Deferred()
        receiver = _Receiver(result)
        # UDP for all transports: the addresses are the same, and each comes once.
        self._reactor.nameResolver.resolveHostName(
            receiver, name, 0, addressTypes=_FAMILIES, transportSemantics="UDP"
        )
        return result


class NameServers:
    """Asks nameservers, and remembers what they say for as long as it holds.

    `reactor` is Twisted's. `servers` are those to ask, in this order; without any they are the
    system's, and addresses come from the system, too: what `hosts`, a file, has is then not asked
    for, as its hosts may be on a network without any nameserver. Nobody is asked for localhost.
    """

    def __init__(self, reactor: Any, servers: Sequence[Endpoint] = (), hosts: Path = HOSTS) -> None:
        self._hosts = FilePath(str(hosts))
        self._reactor = reactor
        self._servers = tuple(servers)
        self._host_names = HostNames(reactor)
        self._known: ShortMemory[tuple[int, str], list[Any]] = ShortMemory(reactor, MAX_TTL)
        self._asked: tuple[Endpoint, ...] = ()
        self._client: client.Resolver | None = None

    def naptr(self, name: str) -> Deferred[list[Naptr]]:
        """As `Dns`."""
        return self._records(name, dns.NAPTR, _naptr)

    def srv(self, name: str) -> Deferred[list[Srv]]:
        """As `Dns`."""
        return self._records(name, dns.SRV, _srv)

    def addresses(self, name: str) -> Deferred[list[str]]:
        """As `Dns`: of IPv6 first."""
        if not self._servers or self._is_local(name):
            return self._host_names.addresses(name)
        both = [self._records(name, kind, _host) for kind in (dns.AAAA, dns.A)]
        asking = gatherResults(both, consumeErrors=True)
        asking.addErrback(_first_failure)
        return asking.addCallback(lambda found: [*found[0], *found[1]][:MAX_ADDRESSES])

    @inlineCallbacks
    def _records(
        self, name: str, kind: int, read: Callable[[Any], R]
    ) -> Generator[Deferred[Any], Any, list[R]]:
        if self._is_local(name):
            return []
        key = kind, name.lower()
        known = self._known.get(key)
        if known is None:
            known, lifetime = yield self._ask(name, kind, read)
            if lifetime > 0:
                self._known.put(key, known, lifetime)
        return cast("list[R]", known)

    @inlineCallbacks
    def _ask(
        self, name: str, kind: int, read: Callable[[Any], R]
    ) -> Generator[Deferred[Any], Any, tuple[list[R], float]]:
        """The records, and for how many seconds they hold."""
        try:
            answers, _, _ = yield self._resolver().query(dns.Query(name, kind, dns.IN))
        except DNSNameError:
            return [], NEGATIVE_TTL
        except CancelledError:
            raise
        except Exception as error:
            raise LookupFailed(f"{name}: {_why(error)}") from None
        records = [each for each in answers if each.type == kind][:MAX_RECORDS]
        if not records:
            return [], NEGATIVE_TTL
        return [read(each.payload) for each in records], min(MAX_TTL, *(r.ttl for r in records))

    def _is_local(self, name: str) -> bool:
        """Whether a name, without what it has of a service, is no nameserver's business."""
        labels = name.lower().rstrip(".").split(".")
        while labels[0].startswith("_") and len(labels) > 1:
            del labels[0]
        if labels[-1] == "localhost":
            return True  # RFC 6761 section 6.3
        if self._servers:
            return False
        return bool(searchFileForAll(self._hosts, ".".join(labels).encode("ascii", "replace")))

    def _resolver(self) -> client.Resolver:
        servers = self._servers or system_nameservers()
        if self._client is None or servers != self._asked:
            self._asked = servers
            self._client = client.Resolver(
                servers=list(servers), timeout=TIMEOUTS, reactor=self._reactor
            )
        return self._client


def system_nameservers(path: Path = RESOLV_CONF) -> tuple[Endpoint, ...]:
    """Those of resolv.conf; this machine where it names none (resolv.conf(5))."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    found = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    servers = tuple((host, dns.PORT) for host in found if is_numeric(host))
    return servers or (("127.0.0.1", dns.PORT),)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the nameserver does not answer"
    return f"the nameserver cannot be asked ({type(error).__name__})"


def _first_failure(failure: Failure) -> Any:
    """What `gatherResults` has wrapped."""
    inner = getattr(failure.value, "subFailure", failure)
    inner.raiseException()


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")


def _naptr(record: dns.Record_NAPTR) -> Naptr:
    return Naptr(
        record.order,
        record.preference,
        _text(record.flags.string),
        _text(record.service.string),
        _text(record.regexp.string),
        _text(record.replacement.name),
    )


def _srv(record: dns.Record_SRV) -> Srv:
    target = _text(record.target.name)
    return Srv(record.priority, record.weight, record.port, target or ".")


def _host(record: dns.Record_A | dns.Record_AAAA) -> str:
    packed = record.address
    assert packed is not None
    return str(ip_address(packed))


_FAMILIES: Sequence[type[IPv4Address | IPv6Address]] = (IPv6Address, IPv4Address)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, result: Deferred[list[str]]) -> None:
        self._result = result
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """From Twisted."""

    def addressResolved(self, address: IAddress) -> None:
        """From Twisted."""
        host = getattr(address, "host", None)
        if host is not None and host not in self._hosts and len(self._hosts) < MAX_ADDRESSES:
            self._hosts.append(host)

    def resolutionComplete(self) -> None:
        """From Twisted."""
        if not self._result.called:
            self._result.callback(self._hosts)
