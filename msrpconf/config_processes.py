"""`[server] processes`: the configurations of the several processes that one file is for.

    msrpconf, with [focus] and [server]         the parent runs focus and dispatcher; the servers
                                                are its children, at Unix sockets of its own
    msrpconf-server                             the parent runs nothing itself; its children listen
                                                for dispatchers at consecutive addresses

Child number 1 listens for MSRP where the file says, the others at the ports after that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import evolve

from msrpconf.listen import ListenAddress
from msrpconf.protocols.channel_address import ChannelAddress

if TYPE_CHECKING:
    from msrpconf.config import Config

MAX_PROCESSES = 64

_MAX_PORT = 65535


def problems(config: Config) -> Iterable[str]:
    """What does not go together with several processes."""
    count = config.server.processes
    if count == 1 or "server" not in config.components:
        return
    if count > MAX_PROCESSES:
        yield f"[server] processes: expected at most {MAX_PROCESSES}; found {count}"
        return
    if "xcap" in config.written:
        yield (
            "[xcap]: it runs beside the one server of a process, and [server] processes has"
            " several; leave one of them out"
        )
    last = (count - 1) * _step(config)
    for address in config.server.listen:
        if address.port and address.port + last > _MAX_PORT:
            yield (
                f'[server] listen: {count} processes need ports from "{address}" on, up to'
                f" {address.port + last}, which is beyond {_MAX_PORT}"
            )


def _step(config: Config) -> int:
    """From a port of one process to that of the next."""
    ports = [address.port for address in config.server.listen if address.port]
    return max(ports) - min(ports) + 1 if ports else 0


def names(config: Config) -> list[str]:
    """What the servers are called."""
    return [f"{config.server.name}-{number + 1}" for number in range(config.server.processes)]


def of_child(config: Config, number: int, sockets: str | None) -> Config:
    """The configuration of server `number`, from 1.

    In the directory `sockets` it has a Unix socket for the dispatcher and one for management; None
    where it is a server apart, for dispatchers elsewhere.
    """
    server, management = config.server, config.management.listen
    name = f"{server.name}-{number}"
    control = server.control
    if sockets is not None:
        control = control_of(sockets, number)
        management = ListenAddress(path=f"{sockets}/{number}.management.sock")
    elif control is not None:
        control = _shifted(control, number)
        management = _managed(management, number)
    offset = (number - 1) * _step(config)
    listen = tuple(
        evolve(address, port=address.port + offset if address.port else 0)
        for address in server.listen
    )
    own = evolve(
        server,
        name=name,
        processes=1,
        listen=listen,
        control=control,
        files=None if server.files is None else f"{server.files}/{name}",
        state=None if server.state is None else f"{server.state}/{name}",
    )
    return evolve(config, server=own, management=evolve(config.management, listen=management))


def of_parent(config: Config, sockets: str, count: int) -> Config:
    """The configuration of the focus and dispatcher that stand before `count` such servers.

    Of the table of these it has how many they should be.
    """
    servers = tuple(control_of(sockets, number + 1) for number in range(count))
    return evolve(
        config,
        dispatcher=evolve(config.dispatcher, servers=servers),
        server=type(config.server)(processes=config.server.processes),
        written=config.written - {"server"} | {"dispatcher"},
    )


def control_of(sockets: str, number: int) -> ChannelAddress:
    """Where the dispatcher reaches server `number`."""
    return ChannelAddress(path=f"{sockets}/{number}.sock")


def _shifted(control: ChannelAddress, number: int) -> ChannelAddress:
    """Where dispatchers elsewhere reach server `number`."""
    if control.path is not None:
        return ChannelAddress(path=_numbered(control.path, number))
    return evolve(control, port=control.port + number - 1 if control.port else 0)


def _managed(listen: ListenAddress, number: int) -> ListenAddress:
    if listen.path is not None:
        return ListenAddress(path=_numbered(listen.path, number))
    return evolve(listen, port=listen.port + number - 1 if listen.port else 0)


def _numbered(path: str, number: int) -> str:
    """``/run/chat.sock`` as ``/run/chat-2.sock``."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}-{number}.{suffix}" if dot and "/" not in suffix else f"{path}-{number}"
